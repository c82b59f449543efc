package ladder

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// kept plays the sample up to a segment, and returns what was kept, and the
// connections as they are then.
func kept(t *testing.T, segments int) (*Recent, map[int]*tracker.Record) {
	t.Helper()
	r, records := NewRecent(0), make(map[int]*tracker.Record)
	tk, err := tracker.New(tracker.Config{Segments: true}, r.Event)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	sample.Observe(t, sample.Segments(), func(s *tcp.Segment) {
		if n++; n <= segments {
			r.Take(s)
			tk.Observe(s)
		}
	}, func(*tracker.Event) {})
	tk.Each(func(lent *tracker.Record) { records[lent.Conn] = lent.Clone() })
	return r, records
}

// The ladder of a connection that says nothing any more has its newest segments,
// with what they did, and how many there were before.
func TestLiveBeginsWithWhatIsKept(t *testing.T) {
	const segments = 90 // the last is the last ACK of a close
	r, records := kept(t, segments)
	lines := r.Open(records[1]).Lines(records[1], Options{})
	drawn := strings.Join(lines, "\n")
	for _, want := range []string{fmt.Sprintf("... %d segments ...", segments-RecentRungs), "<CTL=FIN,ACK>", "client FIN_WAIT_1: it closes with #"} {
		if !strings.Contains(drawn, want) {
			t.Errorf("no %q in\n%s", want, drawn)
		}
	}
	if n := strings.Count(drawn, "<SEQ="); n != RecentRungs {
		t.Errorf("%d segments are drawn, want %d:\n%s", n, RecentRungs, drawn)
	}
	frames := r.Open(records[1]).ladder.rows
	if !slices.IsSortedFunc(frames, func(a, b ladderRow) int { return a.packet - b.packet }) {
		t.Errorf("they are not in order:\n%s", drawn)
	}
}

// One that is opened while the tracker looks at a segment has that segment too.
func TestLiveHasTheSegmentThatIsObserved(t *testing.T) {
	r := NewRecent(0)
	of := sample.ClosedByClient()
	var l *Live
	tk, err := tracker.New(tracker.Config{Segments: true}, func(e *tracker.Event) {
		if e.Kind == tracker.EventSegment {
			l = r.Open(&of)
			l.Event(e)
		}
		r.Event(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	s := tcp.Segment{Time: sample.At(1), Packet: 1, Src: of.Ends[0].Addr, Dst: of.Ends[1].Addr, Flags: tcp.SYN}
	r.Take(&s)
	tk.Observe(&s)
	drawn := strings.Join(l.Lines(&of, Options{}), "\n")
	if !strings.Contains(drawn, "<CTL=SYN>") || !strings.Contains(drawn, "client SYN_SENT: it opens with #1") {
		t.Errorf("drawn is\n%s", drawn)
	}
}

// What is kept is bounded, by connection and in all, and goes with the connection.
func TestRecentIsBounded(t *testing.T) {
	r := NewRecent(0)
	s := tcp.Segment{Packet: 1}
	for range 2 {
		for conn := range 2 * RecentConns {
			r.Take(&s)
			r.Event(&tracker.Event{Kind: tracker.EventTransition, Conn: conn + 1, Packet: 1})
			r.Event(&tracker.Event{Kind: tracker.EventSegment, Conn: conn + 1, Packet: 1})
		}
	}
	if len(r.conns) != RecentConns || len(r.pending) > 0 {
		t.Errorf("%d connections and %d events are kept", len(r.conns), len(r.pending))
	}
	for range 100 {
		r.Take(&s)
		r.Event(&tracker.Event{Kind: tracker.EventSegment, Conn: 1, Packet: 1})
	}
	if n := len(r.conns[1].rungs); n != RecentRungs {
		t.Errorf("%d rungs are kept, want %d", n, RecentRungs)
	}
	of := &tracker.Record{Conn: 2 * RecentConns}
	of.Ends[0].Packets, of.Ends[1].Packets = 3, 4
	if drawn := strings.Join(r.Open(of).Lines(of, Options{}), "\n"); !strings.Contains(drawn, "... 7 segments ...") {
		t.Errorf("of a connection of which nothing is kept is drawn\n%s", drawn)
	}
	if few := NewRecent(10 * recentMemory); few.most != 10 {
		t.Errorf("%d connections fit in the memory of 10", few.most)
	}
	r.Event(&tracker.Event{Kind: tracker.EventConnection, Conn: 1})
	if r.conns[1] != nil {
		t.Error("a connection that is over is kept")
	}
}

// BenchmarkRecent is what it costs the tracker, by segment.
func BenchmarkRecent(b *testing.B) {
	r := NewRecent(0)
	s := tcp.Segment{Packet: 1}
	b.ReportAllocs()
	for b.Loop() {
		r.Take(&s)
		r.Event(&tracker.Event{Kind: tracker.EventSegment, Conn: 1, Packet: 1})
	}
}
