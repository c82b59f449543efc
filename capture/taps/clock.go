package taps

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Unbounded is what a bound of a clock is where no packets bound it: all that the
// captures share went the same way.
const Unbounded = time.Duration(math.MaxInt64)

// A Clock says how the clock of one tap runs against that of another. The zero Clock
// says that they are the same.
type Clock struct {
	// Pieces are one for each stretch in which it ran evenly, in the order of time.
	// Between two of them somebody set it.
	Pieces []Piece

	Pairs [2]int // the packets that fitted it, by direction: away from the other tap, and towards it
}

// A Piece is a stretch of time in which a clock ran evenly.
type Piece struct {
	From   tcp.Time      // when it begins, by the clock itself
	At     tcp.Time      // for which Offset is, by the other tap's clock
	Offset time.Duration // by how much it is ahead then; below 0: behind
	Drift  float64       // how much faster it runs: 1e-6 is a microsecond in each second
	Within time.Duration // Offset is wrong by no more, wherever in the piece, as no packet comes before it left; Unbounded: nothing bounds it

	knots []time.Duration // the bound at places at equal distances
	first tcp.Time        // of the first knot, by the other's clock
	step  float64         // from one to the next, in nanoseconds
}

// piece returns the piece in which the clock shows t.
func (c *Clock) piece(t tcp.Time) *Piece {
	for i := len(c.Pieces) - 1; i > 0; i-- {
		if t >= c.Pieces[i].From {
			return &c.Pieces[i]
		}
	}
	return &c.Pieces[0]
}

// Other returns a time of the clock by that of the other tap.
func (c *Clock) Other(t tcp.Time) tcp.Time {
	if len(c.Pieces) == 0 || t == 0 {
		return t
	}
	p := c.piece(t)
	since := float64(t-p.At) - float64(p.Offset)
	return p.At + tcp.Time(math.Round(since/(1+p.Drift)))
}

// Bound returns by how much Other is wrong at most, at a time of the clock.
func (c *Clock) Bound(t tcp.Time) time.Duration {
	if len(c.Pieces) == 0 {
		return 0
	}
	p := c.piece(t)
	if len(p.knots) == 0 || p.step <= 0 {
		return p.Within
	}
	at := min(max(float64(c.Other(t)-p.first)/p.step, 0), float64(len(p.knots)-1))
	i := min(int(at), len(p.knots)-2)
	a, b := float64(p.knots[i]), float64(p.knots[i+1])
	return time.Duration(a + (b-a)*(at-float64(i)))
}

// maxDrift is how much faster or slower one clock may run than another: ten times as
// much as a bad quartz.
const maxDrift = 1e-3

// gainful is by how much more room between the two directions a drift has to leave
// than no drift, to be believed.
const gainful = 1.05

// A point is a packet that both taps have, in nanoseconds: x when the one had it, y
// how much more the clock of the other showed.
type point struct{ x, y float64 }

// fit finds the clock of a tap from the packets that it shares with another: those that
// came from there, and those that went there. What a packet that came from there bounds
// is how far the clock is ahead; the other way, how far it is behind. Of the lines
// between both, that with the largest distance to both is taken: it is right if the
// fastest packets of both directions were equally fast.
func fit(came, went []point, base tcp.Time) Clock {
	c := Clock{Pairs: [2]int{len(came), len(went)}}
	if len(came)+len(went) == 0 {
		return c
	}
	first, last := spanOf(came, went)
	came, went = hull(came, -1), hull(went, 1)
	drift := bestDrift(came, went)
	lo, hi := room(came, went, drift)
	offset := 0.0
	switch {
	case math.IsInf(lo, 0):
		offset = hi
	case math.IsInf(hi, 0):
		offset = lo
	default:
		offset = (lo + hi) / 2
	}
	p := Piece{From: math.MinInt64, At: base, Offset: time.Duration(math.Round(offset)), Drift: drift}
	p.bound(came, went, first, last)
	c.Pieces = []Piece{p}
	return c
}

// spanOf returns the first and the last x.
func spanOf(lists ...[]point) (first, last float64) {
	first, last = math.Inf(1), math.Inf(-1)
	for _, list := range lists {
		for _, p := range list {
			first, last = min(first, p.x), max(last, p.x)
		}
	}
	return first, last
}

// room returns the lowest and highest offset that lines of the slope may have.
func room(came, went []point, slope float64) (lo, hi float64) {
	lo, hi = math.Inf(-1), math.Inf(1)
	for _, p := range came {
		hi = min(hi, p.y-slope*p.x)
	}
	for _, p := range went {
		lo = max(lo, p.y-slope*p.x)
	}
	return lo, hi
}

// widest returns the slope that leaves the most room, which is concave in the slope.
func widest(f func(slope float64) float64, l, r float64) float64 {
	for range 100 {
		m, n := l+(r-l)/3, r-(r-l)/3
		if f(m) < f(n) {
			l = m
		} else {
			r = n
		}
	}
	return (l + r) / 2
}

// bestDrift returns the drift that leaves the most room, and 0 where that gains little.
func bestDrift(came, went []point) float64 {
	if len(came) == 0 || len(went) == 0 {
		return 0
	}
	width := func(slope float64) float64 {
		lo, hi := room(came, went, slope)
		return hi - lo
	}
	drift := widest(width, -maxDrift, maxDrift)
	if none := width(0); none > 0 && width(drift) < gainful*none {
		return 0
	}
	return drift
}

// numKnots is at how many places of a piece the bound is calculated. Between them it is
// less than the straight line.
const numKnots = 33

// bound calculates how wrong the piece may be.
func (p *Piece) bound(came, went []point, first, last float64) {
	if len(came) == 0 || len(went) == 0 {
		p.Within = Unbounded
		return
	}
	width := func(slope float64) float64 {
		lo, hi := room(came, went, slope)
		return hi - lo
	}
	l, r := feasible(width, p.Drift)
	p.first, p.step = p.At+tcp.Time(first), (last-first)/(numKnots-1)
	for i := range numKnots {
		x := first + float64(i)*p.step
		high := func(slope float64) float64 { _, hi := room(came, went, slope); return hi + slope*x }
		low := func(slope float64) float64 { lo, _ := room(came, went, slope); return -(lo + slope*x) }
		own := float64(p.Offset) + p.Drift*x
		wrong := max(high(widest(high, l, r))-own, low(widest(low, l, r))+own, 0)
		p.knots = append(p.knots, time.Duration(math.Ceil(wrong)))
		p.Within = max(p.Within, p.knots[i])
	}
}

// feasible returns the least and greatest slope, from one in the middle, for which there
// is room.
func feasible(width func(slope float64) float64, from float64) (l, r float64) {
	edge := func(far float64) float64 {
		near := from
		for range 60 {
			if m := (near + far) / 2; width(m) >= 0 {
				near = m
			} else {
				far = m
			}
		}
		return far
	}
	return edge(-maxDrift * 1.001), edge(maxDrift * 1.001)
}

// hull returns the lower (-1) or upper (1) convex hull of points.
func hull(points []point, side float64) []point {
	points = slices.Clone(points)
	sort.Slice(points, func(i, j int) bool {
		a, b := points[i], points[j]
		return a.x < b.x || a.x == b.x && side*a.y > side*b.y
	})
	var h []point
	for _, p := range points {
		for len(h) >= 2 {
			a, b := h[len(h)-2], h[len(h)-1]
			if side*((b.x-a.x)*(p.y-a.y)-(b.y-a.y)*(p.x-a.x)) < 0 {
				break
			}
			h = h[:len(h)-1]
		}
		h = append(h, p)
	}
	return h
}
