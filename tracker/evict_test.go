package tracker_test

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/order"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// newBounded returns a wire to a tracker that keeps so many connections, and
// what is told to be over, by number.
func newBounded(tb testing.TB, most int) (*wire, *[]int) {
	var over []int
	w := newWire(tb)
	w.tk.Machine().Max = most
	w.tk.SetEmit(func(e *tracker.Event) {
		if e.Kind == tracker.EventConnection {
			over = append(over, e.Conn)
		}
	})
	return w, &over
}

func TestOrderOfEviction(t *testing.T) {
	syn := func(w *wire, i int) { w.put(clientOf(i), true, tcp.SYN, 0, 0, 0) }
	for _, c := range []struct {
		claim string
		most  int
		play  func(w *wire)
		want  []int // over before the end, in order
	}{
		{"nothing-below-the-limit", 3, func(w *wire) { w.open(clientOf(1)); syn(w, 2); syn(w, 3) }, nil},
		{"closed-before-syn-before-idle", 4, func(w *wire) {
			w.open(clientOf(1))
			syn(w, 2)
			w.put(clientOf(3), true, tcp.SYN, 0, 0, 0)
			w.put(clientOf(3), false, tcp.RST|tcp.ACK, 0, 1, 0)
			w.open(clientOf(4))
			w.open(clientOf(5))
			w.open(clientOf(6))
			w.open(clientOf(7))
			w.open(clientOf(8))
		}, []int{3, 2, 1, 4}},
		{"closed-for-longest-first", 2, func(w *wire) {
			for i := range 4 {
				w.put(clientOf(i), true, tcp.SYN, 0, 0, 0)
				w.put(clientOf(i), false, tcp.RST|tcp.ACK, 0, 1, 0)
			}
		}, []int{1, 2}},
		{"a-close-after-the-limit-was-reached-counts", 2, func(w *wire) {
			w.open(clientOf(1))
			w.open(clientOf(2))
			w.open(clientOf(3)) // for 1
			w.put(clientOf(3), true, tcp.RST|tcp.ACK, 1, 1_000_001, 0)
			w.open(clientOf(4)) // for 3
		}, []int{1, 3}},
		{"oldest-syn-first", 2, func(w *wire) {
			for i := range 5 {
				syn(w, i)
			}
		}, []int{1, 2, 3}},
		{"an-answered-syn-is-none", 2, func(w *wire) {
			w.open(clientOf(1))
			syn(w, 2)
			syn(w, 3) // for 2
			w.put(clientOf(3), false, tcp.SYN|tcp.ACK, 1_000_000, 1, 0)
			w.put(clientOf(3), true, tcp.ACK, 1, 1_000_001, 0)
			syn(w, 4) // for 1
			syn(w, 5) // for 4
		}, []int{2, 1, 4}},
		{"idle-for-longest-first", 3, func(w *wire) {
			for i := range 3 {
				w.open(clientOf(i))
			}
			w.open(clientOf(3)) // for 1
			w.put(clientOf(1), true, tcp.PSH|tcp.ACK, 1, 1_000_001, 10)
			w.put(clientOf(2), true, tcp.PSH|tcp.ACK, 1, 1_000_001, 10)
			w.open(clientOf(4)) // for 4: 2 and 3 spoke since
			w.open(clientOf(5))
		}, []int{1, 4, 2}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w, over := newBounded(t, c.most)
			c.play(w)
			got := slices.Clone(*over)
			if !slices.Equal(got, c.want) {
				t.Errorf("given up were %v, want %v", got, c.want)
			}
			if s := w.tk.Stats(); int(s.Evicted) != len(c.want) || s.Live > c.most {
				t.Errorf("%d counted as evicted and %d kept, want %d and at most %d", s.Evicted, s.Live, len(c.want), c.most)
			}
			w.tk.Close()
			slices.Sort(*over)
			if s := w.tk.Stats(); len(*over) != int(s.Conns) || len(slices.Compact(*over)) != int(s.Conns) {
				t.Errorf("%v are over of %d connections, want each once", *over, s.Conns)
			}
		})
	}
}

