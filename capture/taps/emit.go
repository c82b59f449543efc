package taps

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// emit hands out a record. It returns false when the loop was left, or is to end.
func (m *merger) emit(r *record, yield func(*tcp.Segment, error) bool) (more bool) {
	p := r.packet
	r.out = true
	if r != p.sent && r != p.neared {
		return true
	}
	before := m.last
	m.last = max(m.last, r.at)
	p.follow()
	if p.number == 0 {
		p.number = m.frames.Add(p.frames[:m.taps])
		m.nameTS(p)
	}
	if pass, end := m.outside(p, m.last); end {
		r.out, m.last = false, before
		return false
	} else if pass {
		return true
	}
	s := &r.segment
	if r == p.neared {
		m.translate(r, p)
		s.Leg, s.Twin = tcp.Neared, nil
		return yield(s, nil)
	}
	m.twin = tcp.Twin{Fate: p.fate, Between: p.between}
	if n := p.neared; n != nil {
		n.segment.Time = n.at
		m.twin.Other, m.twin.Delay, m.twin.Within, m.twin.Overtaken = &n.segment, max(0, n.at.Sub(r.at)), p.within, p.overtaken
	}
	m.translate(r, p)
	if s.Leg, s.Twin = p.leg, &m.twin; p.isError {
		s.Twin = nil
	}
	return yield(s, nil)
}

// follow makes a packet one of what its connection turned out to be since it was judged.
func (p *packet) follow() {
	for c := p.conn; c.joined != nil; c = p.conn {
		c.pending--
		c.joined.pending++
		if p.conn = c.joined; c.turned {
			p.dir = 1 - p.dir
		}
	}
}

// outside reports whether Options pass over a packet at a time, and whether the loop ends
// before it.
func (m *merger) outside(p *packet, at tcp.Time) (pass, end bool) {
	since, until := &m.options.Capture.Since, &m.options.Capture.Until
	if *since == (capture.Moment{}) && *until == (capture.Moment{}) {
		return false, false
	}
	if t, ok := m.moment(until); ok && at > t || until.Packet != 0 && p.number > until.Packet {
		m.later = true
		return true, true
	}
	if t, ok := m.moment(since); ok && at < t || p.number < since.Packet {
		m.earlier++
		return true, false
	}
	return false, false
}

// moment returns the time of a moment, by the clock of the first tap, if a time says it.
func (m *merger) moment(k *capture.Moment) (tcp.Time, bool) {
	if k.Relative {
		return m.survey.begin.Add(k.After), true
	}
	return k.Time, k.Time != 0
}

// within returns how wrong the time between two records may be.
func within(a, b *record) time.Duration {
	if a.within == Unbounded || b.within == Unbounded {
		return Unbounded
	}
	return a.within + b.within
}

// nameTS remembers what timestamps a packet has for all of its events, if they are changed
// on the way.
func (m *merger) nameTS(p *packet) {
	c := p.conn
	if !c.named {
		m.conns.name(c)
	}
	if m.survey.sameTS {
		return
	}
	if r := p.at[c.namer.tap]; r != nil && r.segment.Options.HasTS {
		p.hasTS, p.tsVal, p.tsEcr = true, r.segment.Options.TSVal, r.segment.Options.TSEcr
	}
}

// translate gives a segment what it is called by in the merged stream: its time, its
// number, and the names and numbers of its connection.
func (m *merger) translate(r *record, p *packet) {
	s, c := &r.segment, p.conn
	s.Time, s.Packet = m.last, p.number
	s.Src, s.Dst = c.names[p.dir], c.names[1-p.dir]
	if o := &s.Options; p.hasTS && o.HasTS {
		o.TSVal, o.TSEcr = p.tsVal, p.tsEcr
	}
	s.Seq = r.seq - c.number(p.dir)
	if s.Flags&tcp.ACK == 0 {
		return
	}
	by := r.flow.sides[1-p.dir].delta - c.number(1-p.dir)
	if by == 0 {
		return
	}
	s.Ack += by
	for i := range s.Options.SACK[:s.Options.NumSACK] {
		b := &s.Options.SACK[i]
		// Some that change the numbers leave those of SACK alone.
		if near := func(q tcp.Seq) bool { return q.In(s.Ack-1<<24, s.Ack+1<<24) }; near(b.Left+by) || !near(b.Left) {
			b.Left, b.Right = b.Left+by, b.Right+by
		}
	}
}

// stats is Source.Stats.
func (m *merger) stats() (sum capture.Stats) {
	for i := range m.queues {
		q := &m.queues[i]
		st := q.source.Stats()
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
		sum.Bounded.Add(st.Bounded)
		sum.Read += st.Read
		sum.Size += st.Size
		sum.Truncated = sum.Truncated || st.Truncated
		for _, w := range st.Warnings {
			sum.Warnings = append(sum.Warnings, m.list[i].name()+": "+w)
		}
		for _, p := range st.Passed {
			sum.Passed = addPassed(sum.Passed, p)
		}
		if first := q.clock.first(st.First); st.First != 0 && (sum.First == 0 || first < sum.First) {
			sum.First = first
		}
		sum.Last = max(sum.Last, q.clock.Other(st.Last))
		sum.Until = max(sum.Until, q.clock.Other(st.Until))
		sum.Heard = max(sum.Heard, q.clock.Other(st.Heard))
	}
	sum.Packets, sum.Segments, sum.Earlier = sum.Packets-m.earlier, sum.Segments-m.earlier, m.earlier
	if m.later {
		m.takeBack(&sum)
	}
	slices.SortStableFunc(sum.Passed, func(a, b capture.Passed) int { return b.Packets - a.Packets })
	m.setUntil(&sum)
	return sum
}

// takeBack does not count what was read, and is later than the end of the loop.
func (m *merger) takeBack(sum *capture.Stats) {
	for i := range m.queues {
		for r := m.queues[i].head; r != nil; r = r.next {
			switch {
			case r.out:
				continue
			case r.segment.ICMP.Type != 0:
				sum.Errors--
			default:
				sum.Segments--
			}
			sum.Packets--
			if m.options.Capture.Until.Packet == 0 {
				sum.Later++
			}
		}
	}
	sum.Last = m.last
}

// setUntil sets to which time ran, as [capture.Source] does.
func (m *merger) setUntil(sum *capture.Stats) {
	o := &m.options.Capture
	switch t, ok := m.moment(&o.Until); {
	case o.Until.Packet != 0:
		sum.Until, sum.Heard = m.last, m.last
	case !ok:
	case o.Ends && !m.later:
		sum.Until = min(sum.Until, t)
		sum.Heard = min(sum.Heard, sum.Until)
	default:
		if sum.Until = t; m.later {
			sum.Heard = t
		}
		sum.Heard = min(sum.Heard, t)
	}
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
