package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What an end has received. Proved is what its own segments show (heard), assumed
// is what was captured (deliver), until a segment of its shows that it had not
// (refuteBy).

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
	if !rcv.Has(endpoint.HasISS) || rcv.ISS.Before(s.Ack) {
		ins |= 1 << tcp.RcvSYN
	}
	if s.Flags&tcp.SYN == 0 && c.AckOfSYNHeard(s, from) && !c.isEarly(s, from) {
		ins |= 1 << tcp.RcvAckOfSYN
	}
	if snd.Has(endpoint.HasFIN) && c.AckOfFINHeard(s, from) {
		ins |= 1 << tcp.RcvAckOfFIN
	}
	if rcv.Has(endpoint.HasFIN) && rcv.FIN.Before(s.Ack) && !c.isEarly(s, from) { // behind a FIN there is nothing to acknowledge
		ins |= tcp.RcvAckOfSYN.Set() | tcp.RcvFIN.Set() // no FIN is looked at before the SYN is acknowledged (RFC 9293 §3.10.7.4)
	}
	if s.Flags&tcp.SYN == 0 && snd.Has(endpoint.SentSYN) && snd.Proved.Has(tcp.SynSent) { // without these it would be silent, or send SYNs
		opened := tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set()
		if c.misfits(s, from) {
			snd.Show(snd.Proved | snd.Proved.After(opened))
			m.apply(c, from, opened, m.cause(s, tcp.ByAssumption))
			return
		}
		ins |= opened
	}
	snd.Show(m.provedBy(c, s, from, ins))
	rst, reset := c.Find(from, tcp.RcvRST)
	reset = reset && ins.Has(tcp.RcvFIN) && !c.Happened(from, tcp.RcvFIN) && m.refute(c, from, tcp.RcvRST.Set(), m.cause(s, tcp.ByProof))
	m.apply(c, from, ins, m.cause(s, tcp.ByProof))
	if reset && snd.Stack().RSTBelowFIN { // it came behind the FIN
		m.apply(c, from, tcp.RcvRST.Set(), cause{at: m.Now, packet: rst.Packet(), basis: tcp.ByCorrection})
	}
	c.Steps().Confirm(from, ins)
}

// misfits reports whether the end, which may have sent no more than its SYN, would
// hardly send s next: it acknowledges what its peer has not sent, is older than the
// SYN, or lies behind what its peer offers.
func (c *Conn) misfits(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return snd.Proved.Has(tcp.SynSent) && (rcv.Has(endpoint.HasISS) && !rcv.ISS.Before(s.Ack) || c.isEarly(s, from) || snd.Stale(s) ||
		rcv.Has(endpoint.HasAcked) && (rcv.Edge.Before(s.Seq) || s.Len() > 0 && rcv.Edge == s.Seq))
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
	if after == tcp.CloseWait.Set() && (snd.Nxt.Before(s.Seq) || c.HolesOf(from).Has(s.Seq-1) || c.doubtful(from, s.Seq-1) || c.Hidden(from) || s.Flags&tcp.FIN != 0 && snd.Skipped(s)) {
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
	back := c.Rare != nil && c.Rare.early[e.Peer()].Back && subject.FIN.Before(c.Rare.early[e.Peer()].Ack)
	if after == tcp.Closing.Set() && (back || peer.Has(endpoint.HasAcked) && subject.FIN.Before(peer.Acked)) {
		after |= tcp.TimeWait.Set()
	}
	return after
}

// Hidden reports whether the newest octets that the end is known to have sent
// were not captured. Its FIN may be among them.
func (c *Conn) Hidden(e tcp.Endpoint) bool {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	if subject.Has(endpoint.HasFIN) || !peer.Has(endpoint.HasAcked) {
		return false
	}
	if !subject.Seen() {
		return !subject.Has(endpoint.HasISS) || (subject.ISS + 1).Before(peer.Acked)
	}
	for _, h := range c.HolesOf(e) {
		if h.To == subject.Nxt {
			return true
		}
	}
	return subject.Nxt.Before(peer.Acked) && !c.acksDenied(e, peer.Acked)
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
	if rcv.Has(endpoint.HasISS) && rcv.Seen() && !rcv.Has(endpoint.Lossy) && rcv.ISS.Add(1+onSYN).Before(s.Ack) && s.Ack.AtMost(rcv.Nxt) {
		return true
	}
	return s.Data > 0 && onSYN == 0 && snd.Has(endpoint.HasISS) && (s.Seq == snd.Nxt || snd.Nxt.Before(s.Seq) && rcv.Has(endpoint.HasAcked) && s.Seq.Before(rcv.Edge))
}

// AckOfFINHeard reports whether s shows that its sender's FIN was
// acknowledged: it acknowledges an octet of which all captured copies carried
// that ACK, or it echoes a timestamp that only segments with that ACK had.
func (c *Conn) AckOfFINHeard(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !rcv.Seen() || rcv.Has(endpoint.Lossy) || !rcv.Has(endpoint.HasAcked) || !snd.FIN.Before(c.sureOf(from.Peer())) {
		return false
	}
	if rcv.Clean.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt) {
		return true
	}
	return rcv.EchoesClean(s)
}