// Where all are open, one that begins has the time to.
func TestNewestSYNsAreNotEvicted(t *testing.T) {
	const most = 4 * order.NewestSYNs
	w, over := newBounded(t, most)
	for i := range most {
		w.open(clientOf(i))
	}
	a, b := clientOf(most), clientOf(most+1)
	w.put(a, true, tcp.SYN, 0, 0, 0)
	w.put(b, true, tcp.SYN, 0, 0, 0)
	w.put(a, false, tcp.SYN|tcp.ACK, 1_000_000, 1, 0)
	w.put(b, false, tcp.SYN|tcp.ACK, 1_000_000, 1, 0)
	w.put(a, true, tcp.ACK, 1, 1_000_001, 0)
	w.put(b, true, tcp.ACK, 1, 1_000_001, 0)
	if want := []int{1, 2}; !slices.Equal(*over, want) {
		t.Errorf("given up were %v, want %v", *over, want)
	}
	if got := w.tk.Stats().Conns; got != most+2 {
		t.Errorf("%d connections were seen, want %d", got, most+2)
	}
}

// A flood takes nothing from who is connected, and the order holds no more than
// there is.
func TestFloodLeavesOpenConnections(t *testing.T) {
	const open, most, flood = 50, 200, 5000
	w, over := newBounded(t, most)
	for i := range open {
		w.open(clientOf(i))
	}
	for i := range flood {
		w.put(clientOf(open+i), true, tcp.SYN, 0, 0, 0)
		if i%7 == 0 { // some are closed, some open
			w.put(clientOf(open+i), false, tcp.RST|tcp.ACK, 0, 1, 0)
		}
	}
	if got := slices.Min(*over); got <= open {
		t.Errorf("connection %d was given up, which is open", got)
	}
	s := w.tk.Stats()
	if s.Live != most || s.Evicted != open+flood-most {
		t.Errorf("%d are kept and %d evicted, want %d and %d", s.Live, s.Evicted, most, open+flood-most)
	}
	o := w.tk.Machine().Order
	placed := o.Lines[order.Closed].N + o.Lines[order.SYN].N + len(o.Heap)
	for i, x := range o.Heap {
		if got := x.Conn.Place.At(); got != i || x.Conn.Place.As() != order.Open {
			t.Fatalf("the connection at %d believes to be at %d of %d", i, got, x.Conn.Place.As())
		}
		if up := (i - 1) / 2; i > 0 && o.Heap[up].Since > x.Since {
			t.Fatalf("place %d comes before its parent", i)
		}
	}
	for worth, l := range o.Lines {
		if len(l.Conns) > 2*most+65 {
			t.Errorf("the line of %d has %d places for %d connections", worth, len(l.Conns), l.N)
		}
	}
	if placed != most {
		t.Errorf("%d connections are in the order, want %d", placed, most)
	}
}

// Beyond so many octets connections are given up, those that take more the fewer. What
// is given up is no longer counted.
func TestMemoryOfConnections(t *testing.T) {
	const most, many = 1 << 20, 3000
	kept := func(play func(w *wire, i int)) int {
		w := newWire(t)
		tk, err := tracker.New(tracker.Config{MaxMemory: most}, func(*tracker.Event) {})
		if err != nil {
			t.Fatal(err)
		}
		w.tk = tk
		m := tk.Machine()
		for i := range many {
			play(w, i)
			if n := m.Memory(); n > most {
				t.Fatalf("%d connections take %d octets, want %d at the most", m.Live, n, most)
			}
		}
		if s := tk.Stats(); s.ForMemory == 0 || s.ForMemory != s.Evicted {
			t.Errorf("%d are given up for memory of %d", s.ForMemory, s.Evicted)
		}
		live := m.Live
		m.Max = 1
		w.put(clientOf(many), true, tcp.SYN, 0, 0, 0)
		if n := m.Memory(); n < 100 || n > 2000 {
			t.Errorf("one SYN takes %d octets", n)
		}
		tk.Close()
		if n := m.Memory(); n != 0 {
			t.Errorf("%d octets are taken when all is over", n)
		}
		return live
	}
	syns := kept(func(w *wire, i int) { w.put(clientOf(i), true, tcp.SYN, 0, 0, 0) })
	odd := kept(func(w *wire, i int) { // in the middle, with anomalies
		seq := tcp.Seq(1000 * i)
		w.put(clientOf(i), true, tcp.PSH|tcp.ACK, seq, 5001, 100)
		w.put(clientOf(i), true, tcp.PSH|tcp.ACK, seq, 5001, 100)
		w.put(clientOf(i), false, tcp.ACK, 5001, seq+100_000, 0)
		w.put(clientOf(i), true, tcp.RST, seq+50, 0, 0)
		w.put(clientOf(i), true, tcp.FIN|tcp.ACK, seq+100, 5001, 0)
	})
	if odd > syns*2/3 || odd < 10 {
		t.Errorf("%d SYNs are kept, and %d connections with anomalies", syns, odd)
	}
}
