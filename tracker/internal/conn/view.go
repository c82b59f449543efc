package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What a captured segment tells of the two views. The rules:
//
// A segment that an end sends is proof of what that end had received before:
// the ACK field covers it (heard). In the proved view nothing else counts as
// received. In the assumed view everything that was captured counts, at once,
// until the end sends what it would not send had it received it (refuteBy).

// observe takes in one segment of the connection that is not a RST.
func (m *Machine) observe(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading, v gate.Verdict) gate.Verdict {
	on := c.triggersOf(s, from, r)
	if v.Is == gate.Refused {
		on |= triggers.OnRefused
	}
	if !r.Foreign && !v.Unsent && !v.Held && (on&triggers.OnGap != 0 || c.Rare != nil) {
		on |= c.FollowGaps(s, from, r, m.Now)
	}
	if on == 0 && c.Bits&holding == 0 { // the everyday case: nothing can move
		c.note(s, from, r, m.Now)
		m.Recent.put(c, s, from, 0, m.Now)
		return v
	}
	if on&(oddOn|triggers.OnRefused) != 0 || c.windowMoved(s, from, on) || s.Data > 0 && c.Ends[from.Peer()].Has(HasFIN) {
		m.Recent.keepOwn(c)
	}
	before := m.snapshot(c)
	if c.Older() != nil && on&mayBeOlder != 0 && m.keepStale(c, s, from) {
		c.Bits |= amongStale
		on |= triggers.OnAmongStale
	}
	is := r.bits()
	if m.weighFINs(c, s, from, r, v) {
		r = c.Read(s, from)
		v = m.accept(c, s, from)
	}
	switch {
	case r.Foreign || s.Lawless():
		if c.answersTwice(s, from) {
			c.keepAnswer(s, from)
		}
		c.note(s, from, r, m.Now)
	case v.Held:
		c.Ends[from].Packets++
		c.hold(s, from, v.Why, m.Now)
	case v.Unsent:
		c.Ends[from].Packets++
		if s.Data > 0 {
			c.RareState().RetransmittedBytes[from] += uint64(s.Data) // none of its stream, but on the wire
		}
		if v.Why != tcp.UnsignedSegment {
			m.restart(c, s, from.Peer())
		}
		is |= recent.WasForeign
	default:
		m.keepStalls(c, s, from, r, on)
		m.take(c, s, from, r, v)
	}
	m.Recent.put(c, s, from, is, m.Now)
	m.scene.Verdict = v
	m.tellChecks(c, s, from, r, on)
	m.scene.Verdict = gate.Verdict{}
	c.answeredFIN(s, from)
	c.settleGaps()
	if on&(triggers.OnChallenge|triggers.OnGap) != 0 {
		c.settleChallenge(s, from, before, m.Now)
	}
	return v
}

// take lets the segment move both ends in both views.
func (m *Machine) take(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading, v gate.Verdict) {
	firstFIN := s.Flags&tcp.FIN != 0 && !c.Ends[from].Has(HasFIN)
	c.keepClosing(s, from, r, m.Now)
	if m.newest != c && !r.Keepalive {
		m.notItsOwn(m.newest, c, s, from)
	}
	m.keepSilence(c, s, from, r)
	m.refuteBy(c, s, from, r)
	if m.newest != c {
		m.notYet(m.newest, c, s, from)
	}
	first := firstFIN && v.Is != gate.Refused && m.closedFirst(c, s, from)
	m.heard(c, s, from)
	m.send(c, s, from, r)
	accepted := c.Accepted()
	c.note(s, from, r, m.Now)
	if !accepted && c.Accepted() {
		m.listeners.Add(c.Addr(tcp.Server))
	}
	if v.Is == gate.Refused {
		m.restart(c, s, from.Peer())
	} else {
		m.deliver(c, s, from)
	}
	if first {
		m.apply(c, from, tcp.RcvAckOfFIN.Set()|tcp.RcvFIN.Set(), m.cause(s, tcp.ByAssumption))
	}
	if firstFIN {
		m.inverted(c, s, from)
	}
	if c.Rare != nil {
		m.supportFIN(c, s, from, firstFIN)
	}
}

