package conn

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
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
	m.armFor(c, m.nextDue(c))
}

// armFor is arm where it is known when the connection is due.
func (m *Machine) armFor(c *Conn, due tcp.Time) {
	if m.Order != nil && c.Bits&gone == 0 {
		m.Order.Put(c)
	}
	if due != 0 {
		due = max(due, m.Now) // no timer fires in the past
	}
	if due == 0 || c.Bits&gone != 0 || c.alarm != 0 && c.alarm <= due {
		return
	}
	m.alarms.Set(c, due)
}

// ring fires every timer that is due by now, in the order of their deadlines.
func (m *Machine) ring(now tcp.Time) {
	for {
		c, at := m.alarms.Due(now)
		if at == 0 {
			return
		}
		m.Now = max(m.Now, at)
		m.expire(c, at)
		m.saw(c, tcp.Client, 0, tcp.NotSkipped)
		m.arm(c)
	}
}

// Alarm is where the connection keeps when its alarm rings.
func (c *Conn) Alarm() *tcp.Time { return &c.alarm }

// nextDue returns the connection's earliest deadline, or 0.
func (m *Machine) nextDue(c *Conn) tcp.Time {
	w := m.wakesOf(c)
	return m.due(c, &w)
}

// wakes is what may wake a connection: what of it follows from its form.
type wakes struct {
	timers  [2]endpoint.Timer // of the ends' stacks
	silent  [2]bool           // silenceDue tells
	checked [2]bool           // checkDue tells
	over    bool              // it is to be forgotten
}

func (m *Machine) wakesOf(c *Conn) (w wakes) {
	for e := range tcp.Endpoint(2) {
		subject := &c.Ends[e]
		w.timers[e] = subject.Timer(&c.Ends[e.Peer()], m.twoMSL)
		w.silent[e] = c.Rare != nil || subject.AwaitsSYNACK()
		w.checked[e] = subject.Assumed == tcp.CloseWait.Set()
	}
	w.over = c.Provisional() || c.Ends[tcp.Client].Closed() && c.Ends[tcp.Server].Closed()
	return w
}

// due returns when the first of these wakes the connection, or 0.
func (m *Machine) due(c *Conn, w *wakes) (due tcp.Time) {
	earlier := func(at tcp.Time) {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	for e := range tcp.Endpoint(2) {
		if k := &w.timers[e]; k.Name != "" {
			earlier(m.fires(c, e, k))
		}
		if w.silent[e] {
			earlier(m.silenceDue(c, e))
		}
		if w.checked[e] {
			earlier(m.checkDue(c, e, m.Now+1))
		}
	}
	if w.over {
		earlier(max(c.Last(), m.Now) + remembered)
	}
	return due
}

// Deadline returns when the end's timer fires, and its name; 0 and "" where
// none runs.
func (m *Machine) Deadline(c *Conn, e tcp.Endpoint) (tcp.Time, string) {
	k := c.Ends[e].Timer(&c.Ends[e.Peer()], m.twoMSL)
	if k.Name == "" {
		return 0, ""
	}
	return m.fires(c, e, &k), k.Name
}

// fires returns when the timer, which runs in the end, fires.
func (m *Machine) fires(c *Conn, e tcp.Endpoint, k *endpoint.Timer) tcp.Time {
	if k.ByStep {
		st, _ := c.Find(e, k.From)
		return max(st.At, c.Start).Add(k.After)
	}
	clock := c.Ends[e].Clock
	if last := c.Last(); endpoint.TickOf(last) == clock {
		return last.Add(k.After) // to the nanosecond, whenever it is asked
	}
	return (m.Now - tcp.Time(clock.Age(m.Now))).Add(k.After)
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
		sure := c.Ends[e].Has(endpoint.StackKnown) || kind == endpoint.Timer2MSL && m.twoMSL != 0
		if kind == endpoint.TimerSYN && c.Ends[e.Peer()].Has(endpoint.SentSYNACK) {
			sure = false // it may have had that, and its ACKs were lost before the tap
		}
		m.expireEnd(c, e, kind, cause{at: at, basis: tcp.ByTimer, sure: sure})
	}
	if at.Sub(max(c.Last(), c.Steps().Newest())) < time.Duration(remembered) {
		return
	}
	if waits := c.Provisional(); waits || c.Ends[tcp.Client].Closed() && c.Ends[tcp.Server].Closed() {
		if !waits {
			m.over(c)
		}
		m.remove(c)
	}
}

// expireEnd lets a timer of an end fire.
func (m *Machine) expireEnd(c *Conn, e tcp.Endpoint, kind string, why cause) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	m.snapshot(c)
	switch kind {
	case endpoint.Timer2MSL:
		m.apply(c, e, tcp.Timeout2MSL.Set(), why)
	case endpoint.TimerSYN:
		m.apply(c, e, tcp.GiveUp.Set(), why)
		if !peer.Seen() {
			m.erase(c, e.Peer(), m.unknown(c, e.Peer()), why) // it never spoke: nothing is known of it
		}
		c.setClosedBy(tcp.ByTimeoutOfEnd)
	default:
		in := tcp.GiveUp
		if kind == endpoint.TimerSYNACK && !subject.Has(endpoint.SentSYN) {
			in = tcp.GiveUpPassive
		}
		m.apply(c, e, in.Set(), why)
		if c.ClosedBy() == tcp.NotClosed {
			c.setClosedBy(tcp.ByTimeoutOfEnd)
		}
	}
	m.tellChecks(c, nil, e, recent.Reading{}, triggers.OnTimer)
}
