package conn

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/alarms"
	"github.com/tcpwatch/tcpwatch/tracker/internal/duplicates"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/listeners"
	"github.com/tcpwatch/tcpwatch/tracker/internal/order"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Listener is told what the machine does, as it does it. What it is lent holds
// for the call only.
type Listener interface {
	Opened(c *Conn, o Opening)                                     // the connection came into sight
	Moved(c *Conn, m *Move)                                        // an end of it changed its state in the assumed view
	Heeds(role tcp.Endpoint, m *Move) bool                         // whether Moved does anything for such a move
	TookBack(c *Conn, sent, taken []int)                           // RSTs, by their frames, that the end they name did not send, and that their target did not take
	TookBackFIN(c *Conn, packet int)                               // a FIN that the end which it names did not send
	Happened(s *Scene)                                             // what may be odd happened to it
	Refused(c *Conn, from tcp.Endpoint, packet int, why tcp.Skip)  // its receiver refuses a segment, or holds it
	Seen(c *Conn, from tcp.Endpoint, packet int, skipped tcp.Skip) // if Setup.Segments: all that came of a segment, or with packet 0 of a timer, was told
	Over(c *Conn)                                                  // it will not change any more
	Faulty(f health.Fault)                                         // the capture itself is odd
}

// An Opening is the segment with which a connection came into sight.
type Opening struct {
	Packet   int // 0 for a SYN that waited for a sign of being real
	From     tcp.Endpoint
	Flags    tcp.Flags
	Seq, Ack tcp.Seq
	ID       uint16
}

// A Move is a change of the state of an end in the assumed view.
type Move struct {
	At       tcp.Time
	Packet   int // 0 for a timer
	End      tcp.Endpoint
	From, To tcp.State
	Inputs   tcp.InputSet // empty where it was first seen there, midway
	Refuted  bool         // they did not happen
	Sure     bool         // see history.Step.Sure
	Basis    tcp.Basis
}

// Setup says how a Machine works.
type Setup struct {
	Stack     tcp.StackID   // of the endpoints; StackAuto recognises each host's by its SYN
	TwoMSL    time.Duration // how long TIME-WAIT is held; 0 leaves it to the stack
	LeakAfter time.Duration // how long an end may be silent in CLOSE-WAIT, or wait in FIN-WAIT-2, before somebody should look at it
	Cut       bool          // the capture is cut on purpose: that is no fault of it
	MaxConns  int           // how many connections are kept at once
	MaxMemory int64         // how many octets these may take; 0: any
	Segments  bool          // Listener.Seen is asked for
	TapOn     tcp.TapOn     // on whose host the capture was made
	Listener  Listener
}

// Counts are what a Machine counted.
type Counts struct {
	Segments   uint64
	Duplicates uint64
	Conns      uint64
	Live       int
	Evicted    uint64
	ForMemory  uint64
	ClockSteps uint64
}

// A Machine moves the ends of the connections.
type Machine struct {
	listener   Listener
	segments   bool // the listener is told of each
	Now        tcp.Time
	Began      tcp.Time // of the first segment
	Lost       tcp.Time // up to which the capture may have lost packets; 0: it lost none
	Ends       tcp.Time // when the capture ended; 0: it goes on
	Pool       conns
	rooms      history.Rooms
	flows      flows // the newest of those on the same addresses and ports
	duplicates duplicates.Filter
	Recent     recentSegments
	Listeners  listeners.Table
	health     health.Capture
	alarms     alarms.Clock[*Conn]
	Order      *order.Order[*Conn] // in which connections are given up; nil until one must be
	passing    *Conn               // that a segment is being passed to
	unset      bool                // its alarm is to be set after that
	disarmed   bool                // it was taken away
	known      known
	Live       int // connections in flows
	Waiting    int // of these, provisional
	given      int // numbers given out
	Max        int
	maxMemory  int64 // see Setup
	rare       int64 // octets of what only some of the connections need, and of long histories
	Found      int64 // octets of what the listener keeps of the connections
	stack      tcp.StackID
	guess      bool
	twoMSL     time.Duration
	LeakAfter  time.Duration // see Setup
	counts     Counts
	key        flow.Key // of the segment that is observed
	hash       uint32   // of that
	newest     *Conn    // on its addresses and ports
	scene      Scene    // lent out, as is what follows
	question   question
	moving     Move
	TapOn      tcp.TapOn
	NoEdges    bool // leaves every segment to the rules; for tests
}

