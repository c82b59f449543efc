package tracker

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/captures"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/internal/certain"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/internal/listeners"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Config says how to track. The zero Config is right for hosts of any kind.
type Config struct {
	// Stack names the profile of the endpoints' timers and choices, one of
	// tcp.Stacks(). "" is "auto": each host's is recognised by its SYN. Of one that
	// is not, timers are those of Linux, and settle nothing.
	Stack string

	// TwoMSL overrides how long TIME-WAIT is held; 0 leaves it to the stack.
	TwoMSL time.Duration

	// LeakAfter is after how long CLOSE-WAIT, or FIN-WAIT-2, is called stuck. 0 is
	// DefaultLeakAfter.
	LeakAfter time.Duration

	// Segments asks for an EventSegment after every segment and every timer.
	Segments bool

	// Cut says that the capture is cut on purpose: no snaplen-truncated tells of
	// cut payload then.
	Cut bool

	// TapOn says on whose host the capture was made. The zero TapOn leaves it to the
	// packets, where they show it beyond doubt.
	TapOn tcp.TapOn

	// MaxConns bounds how many connections are kept at once. Beyond it are
	// given up (Stats.Evicted) those that are closed, then SYNs without an
	// answer, then those idle for the longest time; all are told then, as at
	// their end. 0 is DefaultMaxConns.
	MaxConns int

	// MaxMemory bounds how many octets the connections that are kept take, about, with
	// all that was found in them. Beyond it some are given up, as beyond MaxConns. 0 is
	// no bound.
	MaxMemory int64
}

// DefaultLeakAfter is after how long CLOSE-WAIT is called stuck where nobody says.
const DefaultLeakAfter = conn.DefaultLeakAfter

// DefaultMaxConns is how many connections are kept at once where nobody says.
const DefaultMaxConns = 10_000_000

// Stats counts what a Tracker did.
type Stats struct {
	Segments   uint64 // taken in, duplicates not counted
	Duplicates uint64 // captured twice, and so taken once
	Conns      uint64 // connections seen
	Live       int    // of these, still kept
	Evicted    uint64 // given up for want of room
	ForMemory  uint64 // of these, beyond MaxMemory
	ClockSteps uint64 // segments stamped earlier than the one before
	Ports      uint64 // forgotten beyond MaxPorts
}

// MaxPorts is how many ports are known to listen: those that were used last.
const MaxPorts = listeners.Max

// A Tracker follows connections. It is pushed by its caller, who hands it
// segments in capture order, and is not safe for concurrent use.
//
// It joins two rooms: the machine, which moves the ends of the connections, and
// the book of what was found in them, and makes Events of what the two tell.
type Tracker struct {
	emit    func(*Event)
	machine *conn.Machine
	book    *anomaly.Book
	told    moves  // of which it tells
	event   Event  // lent out: by value it was copied five times, to the cross-flow stage and the printer
	record  Record // lent out with every EventConnection
}

// New returns a Tracker that tells emit what happens. An Event is lent to emit
// for the call only. It fails on a Config with an unknown stack.
func New(cfg Config, emit func(*Event)) (*Tracker, error) {
	stack := tcp.StackAuto
	if cfg.Stack != "" {
		var err error
		if stack, err = tcp.ParseStack(cfg.Stack); err != nil {
			return nil, err
		}
	}
	t := &Tracker{emit: emit}
	t.TellOnly(func(tcp.Endpoint, tcp.State, tcp.State) bool { return true })
	t.book = anomaly.NewBook(kinds.All(), t.found)
	t.machine = conn.NewMachine(conn.Setup{
		Stack:     stack,
		TwoMSL:    cfg.TwoMSL,
		LeakAfter: cmp.Or(cfg.LeakAfter, DefaultLeakAfter),
		Cut:       cfg.Cut,
		MaxConns:  cmp.Or(cfg.MaxConns, DefaultMaxConns),
		MaxMemory: cfg.MaxMemory,
		Segments:  cfg.Segments,
		TapOn:     cfg.TapOn,
		Listener:  t,
	})
	return t, nil
}

