package tracker_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The tracker against the truth. Two simulated hosts (simhost_test.go) open,
// talk and close over a bad path, at random; the tracker sees what the tap saw.
// Then:
//
//   - the proved view is never ahead of the truth: its states are a subsequence
//     of those that the host had been in by the time of the capture;
//   - what an end sends moves both views at one packet, if all before it was captured;
//   - a second record of a packet changes nothing;
//   - the octets counted are those that passed the tap;
//   - when all is quiet, and where the packets can tell, the assumed state is
//     the true one.

// simulations is how many exchanges are held against the truth.
const simulations = 4000

// simVerbose is how many failed exchanges are printed.
const simVerbose = 5

// leastRight is the share of decidable ends whose assumed state must be the
// true one when all is quiet.
const leastRight = 0.998

// A simKind is what is special about an exchange.
type simKind uint8

const (
	simOrdinary simKind = iota
	simRefused          // nobody listens
	simCrossing         // both ends open at once
	simReuse            // the client opens again from the same port
	simCrash            // a host forgets the connection
	simDead             // the path dies
	simMissing          // the tap does not see everything
	simMidway           // the capture starts in the middle

	simKinds
)

func (k simKind) String() string {
	return [...]string{"ordinary", "refused", "crossing", "reuse", "crash", "dead path", "missing", "midway"}[k]
}

// simEnd is when an exchange is over: after every timer of the hosts.
const simEnd = 900 * time.Second

// simStart is when it begins.
const simStart = 1_000_000 * tcp.Second