// NewMachine returns a Machine without connections.
func NewMachine(s Setup) *Machine {
	m := &Machine{
		listener:  s.Listener,
		segments:  s.Segments,
		flows:     newFlows(),
		Listeners: listeners.New(),
		Max:       s.MaxConns,
		maxMemory: cmp.Or(s.MaxMemory, math.MaxInt64),
		health:    health.New(s.Listener.Faulty, s.Cut),
		twoMSL:    s.TwoMSL,
		LeakAfter: s.LeakAfter,
		stack:     s.Stack,
		guess:     s.Stack == tcp.StackAuto,
		TapOn:     s.TapOn,
	}
	m.Recent.most = max(leastOwners, s.MaxConns/ownersShare)
	return m
}

// Counts returns what was counted so far.
func (m *Machine) Counts() Counts {
	n := m.counts
	n.Conns, n.Live = uint64(m.given), m.Live
	return n
}

// All yields every connection that is kept, as long as none is evicted in the
// order in which they began.
func (m *Machine) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := range m.Pool.All() {
			if !c.Provisional() && !yield(c) {
				return
			}
		}
	}
}

// Observe takes in the next segment of the capture. It keeps nothing of s. A
// segment stamped earlier than the one before is taken at the present.
func (m *Machine) Observe(s *tcp.Segment) {
	jumped := m.tick(s)
	if s.ICMP.Type != 0 {
		m.quoted(s)
		return
	}
	if s.Leg == tcp.Neared && m.nears(s) {
		return
	}
	newest, low, again := m.find(s)
	if again {
		return
	}
	expected := !jumped && !m.key.Self() && s.Leg != tcp.Neared
	if newest != nil && expected && m.along(newest, s, newest.EndOf(low)) {
		return
	}
	c, from := m.choose(newest, s, low)
	if newest != nil || !expected || s.Leg != tcp.Passing || !m.begins(c, s, from) {
		m.byRules(c, s, from, jumped)
	}
	for m.Live > m.Max || m.Live > 1 && m.Memory() > m.maxMemory {
		m.evict(c)
	}
}

// byRules asks the rules what the segment does to the connection.
func (m *Machine) byRules(c *Conn, s *tcp.Segment, from tcp.Endpoint, jumped bool) {
	m.examine(c, s, from, jumped)
	r := c.Read(s, from)
	v := m.gate(c, s, from)
	if s.Leg == tcp.Left {
		v = m.leaving(c, from, v)
	}
	if v.Why != tcp.BadChecksum {
		v = m.move(c, s, from, r, v)
	}
	m.saw(c, from, s.Packet, v.Shown())
	m.know(c)
	m.weigh(c)
}

// tick moves the time on to that of the segment, and reports whether the clock
// of the capture was set meanwhile.
func (m *Machine) tick(s *tcp.Segment) (jumped bool) {
	if s.Time < m.Now {
		m.counts.ClockSteps++
	}
	jumped = m.health.Timed(s)
	m.Advance(s.Time)
	return jumped
}

// find returns the newest connection on the addresses and ports of the segment, or nil,
// and whether the segment comes from their lower end; or that it is a second record of
// another, with which there is nothing more to be done.
func (m *Machine) find(s *tcp.Segment) (newest *Conn, low, again bool) {
	k := &m.key
	low = k.Set(s)
	m.hash = m.flows.hash(k)
	if first := m.duplicates.Repeats(s, k, m.hash, low, m.Now); first != nil && m.recordedTwice(s, first, m.flows.find(m.hash, k), low) {
		return nil, low, true
	}
	m.counts.Segments++
	if m.Began == 0 {
		m.Began = m.Now
	}
	m.newest = m.flows.find(m.hash, k)
	return m.newest, low, false
}

// examine looks at the record itself: what it tells of the capture.
func (m *Machine) examine(c *Conn, s *tcp.Segment, from tcp.Endpoint, jumped bool) {
	if jumped {
		m.jumped(c, s, from)
	}
	if s.Cut == tcp.CutPayload && !m.health.Cut {
		m.health.PayloadCut(s)
	}
	switch {
	case s.Sum == tcp.SumGood && m.health.WatchesSums():
		m.health.GoodSum(s)
	case s.Sum == tcp.SumBad:
		m.health.BadSum(s)
		if !c.Ends[from].Has(endpoint.GoodSum) {
			m.health.OffloadedSums(s, health.ManySums)
		}
	}
}

// gate decides what becomes of the segment at its receiver. One that was damaged
// on the way, as the checksums of its sender's others are right, is dropped.
func (m *Machine) gate(c *Conn, s *tcp.Segment, from tcp.Endpoint) gate.Verdict {
	if s.Sum == tcp.SumBad && c.Ends[from].Has(endpoint.GoodSum) {
		if !m.health.LeftToCard(s.Src.Addr()) {
			m.snapshot(c)
			m.tellChecks(c, s, from, recent.Reading{}, triggers.OnCorrupt)
		}
		return gate.Verdict{Is: gate.Refused, Why: tcp.BadChecksum, Unsent: true}
	}
	return m.accept(c, s, from)
}

