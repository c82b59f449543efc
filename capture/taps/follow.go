package taps

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// follow takes in what a record shows of its direction, and of the other.
func (m *merger) follow(r *record, p *packet) {
	s, sd := &r.segment, &r.flow.sides[p.dir]
	sd.packets++
	at := m.conns.placeOf(p.conn, p.dir, r.tap)
	if at == 0 {
		p.conn.left[p.dir]++
		p.place = p.conn.left[p.dir]
	} else if p.n == 1 {
		m.suspectAt(p, at)
	}
	if p.n > 1 {
		sd.sure = true
		if p.n == m.taps {
			m.complete(p)
		}
	}
	if s.Flags&tcp.FIN != 0 {
		p.conn.closed |= 1 << p.dir
	} else if s.Flags&tcp.RST != 0 {
		p.conn.closed |= 4
	}
	from, to := r.seq, r.end()
	next := false
	switch {
	case s.Flags&tcp.RST != 0:
	case s.Flags&tcp.SYN != 0:
		if at == 0 || p.n > 1 || !sd.cover.any {
			sd.renew(from, to)
		}
	case at == 0 || p.n > 1 || sd.cover.any && from.In(sd.cover.max-1<<20, sd.cover.max+1<<20):
		next = sd.cover.add(from, to)
	}
	sd.acks = sd.acks || s.Flags&(tcp.ACK|tcp.SYN|tcp.RST) == tcp.ACK
	if s.Flags&tcp.ACK != 0 && (s.Flags&tcp.RST == 0 || at == 0) {
		m.acknowledge(r, p)
		if s.Options.NumSACK > 0 {
			m.acknowledgeSome(r, p)
		}
	}
	if len(sd.suspects) > 0 {
		sd.contradict(r, next)
	}
}

// acknowledge takes in an acknowledgment, at the tap that has it. What no tap has was not
// sent.
func (m *merger) acknowledge(r *record, p *packet) {
	c, sent, ack := p.conn, false, r.ack
	if f := r.flow; c.answered[1-p.dir] && f.sides[1-p.dir].cover.acked == ack {
		return
	}
	for _, f := range c.flows[:m.taps] {
		sent = sent || f != nil && f.sides[1-p.dir].cover.any && ack.AtMost(f.sides[1-p.dir].cover.max)
	}
	if !sent {
		return
	}
	c.answered[1-p.dir] = true
	if r.flow.sides[1-p.dir].cover.ack(ack) {
		m.missed[r.tap]++
	}
}

// acknowledgeSome takes in the SACK blocks of an acknowledgment.
func (m *merger) acknowledgeSome(r *record, p *packet) {
	sd, o := &r.flow.sides[1-p.dir], &r.segment.Options
	for _, b := range o.SACK[:o.NumSACK] {
		from, to := b.Left+sd.delta, b.Right+sd.delta
		if r.ack.Before(from) && sd.cover.sack(from, to) {
			m.missed[r.tap]++
		}
	}
}

// complete takes in that all taps have a packet.
func (m *merger) complete(p *packet) {
	c := p.conn
	sent, came := p.at[m.conns.tapAt(c, p.dir, 0)], p.at[m.conns.tapAt(c, p.dir, m.taps-1)]
	c.delay[p.dir], c.timed[p.dir] = came.at.Sub(sent.at), true
	sd := &came.flow.sides[p.dir]
	sd.ttl, sd.ttlKnown = came.segment.TTL, true
	sd.hasTS, sd.signed = came.segment.Options.HasTS, came.segment.Options.Signed
	if s := &came.segment; s.ID != 0 {
		sd.withoutID = -1
	} else if s.Flags&tcp.SYN == 0 && sd.withoutID >= 0 {
		sd.withoutID++
	}
	if p.place > sd.highest {
		sd.highest = p.place
	} else {
		for _, place := range sd.recent {
			if place > p.place {
				p.overtaken++
			}
		}
	}
	sd.recent[sd.came%uint32(len(sd.recent))] = p.place
	sd.came++
	if p.isOpen {
		c.removeOpen(p)
	}
}

// suspectAt watches whether the alleged sender of a packet, that no tap nearer to it has
// than that at a place on its way, goes on as one that did not send it.
func (m *merger) suspectAt(p *packet, place int) {
	if place == 0 {
		return
	}
	f := p.conn.flows[m.conns.tapAt(p.conn, p.dir, place-1)]
	if f == nil {
		return
	}
	sd := &f.sides[p.dir]
	if len(sd.suspects) == maxSuspects {
		sd.suspects[0].suspect = false
		sd.suspects = append(sd.suspects[:0], sd.suspects[1:]...)
	}
	p.suspect = true
	sd.suspects = append(sd.suspects, p)
}

// unsuspect ends that.
func (m *merger) unsuspect(p *packet) {
	p.suspect = false
	for _, f := range p.conn.flows[:m.taps] {
		if f == nil {
			continue
		}
		sd := &f.sides[p.dir]
		for i, q := range sd.suspects {
			if q == p {
				sd.suspects = append(sd.suspects[:i], sd.suspects[i+1:]...)
				break
			}
		}
	}
}

// contradict looks whether a record of the sender shows that it did not send one of the
// suspects. next says that its octets are behind all that it sent before.
func (d *side) contradict(r *record, next bool) {
	if r.segment.Flags&tcp.RST != 0 {
		return
	}
	for _, p := range d.suspects {
		o := p.any()
		if o == nil || p.frames[r.tap] != 0 || r.at < p.first || p.denied {
			continue
		}
		switch s := &r.segment; {
		case o.segment.Flags&tcp.RST != 0: // who resets its connection sends nothing more in it
			p.denied = s.Flags&tcp.SYN == 0 && o.seq.In(d.cover.max-1<<17, d.cover.max+1<<17)
		case o.segment.Flags&tcp.SYN != 0:
			p.denied = s.Flags&tcp.SYN == 0 && !r.seq.In(o.seq, o.seq+1<<17)
		case next && o.seq.AtMost(r.seq) && r.seq.Before(o.end()): // something else in its place
			p.denied = s.Data != o.segment.Data || (s.Flags^o.segment.Flags)&tcp.FIN != 0
		case next && r.seq.Before(o.seq): // it had not come that far
			p.denied = true
		}
	}
}