// notYet takes back that the newest connection on these addresses and ports had
// reached an end that, as s shows, still held an older one. A host has one
// connection there at a time. What left the end before the SYN can have arrived
// shows it only where nothing that could end the older one was on its way too.
func (m *Machine) notYet(newest, older *Conn, s *tcp.Segment, from tcp.Endpoint) {
	e := newest.EndOf((older.EndOf(true) == tcp.Client) == (from == tcp.Client))
	subject := &newest.Ends[e]
	st, ok := newest.Find(e, tcp.RcvSYN)
	if !ok || newest.Provisional() || subject.Seen() || older.Ends[from].stale(s) {
		return
	}
	if !Synchronized(older.Ends[from].Assumed) && m.Now.Sub(st.At) <= older.Ends[from].Response()+responseSlack {
		return
	}
	subject.beganIn(tcp.Closed.Set())
	m.refute(newest, e, tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set(), m.cause(s, tcp.ByCorrection))
}

// answeredFIN notes that a repeated FIN has its answer.
func (c *Conn) answeredFIN(s *tcp.Segment, from tcp.Endpoint) {
	if rcv := &c.Ends[from.Peer()]; c.Rare != nil && s.Flags&tcp.ACK != 0 && rcv.Has(HasFIN) && rcv.FIN.Before(s.Ack) {
		c.Rare.Closing[from.Peer()].Unanswered = false
	}
}

// keepClosing notes the frames of an unusual close: copies of a FIN, ACKs of
// them, and what reaches an end in TIME-WAIT.
func (c *Conn) keepClosing(s *tcp.Segment, from tcp.Endpoint, r Reading, now tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if s.Flags&tcp.FIN != 0 && snd.Has(HasFIN) {
		k := &c.RareState().Closing[from]
		acked, ok := c.Find(from, tcp.RcvAckOfFIN)
		k.FINCopy, k.FINCopyAt, k.Unanswered = s.Packet, now, true
		k.Crossed = r.Stale || ok && now.Sub(acked.At) <= snd.InFlight()
		if ok {
			c.Rare.Closing[from.Peer()].KeepACK(acked.Packet())
		}
	}
	if rcv.Assumed == tcp.TimeWait.Set() {
		k := &c.RareState().Closing[from.Peer()]
		k.StrayInto, k.StrayFlags = s.Packet, s.Flags
	}
	if snd.Assumed == tcp.TimeWait.Set() && rcv.Assumed == tcp.Closed.Set() && s.PureAck() {
		c.RareState().Closing[from].KeepACK(s.Packet)
	}
}

// Up is the state of an end in an ordinary open connection.
var Up = tcp.Established.Set()

// cause returns the segment as the cause of a move.
func (m *Machine) cause(s *tcp.Segment, b tcp.Basis) cause {
	return cause{at: m.Now, packet: s.Packet, basis: b}
}

// heard applies what the segment shows its sender to have received.
//
// Both views: an ACK that covers SYN or FIN, or an octet that was only ever
// sent along with an ACK of ours, shows that these were received.
func (m *Machine) heard(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if s.Flags&tcp.ACK == 0 {
		return
	}
	var ins tcp.InputSet
	if !rcv.Has(HasISS) || rcv.ISS.Before(s.Ack) {
		ins |= 1 << tcp.RcvSYN
	}
	if s.Flags&tcp.SYN == 0 && c.AckOfSYNHeard(s, from) {
		ins |= 1 << tcp.RcvAckOfSYN
	}
	if snd.Has(HasFIN) && c.AckOfFINHeard(s, from) {
		ins |= 1 << tcp.RcvAckOfFIN
	}
	if rcv.Has(HasFIN) && rcv.FIN.Before(s.Ack) {
		ins |= tcp.RcvAckOfSYN.Set() | tcp.RcvFIN.Set() // no FIN is looked at before the SYN is acknowledged (RFC 9293 §3.10.7.4)
	}
	if s.Flags&tcp.SYN == 0 && snd.Proved == tcp.SynSent.Set() {
		ins |= tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set() // without them it would be silent, or send SYNs
	}
	snd.show(m.provedBy(c, s, from, ins))
	rst, reset := c.Find(from, tcp.RcvRST)
	reset = reset && ins.Has(tcp.RcvFIN) && !c.Happened(from, tcp.RcvFIN) && m.refute(c, from, tcp.RcvRST.Set(), m.cause(s, tcp.ByProof))
	m.apply(c, from, ins, m.cause(s, tcp.ByProof))
	if reset && snd.Stack().RSTBelowFIN { // it came behind the FIN
		m.apply(c, from, tcp.RcvRST.Set(), cause{at: m.Now, packet: rst.Packet(), basis: tcp.ByCorrection})
	}
	c.confirm(from, ins)
}

