package taps

import (
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// leastWindow and mostWindow bound how long a packet is waited for at another tap,
	// and windows is how many times as long as the longest way of the sample.
	leastWindow = time.Second
	mostWindow  = 60 * time.Second
	windows     = 4

	// maxWaiting is how many records wait at most, whatever the window: some 50 MB.
	maxWaiting = 1 << 17

	// chunk is how many records of a tap are read at a time.
	chunk = 128

	// leastSlack and mostSlack bound by how much a packet may seem to come before it
	// left, by clocks that are not exact.
	leastSlack = 2 * time.Millisecond
	mostSlack  = 100 * time.Millisecond
)

// A queue is the records of one tap that wait, in its order.
type queue struct {
	source *capture.Source
	more   func() (bool, error) // reads a chunk; false: there is no more
	stop   func()
	head   *record // the first that was not handed out
	tail   *record
	unread *record // the first that is not matched yet
	ended  bool
	newest tcp.Time
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
	index   *index
	frames  frames

	window, slack, usual time.Duration

	waiting     int
	now         tcp.Time // up to which everything was matched
	begin, last tcp.Time // of the first event, and the newest
	later       bool     // the captures go on behind Options.Capture.Until
	missed      []int    // by tap: packets that it lacks although they came by
	lost        []int    // by tap: packets that did not come there
	freeRecords *record
	freePackets *packet
	segment     tcp.Segment // that is lent
	other       tcp.Segment
}

