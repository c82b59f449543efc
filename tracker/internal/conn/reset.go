package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// observeRST takes in a RST. One that lacks the signature is not taken (RFC 2385
// §4.1); a host without the connection can send it, an end that has one cannot.
func (m *Machine) observeRST(c *Conn, s *tcp.Segment, from tcp.Endpoint, v gate.Verdict) gate.Verdict {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	before := m.snapshot(c)
	kind := rst.KindOf(s, snd, rcv, c.rcvNxt(from), m.Now)
	asked, found := m.answers(c, s, from)
	if kind == rst.Unmatched && found {
		kind = rst.Reply
	}
	if v.Is == gate.Refused && (kind == rst.Abort || !snd.Acked.Before(rcv.Nxt)) {
		kind = rst.Unmatched // nothing asked for the answer of a host without the connection
	}
	if kind == rst.Unmatched || c.Past&resets != 0 || snd.Packets+rcv.Packets > 2 && !m.Recent.Remembers(c.newestSegment, resetRemembers) {
		m.Recent.keepOwn(c)
	}
	if v.Is != gate.Refused {
		v = c.acceptsRST(s, from, m.Now)
	}
	accepted := v.Is != gate.Refused && !v.Held
	device := c.madeByDevice(s, from, kind, asked, m.Now)
	r := recent.Reading{Foreign: kind == rst.Unmatched || s.Leg == tcp.Neared}

	foreign := s.Leg == tcp.Neared
	switch {
	case foreign:
	case device:
		c.RareState().inName[from] = m.Now
	default:
		m.resetSender(c, s, from, kind, asked)
	}
	if accepted && s.Leg != tcp.Left {
		m.resetReceiver(c, s, from, v, kind, device || foreign)
	}
	if kind == rst.Reply {
		rcv.Bits |= endpoint.Answered
	}
	snd.Packets++
	if !foreign {
		snd.SentAt = m.Now
	}
	before.RST, before.Accepted, before.Doubted, before.Device = kind, accepted, v.Is == gate.Unknown, device
	is := r.Bits()
	if kind == rst.Reply {
		is |= recent.WasReply
	}
	if accepted {
		is |= recent.WasAccepted
	}
	m.Recent.put(c, s, from, is, m.Now)
	m.tellChecks(c, s, from, r, triggers.OnRST|c.qualityOf(s, from)|c.betweenOf(s, from))
	c.settleChallenge(s, from, before, m.Now)
	if before.States[from.Peer()] == tcp.SynSent.Set() && accepted && kind != rst.Unmatched {
		m.Listeners.Remove(c.Addr(from))
	}
	return v
}

// MaxLookBack bounds how many segments of a connection are looked through for
// what a RST has to do with.
const MaxLookBack = 64

// resetRemembers is how many of the segments before it a RST is judged by that
// ends a connection in which nothing odd has happened.
const resetRemembers = 8

// resets are the inputs by which a RST moves an end.
var resets = Past(tcp.SndRST.Set() | tcp.RcvRST.Set() | tcp.RcvRSTPassive.Set() | tcp.NoTCB.Set())

// answers returns when the segment was sent that the RST, if it is a reply,
// answers: the newest of the peer with that ACK field, and no other answer;
// failing that, the peer's newest of all. Found says that there is such a
// segment, and so that the RST may be a reply to an older one: of several that
// are on their way to a stack without the connection, each is answered.
func (m *Machine) answers(c *Conn, s *tcp.Segment, from tcp.Endpoint) (asked tcp.Time, found bool) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	hasACK := s.Flags&tcp.ACK != 0
	if hasACK && !rst.RepliesWithACK(s, snd, rcv) || snd.Seen() && !endpoint.SameWay(s.TTL, snd.TTL) {
		return rcv.SentAt, false
	}
	since, n := m.Now.Add(-max(rst.AnswerTimes*snd.Response(), time.Second)), 0
	for g := range m.Recent.Back(c) {
		if n++; n > MaxLookBack || g.At < since {
			break
		}
		switch {
		case g.From == from || g.Flags&(tcp.ACK|tcp.RST) != tcp.ACK || g.Ack != s.Seq || hasACK && g.End() != s.Ack:
		case g.Seq != g.End() && snd.Has(endpoint.HasAcked) && g.End().AtMost(snd.Acked): // it has its answer
		default:
			return g.At, true
		}
	}
	return rcv.SentAt, false
}

