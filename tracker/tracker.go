package tracker

import (
	"cmp"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// second is a second of trace time.
const second = tcp.Time(time.Second)

// Config says how to track. The zero Config is right for Linux hosts.
type Config struct {
	// Stack names the profile of the endpoints' timers and choices, one of
	// Stacks(); "" is linux, "auto" guesses each host's from its SYN.
	Stack string

	// TwoMSL overrides how long TIME-WAIT is held; 0 leaves it to the stack.
	TwoMSL time.Duration

	// Segments asks for an EventSegment after every segment and every timer.
	Segments bool

	// Cut says that the capture is cut on purpose: no snaplen-truncated tells of
	// cut payload then.
	Cut bool

	// MaxConns bounds how many connections are kept at once. Beyond it are
	// given up (Stats.Evicted) those that are closed, then SYNs without an
	// answer, then those idle for the longest time; all are told then, as at
	// their end. 0 is DefaultMaxConns.
	MaxConns int
}

// DefaultMaxConns is how many connections are kept at once where nobody says.
const DefaultMaxConns = 10_000_000

// Stats counts what a Tracker did.
type Stats struct {
	Segments   uint64 // taken in, duplicates not counted
	Duplicates uint64 // captured twice, and so taken once
	Conns      uint64 // connections seen
	Live       int    // of these, still kept
	Evicted    uint64 // given up for want of room
	ClockSteps uint64 // segments stamped earlier than the one before
}

// A Tracker follows connections. It is pushed by its caller, who hands it
// segments in capture order, and is not safe for concurrent use.
type Tracker struct {
	emit     func(*Event)
	now      tcp.Time
	began    tcp.Time // of the first segment
	lost     tcp.Time // up to which the capture may have lost packets; 0: it lost none
	pool     pool
	flows    flows // the newest of those on the same addresses and ports
	recent   recent
	trail    trail
	tape     tape
	alarms   alarms
	order    *order // in which connections are given up; nil until one must be
	passing  *Conn  // that a segment is being passed to
	unset    bool   // its alarm is to be set after that
	live     int    // connections in flows
	waiting  int    // of these, provisional
	conns    int    // numbers given out
	max      int
	stack    tcp.StackID
	guess    bool
	twoMSL   time.Duration
	stats    Stats
	tallies  map[tallyKey]int // how many connections some rare kinds were found in
	key      flow.Key         // of the segment that is observed
	newest   *Conn            // on its addresses and ports
	told     Event            // lent out: by value it was copied five times, to the Crowd and the printer
	record   Record           // lent out with every EventConnection
	scene    happening
	tellSeen bool
	plodding bool // takes no segment in by steady, and asks whatever the facts are; for tests
}

// New returns a Tracker that tells emit what happens. An Event is lent to emit
// for the call only. It fails on a Config
// with an unknown stack.
func New(cfg Config, emit func(*Event)) (*Tracker, error) {
	t := &Tracker{
		emit:     emit,
		flows:    newFlows(),
		max:      cfg.MaxConns,
		tallies:  make(map[tallyKey]int),
		twoMSL:   cfg.TwoMSL,
		tellSeen: cfg.Segments,
	}
	t.tape.cut = cfg.Cut
	if t.max == 0 {
		t.max = DefaultMaxConns
	}
	if cfg.Stack != "" {
		s, err := tcp.ParseStack(cfg.Stack)
		if err != nil {
			return nil, err
		}
		t.stack = s
		t.guess = t.stack == tcp.StackAuto
	}
	return t, nil
}

// Now returns the tracker's time: that of the newest segment, or of the last
// Advance.
func (t *Tracker) Now() tcp.Time { return t.now }

// Stats returns what was counted so far.
func (t *Tracker) Stats() Stats {
	s := t.stats
	s.Conns, s.Live = uint64(t.conns), t.live
	return s
}

// Observe takes in the next segment of the capture. It keeps nothing of s. A
// segment stamped earlier than the one before is taken at the present.
func (t *Tracker) Observe(s *tcp.Segment) {
	jumped := t.tick(s)
	if s.ICMP.Type != 0 {
		t.quoted(s)
		return
	}
	c, from := t.find(s, jumped)
	if c == nil {
		return
	}
	t.examine(c, s, from, jumped)
	skipped := t.gate(c, s, from)
	if skipped == tcp.NotSkipped {
		t.move(c, s, from)
	}
	t.saw(c, from, s.Packet, skipped)
	if t.live > t.max {
		t.evict(c)
	}
}

// tick moves the time on to that of the segment, and reports whether the clock
// of the capture was set meanwhile.
func (t *Tracker) tick(s *tcp.Segment) (jumped bool) {
	if s.Time < t.now {
		t.stats.ClockSteps++
	}
	jumped = t.timed(s)
	t.Advance(s.Time)
	return jumped
}

// find returns the connection, and incarnation, that the segment is of, and its
// end that sent it. It returns nil where there is nothing more to be done: the
// segment is a second record of another, or moves nothing in an open connection.
func (t *Tracker) find(s *tcp.Segment, jumped bool) (c *Conn, from tcp.Endpoint) {
	k := &t.key
	low := k.Set(s)
	h := t.flows.hash(k)
	if first := t.recent.repeats(s, k, low, t.now); first != nil {
		t.stats.Duplicates++
		t.duplicated(s, first)
		if c := t.flows.find(h, k); c != nil {
			t.saw(c, c.endOf(low), s.Packet, tcp.CapturedTwice)
		}
		return nil, 0
	}
	t.stats.Segments++
	if t.began == 0 {
		t.began = t.now
	}
	newest := t.flows.find(h, k)
	if newest != nil && !jumped && !k.Self() && !t.plodding {
		if from := newest.endOf(low); t.steady(newest, s, from) {
			if t.tellSeen {
				t.saw(newest, from, s.Packet, tcp.NotSkipped)
			}
			return nil, 0
		}
	}
	t.newest = newest
	return t.choose(newest, s, k, h, low)
}

// examine looks at the record itself: what it tells of the capture.
func (t *Tracker) examine(c *Conn, s *tcp.Segment, from tcp.Endpoint, jumped bool) {
	if jumped {
		t.jumped(c, s, from)
	}
	if s.Cut == tcp.CutPayload && !t.tape.cut {
		t.cut(s)
	}
	switch {
	case s.Sum == tcp.SumGood && t.tape.sums != nil:
		t.tape.goodSum(s)
	case s.Sum == tcp.SumBad:
		t.tape.badSum(s)
		if !c.ends[from].has(goodSum) {
			t.offloadedSums(s, manySums)
		}
	}
}

// gate decides whether the segment counts. One that was damaged on the way, as
// the checksums of its sender's others are right, its receiver drops.
func (t *Tracker) gate(c *Conn, s *tcp.Segment, from tcp.Endpoint) tcp.Skip {
	if s.Sum != tcp.SumBad || !c.ends[from].has(goodSum) {
		return tcp.NotSkipped
	}
	if !t.tape.leftToCard(s.Src.Addr()) {
		t.look(c)
		t.judge(c, s, from, reading{}, onCorrupt)
	}
	return tcp.BadChecksum
}

// move lets the segment move the ends of the connection.
func (t *Tracker) move(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	if t.guess && s.Flags&tcp.SYN != 0 {
		c.ends[from].setStack(tcp.GuessStack(s))
	}
	if t.waiting > 0 {
		t.settleProvisional(c, s, from)
		t.newest = t.newestOf(t.key)
	}
	t.passing, t.unset = c, c.slot == 0
	t.pass(c, s, from)
	if t.key.Self() {
		t.pass(c, s, from.Peer()) // the one socket there is both ends
	}
	if t.passing = nil; t.unset {
		t.arm(c)
	}
}

// pass takes in a segment of the connection. One from a port to itself is
// passed from either end: it opens and closes as two ends would that do the
// same at the same time (RFC 9293 §3.5 figure 7, §3.6 figure 13).
func (t *Tracker) pass(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	if s.Flags&tcp.RST != 0 {
		t.observeRST(c, s, from)
	} else {
		t.observe(c, s, from)
	}
}

// quoted takes in an ICMP error.
func (t *Tracker) quoted(s *tcp.Segment) {
	k, low := flow.KeyOf(s)
	if c := t.newestOf(k); c != nil {
		t.observeICMP(c, s, c.endOf(low))
		t.saw(c, c.endOf(low), s.Packet, tcp.NotSkipped)
	}
}

// Advance moves the tracker's time on to now and fires the timers due by then.
// A time that lies before the present changes nothing.
func (t *Tracker) Advance(now tcp.Time) {
	if now <= t.now {
		return
	}
	if t.alarms.n > 0 && t.alarms.at(0).at <= now {
		t.ring(now)
	}
	t.now = now
}

// Lost tells that the capture lost packets, by the given time at the latest, and
// that nobody knows of which connections. What is found from now on in those that
// had begun by then is ambiguous, unless the packets at hand prove it.
func (t *Tracker) Lost(by tcp.Time) { t.lost = max(t.lost, by) }

// Each calls f with the record of every connection that is kept, as it is at the
// present time, in no order. The Record is lent to f for the call only, see
// Record.Clone.
func (t *Tracker) Each(f func(*Record)) {
	for c := range t.pool.all() {
		if !c.provisional() {
			t.fill(&t.record, c)
			f(&t.record)
		}
	}
}

// Close ends the tracking at the present time: every connection left is told,
// in the order of their numbers. It invents no time; call Advance before it to
// let timers run on.
func (t *Tracker) Close() {
	t.offloadedSums(nil, fewSums)
	t.alarms, t.order = alarms{}, nil
	left := make([]*Conn, 0, t.live)
	for c := range t.pool.all() {
		if !c.provisional() {
			left = append(left, c)
		}
	}
	slices.SortFunc(left, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) }) // nearly so already
	for _, c := range left {
		t.over(c)
	}
	t.pool, t.flows, t.live, t.waiting = pool{}, newFlows(), 0, 0
}

// over tells the caller that the connection will not change any more.
func (t *Tracker) over(c *Conn) {
	t.look(c)
	for e := range tcp.Endpoint(2) {
		t.judge(c, nil, e, reading{}, onEnd)
	}
	t.fill(&t.record, c)
	t.tell(Event{Kind: EventConnection, Time: t.now, Conn: int(c.id), Record: &t.record})
}

// tell tells the caller of an event.
func (t *Tracker) tell(e Event) {
	t.told = e
	t.emit(&t.told)
}

// remove forgets the connection.
func (t *Tracker) remove(c *Conn) {
	h := t.flows.hash(&c.key)
	switch p := t.flows.find(h, &c.key); {
	case p != c:
		for p.older() != c {
			p = p.older()
		}
		p.setOlder(c.older())
	case c.older() != nil:
		t.flows.set(h, c.older())
	default:
		t.flows.drop(h, &c.key)
	}
	if c.provisional() {
		t.waiting--
	}
	t.live--
	t.alarms.drop(c)
	if t.order != nil {
		t.order.drop(c)
	}
	t.pool.giveBack(c)
}
