package taps

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A record is a packet as one capture has it.
type record struct {
	segment tcp.Segment
	at      tcp.Time // by the common clock, not before that of the record before
	tap     int
	flow    *flow
	packet  *packet
	next    *record // of the same tap
	out     bool    // it was handed out
}

// A packet is what passed, or was to pass, all taps.
type packet struct {
	key     uint64
	conn    *conn
	dir     int
	at      [maxTaps]*record // that wait
	frames  [maxTaps]uint32  // 0: it is not there
	n       int              // taps that have it
	waiting int              // records that are in their queues
	first   tcp.Time
	chain   *packet // others in the same place of the index
	indexed bool

	alike        bool // there was one before it that is the same
	contradicted bool // its alleged sender did not send it
	suspect      bool
	place        uint32 // in the order in which those of its direction left
	overtaken    int

	judged       bool
	number       int
	leg          tcp.Leg
	twin         tcp.Twin
	sent, neared *record // which hand out its events
}

// numRecent is how many keys of packets are remembered, to tell copies.
const numRecent = 1 << 15

// An index finds packets by what their records have in common.
type index struct {
	places []*packet
	n      int
	recent [numRecent]uint64
}

func newIndex() *index { return &index{places: make([]*packet, 1<<10)} }

// at returns the first packet with the key, or with another that is in its place.
func (x *index) at(key uint64) *packet { return x.places[key&uint64(len(x.places)-1)] }

// add adds a packet.
func (x *index) add(p *packet) {
	if x.n++; x.n > len(x.places) {
		x.grow()
	}
	place := &x.places[p.key&uint64(len(x.places)-1)]
	p.chain, p.indexed = *place, true
	*place = p
}

func (x *index) grow() {
	old := x.places
	x.places = make([]*packet, 4*len(old))
	for _, p := range old {
		for p != nil {
			next := p.chain
			place := &x.places[p.key&uint64(len(x.places)-1)]
			p.chain = *place
			*place = p
			p = next
		}
	}
}

// remove removes a packet, and remembers its key.
func (x *index) remove(p *packet) {
	x.recent[p.key>>32%numRecent] = p.key
	for at := &x.places[p.key&uint64(len(x.places)-1)]; *at != nil; at = &(*at).chain {
		if *at == p {
			*at = p.chain
			break
		}
	}
	p.chain, p.indexed = nil, false
	x.n--
}

// was reports whether there was a packet with the key not long ago.
func (x *index) was(key uint64) bool { return x.recent[key>>32%numRecent] == key }

// maxChain is how many packets are compared with one, at most.
const maxChain = 64

// key returns what all records of a packet have in common.
func (m *merger) key(s *tcp.Segment) uint64 {
	h := content(s)
	if m.survey.sameID {
		h += uint64(s.ID) * c0
	}
	if m.survey.sameTS && s.Options.HasTS {
		h = mix(h^c1, uint64(s.Options.TSVal)<<32|uint64(s.Options.TSEcr)^c2)
	}
	return h
}

// match finds out which packet a record is of.
func (m *merger) match(r *record) {
	s := &r.segment
	f, dir := m.conns.of(s, r.tap, r.at)
	r.flow = f
	if s.ICMP.Type != 0 {
		m.newPacket(r, f.conn, dir, 0)
		return
	}
	bare := m.key(s)
	best, alike := m.find(r, f, dir, bare)
	if best == nil {
		key := bare
		if !m.survey.nat {
			key ^= f.conn.salt
		}
		best = m.newPacket(r, f.conn, dir, key)
		best.alike = alike || m.index.was(key)
		m.index.add(best)
	} else {
		if best.conn != f.conn {
			m.adopt(best, f, dir)
		}
		m.put(best, r)
	}
	m.follow(r, best)
}

// find finds the packet that a record is of among those that wait, and whether there is
// one that is the same, but that this tap has already.
func (m *merger) find(r *record, f *flow, dir int, key uint64) (best *packet, alike bool) {
	if !m.survey.nat {
		key ^= f.conn.salt
	}
	var off time.Duration
	looked := 0
	for p := m.index.at(key); p != nil && looked < maxChain; p = p.chain {
		if p.key != key {
			continue
		}
		looked++
		if !m.sameConn(p, f, dir) || p.key == 0 {
			continue
		}
		if p.frames[r.tap] != 0 || p.judged {
			alike = true
			continue
		}
		d, ok := m.fits(p, r)
		if ok && (best == nil || d < off) {
			best, off = p, d
		}
	}
	return best, alike
}

// sameConn reports whether a packet is of the connection of a flow, or of one that may
// turn out to be it.
func (m *merger) sameConn(p *packet, f *flow, dir int) bool {
	if p.conn == f.conn {
		return p.dir == dir
	}
	return f.conn.lone && p.conn.flows[f.tuple.tap] == nil && !f.conn.gone && !p.conn.gone
}

// adopt makes a flow that turned out to be of a packet's connection one of it, with all
// of its records that wait. dir is what it takes the direction of the packet for.
func (m *merger) adopt(p *packet, f *flow, dir int) {
	old, turn := f.conn, dir != p.dir
	if turn {
		f.clientLow = !f.clientLow
		f.ends[0], f.ends[1] = f.ends[1], f.ends[0]
		f.sides[0], f.sides[1] = f.sides[1], f.sides[0]
	}
	m.conns.join(p.conn, f)
	if old.pending == 0 && p.conn.pending == 1 {
		return
	}
	p.conn.pending += old.pending
	old.pending = 0
	for i := range m.queues {
		for r := m.queues[i].head; r != nil && r.packet != nil; r = r.next {
			q := r.packet
			if q.conn == old {
				if q.conn = p.conn; turn {
					q.dir = 1 - q.dir
				}
			}
			if q.conn == p.conn && q.n == 1 && q.key != 0 && !q.suspect {
				m.suspect(q, m.conns.place(q, i))
			}
		}
	}
}

