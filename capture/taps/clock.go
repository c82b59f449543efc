package taps

import (
	"math"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Unbounded is what a bound of a clock is where no packets bound it: all that the
// captures share went the same way.
const Unbounded = time.Duration(math.MaxInt64)

// A Clock says how the clock of one tap runs against that of another. The zero Clock
// says that they are the same.
type Clock struct {
	// Pieces are one for each stretch in which it ran evenly, in the order of the
	// capture. Between two of them one of the clocks was set, or began to run faster or
	// slower.
	Pieces []Piece

	Pairs [2]int // the packets that fitted it, by direction: that came from the other tap, and that went there
}

// A Piece is a stretch of time in which a clock ran evenly.
type Piece struct {
	From   tcp.Time      // when it begins, by the clock itself; of the first piece the beginning of all time
	At     tcp.Time      // for which Offset is, by the other tap's clock
	Offset time.Duration // by how much it is ahead then; below 0: behind
	Drift  float64       // how much faster it runs: 1e-6 is a microsecond in each second
	Within time.Duration // what it says is wrong by no more, wherever in the piece, as no packet comes before it left; Unbounded: nothing bounds that
	Step   time.Duration // by how much it was set ahead where the piece begins; below 0: back; of the first piece 0

	packet, others int // the numbers of the packet at which it begins, in the captures of the clock and of the other
	knots          []time.Duration
	first          tcp.Time // of the first knot, by the other's clock
	step           float64  // from one to the next, in nanoseconds
}

// piece returns the place of the piece that a packet of the capture is in, from one that
// is not behind it.
func (c *Clock) piece(packet, from int) int {
	for from+1 < len(c.Pieces) && c.Pieces[from+1].packet <= packet {
		from++
	}
	return from
}

// other returns a time of the clock by that of the other tap.
func (p *Piece) other(t tcp.Time) tcp.Time {
	since := float64(t-p.At) - float64(p.Offset)
	return p.At + tcp.Time(math.Round(since/(1+p.Drift)))
}

// Other returns a time of the clock by that of the other tap. Of a time that the clock
// showed twice, as it was set back, the later counts.
func (c *Clock) Other(t tcp.Time) tcp.Time {
	if len(c.Pieces) == 0 || t == 0 {
		return t
	}
	for i := len(c.Pieces) - 1; i > 0; i-- {
		if t >= c.Pieces[i].From {
			return c.Pieces[i].other(t)
		}
	}
	return c.Pieces[0].other(t)
}

// bound returns by how much other is wrong at most.
func (p *Piece) bound(t tcp.Time) time.Duration {
	if len(p.knots) == 0 || p.step <= 0 {
		return p.Within
	}
	at := min(max(float64(p.other(t)-p.first)/p.step, 0), float64(len(p.knots)-1))
	i := min(int(at), len(p.knots)-2)
	a, b := float64(p.knots[i]), float64(p.knots[i+1])
	return time.Duration(a + (b-a)*(at-float64(i)))
}

// steady is for how long the bound of a piece is taken for the same.
func (p *Piece) steady() time.Duration { return time.Duration(p.step / 16) }

// inverse returns the clock of the other tap against that of this one.
func (c *Clock) inverse() Clock {
	inv := Clock{Pairs: [2]int{c.Pairs[1], c.Pairs[0]}}
	for _, p := range c.Pieces {
		q := p
		if p.From != math.MinInt64 {
			q.From = p.other(p.From)
		}
		q.At, q.Offset = p.At.Add(p.Offset), -p.Offset
		q.Drift = 1/(1+p.Drift) - 1
		q.Step = -p.Step
		q.first = p.first.Add(p.Offset)
		q.packet, q.others = p.others, p.packet
		inv.Pieces = append(inv.Pieces, q)
	}
	return inv
}

// after returns the clock against that which the other tap's is known against. Neither
// has more than one piece.
func (c *Clock) after(o *Clock) Clock {
	if len(o.Pieces) == 0 || len(c.Pieces) == 0 {
		return *c
	}
	p, q := c.Pieces[0], &o.Pieces[0]
	sum := p
	sum.At = q.other(p.At)
	sum.Offset = p.At.Add(p.Offset).Sub(sum.At)
	sum.Drift = (1+p.Drift)*(1+q.Drift) - 1
	sum.knots = nil
	if p.Within == Unbounded || q.Within == Unbounded {
		sum.Within = Unbounded
	} else {
		sum.Within = p.Within + q.Within
	}
	return Clock{Pieces: []Piece{sum}, Pairs: c.Pairs}
}
