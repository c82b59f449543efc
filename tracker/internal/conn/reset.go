package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A RST says by its numbers who made it.
//
// A stack that has no connection for a segment answers it with a RST made of
// that segment: SEQ is its ACK field, or, if it had none, SEQ is 0 and ACK is
// what follows it (RFC 9293 §3.5.2, §3.10.7.1). An end that aborts builds the
// RST from its own variables: SEQ is SND.NXT (§3.10.5). A RST that is neither
// was not made by the end it names, or the capture misses packets.

// resetKind says what a RST is by its numbers.
type resetKind uint8

const (
	ResetUnmatched resetKind = iota
	ResetReply               // its sender had no connection for the segment it answers
	ResetAbort               // its sender had the connection, and ended it
)

// observeRST takes in a RST. One that lacks the signature is not taken (RFC 2385
// §4.1); a host without the connection can send it, an end that has one cannot.
func (t *Machine) observeRST(c *Conn, s *tcp.Segment, from tcp.Endpoint, v Verdict) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	before := t.snapshot(c)
	kind := c.resetKind(s, from, t.Now)
	asked, found := t.answers(c, s, from)
	if kind == ResetUnmatched && found {
		kind = ResetReply
	}
	if v.Is == Refused && (kind == ResetAbort || !x.Acked.Before(y.Nxt)) {
		kind = ResetUnmatched // nothing asked for the answer of a host without the connection
	}
	accepted := v.Is != Refused && c.acceptsRST(s, from, t.Now)
	r := Reading{Foreign: kind == ResetUnmatched}

	t.resetSender(c, s, from, kind, asked)
	if accepted {
		t.resetReceiver(c, s, from, kind)
	}
	if kind == ResetReply {
		y.Bits |= answered
	}
	x.Packets++
	x.SentAt = t.Now
	before.RST, before.Accepted = kind, accepted
	is := r.bits()
	if kind == ResetReply {
		is |= WasReply
	}
	if accepted {
		is |= wasAccepted
	}
	t.Recent.put(c, s, from, is, t.Now)
	t.tellChecks(c, s, from, r, OnRST|c.qualityOf(s, from))
	c.settleChallenge(s, from, before, t.Now)
}

// MaxIDStep is how far apart the IP identifications of two segments of one end
// may be that were sent shortly after one another.
const MaxIDStep = 1 << 10

// MaxLookBack bounds how many segments of a connection are looked through for
// what a RST has to do with.
const MaxLookBack = 64

// resetKind tells a reply from an abort.
func (c *Conn) resetKind(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) resetKind {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	if c.repliesTo(s, from, now) {
		return ResetReply
	}
	if !x.Seen() && y.Assumed != tcp.SynSent.Set() || !y.Seen() {
		return ResetAbort // picked up midway: nothing to measure it by
	}
	if !x.Seen() {
		if s.Flags&tcp.ACK != 0 && s.Seq != 0 && y.Has(HasISS) && y.ISS.Before(s.Ack) && s.Ack.AtMost(y.Nxt) {
			return ResetAbort // it acknowledges the SYN: its SYN+ACK was not captured
		}
		return ResetUnmatched
	}
	inWindow := s.Seq == x.Nxt || x.Una(y).AtMost(s.Seq) && s.Seq.AtMost(x.Nxt) && y.Has(HasAcked) && s.Seq == y.Edge
	knows := s.Flags&tcp.ACK == 0 || !x.Has(HasAcked) || x.Acked.AtMost(s.Ack) && s.Ack.AtMost(c.Contiguous(from.Peer()))
	if inWindow && knows && !x.impostor(s) {
		return ResetAbort
	}
	return ResetUnmatched
}

// repliesTo reports whether the RST answers the newest segment of the peer. A
// stack answers at once: that segment is not older than three response times,
// or a second where nothing else tells.
//
// An ACK that asks for nothing is answered by a stack that has no connection,
// but the same numbers are those of an abort. If the RST is late and came
// another way than its alleged sender's segments do, it is not taken for a
// reply.
func (c *Conn) repliesTo(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) bool {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	took := now.Sub(y.SentAt)
	if !y.Seen() || y.Has(answered) || took > max(3*x.Response(), time.Second) {
		return false
	}
	if s.Flags&tcp.ACK != 0 {
		return !y.Has(HasAcked) && s.Seq == 0 && s.Ack == y.Nxt
	}
	if !y.Has(HasAcked) || s.Seq != y.lastAck {
		return false
	}
	asked := !x.Has(HasAcked) || x.Acked.Before(y.Nxt)
	return asked || x.closed() || took <= 3*x.Response() || !x.Seen() || SameWay(s.TTL, x.TTL)
}

