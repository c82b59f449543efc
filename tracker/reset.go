package tracker

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
	resetUnmatched resetKind = iota
	resetReply               // its sender had no connection for the segment it answers
	resetAbort               // its sender had the connection, and ended it
)

// observeRST takes in a RST.
func (t *Machine) observeRST(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	before := t.look(c)
	kind := c.resetKind(s, from, t.now)
	asked, found := t.answers(c, s, from)
	if kind == resetUnmatched && found {
		kind = resetReply
	}
	accepted := c.acceptsRST(s, from, t.now)
	r := reading{foreign: kind == resetUnmatched}

	t.resetSender(c, s, from, kind, asked)
	if accepted {
		t.resetReceiver(c, s, from, kind)
	}
	if kind == resetReply {
		y.bits |= answered
	}
	x.packets++
	x.sentAt = t.now
	before.rst, before.accepted = kind, accepted
	is := r.bits()
	if kind == resetReply {
		is |= wasReply
	}
	if accepted {
		is |= wasAccepted
	}
	t.trail.put(c, s, from, is, t.now)
	t.judge(c, s, from, r, onRST|c.qualityOf(s, from))
	c.weigh(s, from, before, t.now)
}

// maxIDStep is how far apart the IP identifications of two segments of one end
// may be that were sent shortly after one another.
const maxIDStep = 1 << 10

// maxLookBack bounds how many segments of a connection are looked through for
// what a RST has to do with.
const maxLookBack = 64

// resetKind tells a reply from an abort.
func (c *Conn) resetKind(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) resetKind {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if c.repliesTo(s, from, now) {
		return resetReply
	}
	if !x.seen() && y.assumed != tcp.SynSent.Set() || !y.seen() {
		return resetAbort // picked up midway: nothing to measure it by
	}
	if !x.seen() {
		if s.Flags&tcp.ACK != 0 && s.Seq != 0 && y.has(hasISS) && y.iss.Before(s.Ack) && s.Ack.AtMost(y.nxt) {
			return resetAbort // it acknowledges the SYN: its SYN+ACK was not captured
		}
		return resetUnmatched
	}
	inWindow := s.Seq == x.nxt || x.una(y).AtMost(s.Seq) && s.Seq.AtMost(x.nxt) && y.has(hasAcked) && s.Seq == y.edge
	knows := s.Flags&tcp.ACK == 0 || !x.has(hasAcked) || x.acked.AtMost(s.Ack) && s.Ack.AtMost(c.contiguous(from.Peer()))
	if inWindow && knows && !x.impostor(s) {
		return resetAbort
	}
	return resetUnmatched
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
	x, y := &c.ends[from], &c.ends[from.Peer()]
	took := now.Sub(y.sentAt)
	if !y.seen() || y.has(answered) || took > max(3*x.response(), time.Second) {
		return false
	}
	if s.Flags&tcp.ACK != 0 {
		return !y.has(hasAcked) && s.Seq == 0 && s.Ack == y.nxt
	}
	if !y.has(hasAcked) || s.Seq != y.lastAck {
		return false
	}
	asked := !x.has(hasAcked) || x.acked.Before(y.nxt)
	return asked || x.closed() || took <= 3*x.response() || !x.seen() || sameWay(s.TTL, x.ttl)
}

// answers returns when the segment was sent that the RST, if it is a reply,
// answers: the newest of the peer with that ACK field; failing that, the peer's
// newest of all. Found says that there is such a field, and so that the RST may
// be a reply to an older segment: of several that are on their way to a stack
// without the connection, each is answered.
func (t *Machine) answers(c *Conn, s *tcp.Segment, from tcp.Endpoint) (asked tcp.Time, found bool) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if s.Flags&tcp.ACK != 0 || x.seen() && !sameWay(s.TTL, x.ttl) {
		return y.sentAt, false
	}
	since, n := t.now.Add(-max(3*x.response(), time.Second)), 0
	for g := range t.trail.back(c) {
		if n++; n > maxLookBack || g.at < since {
			break
		}
		if g.from != from && g.flags&(tcp.ACK|tcp.RST) == tcp.ACK && g.ack == s.Seq {
			return g.at, true
		}
	}
	return y.sentAt, false
}

// sameWay reports whether two TTLs are those of one path, but for a hop.
func sameWay(a, b uint8) bool { return a-b+1 <= 2 }

// impostor reports whether a RST that its alleged sender should have made from
// its own connection looks as if somebody else had: it came another way, and
// has not the next IP identification, or lacks the timestamps of all else. One
// of the two alone is no reason: routes change, and stacks differ.
func (x *end) impostor(s *tcp.Segment) bool {
	if sameWay(s.TTL, x.ttl) {
		return false
	}
	return x.outOfTurn(s) || x.has(hasTS) && !s.Options.HasTS
}

// outOfTurn reports whether the IP identification of s does not follow that of
// the end's newest segment. A RST from no connection has none, often.
func (x *end) outOfTurn(s *tcp.Segment) bool { return s.ID != 0 && x.id != 0 && s.ID-x.id > maxIDStep }

