// Package oracle holds the tracker against kernels. A story is a connection, or
// some, that two real hosts had: a directory with the capture of each host and
// truth.json, which says what states the kernels were in. Package oracle reads
// stories, replays their captures, and tells where the tracker differs.
//
// Tests alone use it: those of the stories in tracker/testdata/traces, and the
// lab, which makes new ones.
package oracle

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The two ends of a connection as stories name them: the server is the
// listening side, in a simultaneous open just the other one.
var ends = []string{"client", "server"}

// A Story is what truth.json says. States have their names in tables; times
// are seconds since the Unix epoch.
type Story struct {
	Name        string              `json:"scenario"`
	Description string              `json:"description"`
	Endpoints   map[string]Endpoint `json:"endpoints"`
	Taps        []string            `json:"taps,omitempty"` // the captures: client.pcap and server.pcap
	Checkpoints []Checkpoint        `json:"checkpoints"`
	Moves       map[string][]Move   `json:"transitions"` // by end

	// Of each of these lists at least one kind must be flagged, from at least
	// one tap, or from that which ExpectAt names for the list joined by "|".
	Expect   [][]string        `json:"expect_anomalies,omitempty"`
	ExpectAt map[string]string `json:"expect_at,omitempty"`
	Forbid   []string          `json:"forbid_anomalies,omitempty"` // would be false alarms

	// Wire is what the wire did that joined the hosts.
	Wire []WireEvent `json:"wire_events,omitempty"`

	// Conversations, if there are any, are told one by one, and the story has
	// no connection of its own.
	Conversations []Story `json:"connections,omitempty"`
}

// An Endpoint is an address and a port.
type Endpoint struct {
	Addr string `json:"addr"`
	Port uint16 `json:"port"`
}

// A Checkpoint is a moment at which nothing was moving, with the states of the
// kernels then. An end without a socket is CLOSED; the server is LISTEN while
// its listener is up and the connection has not begun there.
type Checkpoint struct {
	T        float64                        `json:"t"`
	Client   string                         `json:"client"`
	Server   string                         `json:"server"`
	Accept   map[string][]string            `json:"accept,omitempty"`    // by end: what a bystander may say too
	AcceptAt map[string]map[string][]string `json:"accept_at,omitempty"` // by tap and end: the same
	InDoubt  map[string][]string            `json:"in_doubt,omitempty"`  // by tap: ends that cannot be known from there
	Silent   []string                       `json:"silent,omitempty"`    // ends that moved without sending: in doubt at every tap
}

// A WireEvent is what the wire did to a segment: "inject" is that it made it.
type WireEvent struct {
	Action string `json:"action"`
	Flags  string `json:"flags"` // control bits; "" of what is no segment
}

// A Move is a change of a kernel's state.
type Move struct {
	T    float64 `json:"t"`
	From string  `json:"from"`
	To   string  `json:"to"`
	Src  string  `json:"src"` // "trace", "api": exact; "diag": polled, some milliseconds late
}

// moment is a time of truth.json as a tcp.Time.
func moment(t float64) tcp.Time { return tcp.Time(t * 1e9) }

// state returns the kernel's state at the end.
func (c *Checkpoint) state(end string) string {
	if end == "client" {
		return c.Client
	}
	return c.Server
}

// accepts returns what a bystander at the tap may say of the end.
func (c *Checkpoint) accepts(tap, end string) []string {
	return slices.Concat([]string{c.state(end)}, c.Accept[end], c.AcceptAt[tap][end])
}

// movedAt returns the states that the end's kernel left, or came to, at most so many
// seconds from the checkpoint.
func (s *Story) movedAt(cp *Checkpoint, end string, within float64) (list []string) {
	for _, m := range s.Moves[end] {
		if within > 0 && math.Abs(m.T-cp.T) <= within {
			list = append(list, m.From, m.To)
		}
	}
	return list
}

// inDoubt reports whether a bystander at the tap cannot know the end.
func (c *Checkpoint) inDoubt(tap, end string) bool {
	return slices.Contains(c.InDoubt[tap], end) || slices.Contains(c.Silent, end)
}

// Addr returns the address of the end.
func (s *Story) Addr(end string) netip.AddrPort {
	e := s.Endpoints[end]
	return netip.AddrPortFrom(netip.MustParseAddr(e.Addr), e.Port)
}

// conversations are those of the story, or it alone.
func (s *Story) conversations() []Story {
	if len(s.Conversations) == 0 {
		return []Story{*s}
	}
	list := slices.Clone(s.Conversations)
	for i := range list {
		list[i].Name = fmt.Sprintf("%s %v", s.Name, list[i].Addr("client"))
	}
	return list
}

// A Case is a story with the segments of its captures.
type Case struct {
	Story
	TapOn    TapOn
	dir      string
	segments map[string][]tcp.Segment // by tap
	within   float64                  // seconds by which their times are wrong at most
	forged   int                      // frame of the one that somebody forged; 0: none
}

// Load reads the story in a directory.
func Load(dir string) (*Case, error) {
	data, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		return nil, err
	}
	c := &Case{dir: dir, segments: map[string][]tcp.Segment{}}
	if err := json.Unmarshal(data, &c.Story); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	for _, tap := range c.Taps {
		if c.segments[tap], err = read(filepath.Join(dir, tap)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// read returns the segments of a capture.
func read(path string) (list []tcp.Segment, err error) {
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	for s, err := range src.Segments() {
		if err != nil {
			return nil, err
		}
		list = append(list, *s)
	}
	return list, nil
}

// host returns the end at which the capture was made.
func host(tap string) string {
	name, _, _ := strings.Cut(tap, ".")
	return name
}

// at returns what was captured at the host of the end.
func (c *Case) at(end string) []tcp.Segment {
	for tap, list := range c.segments {
		if host(tap) == end {
			return list
		}
	}
	return nil
}

// crossing returns the segments between the two ends.
func crossing(segments []tcp.Segment, a, b netip.AddrPort) []tcp.Segment {
	var list []tcp.Segment
	for _, s := range segments {
		if s.Src == a && s.Dst == b || s.Src == b && s.Dst == a {
			list = append(list, s)
		}
	}
	return list
}