// pick returns one of the choices.
func pick[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

// simulate plays the exchange of the given seed.
func simulate(seed uint64) (*sim, simKind) {
	rnd := rand.New(rand.NewPCG(seed, 9293))
	m := &sim{rnd: rnd, now: simStart}
	kind := simOrdinary
	if rnd.IntN(2) == 0 {
		kind = simKind(rnd.IntN(int(simKinds)))
	}
	way := pick(rnd, 2*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)
	m.path.delay[0] = time.Duration(float64(way) * pick(rnd, 0.01, 0.5, 0.99))
	m.path.delay[1] = way - m.path.delay[0]
	m.path.jitter = pick(rnd, 0, 2*time.Millisecond, 40*time.Millisecond)
	m.path.loss = pick(rnd, 0, 0.02, 0.1, 0.25)
	m.path.repeat = pick(rnd, 0, 0.05)
	m.path.linger = pick(rnd, 0, 0, 0.02)
	m.path.healsAt = simStart.Add(m.between(0, 8*time.Second))
	for side, addr := range []netip.AddrPort{peerA, peerB} {
		h := &simHost{m: m, side: side, addr: addr, opened: plan}
		h.habits = simHabits{
			stamps: m.chance(0.5), idStep: pick[uint16](rnd, 0, 1, 1), rstHasACK: m.chance(0.7),
			delayACK: pick(rnd, 0, 40*time.Millisecond), finAlone: m.chance(0.5), oldACKs: m.chance(0.5),
			mss: pick[uint32](rnd, 536, 1460),
		}
		h.id = uint16(rnd.Uint32()) | 1
		if h.habits.idStep == 0 {
			h.id = 0
		}
		h.neverRead = m.chance(0.1)
		m.hosts[side] = h
	}
	m.hosts[0].state, m.hosts[1].state = tcp.Closed, tcp.Listen
	m.hosts[1].habits.listens = true
	switch kind {
	case simRefused, simCrossing:
		m.hosts[1].state, m.hosts[1].habits.listens = tcp.Closed, false
	case simDead:
		m.path.deadAt = simStart.Add(m.between(0, 3*time.Second))
	case simMissing:
		m.path.miss = pick(rnd, 0.02, 0.1, 0.3)
	}
	for _, h := range m.hosts {
		h.history = []simMove{{simStart, h.state}}
	}
	m.after(time.Millisecond, m.hosts[0].open)
	switch kind {
	case simCrossing:
		m.after(m.between(0, 2*way), m.hosts[1].open)
	case simReuse:
		for range 1 + rnd.IntN(3) {
			m.after(m.between(time.Second, pick(rnd, 10*time.Second, 100*time.Second)), m.hosts[0].open)
		}
	case simCrash:
		h := pick(rnd, m.hosts[:]...)
		m.after(m.between(0, 3*time.Second), h.crash)
	}
	if m.chance(0.1) {
		h := pick(rnd, m.hosts[:]...)
		m.after(m.between(0, 2*way+time.Second), pick(rnd, h.abort, h.close))
	}
	m.run(simStart.Add(simEnd))
	if kind == simMidway && len(m.captured) > 1 {
		m.captured = m.captured[1+rnd.IntN(len(m.captured)-1):]
	}
	return m, kind
}

// plan is what an application does once its connection is open.
func plan(h *simHost) {
	m := h.m
	var at time.Duration
	life := pick(m.rnd, 20*time.Millisecond, 200*time.Millisecond, 3*time.Second)
	for range m.rnd.IntN(4) {
		at += m.between(0, life)
		n := pick[uint32](m.rnd, 1, 100, 1000, 4000, 20_000)
		m.after(at, func() { h.send(n) })
	}
	at += m.between(0, life)
	switch m.rnd.IntN(10) {
	case 0, 1, 2, 3:
		m.after(at, h.close)
	case 4:
		m.after(at, h.shutdown)
		if m.chance(0.5) {
			m.after(at+m.between(0, 20*time.Second), h.close)
		}
	case 5:
		m.after(at, h.abort)
	}
	h.respond = func(h *simHost) {
		pause := m.between(0, pick(m.rnd, 0, 50*time.Millisecond, 2*time.Second, 90*time.Second))
		if m.chance(0.3) {
			n := uint32(m.rnd.IntN(3000))
			m.after(pause/2, func() { h.send(n) })
		}
		switch m.rnd.IntN(12) {
		case 0: // it never closes
		case 1:
			m.after(pause, h.abort)
		default:
			m.after(pause, h.close)
		}
	}
}

// undecidable returns why the packets cannot tell how the exchange ended, or
// "" where they can. These are rules about what happened, and are the
// tracker's documented limits.
func undecidable(m *sim, kind simKind) string {
	switch kind {
	case simMissing, simMidway:
		return "the capture is not whole"
	case simDead:
		return "what passed the tap arrived nowhere, to the end"
	case simCrash:
		return "a host forgot the connection, which no packet says"
	}
	if m.lostRST {
		return "a RST was lost, which nobody repeats"
	}
	if m.aheadRST {
		return "a RST lay beyond what was captured of its sender, as a forged one would"
	}
	if m.strays {
		return "a late copy had nothing to tell it from a repetition"
	}
	for _, h := range m.hosts {
		for i, mv := range h.history {
			left := m.now
			if i+1 < len(h.history) {
				left = h.history[i+1].at
			}
			if mv.state == tcp.FinWait2 && left.Sub(mv.at) >= simFinWait2 {
				return "FIN-WAIT-2 for longer than an orphan's, held or not"
			}
		}
	}
	return ""
}

// A witness holds the proved view of one end of one connection against the
// true history of its host.
type witness struct {
	at     int // index of the true history that the proved view has reached
	proved tcp.StateSet
}

// told returns the state as far as packets tell: not CLOSED from LISTEN.
func told(s tcp.State) tcp.State {
	if s == tcp.Listen {
		return tcp.Closed
	}
	return s
}

// follow takes the witness to a state that was proved by the given time, and
// reports whether the host had been in it by then.
func (w *witness) follow(history []simMove, proved tcp.StateSet, now tcp.Time) bool {
	if w.proved == proved {
		return true
	}
	first := w.proved == 0
	w.proved = proved
	if s := proved.Only(); first && told(s) == tcp.Closed {
		return true
	}
	for i := w.at; i < len(history) && history[i].at <= now; i++ {
		for _, s := range proved.List() {
			if told(s) == told(history[i].state) {
				if proved.Len() == 1 {
					w.at = i
				}
				return true
			}
		}
	}
	return false
}

// since returns the index of the history in force at the given time.
func since(history []simMove, at tcp.Time) int {
	i := 0
	for i+1 < len(history) && history[i+1].at < at {
		i++
	}
	return i
}

// beforeSending are the states of an end that has not sent the control yet.
var beforeSending = map[tcp.InputSet]tcp.StateSet{
	tcp.SndSYN.Set():    (tcp.Closed.Set() | tcp.Listen.Set()),
	tcp.SndSYNACK.Set(): (tcp.Closed.Set() | tcp.Listen.Set() | tcp.SynSent.Set()),
	tcp.SndFIN.Set():    (tcp.Closed.Set() | tcp.Listen.Set() | tcp.SynSent.Set() | tcp.SynReceived.Set() | tcp.Established.Set() | tcp.CloseWait.Set()),
}

// A replayed exchange is what the tracker made of it.
type replayed struct {
	records []*tracker.Record
	visited tcp.StateSet // by the assumed view
	stats   tracker.Stats
}

// watch has a tracker look at the captured segments, and calls failf for
// everything that it proves too early.
func watch(m *sim, segments []capturedSegment, failf func(string, ...any)) replayed {
	var r replayed
	var sent []tracker.Event
	tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
		switch e.Kind {
		case tracker.EventTransition:
			r.visited |= e.From.Set() | e.To.Set()
			if e.Basis == tcp.BySending && beforeSending[e.Inputs] != 0 {
				sent = append(sent, *e)
			}
		case tracker.EventConnection:
			r.records = append(r.records, e.Record.Clone())
		}
	})
	if err != nil {
		panic(err)
	}
	witnesses := map[*conn.Conn]*[2]witness{}
	for i := range segments {
		s := &segments[i]
		sent = sent[:0]
		tk.Observe(&s.Segment)
		k, _ := flow.KeyOf(&s.Segment)
		for c := tk.Machine().NewestOf(k); c != nil; c = c.Older() {
			w := witnesses[c]
			if w == nil {
				w = new([2]witness)
				if c.Origin() == tcp.FromSYN && m.hosts[1].habits.listens { // else a late copy of the other SYN may join
					w[tcp.Client].at = since(m.hostAt(c, tcp.Client).history, s.sentAt)
					w[tcp.Server].at = since(m.hostAt(c, tcp.Server).history, s.sentAt)
				}
				witnesses[c] = w
			}
			for e := range tcp.Endpoint(2) {
				h := m.hostAt(c, e)
				if was := w[e].proved; !w[e].follow(h.history, c.Ends[e].Proved, s.Time) {
					failf("at frame %d %v is proved %v after %v; its history is %v", s.Packet, h.addr, c.Ends[e].Proved.List(), was.List(), h.past())
				}
			}
			for _, e := range sent {
				if proved := c.Ends[e.End].Proved; e.Conn == int(c.ID) && proved&beforeSending[e.Inputs] != 0 && len(c.HolesOf(e.End)) == 0 { // a FIN behind a hole proves little
					failf("at frame %d the %v %s, but is still proved %v", s.Packet, e.End, e.Inputs, proved.List())
				}
			}
		}
	}
	tk.Advance(m.now)
	r.stats = tk.Stats()
	tk.Close()
	slices.SortFunc(r.records, func(a, b *tracker.Record) int { return a.Conn - b.Conn })
	return r
}

