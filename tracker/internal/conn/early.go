package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// keepEarly keeps the ACK of s, which offers octets up to edge, before it counts, if
// it is to wait, and what counts while one waits.
func (c *Conn) keepEarly(s *tcp.Segment, from tcp.Endpoint, edge tcp.Seq) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	switch {
	case c.Rare != nil && c.Rare.early[from].Waits:
		c.Rare.early[from].Another(s, edge, s.Ack.AtMost(rcv.Nxt))
	case !snd.Has(endpoint.HasAcked) && rcv.Has(endpoint.SentSYNACK) && s.Ack.AtMost(rcv.ISS):
		c.RareState().early[from].Doubt(s) // it does not even cover the SYN
	case !c.isEarly(s, from) || snd.Has(endpoint.HasAcked) && s.Ack.AtMost(snd.Acked):
	case snd.Has(endpoint.HasAcked):
		c.RareState().early[from].Keep(s, snd.Acked, snd.Edge)
	default:
		c.RareState().early[from].Keep(s, rcv.ISS, rcv.ISS)
	}
}

// takeBackEarly takes back the ACKs that wait and are denied, and what came with them,
// once the checks were told.
func (c *Conn) takeBackEarly() {
	if c.Rare == nil {
		return
	}
	for e := range tcp.Endpoint(2) {
		x, early := &c.Ends[e], &c.Rare.early[e]
		if !early.Denied {
			continue
		}
		if x.Acked == early.Ack {
			x.Acked, x.Edge = early.Before, early.Offer
		}
		if !early.Again && x.Nxt == early.To {
			x.Nxt = c.Rare.holes[e].CutOff(early.From)
			if x.Nxt.Before(x.Clean) {
				x.Clean = x.Nxt
			}
		}
		*early = holes.Early{Ack: early.Ack, Back: true}
	}
}

// TookBack reports whether an ACK of the end with that number was taken back.
func (c *Conn) TookBack(e tcp.Endpoint, ack tcp.Seq) bool {
	return c.Rare != nil && c.Rare.early[e].Back && c.Rare.early[e].Ack == ack
}

// isEarly reports whether the ACK of s covers what the capture should have of its
// peer, and does not.
func (c *Conn) isEarly(s *tcp.Segment, from tcp.Endpoint) bool {
	rcv := &c.Ends[from.Peer()]
	return s.Flags&tcp.ACK != 0 && rcv.Nxt.Before(s.Ack) && rcv.Seen() && !rcv.Has(endpoint.Lossy) && !c.Skewed()
}

// sureOf is what the end has acknowledged for sure: an ACK that waits does not count.
func (c *Conn) sureOf(e tcp.Endpoint) tcp.Seq {
	if c.Rare != nil && c.Rare.early[e].Waits {
		return c.Rare.early[e].Before
	}
	return c.Ends[e].Acked
}

// doubtful reports whether the octet of the end came with an early ACK, and its peer
// did not acknowledge it.
func (c *Conn) doubtful(e tcp.Endpoint, seq tcp.Seq) bool {
	peer := &c.Ends[e.Peer()]
	return c.Rare != nil && c.Rare.early[e].Doubtful(seq) && !(peer.Has(endpoint.HasAcked) && seq.Before(peer.Acked))
}
