package taps

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// judge decides what became of a packet, and which of its records are handed out.
func (m *merger) judge(p *packet) {
	p.judged = true
	if p.isError { // the copy next to its addressee, who sent what it quotes
		if r := p.any(); r.tap == m.conns.tapAt(p.conn, p.dir, 0) {
			p.sent = r
		}
		return
	}
	first, last := m.taps, -1
	for place := range m.taps {
		if p.at[m.conns.tapAt(p.conn, p.dir, place)] != nil {
			first, last = min(first, place), place
		}
	}
	outer := m.taps - 1
	p.sent = p.at[m.conns.tapAt(p.conn, p.dir, first)]
	p.leg, p.fate = tcp.Passing, tcp.FateUnknown
	switch {
	case first == 0 && last == outer:
		p.leg, p.fate = tcp.Left, tcp.FatePassed
		p.neared = p.at[m.conns.tapAt(p.conn, p.dir, last)]
	case first == 0:
		m.judgeAfter(p, last)
	default:
		m.judgeBefore(p, first)
		if p.leg == tcp.Passing && last < outer {
			m.judgeAfter(p, last)
		}
	}
	m.account(p, first, last)
}

// A presence is what a capture can have of a packet that it has not.
type presence uint8

const (
	absent   presence = iota // nothing: it was not running then, or has not that direction
	doubtful                 // the packet too, but that shows only in what it carries
	present                  // the packet
)

// presenceAt returns what the capture at a place on its way can have of a packet that it
// has not.
func (m *merger) presenceAt(place int, p *packet) presence {
	if m.survey.look == byAnswers {
		return absent
	}
	c, r, tap := p.conn, p.sent, m.conns.tapAt(p.conn, p.dir, place)
	from, to := m.expectedAt(place, p)
	certain := func(s span) bool { return s.holds(from) && s.holds(to) }
	if !certain(m.survey.running[tap]) {
		return doubtful
	}
	f := c.flows[tap]
	if f == nil || f.sides[p.dir].packets == 0 {
		if c.answered[p.dir] || r.flow.sides[p.dir].acks || m.isRST(p) {
			return absent
		}
		return present
	}
	if c.matched == 0 && f.sides[p.dir].packets >= enoughUnmatched && r.flow.sides[p.dir].packets >= enoughUnmatched {
		return absent // what this has is not the same
	}
	if !certain(m.survey.has[tap]) && !m.hears(c, 1-p.dir) {
		return doubtful
	}
	return present
}

// expectedAt returns when a packet came by a place on its way, at the earliest and at the
// latest, by how long others of its direction took.
func (m *merger) expectedAt(place int, p *packet) (from, to tcp.Time) {
	c, way := p.conn, 0
	if c.away != (p.dir == fromClient) {
		way = 1
	}
	least, most := m.survey.least[way], m.survey.usual[way]
	if c.timed[p.dir] {
		least, most = min(least, c.delay[p.dir]), max(most, c.delay[p.dir])
	}
	least, most = least*3/4-time.Millisecond, most*5/4+time.Millisecond
	if place < m.conns.placeOf(c, p.dir, p.sent.tap) {
		least, most = -most, -least
	}
	return p.sent.at.Add(least), p.sent.at.Add(most)
}

// hears reports whether any capture has packets of a direction.
func (m *merger) hears(c *conn, dir int) bool {
	for _, f := range c.flows[:m.taps] {
		if f != nil && f.sides[dir].packets > 0 {
			return true
		}
	}
	return false
}

// enoughUnmatched is how many packets of a direction two captures have of which none is
// the same, before they are taken for those of different connections.
const enoughUnmatched = 4

// isRST reports whether a packet resets.
func (m *merger) isRST(p *packet) bool { return p.sent.segment.Flags&tcp.RST != 0 }