// hostAt returns the host that is the given end of the connection.
func (m *sim) hostAt(c *conn.Conn, e tcp.Endpoint) *simHost {
	if c.Addr(e) == m.hosts[0].addr {
		return m.hosts[0]
	}
	return m.hosts[1]
}

// past prints the history.
func (h *simHost) past() string {
	var b strings.Builder
	for _, mv := range h.history {
		fmt.Fprintf(&b, " %.3f %v", mv.at.Sub(simStart).Seconds(), mv.state)
	}
	return b.String()
}

// twice returns the segments with second records of some of them, as a capture
// on two interfaces has them. The copies bear frame numbers of their own, so
// that the others keep theirs.
func twice(rnd *rand.Rand, segments []capturedSegment) (both []capturedSegment, copies uint64) {
	for i, s := range segments {
		both = append(both, s)
		gap := tcp.Time(1000 + rnd.IntN(300_000))
		if hasTwin(segments, i) || rnd.IntN(3) > 0 || i+1 < len(segments) && segments[i+1].Time <= s.Time+gap {
			continue
		}
		s.Time += gap
		s.Packet += 1_000_000
		both = append(both, s)
		copies++
	}
	return both, copies
}

// hasTwin reports whether nothing tells the packet from another one near it, or
// could: a host without the connection answers many segments by RSTs all alike, and
// duplicate ACKs are sent in a row.
func hasTwin(segments []capturedSegment, i int) bool {
	const near = 2 * time.Millisecond
	s := segments[i].Segment
	if s.ID == 0 && (s.Flags&tcp.RST != 0 || s.PureAck() && !s.Options.HasTS) {
		return true
	}
	for j := range segments {
		o := segments[j].Segment
		apart := o.Time.Sub(s.Time)
		o.Time, o.Packet = s.Time, s.Packet
		if j != i && s.ID == 0 && -near <= apart && apart <= near && o == s {
			return true
		}
	}
	return false
}

