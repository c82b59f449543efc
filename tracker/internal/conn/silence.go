package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/stalls"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What silence tells. Every end answers some segments at once: a SYN in LISTEN
// and in SYN-SENT, a SYN,ACK, and a FIN whenever it comes. Others it has to send
// again by a timer of its own. Where the capture would have what it sends, and
// has nothing, the assumed view takes back what the end would have answered, and
// no state is proved any more that the end would have shown by now.

const (
	// noSYNACK is how long after a SYN its SYN,ACK must be missing. A full queue,
	// or a filter, answers no SYN.
	noSYNACK = time.Second
	// noSYNACKHere is the same where the capture was made on the host: what did not
	// leave was not sent.
	noSYNACKHere = 200 * time.Millisecond
	// noAnswer is the same for the ACK of a SYN,ACK or FIN that was sent again, or
	// three times the end's response time. It is also how long an end must not
	// have sent anything before a FIN: Linux answers what it has received before
	// twice a second at most.
	noAnswer = 500 * time.Millisecond
	// initialRTO is when a SYN is sent again first (RFC 6298 §2).
	initialRTO = time.Second

	// ignoredACKs is how often an end must have sent its SYN,ACK again after an
	// ACK of it for further ones not to count. Once is a loss, or a deferred
	// accept that is over.
	ignoredACKs = 2

	// A sender has given up when it had sent the same octets this often ...
	CopiesOfGivingUp = 5
	// ... the pauses growing as those of a retransmission timer do, so often in a row.
	GrowingPauses = 2
	// Or it had sent so many keepalives, and none was answered.
	ProbesBeforeSilence = 3
	// Whatever it repeated, it was silent then for so many times as long as it
	// had waited at last.
	SilentPauses = 2
)

// A silence is what an end did not answer.
type silence struct {
	asked   tcp.Time     // when the copy was captured whose answer is waited for; 0: none is
	denied  tcp.InputSet // what it is not taken to have received, since it did not answer
	ignored uint8        // how often it sent its SYN,ACK again after an ACK of that, up to ignoredACKs
}

// Denied returns what was captured toward the end and is not taken for received,
// since the end would have answered.
func (c *Conn) Denied(e tcp.Endpoint) (ins tcp.InputSet) {
	if c.Ends[e].Has(endpoint.IgnoresSYN) {
		ins = tcp.RcvSYN.Set()
	}
	if c.Rare != nil {
		ins |= c.Rare.silences[e].denied
	}
	return ins
}

// Otherwise returns the states in which the end is if what is denied arrived
// all the same, or it took a RST that it may have taken; none if that is nothing.
func (c *Conn) Otherwise(e tcp.Endpoint) tcp.StateSet {
	subject := &c.Ends[e]
	in := c.Denied(e)
	if c.mayBeReset(e) {
		in |= tcp.RcvRST.Set()
	}
	if after := subject.Assumed.After(in); after != subject.Assumed {
		return after
	}
	return 0
}

// waits reports whether the end has sent a SYN, and no SYN,ACK was captured that
// it may have got.
func (c *Conn) waits(e tcp.Endpoint) bool {
	return c.Ends[e].Assumed == tcp.SynSent.Set() && !c.Denied(e).Has(tcp.RcvAckOfSYN)
}

// keepSilence begins to wait for the answer to a segment that is sent again, and
// ends it when the answer comes. An ACK that covers more than those before
// shows that segments reach its sender.
func (m *Machine) keepSilence(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if r.Stale {
		return
	}
	if s.Flags&tcp.ACK != 0 && (!snd.Has(endpoint.HasAcked) || snd.Acked.Before(s.Ack)) {
		snd.Bits &^= endpoint.IgnoresSYN
		if c.Rare != nil {
			q := &c.Rare.silences[from]
			q.asked, q.denied = 0, 0
		}
	}
	if c.ClosedBy() == tcp.ByTimeoutOfEnd && (c.Happened(from, tcp.GiveUp) || c.Happened(from, tcp.GiveUpPassive)) {
		c.setClosedBy(tcp.NotClosed) // it had not given up
	}
	if r.Keepalive {
		m.refute(c, from, tcp.GiveUp.Set(), m.cause(s, tcp.ByCorrection))
	}
	if r.Old || r.Keepalive {
		m.arm(c)
	}
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && !snd.Has(endpoint.SentSYNACK):
		m.disarmed = true
		m.alarms.Drop(c) // it is set for the lack of this, in nearly every connection
		m.arm(c)
	case !r.Old:
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK:
		q := &c.RareState().silences[from]
		q.denied &^= tcp.RcvAckOfSYN.Set()
		if q.ignored < ignoredACKs && c.olderThan(from, tcp.RcvAckOfSYN.Set(), m.Now, snd.InFlight()) != 0 {
			q.ignored++
		}
		if !rcv.Has(endpoint.HasAcked) {
			m.awaitAnswer(c, from.Peer())
		}
	case s.Flags&(tcp.SYN|tcp.FIN) == tcp.FIN && snd.Has(endpoint.HasFIN) && m.Now.Sub(rcv.SentAt) >= noAnswer:
		if !rcv.Has(endpoint.HasAcked) || !snd.FIN.Before(rcv.Acked) {
			m.awaitAnswer(c, from.Peer())
		}
	}
}

