package taps

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

const (
	// maxHoles is how many holes are remembered of what an end sent, as one tap has it.
	maxHoles = 256

	// farAway is a step in sequence numbers that no window allows: whoever takes it
	// is in another connection.
	farAway = 1 << 30
)

// A hole is octets that a capture lacks.
type hole struct {
	from, to tcp.Seq
	went     bool // it has later ones
	acked    bool // their receiver has them
}

// A cover is the octets of one direction that a capture has.
type cover struct {
	any   bool
	max   tcp.Seq // behind the last
	acked tcp.Seq // up to which the receiver acknowledged them
	holes []hole  // in the order in which they were found
}

// reset begins anew with a SYN, or with the first octets that there are.
func (c *cover) reset(from, to tcp.Seq) {
	c.any, c.max, c.acked, c.holes = true, to, from, c.holes[:0]
}

// renew begins the cover of a new connection with its SYN, unless that is repeated.
func (d *side) renew(from, to tcp.Seq) {
	c := &d.cover
	if c.any && (from.Minus(c.max) > 1<<16 && c.max.Minus(from) > 1<<16) {
		if d.before == nil {
			d.before = new(cover)
		}
		holes := d.before.holes[:0]
		*d.before, c.holes = *c, holes
	}
	c.reset(from, to)
}

// coverOf returns the cover that a number belongs to.
func (d *side) coverOf(seq tcp.Seq) *cover {
	far := func(c *cover) tcp.Size { return min(seq.Minus(c.max), c.max.Minus(seq)) }
	if d.before != nil && far(d.before) < far(&d.cover) {
		return d.before
	}
	return &d.cover
}

// add adds octets that the capture has. It reports whether they are behind all that it
// had.
func (c *cover) add(from, to tcp.Seq) (next bool) {
	if !c.any || from.Minus(c.max) > farAway && c.max.Minus(from) > farAway {
		c.reset(from, from)
	}
	if from == to {
		return false
	}
	if next = c.max.AtMost(from); next {
		if from != c.max {
			c.skip(from)
		}
		c.max = to
		return true
	}
	c.fill(from, to)
	c.max = tcp.Later(c.max, to)
	return false
}

// skip takes in that the sender goes on from a number behind the last that there is.
func (c *cover) skip(to tcp.Seq) {
	for i := range c.holes {
		if h := &c.holes[i]; c.max.AtMost(h.from) && h.to.AtMost(to) {
			h.went = true
		}
	}
	if from := tcp.Later(c.max, c.acked); from.Before(to) {
		c.hole(hole{from: from, to: to, went: true})
	}
}

// hole remembers a hole, the newest of which count.
func (c *cover) hole(h hole) {
	if len(c.holes) >= maxHoles {
		c.holes = append(c.holes[:0], c.holes[1:]...)
	}
	c.holes = append(c.holes, h)
}

// fill takes octets out of the holes, unless their receiver had them before.
func (c *cover) fill(from, to tcp.Seq) {
	kept := c.holes[:0]
	var more hole
	for _, h := range c.holes {
		switch {
		case to.AtMost(h.from) || h.to.AtMost(from) || h.acked:
		case h.from.Before(from) && to.Before(h.to):
			more = h
			more.from = to
			h.to = from
		case h.from.Before(from):
			h.to = from
		case to.Before(h.to):
			h.from = to
		default:
			continue
		}
		kept = append(kept, h)
	}
	c.holes = kept
	if more.went {
		c.hole(more)
	}
}

// ack takes in that the receiver has everything before a number. It reports whether
// that is news of octets that the capture lacks.
func (c *cover) ack(to tcp.Seq) (lacked bool) {
	if !c.any || !c.acked.Before(to) || to.Minus(c.acked) > farAway {
		return false
	}
	for i := range c.holes {
		if h := &c.holes[i]; !h.acked && h.to.AtMost(to) {
			h.acked, lacked = true, true
		}
	}
	if from := tcp.Later(c.max, c.acked); from.Before(to) {
		lacked = true
		c.hole(hole{from: from, to: to, acked: true})
	}
	c.acked = to
	return lacked
}

// sack takes in that the receiver has some octets, though not all before them. It reports
// whether that is news of octets that the capture lacks.
func (c *cover) sack(from, to tcp.Seq) (lacked bool) {
	if !c.any || !from.Before(to) || c.max.Before(to) || len(c.holes) == 0 {
		return false
	}
	for i := 0; i < len(c.holes) && len(c.holes) < maxHoles-1; i++ {
		h := &c.holes[i]
		if h.acked || !h.from.Before(to) || !from.Before(h.to) {
			continue
		}
		old := *h
		h.from, h.to, h.acked = tcp.Later(h.from, from), tcp.Earlier(h.to, to), true
		if before := old; before.from.Before(from) {
			before.to = from
			c.hole(before)
		}
		if behind := old; to.Before(behind.to) {
			behind.from = to
			c.hole(behind)
		}
		lacked = true
	}
	return lacked
}

// arrived reports whether the receiver had some of the octets before the capture did.
func (c *cover) arrived(from, to tcp.Seq) bool {
	for _, h := range c.holes {
		if h.acked && h.from.Before(to) && from.Before(h.to) {
			return true
		}
	}
	return false
}

// goesOn reports whether the capture has later octets, and lacks some of these.
func (c *cover) goesOn(from, to tcp.Seq) bool {
	for _, h := range c.holes {
		if h.went && h.from.Before(to) && from.Before(h.to) {
			return true
		}
	}
	return false
}

// has reports whether the capture has all of the octets.
func (c *cover) has(from, to tcp.Seq) bool {
	return c.any && to.AtMost(c.max) && !c.goesOn(from, to)
}
