package taps

import (
	"fmt"
	"iter"
	"math"
	"sync/atomic"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/internal/frames"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// leastWindow and mostWindow bound how long a packet is waited for at another tap,
	// and windows is how many times as long as the longest way of the sample.
	leastWindow = time.Second
	mostWindow  = 60 * time.Second
	windows     = 4

	// suspectWindow is how long it is waited for what shows that a packet is forged, at
	// least: that its alleged sender goes on.
	suspectWindow = 5 * time.Second

	// MaxWaiting is how many records wait at most, whatever the window: some 80 MB.
	MaxWaiting = 1 << 17

	// chunk is how many records of a tap are read at a time, and slabSize how many are
	// allocated at once.
	chunk    = 128
	slabSize = 32

	// leastSlack and mostSlack bound by how much a packet may seem to come before it
	// left, by clocks that are not exact.
	leastSlack = 2 * time.Millisecond
	mostSlack  = 100 * time.Millisecond
)

// A queue is the records of one tap that wait, in its order.
type queue struct {
	source Capture
	clock  *Clock
	more   func() (bool, error) // reads a chunk; false: there is no more
	stop   func()
	head   *record // the first that was not handed out
	tail   *record
	unread *record       // the first that is not matched yet
	piece  int           // of the clock
	within time.Duration // its bound, for a while
	until  tcp.Time      // by the clock
	ended  bool
	newest tcp.Time
	slab   *slab // of which records are taken
}

// A merger merges the captures.
type merger struct {
	options Options
	list    []Tap
	survey  *survey
	stopped *atomic.Bool
	taps    int
	queues  []queue
	conns   conns
	exact   index
	loose   index
	frames  frames.Frames
	tallies []tally // of the links
	worst   worst

	window, slack time.Duration

	waiting   int
	hurried   int      // packets of which it was said what became of them before the window had passed
	now       tcp.Time // up to which everything was matched
	last      tcp.Time // of the newest event
	earlier   int      // records before Options.Capture.Since
	later     bool     // one was behind Until
	missed    []int    // by tap: packets that it lacks although they came by
	lost      []int    // by tap: packets that did not come there
	records   []int    // by tap: that were matched
	twice     []int    // by tap: of these, those that seem to be a second record of a packet
	freeSlabs []*slab
	twin      tcp.Twin // that is lent
}

// newMerger opens the captures again, to be merged.
func newMerger(list []Tap, o Options, v *survey, stopped *atomic.Bool) (*merger, error) {
	n := len(list)
	m := &merger{options: o, list: list, survey: v, stopped: stopped, taps: n,
		queues: make([]queue, n), exact: newIndex(exact), loose: newIndex(loose), frames: frames.New(n),
		tallies: make([]tally, len(v.links)), missed: make([]int, n), lost: make([]int, n), records: make([]int, n), twice: make([]int, n)}
	m.conns = conns{entries: map[tuple]*entry{}, survey: v, taps: n, forgot: m.forgot}
	m.window = min(max(windows*v.longest, leastWindow), mostWindow)
	if v.look == byAnswers {
		m.window = 0
	}
	m.slack = leastSlack
	for i := range v.links {
		for _, p := range v.links[i].clock.Pieces {
			m.slack = min(max(m.slack, p.Within), mostSlack)
		}
	}
	for i := range list {
		if err := m.open(i); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

// open opens the capture of a tap.
func (m *merger) open(tap int) (err error) {
	q := &m.queues[tap]
	q.clock = &m.survey.clocks[tap]
	o := m.options.Capture
	o.Since, o.Until, o.Ends, o.Part = capture.Moment{}, capture.Moment{}, false, nil
	if named := o.Named; named != nil {
		o.Named = func(n *capture.Named, at tcp.Time) { named(n, q.clock.Other(at)) }
	}
	if q.source, err = m.list[tap].open(o); err != nil {
		return err
	}
	next, stop := iter.Pull2(m.chunks(tap))
	q.stop = stop
	q.more = func() (bool, error) { _, err, ok := next(); return ok, err }
	return nil
}

// chunks reads a capture into the queue of its tap, and pauses after every chunk.
func (m *merger) chunks(tap int) iter.Seq2[struct{}, error] {
	return func(yield func(struct{}, error) bool) {
		n := 0
		for s, err := range m.queues[tap].source.Segments() {
			if err != nil {
				yield(struct{}{}, err)
				return
			}
			m.append(tap, s)
			if n++; n%chunk == 0 && !yield(struct{}{}, nil) {
				return
			}
		}
	}
}

// A slab is records that lie side by side, so that those that follow each other in a
// queue mostly do in memory. It is used again once all were freed.
type slab struct {
	records [slabSize]record
	taken   int
	freed   int
}

// newRecord returns a record for a queue of which nothing is set.
func (m *merger) newRecord(q *queue) *record {
	b := q.slab
	if b == nil || b.taken == slabSize {
		if n := len(m.freeSlabs); n > 0 {
			b, m.freeSlabs = m.freeSlabs[n-1], m.freeSlabs[:n-1]
			b.taken, b.freed = 0, 0
		} else {
			b = new(slab)
		}
		q.slab = b
	}
	r := &b.records[b.taken]
	b.taken++
	r.slab, r.uses, r.flow, r.packet, r.next, r.out = b, 1, nil, nil, nil, false
	return r
}

// unuse says that a record is in one use less, and frees it if that was the last.
func (m *merger) unuse(r *record) {
	if r.uses--; r.uses > 0 {
		return
	}
	b := r.slab
	if b.freed++; b.freed == slabSize {
		m.freeSlabs = append(m.freeSlabs, b)
	}
}

// append appends a segment to the queue of its tap.
func (m *merger) append(tap int, s *tcp.Segment) {
	q := &m.queues[tap]
	r := m.newRecord(q)
	r.segment, r.tap = *s, tap
	at := s.Time
	if len(q.clock.Pieces) > 0 {
		if next := q.clock.piece(s.Packet, q.piece); next != q.piece {
			q.piece, q.until = next, 0
		}
		p := &q.clock.Pieces[q.piece]
		if at >= q.until {
			q.within, q.until = p.bound(at), at.Add(p.steady())
		}
		at = p.other(at)
	}
	r.within = q.within
	q.newest = max(q.newest, at)
	r.at = q.newest
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.next = r
	}
	q.tail = r
	if q.unread == nil {
		q.unread = r
	}
	m.waiting++
}

// segments is Source.Segments.
func (m *merger) segments(yield func(*tcp.Segment, error) bool) {
	for !m.stopped.Load() {
		r, err := m.nextUnread()
		if err != nil {
			yield(nil, err)
			return
		}
		if r == nil {
			m.now = math.MaxInt64
			m.flush(yield)
			return
		}
		m.now = max(m.now, r.at)
		m.match(r)
		if !m.flush(yield) {
			return
		}
	}
}

// nextUnread returns the earliest record that is not matched yet; nil: there is none.
func (m *merger) nextUnread() (*record, error) {
	var best *queue
	for i := range m.queues {
		q := &m.queues[i]
		for q.unread == nil && !q.ended {
			more, err := q.more()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.list[i].name(), err)
			}
			q.ended = !more
		}
		if q.unread != nil && (best == nil || q.unread.at < best.unread.at) {
			best = q
		}
	}
	if best == nil {
		return nil, nil
	}
	r := best.unread
	best.unread = r.next
	m.records[r.tap]++
	return r, nil
}