// TellOnly has the tracker tell an EventTransition only of moves that f, which is asked
// at once of every one there can be, returns true for. It is called before the first
// segment, by who knows what its emit looks at.
func (t *Tracker) TellOnly(f func(end tcp.Endpoint, from, to tcp.State) bool) {
	for e := range t.told {
		for from := range t.told[e] {
			t.told[e][from] = 0
			for to := range tcp.State(tcp.NumStates) {
				if f(tcp.Endpoint(e), tcp.State(from), to) {
					t.told[e][from] |= to.Set()
				}
			}
		}
	}
}

// moves are those of the ends, from each state, to these.
type moves [2][tcp.NumStates]tcp.StateSet

// Now returns the tracker's time: that of the newest segment, or of the last
// Advance.
func (t *Tracker) Now() tcp.Time { return t.machine.Now }

// Stats returns what was counted so far.
func (t *Tracker) Stats() Stats {
	n := t.machine.Counts()
	return Stats{n.Segments, n.Duplicates, n.Conns, n.Live, n.Evicted, n.ForMemory, n.ClockSteps, t.machine.Listeners.Forgotten}
}

// Observe takes in the next segment of the capture. It keeps nothing of s. A
// segment stamped earlier than the one before is taken at the present.
func (t *Tracker) Observe(s *tcp.Segment) { t.machine.Observe(s) }

// Advance moves the tracker's time on to now and fires the timers due by then.
// A time that lies before the present changes nothing.
func (t *Tracker) Advance(now tcp.Time) { t.machine.Advance(now) }

// Ends tells that the capture ended at the given time. Advance may move the time on
// from there, and timers fire, but that nothing more came tells nothing then: what
// is found by an end's silence is found by what was captured alone, and what is
// found by the time that has passed is ambiguous.
func (t *Tracker) Ends(at tcp.Time) { t.machine.Ends = at }

// Lost tells that the capture lost packets, by the given time at the latest, and
// that nobody knows of which connections. What is found from now on in those that
// had begun by then is ambiguous, unless the packets at hand prove it.
func (t *Tracker) Lost(by tcp.Time) { t.machine.LostBy(by) }

// Each calls f with the record of every connection that is kept, as it is at the
// present time, in no order. The Record is lent to f for the call only, see
// Record.Clone.
func (t *Tracker) Each(f func(*Record)) {
	for c := range t.machine.All() {
		t.fill(&t.record, c)
		f(&t.record)
	}
}

// Close ends the tracking at the present time: every connection left is told,
// in the order of their numbers. It invents no time; call Advance before it to
// let timers run on.
func (t *Tracker) Close() { t.machine.Close() }

// tell tells the caller of an event.
func (t *Tracker) tell(e Event) {
	t.event = e
	t.emit(&t.event)
}

// Opened tells that a connection came into sight.
func (t *Tracker) Opened(c *conn.Conn, o conn.Opening) {
	t.tell(Event{
		Kind: EventOpen, Time: t.machine.Now, Packet: o.Packet, Conn: int(c.ID), End: t.machine.Role(c, o.From),
		Client: t.addr(c, tcp.Client), Server: t.addr(c, tcp.Server),
		Origin: c.Origin(), Incarnation: int(c.Incarnation), Flags: o.Flags, Seq: o.Seq, Ack: o.Ack, ID: o.ID,
	})
}

// addr returns the address and port of the end that has the role.
func (t *Tracker) addr(c *conn.Conn, role tcp.Endpoint) netip.AddrPort {
	return c.Addr(t.machine.Role(c, role))
}

