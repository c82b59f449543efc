package tracker_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// hidden are the ladders of which something is not found among other traffic, and
// what of an ordinary connection would have to be remembered for it.
var hidden = map[string]string{
	"blind-rst-in-window-after-replies":   oldAcks,
	"keepalive-race-client-view":          oldAcks,
	"rst-out-of-window-not-number-of-fin": oldAcks,
	"rst-unmatched-not-reply-to-older":    oldAcks,
	"handshake-ack-not-of-syn":            header,
	"handshake-ack-then-syn":              header,
	"close-with-unread-data":              "the windows before the last",
	"time-wait-hazard-h1":                 contents,
	"time-wait-hazard-h1-in-turn":         contents,
	"time-wait-hazard-h1-not-its-own":     contents,
	"time-wait-hazard-h2":                 contents,
	"time-wait-hazard-h2-not-idle":        contents,
	"time-wait-hazard-h3":                 contents,
	"wandering-duplicate-in-time-wait":    contents,
}

const (
	oldAcks  = "the ACKs before the last, one of which a late RST answers"
	header   = "the header of a SYN behind which its end sent an ACK, to tell it from a copy that the network made"
	contents = "every segment, to know a copy of it again"
)

// Among so much other traffic that nothing but a connection itself remembers what
// was captured of it, the same is said of it.
func TestOtherTrafficHidesNothing(t *testing.T) {
	found := maps.Clone(hidden)
	for _, dir := range ladderDirs {
		ladders(t, dir, func(t *testing.T, file string, l ladder) {
			l.hidden = true
			name := strings.TrimSuffix(filepath.Base(file), ".txt")
			l.play(t, func(tk *tracker.Tracker, i int, odd []string) {
				r, cells := &l.rungs[i], [2]string{l.cell(tk, false), l.cell(tk, true)}
				switch {
				case cells == r.cells && slices.Equal(odd, r.odd):
				case hidden[name] != "":
					delete(found, name)
				default:
					t.Errorf("%s:%d: states are %v, want %v; anomalies are %v, want %v", file, r.line, cells, r.cells, odd, r.odd)
				}
			})
		})
	}
	for name, what := range found {
		t.Errorf("all of %s is found, although a connection does not remember %s", name, what)
	}
}

// Two hundred SYNs that nobody answers are repeated after a second, behind 20,000
// other segments.
func TestRepeatedSYNsAmongOtherTraffic(t *testing.T) {
	const calls, others = 200, 20_000
	for _, busy := range []bool{false, true} {
		again := map[int]bool{}
		w := newWire(t)
		w.tk.SetEmit(func(e *tracker.Event) {
			if e.Kind == tracker.EventAnomaly && e.Anomaly.Kind == "syn-retransmitted" {
				again[e.Conn] = true
			}
		})
		call := func() {
			for i := range calls {
				w.put(clientOf(i), true, tcp.SYN, 0, 0, 0)
			}
		}
		client, next := clientOf(calls), tcp.Seq(1)
		w.open(client)
		call()
		end := w.now.Add(time.Second)
		for i := 0; busy && i < others; i++ {
			w.put(client, true, tcp.ACK, next, 1_000_001, 100)
			next = next.Add(100)
		}
		w.now = end
		call()
		if len(again) != calls {
			t.Errorf("%d of %d repeated SYNs are found (other traffic: %v)", len(again), calls, busy)
		}
	}
}

// silentPeer opens a connection of which one end closes, and is answered no more,
// and returns how it sends its FIN.
func (w *wire) silentPeer() (fin func()) {
	client := clientOf(0)
	w.open(client)
	w.put(client, true, tcp.ACK, 1, 1_000_001, 100)
	w.put(client, false, tcp.ACK, 1_000_001, 101, 100)
	return func() { w.put(client, true, tcp.FIN|tcp.ACK, 101, 1_000_101, 0) }
}

// What is looked back through for a segment does not grow with what came before.
func TestLookingBackIsBounded(t *testing.T) {
	const copies, most = 10_000, 64
	w := newWire(t)
	fin := w.silentPeer()
	for range copies {
		fin()
	}
	n, opened := 0, false
	for c := range w.tk.Machine().All() {
		for g := range w.tk.Machine().Recent.Back(c) {
			n++
			opened = opened || g.Flags&tcp.SYN != 0
		}
	}
	if n != most || !opened {
		t.Errorf("after %d copies of a FIN %d segments are looked back through, with those that opened the connection: %v; want %d, with them", copies, n, opened, most)
	}
}

// BenchmarkRepeatedFIN repeats a FIN to a peer that does not answer.
func BenchmarkRepeatedFIN(b *testing.B) {
	w := newWire(b)
	fin := w.silentPeer()
	b.ReportAllocs()
	for b.Loop() {
		fin()
	}
}
