// Package between says what happened to packets between the places where captures of
// the same traffic were made, in the words that all formats use.
//
//	between.go  what there is to say
//	clock.go    how the clocks run
//	words.go    what became of the packets
package between

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Report is what happened between the taps.
type Report struct {
	Taps  []Tap // as they lie on the path from most clients to most servers
	Pairs []Pair

	// Frames returns the frames of a packet, as it is numbered in all captures together:
	// its number in the capture of each of Taps, and 0 where it is not there. nil: they
	// are not known. It may be called until the Printer that has the Report is closed.
	Frames func(packet int) []int
}

// A Tap is a place where a capture was made.
type Tap struct {
	Name  string
	Files []string
}

// Stem is the name of a file without directories and without its endings: a for
// /x/a.pcap.gz.
func Stem(file string) string {
	base := filepath.Base(file)
	if stem, _, _ := strings.Cut(base, "."); stem != "" {
		return stem
	}
	return base
}

// Label returns what texts call the capture of a tap: its file, where every tap has the
// name of its file, else the name.
func (r *Report) Label(tap int) string {
	for i := range r.Taps {
		if t := &r.Taps[i]; len(t.Files) != 1 || Stem(t.Files[0]) != t.Name {
			return r.Taps[tap].name()
		}
	}
	return text.Escape(filepath.Base(r.Taps[tap].Files[0]))
}

// name returns the tap's name for people.
func (t *Tap) name() string { return text.Escape(t.Name) }

// A Pair is what happened between two neighbours.
type Pair struct {
	Near, Far int // places in Report.Taps
	Clock     Clock
	Ways      [2]Way // from Near to Far, and back

	Connections int
	Worst       []Connection // those that lost the most, the worst first
	Rewritten   int          // connections whose addresses or ports differ at Far
	Rewritings  []Rewriting  // the first of them
}

// A Way is what happened to the packets of one direction. Sent and Arrived count packets
// at the tap that they come by first, and at the other.
type Way struct {
	Sent, Arrived, Lost, Copied, Forged, Reordered int

	MissedSent int // that passed the first tap, though its capture lacks them
	Missed     int // the same of the other
	Unknown    int // that only one capture can have
	Changed    int
	Changes    []Change // in a fixed order, those that were seen
	Hops       int      // by how much the TTL was decreased
	Delays     Delays

	WhichLost, WhichForged Which
}

// A Change counts packets by what was changed in them.
type Change struct {
	What    string // as in JSON: window_scale
	Packets int
}

// ChangeWords are the words for what is changed.
var ChangeWords = map[string]string{
	"mss": "MSS", "window_scale": "window scale", "sack_permitted": "SACK permitted", "timestamps": "timestamps", "options": "other options",
	"window": "window", "numbers": "sequence numbers", "ecn": "ECN and other flags", "id": "IP identification", "dont_fragment": "Don't Fragment", "payload": "payload",
}

// Delays are how long packets were on their way.
type Delays struct {
	N                          int // 0: the others say nothing
	Min, Median, P90, P99, Max time.Duration
	Within                     time.Duration // each is wrong by no more; Unbounded: not known
}

// A Connection is what happened to its packets.
type Connection struct {
	Client, Server netip.AddrPort
	Ways           [2]Way // from the client, and from the server
}

// A Rewriting is the client and the server of a connection, as two taps have them.
type Rewriting struct{ Near, Far [2]netip.AddrPort }

// mostFrames is how many frames Which names: as many as text.Frames shows, and one more
// so that it says that there are more.
const mostFrames = 9

// Which says which packets something happened to. The zero Which has none.
type Which struct {
	N              int
	Frames         []int // in the capture of Tap: the first, and the last
	Tap            int   // place in Report.Taps
	First, Last    tcp.Time
	SYN, FIN, RST  int // of N; the others have data, or only acknowledge
	Data           int
	Least, Most    int // bytes of those with data
	LargestArrived int // bytes of the largest segment that arrived between the same hosts; -1: not counted
}

// Add adds a packet: its frame, and the segment.
func (w *Which) Add(frame int, s *tcp.Segment) {
	if w.N == 0 {
		w.First = s.Time
	}
	w.N++
	w.Last = s.Time
	w.addFrame(frame)
	switch {
	case s.Flags&tcp.RST != 0:
		w.RST++
	case s.Flags&tcp.SYN != 0:
		w.SYN++
	case s.Flags&tcp.FIN != 0:
		w.FIN++
	case s.Data > 0:
		if n := int(s.Data); w.Data == 0 {
			w.Least, w.Most = n, n
		} else {
			w.Least, w.Most = min(w.Least, n), max(w.Most, n)
		}
		w.Data++
	}
}

func (w *Which) addFrame(frame int) {
	switch {
	case frame == 0:
	case len(w.Frames) < mostFrames:
		w.Frames = append(w.Frames, frame)
	default:
		w.Frames[mostFrames-1] = frame
	}
}

// Join adds what another Which, of the same Tap, has.
func (w *Which) Join(o *Which) {
	if o.N == 0 {
		return
	}
	if w.N == 0 {
		*w = *o
		w.Frames = slices.Clone(o.Frames)
		return
	}
	if o.Data > 0 {
		if w.Data == 0 {
			w.Least = o.Least
		}
		w.Least, w.Most = min(w.Least, o.Least), max(w.Most, o.Most)
	}
	w.First, w.Last = min(w.First, o.First), max(w.Last, o.Last)
	w.N += o.N
	w.SYN += o.SYN
	w.FIN += o.FIN
	w.RST += o.RST
	w.Data += o.Data
	w.LargestArrived = max(w.LargestArrived, o.LargestArrived)
	w.Frames = slices.Sorted(slices.Values(slices.Concat(w.Frames, o.Frames)))
	if last := len(w.Frames) - 1; last >= mostFrames {
		w.Frames = append(w.Frames[:mostFrames-1], w.Frames[last])
	}
}