// provedBy returns where the inputs take the proved view of the end that sent
// s. That it received the peer's FIN does not tell what came before: an ACK of
// its own FIN, or that FIN itself among what was not captured.
func (m *Machine) provedBy(c *Conn, s *tcp.Segment, from tcp.Endpoint, ins tcp.InputSet) tcp.StateSet {
	snd := &c.Ends[from]
	after := snd.Proved.After(ins)
	if after == snd.Proved || !ins.Has(tcp.RcvFIN) {
		return after
	}
	if after == tcp.CloseWait.Set() && (snd.Nxt.Before(s.Seq) || c.Hidden(from) || s.Flags&tcp.FIN != 0 && snd.Skipped(s)) {
		return after | tcp.Closing.Set() | tcp.TimeWait.Set()
	}
	return c.orTimeWait(from, after)
}

// orTimeWait returns where the proof that it received the peer's FIN took an
// end, with what else is possible: an ACK of the end's own FIN that was captured
// before may have overtaken the peer's FIN, and led from FIN-WAIT-1 through
// FIN-WAIT-2.
func (c *Conn) orTimeWait(e tcp.Endpoint, after tcp.StateSet) tcp.StateSet {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	if after == tcp.Closing.Set() && peer.Has(HasAcked) && subject.FIN.Before(peer.Acked) {
		after |= tcp.TimeWait.Set()
	}
	return after
}

// Hidden reports whether the newest octets that the end is known to have sent
// were not captured. Its FIN may be among them.
func (c *Conn) Hidden(e tcp.Endpoint) bool {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	if subject.Has(HasFIN) || !peer.Has(HasAcked) {
		return false
	}
	if !subject.Seen() {
		return !subject.Has(HasISS) || (subject.ISS + 1).Before(peer.Acked)
	}
	for _, h := range c.HolesOf(e) {
		if h.To == subject.Nxt {
			return true
		}
	}
	return subject.Nxt.Before(peer.Acked) && !c.acksDenied(e, peer.Acked)
}

// Skipped reports whether the IP identification shows that segments between
// the end's newest and s were not captured, as far as its stack counts there.
func (x *End) Skipped(s *tcp.Segment) bool {
	gap := s.ID - x.ID
	return s.ID != 0 && x.ID != 0 && 1 < gap && gap < 1<<8
}

// AckOfSYNHeard reports whether s, which has no SYN, shows that its sender's
// SYN was acknowledged: it acknowledges an octet behind the peer's SYN, which
// the peer sent along with an ACK; or it carries new data, which an end in
// SYN-RECEIVED would queue (RFC 9293 §3.10.2), but for TCP Fast Open.
func (c *Conn) AckOfSYNHeard(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	onSYN := tcp.Size(0)
	if c.Rare != nil {
		onSYN = c.Rare.SYNData[from.Peer()]
	}
	if rcv.Has(HasISS) && rcv.Seen() && !rcv.Has(Lossy) && rcv.ISS.Add(1+onSYN).Before(s.Ack) && s.Ack.AtMost(rcv.Nxt) {
		return true
	}
	return s.Data > 0 && onSYN == 0 && snd.Has(HasISS) && snd.Nxt.AtMost(s.Seq)
}

// AckOfFINHeard reports whether s shows that its sender's FIN was
// acknowledged: it acknowledges an octet of which all captured copies carried
// that ACK, or it echoes a timestamp that only segments with that ACK had.
func (c *Conn) AckOfFINHeard(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !rcv.Seen() || rcv.Has(Lossy) || !rcv.Has(HasAcked) || !snd.FIN.Before(rcv.Acked) {
		return false
	}
	if rcv.Clean.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt) {
		return true
	}
	return s.Options.HasTS && rcv.Has(HasTS) &&
		int32(s.Options.TSEcr-rcv.tsUnclean) > 0 && int32(s.Options.TSEcr-rcv.TSVal) <= 0
}

