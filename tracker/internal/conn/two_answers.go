package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A SYN may get two answers with other numbers: one of them is forged, or two
// machines have one address, or the first was of a server that keeps nothing and
// was lost. The end that asked takes one of them, and says by its ACK which. Until
// then both are kept: the first in the end, the second beside.

// A secondAnswer is a SYN+ACK whose numbers are other than those of the first.
type secondAnswer struct {
	of      tcp.Endpoint
	segment tcp.Segment
}

// answersTwice reports whether s is a SYN+ACK with other numbers than the end's
// first, which its peer may have taken but has not acknowledged.
func (c *Conn) answersTwice(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN|tcp.ACK && snd.Has(endpoint.SentSYNACK) && !snd.Has(endpoint.SentSYN) && s.Seq != snd.ISS &&
		snd.Nxt == snd.ISS+1 && rcv.Has(endpoint.SentSYN) && !rcv.Has(endpoint.HasAcked) && rcv.Assumed != tcp.SynSent.Set() &&
		rcv.ISS.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt)
}

// answersAgain reports whether s is a SYN+ACK with other numbers than the end's
// first, toward one that has taken that: it is challenged (RFC 5961 §4).
func (c *Conn) answersAgain(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN|tcp.ACK && snd.Has(endpoint.HasISS) && s.Seq != snd.ISS && rcv.Has(endpoint.HasAcked)
}

// keepAnswer keeps the second answer.
func (c *Conn) keepAnswer(s *tcp.Segment, from tcp.Endpoint) {
	c.RareState().second = &secondAnswer{from, *s}
}

// chooseAnswer looks whether s tells which of two answers counts: it acknowledges
// one, or goes on behind one.
func (m *Machine) chooseAnswer(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	second := c.Rare.second
	subject, next := &c.Ends[second.of], second.segment.Seq+1
	if s.Flags&(tcp.SYN|tcp.RST|tcp.ACK) != tcp.ACK {
		return
	}
	number := s.Ack
	if from == second.of {
		number = s.Seq
	}
	switch number {
	case subject.ISS + 1:
		c.Rare.second = nil
	case next:
		c.takeAnswer(&second.segment, second.of)
		if m.guess {
			subject.SetStack(tcp.StackAuto)
			subject.Bits &^= endpoint.StackKnown
			m.recognise(c, &second.segment, second.of)
		}
		c.Rare.second = nil
	}
}

// takeAnswer puts the second answer in the place of the first.
func (c *Conn) takeAnswer(s *tcp.Segment, from tcp.Endpoint) {
	snd := &c.Ends[from]
	snd.Bits &^= endpoint.HasISS | endpoint.SackOK | endpoint.HasTS | endpoint.HasAcked
	snd.DropShift()
	c.noteControls(s, from, false)
	c.noteAck(s, from, s.Time)
	snd.Nxt, snd.Clean, snd.TsUnclean = s.Seq+1, s.Seq+1, s.Options.TSVal
	snd.NoteHeader(s)
	c.Rare.holes[from] = nil
	steps := c.Steps()
	for i, st := range steps {
		if st.End() == from.Peer() && st.Inputs().Has(tcp.RcvSYN) {
			steps[i] = history.New(s.Time, s.Packet, st.End(), st.Inputs(), st.State(), st.Basis(), st.Sure())
		}
	}
}