// answers returns when the segment was sent that the RST, if it is a reply,
// answers: the newest of the peer with that ACK field; failing that, the peer's
// newest of all. Found says that there is such a field, and so that the RST may
// be a reply to an older segment: of several that are on their way to a stack
// without the connection, each is answered.
func (t *Machine) answers(c *Conn, s *tcp.Segment, from tcp.Endpoint) (asked tcp.Time, found bool) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	if s.Flags&tcp.ACK != 0 || x.Seen() && !SameWay(s.TTL, x.TTL) {
		return y.SentAt, false
	}
	since, n := t.Now.Add(-max(3*x.Response(), time.Second)), 0
	for g := range t.Recent.Back(c) {
		if n++; n > MaxLookBack || g.At < since {
			break
		}
		if g.From != from && g.Flags&(tcp.ACK|tcp.RST) == tcp.ACK && g.Ack == s.Seq {
			return g.At, true
		}
	}
	return y.SentAt, false
}

// SameWay reports whether two TTLs are those of one path, but for a hop.
func SameWay(a, b uint8) bool { return a-b+1 <= 2 }

// impostor reports whether a RST that its alleged sender should have made from
// its own connection looks as if somebody else had: it came another way, and
// has not the next IP identification, or lacks the timestamps of all else. One
// of the two alone is no reason: routes change, and stacks differ.
func (x *End) impostor(s *tcp.Segment) bool {
	if SameWay(s.TTL, x.TTL) {
		return false
	}
	return x.OutOfTurn(s) || x.Has(HasTS) && !s.Options.HasTS
}

// OutOfTurn reports whether the IP identification of s does not follow that of
// the end's newest segment. A RST from no connection has none, often.
func (x *End) OutOfTurn(s *tcp.Segment) bool { return s.ID != 0 && x.ID != 0 && s.ID-x.ID > MaxIDStep }

// resetSender moves the end that sent the RST, in the assumed view. The proved
// view does not move: anyone may forge a RST. Of a reply, asked is when the
// segment was sent that it answers.
func (t *Machine) resetSender(c *Conn, s *tcp.Segment, from tcp.Endpoint, kind resetKind, asked tcp.Time) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	why := t.cause(s, tcp.BySending)
	switch kind {
	case ResetAbort:
		if s.Flags&tcp.ACK != 0 && y.Has(HasFIN) && x.Acked.AtMost(s.Ack) && !y.FIN.Before(s.Ack) {
			t.refute(c, from, tcp.RcvFIN.Set(), why) // its ACK says what it had received
		}
		t.pickUp(c, from, ^(tcp.Listen.Set() | tcp.TimeWait.Set()), why)
		t.apply(c, from, tcp.SndRST.Set(), why)
		c.abortedBy(from)
	case ResetReply:
		if s.Flags&tcp.ACK != 0 && !x.Seen() {
			t.erase(c, from, tcp.Closed, why) // it never had a connection
			return
		}
		if s.Flags&tcp.ACK == 0 && x.Has(HasISS) && !(x.ISS.Before(s.Seq) && s.Seq.AtMost(x.Nxt)) && x.Assumed&(tcp.SynSent.Set()|tcp.SynReceived.Set()) != 0 {
			return // the answer to a bad ACK, from a connection that goes on (RFC 9293 §3.10.7.3, §3.10.7.4)
		}
		if x.closed() && c.Happened(from, tcp.SndRST) {
			return // it had aborted: what it answers may be a copy of what it had received before
		}
		t.refute(c, from, c.takenSince(from, asked), why) // it had no connection that could receive this
		t.apply(c, from, tcp.NoTCB.Set(), why)
		c.abortedBy(from)
	}
}