// deliver lets the segment arrive at its receiver in the assumed view. Of a SYN
// that is also a FIN only the answer tells whether it was taken: Linux drops it.
func (m *Machine) deliver(c *Conn, s *tcp.Segment, from tcp.Endpoint, v gate.Verdict) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	m.freed(c, s, from)
	if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && !rcv.Seen() {
		rcv.Listens()
	}
	ins := c.acknowledges(s, from)
	if s.Flags&(tcp.SYN|tcp.FIN) == tcp.SYN && (ins.Has(tcp.RcvAckOfSYN) || s.Flags&tcp.ACK == 0 && !rcv.Stack().NoCrossedSYNs || rcv.Assumed != tcp.SynSent.Set()) {
		ins |= 1 << tcp.RcvSYN
	}
	lacked, lacks := c.stillLacks(s, from)
	if snd.Has(endpoint.HasFIN) && snd.FIN.AtMost(c.Contiguous(from)) && !lacks {
		if s.Flags&tcp.FIN != 0 || !c.Happened(from.Peer(), tcp.RcvFIN) && (lacked || !c.RefutedBefore(from.Peer(), tcp.RcvFIN)) {
			ins |= 1 << tcp.RcvFIN
		}
	}
	if ins.Has(tcp.RcvFIN) && s.Flags&tcp.FIN == 0 && rcv.Has(endpoint.HasAcked) && rcv.Acked.Before(s.End()) {
		c.RareState().filled[from.Peer()], c.Rare.hasFilled[from.Peer()] = s.End(), true
	}
	why := m.cause(s, tcp.ByAssumption)
	why.sure = v.Is == gate.Accepted && (!rcv.Stack().AckInOrder || s.Seq.AtMost(rcv.Acked))
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
	if rcv.Has(endpoint.HasISS) && rcv.ISS.Before(s.Ack) {
		ins |= 1 << tcp.RcvAckOfSYN
	}
	if rcv.Has(endpoint.HasFIN) && rcv.FIN.Before(s.Ack) && c.ackCounts(s, from) {
		ins |= 1 << tcp.RcvAckOfFIN
	}
	return ins
}

// restart starts the time of an end in TIME-WAIT again, if s, which it takes or
// refuses, has its stack do that (RFC 9293 §3.10.7.4).
func (m *Machine) restart(c *Conn, s *tcp.Segment, e tcp.Endpoint) {
	subject := &c.Ends[e]
	if subject.Assumed == tcp.TimeWait.Set() && s.Flags&tcp.ACK != 0 && (s.Flags&tcp.FIN != 0 || subject.Stack().AnyRestarts) {
		subject.Clock = endpoint.TickOf(m.Now) // it holds TIME-WAIT for another 2 MSL
		m.arm(c)
	}
}

// inverted counts an ACK that the capture has before the FIN it acknowledges,
// which is s.
func (m *Machine) inverted(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !rcv.Has(endpoint.HasAcked) || !snd.FIN.Before(rcv.Acked) || snd.Nxt != snd.FIN+1 {
		return
	}
	after, basis := c.orTimeWait(from.Peer(), rcv.Proved.After(tcp.RcvFIN.Set())), tcp.ByProof
	if !snd.FIN.Before(c.sureOf(from.Peer())) {
		after, basis = after|rcv.Proved, tcp.ByAssumption
	}
	rcv.Show(after)
	m.apply(c, from.Peer(), tcp.RcvFIN.Set(), m.cause(s, basis))
	m.apply(c, from, tcp.RcvAckOfFIN.Set(), m.cause(s, tcp.ByAssumption))
}

// RefutedBefore reports whether the end was once found not to have received what it
// was held to; of a FIN, only another copy of it counts then.
func (c *Conn) RefutedBefore(e tcp.Endpoint, in tcp.Input) bool {
	return c.Rare != nil && c.Rare.refuted[e].Has(in)
}

// refuteBy takes back what the assumed view took for received and what the
// segment's sender cannot have received, since it would not send this
// otherwise. What is no older than a round trip to the sender may still have
// been on its way, and stands.
func (m *Machine) refuteBy(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	m.denied(c, s, from, r)
	if r.Stale || r.Keepalive {
		return
	}
	why := m.cause(s, tcp.ByCorrection)
	var gone tcp.InputSet
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && snd.Has(endpoint.SentSYN):
		gone = tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set() | tcp.GiveUp.Set() | tcp.Unreachable.Set()
	case s.Flags&tcp.SYN != 0 && snd.Has(endpoint.SentSYNACK):
		gone = tcp.RcvAckOfSYN.Set() | tcp.GiveUp.Set()
	case r.Old && snd.Has(endpoint.HasFIN), snd.Assumed == tcp.Closed.Set() && s.PureAck() && !c.wasReset(from):
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
	if subject.Has(endpoint.HasISS) && subject.ISS.Before(peer.LastAck) {
		ins |= 1 << tcp.RcvAckOfSYN
	}
	if subject.Has(endpoint.HasFIN) && subject.FIN.Before(peer.LastAck) {
		ins |= 1 << tcp.RcvAckOfFIN
	}
	return ins
}

// leavesFIN reports whether s does not acknowledge the FIN that its sender is held
// to have received.
func (c *Conn) leavesFIN(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK) == tcp.ACK && rcv.Has(endpoint.HasFIN) && !rcv.FIN.Before(s.Ack) && snd.Acked.AtMost(s.Ack) &&
		c.Happened(from, tcp.RcvFIN) && !c.coversDenied(from.Peer(), s.Ack)
}

// lacksFIN reports whether s shows that octets before the peer's FIN, captured as
// they were, did not reach its sender: it acknowledges the segment that completed
// them, but not the FIN; or it reports by SACK that it has the FIN, and a gap.
func (c *Conn) lacksFIN(s *tcp.Segment, from tcp.Endpoint) bool {
	rcv := &c.Ends[from.Peer()]
	if s.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || !rcv.Has(endpoint.HasFIN) || rcv.FIN.Before(s.Ack) || !c.Happened(from, tcp.RcvFIN) {
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
	if c.Past&Past(ins) == 0 {
		return 0
	}
	return c.Steps().Before(now.Add(-d), e, ins)
}
