package conn

import (
	"time"

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

// A Verdict is what becomes of a segment at its receiver.
type Verdict struct {
	Is  Outcome
	Why tcp.Skip // the row that refuses it, or would

	// Unsent says that its alleged sender cannot have sent it, not as it then
	// stood: the segment is forged, or a wanderer, and moves nobody.
	Unsent bool

	By   int  // the frame that shows it; 0: the segment itself
	held bool // it is a FIN that is not believed for the time being
}

// shown is what is said of the segment: why it moved nobody, or why its receiver
// does not have it.
func (v Verdict) shown() tcp.Skip {
	switch {
	case v.Is == Refused:
		return v.Why
	case v.held:
		return tcp.Held
	}
	return tcp.NotSkipped
}

// Outcome is the part of a Verdict that decides.
type Outcome uint8

const (
	Accepted Outcome = iota
	Unknown          // the capture lacks what would decide, or stacks differ
	Refused
)

// A gateRow is one check of a receiver.
type gateRow struct {
	why tcp.Skip
	ask func(q *question) Verdict
}

// gateRows are asked in their order; the first that does not accept decides.
var gateRows = [...]gateRow{
	{tcp.UnsignedSegment, (*question).signature},
	{tcp.OldTimestamp, (*question).timestamp},
	{tcp.OutsideWindow, (*question).sequence},
	{tcp.NoACK, (*question).control},
	{tcp.AckOfUnsent, (*question).ackBeyond},
	{tcp.AckTooOld, (*question).ackBefore},
}

// A question is put to each row: what becomes of s at its receiver y.
type question struct {
	c    *Conn
	s    *tcp.Segment
	r    *Reading
	from tcp.Endpoint
	x, y *End
	now  tcp.Time
}

// accept says what becomes of a segment. The numbers of a RST are looked at by
// acceptsRST.
func (c *Conn) accept(s *tcp.Segment, from tcp.Endpoint, r *Reading, now tcp.Time) Verdict {
	q := question{c, s, r, from, &c.Ends[from], &c.Ends[from.Peer()], now}
	if s.Flags&tcp.SYN != 0 {
		return Verdict{} // its numbers begin
	}
	if q.y.closed() { // there are none to measure it by
		if s.Flags&tcp.RST == 0 && q.olderThanBefore() && q.holds(tcp.OldTimestamp) {
			return Verdict{Is: Unknown, Why: tcp.OldTimestamp, held: true}
		}
		return Verdict{}
	}
	for _, row := range gateRows {
		if s.Flags&tcp.RST != 0 && row.why != tcp.UnsignedSegment {
			break
		}
		if v := row.ask(&q); v.Is != Accepted {
			v.Why = row.why
			v.held = !v.Unsent && q.holds(row.why)
			return v
		}
	}
	return Verdict{}
}

// signature refuses what is not signed where both SYNs were (RFC 2385 §2.0,
// RFC 5925 §7.3).
func (q *question) signature() Verdict {
	if !(q.x.Has(signs) && q.y.Has(signs)) || q.s.Options.Signed {
		return Verdict{}
	}
	if q.s.Cut == tcp.CutOptions {
		return Verdict{Is: Unknown}
	}
	return Verdict{Is: Refused, Unsent: true}
}

// ticksBack is by how much a timestamp may be older than the newest that was
// taken. RFC 7323 §5.3 has none; Linux lets one tick pass.
const ticksBack = 1

// timestampsHold is how long the newest timestamp is good (RFC 7323 §5.5).
const timestampsHold = 24 * 24 * time.Hour

// timestamp is PAWS (RFC 7323 §5.3). The newest timestamp that was captured
// proves nothing of what the receiver has taken: what it echoes does.
func (q *question) timestamp() Verdict {
	s, x, y := q.s, q.x, q.y
	if !s.Options.HasTS || !y.Has(hasEcho) || int32(y.echo-s.Options.TSVal) <= ticksBack ||
		y.Stack().NoPAWS || q.now.Sub(x.SentAt) > timestampsHold {
		if q.olderThanBefore() {
			return Verdict{Is: Unknown}
		}
		return Verdict{}
	}
	if s.PureAck() && s.Seq == y.Acked && s.Ack.AtMost(x.Acked) {
		return Verdict{Is: Unknown} // Linux lets a late copy of an ACK pass
	}
	later := x.Nxt.Before(s.End()) && s.Flags&tcp.FIN == 0 || x.Acked.Before(s.Ack) && s.PureAck()
	return Verdict{Is: Refused, Unsent: later || q.replaces()}
}

// olderThanBefore reports whether the segment has octets that none had before it,
// and a stamp that is older than what its sender sent before: it sent neither late.
func (q *question) olderThanBefore() bool {
	s, x := q.s, q.x
	return s.Options.HasTS && x.Has(HasTS) && int32(x.TSVal-s.Options.TSVal) > ticksBack && x.Nxt.Before(s.End()) && q.now.Sub(x.SentAt) <= timestampsHold
}

// sequence refuses what lies beyond all that the receiver ever offered (RFC 9293
// §3.10.7.4, first check). A sender may try one octet beyond a window, or use one
// that was withdrawn, and the capture may have missed a window that was wider:
// only what lies another window further is nobody's. Nor is a FIN in the place of
// an octet, but where that was not acknowledged the receiver may have taken it.
func (q *question) sequence() Verdict {
	if !q.y.Has(HasAcked) {
		return Verdict{}
	}
	if q.replaces() {
		if q.s.End().AtMost(q.y.Acked) {
			return Verdict{Is: Refused, Unsent: true}
		}
		return Verdict{Is: Unknown}
	}
	if far := q.c.reach(q.from.Peer()); far.Before(q.s.Seq) {
		return Verdict{Is: Refused, Unsent: true}
	}
	if q.c.ScaleKnown() && q.y.Edge.Before(q.s.Seq) {
		return Verdict{Is: Unknown}
	}
	return Verdict{}
}

// replaces reports whether the segment is a FIN with the number of an octet that
// was captured of its alleged sender before.
func (q *question) replaces() bool {
	fin := q.s.End() - 1
	if q.s.Flags&tcp.FIN == 0 || q.x.Has(HasFIN) || !fin.Before(q.x.Nxt) || !q.c.ScaleKnown() {
		return false
	}
	return !q.c.HolesOf(q.from).Has(fin)
}

// control refuses what is against the law of flags: nothing that is no SYN and
// no RST goes without ACK (RFC 9293 §3.10.7.4, fifth check).
func (q *question) control() Verdict {
	if q.s.Lawless() {
		return Verdict{Is: Refused, Unsent: true}
	}
	return Verdict{}
}

// ackBeyond is about an ACK of what the receiver never sent (RFC 9293
// §3.10.7.4, RFC 5961 §5). It was captured no further than Nxt; it cannot have
// been taken beyond the edge that the sender of the ACK itself offered.
func (q *question) ackBeyond() Verdict {
	s, x, y := q.s, q.x, q.y
	if s.Flags&tcp.ACK == 0 || s.Ack.AtMost(y.Nxt) || !y.Seen() {
		return Verdict{}
	}
	if x.Has(HasAcked) {
		if far := q.c.reach(q.from); far.Before(s.Ack) {
			return Verdict{Is: Refused, Unsent: true}
		}
	} else if y.Has(HasISS) && x.Has(SentSYN) && y.Nxt.Add(1<<16).Before(s.Ack) {
		return Verdict{Is: Refused, Unsent: true} // a SYN offers no more, and its window is not scaled
	}
	return Verdict{Is: Unknown}
}

// ackBefore refuses an ACK that is older than the receiver's largest window
// (RFC 5961 §5). An end that only waits for the peer's FIN, or its last copy,
// looks at no ACK.
func (q *question) ackBefore() Verdict {
	s, x, y := q.s, q.x, q.y
	const idle = tcp.StateSet(1<<tcp.TimeWait | 1<<tcp.FinWait2)
	if s.Flags&tcp.ACK == 0 || !x.Has(HasAcked) || y.Assumed&idle != 0 || !s.Ack.Before(x.Acked) {
		return Verdict{}
	}
	if x.Acked.Minus(s.Ack) > q.c.widest(q.from) {
		return Verdict{Is: Refused, Unsent: x.Nxt.Before(s.End()) && s.Flags&tcp.FIN == 0}
	}
	return Verdict{}
}

// widest is the widest window that the end ever offered its peer; where the
// scale was not captured, by the largest there can be (RFC 7323 §2.3).
func (c *Conn) widest(e tcp.Endpoint) tcp.Size {
	x := &c.Ends[e]
	shift := uint8(maxShift)
	if c.ScaleKnown() {
		shift = x.Scale(&c.Ends[e.Peer()])
	}
	return max(1<<16, tcp.Size(x.maxWnd)<<shift) // that of a SYN is not scaled
}

// reach is how far the numbers of what is sent to the end can lie: a window
// behind all that it ever offered.
func (c *Conn) reach(e tcp.Endpoint) tcp.Seq {
	x := &c.Ends[e]
	if !c.ScaleKnown() {
		return x.Acked.Add(2 * c.widest(e))
	}
	return x.Edge.Add(c.widest(e))
}