// awaitAnswer waits for the end to answer, if the capture would have the answer.
func (m *Machine) awaitAnswer(c *Conn, e tcp.Endpoint) {
	q := &c.RareState().silences[e]
	if (q.asked == 0 || q.asked < m.Lost) && q.denied == 0 && c.captured(e) {
		q.asked = m.Now
	}
}

// captured reports whether the capture has all that the end sends, as far as
// anybody knows.
func (c *Conn) captured(e tcp.Endpoint) bool {
	subject := &c.Ends[e]
	return subject.Seen() && !subject.Has(endpoint.Lossy) && (c.Rare == nil || len(c.Rare.holes[e]) == 0 && c.Rare.Gaps[e].Is == holes.GapNone)
}

// unanswered returns when what is toward the end has gone without an answer for
// so long that it did not arrive; 0 if no answer is waited for, or the capture
// may have lost it.
func (m *Machine) unanswered(c *Conn, e tcp.Endpoint) tcp.Time {
	subject := &c.Ends[e]
	if subject.AwaitsSYNACK() && !subject.Has(endpoint.IgnoresSYN) {
		if st, ok := c.Find(e, tcp.RcvSYN); ok && st.Basis() != tcp.ByProof && st.At >= m.Lost {
			if m.OnHost(c, e) {
				return st.At.Add(noSYNACKHere)
			}
			return st.At.Add(noSYNACK)
		}
	}
	if c.Rare != nil {
		if asked := c.Rare.silences[e].asked; asked != 0 && asked >= m.Lost {
			return asked.Add(max(3*subject.Response(), noAnswer))
		}
	}
	return 0
}

// deny takes back what the end did not answer. Copies of it do not count either,
// until the end shows that segments reach it: a state would else come and go
// with every one.
func (m *Machine) deny(c *Conn, e tcp.Endpoint, why cause) {
	subject := &c.Ends[e]
	if subject.AwaitsSYNACK() && !subject.Has(endpoint.IgnoresSYN) {
		subject.Bits |= endpoint.IgnoresSYN
		m.unlearn(c, e, tcp.RcvSYN.Set(), why)
		return
	}
	q := &c.Rare.silences[e]
	q.asked = 0
	in, along := tcp.RcvFIN, tcp.RcvFIN.Set()|tcp.RcvAckOfFIN.Set()
	if !subject.Has(endpoint.HasAcked) {
		in, along = tcp.RcvSYN, tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set()
	}
	st, ok := c.Find(e, in)
	if !ok || st.Basis() == tcp.ByProof {
		return
	}
	q.denied = in.Set() | st.Inputs()&along
	if in == tcp.RcvSYN {
		q.denied = along // a SYN of its peer without ACK, if there was one, was answered neither
	}
	m.refute(c, e, q.denied, why)
	if subject.Assumed == tcp.FinWait2.Set() {
		if st, ok := c.Find(e, tcp.RcvAckOfFIN); ok {
			subject.Clock = endpoint.TickOf(st.At) // its timer has run since then
		}
	}
}

// ignores reports whether the end goes on to send its SYN,ACK although ACKs of
// it were captured. Then another one does not count, until the end shows that
// it does.
func (c *Conn) ignores(e tcp.Endpoint) bool {
	return c.Rare != nil && c.Rare.silences[e].ignored >= ignoredACKs && c.Ends[e].Assumed == tcp.SynReceived.Set()
}

