package taps

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestCover(t *testing.T) {
	for _, test := range []struct {
		claim            string
		do               func(c *cover)
		from, to         tcp.Seq
		has, on, arrived bool
	}{
		{"nothing", func(c *cover) {}, 1, 2, false, false, false},
		{"in-sequence", func(c *cover) { c.add(100, 200); c.add(200, 300) }, 150, 300, true, false, false},
		{"beyond", func(c *cover) { c.add(100, 200) }, 150, 250, false, false, false},
		{"skipped", func(c *cover) { c.add(100, 200); c.add(300, 400) }, 200, 300, false, true, false},
		{"skipped-and-filled", func(c *cover) { c.add(100, 200); c.add(300, 400); c.add(200, 300) }, 200, 300, true, false, false},
		{"filled-in-the-middle", func(c *cover) { c.add(100, 200); c.add(300, 400); c.add(220, 240) }, 220, 240, true, false, false},
		{"filled-beside", func(c *cover) { c.add(100, 200); c.add(300, 400); c.add(220, 240) }, 240, 300, false, true, false},
		{"acknowledged", func(c *cover) { c.add(100, 200); c.ack(300) }, 200, 300, false, false, true},
		{"acknowledged-behind-a-hole", func(c *cover) { c.add(100, 200); c.add(300, 400); c.ack(400) }, 200, 300, false, true, true},
		{"acknowledged-after-it-was-filled", func(c *cover) { c.add(100, 200); c.add(300, 400); c.add(200, 300); c.ack(400) }, 200, 300, true, false, false},
		{"acknowledged-before-it-was-filled", func(c *cover) { c.add(100, 200); c.add(300, 400); c.ack(400); c.add(200, 300) }, 200, 300, false, true, true},
		{"sacked", func(c *cover) { c.add(100, 200); c.add(400, 500); c.sack(300, 500) }, 300, 400, false, true, true},
		{"not-sacked", func(c *cover) { c.add(100, 200); c.add(400, 500); c.sack(300, 500) }, 200, 300, false, true, false},
		{"across-the-wrap", func(c *cover) { c.add(0xffffff00, 0x10); c.add(0x20, 0x30) }, 0x10, 0x20, false, true, false},
	} {
		var c cover
		test.do(&c)
		if has, on, arrived := c.has(test.from, test.to), c.goesOn(test.from, test.to), c.arrived(test.from, test.to); has != test.has || on != test.on || arrived != test.arrived {
			t.Errorf("%s: has %v, goes on %v, arrived %v; want %v, %v, %v: %+v", test.claim, has, on, arrived, test.has, test.on, test.arrived, c)
		}
	}
}

func TestCoverIsBounded(t *testing.T) {
	var c cover
	for i := range tcp.Seq(100_000) {
		c.add(i*20, i*20+10)
		c.ack(i * 20)
		c.sack(i*20-15, i*20-12)
	}
	if len(c.holes) > maxHoles {
		t.Errorf("%d holes, want at most %d", len(c.holes), maxHoles)
	}
}

// TestIndex holds the index against lists.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x := newIndex(loose)
	lists := map[uint64][]*packet{}
	var all []*packet
	for range 50_000 {
		if len(all) > 0 && r.IntN(100) < 49 {
			i := r.IntN(len(all))
			p := all[i]
			all = slices.Delete(all, i, i+1)
			x.remove(p)
			key := p.keys[loose]
			lists[key] = slices.DeleteFunc(lists[key], func(q *packet) bool { return q == p })
			continue
		}
		p := new(packet)
		p.keys[loose] = uint64(r.IntN(1500)) * 0x100000001
		x.add(p)
		all = append(all, p)
		lists[p.keys[loose]] = append(lists[p.keys[loose]], p)
	}
	n := 0
	for key, want := range lists {
		var got []*packet
		for p := x.at(key); p != nil; p = p.newer[loose] {
			got = append(got, p)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("key %x has %d packets, want %d", key, len(got), len(want))
		}
		if len(want) > 0 {
			n++
		}
	}
	if x.n != n {
		t.Errorf("%d slots are taken, want %d", x.n, n)
	}
}