// send applies what the sender did by sending: SYN, SYN+ACK or FIN.
//
// The ACK of a first SYN or FIN pins what its sender had received by then: a
// receipt that the assumed view took for granted, and that the ACK does not
// cover, came after it, if it came.
func (m *Machine) send(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	why := m.cause(s, tcp.BySending)
	if s.Flags&tcp.SYN != 0 {
		c.callsIn(s, from)
	}
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
		if snd.Has(SentSYN) || snd.Has(SentSYNACK) {
			m.repeated(c, from)
			m.sawSYN(c, s, from)
			return
		}
		if c.Bits&copied != 0 {
			return
		}
		pending := m.refute(c, from, tcp.RcvSYN.Set(), why)
		snd.show(snd.Proved.After(tcp.SndSYN.Set()))
		m.apply(c, from, tcp.SndSYN.Set(), why)
		if pending && !snd.Stack().NoCrossedSYNs {
			m.apply(c, from, tcp.RcvSYN.Set(), m.cause(s, tcp.ByCorrection))
		}
	case s.Flags&tcp.SYN != 0:
		if snd.Has(SentSYNACK) && !c.answersAnew(s, from) {
			if rcv.Assumed == tcp.SynSent.Set() && rcv.SentAt > snd.SentAt {
				snd.Copies += min(1, 255-snd.Copies) // it answers another SYN: no timer ran out
			} else {
				m.repeated(c, from)
			}
			return
		}
		snd.listens()
		snd.show(snd.Proved.After(tcp.SndSYNACK.Set()))
		if rcv.Has(HasAcked) && s.Seq.Before(rcv.Acked) {
			m.behindAnswer(c, s, from)
		}
		if !c.Skewed() || !c.wasReset(from) {
			m.apply(c, from, tcp.SndSYNACK.Set(), why)
		}
		c.sentFirstSYNACK(from, why)
		m.leaveOlder(c, s, from)
	case s.Flags&tcp.FIN != 0:
		if snd.Has(HasFIN) {
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
		pending := rcv.Has(HasFIN) && !rcv.FIN.Before(acked) && !c.coversDenied(from.Peer(), acked) && m.refute(c, from, tcp.RcvFIN.Set(), why)
		snd.show(c.provedFIN(s, from))
		m.apply(c, from, tcp.SndFIN.Set(), why)
		c.closing(s, from)
		if pending && (rcv.Clock.Age(m.Now) <= snd.InFlight() || rcv.FIN.Before(s.Ack) || snd.Has(HasAcked) && rcv.FIN.Before(snd.Acked)) {
			m.apply(c, from, tcp.RcvFIN.Set(), m.cause(s, tcp.ByCorrection))
		}
		if reset { // the two crossed
			m.apply(c, from, tcp.RcvRST.Set(), cause{at: m.Now, packet: rst.Packet(), basis: tcp.ByCorrection})
		}
	case r.Fresh > 0 && (!snd.Seen() || snd.Nxt.AtMost(s.Seq)):
		m.pickUp(c, from, tcp.Established.Set()|tcp.CloseWait.Set(), why)
		m.sentNow(c, s, from)
	default:
		m.pickUp(c, from, ^(tcp.Closed.Set() | tcp.Listen.Set() | tcp.SynSent.Set()), why)
		if r.Old && !r.Stale && !r.Keepalive && snd.Has(HasFIN) && snd.Assumed&^(tcp.FinWait1.Set()|tcp.Closing.Set()|tcp.LastAck.Set()) == 0 {
			snd.backOff(m.Now) // what precedes the FIN is repeated by the same timer
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
	if after == tcp.FinWait1.Set() && (c.Hidden(from.Peer()) || !rcv.Has(HasFIN) && rcv.Seen() && rcv.Nxt.Before(s.Ack)) {
		after |= tcp.LastAck.Set() // it may answer a FIN that was not captured
	}
	if snd.Seen() && snd.Nxt.Before(s.Seq) {
		after |= snd.Proved // what it follows was not captured: perhaps there is nothing
	}
	return after
}

// ackOfFirst returns what the FIN acknowledged when it was first sent. A FIN
// that fills a hole is a repetition, unless it is shown to be late itself; the
// first copy left before the segment that showed the hole, and acknowledged no
// more than what came before that.
func (c *Conn) ackOfFirst(s *tcp.Segment, from tcp.Endpoint) tcp.Seq {
	if c.Ends[from].stale(s) {
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
	subject.setClock(m.Now, subject.Seen())
	m.arm(c)
}

// freed lets a server listen again that still held an older connection when
// the SYN came first, and does no longer, or that was given up with its client.
func (m *Machine) freed(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	subject := &c.Ends[tcp.Server]
	if s.Flags&(tcp.SYN|tcp.ACK) != tcp.SYN || from != tcp.Client || subject.Seen() || c.Provisional() {
		return
	}
	old := c.Older()
	held := old != nil && !old.Ends[old.EndOf(c.Bits&ClientIsLow == 0)].closed()
	if subject.Assumed == tcp.Unknown.Set() || subject.Assumed == tcp.Closed.Set() && old != nil && !held {
		subject.foundIn(tcp.Listen.Set())
		if subject.Proved == tcp.Closed.Set() {
			subject.show(tcp.Listen.Set())
		}
	}
}

// listens takes an end of which nothing was known, as nothing had answered in
// its name, for one that listens.
func (x *End) listens() {
	if x.Assumed == tcp.Unknown.Set() {
		x.foundIn(tcp.Listen.Set())
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
	if rcv := &c.Ends[from.Peer()]; !rcv.Has(HasAcked) || rcv.Acked.Before(least) {
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
		}
	}
}

// sentFirstSYNACK makes the step into SYN-RECEIVED, which the assumed view
// took when the SYN was captured, the end's own.
func (c *Conn) sentFirstSYNACK(e tcp.Endpoint, why cause) {
	subject := &c.Ends[e]
	subject.setClock(why.at, false)
	steps := c.Steps()
	for i, st := range steps {
		if st.End() == e && st.State() == tcp.SynReceived && st.Basis() == tcp.ByAssumption {
			steps[i] = st.With(st.Inputs(), st.State(), tcp.ByProof)
		}
	}
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
		case !o.Ends[then].closed():
			m.reuse(o, then, m.cause(synACK, tcp.BySending))
		case o.Ends[then].Assumed == tcp.Unknown.Set():
			m.erase(o, then, tcp.Closed, m.cause(synACK, tcp.BySending)) // of that attempt it has nothing now
		}
	}
	then := c.EndIn(old, e)
	subject, peer := &old.Ends[then], &old.Ends[then.Peer()]
	if subject.reachedFrom(synACK.Seq) || peer.reachedFrom(c.Ends[e.Peer()].ISS) {
		c.Bits |= amongStale
	}
}

// reachedFrom reports whether a new connection that begins at iss soon comes to
// the numbers of the end.
func (x *End) reachedFrom(iss tcp.Seq) bool {
	const soon = 1 << 28 // some seconds at 1 Gbit/s
	return x.Seen() && iss.Before(x.Nxt) && x.Nxt.Minus(iss) < soon
}

// closing notes who sent the first FIN.
func (c *Conn) closing(s *tcp.Segment, from tcp.Endpoint) {
	rcv := &c.Ends[from.Peer()]
	switch {
	case !rcv.Has(HasFIN):
		c.setClosedBy(tcp.ByClient + tcp.ClosedBy(from))
	case !rcv.FIN.Before(s.Ack) && c.ClosedBy() == tcp.ByClient+tcp.ClosedBy(from.Peer()):
		c.setClosedBy(tcp.ByBoth)
	}
}

// deliver lets the segment arrive at its receiver in the assumed view. Of a SYN
// that is also a FIN only the answer tells whether it was taken: Linux drops it.
func (m *Machine) deliver(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	m.freed(c, s, from)
	if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && !rcv.Seen() {
		rcv.listens()
	}
	ins := c.acknowledges(s, from)
	if s.Flags&(tcp.SYN|tcp.FIN) == tcp.SYN && (ins.Has(tcp.RcvAckOfSYN) || s.Flags&tcp.ACK == 0 && !rcv.Stack().NoCrossedSYNs || rcv.Assumed != tcp.SynSent.Set()) {
		ins |= 1 << tcp.RcvSYN
	}
	lacked, lacks := c.stillLacks(s, from)
	if snd.Has(HasFIN) && snd.FIN.AtMost(c.Contiguous(from)) && !lacks {
		if s.Flags&tcp.FIN != 0 || !c.Happened(from.Peer(), tcp.RcvFIN) && (lacked || !c.refutedFIN(from.Peer())) {
			ins |= 1 << tcp.RcvFIN
		}
	}
	if ins.Has(tcp.RcvFIN) && s.Flags&tcp.FIN == 0 && rcv.Has(HasAcked) && rcv.Acked.Before(s.End()) {
		c.RareState().filled[from.Peer()], c.Rare.hasFilled[from.Peer()] = s.End(), true
	}
	why := m.cause(s, tcp.ByAssumption)
	why.sure = !rcv.Stack().AckInOrder || s.Seq.AtMost(rcv.Acked)
	m.apply(c, from.Peer(), m.believed(c, s, from.Peer(), ins), why)
	m.restart(c, s, from.Peer())
}

// acknowledges returns which of its SYN and FIN the ACK of s acknowledges to the
// receiver of s.
func (c *Conn) acknowledges(s *tcp.Segment, from tcp.Endpoint) (ins tcp.InputSet) {
	rcv := &c.Ends[from.Peer()]
	if s.Flags&tcp.ACK == 0 || rcv.Nxt.Before(s.Ack) {
		return 0
	}
	if rcv.Has(HasISS) && rcv.ISS.Before(s.Ack) {
		ins |= 1 << tcp.RcvAckOfSYN
	}
	if rcv.Has(HasFIN) && rcv.FIN.Before(s.Ack) && c.ackCounts(s, from) {
		ins |= 1 << tcp.RcvAckOfFIN
	}
	return ins
}

// restart starts the time of an end in TIME-WAIT again, if s, which it takes or
// refuses, has its stack do that (RFC 9293 §3.10.7.4).
func (m *Machine) restart(c *Conn, s *tcp.Segment, e tcp.Endpoint) {
	subject := &c.Ends[e]
	if subject.Assumed == tcp.TimeWait.Set() && s.Flags&tcp.ACK != 0 && (s.Flags&tcp.FIN != 0 || subject.Stack().AnyRestarts) {
		subject.Clock = tickOf(m.Now) // it holds TIME-WAIT for another 2 MSL
		m.arm(c)
	}
}

// inverted counts an ACK that the capture has before the FIN it acknowledges,
// which is s.
func (m *Machine) inverted(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !rcv.Has(HasAcked) || !snd.FIN.Before(rcv.Acked) {
		return
	}
	rcv.show(c.orTimeWait(from.Peer(), rcv.Proved.After(tcp.RcvFIN.Set())))
	m.apply(c, from.Peer(), tcp.RcvFIN.Set(), m.cause(s, tcp.ByProof))
	m.apply(c, from, tcp.RcvAckOfFIN.Set(), m.cause(s, tcp.ByAssumption))
}

// refutedFIN reports whether the end was once found not to have received the
// FIN; then only another copy of it counts.
func (c *Conn) refutedFIN(e tcp.Endpoint) bool {
	return c.Rare != nil && c.Rare.refuted[e].Has(tcp.RcvFIN)
}

// refuteBy takes back what the assumed view took for received and what the
// segment's sender cannot have received, since it would not send this
// otherwise. What is no older than a round trip to the sender may still have
// been on its way, and stands.
func (m *Machine) refuteBy(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	m.denied(c, s, from, r)
	if r.Stale || r.Keepalive {
		return
	}
	why := m.cause(s, tcp.ByCorrection)
	var gone tcp.InputSet
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && snd.Has(SentSYN):
		gone = tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set() | tcp.GiveUp.Set() | tcp.Unreachable.Set()
	case s.Flags&tcp.SYN != 0 && snd.Has(SentSYNACK):
		gone = tcp.RcvAckOfSYN.Set() | tcp.GiveUp.Set()
	case r.Old && snd.Has(HasFIN), snd.Assumed == tcp.Closed.Set() && s.PureAck() && !c.wasReset(from):
		gone = tcp.RcvAckOfFIN.Set() // from CLOSED it would have sent a RST
	}
	gone |= tcp.GiveUp.Set() | tcp.GiveUpPassive.Set() | tcp.Unreachable.Set()
	if s.Flags&tcp.SYN == 0 {
		gone |= tcp.Timeout2MSL.Set()
	}
	if c.leavesFIN(s, from) && rcv.Clock.Age(m.Now) > snd.InFlight() {
		gone |= tcp.RcvFIN.Set()
	}
	late := c.olderThan(from, gone, m.Now, snd.InFlight())
	if c.lacksFIN(s, from) {
		c.Rare.lacks[from], c.Rare.isLacking[from] = s.Ack, true
		late |= tcp.RcvFIN.Set()
	}
	if late != 0 {
		m.refute(c, from, late, why)
		if again := c.comingTo(from, m.Now) & late; again != 0 {
			why.packet = m.newestFrame(c, from.Peer())
			m.apply(c, from, m.believed(c, s, from, again), why)
		}
		if s.Flags&tcp.SYN != 0 && late&(tcp.Unreachable.Set()|tcp.GiveUp.Set()) != 0 {
			c.setClosedBy(tcp.NotClosed) // the attempt goes on
		}
		if late.Has(tcp.NoTCB) && c.ClosedBy() == tcp.BySuperseded {
			c.setClosedBy(tcp.NotClosed) // it goes on
		}
	}
}