// flush hands out what is decided. It returns false when the loop was left, or is to end.
func (m *merger) flush(yield func(*tcp.Segment, error) bool) bool {
	for {
		r := m.first()
		if r == nil {
			return true
		}
		if r = m.due(r); r == nil {
			return true
		}
		if !m.emit(r, yield) {
			return false
		}
		m.trim(&m.queues[r.tap])
	}
}

// first returns the earliest record that waits and is matched.
func (m *merger) first() *record {
	var best *record
	for i := range m.queues {
		if r := m.queues[i].head; r != nil && r.packet != nil && (best == nil || r.at < best.at) {
			best = r
		}
	}
	return best
}

// decided reports whether it can be said what became of a packet.
func (m *merger) decided(p *packet) bool {
	if p.judged || p.n == m.taps || p.isError {
		return true
	}
	window := m.window
	if p.suspect && m.window > 0 {
		window = max(window, suspectWindow)
	}
	if m.now.Sub(p.first) > window {
		return true
	}
	if m.waiting <= MaxWaiting {
		return false
	}
	m.hurried++
	return true
}

// due returns what has to be handed out before a record can be: what comes near its
// receiver, only behind what left. Each tap's own order is kept, unless two taps
// contradict each other. nil: it is not decided what became of that.
func (m *merger) due(r *record) *record {
	var passed uint16
	for {
		p := r.packet
		if !p.judged {
			if !m.decided(p) {
				return nil
			}
			m.judge(p)
		}
		if r != p.neared || p.number != 0 {
			return r
		}
		if passed&(1<<p.sent.tap) != 0 {
			return p.sent
		}
		passed |= 1 << p.sent.tap
		r = m.queues[p.sent.tap].head
	}
}

// trim frees what was handed out at the head of a queue.
func (m *merger) trim(q *queue) {
	for q.head != nil && q.head.out {
		r := q.head
		if q.head = r.next; q.head == nil {
			q.tail = nil
		}
		m.waiting--
		p := r.packet
		p.at[r.tap] = nil
		if p.waiting--; p.waiting == 0 {
			m.free(p)
		}
		m.unuse(r)
	}
}

// close closes the captures.
func (m *merger) close() (errs []error) {
	for i := range m.queues {
		q := &m.queues[i]
		if q.stop != nil {
			q.stop()
		}
		if q.source != nil {
			errs = append(errs, q.source.Close())
		}
	}
	return append(errs, m.frames.Close())
}