func TestDelays(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 25, 5000} {
		for _, fine := range []uint8{2, 5} {
			h := histogram{fine: fine}
			r := rand.New(rand.NewPCG(uint64(n), 2))
			var all []time.Duration
			for range n {
				d := time.Duration(r.ExpFloat64() * float64(10*time.Millisecond))
				all = append(all, d)
				h.add(d, time.Millisecond)
			}
			slices.Sort(all)
			d := h.delays()
			if d.N != n || d.Min != all[0] || d.Max != all[n-1] || d.Within != time.Millisecond {
				t.Errorf("%d: %+v", n, d)
			}
			for _, q := range []struct {
				got     time.Duration
				percent int
			}{{d.Median, 50}, {d.P90, 90}, {d.P99, 99}} {
				want := all[max((n*q.percent+99)/100, 1)-1]
				most := float64(want) / float64(int(2)<<fine)
				if n <= maxExact {
					most = 0
				}
				if off := float64((q.got - want).Abs()); off > most+1 {
					t.Errorf("%d, fine %d: %d%% is %v, want %v", n, fine, q.percent, q.got, want)
				}
			}
		}
	}
	if d := new(histogram).delays(); d != (Delays{}) {
		t.Errorf("of none: %+v", d)
	}
	h := histogram{fine: 5}
	for _, d := range []time.Duration{-5, 0, 1, time.Hour, 1 << 62} {
		for range 10 {
			h.add(d, 0)
		}
	}
	h.delays()
}

// TestFit has clocks of which the truth is known.
func TestFit(t *testing.T) {
	for _, test := range []struct {
		ahead time.Duration
		drift float64
		slow  time.Duration // at least, each way
	}{
		{0, 0, 5 * time.Millisecond}, {time.Hour, 0, 5 * time.Millisecond}, {-time.Hour, 80e-6, 5 * time.Millisecond},
		{3 * time.Second, -800e-6, 50 * time.Microsecond}, {time.Second, 1e-6, 100 * time.Millisecond},
	} {
		r := rand.New(rand.NewPCG(3, 3))
		var points []point
		for i := range 2000 {
			x := float64(i) * 5e6
			ahead := float64(test.ahead) + test.drift*x
			slow := float64(test.slow) * (1 + r.ExpFloat64()/4)
			k := point{x: x, y: ahead + slow, came: true, packet: i + 1, others: i + 1}
			if i%2 == 1 {
				k.y, k.came = ahead-slow, false
			}
			points = append(points, k)
		}
		c := fit(points, 1e18, [2][]jump{})
		if len(c.Pieces) != 1 {
			t.Errorf("%+v: %d pieces", test, len(c.Pieces))
			continue
		}
		p := c.Pieces[0]
		for _, x := range []float64{0, 5e9, 1e10} {
			other := tcp.Time(1e18).Add(time.Duration(x))
			own := other.Add(test.ahead + time.Duration(test.drift*x))
			wrong := c.Other(own).Sub(other).Abs()
			if wrong > test.slow/10 || wrong > p.bound(own) {
				t.Errorf("%+v: at %v %v wrong, within %v", test, x, wrong, p.bound(own))
			}
			if back := c.inverse(); back.Other(c.Other(own)).Sub(own).Abs() > 2 {
				t.Errorf("%+v: the inverse is %v off", test, back.Other(c.Other(own)).Sub(own))
			}
		}
	}
}

func TestEmptyClock(t *testing.T) {
	var c Clock
	if got := c.Other(5); got != 5 {
		t.Errorf("%v, want the same time", got)
	}
	if c := fit(nil, 0, [2][]jump{}); len(c.Pieces) != 0 {
		t.Errorf("%d pieces of no packets", len(c.Pieces))
	}
	if got := c.after(&c); len(got.Pieces) != 0 {
		t.Error(fmt.Sprint(got))
	}
}
