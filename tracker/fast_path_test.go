package tracker_test

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A segment that conn.Machine.FastPath takes in leaves everything as it would be if it
// had gone the whole way, whatever the traffic, and however it is disfigured.
func TestFastPathIsAsGoodAsTheWholeWay(t *testing.T) {
	const seeds = 800
	taken := 0
	for seed := range uint64(seeds) {
		m, _ := simulate(seed)
		if seed%2 == 1 {
			m = calm(seed)
		}
		rnd := rand.New(rand.NewPCG(seed, 3))
		var told [2][]tracker.Event
		var tks [2]*tracker.Tracker
		for i := range tks {
			tk, err := tracker.New(tracker.Config{Segments: true}, func(e *tracker.Event) {
				if e.Record != nil {
					e.Record = e.Record.Clone()
				}
				told[i] = append(told[i], *e)
			})
			if err != nil {
				t.Fatal(err)
			}
			tks[i] = tk
		}
		tks[1].Machine().NoFastPath, tks[1].Book().Thorough = true, true
		for i := range m.captured {
			s := m.captured[i].Segment
			if seed%8 > 3 {
				s.Sum = tcp.SumGood
			}
			if seed%4 > 1 && rnd.IntN(8) == 0 {
				disfigure(&s, rnd)
			}
			k, low := flow.KeyOf(&s)
			if c := tks[0].Machine().NewestOf(k); c != nil && onFastPath(tks[0].Machine(), c, &s, c.EndOf(low)) {
				taken++
			}
			for _, tk := range tks {
				copied := s
				tk.Observe(&copied)
			}
			if got, want := tks[0].Machine().NewestOf(k), tks[1].Machine().NewestOf(k); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, frame %d (%+v): the connection is\n%+v\nwant\n%+v", seed, s.Packet, s, got, want)
			}
		}
		for _, tk := range tks {
			tk.Advance(m.now)
			tk.Close()
		}
		if !reflect.DeepEqual(told[0], told[1]) {
			t.Fatalf("seed %d: other events are told than by the whole way", seed)
		}
		if !reflect.DeepEqual(tks[0].Machine().Recent, tks[1].Machine().Recent) || tks[0].Stats() != tks[1].Stats() {
			t.Fatalf("seed %d: the recent segments, or the statistics, differ from those of the whole way", seed)
		}
	}
	if taken < 3*seeds {
		t.Errorf("%d segments were taken in by the fast path, too few to tell", taken)
	}
}

// onFastPath reports whether FastPath would take the segment in, for sure: what is
// rare of the connection cannot be tried on a copy.
func onFastPath(t *conn.Machine, c *conn.Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	if c.Rare != nil {
		return false
	}
	tried, connection := *t, *c
	tried.Recent.Share(1)
	return tried.FastPath(&connection, s, from)
}

// disfigure changes something about a segment.
func disfigure(s *tcp.Segment, rnd *rand.Rand) {
	near := func() tcp.Size { return pick[tcp.Size](rnd, 1, 2, 100, 1460, 65_535, 1<<30, 1<<31, 1<<31+5) }
	switch rnd.IntN(16) {
	case 0:
		s.Seq = s.Seq.Add(near())
	case 1:
		s.Seq -= tcp.Seq(near())
	case 2:
		s.Ack = s.Ack.Add(near())
	case 3:
		s.Ack -= tcp.Seq(near())
	case 4:
		s.Data = near() &^ (1 << 31)
	case 5:
		s.Flags ^= pick(rnd, tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR)
	case 6:
		s.Wnd = uint16(rnd.IntN(3)) * 100
	case 7:
		s.ID -= uint16(near())
	case 8:
		s.Options.TSVal += uint32(near())
	case 9:
		s.Options.TSVal -= uint32(near())
	case 10:
		s.Options.HasTS = !s.Options.HasTS
	case 11:
		s.Sum = tcp.Sum(rnd.IntN(4))
	case 12:
		s.Cut = tcp.Cut(rnd.IntN(3))
	case 13:
		s.Fragment, s.Urg = rnd.IntN(2) == 0, uint16(rnd.IntN(2))
	case 14:
		s.Options.NumSACK, s.Options.SACK[0] = 1, tcp.Block{Left: s.Ack.Add(100), Right: s.Ack.Add(near())}
	case 15:
		s.Time = s.Time.Add(time.Duration(rnd.IntN(200)-100) * time.Second)
	}
}