// drawn prints what the tap saw as a ladder, with the cells that the tracker
// gives it.
func drawn(segments []capturedSegment) string {
	l := ladder{peers: [2]netip.AddrPort{peerA, peerB}}
	for i, s := range segments {
		r := rung{number: fmt.Sprintf("%d.", s.Packet), pause: time.Millisecond, segment: &s.Segment, fromA: s.Src == peerA, text: s.Segment.String()}
		if i > 0 {
			r.pause = s.Time.Sub(segments[i-1].Time)
		}
		l.rungs = append(l.rungs, r)
	}
	tk, _ := tracker.New(tracker.Config{}, func(*tracker.Event) {})
	for i := range segments {
		tk.Observe(&segments[i].Segment)
		l.rungs[i].cells = [2]string{l.cell(tk, false), l.cell(tk, true)}
	}
	return string(l.write())
}

func TestTruth(t *testing.T) {
	var (
		trueStates, seenStates tcp.StateSet
		ends, right            [simKinds]int
		undecided              = map[string]int{}
		failed                 int
	)
	for seed := range uint64(simulations) {
		m, kind := simulate(seed)
		if len(m.captured) == 0 {
			continue
		}
		ok := true
		failf := func(format string, args ...any) {
			ok = false
			if failed < simVerbose {
				t.Errorf("seed %d (%v): "+format, append([]any{seed, kind}, args...)...)
			}
		}
		r := watch(m, m.captured, failf)
		for _, h := range m.hosts {
			for _, mv := range h.history {
				trueStates |= mv.state.Set()
			}
		}
		seenStates |= r.visited

		both, copies := twice(rand.New(rand.NewPCG(seed, 1)), m.captured)
		again := watch(m, both, failf)
		if !reflect.DeepEqual(again.records, r.records) {
			failf("second records of %d packets change what is said", copies)
		}
		if got, want := again.stats.Duplicates, r.stats.Duplicates+copies; got != want {
			failf("%d packets are counted as captured twice, want %d", got, want)
		}
		if len(r.records) == 1 && kind != simMidway && kind != simMissing {
			for _, e := range r.records[0].Ends {
				for _, h := range m.hosts {
					if e.Addr == h.addr && h.lives <= 1 && e.Bytes != h.seen.count() {
						failf("%v sent %d octets past the tap, want %d", e.Addr, e.Bytes, h.seen.count())
					}
				}
			}
		}
		if !ok {
			failed++
			if failed <= simVerbose {
				t.Logf("seed %d:\n%s", seed, drawn(m.captured))
			}
		}
		if why := undecidable(m, kind); why != "" {
			undecided[why]++
			continue
		}
		last := r.records[len(r.records)-1]
		for _, e := range last.Ends {
			for _, h := range m.hosts {
				if e.Addr != h.addr {
					continue
				}
				if e.State == tcp.Unknown && e.Packets == 0 {
					undecided["the end never spoke, and is said to be unknown"]++
					continue
				}
				ends[kind]++
				if told(e.State) == told(h.state) {
					right[kind]++
				} else {
					t.Logf("seed %d (%v): %v is assumed %v, and is %v", seed, kind, h.addr, e.State, h.state)
				}
			}
		}
	}
	all, good := 0, 0
	for k := range simKinds {
		t.Logf("%-10v %5d ends, %5d right", k, ends[k], right[k])
		all, good = all+ends[k], good+right[k]
	}
	for why, n := range undecided {
		t.Logf("left out %5d: %s", n, why)
	}
	t.Logf("assumed right: %d of %d, %.3f %%", good, all, 100*float64(good)/float64(all))
	if share := float64(good) / float64(all); share < leastRight {
		t.Errorf("the assumed state is right in %.4f of the ends, want %.4f", share, leastRight)
	}
	if failed > 0 {
		t.Errorf("%d of %d exchanges failed", failed, simulations)
	}
	for _, s := range tcp.States() {
		if !trueStates.Has(s) {
			t.Errorf("no host was ever in %v", s)
		}
		if !seenStates.Has(s) {
			t.Errorf("no end was ever assumed in %v", s)
		}
	}
}
