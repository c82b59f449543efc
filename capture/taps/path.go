package taps

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which tap is nearer to a host shows in the time between what is sent to it and its
// answer, which is shorter there. No clock is needed for that but each tap's own. All
// taps lie on one path; each connection goes along it in the one or the other way.

// A link is two neighbouring taps.
type link struct {
	near, far int   // by their places in the list, the near one nearer to the beginning of the path
	clock     Clock // of far against near
}

// words returns the two halves of an address of 16 octets.
func words(of netip.Addr) (hi, lo uint64) {
	if of.Is4() {
		o := of.As4()
		return 0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(o[:]))
	}
	o := of.As16()
	return binary.BigEndian.Uint64(o[:8]), binary.BigEndian.Uint64(o[8:])
}

// A pairing is what two samples tell of the way between two taps.
type pairing struct {
	a, b   int
	shared int
	apart  time.Duration // by how much the gaps differ, which is the way from one to the other and back: the median
}

// findOrder finds the order of the taps on the path, and at which end of it the hosts
// are.
func (v *survey) findOrder() {
	n := len(v.samples)
	pairings := map[[2]int]pairing{}
	for a := range n {
		for b := a + 1; b < n; b++ {
			pairings[[2]int{a, b}] = v.pair(a, b)
		}
	}
	apart := func(a, b int) time.Duration { return pairings[[2]int{min(a, b), max(a, b)}].apart }
	first, last := 0, n-1
	for _, p := range pairings {
		if d := apart(first, last); p.apart > d || p.apart == d && (p.a < first || p.a == first && p.b > last) {
			first, last = p.a, p.b
		}
	}
	v.order = v.order[:0]
	for i := range n {
		v.order = append(v.order, i)
	}
	if n > 2 {
		slices.SortStableFunc(v.order, func(a, b int) int {
			return cmp.Compare(apart(first, a)-apart(a, last), apart(first, b)-apart(b, last))
		})
	}
	v.place = make([]int, n)
	for i, tap := range v.order {
		v.place[tap] = i
	}
	v.vote()
}

// pair compares the samples of two taps.
func (v *survey) pair(a, b int) pairing {
	p := pairing{a: a, b: b}
	var differ []time.Duration
	for _, k := range v.shared(a, b) {
		x, y := k[0], k[1]
		p.shared++
		if x.gap != 0 && y.gap != 0 {
			differ = append(differ, (x.gap - y.gap).Abs())
		}
	}
	if len(differ) > 0 {
		slices.Sort(differ)
		p.apart = differ[len(differ)/2]
	}
	return p
}

// vote lets the packets of all pairs of taps say to which end of the path their hosts
// are nearer, and finds out what is changed on the way.
func (v *survey) vote() {
	n := len(v.samples)
	v.votes = make([]map[netip.Addr]int, n)
	for i := range v.votes {
		v.votes[i] = map[netip.Addr]int{}
	}
	all, ids, stamps := 0, 0, 0
	for a := range n {
		for b := range n {
			if v.place[a] >= v.place[b] {
				continue
			}
			for _, k := range v.shared(a, b) {
				x, y := k[0], k[1]
				all++
				if x.id == y.id {
					ids++
				}
				if x.tsVal == y.tsVal {
					stamps++
				}
				v.nat = v.nat || x.src != y.src || x.dst != y.dst
				d := 0
				if x.gap != 0 && y.gap != 0 {
					d = cmp.Compare(x.gap, y.gap)
				}
				v.votes[a][x.dst.Addr()] += d
				v.votes[a][x.src.Addr()] -= d
				v.votes[b][y.dst.Addr()] += d
				v.votes[b][y.src.Addr()] -= d
			}
		}
	}
	v.sameID, v.sameTS = ids*10 >= all*9, stamps*10 >= all*9
	v.nat = v.nat || all < 16
}

// away reports whether what src sends to dst goes away from the beginning of the path,
// as a tap has their addresses, and whether anybody knows.
func (v *survey) away(tap int, src, dst netip.Addr) (away, known bool) {
	s, d := v.votes[tap][src], v.votes[tap][dst]
	if sign(s) == sign(d) {
		return false, false
	}
	return sign(d) > sign(s), true
}

func sign(n int) int { return cmp.Compare(n, 0) }

