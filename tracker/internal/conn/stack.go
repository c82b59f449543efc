package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Every end has the profile of its stack: the one that the caller names, or that
// its own SYN or SYN+ACK shows, or else that of most hosts, with which nothing is
// settled.

// StackOf returns which stack the end has, and how sure that is.
func (m *Machine) StackOf(x *endpoint.End) (tcp.StackID, tcp.StackCertainty) {
	id := x.StackID()
	switch {
	case !m.guess:
		return id, tcp.StackNamed
	case id == tcp.StackAuto:
		return id, tcp.StackUnknown
	case x.Has(endpoint.StackKnown):
		return id, tcp.StackKnown
	}
	return id, tcp.StackGuessed
}

// recognise looks which stack the SYN, or SYN+ACK, of an end is of.
func (m *Machine) recognise(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd := &c.Ends[from]
	if !m.guess || snd.Has(endpoint.StackKnown) || snd.Has(endpoint.HasISS) && snd.ISS != s.Seq {
		return
	}
	id, sure := tcp.RecogniseStack(s)
	if snd.KeepsTSVal(s, m.Now) && (id == tcp.StackGVisor || sure != tcp.StackKnown) {
		id, sure = tcp.StackGVisor, tcp.StackKnown
	}
	if sure == tcp.StackUnknown || snd.StackID() != tcp.StackAuto && sure != tcp.StackKnown {
		return
	}
	snd.SetStack(id)
	if sure == tcp.StackKnown {
		snd.Bits |= endpoint.StackKnown
	}
}

// ackCounts reports whether the ACK of the end's FIN in s counts there, if the
// segment is not next in order: stacks differ, and of one that is not recognised
// it does. It is asked when s is noted.
func (c *Conn) ackCounts(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	stack := rcv.Stack()
	if stack.AckInOrder && c.Contiguous(from).Before(s.Seq) {
		return false
	}
	return !rcv.Has(endpoint.HasAcked) || snd.Nxt.Before(rcv.Acked) || // what it acknowledged is not known to have been sent
		stack.OldAck.Counts(s, rcv.Acked)
}
