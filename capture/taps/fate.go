package taps

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

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
	p.leg, p.twin = tcp.Passing, tcp.Twin{}
	switch {
	case first == 0 && last == outer:
		p.leg, p.twin.Fate = tcp.Left, tcp.FatePassed
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

// presenceAt returns what a capture can have of a packet that it has not.
func (m *merger) presenceAt(tap int, p *packet) presence {
	if !m.survey.running[tap].holds(p.first) {
		return doubtful
	}
	c := p.conn
	f := c.flows[tap]
	if f == nil || f.sides[p.dir].packets == 0 {
		if c.answered[p.dir] || m.isRST(p) {
			return absent
		}
		return present
	}
	if c.matched == 0 && f.sides[p.dir].packets >= enoughUnmatched && p.sent.flow.sides[p.dir].packets >= enoughUnmatched {
		return absent // what this has is not the same
	}
	return present
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
		switch m.presenceAt(tap, p) {
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
			if _, acked := f.sides[p.dir].cover.lacks(r.seq, r.end()); acked {
				p.leg, p.twin.Fate, p.twin.Between = tcp.Passing, tcp.FateMissed, m.neighbours(p, last, place)
				return
			}
		} else if f != nil && m.leaky(tap) {
			continue
		}
		if p.twice {
			p.leg, p.twin.Fate = tcp.Left, tcp.FateUnknown
			return
		}
		m.lose(p, last, place)
		return
	}
}

// lose makes a packet one that was lost between two places on its way.
func (m *merger) lose(p *packet, near, far int) {
	p.leg, p.twin.Fate, p.twin.Between = tcp.Left, tcp.FateLost, m.neighbours(p, near, far)
	m.lost[m.conns.tapAt(p.conn, p.dir, far)]++
}

// neighbours returns the taps at two places on the way of a packet.
func (m *merger) neighbours(p *packet, near, far int) [2]uint8 {
	return [2]uint8{uint8(m.conns.tapAt(p.conn, p.dir, near)), uint8(m.conns.tapAt(p.conn, p.dir, far))}
}

// leaky reports whether a capture misses so many packets that one more may be missed.
func (m *merger) leaky(tap int) bool { return m.missed[tap] > m.lost[tap]/4 }

// acknowledged reports whether any tap has an acknowledgment of all of a packet.
func (m *merger) acknowledged(p *packet) bool {
	end := p.sent.end()
	for _, f := range p.conn.flows[:m.taps] {
		if f == nil {
			continue
		}
		if c := &f.sides[p.dir].cover; c.any && end.AtMost(c.acked) {
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
		if f == nil || f.sides[p.dir].packets == 0 || m.presenceAt(tap, p) != present {
			continue
		}
		went, _ := f.sides[p.dir].cover.lacks(r.seq, r.end())
		fate := tcp.FateUnknown
		switch {
		case p.alike:
			fate = tcp.FateCopied
		case r.segment.Len() > 0 && went && !p.contradicted:
			fate = tcp.FateMissed
			m.missed[tap]++
		case p.contradicted || m.strange(p):
			fate = tcp.FateForged
		}
		if fate == tcp.FateCopied || fate == tcp.FateForged {
			p.leg = tcp.Neared
		}
		if p.twin.Fate = fate; fate != tcp.FateUnknown {
			p.twin.Between = m.neighbours(p, place, first)
		}
		return
	}
}

// strange reports whether a packet looks as if its alleged sender had not sent it, by
// those that it sent.
func (m *merger) strange(p *packet) bool {
	r := p.sent
	sd := &r.flow.sides[p.dir]
	if !sd.ttlKnown {
		return false
	}
	hops := int(r.segment.TTL) - int(sd.ttl)
	return hops < -2 || hops > 2 || r.segment.ID != 0 && !sd.withID
}
