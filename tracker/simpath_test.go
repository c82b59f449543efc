package tracker_test

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is between two simulated hosts: time, the path, and the tap.

// A sim is one exchange between two hosts, from the first segment until all
// timers have run out.
type sim struct {
	rnd   *rand.Rand
	now   tcp.Time
	queue simQueue
	order int
	hosts [2]*simHost
	path  simPath

	captured []capturedSegment
	lostRST  bool // a RST was lost on either side of the tap
	aheadRST bool // a RST passed the tap before octets of its sender that it follows
	strays   bool // a copy came seconds later that nothing tells from a repetition
}

// A capturedSegment is what the tap saw, and when it had been sent.
type capturedSegment struct {
	tcp.Segment
	sentAt tcp.Time
}

// A simPath is how the network treats segments. The two halves of a path are
// those before and behind the tap, seen from host 0.
type simPath struct {
	delay   [2]time.Duration // of each half, one way
	jitter  time.Duration    // added at random, so that segments overtake each other
	loss    float64          // in each half
	repeat  float64          // a segment is delivered twice
	linger  float64          // a copy of it comes seconds later
	miss    float64          // the tap does not see it
	healsAt tcp.Time         // from then on nothing is lost and nothing delayed
	deadAt  tcp.Time         // from then on nothing arrives anywhere; 0: never
}

type simEvent struct {
	at    tcp.Time
	order int
	do    func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(e any)   { *q = append(*q, e.(simEvent)) }
func (q *simQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// after has do run when d has passed.
func (m *sim) after(d time.Duration, do func()) {
	m.order++
	heap.Push(&m.queue, simEvent{m.now.Add(d), m.order, do})
}

// run lets the exchange happen, until nothing is left to happen or the given
// time.
func (m *sim) run(until tcp.Time) {
	for len(m.queue) > 0 && m.queue[0].at <= until {
		e := heap.Pop(&m.queue).(simEvent)
		m.now = e.at
		e.do()
	}
	m.now = until
}

func (m *sim) chance(p float64) bool { return m.rnd.Float64() < p }

// between returns a random span.
func (m *sim) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(m.rnd.Int64N(int64(hi-lo)+1))
}

// carry takes a segment from the host over the first half of its way to the
// tap, and over the second to its receiver.
func (m *sim) carry(from *simHost, s tcp.Segment) {
	sentAt := m.now
	m.half(from.side, s, func() {
		if !m.chance(m.path.miss) {
			seen := s
			seen.Time, seen.Packet = m.now, len(m.captured)+1
			m.captured = append(m.captured, capturedSegment{seen, sentAt})
			from.seen.add(s)
			if s.Flags&tcp.RST != 0 {
				m.aheadRST = m.aheadRST || from.top != 0 && s.Seq != 0 && seqLT(from.top, uint32(s.Seq))
			} else if from.top == 0 || seqLT(from.top, uint32(s.End())) {
				from.top = uint32(s.End())
			}
		}
		m.half(1-from.side, s, func() { m.hosts[1-from.side].receive(s) })
	})
}

// half carries a segment over one half of the path.
func (m *sim) half(half int, s tcp.Segment, arrive func()) {
	p, healed := &m.path, m.now >= m.path.healsAt
	if p.deadAt != 0 && m.now >= p.deadAt || !healed && m.chance(p.loss) {
		m.lostRST = m.lostRST || s.Flags&tcp.RST != 0
		return
	}
	delay := p.delay[half]
	if !healed {
		delay += m.between(0, p.jitter)
	}
	m.after(delay, arrive)
	if !healed && m.chance(p.repeat) {
		m.after(delay+m.between(2*time.Millisecond, 30*time.Millisecond), arrive)
	}
	if !healed && m.chance(p.linger) {
		m.after(delay+m.between(time.Second, 20*time.Second), arrive)
		m.strays = m.strays || s.ID == 0 && !s.Options.HasTS
	}
}
