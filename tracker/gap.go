package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A bystander who sees octets acknowledged that the capture does not have
// waits: the segment may only have been recorded behind the ACK. If it does
// not come, and the sender goes on behind the octets, the capture missed them.

// captureSkew is how far apart two records may lie that the capture has in the
// wrong order: those of several queues, or of two taps.
const captureSkew = 5 * time.Millisecond

// A gap is a stretch of an end's octets that its peer acknowledged before the
// capture had them.
type gap struct {
	is       gapState
	beyond   bool // the end went on behind it
	again    bool // the peer acknowledged it once more, and later
	from, to tcp.Seq
	at       tcp.Time // of the ACK
	ack      int      // its frame
}

// gapState says what is known of a gap.
type gapState uint8

const (
	gapNone     gapState = iota
	gapOpen              // the octets may still come
	gapInverted          // they came right after: recorded in the wrong order
	gapLost              // the capture does not have them
)

// size is how many sequence numbers are missing.
func (g *gap) size() tcp.Size { return g.to.Minus(g.from) }

// due reports whether octets that were recorded behind their ACK would have
// come by now. It is the peer that acknowledged them.
func (g *gap) due(peer *end, now tcp.Time) bool {
	return now.Sub(g.at) > max(captureSkew, peer.knownResponse())
}

// knownResponse is the end's response time, or 0 where none was measured.
func (e *end) knownResponse() time.Duration { return time.Duration(e.respond) * responseUnit }

// watchGaps follows the gaps of both ends, before s is noted, and returns the
// occasion if one of them turns out to be something.
func (c *Conn) watchGaps(s *tcp.Segment, from tcp.Endpoint, r reading, now tcp.Time) (on occasions) {
	if r.foreign {
		return 0
	}
	y := &c.ends[from.Peer()]
	c.fillGap(s, from, r, now)
	if s.Flags&tcp.ACK != 0 && !r.stale && y.seen() {
		c.openGap(s, from, now)
	}
	if c.odd == nil {
		return 0
	}
	for e := range tcp.Endpoint(2) {
		g := &c.odd.gaps[e]
		if g.is == gapOpen && g.beyond && g.due(&c.ends[e.Peer()], now) {
			g.is = gapLost
			c.ends[e].bits |= lossy
		}
		if g.is > gapOpen {
			on |= onGap
		}
	}
	return on
}

// fillGap looks at what s tells of the gap in its sender's own octets.
func (c *Conn) fillGap(s *tcp.Segment, from tcp.Endpoint, r reading, now tcp.Time) {
	if c.odd == nil || c.odd.gaps[from].is != gapOpen {
		return
	}
	g := &c.odd.gaps[from]
	switch {
	case s.Len() > 0 && s.Seq.Before(g.to) && g.from.Before(s.End()):
		if now.Sub(g.at) <= captureSkew {
			g.is = gapInverted
		} else {
			g.is = gapNone // sent again, or only now: not what was acknowledged
		}
	case g.to.AtMost(s.Seq):
		g.beyond = true
	case !r.stale && !r.old && !r.keepalive && !g.beyond && g.due(&c.ends[from.Peer()], now):
		g.is = gapNone // it had not sent the octets
	}
}

// openGap looks whether s acknowledges octets of its peer that the capture
// does not have. What was sent before the first ACK of a connection that was
// open already may have been sent before the capture.
func (c *Conn) openGap(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	acked := x.acked
	switch {
	case x.has(hasAcked):
	case y.has(hasISS) && c.origin() == tcp.FromSYN:
		acked = y.iss
	default:
		return
	}
	if !acked.Before(s.Ack) {
		if c.odd != nil && c.odd.gaps[from.Peer()].is == gapOpen && c.odd.gaps[from.Peer()].to.AtMost(s.Ack) {
			c.odd.gaps[from.Peer()].again = true
		}
		return
	}
	g := gap{is: gapOpen, at: now, ack: s.Packet}
	for _, h := range c.holesOf(from.Peer()) {
		if acked.AtMost(h.from) && h.from.Before(s.Ack) {
			if !g.beyond {
				g.from = h.from
			}
			g.beyond, g.to = true, h.to
			if s.Ack.Before(g.to) {
				g.to = s.Ack
			}
		}
	}
	if !g.beyond {
		g.from, g.to = tcp.Later(y.nxt, acked), s.Ack
		probed := y.bytes == 0 && c.origin() == tcp.FromMidstream && g.size() == 1 // by a keepalive, which lies one below
		if !y.nxt.Before(s.Ack) || probed {
			return
		}
	}
	if o := c.oddments(); o.gaps[from.Peer()].is == gapNone {
		o.gaps[from.Peer()] = g
	}
}

// settleGaps forgets the gaps that were judged.
func (c *Conn) settleGaps() {
	if c.odd == nil {
		return
	}
	for e := range tcp.Endpoint(2) {
		if c.odd.gaps[e].is > gapOpen {
			c.odd.gaps[e] = gap{}
		}
	}
}
