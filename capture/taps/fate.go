package taps

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// judge decides what became of a packet, and which of its records are handed out.
func (m *merger) judge(p *packet) {
	p.judged = true
	if p.suspect {
		defer m.unsuspect(p)
	}
	if p.at[m.firstTap(p)].segment.ICMP.Type != 0 {
		m.judgeError(p)
		return
	}
	first, last := m.taps, -1
	for i := range m.taps {
		if p.at[m.conns.path(p.conn, p.dir, i)] != nil {
			first, last = min(first, i), i
		}
	}
	p.sent = p.at[m.conns.path(p.conn, p.dir, first)]
	outer := m.taps - 1
	switch {
	case first == 0 && last == outer:
		p.leg, p.twin.Fate = tcp.Left, tcp.FatePassed
		p.neared = p.at[m.conns.path(p.conn, p.dir, last)]
	case first == 0:
		m.judgeAfter(p, last)
	default:
		m.judgeBefore(p, first)
		if p.twin.Fate == tcp.FateMissed && last < outer {
			m.judgeAfter(p, last)
		}
	}
}

// firstTap returns a tap that has a packet.
func (m *merger) firstTap(p *packet) int {
	for i := range m.taps {
		if p.at[i] != nil {
			return i
		}
	}
	return 0
}

// judgeError picks of an ICMP error the record next to its addressee, who sent what it
// quotes.
func (m *merger) judgeError(p *packet) {
	r := p.at[m.firstTap(p)]
	if r.tap == m.conns.path(p.conn, p.dir, 0) {
		p.sent = r
	}
}

// ran reports whether a capture was made while a packet would have come by.
func (m *merger) ran(tap int, p *packet) bool { return m.survey.running[tap].holds(p.first) }

// judgeAfter decides what became of a packet behind the last tap on its way that has it.
func (m *merger) judgeAfter(p *packet, last int) {
	p.leg, p.twin.Fate = tcp.Passing, tcp.FateUnknown
	s := &p.sent.segment
	for i := last + 1; i < m.taps; i++ {
		tap := m.conns.path(p.conn, p.dir, i)
		if !m.ran(tap, p) {
			if s.Len() > 0 && s.Flags&tcp.RST == 0 && p.conn.answered[p.dir] && !m.acknowledged(p) {
				m.lose(p, last, i)
				return
			}
			continue
		}
		f := p.conn.flows[tap]
		if f == nil || f.sides[p.dir].packets == 0 {
			if p.conn.answered[p.dir] {
				continue // it has not this direction
			}
			m.lose(p, last, i)
			return
		}
		if s.Len() > 0 && s.Flags&tcp.RST == 0 {
			if _, acked := f.sides[p.dir].cover.lacks(s.Seq, s.End()); acked {
				p.twin.Fate, p.twin.Between = tcp.FateMissed, m.neighbours(p, last, i)
				return
			}
		} else if m.leaky(tap) {
			continue
		}
		if p.alike && m.recordedTwice(p) {
			p.leg = tcp.Left
			return
		}
		m.lose(p, last, i)
		return
	}
}

// lose makes a packet one that was lost between two places on its way.
func (m *merger) lose(p *packet, near, far int) {
	p.leg, p.twin.Fate, p.twin.Between = tcp.Left, tcp.FateLost, m.neighbours(p, near, far)
	m.lost[m.conns.path(p.conn, p.dir, far)]++
}

// neighbours returns the taps at two places on the way of a packet.
func (m *merger) neighbours(p *packet, near, far int) [2]uint8 {
	return [2]uint8{uint8(m.conns.path(p.conn, p.dir, near)), uint8(m.conns.path(p.conn, p.dir, far))}
}

// leaky reports whether a capture misses so many packets that one more may be missed.
func (m *merger) leaky(tap int) bool { return m.missed[tap] > m.lost[tap]/4 }

// acknowledged reports whether any tap has an acknowledgment of all of a packet.
func (m *merger) acknowledged(p *packet) bool {
	end := p.sent.segment.End()
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

// recordedTwice reports whether a packet seems to be the second record of another, at
// one tap.
func (m *merger) recordedTwice(p *packet) bool { return false }

// judgeBefore decides where a packet came from that the tap next to its sender lacks.
func (m *merger) judgeBefore(p *packet, first int) {
	p.leg, p.twin.Fate = tcp.Passing, tcp.FateUnknown
	s := &p.sent.segment
	for i := first - 1; i >= 0; i-- {
		tap := m.conns.path(p.conn, p.dir, i)
		f := p.conn.flows[tap]
		if !m.ran(tap, p) || f == nil || f.sides[p.dir].packets == 0 {
			continue
		}
		c := &f.sides[p.dir].cover
		went, _ := c.lacks(s.Seq, s.End())
		switch {
		case p.alike:
			p.leg, p.twin.Fate, p.twin.Between = tcp.Neared, tcp.FateCopied, m.neighbours(p, i, first)
		case s.Len() > 0 && went && !p.contradicted:
			p.twin.Fate, p.twin.Between = tcp.FateMissed, m.neighbours(p, i, first)
			m.missed[tap]++
		case p.contradicted || m.strange(p, first):
			p.leg, p.twin.Fate, p.twin.Between = tcp.Neared, tcp.FateForged, m.neighbours(p, i, first)
		}
		return
	}
}

// strange reports whether a packet looks as if its alleged sender had not sent it, by
// those that it sent.
func (m *merger) strange(p *packet, first int) bool {
	r := p.sent
	sd := &r.flow.sides[p.dir]
	if !sd.ttlKnown {
		return false
	}
	hops := int(r.segment.TTL) - int(sd.ttl)
	return hops < -2 || hops > 2 || r.segment.ID != 0 && !sd.withID
}