// resetSender moves the end that sent the RST, in the assumed view. The proved
// view does not move: anyone may forge a RST. Of a reply, asked is when the
// segment was sent that it answers.
func (t *Machine) resetSender(c *Conn, s *tcp.Segment, from tcp.Endpoint, kind resetKind, asked tcp.Time) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	why := t.cause(s, tcp.BySending)
	switch kind {
	case resetAbort:
		if s.Flags&tcp.ACK != 0 && y.has(hasFIN) && x.acked.AtMost(s.Ack) && !y.fin.Before(s.Ack) {
			t.refute(c, from, tcp.RcvFIN.Set(), why) // its ACK says what it had received
		}
		t.pickUp(c, from, ^(tcp.Listen.Set() | tcp.TimeWait.Set()), why)
		t.apply(c, from, tcp.SndRST.Set(), why)
		c.abortedBy(from)
	case resetReply:
		if s.Flags&tcp.ACK != 0 && !x.seen() {
			t.erase(c, from, tcp.Closed, why) // it never had a connection
			return
		}
		if s.Flags&tcp.ACK == 0 && x.has(hasISS) && !(x.iss.Before(s.Seq) && s.Seq.AtMost(x.nxt)) && x.assumed&(tcp.SynSent.Set()|tcp.SynReceived.Set()) != 0 {
			return // the answer to a bad ACK, from a connection that goes on (RFC 9293 §3.10.7.3, §3.10.7.4)
		}
		if x.closed() && c.happened(from, tcp.SndRST) {
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
	for _, st := range c.steps() {
		if st.end() == e && st.at >= at && (st.basis() == tcp.ByAssumption || st.basis() == tcp.ByCorrection) {
			ins |= st.inputs()
		}
	}
	return ins & (tcp.RcvSYN.Set() | tcp.RcvAckOfSYN.Set() | tcp.RcvFIN.Set() | tcp.RcvAckOfFIN.Set())
}

// abortedBy notes which end ended the connection, unless it was being closed.
func (c *Conn) abortedBy(e tcp.Endpoint) {
	if c.closedBy() == tcp.NotClosed {
		c.setClosedBy(tcp.ByClientReset + tcp.ClosedBy(e))
	}
}

// acceptsRST reports whether the receiver of the RST will act on it, by the
// rules of its stack.
func (c *Conn) acceptsRST(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) bool {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	stack := y.stack()
	rcvNxt := c.contiguous(from)
	switch {
	case c.repliesTo(s, from, now):
		rcvNxt = y.acked // what the segment that it answers asked for; the end that is gone sent nothing since
	case x.has(hasFIN) && x.fin.Before(rcvNxt) && !c.happened(from.Peer(), tcp.RcvFIN):
		rcvNxt = x.fin // captured, but shown not to have arrived
	}
	switch state := y.assumed.Only(); state {
	case tcp.Closed, tcp.Listen:
		return false
	case tcp.SynSent:
		return s.Flags&tcp.ACK != 0 && y.iss.Before(s.Ack) && s.Ack.AtMost(y.nxt)
	case tcp.TimeWait:
		return stack.RSTInTimeWait && s.Seq == rcvNxt
	case tcp.SynReceived:
		// Linux drops the request for any RST in the window; RFC 9293 asks for
		// the exact number. The window of a request is that of its SYN+ACK.
		return s.Seq == rcvNxt || stack.RSTAtSACK && y.has(hasAcked) && s.Seq.In(rcvNxt, tcp.Later(y.edge, rcvNxt+1))
	default:
		if !x.seen() || s.Seq == rcvNxt {
			return true
		}
		if stack.RSTAtSACK && c.odd != nil && c.odd.hasSACK[from.Peer()] && s.Seq == c.odd.sackEdge[from.Peer()] {
			return true
		}
		return stack.RSTBelowFIN && s.Seq+1 == rcvNxt && (state == tcp.CloseWait || state == tcp.LastAck || state == tcp.Closing)
	}
}

// resetReceiver moves the end that accepts the RST.
func (t *Machine) resetReceiver(c *Conn, s *tcp.Segment, from tcp.Endpoint, kind resetKind) {
	y := &c.ends[from.Peer()]
	why := t.cause(s, tcp.ByAssumption)
	refused := y.assumed == tcp.SynSent.Set()
	switch {
	case y.assumed == tcp.SynReceived.Set() && !y.has(sentSYN):
		t.apply(c, from.Peer(), tcp.RcvRSTPassive.Set(), why)
	default:
		t.pickUp(c, from.Peer(), ^tcp.Listen.Set(), why)
		t.apply(c, from.Peer(), tcp.RcvRST.Set(), why)
	}
	switch {
	case refused:
		c.setClosedBy(tcp.ByRefusal)
	case kind == resetUnmatched:
		c.abortedBy(from)
	}
}

// observeICMP takes in an ICMP error about a segment of the connection. Only
// an attempt to open is ended by it (RFC 9293 §3.9.2.2, RFC 5461); in an open
// connection it is a hint that the stack may note.
func (t *Machine) observeICMP(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	t.look(c)
	c.keepICMP(s, from, t.now)
	if x := &c.ends[from]; x.assumed == tcp.SynSent.Set() && s.Seq == x.iss && s.ICMP.Unreachable() {
		t.unreachable(c, s, from)
	}
	t.judge(c, s, from, reading{}, onICMP)
}

// unreachable ends an attempt to open.
func (t *Machine) unreachable(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	t.apply(c, from, tcp.Unreachable.Set(), t.cause(s, tcp.ByAssumption))
	if peer := from.Peer(); !c.ends[peer].seen() {
		t.erase(c, peer, tcp.Unknown, t.cause(s, tcp.ByCorrection)) // the SYN did not arrive there
	}
	c.setClosedBy(tcp.ByUnreachable)
}
