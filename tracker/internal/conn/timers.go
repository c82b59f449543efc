package conn

import (
	"cmp"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Timers run in trace time. A connection has one alarm, set to the earliest
// deadline of its ends. An alarm that must ring later is left where it is: when
// it rings too early it is set again, which costs a tenth of keeping the heap
// right at every segment.

// arm sets the connection's alarm, if it must ring earlier than it is set to.
// While a segment is passed to it that is put off until all is done: most moves
// come two to a segment, and to compute the deadlines cost 7 % of a short
// connection.
func (m *Machine) arm(c *Conn) {
	if c == m.passing {
		m.unset = true
		return
	}
	if m.Order != nil && c.Bits&gone == 0 {
		m.Order.Put(c)
	}
	due := m.nextDue(c)
	if due != 0 {
		due = max(due, m.Now) // no timer fires in the past
	}
	if due == 0 || c.Bits&gone != 0 || c.slot != 0 && m.alarms.At(c) <= due {
		return
	}
	m.alarms.Set(c, due)
}

// ring fires every timer that is due by now, in the order of their deadlines.
func (m *Machine) ring(now tcp.Time) {
	for m.alarms.Due(now) {
		a := m.alarms.First()
		m.alarms.Drop(a.Conn)
		m.Now = max(m.Now, a.At)
		m.expire(a.Conn, a.At)
		m.saw(a.Conn, tcp.Client, 0, tcp.NotSkipped)
		m.arm(a.Conn)
	}
}

// Slot is where the alarms keep the place of the connection's.
func (c *Conn) Slot() *uint32 { return &c.slot }

// nextDue returns the connection's earliest deadline, or 0.
func (m *Machine) nextDue(c *Conn) tcp.Time {
	var due tcp.Time
	earlier := func(at tcp.Time) {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	for e := range tcp.Endpoint(2) {
		at, _ := m.Deadline(c, e)
		earlier(at)
		earlier(m.silenceDue(c, e))
		earlier(m.checkDue(c, e, m.Now+1))
	}
	if c.Provisional() || c.Ends[tcp.Client].closed() && c.Ends[tcp.Server].closed() {
		earlier(max(c.Last(), m.Now) + remembered)
	}
	return due
}

// The names of the timers, as records print them.
const (
	timer2MSL     = "2msl"
	timerFinWait2 = "fin-wait-2"
	timerSYN      = "syn"
	timerSYNACK   = "syn-ack"
	timerFIN      = "fin"
	timerRetries  = "retries" // of octets or keepalives, in an open connection
)

// Deadline returns when the end's timer fires, and its name; 0 and "" where
// none runs.
//
// A sender that repeats a SYN, SYN+ACK or FIN doubles the pause each time. When
// the next copy is overdue it has given up.
func (m *Machine) Deadline(c *Conn, e tcp.Endpoint) (tcp.Time, string) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	stack := subject.Stack()
	base := m.Now - tcp.Time(subject.Clock.Age(m.Now))
	if last := c.Last(); tickOf(last) == subject.Clock {
		base = last // to the nanosecond, whenever it is asked
	}
	after := func(d time.Duration) tcp.Time { return base.Add(d) }
	since := func(first tcp.Input, d time.Duration) tcp.Time {
		st, _ := c.Find(e, first)
		return max(st.At, c.Start).Add(d)
	}
	overdue := subject.nextCopy()
	backsOff := subject.Copies >= 2 && subject.gap > 0 // or else the copies answer those of the peer
	switch subject.Assumed {
	case tcp.TimeWait.Set(), tcp.TimeWait.Set() | tcp.Closed.Set():
		return after(m.TwoMSLOf(stack)), timer2MSL
	case tcp.FinWait2.Set():
		if stack.FinWait2 != 0 && !subject.Has(stillReads) {
			return after(stack.FinWait2), timerFinWait2
		}
	case tcp.SynSent.Set():
		if stack.FixedGiveUp {
			return since(tcp.SndSYN, stack.SynGiveUp), timerSYN
		}
		if backsOff {
			return after(overdue), timerSYN
		}
		return after(stack.SynGiveUp), timerSYN
	case tcp.SynReceived.Set():
		if !subject.Has(SentSYNACK) {
			if subject.Has(SentSYN) {
				return after(stack.SynGiveUp), timerSYN // two SYNs that nothing followed
			}
			break
		}
		if stack.FixedGiveUp {
			return since(tcp.RcvSYN, stack.SynAckGiveUp), timerSYNACK
		}
		if backsOff {
			return after(overdue), timerSYNACK
		}
		return after(stack.SynAckGiveUp), timerSYNACK
	case tcp.FinWait1.Set(), tcp.Closing.Set(), tcp.LastAck.Set():
		if !peer.Seen() {
			break // a one-way capture: the ACK would not be seen
		}
		if stack.LastAckGiveUp != 0 && subject.Assumed == tcp.LastAck.Set() {
			return since(tcp.SndFIN, stack.LastAckGiveUp), timerFIN
		}
		if subject.Copies >= 3 {
			return after(overdue), timerFIN
		}
		return after(stack.FinGiveUp), timerFIN
	}
	return 0, ""
}

// DefaultLeakAfter is Setup.LeakAfter where nobody says.
const DefaultLeakAfter = 60 * time.Second

// checkDue returns when the end is to be looked at, from the given time on, although
// no timer of its stack fires; 0 if it is not. What is found then would else be told
// only when the connection, or the capture, is over. That the ends still speak, by
// keepalives, must not put it off for ever.
func (m *Machine) checkDue(c *Conn, e tcp.Endpoint, from tcp.Time) tcp.Time {
	if ack, ok := c.Find(e.Peer(), tcp.RcvAckOfFIN); ok && c.Ends[e].Assumed == tcp.CloseWait.Set() {
		for _, since := range [...]tcp.Time{ack.At, c.Last()} {
			if at := since.Add(m.LeakAfter); at >= from {
				return at
			}
		}
	}
	return 0
}

func (m *Machine) TwoMSLOf(stack *tcp.Stack) time.Duration {
	return cmp.Or(m.twoMSL, stack.TimeWait2MSL)
}

// expire acts on the connection's timers that are due at the given time.
func (m *Machine) expire(c *Conn, at tcp.Time) {
	for e := range tcp.Endpoint(2) {
		if m.checkDue(c, e, at) == at {
			m.snapshot(c)
			m.tellChecks(c, nil, e.Peer(), recent.Reading{}, triggers.OnTimer) // the one that has closed
		}
		m.heedSilence(c, e, at)
		due, kind := m.Deadline(c, e)
		if kind == "" || due > at {
			continue
		}
		sure := c.Ends[e].Has(stackKnown) || kind == timer2MSL && m.twoMSL != 0
		if kind == timerSYN && c.Ends[e.Peer()].Has(SentSYNACK) {
			sure = false // it may have had that, and its ACKs were lost before the tap
		}
		m.expireEnd(c, e, kind, cause{at: at, basis: tcp.ByTimer, sure: sure})
	}
	if at.Sub(max(c.Last(), c.newestMove())) < time.Duration(remembered) {
		return
	}
	if waits := c.Provisional(); waits || c.Ends[tcp.Client].closed() && c.Ends[tcp.Server].closed() {
		if !waits {
			m.over(c)
		}
		m.remove(c)
	}
}

// newestMove returns when an end last changed its state, a new connection in
// its place left aside.
func (c *Conn) newestMove() tcp.Time {
	for _, st := range slices.Backward(c.Steps()) {
		if !st.Reopens() {
			return st.At
		}
	}
	return 0
}

// expireEnd lets a timer of an end fire.
func (m *Machine) expireEnd(c *Conn, e tcp.Endpoint, kind string, why cause) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	m.snapshot(c)
	switch kind {
	case timer2MSL:
		m.apply(c, e, tcp.Timeout2MSL.Set(), why)
	case timerSYN:
		m.apply(c, e, tcp.GiveUp.Set(), why)
		if !peer.Seen() {
			m.erase(c, e.Peer(), m.unknown(c, e.Peer()), why) // it never spoke: nothing is known of it
		}
		c.setClosedBy(tcp.ByTimeoutOfEnd)
	default:
		in := tcp.GiveUp
		if kind == timerSYNACK && !subject.Has(SentSYN) {
			in = tcp.GiveUpPassive
		}
		m.apply(c, e, in.Set(), why)
		if c.ClosedBy() == tcp.NotClosed {
			c.setClosedBy(tcp.ByTimeoutOfEnd)
		}
	}
	m.tellChecks(c, nil, e, recent.Reading{}, triggers.OnTimer)
}
