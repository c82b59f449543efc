package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// HolesOf returns the stretches below nxt that were not captured of the end.
func (c *Conn) HolesOf(e tcp.Endpoint) holes.List {
	if c.Rare == nil {
		return nil
	}
	return c.Rare.holes[e]
}

// Contiguous returns how far the octets of the end are captured without a
// hole that its peer has not acknowledged: RCV.NXT of the peer if all that was
// captured arrived.
func (c *Conn) Contiguous(e tcp.Endpoint) tcp.Seq {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	if c.Rare != nil && c.Rare.arrived != nil && c.Rare.arrived[e].Any() {
		return c.Rare.arrived[e].Next(peer.Acked, peer.Has(endpoint.HasAcked))
	}
	lowest := subject.Nxt
	for _, h := range c.HolesOf(e) {
		if peer.Has(endpoint.HasAcked) && h.To.AtMost(peer.Acked) {
			continue
		}
		if h.From.Before(lowest) {
			lowest = h.From
		}
	}
	if peer.Has(endpoint.HasAcked) && lowest.Before(peer.Acked) && peer.Acked.AtMost(subject.Nxt) {
		lowest = peer.Acked
	}
	return lowest
}

// Read tells what s is, before it is noted.
func (c *Conn) Read(s *tcp.Segment, from tcp.Endpoint) (r recent.Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !snd.Seen() {
		r.Fresh = s.Data
		return r
	}
	const acks = tcp.SYN | tcp.RST | tcp.ACK
	if s.Seq == snd.Nxt && s.Flags&tcp.SYN == 0 && (s.Len() > 0 || s.Flags&acks == tcp.ACK && rcv.Nxt-s.Ack < 1<<30) {
		r.Fresh = s.Data // in its turn, as nearly always
	} else {
		r.Foreign = c.fit(s, from) == fitsNot || c.answersTwice(s, from) || c.answersAgain(s, from)
		r.Keepalive = s.Data <= 1 && s.Flags&(tcp.SYN|tcp.FIN) == 0 && s.Seq.Add(1) == snd.Nxt && rcv.Has(endpoint.HasAcked) && snd.Nxt.AtMost(rcv.Acked)
		if !r.Foreign {
			r.Fresh = c.freshOctets(s, from)
		}
		r.Old = s.Len() > 0 && r.Fresh == 0 && s.End().AtMost(snd.Nxt) && !(s.Flags&tcp.SYN != 0 && (!snd.Has(endpoint.SentSYN|endpoint.SentSYNACK) || s.Seq != snd.ISS))
	}
	r.Stale = snd.Stale(s)
	return r
}

// freshOctets counts the payload octets of s that were not captured before.
func (c *Conn) freshOctets(s *tcp.Segment, from tcp.Endpoint) tcp.Size {
	snd := &c.Ends[from]
	first := s.Seq
	if s.Flags&tcp.SYN != 0 {
		first++
	}
	last := first.Add(s.Data)
	if snd.Nxt.AtMost(first) {
		return s.Data
	}
	var fresh tcp.Size
	if snd.Nxt.Before(last) {
		fresh = last.Minus(snd.Nxt)
	}
	for _, h := range c.HolesOf(from) {
		lo, hi := tcp.Later(h.From, first), h.To
		if last.Before(hi) {
			hi = last
		}
		if lo.Before(hi) {
			fresh += hi.Minus(lo)
		}
	}
	return min(fresh, s.Data)
}

// noteNext is note for a segment that is in turn (Machine.inTurn).
func (c *Conn) noteNext(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	snd := &c.Ends[from]
	c.newest[from].Take(s, snd.ID, s.Data > 0)
	snd.NoteNext(&c.Ends[from.Peer()], s, now)
}

// note takes down the sequence numbers, the window and the options of s.
func (c *Conn) note(s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	snd.Packets++
	if r.Foreign {
		c.RareState().RetransmittedBytes[from] += uint64(s.Data)
		return
	}
	if s.Lawless() && (snd.Bits|rcv.Bits)&(endpoint.HasISS|endpoint.HasAcked) != 0 {
		return // whoever gets it drops it; without a connection its numbers are those of the answer
	}
	snd.Bytes += uint64(r.Fresh)
	if r.Fresh != s.Data || r.Old {
		c.noteRepeat(s, from, r)
	}
	first := !snd.Seen()
	if s.Flags&(tcp.SYN|tcp.FIN) != 0 || first {
		c.noteControls(s, from, first)
	}
	ackBefore := snd.Acked
	if s.Flags&tcp.ACK != 0 {
		c.noteAck(s, from, now)
	}
	c.noteOctets(s, from, first, ackBefore)
	if s.Len() > 0 && !r.Old && !rcv.Has(endpoint.Probing) {
		rcv.Ask(s.End(), now)
	} else if r.Old {
		rcv.Bits &^= endpoint.Probing // Karn: an answer may be to either copy
	}
	c.newest[from].Take(s, snd.ID, r.Fresh > 0)
	if !r.Stale || first {
		snd.NoteHeader(s)
	}
	snd.NoteNewest(s, now)
}

// noteRepeat counts what was sent again.
func (c *Conn) noteRepeat(s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	if c.Ends[from.Peer()].ProbesWindow(s) {
		return
	}
	o := c.RareState()
	o.RetransmittedBytes[from] += uint64(s.Data - r.Fresh)
	answers := s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && !c.Ends[from].Has(endpoint.SentSYNACK) // the other SYN, in a simultaneous open
	if r.Old && !r.Keepalive && !answers {
		o.Retransmits[from]++
		o.RepeatedSYN = o.RepeatedSYN || s.Flags&tcp.SYN != 0
	}
}

