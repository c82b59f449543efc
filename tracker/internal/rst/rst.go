// Package rst says what a RST is by its numbers (kind.go), and which RSTs an end takes:
// RFC 5961 §3 has it take one with the next number that it expects, and no other; stacks
// differ.
package rst

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Target is the end that a RST is sent to, as far as it is known.
type Target struct {
	State   tcp.State // Unknown: it may be in several
	Stack   *tcp.Stack
	Known   bool // that is its stack, and no guess
	Active  bool // it sent a SYN of its own
	Reads   bool // somebody reads from it still, or it is not known to be in FIN-WAIT-2
	Ignores bool // it has ignored an exact RST in this state before

	ISS, Nxt tcp.Seq // its own first number, and its next

	Any      bool    // there is nothing to measure a RST by: its peer was not seen
	Next     tcp.Seq // what it expects next
	Acked    tcp.Seq // what it has acknowledged, with HasAcked
	Edge     tcp.Seq // of its window, with HasAcked
	HasAcked bool
	Scaled   bool    // the windows are known in octets: else Edge may be too low
	Stale    bool    // the timestamp of the RST is older than the newest that the end has taken
	SACK     tcp.Seq // the highest edge that it reported by SACK, with HasSACK
	HasSACK  bool
}

// A Fate is what becomes of a RST.
type Fate uint8

const (
	Taken    Fate = iota
	Believed      // taken, as far as is known of the stack, or of the socket
	Doubted       // not taken, as far as is known: others would take it, or it comes before what is on its way
	Refused
)

// A row is a number, beside the next, at which some stacks take a RST in some
// states.
type row struct {
	in    tcp.StateSet
	takes func(*tcp.Stack) bool
	at    func(*Target, tcp.Seq) Fate // whether the RST is at that number, as far as is known
}

const (
	synchronized = tcp.StateSet(1<<tcp.Established | 1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.CloseWait | 1<<tcp.Closing | 1<<tcp.LastAck)
	afterFIN     = tcp.StateSet(1<<tcp.CloseWait | 1<<tcp.Closing | 1<<tcp.LastAck)
)

var rows = [...]row{
	{afterFIN, func(s *tcp.Stack) bool { return s.RSTBelowFIN }, (*Target).belowFIN},
	{synchronized, func(s *tcp.Stack) bool { return s.RSTAtSACK }, (*Target).atSACK},
	{synchronized, func(s *tcp.Stack) bool { return s.RSTAtLastACK }, (*Target).atLastACK},
	{tcp.SynReceived.Set(), func(s *tcp.Stack) bool { return s.RSTInRequest }, (*Target).ofRequest},
	{tcp.FinWait2.Set(), func(s *tcp.Stack) bool { return s.RSTInOrphan }, (*Target).ofOrphan},
	{synchronized | tcp.SynReceived.Set(), func(s *tcp.Stack) bool { return s.RSTInWindow }, (*Target).inWindow},
}

// Takes says what becomes of the RST s, and by what rule it is not taken.
func (t *Target) Takes(s *tcp.Segment) (Fate, tcp.Skip) {
	switch t.State {
	case tcp.Closed, tcp.Listen:
		return Refused, tcp.NothingToReset
	case tcp.SynSent:
		if s.Flags&tcp.ACK != 0 && t.ISS.Before(s.Ack) && s.Ack.AtMost(t.Nxt) {
			return Taken, tcp.NotSkipped
		}
		return Refused, tcp.UnaskedRST
	case tcp.TimeWait:
		if !t.Stack.RSTInTimeWait {
			return Refused, tcp.IgnoredRST
		}
		if t.Stale && t.Stack.PAWSOfRST {
			return Refused, tcp.OldTimestamp
		}
	}
	switch {
	case s.Seq == t.Next && t.Ignores:
		return Refused, tcp.IgnoredRST
	case s.Seq == t.Next && t.State == tcp.TimeWait && !t.Known:
		return Believed, tcp.NotSkipped
	case s.Seq == t.Next:
		return Taken, tcp.NotSkipped
	case t.State == tcp.TimeWait:
		return Refused, tcp.InexactRST
	case t.Any:
		return Taken, tcp.NotSkipped
	}
	return t.takesInexact(s.Seq)
}

// takesInexact is Takes for a RST that has not the next number.
func (t *Target) takesInexact(seq tcp.Seq) (fate Fate, why tcp.Skip) {
	fate, why = Refused, tcp.InexactRST
	if t.atLastACK(seq) == Taken {
		fate, why = Doubted, tcp.DoubtedRST // what was sent since may be lost, and this the next number
	}
	for _, r := range rows {
		if !r.in.Has(t.State) {
			continue
		}
		at := r.at(t, seq)
		switch {
		case at == Refused:
		case at == Taken && t.Known && r.takes(t.Stack):
			return Taken, tcp.NotSkipped
		case r.takes(t.Stack) && (at == Taken || at == Believed):
			return Believed, tcp.NotSkipped
		case !t.Known || r.takes(t.Stack):
			fate, why = Doubted, tcp.DoubtedRST
		}
	}
	return fate, why
}

// belowFIN is the number of the peer's FIN, as if that took none.
func (t *Target) belowFIN(seq tcp.Seq) Fate { return where(seq+1 == t.Next) }

// atSACK is the number after the highest octet that the end reported.
func (t *Target) atSACK(seq tcp.Seq) Fate { return where(t.HasSACK && seq == t.SACK) }

// atLastACK is what the end asked for last, though more has come, or has been sent.
func (t *Target) atLastACK(seq tcp.Seq) Fate {
	return where(t.HasAcked && seq == t.Acked && t.Acked.Before(t.Next))
}

// ofRequest is a number in the window that the SYN+ACK offered.
func (t *Target) ofRequest(seq tcp.Seq) Fate {
	if t.Active {
		return Refused
	}
	return t.inWindow(seq)
}

// ofOrphan is a number in the window of a FIN-WAIT-2 from which nobody reads. That
// it has no reader the packets do not show; most have none.
func (t *Target) ofOrphan(seq tcp.Seq) Fate {
	if t.Reads {
		return Refused
	}
	return max(t.inWindow(seq), Believed)
}

// inWindow is a number in the window, behind the next.
func (t *Target) inWindow(seq tcp.Seq) Fate {
	switch {
	case !t.HasAcked || !t.Next.Before(seq):
		return Refused
	case seq.Before(t.Edge):
		return Taken
	case !t.Scaled && seq.Minus(t.Edge) < 1<<30:
		return Doubted
	}
	return Refused
}

// where returns whether a RST is at a number.
func where(is bool) Fate {
	if is {
		return Taken
	}
	return Refused
}
