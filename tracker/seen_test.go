package tracker_test

import (
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An EventSegment comes after every segment and all that came of it, also after
// those that are not taken in; and only to those who asked.
func TestSeenFollowsEverySegment(t *testing.T) {
	l, err := parseLadder(`
1.    SYN-SENT    --> <SEQ=100><CTL=SYN><ID=1>                 --> LISTEN
2. +0 SYN-SENT    --> <SEQ=100><CTL=SYN><ID=1>                 --> LISTEN
3.    ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK><SUM=good> <-- SYN-RECEIVED
4.    ESTABLISHED <-- <SEQ=301><ACK=101><CTL=ACK><DATA=5><ID=9><SUM=bad> <-- SYN-RECEIVED
5.    ESTABLISHED --> <SEQ=101><ACK=301><CTL=ACK>              --> ESTABLISHED
6.    FIN-WAIT-1  --> <SEQ=101><ACK=301><CTL=FIN,ACK><ID=2>    --> CLOSE-WAIT
7.    TIME-WAIT   <-- <SEQ=301><ACK=102><CTL=FIN,ACK><ID=10>   <-- LAST-ACK
8.    TIME-WAIT   --> <SEQ=102><ACK=302><CTL=ACK><ID=3>        --> CLOSED
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, asked := range []bool{false, true} {
		var seen []tracker.Event
		var newest tracker.Event
		tk, err := tracker.New(tracker.Config{Segments: asked}, func(e *tracker.Event) {
			if e.Kind == tracker.EventSegment {
				seen = append(seen, *e)
			}
			if newest.Kind == tracker.EventSegment && newest.Packet == e.Packet && e.Packet != 0 {
				t.Errorf("after the EventSegment of #%d comes %+v", e.Packet, *e)
			}
			newest = *e
		})
		if err != nil {
			t.Fatal(err)
		}
		now := l.begin
		for i, r := range l.rungs {
			now = now.Add(r.pause)
			s := *r.segment
			s.Time, s.Packet, s.Src, s.Dst = now, i+1, l.peers[0], l.peers[1]
			if !r.fromA {
				s.Src, s.Dst = l.peers[1], l.peers[0]
			}
			tk.Observe(&s)
		}
		tk.Advance(now.Add(2 * time.Minute))
		if !asked {
			if len(seen) > 0 {
				t.Errorf("nobody asked, and there are %d EventSegments", len(seen))
			}
			continue
		}
		if len(seen) < len(l.rungs)+1 {
			t.Fatalf("%d EventSegments, want %d and one of a timer", len(seen), len(l.rungs))
		}
		why := map[int]tcp.Skip{2: tcp.CapturedTwice, 4: tcp.BadChecksum}
		for i, e := range seen[:len(l.rungs)] {
			from := tcp.Server
			if l.rungs[i].fromA {
				from = tcp.Client
			}
			if e.Packet != i+1 || e.Conn != 1 || e.End != from || e.Skipped != why[i+1] {
				t.Errorf("#%d: got %+v, want one of conn 1 from the %v, on %q", i+1, e, from, why[i+1])
			}
		}
		if got, want := seen[6].Ends, [2]tcp.Views{{State: tcp.TimeWait, Proved: tcp.FinWait1}, {State: tcp.LastAck, Proved: tcp.LastAck}}; got != want {
			t.Errorf("after #7: got %v, want %v", got, want)
		}
		if got, want := seen[8].Ends[tcp.Client].State, tcp.Closed; got != want || seen[8].Packet != 0 {
			t.Errorf("after 2 MSL: got %v, want %v", got, want)
		}
	}
}
