package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A FIN whose numbers no captured segment explains is held: it acknowledges what
// its receiver was not seen to send, lies beyond what that offers, or ends what its
// sender sent with a stamp that is older than what came before. Either it is
// forged, or it is late, or the capture misses something. What either end sends
// next tells, and until then it has moved nobody.

// A heldFIN is one that waits.
type heldFIN struct {
	segment tcp.Segment
	why     tcp.Skip // what its receiver has against it
	at      tcp.Time // 0: there is none
}

// holds reports whether a FIN that row why cannot decide is to be held. Where the
// capture is known to miss segments of its receiver, or may, or has the directions
// out of step, it is believed.
func (q *question) holds(why tcp.Skip) bool {
	s, snd, rcv := q.s, q.snd, q.rcv
	if s.Flags&tcp.FIN == 0 || snd.Has(endpoint.HasFIN) || rcv.Has(endpoint.Lossy) || !snd.Seen() || q.c.Origin() != tcp.FromSYN || q.c.Bits&skewed != 0 {
		return false
	}
	switch why {
	case tcp.AckOfUnsent:
		// One octet more may be a FIN of the receiver's own that was not captured; not
		// if that has sent its FIN, and not likely where octets come along, or lack.
		return (s.Data > 0 || rcv.Has(endpoint.HasFIN) || snd.Nxt.Before(s.Seq) || rcv.Nxt.Add(1).Before(s.Ack)) && rcv.Assumed != tcp.FinWait2.Set()
	case tcp.OutsideWindow:
		return true
	case tcp.OldTimestamp, tcp.AckTooOld:
		return snd.Nxt.Before(s.End())
	}
	return false
}

// hold keeps the FIN.
func (c *Conn) hold(s *tcp.Segment, from tcp.Endpoint, why tcp.Skip, now tcp.Time) {
	o := c.RareState()
	if o.held == nil {
		o.held = new([2]heldFIN)
	}
	o.held[from] = heldFIN{*s, why, now}
	c.Bits |= holding
}

// settleHeld looks what s tells of FINs that are held, and lets one that proves
// to have been taken move both ends now.
func (m *Machine) settleHeld(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	for e := range tcp.Endpoint(2) {
		h := &c.Rare.held[e]
		if h.at == 0 {
			continue
		}
		is := c.heldIs(h, e, s, from, r, m.Now)
		again := from == e && h.why == tcp.OldTimestamp && s.Flags&tcp.FIN != 0 && s.End() == h.segment.End()
		if x := &c.Ends[e]; from == e && s.PureAck() && s.Seq == h.segment.End() && !r.Foreign { // the FIN is before it, or as many octets
			x.Show(x.Proved | x.Proved.After(tcp.SndFIN.Set()))
		}
		if is == gate.Unknown && !again {
			continue
		}
		fin, why := h.segment, h.why
		h.at = 0
		if c.Rare.held[e.Peer()].at == 0 {
			c.Bits &^= holding
		}
		if again {
			continue // s counts, whoever sent that
		}
		if is == gate.Accepted {
			if why == tcp.AckOfUnsent && c.reach(e).Before(fin.Ack) {
				fin.Ack = c.Ends[e].Acked // that number counted nowhere
			}
			m.takeLate(c, &fin, e)
			continue
		}
		m.scene.Verdict = gate.Verdict{Is: gate.Refused, Why: why, Unsent: true, By: s.Packet}
		m.tellChecks(c, &fin, e, recent.Reading{}, triggers.OnRefused)
		m.scene.Verdict = gate.Verdict{}
	}
}

// takeLate takes in a FIN that came earlier, and was counted then.
func (m *Machine) takeLate(c *Conn, fin *tcp.Segment, e tcp.Endpoint) {
	c.Ends[e].Packets--
	m.take(c, fin, e, c.Read(fin, e), gate.Verdict{})
}

// heldIs decides of a FIN of the end e, by what follows it.
func (c *Conn) heldIs(h *heldFIN, e tcp.Endpoint, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) gate.Outcome {
	fin := &h.segment
	if r.Foreign || r.Stale && s.Flags&tcp.FIN == 0 || r.Keepalive || s.Flags&tcp.RST != 0 {
		return gate.Unknown
	}
	if from == e {
		// Where the FIN is it has an octet: that FIN it did not send. Octets below it
		// may be sent again, and be captured only then.
		if last := fin.End() - 1; r.Fresh > 0 && last.In(s.Seq, s.Seq.Add(s.Data)) {
			return gate.Refused
		}
		return gate.Unknown
	}
	return c.heldIsByPeer(h, from, s, r, now)
}

// heldIsByPeer decides of a FIN by what its receiver, the end from, sends after
// it.
func (c *Conn) heldIsByPeer(h *heldFIN, from tcp.Endpoint, s *tcp.Segment, r recent.Reading, now tcp.Time) gate.Outcome {
	fin := &h.segment
	switch {
	case s.Flags&tcp.ACK != 0 && s.Ack == fin.End():
		return gate.Accepted
	case s.Flags&tcp.ACK != 0 && fin.End().Before(s.Ack):
		return gate.Refused // what is there was data
	case h.why != tcp.AckOfUnsent || c.Ends[from].AnyAck():
		return gate.Unknown
	case fin.Ack.AtMost(s.Seq):
		return gate.Accepted
	case r.Old || s.Seq.Before(c.Ends[from].Nxt) || !s.Seq.Before(fin.Ack):
		return gate.Unknown
	case s.Flags&tcp.FIN != 0 && s.End() == fin.Ack && now.Sub(h.at) >= RepeatedSoonest:
		return gate.Accepted // the first copy of this one may have been missed
	case now.Sub(h.at) > endpoint.CaptureSkew: // else it may be recorded in the wrong order
	case fin.Ack == s.End(), fin.Ack.Before(s.End()) && s.Data > c.Ends[from.Peer()].Largest(): // no end acknowledges a part of a segment, but where that was cut up on its way
		return gate.Accepted
	case s.End().Before(fin.Ack):
		return gate.Unknown
	}
	return gate.Refused // what the FIN acknowledges is sent only now, or never was
}
