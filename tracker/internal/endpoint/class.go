package endpoint

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// The class of a segment that comes as expected is how its numbers compare with those of
// its sender x and its receiver y, as far as the rules ask that.

// FromServer is the bit of the class that tells who sent it.
const FromServer = 1 << 0

// The other bits.
const (
	classSYN = 1 << (1 + iota)
	classSYNACK
	classACK
)

// afterClass is where the bits of ClassOf begin.
const afterClass = 4

// below is the bit of the class of a segment whose number is not above all that its
// receiver acknowledged, as deliver asks; where that has acknowledged nothing, it is any.
func (e *End) below(s *tcp.Segment) uint32 { return bit(s.Seq.AtMost(e.Acked)) << afterClass }

// ClassOfSYN returns the class of the first SYN of a connection.
func (x *End) ClassOfSYN(y *End, s *tcp.Segment) (class uint32, ok bool) {
	return classSYN | y.below(s), !x.Seen() && !y.Seen() && s.Data == 0
}

// ClassOfSYNACK returns the class of the first SYN+ACK to a SYN.
func (x *End) ClassOfSYNACK(y *End, s *tcp.Segment) (class uint32, ok bool) {
	return classSYNACK | y.below(s), !x.Seen() && y.Assumed == tcp.SynSent.Set() && y.Bits&(SentSYN|HasAcked|HasFIN) == SentSYN &&
		s.Ack == y.Nxt && y.Nxt == y.ISS+1 && s.Data == 0
}

// InTurn reports whether a segment with an ACK, and no SYN or RST, is the next of its
// sender, and no window, and no number that came round, makes the rules look twice. scaled
// tells that the windows are known in octets.
func (x *End) InTurn(y *End, s *tcp.Segment, scaled bool) bool {
	switch {
	case s.Seq != x.Nxt, y.Nxt-s.Ack >= 1<<30, x.Has(HasAcked) && s.Ack.Before(x.Acked), y.Has(HasAcked) && s.Seq.Before(y.Acked),
		!x.Seen(), !y.Seen(), x.Stale(s), s.Options.HasTS && y.Has(HasEcho) && int32(y.Echo-s.Options.TSVal) > 0, s.Data > y.Largest():
		return false // out of turn
	}
	edge, end := s.Ack.Add(tcp.Size(s.Wnd)<<x.Scale(y)), s.Seq.Add(s.Data)
	switch {
	case s.Wnd == 0, x.Wnd == 0, x.Has(HasAcked) && edge.Before(x.Edge), y.Has(HasAcked) && y.Edge.AtMost(s.Seq) && s.Data > 0 && scaled:
		return false // a window to look at
	case end.Before(s.Seq), end.Minus(x.ISS) < s.Seq.Minus(x.ISS), y.Nxt-y.ISS < 1<<30 && !y.ISS.Before(s.Ack):
		return false // the numbers came round
	}
	return true
}

// ClassOf returns the class of a segment that is in turn.
func (x *End) ClassOf(y *End, s *tcp.Segment, now tcp.Time) (class uint32, ok bool) {
	switch {
	case x.Nxt-x.ISS >= 1<<30, y.Nxt-y.ISS >= 1<<30, x.Has(Agreed), y.Has(HasAcked) && (y.Edge.Before(s.Seq) || y.Edge == s.Seq && s.Len() > 0):
		return 0, false
	case x.Has(HasFIN) && s.Len() > 0, y.Has(HasFIN) && s.Data > 0, x.Assumed == tcp.Closed.Set(), x.Assumed == tcp.SynSent.Set(),
		x.Assumed == tcp.FinWait2.Set() && y.Clean.Before(y.Nxt):
		return 0, false
	}
	class = classACK | y.below(s) | bit(s.Flags&tcp.FIN != 0)<<(afterClass+1) | bit(s.Data > 0)<<(afterClass+2) | bit(s.Ack == y.Nxt)<<(afterClass+3) |
		bit(y.ISS.Add(1).Before(s.Ack))<<(afterClass+4) | bit(x.Acked.Before(s.Ack))<<(afterClass+5) |
		bit(y.Clean.Before(s.Ack))<<(afterClass+6) | bit(x.Skipped(s))<<(afterClass+7)
	if x.Has(HasFIN) {
		class |= bit(y.Has(HasAcked) && x.FIN.Before(y.Acked))<<(afterClass+8) | bit(y.EchoesClean(s))<<(afterClass+9)
	}
	if y.Has(HasFIN) {
		class |= bit(y.FIN.Before(s.Ack))<<(afterClass+10) | bit(x.Acked == y.FIN)<<(afterClass+11) | bit(y.Clock.Age(now) > x.InFlight())<<(afterClass+12)
	}
	return class, true
}

// bit is 1 for true, without a branch.
func bit(b bool) (n uint32) {
	if b {
		n = 1
	}
	return n
}
