package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// send applies what the sender did by sending: SYN, SYN+ACK or FIN.
//
// The ACK of a first SYN or FIN pins what its sender had received by then: a
// receipt that the assumed view took for granted, and that the ACK does not
// cover, came after it, if it came.
func (m *Machine) send(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	why := m.cause(s, tcp.BySending)
	if s.Flags&tcp.SYN != 0 {
		c.callsIn(s, from)
	}
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
		if snd.Has(endpoint.SentSYN) || snd.Has(endpoint.SentSYNACK) {
			if !r.Stale && snd.Has(endpoint.SentSYN) && snd.Proved == tcp.Established.Set() && snd.Nxt == snd.ISS+1 {
				snd.Show(snd.Proved | tcp.SynSent.Set()) // it is late, or the ACK that was captured is not the end's
			}
			m.repeated(c, from)
			m.sawSYN(c, s, from)
			return
		}
		if c.Bits&copied != 0 {
			return
		}
		pending := m.refute(c, from, tcp.RcvSYN.Set(), why)
		snd.Show(snd.Proved.After(tcp.SndSYN.Set()))
		m.apply(c, from, tcp.SndSYN.Set(), why)
		if pending && !snd.Stack().NoCrossedSYNs {
			m.apply(c, from, tcp.RcvSYN.Set(), m.cause(s, tcp.ByCorrection))
		}
	case s.Flags&tcp.SYN != 0:
		if snd.Has(endpoint.SentSYNACK) && !c.answersAnew(s, from) {
			if rcv.Assumed == tcp.SynSent.Set() && rcv.SentAt > snd.SentAt {
				snd.Copies += min(1, 255-snd.Copies) // it answers another SYN: no timer ran out
			} else {
				m.repeated(c, from)
			}
			return
		}
		snd.Listens()
		snd.Show(snd.Proved.After(tcp.SndSYNACK.Set()))
		if rcv.Has(endpoint.HasAcked) && s.Seq.Before(rcv.Acked) {
			m.behindAnswer(c, s, from)
		}
		if !c.Skewed() || !c.wasReset(from) {
			m.apply(c, from, tcp.SndSYNACK.Set(), why)
		}
		c.sentFirstSYNACK(from, why)
		m.leaveOlder(c, s, from)
	case s.Flags&tcp.FIN != 0:
		if snd.Has(endpoint.HasFIN) {
			m.repeated(c, from)
			return
		}
		if c.Origin() == tcp.FromMidstream {
			m.pickUp(c, from, c.beforeFIN(from), why)
			m.pickUpSecond(c, s, from, why)
		}
		m.sentNow(c, s, from)
		rst, reset := c.Find(from, tcp.RcvRST)
		reset = reset && m.refute(c, from, tcp.RcvRST.Set(), why)
		acked := c.ackOfFirst(s, from)
		pending := rcv.Has(endpoint.HasFIN) && !rcv.FIN.Before(acked) && !c.coversDenied(from.Peer(), acked) && m.refute(c, from, tcp.RcvFIN.Set(), why)
		snd.Show(c.provedFIN(s, from))
		m.apply(c, from, tcp.SndFIN.Set(), why)
		c.closing(s, from)
		if pending && (rcv.Clock.Age(m.Now) <= snd.InFlight() || rcv.FIN.Before(s.Ack) || snd.Has(endpoint.HasAcked) && rcv.FIN.Before(c.sureOf(from))) {
			m.apply(c, from, tcp.RcvFIN.Set(), m.cause(s, tcp.ByCorrection))
		}
		if reset { // the two crossed
			m.apply(c, from, tcp.RcvRST.Set(), cause{at: m.Now, packet: rst.Packet(), basis: tcp.ByCorrection})
		}
	case r.Fresh > 0 && (!snd.Seen() || snd.Nxt.AtMost(s.Seq)) && !c.misfits(s, from):
		m.pickUp(c, from, tcp.Established.Set()|tcp.CloseWait.Set(), why)
		m.sentNow(c, s, from)
	default:
		unopened := tcp.Closed.Set() | tcp.Listen.Set() | tcp.SynSent.Set()
		if c.misfits(s, from) {
			unopened &^= tcp.SynSent.Set()
		}
		m.pickUp(c, from, ^unopened, why)
		if r.Old && !r.Stale && !r.Keepalive && snd.Has(endpoint.HasFIN) && snd.Assumed&^(tcp.FinWait1.Set()|tcp.Closing.Set()|tcp.LastAck.Set()) == 0 {
			snd.BackOff(m.Now) // what precedes the FIN is repeated by the same timer
		}
	}
}

// beforeFIN are the states in which an end may be that sends a FIN. If it is the
// first segment seen of it, the FIN may be a repetition.
func (c *Conn) beforeFIN(e tcp.Endpoint) tcp.StateSet {
	set := tcp.SynReceived.Set() | tcp.Established.Set() | tcp.CloseWait.Set()
	if !c.Ends[e].Seen() || c.Hidden(e) {
		set |= tcp.FinWait1.Set() | tcp.FinWait2.Set() | tcp.Closing.Set() | tcp.LastAck.Set() | tcp.TimeWait.Set()
	}
	return set
}

// provedFIN returns where its FIN takes the proved view of the end that sent
// it.
func (c *Conn) provedFIN(s *tcp.Segment, from tcp.Endpoint) tcp.StateSet {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	after := snd.Proved.After(tcp.SndFIN.Set())
	if after == tcp.FinWait1.Set() && (c.Hidden(from.Peer()) || !rcv.Has(endpoint.HasFIN) && rcv.Seen() && rcv.Nxt.Before(s.Ack)) {
		after |= tcp.LastAck.Set() // it may answer a FIN that was not captured
	}
	if snd.Seen() && snd.Nxt.Before(s.Seq) || c.isEarly(s, from) {
		after |= snd.Proved // what it follows, or acknowledges, was not captured: perhaps there is nothing
	}
	return after
}

