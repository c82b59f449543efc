package holes

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// Arrived is which octets of an end came to its peer, where a capture beside that
// peer shows it. The zero Arrived is none.
type Arrived struct {
	nxt   tcp.Seq // after the highest that came
	holes List    // below it
	any   bool
}

// Any reports whether any came.
func (a *Arrived) Any() bool { return a.any }

// InTurn reports whether a segment begins where what came ends, without a hole.
func (a *Arrived) InTurn(s *tcp.Segment) bool { return a.any && a.nxt == s.Seq && len(a.holes) == 0 }

// Take takes in a segment that came.
func (a *Arrived) Take(s *tcp.Segment) {
	switch {
	case !a.any:
		a.any, a.nxt = true, s.Seq
	case a.nxt.Before(s.Seq):
		a.holes.Add(Hole{From: a.nxt, To: s.Seq})
		a.nxt = s.Seq
	case len(a.holes) > 0:
		a.holes.Fill(s.Seq, s.End())
	}
	a.nxt = tcp.Later(a.nxt, s.End())
}

// Next is RCV.NXT of the peer: the end of what came without a hole. What the peer has
// acknowledged has come, whether that was captured or not.
func (a *Arrived) Next(acked tcp.Seq, hasAcked bool) tcp.Seq {
	next := a.nxt
	for _, h := range a.holes {
		if h.From.Before(next) && !(hasAcked && h.To.AtMost(acked)) {
			next = h.From
		}
	}
	if hasAcked {
		next = tcp.Later(next, acked)
	}
	return next
}