// takenSince returns the inputs that the assumed view took the end to have
// received from the given time on, at first or after a correction.
func (c *Conn) takenSince(e tcp.Endpoint, at tcp.Time) tcp.InputSet {
	var ins tcp.InputSet
	for _, st := range c.Steps() {
		if st.End() == e && st.At >= at && (st.Basis() == tcp.ByAssumption || st.Basis() == tcp.ByCorrection) {
			ins |= st.Inputs()
		}
	}
	return ins & (tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set() | tcp.RcvFIN.Set() | tcp.RcvAckOfFIN.Set())
}

// abortedBy notes which end ended the connection, unless it was being closed.
func (c *Conn) abortedBy(e tcp.Endpoint) {
	if c.ClosedBy() == tcp.NotClosed {
		c.setClosedBy(tcp.ByClientReset + tcp.ClosedBy(e))
	}
}

// acceptsRST reports whether the receiver of the RST will act on it, by the
// rules of its stack.
func (c *Conn) acceptsRST(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) bool {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	stack := y.Stack()
	rcvNxt := c.Contiguous(from)
	switch {
	case c.repliesTo(s, from, now):
		rcvNxt = y.Acked // what the segment that it answers asked for; the end that is gone sent nothing since
	case x.Has(HasFIN) && x.FIN.Before(rcvNxt) && !c.Happened(from.Peer(), tcp.RcvFIN):
		rcvNxt = x.FIN // captured, but shown not to have arrived
	}
	switch state := y.Assumed.Only(); state {
	case tcp.Closed, tcp.Listen:
		return false
	case tcp.SynSent:
		return s.Flags&tcp.ACK != 0 && y.ISS.Before(s.Ack) && s.Ack.AtMost(y.Nxt)
	case tcp.TimeWait:
		return stack.RSTInTimeWait && s.Seq == rcvNxt
	case tcp.SynReceived:
		// Linux drops the request for any RST in the window; RFC 9293 asks for
		// the exact number. The window of a request is that of its SYN+ACK.
		return s.Seq == rcvNxt || stack.RSTAtSACK && y.Has(HasAcked) && s.Seq.In(rcvNxt, tcp.Later(y.Edge, rcvNxt+1))
	default:
		if !x.Seen() || s.Seq == rcvNxt {
			return true
		}
		if stack.RSTAtSACK && c.Rare != nil && c.Rare.hasSACK[from.Peer()] && s.Seq == c.Rare.sackEdge[from.Peer()] {
			return true
		}
		return stack.RSTBelowFIN && s.Seq+1 == rcvNxt && (state == tcp.CloseWait || state == tcp.LastAck || state == tcp.Closing)
	}
}

// resetReceiver moves the end that accepts the RST.
func (t *Machine) resetReceiver(c *Conn, s *tcp.Segment, from tcp.Endpoint, kind resetKind) {
	y := &c.Ends[from.Peer()]
	why := t.cause(s, tcp.ByAssumption)
	refused := y.Assumed == tcp.SynSent.Set()
	switch {
	case y.Assumed == tcp.SynReceived.Set() && !y.Has(SentSYN):
		t.apply(c, from.Peer(), tcp.RcvRSTPassive.Set(), why)
	default:
		t.pickUp(c, from.Peer(), ^tcp.Listen.Set(), why)
		t.apply(c, from.Peer(), tcp.RcvRST.Set(), why)
	}
	switch {
	case refused:
		c.setClosedBy(tcp.ByRefusal)
	case kind == ResetUnmatched:
		c.abortedBy(from)
	}
}

// observeICMP takes in an ICMP error about a segment of the connection. Only
// an attempt to open is ended by it (RFC 9293 §3.9.2.2, RFC 5461); in an open
// connection it is a hint that the stack may note.
func (t *Machine) observeICMP(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	t.snapshot(c)
	c.keepICMP(s, from, t.Now)
	if x := &c.Ends[from]; x.Assumed == tcp.SynSent.Set() && s.Seq == x.ISS && s.ICMP.Unreachable() {
		t.unreachable(c, s, from)
	}
	t.tellChecks(c, s, from, Reading{}, onICMP)
}

// unreachable ends an attempt to open.
func (t *Machine) unreachable(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	t.apply(c, from, tcp.Unreachable.Set(), t.cause(s, tcp.ByAssumption))
	if peer := from.Peer(); !c.Ends[peer].Seen() {
		t.erase(c, peer, tcp.Unknown, t.cause(s, tcp.ByCorrection)) // the SYN did not arrive there
	}
	c.setClosedBy(tcp.ByUnreachable)
}
