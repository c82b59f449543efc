package taps

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// maxDrift is how much faster or slower one clock may run than another: ten times as
	// much as a bad quartz.
	maxDrift = 1e-3

	// gainful is by how much more room between the two directions a drift has to leave
	// than no drift, to be believed.
	gainful = 1.05

	// jitter is by how many nanoseconds a packet may seem to come before it left without
	// a clock having been set: stamps are made when the processor has time.
	jitter = 1e6

	// numKnots is at how many places of a piece the bound is calculated. Between them it
	// is less than the straight line.
	numKnots = 17
)

// A point is a packet that both taps have: in nanoseconds, x when the other had it and
// y how much more the clock showed.
type point struct {
	x, y   float64
	came   bool // it came from the other tap, so that the clock is ahead by y at most; else it went there, and the clock is ahead by y at least
	packet int  // its number in the capture of the clock
	others int  // and in that of the other
}

// fit finds the clock of a tap from the packets that it shares with another. Of the
// lines between those that came from there and those that went there, that with the
// largest distance to both is taken: it is right if the fastest packets of both
// directions were equally fast. Where there is no such line a clock was set. base is the
// time at which x is 0; jumps are the leaps of the clock, and of the other.
func fit(points []point, base tcp.Time, jumps [2][]jump) Clock {
	var c Clock
	if len(points) == 0 {
		return c
	}
	slices.SortFunc(points, func(a, b point) int { return a.packet - b.packet })
	var before []point
	for _, part := range split(points) {
		p := pieceOf(part, base)
		if p.packet, p.others = part[0].packet, part[0].others; before == nil {
			p.From, p.packet, p.others = math.MinInt64, 0, 0
		} else {
			p.begin(&c.Pieces[len(c.Pieces)-1], &before[len(before)-1], &part[0], jumps)
		}
		before = part
		c.Pieces = append(c.Pieces, p)
	}
	return c
}

// begin finds out where a piece begins, behind another with its last packet: at a leap of
// one of the clocks that explains it, if there is one between that and its own first. Else
// the packets between are given to the piece that has them earlier: by the other they may
// come later than those behind them.
func (p *Piece) begin(before *Piece, last, first *point, jumps [2][]jump) {
	ahead := float64(before.Offset) + before.Drift*float64(p.first-before.At)
	p.Step = p.Offset + time.Duration(p.Drift*float64(p.first-p.At)-ahead)
	p.From = p.first.Add(p.Offset + time.Duration(p.Drift*float64(p.first-p.At)))
	if p.Step > 0 {
		p.packet = last.packet + 1
	}
	explains := func(by time.Duration) bool { return (by - p.Step).Abs() < 5*time.Millisecond+p.Step.Abs()/4 }
	for _, j := range jumps[0] {
		if last.packet < j.packet && j.packet <= first.packet && explains(j.by) {
			p.packet = j.packet
			return
		}
	}
	for _, j := range jumps[1] {
		if last.others < j.packet && j.packet <= first.others && explains(-j.by) {
			p.others = j.packet
			return
		}
	}
}

// A room is points between which lines are looked for: those above, and those below.
type room struct{ above, below []point }

// roomOf returns what of points bounds lines between them: their hulls.
func roomOf(points []point) (r room) {
	all := make([]point, len(points)) // from both ends
	above, below := 0, len(all)
	for i := range points {
		if points[i].came {
			all[above] = points[i]
			above++
		} else {
			below--
			all[below] = points[i]
		}
	}
	r.above, r.below = all[:above:above], all[below:]
	r.above, r.below = hull(r.above, -1), hull(r.below, 1)
	return r
}

// offsets returns the lowest and the highest offset that lines of the slope have.
func (r *room) offsets(slope float64) (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	for i := range r.above {
		hi = min(hi, r.above[i].y-slope*r.above[i].x)
	}
	for i := range r.below {
		lo = max(lo, r.below[i].y-slope*r.below[i].x)
	}
	return lo, hi
}

// width returns how much room there is for lines of the slope; below 0: none.
func (r *room) width(slope float64) float64 {
	lo, hi := r.offsets(slope)
	return hi - lo
}

// oneSided reports whether all of the points came, or all went.
func (r *room) oneSided() bool { return len(r.above) == 0 || len(r.below) == 0 }

// widest returns the drift that leaves the most room.
func (r *room) widest() float64 {
	if r.oneSided() {
		return 0
	}
	return highest(r.width, -maxDrift, maxDrift)
}

// width returns how much room there is between points; infinity where they are of one
// direction.
func width(points []point) float64 {
	r := roomOf(points)
	return r.width(r.widest())
}

// highest returns where a function that is concave between l and r is highest.
func highest(f func(x float64) float64, l, r float64) float64 {
	for range 60 {
		m, n := l+(r-l)/3, r-(r-l)/3
		if f(m) < f(n) {
			l = m
		} else {
			r = n
		}
	}
	return (l + r) / 2
}

// pieceOf returns the line through the middle of points.
func pieceOf(points []point, base tcp.Time) Piece {
	r := roomOf(points)
	drift := r.widest()
	if none := r.width(0); none > 0 && r.width(drift) < gainful*none {
		drift = 0
	}
	lo, hi := r.offsets(drift)
	offset := (lo + hi) / 2
	switch {
	case math.IsInf(lo, 0):
		offset = hi
	case math.IsInf(hi, 0):
		offset = lo
	}
	first, last := math.Inf(1), math.Inf(-1)
	for i := range points {
		first, last = min(first, points[i].x), max(last, points[i].x)
	}
	p := Piece{At: base, Offset: time.Duration(math.Round(offset)), Drift: drift}
	p.first, p.step = base+tcp.Time(first), (last-first)/(numKnots-1)
	if r.oneSided() {
		p.Within = Unbounded
	} else {
		p.calculateBound(&r, first)
	}
	return p
}

// calculateBound calculates how wrong the piece may be.
func (p *Piece) calculateBound(room *room, first float64) {
	l, r := room.feasible(p.Drift)
	for i := range numKnots {
		x := first + float64(i)*p.step
		high := func(slope float64) float64 { _, hi := room.offsets(slope); return hi + slope*x }
		low := func(slope float64) float64 { lo, _ := room.offsets(slope); return -(lo + slope*x) }
		own := float64(p.Offset) + p.Drift*x
		wrong := max(math.Abs(high(highest(high, l, r))-own), math.Abs(low(highest(low, l, r))+own))
		p.knots = append(p.knots, time.Duration(math.Ceil(wrong)))
		p.Within = max(p.Within, p.knots[i])
	}
}

// feasible returns the least and the greatest slope for which there is room, from one
// between.
func (r *room) feasible(from float64) (least, greatest float64) {
	edge := func(far float64) float64 {
		near := from
		for range 40 {
			if m := (near + far) / 2; r.width(m) >= 0 {
				near = m
			} else {
				far = m
			}
		}
		return near
	}
	return edge(-maxDrift), edge(maxDrift)
}

// hull returns the lower (-1) or upper (1) convex hull of points, which it orders by x.
func hull(points []point, side float64) []point {
	slices.SortFunc(points, func(a, b point) int {
		if c := cmp.Compare(a.x, b.x); c != 0 {
			return c
		}
		return cmp.Compare(side*b.y, side*a.y)
	})
	h := points[:0]
	for _, p := range points {
		for len(h) >= 2 {
			a, b := &h[len(h)-2], &h[len(h)-1]
			if side*((b.x-a.x)*(p.y-a.y)-(b.y-a.y)*(p.x-a.x)) < 0 {
				break
			}
			h = h[:len(h)-1]
		}
		h = append(h, p)
	}
	return h
}
