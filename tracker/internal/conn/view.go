package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
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
func (m *Machine) observe(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, v gate.Verdict) gate.Verdict {
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
	if on&(oddOn|triggers.OnRefused) != 0 || c.windowMoved(s, from, on) || s.Data > 0 && c.Ends[from.Peer()].Has(endpoint.HasFIN) {
		m.Recent.keepOwn(c)
	}
	before := m.snapshot(c)
	if c.Older() != nil && on&mayBeOlder != 0 && m.keepStale(c, s, from) {
		c.Bits |= amongStale
		on |= triggers.OnAmongStale
	}
	is := r.Bits()
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
	c.takeBackEarly()
	if on&(triggers.OnChallenge|triggers.OnGap) != 0 {
		c.settleChallenge(s, from, before, m.Now)
	}
	return v
}

// take lets the segment move both ends in both views.
func (m *Machine) take(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, v gate.Verdict) {
	firstFIN := s.Flags&tcp.FIN != 0 && !c.Ends[from].Has(endpoint.HasFIN)
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
		m.accepted(c, s)
	}
	switch {
	case s.Leg == tcp.Left:
	case v.Is == gate.Refused:
		m.restart(c, s, from.Peer())
	default:
		m.deliver(c, s, from, v)
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
	if !ok || newest.Provisional() || subject.Seen() || older.Ends[from].Stale(s) {
		return
	}
	if !Synchronized(older.Ends[from].Assumed) && m.Now.Sub(st.At) <= older.Ends[from].Response()+endpoint.ResponseSlack {
		return
	}
	subject.BeganIn(tcp.Closed.Set())
	m.refute(newest, e, tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set(), m.cause(s, tcp.ByCorrection))
}

// answeredFIN notes that a repeated FIN has its answer.
func (c *Conn) answeredFIN(s *tcp.Segment, from tcp.Endpoint) {
	if rcv := &c.Ends[from.Peer()]; c.Rare != nil && s.Flags&tcp.ACK != 0 && rcv.Has(endpoint.HasFIN) && rcv.FIN.Before(s.Ack) {
		c.Rare.Closing[from.Peer()].Unanswered = false
	}
}

// keepClosing notes the frames of an unusual close: copies of a FIN, ACKs of
// them, and what reaches an end in TIME-WAIT.
func (c *Conn) keepClosing(s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) {
	snd := &c.Ends[from]
	if s.Flags&tcp.FIN != 0 && snd.Has(endpoint.HasFIN) {
		k := &c.RareState().Closing[from]
		acked, ok := c.Find(from, tcp.RcvAckOfFIN)
		k.FINCopy, k.FINCopyAt, k.Unanswered = s.Packet, now, true
		k.Crossed = r.Stale || ok && now.Sub(acked.At) <= snd.InFlight()
		if ok {
			c.Rare.Closing[from.Peer()].KeepACK(acked.Packet())
		}
	}
	if s.Leg == tcp.Passing {
		c.keepReached(s, from)
	}
}

// keepReached is keepClosing for what depends on the end that the segment reaches.
func (c *Conn) keepReached(s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if rcv.Assumed == tcp.TimeWait.Set() {
		k := &c.RareState().Closing[from.Peer()]
		k.StrayInto, k.StrayFlags = s.Packet, s.Flags
	}
	if snd.Assumed == tcp.TimeWait.Set() && rcv.Assumed == tcp.Closed.Set() && s.PureAck() {
		c.RareState().Closing[from].KeepACK(s.Packet)
	}
}

// cause returns the segment as the cause of a move.
func (m *Machine) cause(s *tcp.Segment, b tcp.Basis) cause {
	return cause{at: m.Now, packet: s.Packet, basis: b}
}
