package endpoint

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Window returns the newest advertised window in octets.
func (e *End) Window(peer *End) uint64 { return uint64(e.Wnd) << e.Scale(peer) }

// Scale is the shift of the end's windows: what its SYN announced, if the
// peer's announced one too (RFC 7323 §2.2).
func (e *End) Scale(peer *End) uint8 {
	if e.HasShift() && peer.HasShift() {
		return e.Shift()
	}
	return 0
}

// KnowsISS reports whether numbers before the end's initial one can be told
// from later ones. They no longer can once it has sent a good part of the
// sequence space (RFC 9293 §3.4).
func (e *End) KnowsISS() bool {
	const far = 1 << 30
	return e.Has(HasISS) && e.Bytes < far && e.Nxt.Minus(e.ISS) < far
}

// Una returns SND.UNA: what of the end's octets the peer has acknowledged.
func (e *End) Una(peer *End) tcp.Seq {
	if !peer.Has(HasAcked) {
		return e.ISS
	}
	if e.Nxt.Before(peer.Acked) {
		return e.Nxt
	}
	return peer.Acked
}

// Stale reports whether s left the end before something that was already
// captured of it, or is a copy of its newest segment: a true retransmission
// has a newer timestamp or a new IP identification. One that is far below the
// newest is of a stack that draws them at random, and tells no order. An ACK
// that takes back what another acknowledged left before that.
func (x *End) Stale(s *tcp.Segment) bool {
	if s.PureAck() && x.Has(HasAcked) && s.Ack.Before(x.Acked) {
		return true
	}
	if s.Options.HasTS && x.Has(HasTS) {
		if d := int32(s.Options.TSVal - x.TSVal); d != 0 {
			return d < 0
		}
		return s.ID == x.ID && s.Len() > 0
	}
	return s.ID != 0 && x.ID-s.ID < recent.MaxIDStep
}

// CleanUpTo takes down what was sent without an ACK of the peer's FIN, up to end.
func (x *End) CleanUpTo(end tcp.Seq, s *tcp.Segment, y *End) {
	if y.Has(HasFIN) && s.Flags&tcp.ACK != 0 && y.FIN.Before(s.Ack) {
		return
	}
	x.Clean = tcp.Later(x.Clean, end)
	x.stampClean(s)
}

func (x *End) stampClean(s *tcp.Segment) {
	if s.Options.HasTS && int32(s.Options.TSVal-x.TsUnclean) > 0 {
		x.TsUnclean = s.Options.TSVal
	}
}

// wentBy and unfilled are what a segment tells of how it went.
var (
	wentBy   = [...]Went{tcp.WayIn: CameIn, tcp.WayOut: WentOut}
	unfilled = [...]Went{tcp.SumPartial: SumUnfilled, tcp.SumBad: 0}
)

// NoteHeader takes down what the header of the end's newest segment has.
func (x *End) NoteHeader(s *tcp.Segment) {
	x.Wnd, x.ID, x.TTL = s.Wnd, s.ID, s.TTL
	x.Went |= wentBy[s.Way] | unfilled[s.Sum]
	if s.Flags&tcp.SYN == 0 {
		x.MaxWnd = max(x.MaxWnd, s.Wnd)
	}
	if s.Options.HasTS {
		x.Bits |= HasTS
		x.TSVal = s.Options.TSVal
	}
}

// NoteNewest takes down what every segment leaves behind, stale ones too.
func (x *End) NoteNewest(s *tcp.Segment, now tcp.Time) {
	if s.Sum == tcp.SumGood {
		x.Bits |= GoodSum
	}
	x.LastAck = s.Ack
	x.Bits &^= Answered
	x.SentAt = now
}

// Closes takes down the end's FIN.
func (x *End) Closes(s *tcp.Segment) {
	x.FIN = s.End() - 1
	x.Bits |= HasFIN
}

// Acks takes down the ACK field, and how far the window reaches.
func (x *End) Acks(y *End, ack, edge tcp.Seq) {
	if !x.Has(HasAcked) {
		x.Bits |= HasAcked
		x.Acked, x.Edge = ack, edge
		return
	}
	if x.Has(HasFIN) && x.Acked.Before(ack) && !(y.Has(HasFIN) && ack == y.FIN+1 && x.Acked == y.FIN) {
		x.Bits |= StillReads
	}
	x.Acked, x.Edge = tcp.Later(x.Acked, ack), tcp.Later(x.Edge, edge)
}

// NoteEcho remembers the timestamp that s echoes, if the peer sent it: who
// forges one that is not there yet must not have all that follows refused.
func (x *End) NoteEcho(s *tcp.Segment, peer *End) {
	if !s.Options.HasTS || !peer.Has(HasTS) || int32(s.Options.TSEcr-peer.TSVal) > 0 {
		return
	}
	if !x.Has(HasEcho) || int32(s.Options.TSEcr-x.Echo) > 0 {
		x.Echo = s.Options.TSEcr
		x.Bits |= HasEcho
	}
}

// Echoed returns the newest timestamp of its peer that the end has echoed.
func (x *End) Echoed() uint32 { return x.Echo }