// LongIdle is how long nothing must have come from an end for what lies between to
// have forgotten the connection: the least that RFC 5382 §5 suggests is far longer,
// many devices are not.
const LongIdle = 60 * time.Second

// madeByDevice reports whether something between the ends made the reply, which
// does not tell what became of the end that it names: it came another way than
// that end's segments do, and sooner than that end ever answered, or after a
// long silence in which what lies between forgets. One of them alone is no
// sign.
func (c *Conn) madeByDevice(s *tcp.Segment, from tcp.Endpoint, kind rst.Kind, asked, now tcp.Time) bool {
	snd := &c.Ends[from]
	if kind != rst.Reply || !snd.Seen() || endpoint.SameWay(s.TTL, snd.TTL) || snd.Packets < 2 {
		return false
	}
	return snd.Respond != 0 && now.Sub(asked) < snd.Response()/2 || asked.Sub(snd.SentAt) >= LongIdle
}

// resetSender moves the end that sent the RST, in the assumed view. The proved
// view does not move: anyone may forge a RST. Of a reply, asked is when the
// segment was sent that it answers.
func (m *Machine) resetSender(c *Conn, s *tcp.Segment, from tcp.Endpoint, kind rst.Kind, asked tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	why := m.cause(s, tcp.BySending)
	switch kind {
	case rst.Abort:
		if s.Flags&tcp.ACK != 0 && rcv.Has(endpoint.HasFIN) && snd.Acked.AtMost(s.Ack) && !rcv.FIN.Before(s.Ack) {
			m.refute(c, from, tcp.RcvFIN.Set(), why) // its ACK says what it had received
		}
		m.pickUp(c, from, ^(tcp.Listen.Set() | tcp.TimeWait.Set()), why)
		m.apply(c, from, tcp.SndRST.Set(), why)
		c.abortedBy(from)
	case rst.Reply:
		if !snd.Seen() && (s.Flags&tcp.ACK != 0 || c.Origin() == tcp.FromMidstream) {
			m.erase(c, from, tcp.Closed, why) // it never had a connection
			return
		}
		if s.Flags&tcp.ACK == 0 && snd.Has(endpoint.HasISS) && !(snd.ISS.Before(s.Seq) && s.Seq.AtMost(snd.Nxt)) && snd.Assumed&(tcp.SynSent.Set()|tcp.SynReceived.Set()) != 0 {
			return // the answer to a bad ACK, from a connection that goes on (RFC 9293 §3.10.7.3, §3.10.7.4)
		}
		if snd.Closed() && c.Happened(from, tcp.SndRST) {
			return // it had aborted: what it answers may be a copy of what it had received before
		}
		if snd.Proved == tcp.TimeWait.Set() && !(c.Rare != nil && c.Rare.Closing[from.Peer()].Unanswered) {
			why.basis = tcp.ByAssumption // nothing asked for it, and in TIME-WAIT nobody is left who would abort
		}
		m.refute(c, from, c.takenSince(from, asked), why) // it had no connection that could receive this
		m.apply(c, from, tcp.NoTCB.Set(), why)
		c.abortedBy(from)
	}
}

// takenSince returns the inputs that the assumed view took the end to have
// received from the given time on, at first or after a correction.
func (c *Conn) takenSince(e tcp.Endpoint, at tcp.Time) tcp.InputSet {
	var ins tcp.InputSet
	for _, st := range c.Steps() {
		if st.End() == e && st.At >= at && (st.Basis() == tcp.ByAssumption || st.Basis() == tcp.ByCorrection) {
			ins |= st.Inputs()
		}
	}
	return ins & (tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set() | tcp.RcvFIN.Set() | tcp.RcvAckOfFIN.Set())
}

// abortedBy notes which end ended the connection, unless it was being closed.
func (c *Conn) abortedBy(e tcp.Endpoint) {
	if by := c.ClosedBy(); by == tcp.NotClosed || by == tcp.BySuperseded {
		c.setClosedBy(tcp.ByClientReset + tcp.ClosedBy(e))
	}
}