// fits reports whether a record may be of a packet, by the times at which other taps
// had it, and how far it is off from what is usual.
func (m *merger) fits(p *packet, r *record) (off time.Duration, ok bool) {
	mine := m.conns.place(p, r.tap)
	for tap, o := range p.at[:m.taps] {
		if o == nil {
			continue
		}
		d := r.at.Sub(o.at)
		other := m.conns.place(p, tap)
		if other > mine {
			d = -d
		}
		if d < -m.slack || d > m.window {
			return 0, false
		}
		usual := m.usual
		if p.conn.timed[p.dir] {
			usual = p.conn.delay[p.dir]
		}
		off = (d - usual).Abs()
	}
	return off, true
}

// place returns where on the way of a packet a tap lies.
func (t *conns) place(p *packet, tap int) int {
	if at := t.survey.place[tap]; p.conn.away == (p.dir == fromClient) {
		return at
	} else {
		return t.taps - 1 - at
	}
}

// newPacket makes a packet of which a record is the first.
func (m *merger) newPacket(r *record, c *conn, dir int, key uint64) *packet {
	p := m.freePackets
	if p == nil {
		p = new(packet)
	} else {
		m.freePackets = p.chain
		*p = packet{}
	}
	p.key, p.conn, p.dir, p.first = key, c, dir, r.at
	c.pending++
	m.put(p, r)
	return p
}

// put makes a record one of a packet.
func (m *merger) put(p *packet, r *record) {
	p.at[r.tap], p.frames[r.tap], r.packet = r, uint32(r.segment.Packet), p
	p.n++
	p.waiting++
	p.first = min(p.first, r.at)
}

// follow takes in what a record shows of its direction, and of the other.
func (m *merger) follow(r *record, p *packet) {
	s, f := &r.segment, r.flow
	sd := &f.sides[p.dir]
	sd.packets++
	at := m.conns.place(p, r.tap)
	if at == 0 {
		p.conn.left[p.dir]++
		p.place = p.conn.left[p.dir]
	} else if p.n == 1 {
		m.suspect(p, at)
	}
	if p.n == m.taps {
		m.complete(p)
	}
	from, to := s.Seq, s.End()
	next := false
	switch {
	case s.Flags&tcp.RST != 0:
	case s.Flags&tcp.SYN != 0:
		if at == 0 || p.n > 1 || !sd.cover.any {
			sd.cover.reset(to)
		}
	case at == 0 || p.n > 1 || sd.cover.any && from.In(sd.cover.max-1<<20, sd.cover.max+1<<20):
		next = sd.cover.add(from, to)
	}
	if s.Flags&(tcp.ACK|tcp.RST) == tcp.ACK {
		m.acknowledge(p, s.Ack)
	}
	if len(sd.suspects) > 0 {
		sd.contradict(r, next)
	}
}

// acknowledge takes in an acknowledgment. What no tap has was not sent.
func (m *merger) acknowledge(p *packet, ack tcp.Seq) {
	sent := false
	for _, f := range p.conn.flows[:m.taps] {
		sent = sent || f != nil && f.sides[1-p.dir].cover.any && ack.AtMost(f.sides[1-p.dir].cover.max)
	}
	if !sent {
		return
	}
	p.conn.answered[1-p.dir] = true
	for tap, f := range p.conn.flows[:m.taps] {
		if f != nil && f.sides[1-p.dir].cover.ack(ack) {
			m.missed[tap]++
		}
	}
}

// complete takes in that all taps have a packet.
func (m *merger) complete(p *packet) {
	c, last := p.conn, m.conns.path(p.conn, p.dir, m.taps-1)
	sent, came := p.at[m.conns.path(c, p.dir, 0)], p.at[last]
	c.delay[p.dir], c.timed[p.dir] = came.at.Sub(sent.at), true
	sd := &came.flow.sides[p.dir]
	sd.ttl, sd.ttlKnown = came.segment.TTL, true
	sd.withID = sd.withID || came.segment.ID != 0
	for _, place := range sd.recent {
		if place > p.place {
			p.overtaken++
		}
	}
	copy(sd.recent[1:], sd.recent[:])
	sd.recent[0] = p.place
}

// suspect watches whether the alleged sender of a packet goes on as one that did not
// send it.
func (m *merger) suspect(p *packet, at int) {
	if at == 0 {
		return
	}
	f := p.conn.flows[m.conns.path(p.conn, p.dir, at-1)]
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
// suspects. next says that its octets are new, and in sequence.
func (d *side) contradict(r *record, next bool) {
	s := &r.segment
	for _, q := range d.suspects {
		if q.at[r.tap] != nil || r.at < q.first || s.Flags&tcp.RST != 0 {
			continue
		}
		var o *tcp.Segment
		for _, at := range q.at {
			if at != nil {
				o = &at.segment
				break
			}
		}
		switch {
		case o.Flags&tcp.RST != 0:
			q.contradicted = true
		case o.Flags&tcp.SYN != 0:
			q.contradicted = q.contradicted || s.Flags&tcp.SYN == 0 && !s.Seq.In(o.Seq, o.Seq+1<<17)
		case next && o.Seq.AtMost(s.Seq) && s.Seq.Before(o.End()):
			q.contradicted = q.contradicted || s.Data != o.Data || (s.Flags^o.Flags)&tcp.FIN != 0
		case next && s.Seq.Before(o.Seq) && s.Len() > 0:
			q.contradicted = true
		}
	}
}