// newMerger opens the captures again, to be merged.
func newMerger(list []Tap, o Options, v *survey, stopped *atomic.Bool) (*merger, error) {
	n := len(list)
	m := &merger{options: o, list: list, survey: v, stopped: stopped, taps: n,
		queues: make([]queue, n), index: newIndex(), frames: frames{taps: n},
		missed: make([]int, n), lost: make([]int, n)}
	m.conns = conns{flows: map[tuple]*flow{}, survey: v, taps: n}
	m.window = min(max(windows*v.longest, leastWindow), mostWindow)
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
	o := m.options.Capture
	o.Since, o.Until, o.Ends, o.Part = capture.Moment{}, capture.Moment{}, false, nil
	if named := o.Named; named != nil {
		o.Named = func(n *capture.Named, at tcp.Time) { named(n, m.survey.clocks[tap].Other(at)) }
	}
	if q.source, err = capture.Open(m.list[tap].Files, o); err != nil {
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

// append appends a segment to the queue of its tap.
func (m *merger) append(tap int, s *tcp.Segment) {
	r := m.freeRecords
	if r == nil {
		r = new(record)
	} else {
		m.freeRecords = r.next
		r.flow, r.packet, r.next, r.out = nil, nil, nil, false
	}
	q := &m.queues[tap]
	r.segment, r.tap = *s, tap
	q.newest = max(q.newest, m.survey.clocks[tap].Other(s.Time))
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
			break
		}
		m.now = max(m.now, r.at)
		m.match(r)
		if !m.flush(yield) {
			return
		}
	}
	if !m.stopped.Load() {
		m.now = 1<<63 - 1
		m.flush(yield)
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
	return r, nil
}

// flush hands out what is decided. It returns false when the loop was left.
func (m *merger) flush(yield func(*tcp.Segment, error) bool) bool {
	for {
		r := m.first()
		if r == nil || !m.decided(r.packet) {
			return true
		}
		if r = m.due(r); r == nil {
			return true
		}
		if !m.emit(r, yield) {
			return false
		}
		m.trim()
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
	return p.judged || p.n == m.taps || p.key == 0 || p.first.Add(m.window) < m.now || m.waiting > maxWaiting
}

// due returns what has to be handed out before a record can be: what comes near its
// receiver, only behind what left. Each tap's own order is kept, unless two taps
// contradict each other. nil: it is not decided what became of that.
func (m *merger) due(r *record) *record {
	var passed uint16
	for {
		p := r.packet
		if !m.decided(p) {
			return nil
		}
		if !p.judged {
			m.judge(p)
		}
		if r != p.neared || p.number != 0 {
			return r
		}
		q := &m.queues[p.sent.tap]
		if passed&(1<<p.sent.tap) != 0 {
			return p.sent
		}
		passed |= 1 << p.sent.tap
		r = q.head
	}
}

// emit hands out a record. It returns false when the loop was left.
func (m *merger) emit(r *record, yield func(*tcp.Segment, error) bool) (more bool) {
	p := r.packet
	if !p.judged {
		m.judge(p)
	}
	r.out = true
	if r != p.sent && r != p.neared {
		return true
	}
	if p.number == 0 {
		p.number = m.frames.add(p)
	}
	c := p.conn
	if !c.named {
		m.conns.name(c)
	}
	s := &m.segment
	*s = r.segment
	if s.Time, s.Packet = max(m.last, r.at), p.number; m.begin == 0 {
		m.begin = s.Time
	}
	if u := &m.options.Capture.Until; u.Precedes(s.Time, m.begin) || u.Packet != 0 && s.Packet > u.Packet {
		m.later = true
		return false
	}
	m.last = s.Time
	if m.options.Capture.Since.Follows(s.Packet, s.Time, m.begin) {
		return true
	}
	m.translate(s, c, p.dir)
	if r == p.neared {
		s.Leg = tcp.Neared
		return yield(s, nil)
	}
	if s.Leg = p.leg; s.ICMP.Type != 0 {
		return yield(s, nil)
	}
	s.Twin = &p.twin
	if n := p.neared; n != nil {
		m.other = n.segment
		m.other.Time = n.at
		p.twin.Other, p.twin.Delay, p.twin.Within = &m.other, max(0, n.at.Sub(r.at)), m.within(r, n)
		p.twin.Overtaken = p.overtaken
	}
	return yield(s, nil)
}

// within returns how wrong the delay between two records may be.
func (m *merger) within(a, b *record) time.Duration {
	x := m.survey.clocks[a.tap].Bound(a.segment.Time)
	y := m.survey.clocks[b.tap].Bound(b.segment.Time)
	if x == Unbounded || y == Unbounded {
		return Unbounded
	}
	return x + y
}

// translate gives a segment the names of its connection.
func (m *merger) translate(s *tcp.Segment, c *conn, dir int) {
	s.Src, s.Dst = c.names[dir], c.names[1-dir]
}

// trim frees what was handed out.
func (m *merger) trim() {
	for i := range m.queues {
		q := &m.queues[i]
		for q.head != nil && q.head.out {
			r := q.head
			if q.head = r.next; q.head == nil {
				q.tail = nil
			}
			m.waiting--
			p := r.packet
			p.at[i] = nil
			if p.waiting--; p.waiting == 0 {
				m.free(p)
			}
			r.next = m.freeRecords
			m.freeRecords = r
		}
	}
}

// free frees a packet whose records were handed out.
func (m *merger) free(p *packet) {
	if p.indexed {
		m.index.remove(p)
	}
	if p.suspect {
		m.unsuspect(p)
	}
	p.conn.pending--
	p.conn, p.sent, p.neared = nil, nil, nil
	p.chain = m.freePackets
	m.freePackets = p
}

// stats is Source.Stats.
func (m *merger) stats() (sum capture.Stats) {
	var ended tcp.Time
	for i := range m.queues {
		st := m.queues[i].source.Stats()
		sum.Packets += st.Packets
		sum.Bytes += st.Bytes
		sum.Filtered += st.Filtered
		sum.Tagged += st.Tagged
		sum.FilteredBytes += st.FilteredBytes
		sum.Segments += st.Segments
		sum.Errors += st.Errors
		sum.Undecodable += st.Undecodable
		sum.Misdated += st.Misdated
		sum.Dropped += st.Dropped
		sum.Read += st.Read
		sum.Size += st.Size
		sum.Truncated = sum.Truncated || st.Truncated
		for _, w := range st.Warnings {
			sum.Warnings = append(sum.Warnings, m.list[i].name()+": "+w)
		}
		for _, p := range st.Passed {
			sum.Passed = addPassed(sum.Passed, p)
		}
		c := &m.survey.clocks[i]
		if first := c.Other(st.First); first != 0 && (sum.First == 0 || first < sum.First) {
			sum.First = first
		}
		sum.Last = max(sum.Last, c.Other(st.Last))
		ended = max(ended, c.Other(st.Until))
	}
	if m.later {
		sum.Last = m.last
	}
	sum.Until, sum.Heard = m.options.Capture.Over(m.begin, sum.Last, ended, m.later)
	slices.SortStableFunc(sum.Passed, func(a, b capture.Passed) int { return b.Packets - a.Packets })
	return sum
}

// addPassed adds to the packets that were passed over for a header.
func addPassed(list []capture.Passed, p capture.Passed) []capture.Passed {
	for i := range list {
		if list[i].Header == p.Header && list[i].Why == p.Why {
			list[i].Packets += p.Packets
			return list
		}
	}
	return append(list, p)
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
	return errs
}