// acceptsRST says what becomes of a RST at its receiver, by the rules of its
// stack.
func (c *Conn) acceptsRST(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) gate.Verdict {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	t := rst.Target{
		State: rcv.Assumed.Only(), Stack: rcv.Stack(), Known: rcv.Has(endpoint.StackKnown),
		Active: rcv.Has(endpoint.SentSYN), Reads: rcv.Has(endpoint.StillReads), Ignores: c.Spares(from.Peer()),
		ISS: rcv.ISS, Nxt: rcv.Nxt, Any: !snd.Seen(), Next: c.nextFrom(s, from, now),
		Acked: rcv.Acked, Edge: rcv.Edge, HasAcked: rcv.Has(endpoint.HasAcked), Scaled: c.ScaleKnown(),
		Stale: s.Options.HasTS && rcv.Has(endpoint.HasEcho) && int32(rcv.Echo-s.Options.TSVal) > ticksBack,
	}
	if c.Rare != nil {
		t.SACK, t.HasSACK = c.Rare.SACKed[from.Peer()].Right, c.Rare.SACKed[from.Peer()] != tcp.Block{}
	}
	switch fate, why := t.Takes(s); fate {
	case rst.Believed:
		return gate.Verdict{Is: gate.Unknown}
	case rst.Doubted:
		return gate.Verdict{Is: gate.Unknown, Why: why, Held: true}
	case rst.Refused:
		return gate.Verdict{Is: gate.Refused, Why: why}
	}
	return gate.Verdict{}
}

// nextFrom is the number that the target of the RST s expects next.
func (c *Conn) nextFrom(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) tcp.Seq {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	next := c.rcvNxt(from.Peer())
	switch {
	case rst.RepliesTo(s, snd, rcv, now):
		return rcv.Acked // what the segment that it answers asked for; the end that is gone sent nothing since
	case snd.Has(endpoint.HasFIN) && snd.FIN.Before(next) && !c.Happened(from.Peer(), tcp.RcvFIN):
		return snd.FIN // captured, but shown not to have arrived
	}
	return next
}

// rcvNxt is RCV.NXT of the end in the assumed view: as far as the octets toward
// it are captured, or as it has acknowledged them, captured or not.
func (c *Conn) rcvNxt(e tcp.Endpoint) tcp.Seq {
	next := c.Contiguous(e.Peer())
	if subject := &c.Ends[e]; subject.Has(endpoint.HasAcked) {
		next = tcp.Later(next, subject.Acked)
	}
	return next
}

// resetReceiver moves the end that accepts the RST.
func (m *Machine) resetReceiver(c *Conn, s *tcp.Segment, from tcp.Endpoint, v gate.Verdict, kind rst.Kind, device bool) {
	rcv := &c.Ends[from.Peer()]
	why := m.cause(s, tcp.ByAssumption)
	why.sure = v.Is == gate.Accepted
	refused := rcv.Assumed == tcp.SynSent.Set()
	switch {
	case rcv.Assumed == tcp.SynReceived.Set() && !rcv.Has(endpoint.SentSYN):
		m.apply(c, from.Peer(), tcp.RcvRSTPassive.Set(), why)
	default:
		m.pickUp(c, from.Peer(), ^tcp.Listen.Set(), why)
		m.apply(c, from.Peer(), tcp.RcvRST.Set(), why)
	}
	switch {
	case refused:
		c.setClosedBy(tcp.ByRefusal)
	case device && c.ClosedBy() == tcp.NotClosed:
		c.setClosedBy(tcp.ByMiddlebox)
	case kind == rst.Unmatched:
		c.abortedBy(from)
	}
}

// observeICMP takes in an ICMP error about a segment of the connection. Only
// an attempt to open is ended by it (RFC 9293 §3.9.2.2, RFC 5461); in an open
// connection it is a hint that the stack may note.
func (m *Machine) observeICMP(c *Conn, s *tcp.Segment, from tcp.Endpoint) gate.Verdict {
	if c.outstanding(s, from) == gate.Refused {
		return gate.Verdict{Is: gate.Refused, Why: tcp.StrayICMP}
	}
	m.snapshot(c)
	c.keepICMP(s, from, m.Now)
	if snd := &c.Ends[from]; snd.Assumed == tcp.SynSent.Set() && s.Seq == snd.ISS && s.ICMP.Unreachable() {
		m.unreachable(c, s, from)
	}
	m.tellChecks(c, s, from, recent.Reading{}, triggers.OnICMP)
	return gate.Verdict{}
}

// unreachable ends an attempt to open.
func (m *Machine) unreachable(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	why := m.cause(s, tcp.ByAssumption)
	why.sure = s.ICMP.Hard()
	m.apply(c, from, tcp.Unreachable.Set(), why)
	if peer := from.Peer(); !c.Ends[peer].Seen() && !c.Unreached(peer) {
		m.erase(c, peer, m.unknown(c, peer), m.cause(s, tcp.ByCorrection)) // the SYN did not arrive there
	}
	c.setClosedBy(tcp.ByUnreachable)
}
