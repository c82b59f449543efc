package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A bystander who sees octets acknowledged that the capture does not have
// waits: the segment may only have been recorded behind the ACK. If it does
// not come, and the sender goes on behind the octets, the capture missed them.

// FollowGaps follows the gaps of both ends, before s is noted, and returns the
// trigger if one of them turns out to be something.
func (c *Conn) FollowGaps(s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) (on triggers.Set) {
	rcv := &c.Ends[from.Peer()]
	c.fillGap(s, from, r, now)
	if s.Flags&tcp.ACK != 0 && !r.Stale && rcv.Seen() {
		c.openGap(s, from, now)
	}
	if c.Rare == nil {
		return 0
	}
	for e := range tcp.Endpoint(2) {
		g := &c.Rare.Gaps[e]
		if g.Is == holes.GapOpen && g.Due(c.Ends[e.Peer()].Late(), now) {
			c.mayBeFIN(e, g)
			if g.Beyond {
				g.Is = holes.GapLost
				c.Ends[e].Bits |= endpoint.Lossy
			}
		}
		if g.Is > holes.GapOpen {
			on |= triggers.OnGap
		}
	}
	return on
}

// fillGap looks at what s tells of the gap in its sender's own octets.
func (c *Conn) fillGap(s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) {
	if c.Rare == nil || c.Rare.Gaps[from].Is != holes.GapOpen {
		return
	}
	g := &c.Rare.Gaps[from]
	switch {
	case s.Len() > 0 && s.Seq.Before(g.To) && g.From.Before(s.End()):
		if now.Sub(g.At) <= endpoint.CaptureSkew || !r.Old && (c.Skewed() || c.outOfStep(s, from, now.Sub(g.At))) {
			g.Is = holes.GapInverted
		} else {
			g.Is = holes.GapNone // sent again, or only now: not what was acknowledged
			c.denyEarly(from)
		}
	case g.To.AtMost(s.Seq):
		g.Beyond = true
	case !r.Stale && !r.Old && !r.Keepalive && !g.Beyond && !c.Skewed() && g.Due(c.Ends[from.Peer()].Late(), now):
		g.Is = holes.GapNone // it had not sent the octets: somebody else did
		c.denyEarly(from)
		if g.Size() == 1 {
			c.maybeClosedTo(from.Peer())
		}
	}
}

// denyEarly has the ACK that ran ahead of what the end was captured to have sent be
// taken back. Of a FIN that came with it more is to be looked at, see weighFIN.
func (c *Conn) denyEarly(e tcp.Endpoint) {
	peer, early := &c.Ends[e.Peer()], &c.Rare.early[e.Peer()]
	early.Denied = early.Waits && !(peer.Has(endpoint.HasFIN) && early.Doubtful(peer.FIN))
}

// mayBeFIN takes into account that one octet that the capture does not have may be
// the FIN of its sender: then both ends are further than their segments show.
// What they send later tells (pickUp).
func (c *Conn) mayBeFIN(e tcp.Endpoint, g *holes.Gap) {
	if subject := &c.Ends[e]; !g.Weighed && g.Size() == 1 && !g.Beyond && !subject.Has(endpoint.HasFIN) {
		closed := subject.Proved.After(tcp.SndFIN.Set())
		subject.Show(subject.Proved | closed | closed.After(tcp.RcvAckOfFIN.Set()))
		c.maybeClosedTo(e.Peer())
	}
	g.Weighed = true
}

// HidesFIN reports whether one octet that is acknowledged and was not captured may
// be a FIN of an end, of which no later segment tells.
func (c *Conn) HidesFIN(now tcp.Time) bool {
	if c.Rare == nil {
		return false
	}
	for e := range tcp.Endpoint(2) {
		if g := &c.Rare.Gaps[e]; g.Is == holes.GapOpen && !g.Beyond && g.Size() == 1 && !c.Ends[e].Has(endpoint.HasFIN) && g.Due(c.Ends[e.Peer()].Late(), now) {
			return true
		}
	}
	return false
}

// maybeClosedTo takes into account that the end may have received a FIN that the
// capture does not have.
func (c *Conn) maybeClosedTo(e tcp.Endpoint) {
	if subject := &c.Ends[e]; !c.Ends[e.Peer()].Has(endpoint.HasFIN) {
		subject.Show(subject.Proved | subject.Proved.After(tcp.RcvFIN.Set()))
	}
}

// openGap looks whether s acknowledges octets of its peer that the capture
// does not have. What was sent before the first ACK of a connection that was
// open already may have been sent before the capture.
func (c *Conn) openGap(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	acked := snd.Acked
	switch {
	case snd.Has(endpoint.HasAcked):
	case rcv.Has(endpoint.HasISS) && c.Origin() == tcp.FromSYN:
		acked = rcv.ISS
	default:
		return
	}
	if !acked.Before(s.Ack) {
		if c.Rare != nil && c.Rare.Gaps[from.Peer()].Is == holes.GapOpen && c.Rare.Gaps[from.Peer()].To.AtMost(s.Ack) {
			c.Rare.Gaps[from.Peer()].Again = true
		}
		return
	}
	g := holes.Gap{Is: holes.GapOpen, At: now, Ack: s.Packet}
	for _, h := range c.HolesOf(from.Peer()) {
		if acked.AtMost(h.From) && h.From.Before(s.Ack) {
			if !g.Beyond {
				g.From = h.From
			}
			g.Beyond, g.To = true, h.To
			if s.Ack.Before(g.To) {
				g.To = s.Ack
			}
		}
	}
	if !g.Beyond {
		g.From, g.To = tcp.Later(rcv.Nxt, acked), s.Ack
		if !rcv.Nxt.Before(s.Ack) || c.probedAt(rcv, s.Ack) || c.acksDenied(from.Peer(), s.Ack) || c.TookBack(from, s.Ack) {
			return
		}
	}
	if o := c.RareState(); o.Gaps[from.Peer()].Is == holes.GapNone {
		o.Gaps[from.Peer()] = g
	}
}

// settleGaps forgets the gaps that the checks were told of.
func (c *Conn) settleGaps() {
	if c.Rare == nil {
		return
	}
	for e := range tcp.Endpoint(2) {
		if c.Rare.Gaps[e].Is > holes.GapOpen {
			c.Rare.Gaps[e] = holes.Gap{}
		}
	}
}