// Moved tells that an end changed its state.
func (t *Tracker) Moved(c *conn.Conn, m *conn.Move) {
	role := t.machine.Role(c, m.End)
	t.book.Moved(c, role, m)
	if !t.told[role][m.From].Has(m.To) {
		return
	}
	e := &t.event
	if e.Conn != int(c.ID) || e.Kind != EventTransition || c.Origin() == tcp.FromMidstream { // two in a row are often of one connection
		*e = Event{Kind: EventTransition, Conn: int(c.ID), Client: t.addr(c, tcp.Client), Server: t.addr(c, tcp.Server)}
	}
	e.Time, e.Packet, e.End = m.At, m.Packet, role
	client := t.machine.Role(c, tcp.Client)
	e.Bytes = [2]uint64{c.Ends[client].Bytes, c.Ends[client.Peer()].Bytes}
	e.From, e.To, e.Inputs, e.Refuted, e.Basis = m.From, m.To, m.Inputs, m.Refuted, certain.BasisOfMove(t.machine, c, m)
	t.emit(e)
}

// Heeds reports whether anybody heeds such a move of an end, which has the role.
func (t *Tracker) Heeds(role tcp.Endpoint, m *conn.Move) bool {
	return t.told[role][m.From].Has(m.To) || anomaly.Heeds(m)
}

// Happened has the checks look at what happened.
func (t *Tracker) Happened(s *conn.Scene) {
	t.book.Examine(s)
	t.machine.Found = t.book.Octets
}

// TookBack has the book take back what rests on RSTs that were not sent, or not
// taken.
func (t *Tracker) TookBack(c *conn.Conn, sent, taken []int) {
	t.book.TakeBack(c, sent, taken, t.machine.Now)
}

// TookBackFIN has the book take back what rests on a FIN that was not sent.
func (t *Tracker) TookBackFIN(c *conn.Conn, packet int) {
	t.book.TakeBackFIN(c, packet, t.machine.Now)
}

// Refused tells that the receiver of a segment does not take it.
func (t *Tracker) Refused(c *conn.Conn, from tcp.Endpoint, packet int, why tcp.Skip) {
	t.tell(Event{
		Kind: EventRefused, Time: t.machine.Now, Packet: packet, Conn: int(c.ID), End: t.machine.Role(c, from), Skipped: why,
		Client: c.Addr(tcp.Client), Server: c.Addr(tcp.Server),
	})
}

// Seen tells that a segment or, with packet 0, a timer of the connection was seen
// to, and all that came of it was told.
func (t *Tracker) Seen(c *conn.Conn, from tcp.Endpoint, packet int, skipped tcp.Skip) {
	client := t.machine.Role(c, tcp.Client)
	t.tell(Event{
		Kind: EventSegment, Time: t.machine.Now, Packet: packet, Conn: int(c.ID), End: t.machine.Role(c, from), Skipped: skipped,
		Ends: [2]tcp.Views{t.machine.Socket(c, client), t.machine.Socket(c, client.Peer())},
	})
}

// Over tells that a connection will not change any more.
func (t *Tracker) Over(c *conn.Conn) {
	t.fill(&t.record, c)
	t.tell(Event{Kind: EventConnection, Time: t.machine.Now, Conn: int(c.ID), Record: &t.record})
	t.book.Forget(c, t.machine.Now)
	t.machine.Found = t.book.Octets
}

// Faulty has the book say what is odd about the capture itself.
func (t *Tracker) Faulty(fault health.Fault) {
	k, f := captures.OfFault(&fault)
	t.book.Report(k, f, fault.Packet, t.machine.Now)
}

// found tells of an anomaly.
func (t *Tracker) found(c *conn.Conn, a *anomaly.Anomaly) {
	e := Event{Kind: EventAnomaly, Time: t.machine.Now, Packet: a.Packet, Conn: a.Conn, End: a.End, Anomaly: a}
	if c != nil {
		e.Client, e.Server = t.addr(c, tcp.Client), t.addr(c, tcp.Server)
	}
	t.tell(e)
}

// Learned counts what a Tracker has learned of how ordinary connections go, so that it
// need not ask its rules for each of their segments.
type Learned struct {
	Forms    int    // that connections have
	Edges    int    // from one form to another, by the way in which a segment's numbers compare
	Dead     int    // pairs of a form and such a way for which the rules are asked each time
	Followed uint64 // segments that went by an edge
}

// Learned returns what was counted.
func (t *Tracker) Learned() Learned { return Learned(t.machine.Learned()) }
