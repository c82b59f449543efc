package taps

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

const (
	// maxHoles is how many holes are remembered of what an end sent, as one tap has it.
	maxHoles = 12

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

// reset begins anew behind a SYN.
func (c *cover) reset(next tcp.Seq) {
	c.any, c.max, c.acked, c.holes = true, next, next, c.holes[:0]
}

// add adds octets that the capture has. It reports whether they are behind all that it
// had.
func (c *cover) add(from, to tcp.Seq) (next bool) {
	if !c.any || from.Minus(c.max) > farAway && c.max.Minus(from) > farAway {
		c.reset(from)
	}
	if from == to {
		return false
	}
	if next = c.max.AtMost(from); next {
		if from != c.max {
			c.hole(hole{from: c.max, to: from, went: true})
		}
		c.max = to
		return true
	}
	c.fill(from, to)
	c.max = tcp.Later(c.max, to)
	return false
}

// hole remembers a hole, the newest of which count.
func (c *cover) hole(h hole) {
	if len(c.holes) == maxHoles {
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

// lacks reports whether the capture lacks some of the octets: while it has later ones,
// or although their receiver has them.
func (c *cover) lacks(from, to tcp.Seq) (went, acked bool) {
	for _, h := range c.holes {
		if h.from.Before(to) && from.Before(h.to) {
			went, acked = went || h.went, acked || h.acked
		}
	}
	return went, acked
}