// noteControls takes down what SYN and FIN carry, and where the end's numbers
// begin in a capture that starts in the middle.
func (c *Conn) noteControls(s *tcp.Segment, from tcp.Endpoint, first bool) {
	snd := &c.Ends[from]
	switch {
	case s.Flags&tcp.SYN != 0:
		if first || !snd.Has(endpoint.HasISS) || c.answersAnew(s, from) {
			snd.ISS, snd.Nxt = s.Seq, s.Seq
		}
		snd.Bits |= endpoint.HasISS
		if s.Flags&tcp.ACK != 0 {
			snd.Bits |= endpoint.SentSYNACK
		} else {
			snd.Bits |= endpoint.SentSYN
		}
		snd.MSS = s.Options.MSS
		if s.Options.Signed {
			snd.Bits |= endpoint.Signs
		}
		if s.Options.SACKOK {
			snd.Bits |= endpoint.SackOK
		}
		if s.Options.HasShift {
			snd.SetShift(s.Options.Shift)
		}
		if s.Data > 0 {
			c.RareState().SYNData[from] = s.Data
		}
	case first && !snd.Has(endpoint.HasISS):
		snd.Nxt = s.Seq
	}
	if s.Flags&(tcp.FIN|tcp.ACK|tcp.SYN) == tcp.FIN|tcp.ACK && !snd.Has(endpoint.HasFIN) {
		snd.Closes(s)
	}
}

// answersAnew reports whether s is a SYN+ACK with other numbers than the end's
// last, toward an end that still waits for one: the peer refused that, or did
// not receive it, and nothing holds the numbers.
func (c *Conn) answersAnew(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && snd.Has(endpoint.SentSYNACK) && s.Seq != snd.ISS &&
		rcv.Assumed == tcp.SynSent.Set() && !rcv.Has(endpoint.HasAcked) && rcv.ISS.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt)
}

// noteAck takes down the ACK field and the window.
func (c *Conn) noteAck(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	scaled := tcp.Size(s.Wnd)
	if s.Flags&tcp.SYN == 0 {
		scaled <<= snd.Scale(rcv)
	}
	edge := s.Ack.Add(scaled)
	if c.probedAt(rcv, s.Ack) {
		rcv.Nxt = s.Ack
	}
	if s.Flags&tcp.SYN != 0 && rcv.Has(endpoint.HasISS) && !rcv.Has(endpoint.HasAcked) && s.Ack == rcv.ISS.Add(1) && s.Ack.Add(1) == rcv.Nxt && (c.Rare == nil || c.Rare.SYNData[from.Peer()] == 0) {
		rcv.Nxt = s.Ack // a FIN on the SYN was not taken
	}
	if !rcv.Seen() {
		// Nothing was captured of the peer; what is acknowledged, it sent.
		if !snd.Has(endpoint.HasAcked) && snd.Has(endpoint.SentSYN) {
			rcv.ISS = s.Ack - 1
			rcv.Bits |= endpoint.HasISS
		}
		if !snd.Has(endpoint.HasAcked) || rcv.Nxt.Before(s.Ack) {
			c.newest[from.Peer()].CountUp()
			rcv.Nxt = s.Ack
		}
	}
	c.keepEarly(s, from, edge)
	snd.Acks(rcv, s.Ack, edge)
	snd.Answer(s.Ack, now)
	if s.Options.NumSACK > 0 {
		c.noteSACK(s, from)
	}
	snd.NoteEcho(s, rcv)
}

// noteSACK remembers the highest octets reported by SACK.
func (c *Conn) noteSACK(s *tcp.Segment, from tcp.Endpoint) {
	o := c.RareState()
	for _, b := range s.Options.SACK[:s.Options.NumSACK] {
		if last := &o.SACKed[from]; s.Ack.Before(b.Right) && (*last == tcp.Block{} || last.Right.AtMost(b.Right)) {
			*last = b
		}
	}
}

// noteOctets moves nxt, and keeps the holes below it.
// ackBefore is what the end had acknowledged before this segment.
func (c *Conn) noteOctets(s *tcp.Segment, from tcp.Endpoint, first bool, ackBefore tcp.Seq) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	end := s.End()
	if first {
		snd.Clean, snd.TsUnclean = s.Seq, s.Options.TSVal-1
	}
	snd.CleanUpTo(end, s, rcv)
	if snd.Nxt.Before(s.Seq) {
		o := c.RareState()
		o.early[from.Peer()].BearOut(s.Seq)
		// An ACK of the peer's first FIN was asked for by that alone. One of a
		// repeated FIN tells nothing of when the first was received.
		repeated := rcv.Has(endpoint.HasFIN) && rcv.Copies > 1 && rcv.FIN.Before(s.Ack)
		o.holes[from].Add(holes.Hole{From: snd.Nxt, To: s.Seq, Ack: ackBefore, HasAck: snd.Has(endpoint.HasAcked) && !repeated})
		if rcv.Has(endpoint.HasAcked) && snd.Nxt.Before(rcv.Acked) {
			snd.Bits |= endpoint.Lossy
		}
		snd.Nxt = s.Seq
	} else if s.Len() > 0 && c.Rare != nil && len(c.Rare.holes[from]) > 0 {
		c.Rare.holes[from].Fill(s.Seq, end)
	}
	snd.Nxt = tcp.Later(snd.Nxt, end)
}
