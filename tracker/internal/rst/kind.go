package rst

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A RST says by its numbers who made it.
//
// A stack that has no connection for a segment answers it with a RST made of
// that segment: SEQ is its ACK field, or, if it had none, SEQ is 0 and ACK is
// what follows it (RFC 9293 §3.5.2, §3.10.7.1). An end that aborts builds the
// RST from its own variables: SEQ is SND.NXT (§3.10.5). A RST that is neither
// was not made by the end it names, or the capture misses packets.

// A Kind is what a RST is by its numbers.
type Kind uint8

const (
	Unmatched Kind = iota
	Reply          // its sender had no connection for the segment it answers
	Abort          // its sender had the connection, and ended it
)

// AnswerTimes is within how many response times a stack answers.
const AnswerTimes = 3

// KindOf tells a reply from an abort. Next is RCV.NXT of the RST's alleged sender.
func KindOf(s *tcp.Segment, snd, rcv *endpoint.End, next tcp.Seq, now tcp.Time) Kind {
	if RepliesTo(s, snd, rcv, now) {
		return Reply
	}
	if !snd.Seen() && rcv.Assumed != tcp.SynSent.Set() || !rcv.Seen() {
		return Abort // picked up midway: nothing to measure it by
	}
	if !snd.Seen() {
		if s.Flags&tcp.ACK != 0 && s.Seq != 0 && rcv.Has(endpoint.HasISS) && rcv.ISS.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt) {
			return Abort // it acknowledges the SYN: its SYN+ACK was not captured
		}
		return Unmatched
	}
	if snd.Assumed == tcp.SynReceived.Set() && s.Seq == snd.ISS && s.Flags&tcp.ACK != 0 && s.Ack == rcv.ISS.Add(1) {
		return Abort // the answer to a further copy of the SYN: it has dropped the request
	}
	inWindow := s.Seq == snd.SndNxt(rcv) || snd.Una(rcv).AtMost(s.Seq) && s.Seq.AtMost(snd.Nxt) && rcv.Has(endpoint.HasAcked) && s.Seq == rcv.Edge
	knows := s.Flags&tcp.ACK == 0 || !snd.Has(endpoint.HasAcked) || snd.Acked.AtMost(s.Ack) && s.Ack.AtMost(next)
	if inWindow && knows && !snd.Impostor(s) {
		return Abort
	}
	return Unmatched
}

// RepliesTo reports whether the RST answers the newest segment of the peer. A
// stack answers at once: that segment is not older than three response times,
// or a second where nothing else tells.
//
// An ACK that asks for nothing is answered by a stack that has no connection,
// but the same numbers are those of an abort. If the RST is late and came
// another way than its alleged sender's segments do, it is not taken for a
// reply.
func RepliesTo(s *tcp.Segment, snd, rcv *endpoint.End, now tcp.Time) bool {
	took := now.Sub(rcv.SentAt)
	if !rcv.Seen() || rcv.Has(endpoint.Answered) || took > max(AnswerTimes*snd.Response(), time.Second) {
		return false
	}
	switch {
	case s.Flags&tcp.ACK != 0 && !rcv.Has(endpoint.HasAcked):
		return s.Seq == 0 && s.Ack == rcv.Nxt
	case !rcv.Has(endpoint.HasAcked) || s.Seq != rcv.LastAck:
		return false
	case s.Flags&tcp.ACK != 0:
		return s.Ack == rcv.Nxt && RepliesWithACK(s, snd, rcv)
	}
	asked := !snd.Has(endpoint.HasAcked) || snd.Acked.Before(rcv.Nxt)
	return asked || snd.Closed() || took <= AnswerTimes*snd.Response() || !snd.Seen() || endpoint.SameWay(s.TTL, snd.TTL)
}

// RepliesWithACK reports whether a RST with ACK can be the reply to a segment that
// has one. RFC 9293 §3.10.7.1 asks for a RST without; lwIP sends its own. It has
// the numbers of an abort where its alleged sender is at that number, and holds
// the connection.
func RepliesWithACK(s *tcp.Segment, snd, rcv *endpoint.End) bool {
	return snd.Seen() && !rcv.Closed() && (s.Seq != snd.SndNxt(rcv) || snd.Closed())
}
