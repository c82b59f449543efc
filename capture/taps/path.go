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

// apart returns by how much the gaps of two taps differ, which is the way from one to
// the other and back: the median. Nothing may tell.
func (v *survey) apart(a, b int) (d time.Duration, known bool) {
	var differ []time.Duration
	for _, p := range v.between(a, b) {
		if p.x.gap != 0 && p.y.gap != 0 {
			differ = append(differ, (p.x.gap - p.y.gap).Abs())
		}
	}
	if len(differ) == 0 {
		return 0, false
	}
	slices.Sort(differ)
	return differ[len(differ)/2], true
}

// findOrder finds the order of the taps on the path, and at which end of it the hosts
// are. The error says which neighbours have nothing in common.
func (v *survey) findOrder() error {
	n := len(v.samples)
	v.order = v.order[:0]
	for i := range n {
		v.order = append(v.order, i)
	}
	if n > 2 && v.look != byAnswers {
		v.sortOrder()
	}
	v.place = make([]int, n)
	for i, tap := range v.order {
		v.place[tap] = i
	}
	v.vote()
	for i := 1; i < n; i++ {
		a, b := v.order[i-1], v.order[i]
		empty := v.samples[a].stats.Segments == 0 || v.samples[b].stats.Segments == 0
		if !empty && len(v.between(a, b)) == 0 {
			return v.nothingShared(min(a, b), max(a, b))
		}
	}
	return nil
}

// sortOrder orders more than two taps: those that are the farthest apart are the first
// and the last. Where something of that is not known they stay as they are in the list.
func (v *survey) sortOrder() {
	n := len(v.order)
	apart := make([][]time.Duration, n)
	for a := range n {
		apart[a] = make([]time.Duration, n)
		for b := range a {
			d, known := v.apart(a, b)
			if !known {
				return
			}
			apart[a][b], apart[b][a] = d, d
		}
	}
	first, last := 0, n-1
	for a := range n {
		for b := a + 1; b < n; b++ {
			if apart[a][b] > apart[first][last] {
				first, last = a, b
			}
		}
	}
	slices.SortStableFunc(v.order, func(a, b int) int {
		return cmp.Compare(apart[first][a]-apart[a][last], apart[first][b]-apart[b][last])
	})
}

// vote lets the packets of all pairs of taps say to which end of the path their hosts
// are nearer, and finds out what is changed on the way.
func (v *survey) vote() {
	n := len(v.samples)
	v.votes = make([]map[netip.Addr]int, n)
	for i := range v.votes {
		v.votes[i] = map[netip.Addr]int{}
	}
	if v.look == byAnswers {
		return
	}
	all, ids, stamps := 0, 0, 0
	for a := range n {
		for b := range n {
			if v.place[a] >= v.place[b] {
				continue
			}
			for _, p := range v.between(a, b) {
				all++
				if p.x.id == p.y.id {
					ids++
				}
				if p.x.tsVal == p.y.tsVal {
					stamps++
				}
				v.nat = v.nat || p.x.src != p.y.src || p.x.dst != p.y.dst
				v.voteBy(a, b, p)
			}
		}
	}
	v.sameID, v.sameTS = ids*10 >= all*9, stamps*10 >= all*9
	v.nat = v.nat || all < 16
	for tap := range n {
		v.voteAlone(tap)
	}
}

// voteAlone lets packets that one of the outer taps has and no other say where their
// senders are, of hosts of which nothing else does: what was never acknowledged there was
// probably lost behind it.
func (v *survey) voteAlone(tap int) {
	d := 0
	switch v.place[tap] {
	case 0:
		d = 1
	case len(v.order) - 1:
		d = -1
	default:
		return
	}
	alone := map[netip.Addr]int{}
	for i := range v.samples[tap].marks {
		m := &v.samples[tap].marks[i]
		if m.gap != 0 || !m.octets || v.votes[tap][m.src.Addr()] != 0 || v.votes[tap][m.dst.Addr()] != 0 {
			continue
		}
		shared := false
		for other, p := range v.samples {
			shared = shared || other != tap && p.first(m.hash) >= 0
		}
		if !shared {
			alone[m.dst.Addr()] += d
			alone[m.src.Addr()] -= d
		}
	}
	for host, n := range alone {
		v.votes[tap][host] = n
	}
}

// voteBy lets a packet say to which end its hosts are nearer.
func (v *survey) voteBy(a, b int, p pair) {
	if p.x.gap == 0 || p.y.gap == 0 || p.x.gap == p.y.gap {
		return
	}
	d := cmp.Compare(p.x.gap, p.y.gap)
	v.votes[a][p.x.dst.Addr()] += d
	v.votes[a][p.x.src.Addr()] -= d
	v.votes[b][p.y.dst.Addr()] += d
	v.votes[b][p.y.src.Addr()] -= d
}

// away reports whether what src sends to dst goes away from the beginning of the path,
// as a tap has their addresses, and whether anybody knows.
func (v *survey) away(tap int, src, dst netip.Addr) (away, known bool) {
	s, d := cmp.Compare(v.votes[tap][src], 0), cmp.Compare(v.votes[tap][dst], 0)
	return d > s, d != s
}

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
func (v *survey) fitClocks() {
	even := true
	for i := 1; i < len(v.order); i++ {
		l := link{near: v.order[i-1], far: v.order[i]}
		l.clock = v.fitPair(l.near, l.far)
		v.links = append(v.links, l)
		even = even && len(l.clock.Pieces) <= 1
	}
	v.clocks = make([]Clock, len(v.order))
	if even || len(v.order) == 2 {
		v.chain()
	} else {
		for i := 1; i < len(v.order); i++ {
			v.clocks[i] = v.fitPair(0, i)
		}
	}
	v.findWays()
}