// believed returns those of the inputs, of s toward the end, that the assumed
// view takes for received. An ACK of the end's SYN, where that was not captured,
// shows that it had received the peer's.
func (m *Machine) believed(c *Conn, s *tcp.Segment, e tcp.Endpoint, ins tcp.InputSet) tcp.InputSet {
	subject := &c.Ends[e]
	if ins.Has(tcp.RcvAckOfSYN) && subject.Has(endpoint.IgnoresSYN) {
		subject.Bits &^= endpoint.IgnoresSYN
		m.apply(c, e, tcp.RcvSYN.Set(), m.cause(s, tcp.ByCorrection))
	}
	if ins.Has(tcp.RcvAckOfSYN) && c.ignores(e) {
		c.Rare.silences[e].denied |= tcp.RcvAckOfSYN.Set()
	}
	return ins &^ c.Denied(e)
}

// retries is what the end sends again and again without an answer, in a
// connection that is open: octets, or keepalives; nil if it does neither.
func (c *Conn) retries(e tcp.Endpoint) (w *stalls.Repeats, probes bool) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	tr := c.Rare.StallsOf(e)
	if tr == nil || subject.Assumed&^(tcp.Established.Set()|tcp.CloseWait.Set()) != 0 || subject.Has(endpoint.Lossy) || !c.captured(e.Peer()) {
		return nil, false
	}
	w, p := &tr.Data, &tr.Probes
	switch {
	case w.Copies > 1 && subject.Una(peer) == w.Seq && subject.SentAt == w.Last && peer.Wnd != 0:
		return w, false
	case p.Copies > 1 && peer.SentAt == p.Heard && subject.SentAt == p.Last:
		return p, true
	}
	return nil, false
}

// gaveUp returns when the end is taken to have given up, without a word, what it
// sent again and again; 0 if it did not.
func (c *Conn) gaveUp(e tcp.Endpoint) tcp.Time {
	switch w, probes := c.retries(e); {
	case w == nil:
	case probes && w.Copies >= ProbesBeforeSilence:
		return w.Last.Add(SilentPauses * w.Gap)
	case !probes && w.Copies >= CopiesOfGivingUp && w.Doublings >= GrowingPauses:
		return w.Last.Add(SilentPauses*w.Gap + w.Gap/4 + time.Second) // the next copy may come a little late
	}
	return 0
}

// Overdue reports whether the end would have sent by now, by a timer of its
// own, what would show that it is still in the state in which it was.
func (c *Conn) Overdue(e tcp.Endpoint, now tcp.Time) bool {
	subject := &c.Ends[e]
	switch subject.Assumed {
	case tcp.SynSent.Set(), tcp.SynReceived.Set():
		return subject.Has(endpoint.SentSYN|endpoint.SentSYNACK) && subject.Clock.Age(now) > max(2*initialRTO, subject.NextCopy())
	case tcp.Established.Set(), tcp.CloseWait.Set():
		switch w, probes := c.retries(e); {
		case w == nil:
		case probes:
			return now.Sub(w.Last) > w.Gap+w.Gap/2
		default:
			return now.Sub(w.Last) > min(2*w.Gap, max(w.Gap, 2*stalls.LongestRTO))+w.Gap/4+time.Second
		}
	}
	return false
}

// UnlessAlive returns the states in which the end is, if it has given up by now.
func (c *Conn) UnlessAlive(e tcp.Endpoint) tcp.StateSet {
	subject := &c.Ends[e]
	if subject.Assumed == tcp.SynReceived.Set() && !subject.Has(endpoint.SentSYN) {
		return subject.Assumed.After(tcp.GiveUpPassive.Set())
	}
	return subject.Assumed.After(tcp.GiveUp.Set())
}

// silenceDue returns when the end's silence is to be looked at; 0 if it is not, or
// it can have given up only when the capture had ended: nobody knows whether it was
// silent then.
func (m *Machine) silenceDue(c *Conn, e tcp.Endpoint) tcp.Time {
	if due := m.unanswered(c, e); due != 0 {
		return due
	}
	if due := c.gaveUp(e); m.Ends == 0 || due <= m.Ends {
		return due
	}
	return 0
}

// heedSilence acts on the end's silence up to the given time.
func (m *Machine) heedSilence(c *Conn, e tcp.Endpoint, at tcp.Time) {
	switch due := m.silenceDue(c, e); {
	case due == 0 || due > at:
	case m.unanswered(c, e) != 0:
		m.deny(c, e, cause{at: at})
	default:
		m.expireEnd(c, e, endpoint.TimerRetries, cause{at: at, basis: tcp.ByTimer})
	}
}