// ackOfFirst returns what the FIN acknowledged when it was first sent. A FIN
// that fills a hole is a repetition, unless it is shown to be late itself; the
// first copy left before the segment that showed the hole, and acknowledged no
// more than what came before that.
func (c *Conn) ackOfFirst(s *tcp.Segment, from tcp.Endpoint) tcp.Seq {
	if c.Ends[from].Stale(s) {
		return s.Ack
	}
	fin := s.End() - 1
	for _, h := range c.HolesOf(from) {
		if h.HasAck && fin.In(h.From, h.To) {
			return h.Ack
		}
	}
	return s.Ack
}

// repeated notes another copy of the end's SYN or FIN.
func (m *Machine) repeated(c *Conn, e tcp.Endpoint) {
	subject := &c.Ends[e]
	subject.SetClock(m.Now, subject.Seen())
	m.arm(c)
}

// freed lets a server listen again that still held an older connection when
// the SYN came first, and does no longer, or that was given up with its client.
func (m *Machine) freed(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	subject := &c.Ends[tcp.Server]
	if s.Flags&(tcp.SYN|tcp.ACK) != tcp.SYN || from != tcp.Client || subject.Seen() || c.Provisional() || c.Happened(tcp.Server, tcp.RcvSYN) {
		return
	}
	old := c.Older()
	held := old != nil && !old.Ends[old.EndOf(c.Bits&ClientIsLow == 0)].Closed()
	if subject.Assumed == tcp.Unknown.Set() || subject.Assumed == tcp.Closed.Set() && old != nil && !held {
		if c.RefutedBefore(tcp.Server, tcp.RcvSYN) {
			m.erase(c, tcp.Server, tcp.Listen, m.cause(s, tcp.ByCorrection)) // it was told to be CLOSED
		} else {
			subject.FoundIn(tcp.Listen.Set())
		}
		if subject.Proved == tcp.Closed.Set() {
			subject.Show(tcp.Listen.Set())
		}
	}
}

// sentNow takes it that the peer has not received a FIN of the sender of s, which
// sends new octets, or its FIN, only now. If the peer acknowledged more, they were
// captured late, and it may have.
func (m *Machine) sentNow(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	least := s.End() // that an ACK of the FIN has
	if s.Flags&tcp.FIN == 0 {
		least++
	}
	if rcv := &c.Ends[from.Peer()]; !rcv.Has(endpoint.HasAcked) || rcv.Acked.Before(least) {
		m.pickUp(c, from.Peer(), noFINReceived, m.cause(s, tcp.ByProof))
	}
}

// noFINReceived are the states of an end whose peer has not sent a FIN.
const noFINReceived = ^tcp.StateSet(1<<tcp.CloseWait | 1<<tcp.Closing | 1<<tcp.LastAck | 1<<tcp.TimeWait)

// sawSYN mends the history of a client whose SYN the capture has only behind
// the SYN+ACK.
func (m *Machine) sawSYN(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	steps := c.Steps()
	for i, st := range steps {
		if st.End() == from && st.Inputs().Has(tcp.SndSYN) && st.Basis() == tcp.ByAssumption && !c.Ends[from].Seen() {
			steps[i] = history.New(min(st.At, s.Time), s.Packet, from, st.Inputs(), st.State(), tcp.BySending, false)
			c.Bits &^= OriginSYNACK
			m.behindAnswer(c, s, from)
			return // there is one such step
		}
	}
}

// sentFirstSYNACK makes the step into SYN-RECEIVED, which the assumed view
// took when the SYN was captured, the end's own.
func (c *Conn) sentFirstSYNACK(e tcp.Endpoint, why cause) {
	subject := &c.Ends[e]
	subject.SetClock(why.at, false)
	c.Steps().ConfirmInto(e, tcp.SynReceived)
}

// leaveOlder ends the connections before, on the same addresses and ports, at an
// end that accepts this one: it cannot hold two. Where the numbers of the two
// overlap, an old segment may pass for one of this connection, and all of them
// are looked at.
func (m *Machine) leaveOlder(c *Conn, synACK *tcp.Segment, e tcp.Endpoint) {
	if c.Older() == nil || c.Provisional() {
		return
	}
	old := m.FormerOf(c)
	if old == nil {
		return
	}
	for o := old; o != nil; o = m.FormerOf(o) {
		switch then := c.EndIn(o, e); {
		case !o.Ends[then].Closed():
			m.reuse(o, then, m.cause(synACK, tcp.BySending))
		case o.Ends[then].Assumed == tcp.Unknown.Set():
			m.erase(o, then, tcp.Closed, m.cause(synACK, tcp.BySending)) // of that attempt it has nothing now
		}
	}
	then := c.EndIn(old, e)
	subject, peer := &old.Ends[then], &old.Ends[then.Peer()]
	if subject.ReachedFrom(synACK.Seq) || peer.ReachedFrom(c.Ends[e.Peer()].ISS) {
		c.Bits |= amongStale
	}
}

// closing notes who sent the first FIN.
func (c *Conn) closing(s *tcp.Segment, from tcp.Endpoint) {
	rcv := &c.Ends[from.Peer()]
	switch {
	case !rcv.Has(endpoint.HasFIN):
		c.setClosedBy(tcp.ByClient + tcp.ClosedBy(from))
	case !rcv.FIN.Before(s.Ack) && c.ClosedBy() == tcp.ByClient+tcp.ClosedBy(from.Peer()):
		c.setClosedBy(tcp.ByBoth)
	}
}