// fitPair fits the clock of tap b against that of tap a.
func (v *survey) fitPair(a, b int) Clock {
	base := v.samples[a].stats.First
	pairs := v.between(a, b)
	var points []point
	came := 0
	for _, p := range pairs {
		k := point{x: float64(p.x.time - base), y: float64(p.y.time - p.x.time), packet: p.y.packet, others: p.x.packet}
		if k.came = v.awayOf(a, p.x) == (v.place[a] < v.place[b]); v.look == byAnswers {
			k.came = p.x.hash&1 == 0
		}
		if k.came {
			came++
		}
		points = append(points, k)
	}
	counts := [2]int{came, len(points) - came}
	if v.look != byAnswers && (counts[0] == 0 || counts[1] == 0) {
		points = append(points, answered(pairs, points)...)
	}
	c := fit(points, base, [2][]jump{v.samples[b].jumps, v.samples[a].jumps})
	c.Pairs = counts
	return c
}

// answered returns points that bound a clock from the other side than the packets that
// went all in one direction: the answer to a packet came back later than that came to the
// other tap.
func answered(pairs []pair, points []point) (more []point) {
	for i, p := range pairs {
		k := points[i]
		switch {
		case k.came && p.x.gap != 0:
			k.x += float64(p.x.gap)
			k.y -= float64(p.x.gap)
		case !k.came && p.y.gap != 0:
			k.y += float64(p.y.gap)
		default:
			continue
		}
		k.came = !k.came
		more = append(more, k)
	}
	return more
}

// chain joins the clocks of the links to clocks against the first tap of the list.
func (v *survey) chain() {
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

// common returns the time of a mark by the common clock.
func (v *survey) common(tap int, m *mark) tcp.Time {
	return v.commonAt(tap, m.packet, m.time)
}

// commonAt returns a time by the common clock, near a packet of a tap.
func (v *survey) commonAt(tap, packet int, t tcp.Time) tcp.Time {
	c := &v.clocks[tap]
	if len(c.Pieces) == 0 {
		return t
	}
	return c.Pieces[c.piece(packet, 0)].other(t)
}

// findWays finds how long packets of the sample were on their way from one end of the path
// to the other: usually, by direction, and at most.
func (v *survey) findWays() {
	if v.look == byAnswers {
		return
	}
	first, last := v.order[0], v.order[len(v.order)-1]
	var ways [2][]time.Duration
	for _, p := range v.between(first, last) {
		d, way := v.common(last, p.y).Sub(v.common(first, p.x)), 0
		if !v.awayOf(first, p.x) {
			d, way = -d, 1
		}
		ways[way] = append(ways[way], d)
		v.longest = max(v.longest, d)
	}
	for way, list := range ways {
		if slices.Sort(list); len(list) > 0 {
			v.usual[way], v.least[way] = max(0, list[len(list)/2]), max(0, list[0])
		}
	}
}

// findRunning finds out since when, and until when, each capture ran: it is not known
// not to have run where the others have nothing, outside of it, that came by it. A RST
// shows nothing, as anyone may send it.
func (v *survey) findRunning() {
	v.running = make([]span, len(v.samples))
	v.has = make([]span, len(v.samples))
	for i, p := range v.samples {
		v.running[i] = span{math.MinInt64, math.MaxInt64}
		v.has[i] = v.running[i]
		if p.stats.First == 0 {
			continue
		}
		v.has[i] = span{v.clocks[i].first(p.stats.First), v.clocks[i].Other(max(p.stats.Last, p.stats.Heard))}
		if first := v.has[i].from; v.begin == 0 || first < v.begin {
			v.begin = first
		}
		for j := range v.samples {
			if i != j {
				v.findRunningBy(i, j)
			}
		}
	}
}

// findRunningBy finds that out of capture i by what capture j has.
func (v *survey) findRunningBy(i, j int) {
	r, has := &v.running[i], v.has[i]
	for k := range v.samples[j].marks {
		m := &v.samples[j].marks[k]
		if m.reset {
			continue
		}
		at := m.time
		if v.samples[i].first(m.hash) >= 0 { // i has it, or others alike
			if at = m.last; at == 0 {
				continue
			}
		}
		from := v.commonAt(j, m.packet, at) // when it may have come by i, at the earliest and latest
		to := from
		switch came := v.awayOf(j, m) == (v.place[i] < v.place[j]); {
		case came:
			from = from.Add(-v.longest)
		case m.gap != 0:
			to = to.Add(m.gap)
		default:
			continue
		}
		if to < has.from {
			r.from = has.from
		}
		if from > has.to {
			r.to = has.to
		}
	}
}

// first is Other of the first packet of the capture.
func (c *Clock) first(t tcp.Time) tcp.Time {
	if len(c.Pieces) == 0 {
		return t
	}
	return c.Pieces[0].other(t)
}