// awayOf is away of a mark, where nobody knows by who seems to be the client: clients
// are at the beginning.
func (v *survey) awayOf(tap int, m *mark) bool {
	if away, known := v.away(tap, m.src.Addr(), m.dst.Addr()); known {
		return away
	}
	return m.syn || m.src.Port() > m.dst.Port()
}

// fitClocks fits the clocks of neighbours, and thereby all to that of the first tap of
// the list.
func (v *survey) fitClocks(list []Tap) error {
	for i := 1; i < len(v.order); i++ {
		l := link{near: v.order[i-1], far: v.order[i]}
		base := v.samples[l.near].stats.First
		var came, went []point
		for _, k := range v.shared(l.near, l.far) {
			x, y := k[0], k[1]
			p := point{float64(x.time - base), float64(y.time - x.time)}
			if v.awayOf(l.near, x) {
				came = append(came, p)
			} else {
				went = append(went, p)
			}
		}
		empty := v.samples[l.near].stats.First == 0 || v.samples[l.far].stats.First == 0
		if len(came)+len(went) == 0 && !empty {
			return v.nothingShared(list, l.near, l.far)
		}
		l.clock = fit(came, went, base)
		v.links = append(v.links, l)
		for _, p := range came {
			v.longest = max(v.longest, l.delay(base, p, 1))
		}
		for _, p := range went {
			v.longest = max(v.longest, l.delay(base, p, -1))
		}
	}
	v.chain()
	return nil
}

// delay is how long a packet of the sample was on its way along the link.
func (l *link) delay(base tcp.Time, p point, way float64) time.Duration {
	near := base + tcp.Time(p.x)
	far := l.clock.Other(near + tcp.Time(p.y))
	return time.Duration(way * float64(far-near))
}

// chain joins the clocks of the links to clocks against the first tap of the list.
func (v *survey) chain() {
	v.clocks = make([]Clock, len(v.order))
	// A chain of two is all there is with two taps; the reference may be either.
	at := v.place[0]
	for i := at; i < len(v.links); i++ {
		l := &v.links[i]
		v.clocks[l.far] = l.clock.after(&v.clocks[l.near])
	}
	for i := at - 1; i >= 0; i-- {
		l := &v.links[i]
		back := l.clock.inverse()
		v.clocks[l.near] = back.after(&v.clocks[l.far])
	}
}

// inverse returns the clock of the other tap against that of this one.
func (c *Clock) inverse() Clock {
	inv := Clock{Pairs: [2]int{c.Pairs[1], c.Pairs[0]}}
	for _, p := range c.Pieces {
		q := p
		q.From = p.From
		if p.From != math.MinInt64 {
			q.From = c.Other(p.From)
		}
		q.At = p.At.Add(p.Offset)
		q.Offset = -p.Offset
		q.Drift = 1/(1+p.Drift) - 1
		q.first = p.first.Add(p.Offset)
		inv.Pieces = append(inv.Pieces, q)
	}
	return inv
}

// after returns the clock against what the clock that it is against runs by.
func (c *Clock) after(o *Clock) Clock {
	if len(o.Pieces) == 0 {
		return *c
	}
	sum := Clock{Pairs: c.Pairs}
	for _, p := range c.Pieces {
		q := p
		q.At = o.Other(p.At)
		q.Offset = p.At.Add(p.Offset).Sub(q.At)
		q.Drift = (1+p.Drift)*(1+o.piece(p.At).Drift) - 1
		q.first = o.Other(p.first)
		if q.Within != Unbounded {
			q.Within += o.Bound(p.At)
			q.knots = nil
		}
		sum.Pieces = append(sum.Pieces, q)
	}
	return sum
}

// findRunning finds out since when, and until when, each capture ran: it is not known
// not to have run where the others have nothing, outside of it, that was answered.
func (v *survey) findRunning() {
	v.running = make([]span, len(v.samples))
	for i, p := range v.samples {
		r := &v.running[i]
		*r = span{math.MinInt64, math.MaxInt64}
		if p.stats.First == 0 {
			continue
		}
		c := &v.clocks[i]
		first, last := c.Other(p.stats.First), c.Other(max(p.stats.Last, p.stats.Heard))
		for j, q := range v.samples {
			if i == j {
				continue
			}
			for _, m := range q.marks {
				if m.gap == 0 {
					continue
				}
				if at := v.clocks[j].Other(m.time); at.Add(m.gap+v.longest) < first {
					r.from = first
				} else if at.Add(-v.longest) > last {
					r.to = last
				}
			}
		}
	}
}