// Precedes reports whether the SYN of s may be the one that opened the end, which was
// picked up midway: its number lies just before all octets that were seen of the end.
func (x *End) Precedes(s *tcp.Segment) bool { return uint64(x.Nxt-s.Seq-1) == x.Bytes }

// ProbesWindow reports whether s has the one octet that its receiver, whose
// window is closed, expects next.
func (x *End) ProbesWindow(s *tcp.Segment) bool {
	return x.Wnd == 0 && x.Has(HasAcked) && s.Data == 1 && s.Flags&(tcp.SYN|tcp.FIN) == 0 && s.Seq == x.Acked
}

// Skipped reports whether the IP identification shows that segments between
// the end's newest and s were not captured, as far as its stack counts there.
func (x *End) Skipped(s *tcp.Segment) bool {
	gap := s.ID - x.ID
	return s.ID != 0 && x.ID != 0 && 1 < gap && gap < 1<<8
}

// Impostor reports whether a RST that its alleged sender should have made from
// its own connection looks as if somebody else had: it came another way, and
// has not the next IP identification, or lacks the timestamps of all else. One
// of the two alone is no reason: routes change, and stacks differ.
func (x *End) Impostor(s *tcp.Segment) bool {
	if SameWay(s.TTL, x.TTL) {
		return false
	}
	return x.OutOfTurn(s) || x.Has(HasTS) && !s.Options.HasTS
}

// OutOfTurn reports whether the IP identification of s does not follow that of
// the end's newest segment. A RST from no connection has none, often.
func (x *End) OutOfTurn(s *tcp.Segment) bool {
	return s.ID != 0 && x.ID != 0 && s.ID-x.ID > recent.MaxIDStep
}

// SndNxt is SND.NXT of the end as far as it is known: by what was captured of
// it, or by what its peer acknowledged.
func (x *End) SndNxt(peer *End) tcp.Seq {
	if peer.Has(HasAcked) {
		return tcp.Later(x.Nxt, peer.Acked)
	}
	return x.Nxt
}

// ReachedFrom reports whether a new connection that begins at iss soon comes to
// the numbers of the end.
func (x *End) ReachedFrom(iss tcp.Seq) bool {
	const soon = 1 << 28 // some seconds at 1 Gbit/s
	return x.Seen() && iss.Before(x.Nxt) && x.Nxt.Minus(iss) < soon
}

// KeepsTSVal reports whether s is a copy of the end's SYN, sent again with the
// timestamp of the first, as gVisor does: all others stamp each anew.
func (x *End) KeepsTSVal(s *tcp.Segment, now tcp.Time) bool {
	const again = 900 * time.Millisecond // the first copy is sent after a second (RFC 6298 §2)
	return x.Seen() && x.ISS == s.Seq && s.Options.Order == tcp.OrderLinux && x.Has(HasTS) && s.Options.TSVal == x.TSVal &&
		s.ID == 0 && now.Sub(x.SentAt) > again
}

// SameWay reports whether two TTLs are those of one path, but for a hop.
func SameWay(a, b uint8) bool { return a-b+1 <= 2 }

// JumboSegment is the most that one segment can hold in a jumbo frame of 9,000
// octets. Where the SYN did not announce less, only what is larger must have
// been put together by a network card.
const JumboSegment tcp.Size = 9000 - 40

// Largest is the most data that one segment to the end may carry on the wire.
func (e *End) Largest() tcp.Size {
	if e.MSS != 0 {
		return tcp.Size(e.MSS)
	}
	return JumboSegment
}

// EchoesClean reports whether s, which the end's peer sent, echoes a timestamp of the end
// that only segments with an ACK of the peer's FIN had.
func (e *End) EchoesClean(s *tcp.Segment) bool {
	return s.Options.HasTS && e.Has(HasTS) && int32(s.Options.TSEcr-e.TsUnclean) > 0 && int32(s.Options.TSEcr-e.TSVal) <= 0
}

// NoteNext takes down all that a segment of the end has, which is in turn (InTurn): its
// numbers are not below those before.
func (x *End) NoteNext(y *End, s *tcp.Segment, now tcp.Time) {
	end, edge := s.End(), s.Ack.Add(tcp.Size(s.Wnd)<<x.Scale(y))
	x.Packets++
	x.Bytes += uint64(s.Data)
	if s.Flags&tcp.FIN != 0 {
		x.Closes(s)
	}
	if (x.Bits|y.Bits)&HasFIN == 0 {
		x.Bits |= HasAcked
		x.Acked, x.Edge, x.Clean = s.Ack, edge, tcp.Later(x.Clean, end)
		x.stampClean(s)
	} else {
		x.Acks(y, s.Ack, edge)
		x.CleanUpTo(end, s, y)
	}
	x.Answer(s.Ack, now)
	x.NoteEcho(s, y)
	x.Nxt = end
	if end != s.Seq && !y.Has(Probing) {
		y.Ask(end, now)
	}
	x.NoteHeader(s)
	x.NoteNewest(s, now)
}