// comingTo returns what the newest segment of the peer brings the end, while it
// is no older than one that may still be on its way.
func (c *Conn) comingTo(e tcp.Endpoint, now tcp.Time) (ins tcp.InputSet) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	if !peer.Seen() || now.Sub(peer.SentAt) > subject.InFlight() {
		return 0
	}
	if subject.Has(HasISS) && subject.ISS.Before(peer.lastAck) {
		ins |= 1 << tcp.RcvAckOfSYN
	}
	if subject.Has(HasFIN) && subject.FIN.Before(peer.lastAck) {
		ins |= 1 << tcp.RcvAckOfFIN
	}
	return ins
}

// leavesFIN reports whether s does not acknowledge the FIN that its sender is held
// to have received.
func (c *Conn) leavesFIN(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK) == tcp.ACK && rcv.Has(HasFIN) && !rcv.FIN.Before(s.Ack) && snd.Acked.AtMost(s.Ack) &&
		c.Happened(from, tcp.RcvFIN) && !c.coversDenied(from.Peer(), s.Ack)
}

// lacksFIN reports whether s shows that octets before the peer's FIN, captured as
// they were, did not reach its sender: it acknowledges the segment that completed
// them, but not the FIN; or it reports by SACK that it has the FIN, and a gap.
func (c *Conn) lacksFIN(s *tcp.Segment, from tcp.Endpoint) bool {
	rcv := &c.Ends[from.Peer()]
	if s.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || !rcv.Has(HasFIN) || rcv.FIN.Before(s.Ack) || !c.Happened(from, tcp.RcvFIN) {
		return false
	}
	for _, k := range s.Options.SACK[:s.Options.NumSACK] {
		if rcv.FIN.In(k.Left, k.Right) && s.Ack.Before(k.Left) {
			c.RareState()
			return true
		}
	}
	return c.Rare != nil && c.Rare.hasFilled[from] && c.Rare.filled[from].AtMost(s.Ack)
}

// stillLacks reports whether the receiver of s waits for octets before the FIN
// that s has not either, and whether it did so until s.
func (c *Conn) stillLacks(s *tcp.Segment, from tcp.Endpoint) (lacked, lacks bool) {
	into := from.Peer()
	if c.Rare == nil || !c.Rare.isLacking[into] {
		return false, false
	}
	if c.Rare.lacks[into].In(s.Seq, s.End()) || c.Rare.lacks[into].Before(c.Ends[into].Acked) {
		c.Rare.isLacking[into] = false
		return true, false
	}
	return true, true
}

// olderThan returns those of the inputs that happened to the end longer than
// d ago.
func (c *Conn) olderThan(e tcp.Endpoint, ins tcp.InputSet, now tcp.Time, d time.Duration) tcp.InputSet {
	var old tcp.InputSet
	if c.Past&Past(ins) == 0 {
		return old
	}
	for _, st := range c.Steps() {
		if st.End() == e && now.Sub(st.At) > d {
			old |= st.Inputs() & ins
		}
	}
	return old
}
