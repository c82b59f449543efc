package taps

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A capture on a host has segments larger than those on the wire, as its network card cuts
// what it sends (TSO, GSO) and joins what it receives (LRO, GRO). Such a record is cut
// where those of the other tap end, and each part is a packet of its own.

const (
	// wireMSS is how many octets a segment on the wire has, unless its SYN allows less.
	wireMSS = 1460

	// maxOpen is how many packets of a direction wait to be found by their octets, and
	// maxPieces how many one record is cut into, at most.
	maxOpen = 512
	maxCuts = 128
)

// mss returns how many octets a segment on the wire has at most, as far as is known.
func (c *conn) mss() tcp.Size {
	if c.maxMSS != 0 {
		return tcp.Size(c.maxMSS)
	}
	return wireMSS
}

// becomeBig says that a direction has records that are larger than segments on the wire.
func (m *merger) becomeBig(c *conn, dir int) {
	if c.big[dir] = true; c.pending == 0 {
		return
	}
	for i := range m.queues {
		for r := m.queues[i].head; r != m.queues[i].unread; r = r.next {
			if p := r.packet; p != nil && p.conn == c && p.dir == dir && p.n < m.taps && r.segment.Data > 0 && !p.isOpen && !p.judged && !p.isError {
				c.addOpen(p)
			}
		}
	}
}

// addOpen adds a packet to those that are found by their octets.
func (c *conn) addOpen(p *packet) {
	list := &c.open[p.dir]
	if len(*list) == maxOpen {
		(*list)[0].isOpen = false
		*list = append((*list)[:0], (*list)[1:]...)
	}
	p.isOpen = true
	*list = append(*list, p)
}

// removeOpen removes it.
func (c *conn) removeOpen(p *packet) {
	p.isOpen = false
	list := &c.open[p.dir]
	for i, q := range *list {
		if q == p {
			*list = append((*list)[:i], (*list)[i+1:]...)
			return
		}
	}
}

// any returns a record of a packet that waits.
func (p *packet) any() *record {
	for _, r := range p.at {
		if r != nil {
			return r
		}
	}
	return nil
}

// octets returns where the octets of a record begin and end.
func (r *record) octets() (from, to tcp.Seq) {
	from = r.seq
	if r.segment.Flags&tcp.SYN != 0 {
		from++
	}
	return from, from.Add(r.segment.Data)
}

// cut finds the packets whose octets a record has, and cuts both where the other ends. It
// reports whether there was one at least.
func (m *merger) cut(r *record, dir int) (found bool) {
	for range maxCuts {
		from, to := r.octets()
		p, at := m.overlapping(r, dir, from, to)
		if p == nil {
			if found {
				m.placeRest(r, dir)
			}
			return found
		}
		found = true
		if from.Before(at) { // what is before the packet is of none
			rest := m.cutRecord(r, at)
			m.placeRest(r, dir)
			r, from = rest, at
		}
		if begin, _ := p.any().octets(); begin.Before(from) {
			p = m.cutPacket(p, from)
		}
		_, end := p.any().octets()
		var rest *record
		switch {
		case end.Before(to):
			rest = m.cutRecord(r, end)
		case to.Before(end):
			m.cutPacket(p, to)
		}
		r.flow.conn.matched++
		m.put(p, r)
		m.follow(r, p)
		if r = rest; r == nil {
			return true
		}
	}
	m.placeRest(r, dir)
	return true
}

// placeRest makes a packet of a part of a record.
func (m *merger) placeRest(r *record, dir int) {
	p := m.newPacket(r, r.flow.conn, dir)
	p.keys[exact] = m.key(r)
	m.exact.add(p)
	r.flow.conn.addOpen(p)
	m.follow(r, p)
}

// overlapping returns the packet that has the first of the octets, or else that which
// has those nearest behind, and where.
func (m *merger) overlapping(r *record, dir int, from, to tcp.Seq) (best *packet, at tcp.Seq) {
	for _, p := range r.flow.conn.open[dir] {
		if p.frames[r.tap] != 0 || p.judged || p.pieces > maxCuts {
			continue
		}
		o := p.any()
		if m.survey.sameTS && o.segment.Options.TSVal != r.segment.Options.TSVal {
			continue
		}
		begin, end := o.octets()
		if !begin.Before(to) || !from.Before(end) {
			continue
		}
		if _, ok := m.fits(p, r); !ok {
			continue
		}
		if first := tcp.Later(begin, from); best == nil || first.Before(at) {
			best, at = p, first
		}
	}
	return best, at
}

// cutPacket cuts a packet, and returns what is behind.
func (m *merger) cutPacket(p *packet, at tcp.Seq) *packet {
	if p.indexed[exact] {
		m.exact.remove(p)
	}
	p.pieces++
	var behind *packet
	for _, r := range p.at {
		if r == nil {
			continue
		}
		rest := m.cutRecord(r, at)
		if behind == nil {
			behind = m.newPacket(rest, p.conn, p.dir)
		} else {
			m.put(behind, rest)
		}
	}
	behind.place, behind.alike, behind.pieces = p.place, p.alike, p.pieces
	p.conn.addOpen(behind)
	return behind
}

// cutRecord cuts a record, and returns what is behind: the next of its tap.
func (m *merger) cutRecord(r *record, at tcp.Seq) *record {
	rest := m.newRecord(&m.queues[r.tap])
	rest.segment, rest.at, rest.within, rest.ack = r.segment, r.at, r.within, r.ack
	rest.tap, rest.low, rest.flow = r.tap, r.low, r.flow
	rest.next, r.next = r.next, rest
	if q := &m.queues[r.tap]; q.tail == r {
		q.tail = rest
	}
	m.waiting++
	from, _ := r.octets()
	n := at.Minus(from)
	r.segment.Data = n
	r.segment.Flags &^= tcp.FIN | tcp.PSH
	r.segment.Payload = 0
	rest.segment.Data -= n
	rest.segment.Flags &^= tcp.SYN | tcp.CWR
	rest.segment.Seq += at - r.seq
	rest.seq = at
	rest.segment.Payload = 0
	return rest
}