// move lets the segment move the ends of the connection. It returns the verdict,
// which may be another once a FIN that was held is believed.
func (m *Machine) move(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, v gate.Verdict) gate.Verdict {
	if s.Flags&tcp.SYN != 0 {
		m.recognise(c, s, from)
	}
	if m.Waiting > 0 {
		m.settleProvisional(c, s, from)
		m.newest = m.NewestOf(m.key)
	}
	m.passing, m.unset, m.disarmed = c, false, false
	v = m.pass(c, s, from, r, v)
	if m.key.Self() { // the one socket there is both ends
		r := c.Read(s, from.Peer())
		m.pass(c, s, from.Peer(), r, m.gate(c, s, from.Peer()))
	}
	if m.passing = nil; m.unset || c.alarm == 0 {
		m.arm(c)
	}
	return v
}

// pass takes in a segment of the connection. One from a port to itself is
// passed from either end: it opens and closes as two ends would that do the
// same at the same time (RFC 9293 §3.5 figure 7, §3.6 figure 13).
func (m *Machine) pass(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, v gate.Verdict) gate.Verdict {
	if s.Flags&tcp.RST != 0 {
		return m.observeRST(c, s, from, v)
	}
	return m.observe(c, s, from, r, v)
}

// quoted takes in an ICMP error.
func (m *Machine) quoted(s *tcp.Segment) {
	k, low := flow.KeyOf(s)
	if c := m.NewestOf(k); c != nil {
		v := m.observeICMP(c, s, c.EndOf(low))
		m.saw(c, c.EndOf(low), s.Packet, v.Shown())
		m.weigh(c)
	}
}

// Advance moves the time on to now and fires the timers due by then.
// A time that lies before the present changes nothing.
func (m *Machine) Advance(now tcp.Time) {
	if now <= m.Now {
		return
	}
	if !m.alarms.Quiet(now) {
		m.ring(now)
	}
	m.Now = now
}

// Heard is up to when the capture shows what came, and so that nothing did.
func (m *Machine) Heard() tcp.Time { return min(m.Now, cmp.Or(m.Ends, m.Now)) }

// LostBy tells that the capture lost packets, by the given time at the latest, and
// that nobody knows of which connections. What is found from now on in those that
// had begun by then is ambiguous, unless the packets at hand prove it.
func (m *Machine) LostBy(by tcp.Time) { m.Lost = max(m.Lost, by) }

// Close ends the tracking at the present time: every connection left is told,
// in the order of their numbers. It invents no time; call Advance before it to
// let timers run on.
func (m *Machine) Close() {
	m.health.OffloadedSums(nil, health.FewSums)
	m.alarms, m.Order = alarms.Clock[*Conn]{}, nil
	left := slices.AppendSeq(make([]*Conn, 0, m.Live), m.All())
	slices.SortFunc(left, func(a, b *Conn) int { return cmp.Compare(a.ID, b.ID) }) // nearly so already
	for _, c := range left {
		m.over(c)
	}
	m.Pool, m.flows, m.Live, m.Waiting = conns{}, newFlows(), 0, 0
	m.rare = 0
}

// over tells that the connection will not change any more.
func (m *Machine) over(c *Conn) {
	m.Ended(c)
	m.listener.Over(c)
}

// Ended has the checks look at a connection of which nothing more will come.
func (m *Machine) Ended(c *Conn) {
	m.snapshot(c)
	for e := range tcp.Endpoint(2) {
		m.tellChecks(c, nil, e, recent.Reading{}, triggers.OnEnd)
	}
	if c.Rare != nil {
		for e := range tcp.Endpoint(2) {
			if g := &c.Rare.Gaps[e]; g.Is == holes.GapOpen {
				c.mayBeFIN(e, g) // nothing more comes
			}
		}
	}
}

// remove forgets the connection.
func (m *Machine) remove(c *Conn) {
	h := m.flows.hash(&c.Key)
	switch p := m.flows.find(h, &c.Key); {
	case p != c:
		for p.Older() != c {
			p = p.Older()
		}
		p.setOlder(c.Older())
	case c.Older() != nil:
		m.flows.set(h, c.Older())
	default:
		m.flows.drop(h, &c.Key)
	}
	if c.Provisional() {
		m.Waiting--
	}
	m.Live--
	m.alarms.Drop(c)
	if m.Order != nil {
		m.Order.Drop(c)
	}
	m.Recent.forget(c)
	if c.Rare != nil {
		m.rare -= int64(c.Rare.weighed)
	}
	m.rare -= history.Beyond(cap(c.Steps()))
	m.Pool.giveBack(c)
}