// judgeAfter decides what became of a packet behind the last place on its way at which a
// capture has it.
func (m *merger) judgeAfter(p *packet, last int) {
	r := p.sent
	octets := r.segment.Len() > 0 && !m.isRST(p)
	for place := last + 1; place < m.taps; place++ {
		tap := m.conns.tapAt(p.conn, p.dir, place)
		switch m.presenceAt(place, p) {
		case absent:
			continue
		case doubtful:
			if octets && p.conn.answered[p.dir] && !m.acknowledged(p) {
				m.lose(p, last, place)
				return
			}
			continue
		}
		if f := p.conn.flows[tap]; f != nil && octets {
			if c := f.sides[p.dir].coverOf(r.seq); c.arrived(r.seq, r.end()) || !c.has(r.seq, r.end()) && m.acknowledged(p) {
				p.leg, p.fate, p.between = tcp.Passing, tcp.FateMissed, m.neighbours(p, last, place)
				return
			}
		} else if f != nil && m.leaky(tap) {
			continue
		}
		if p.twice {
			p.leg, p.fate = tcp.Left, tcp.FateUnknown
			return
		}
		m.lose(p, last, place)
		return
	}
}

// lose makes a packet one that was lost between two places on its way.
func (m *merger) lose(p *packet, near, far int) {
	p.leg, p.fate, p.between = tcp.Left, tcp.FateLost, m.neighbours(p, near, far)
	m.lost[m.conns.tapAt(p.conn, p.dir, far)]++
}

// neighbours returns the taps at two places on the way of a packet.
func (m *merger) neighbours(p *packet, near, far int) [2]uint8 {
	return [2]uint8{uint8(m.conns.tapAt(p.conn, p.dir, near)), uint8(m.conns.tapAt(p.conn, p.dir, far))}
}

// recordsTwice reports whether a capture has so many packets twice that it is the capture
// that makes the second.
func (m *merger) recordsTwice(tap int) bool { return 4*m.twice[tap] > m.records[tap] }

// leaky reports whether a capture misses so many packets that one more may be missed.
func (m *merger) leaky(tap int) bool { return m.missed[tap] > m.lost[tap]/4 }

// acknowledged reports whether any tap has an acknowledgment of all of a packet.
func (m *merger) acknowledged(p *packet) bool {
	end := p.sent.end()
	for _, f := range p.conn.flows[:m.taps] {
		if f == nil {
			continue
		}
		if c := f.sides[p.dir].coverOf(end); c.any && end.AtMost(c.acked) {
			return true
		}
	}
	return false
}

// judgeBefore decides where a packet came from that the tap next to its sender lacks, and
// that first comes by at a place on its way.
func (m *merger) judgeBefore(p *packet, first int) {
	r := p.sent
	for place := first - 1; place >= 0; place-- {
		tap := m.conns.tapAt(p.conn, p.dir, place)
		f := p.conn.flows[tap]
		if f == nil || f.sides[p.dir].packets == 0 || m.presenceAt(place, p) != present {
			continue
		}
		went := f.sides[p.dir].coverOf(r.seq).goesOn(r.seq, r.end())
		fate := tcp.FateUnknown
		switch {
		case p.twice && m.recordsTwice(r.tap):
		case p.alike || m.exact.was(p.keys[exact]):
			fate = tcp.FateCopied
		case r.segment.Len() > 0 && went && !p.denied:
			fate = tcp.FateMissed
			m.missed[tap]++
		case p.denied || m.strange(p):
			fate = tcp.FateForged
		case p.conn.big[p.dir] && r.segment.Data > 0 && f.sides[p.dir].coverOf(r.seq).has(r.seq, r.end()):
			fate = tcp.FateCopied // the tap has the octets, in a larger record
		}
		if fate == tcp.FateCopied || fate == tcp.FateForged {
			p.leg = tcp.Neared
		}
		if p.fate = fate; fate != tcp.FateUnknown {
			p.between = m.neighbours(p, place, first)
		}
		return
	}
}

// enoughWithoutID is how many packets of an end must have no IP identification, and none
// have one, before one that has is none of its own. A SYN+ACK may have none where the
// others do.
const enoughWithoutID = 3

// strange reports whether a packet looks as if its alleged sender had not sent it, by
// those that it sent.
func (m *merger) strange(p *packet) bool {
	r := p.sent
	sd := &r.flow.sides[p.dir]
	if !sd.ttlKnown {
		return false
	}
	if o := &r.segment.Options; r.segment.Flags&tcp.RST == 0 && (sd.hasTS && !o.HasTS || sd.signed && !o.Signed) {
		return true
	}
	hops := int(r.segment.TTL) - int(sd.ttl)
	return hops < -2 || hops > 2 || r.segment.ID != 0 && sd.withoutID >= enoughWithoutID
}
