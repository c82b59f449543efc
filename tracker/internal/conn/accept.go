package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The gate. What was captured on its way to an end is not received yet: the end
// refuses what RFC 9293 §3.10.7 and its amendments have it refuse, and then has
// not received it. A receiver's checks are the rows of a table here, in the order
// of that section; everything that moves a state or a number asks it first.
//
// Loss, reordering and holes in the capture are ordinary, and forgers are rare.
// So a row refuses only what no loss explains. Where the capture may lack what
// would decide, it says unknown: the segment is then believed until the
// receiver's own segments show that it was refused (refuteBy), but a FIN, which
// would move both ends, is held until they show that it was taken (held).

// An answer is what a row says of a segment.
type answer uint8

const (
	unknown answer = 1 << iota // the capture lacks what would decide, or stacks differ
	refused
	notSent // not its alleged sender's, not as that then stood
	waits   // to be held, whatever holds says

	passes = answer(0)
	unsent = refused | notSent
)

// A gateRow is one check of a receiver.
type gateRow struct {
	why tcp.Skip
	ask func(q *question) answer
}

// gateRows are asked in their order; the first that a segment does not pass decides.
var gateRows = [...]gateRow{
	{tcp.UnsignedSegment, (*question).signature},
	{tcp.OldTimestamp, (*question).timestamp},
	{tcp.OutsideWindow, (*question).sequence},
	{tcp.NoACK, (*question).control},
	{tcp.AckOfUnsent, (*question).ackBeyond},
	{tcp.AckTooOld, (*question).ackBefore},
}

// A question is put to each row: what becomes of s at its receiver.
type question struct {
	c        *Conn
	s        *tcp.Segment
	from     tcp.Endpoint
	snd, rcv *endpoint.End
	now      tcp.Time
}

// accept says what becomes of a segment. The numbers of a RST are looked at by
// acceptsRST.
func (m *Machine) accept(c *Conn, s *tcp.Segment, from tcp.Endpoint) gate.Verdict {
	if s.Flags&tcp.SYN != 0 {
		return gate.Verdict{} // its numbers begin
	}
	q := &m.question
	*q = question{c, s, from, &c.Ends[from], &c.Ends[from.Peer()], m.Now}
	if c.BehindFINs(s, from) {
		q.borneOut(tcp.OutsideWindow) // which the next of its peer may show, see choose
		return gate.Verdict{Is: gate.Refused, Why: tcp.OutsideWindow, Unsent: true}
	}
	if q.rcv.Closed() { // there are none to measure it by, but what it took before
		if q.rcv.Has(endpoint.HasAcked) && q.replaces() && s.End().AtMost(q.rcv.Acked) {
			return gate.Verdict{Is: gate.Refused, Why: tcp.OutsideWindow, Unsent: true}
		}
		if s.Flags&tcp.RST == 0 && q.olderThanBefore() && q.holds(tcp.OldTimestamp) {
			return gate.Verdict{Is: gate.Unknown, Why: tcp.OldTimestamp, Held: true}
		}
		return gate.Verdict{}
	}
	rows := gateRows[:]
	if s.Flags&tcp.RST != 0 {
		rows = rows[:1] // its signature
	}
	for i := range rows {
		if a := rows[i].ask(q); a != passes {
			why := rows[i].why
			v := gate.Verdict{Is: gate.Refused, Why: why, Unsent: a&notSent != 0}
			if a&unknown != 0 {
				v.Is = gate.Unknown
			}
			if v.Unsent && q.borneOut(why) {
				return gate.Verdict{Is: gate.Unknown, Why: why}
			}
			v.Held = a&waits != 0 || !v.Unsent && q.holds(why)
			return v
		}
	}
	return gate.Verdict{}
}

// signature refuses what is not signed where both SYNs were (RFC 2385 §2.0,
// RFC 5925 §7.3).
func (q *question) signature() answer {
	if !(q.snd.Has(endpoint.Signs) && q.rcv.Has(endpoint.Signs)) || q.s.Options.Signed {
		return passes
	}
	if q.s.Cut == tcp.CutOptions {
		return unknown
	}
	return unsent
}

// ticksBack is by how much a timestamp may be older than the newest that was
// taken. RFC 7323 §5.3 has none; Linux lets one tick pass.
const ticksBack = 1

// timestampsHold is how long the newest timestamp is good (RFC 7323 §5.5).
const timestampsHold = 24 * 24 * time.Hour

// timestamp is PAWS (RFC 7323 §5.3). The newest timestamp that was captured
// proves nothing of what the receiver has taken: what it echoes does.
func (q *question) timestamp() answer {
	s, snd, rcv := q.s, q.snd, q.rcv
	if !s.Options.HasTS || !rcv.Has(endpoint.HasEcho) || int32(rcv.Echo-s.Options.TSVal) <= ticksBack ||
		rcv.Stack().NoPAWS || q.now.Sub(snd.SentAt) > timestampsHold {
		if q.olderThanBefore() {
			return unknown
		}
		return passes
	}
	if s.PureAck() && s.Seq == rcv.Acked && s.Ack.AtMost(snd.Acked) {
		return unknown // Linux lets a late copy of an ACK pass
	}
	later := snd.Nxt.Before(s.End()) && s.Flags&tcp.FIN == 0 || snd.Acked.Before(s.Ack) && s.PureAck()
	if later || q.replaces() {
		return unsent
	}
	return refused
}

// olderThanBefore reports whether the segment has octets that none had before it,
// and a stamp that is older than what its sender sent before: it sent neither late.
func (q *question) olderThanBefore() bool {
	s, snd := q.s, q.snd
	return s.Options.HasTS && snd.Has(endpoint.HasTS) && int32(snd.TSVal-s.Options.TSVal) > ticksBack && snd.Nxt.Before(s.End()) && q.now.Sub(snd.SentAt) <= timestampsHold
}

