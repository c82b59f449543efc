package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// An ACK of octets that the capture does not have tells that it missed them, or
// has them late, or that somebody else sent the ACK. One alone does not decide
// that, and proves nothing: the next of the end's that acknowledges as much bears
// it out, or its peer, which goes on behind it.

// An earlyACK waits to be borne out.
type earlyACK struct {
	waits       bool
	ack, before tcp.Seq // what it acknowledges, and what its alleged sender had acknowledged before
	from, to    tcp.Seq // the octets that came with it
}

// keepEarly keeps the ACK of s, before it counts, if it is to wait, and what counts
// while one waits.
func (c *Conn) keepEarly(s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if c.Rare != nil && c.Rare.early[from].waits {
		last := &c.Rare.early[from]
		if last.waits = s.Ack.Before(last.ack); last.waits && s.Ack.AtMost(rcv.Nxt) {
			last.before = tcp.Later(last.before, s.Ack)
		}
		return
	}
	if !snd.Has(HasAcked) && rcv.Has(SentSYNACK) && s.Ack.AtMost(rcv.ISS) {
		c.RareState().early[from] = earlyACK{from: s.Seq, to: s.End()} // it does not even cover the SYN
		return
	}
	if !c.isEarly(s, from) || snd.Has(HasAcked) && s.Ack.AtMost(snd.Acked) {
		return
	}
	o := c.RareState()
	o.early[from] = earlyACK{true, s.Ack, snd.Acked, s.Seq, s.End()}
	if !snd.Has(HasAcked) {
		o.early[from].before = rcv.ISS
	}
}

// isEarly reports whether the ACK of s covers what the capture should have of its
// peer, and does not.
func (c *Conn) isEarly(s *tcp.Segment, from tcp.Endpoint) bool {
	rcv := &c.Ends[from.Peer()]
	return s.Flags&tcp.ACK != 0 && rcv.Nxt.Before(s.Ack) && rcv.Seen() && !rcv.Has(Lossy) && c.Origin() == tcp.FromSYN && !c.Skewed()
}

// bearOut has the ACK of the peer that waits count, if s goes on behind it.
func (c *Conn) bearOut(s *tcp.Segment, from tcp.Endpoint) {
	if c.Rare != nil && c.Rare.early[from.Peer()].waits && c.Rare.early[from.Peer()].ack.AtMost(s.Seq) {
		c.Rare.early[from.Peer()] = earlyACK{}
	}
}

// sureOf is what the end has acknowledged, by more than one ACK that waits to be borne out.
func (c *Conn) sureOf(e tcp.Endpoint) tcp.Seq {
	if c.Rare != nil && c.Rare.early[e].waits {
		return c.Rare.early[e].before
	}
	return c.Ends[e].Acked
}

// doubtful reports whether the octet of the end is only known from a segment whose
// ACK was early, and which its peer did not acknowledge.
func (c *Conn) doubtful(e tcp.Endpoint, seq tcp.Seq) bool {
	if c.Rare == nil || c.Rare.early[e].from == c.Rare.early[e].to {
		return false
	}
	peer := &c.Ends[e.Peer()]
	return seq.In(c.Rare.early[e].from, c.Rare.early[e].to) && !(peer.Has(HasAcked) && seq.Before(peer.Acked))
}
