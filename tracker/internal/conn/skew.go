package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Two capture queues, or the captures of two taps that were joined, may have the
// two directions out of step by more than a round trip. Each direction is in
// order; how the two belong together the ACK numbers tell, and the stamps do not.

// Unrepeated is within which time a SYN, or its answer, is not sent again (RFC 6298
// §2.1), a round trip left aside that is not known yet.
const Unrepeated = 500 * time.Millisecond

const (
	RepeatedSoonest = 200 * time.Millisecond // after which octets may be sent again, as stacks have it (RFC 6298 §2.4 would wait for 1 s)
	LateOctets      = 2                      // times that octets must come behind their ACK
)

// Skewed reports whether the capture is known to have the two directions out of
// step.
func (c *Conn) Skewed() bool { return c.Bits&skewed != 0 }

// behindAnswer notes that the first SYN captured of an end, with or without ACK,
// came behind an answer to it. The capture missed an earlier copy, unless there
// was no time for another one, or what the answer tells was sent to or by an end
// that had the handshake behind it, and so repeats none of it.
func (m *Machine) behindAnswer(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	rcv := &c.Ends[from.Peer()]
	var first tcp.Time // of the answers
	for g := range m.Recent.Back(c) {
		if g.From != from && g.Flags&tcp.ACK != 0 {
			first = g.At
		}
	}
	if s.Time.Sub(first) <= Unrepeated || s.End().Before(rcv.Acked) || s.Flags&tcp.ACK == 0 && rcv.ISS.Add(1).Before(rcv.Nxt) {
		c.Bits |= skewed
	}
}

// outOfStep reports whether octets that come behind their ACK, by as much as given,
// show a capture that began midway to have the directions out of step: they are all
// in turn, and come again and again before their sender would repeat them. It has
// no handshake to tell that by.
func (c *Conn) outOfStep(s *tcp.Segment, from tcp.Endpoint, by time.Duration) bool {
	if c.Origin() != tcp.FromMidstream || s.Seq != c.Ends[from].Nxt || by > RepeatedSoonest {
		return false
	}
	if c.Rare.behindACK++; c.Rare.behindACK < LateOctets {
		return false
	}
	c.Bits |= skewed
	return true
}

// closedFirst reports whether s, a first FIN, was sent before the peer's, which the
// capture has before it: that acknowledges s. The peer then sent its own from
// CLOSE-WAIT.
func (m *Machine) closedFirst(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	rcv := &c.Ends[from.Peer()]
	if !rcv.Has(endpoint.HasAcked) || rcv.Acked.Before(s.End()) {
		return false
	}
	second, ok := m.firstFIN(c, from.Peer())
	if !ok || second.Ack.Before(s.End()) || rcv.FIN.Before(s.Ack) {
		return false
	}
	basis, proved := tcp.ByProof, rcv.Proved
	if c.sureOf(from.Peer()).Before(s.End()) {
		basis = tcp.ByAssumption
	}
	m.refute(c, from, tcp.RcvFIN.Set(), m.cause(s, tcp.ByCorrection))
	if m.refute(c, from.Peer(), tcp.SndFIN.Set(), m.cause(s, tcp.ByCorrection)) {
		m.apply(c, from.Peer(), tcp.RcvFIN.Set(), cause{at: m.Now, packet: second.Packet, basis: basis})
		m.apply(c, from.Peer(), tcp.SndFIN.Set(), cause{at: m.Now, packet: second.Packet, basis: tcp.BySending})
	}
	if proved.Has(tcp.LastAck) && basis == tcp.ByProof {
		rcv.Show(tcp.LastAck.Set())
	}
	rcv.Clean = rcv.FIN // who acknowledges it has the ACK of s as well
	c.setClosedBy(tcp.ByClient + tcp.ClosedBy(from))
	return true
}

// firstFIN returns the first FIN of the end that is remembered.
func (m *Machine) firstFIN(c *Conn, e tcp.Endpoint) (fin recent.Segment, ok bool) {
	if !c.Ends[e].Has(endpoint.HasFIN) {
		return fin, false
	}
	for g := range m.Recent.Back(c) {
		if g.From == e && g.Flags&tcp.FIN != 0 && g.End() == c.Ends[e].FIN+1 {
			fin, ok = *g, true
		}
	}
	return fin, ok
}