// sequence refuses what lies beyond all that the receiver ever offered (RFC 9293
// §3.10.7.4, first check). A sender may try one octet beyond a window, or use one
// that was withdrawn, and the capture may have missed a window that was wider:
// only what lies another window further is nobody's. Nor is a FIN in the place of
// an octet, but where that was not acknowledged the receiver may have taken it.
func (q *question) sequence() answer {
	if !q.rcv.Has(endpoint.HasAcked) {
		return passes
	}
	if q.replaces() {
		if q.s.End().AtMost(q.rcv.Acked) {
			return unsent
		}
		return unknown
	}
	switch {
	case q.s.Seq.AtMost(q.rcv.Edge):
		return passes
	case q.c.reach(q.from.Peer()).Before(q.s.Seq) && !q.s.Seq.AtMost(q.snd.Nxt): // what is next in order has its place: ACKs were missed
		return unsent
	case q.c.ScaleKnown():
		return unknown
	}
	return passes
}

// replaces reports whether the segment is a FIN with the number of an octet that
// was captured of its alleged sender before.
func (q *question) replaces() bool {
	fin := q.s.End() - 1
	if q.s.Flags&tcp.FIN == 0 || q.snd.Has(endpoint.HasFIN) || !fin.Before(q.snd.Nxt) || !q.c.ScaleKnown() || q.c.doubtful(q.from, fin) {
		return false
	}
	return !q.c.HolesOf(q.from).Has(fin)
}

// control refuses what is against the law of flags: nothing that is no SYN and
// no RST goes without ACK (RFC 9293 §3.10.7.4, fifth check).
func (q *question) control() answer {
	if q.s.Lawless() {
		return unsent
	}
	return passes
}

// ackBeyond is about an ACK of what the receiver never sent (RFC 9293
// §3.10.7.4, RFC 5961 §5). It was captured no further than Nxt; it cannot have
// been taken beyond the edge that the sender of the ACK itself offered.
func (q *question) ackBeyond() answer {
	s, snd, rcv := q.s, q.snd, q.rcv
	if s.Flags&tcp.ACK == 0 || s.Ack.AtMost(rcv.Nxt) || !rcv.Seen() {
		return passes
	}
	if snd.Has(endpoint.HasAcked) {
		if far := q.c.reach(q.from); far.Before(s.Ack) {
			return q.forged()
		}
	} else if rcv.Has(endpoint.HasISS) && snd.Has(endpoint.SentSYN) && rcv.Nxt.Add(1<<16).Before(s.Ack) {
		return unsent // a SYN offers no more, and its window is not scaled
	}
	return unknown
}

// forged is the answer to a segment that its alleged sender did not send, as its
// ACK shows. A receiver that looks at no ACK takes its FIN all the same: that its
// answer shows.
func (q *question) forged() answer {
	switch {
	case !q.rcv.AnyAck():
		return unsent
	case q.s.Flags&tcp.FIN != 0 && !q.snd.Has(endpoint.HasFIN):
		return unknown | waits
	}
	return unknown | notSent
}

// ackBefore refuses an ACK that is older than the receiver's largest window
// (RFC 5961 §5).
func (q *question) ackBefore() answer {
	s, snd, rcv := q.s, q.snd, q.rcv
	if s.Flags&tcp.ACK != 0 && !snd.Has(endpoint.HasAcked) && rcv.Has(endpoint.SentSYNACK) && s.Ack.AtMost(rcv.ISS) {
		return unknown // it does not cover the SYN (RFC 9293 §3.10.7.4, fifth check, SYN-RECEIVED)
	}
	if s.Flags&tcp.ACK == 0 || !snd.Has(endpoint.HasAcked) || rcv.AnyAck() || rcv.Stack().TakesOldAck || !s.Ack.Before(q.c.sureOf(q.from)) {
		return passes
	}
	if q.c.sureOf(q.from).Minus(s.Ack) > q.c.widest(q.from) {
		if snd.Nxt.Before(s.End()) && s.Flags&tcp.FIN == 0 {
			return unsent
		}
		return refused
	}
	return passes
}

// widest is the widest window that the end ever offered its peer; where the
// scale was not captured, by the largest there can be (RFC 7323 §2.3).
func (c *Conn) widest(e tcp.Endpoint) tcp.Size {
	subject := &c.Ends[e]
	shift := uint8(endpoint.MaxShift)
	if c.ScaleKnown() {
		shift = subject.Scale(&c.Ends[e.Peer()])
	}
	return max(1<<16, tcp.Size(subject.MaxWnd)<<shift) // that of a SYN is not scaled
}

// reach is how far the numbers of what is sent to the end can lie: a window
// behind all that it ever offered.
func (c *Conn) reach(e tcp.Endpoint) tcp.Seq {
	subject := &c.Ends[e]
	if !c.ScaleKnown() {
		return subject.Acked.Add(2 * c.widest(e))
	}
	return subject.Edge.Add(c.widest(e))
}

// outstanding refuses an ICMP error about a segment that its sender has not sent,
// or that was acknowledged: the connection did not cause it (RFC 5927 §4.1). How
// far it has sent, a capture that misses segments does not tell.
func (c *Conn) outstanding(s *tcp.Segment, from tcp.Endpoint) gate.Outcome {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	switch {
	case !snd.Seen() || snd.Closed() || !rcv.Has(endpoint.HasAcked) && !snd.Has(endpoint.HasISS):
		return gate.Unknown
	case s.Seq.Before(snd.Una(rcv)), snd.SndNxt(rcv).Before(s.Seq) && !snd.Has(endpoint.Lossy):
		return gate.Refused
	}
	return gate.Accepted
}
