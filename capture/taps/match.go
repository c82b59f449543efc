package taps

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A record is a packet as one capture has it.
type record struct {
	segment  tcp.Segment
	at       tcp.Time // by the common clock, not before that of the record before
	seq, ack tcp.Seq  // in the numbers of the connection
	tap      int
	within   time.Duration // at is wrong by no more
	low      bool          // it comes from the lower end of the tuple
	out      bool          // it was handed out
	flow     *flow
	packet   *packet
	next     *record // of the same tap
	slab     *slab   // that it lies in
	uses     int     // that are made of it: in the queue, and of its packet
	own      packet  // of which it is the first; or not in use
}

// end returns the number behind the last, in the numbers of the connection.
func (r *record) end() tcp.Seq { return r.seq.Add(r.segment.Len()) }

// A packet is what passed, or was to pass, all taps.
type packet struct {
	keys    [2]uint64 // in the indexes
	home    *record   // that it lies in
	conn    *conn
	first   tcp.Time
	dir     int
	n       int      // taps that have it
	waiting int      // records that are in their queues
	pieces  int      // that it was cut into
	indexed [2]bool  // it is in the index
	judged  bool     // it is known what became of it
	fate    tcp.Fate // if it is judged
	leg     tcp.Leg
	between [2]uint8 // of the Twin
	isError bool     // it is an ICMP error
	isOpen  bool     // it is in conn.open
	alike   bool     // there was one before it that is the same
	twice   bool     // and so soon before that it may be one record more of that
	suspect bool     // it is watched whether its alleged sender sent it
	denied  bool     // and that did not
	hasTS   bool     // its events have the timestamps below
	number  int

	sent, neared *record // which hand out its events
	at           [maxTaps]*record
	frames       [maxTaps]uint32 // 0: it is not there

	older, newer [2]*packet // with the same key in the indexes
	place        uint32     // in the order in which those of its direction left
	overtaken    int
	within       time.Duration
	tsVal, tsEcr uint32
}

const (
	// maxChain is how many packets are compared with one, at most.
	maxChain = 64

	// maxShifts is how often the records of a connection that wait are matched again since
	// its numbers turned out to be changed.
	maxShifts = 16

	// promptly is how soon after a packet a second record of it is made. No timer
	// repeats one that fast.
	promptly = 500 * time.Microsecond
)

// match finds out which packet a record is of.
func (m *merger) match(r *record) {
	f, dir := m.conns.of(&r.segment, r.tap, r.at)
	r.flow, r.low = f, f.clientLow == (dir == fromClient)
	if r.segment.ICMP.Type != 0 {
		p := m.newPacket(r, f.conn, dir)
		p.isError = true
		m.number(r, dir)
		return
	}
	m.place(r, dir)
}

// number gives a record the numbers of its connection.
func (m *merger) number(r *record, dir int) {
	r.seq = r.segment.Seq + r.flow.sides[dir].delta
	r.ack = r.segment.Ack + r.flow.sides[1-dir].delta
}

// place finds out which packet a record is of, and takes in what that shows.
func (m *merger) place(r *record, dir int) {
	m.number(r, dir)
	c, s := r.flow.conn, &r.segment
	key := m.key(r)
	p, alike := m.find(r, dir, exact, key)
	twice := m.isTwice(r, dir, key, alike)
	if twice {
		m.twice[r.tap]++
	}
	shifted := false
	if p == nil {
		p, shifted = m.findLoose(r, dir)
	}
	if p != nil && p.conn != c {
		m.unite(p, r, dir)
		return
	}
	if s.Flags&tcp.SYN != 0 {
		c.maxMSS = max(c.maxMSS, s.Options.MSS)
	}
	if s.Data > c.mss() && !c.big[dir] {
		m.becomeBig(c, dir)
	}
	if p == nil && c.big[dir] && s.Data > 0 && m.cut(r, dir) {
		return
	}
	if p == nil {
		p = m.newPacket(r, c, dir)
		p.alike, p.twice = alike != nil, twice
		m.addToIndexes(p, r, key)
	} else {
		c.matched++
		m.put(p, r)
	}
	m.follow(r, p)
	if shifted && c.pending > 1 && c.shifts < maxShifts {
		c.shifts++
		for _, o := range m.dissolve(func(o *record) bool { return o.flow == r.flow && o.packet.n == 1 }) {
			m.place(o, o.dir())
		}
	}
}

// isTwice reports whether a record may be one more of a packet that its tap has: of one
// that waits and is the same, or of the newest of its direction. Without an IP
// identification duplicate acknowledgments are all the same, unless the capture has most
// packets twice.
func (m *merger) isTwice(r *record, dir int, key uint64, alike *packet) bool {
	sd := &r.flow.sides[dir]
	prompt := sd.newest == key && r.at.Sub(sd.newestAt) < promptly
	if alike != nil && alike.at[r.tap] != nil {
		prompt = prompt || r.at.Sub(alike.at[r.tap].at) < promptly
	}
	if !prompt {
		sd.newest, sd.newestAt = key, r.at
		return false
	}
	return r.segment.ID != 0 || r.segment.Len() > 0 || m.recordsTwice(r.tap)
}

// addToIndexes has a packet found by those of its records that come.
func (m *merger) addToIndexes(p *packet, r *record, key uint64) {
	p.keys[exact] = key
	m.exact.add(p)
	if key, ok := m.looseKey(r, p.dir); ok {
		p.keys[loose] = key
		m.loose.add(p)
	}
	if c := p.conn; c.big[p.dir] && r.segment.Data > 0 {
		c.addOpen(p)
	}
}

// key returns what all records of a packet have in common.
func (m *merger) key(r *record) uint64 {
	s := &r.segment
	if s.Flags&tcp.ACK == 0 {
		return m.keyOf(r, content(s, r.seq, s.Ack))
	}
	return m.keyOf(r, content(s, r.seq, r.ack))
}

// keyOf adds to a hash of numbers what else records of a packet have in common.
func (m *merger) keyOf(r *record, h uint64) uint64 {
	s := &r.segment
	if m.survey.sameID {
		h += uint64(s.ID) * c0
	}
	if m.survey.sameTS && s.Options.HasTS {
		h = mix(h^c1, uint64(s.Options.TSVal)<<32|uint64(s.Options.TSEcr)^c2)
	}
	if !m.survey.nat {
		h ^= r.flow.conn.salt
	}
	return h
}

// looseKey returns what a firewall that changes sequence numbers leaves, of segments
// from which it can be learned by how much.
func (m *merger) looseKey(r *record, dir int) (key uint64, ok bool) {
	s, sides := &r.segment, &r.flow.sides
	switch {
	case s.Flags&tcp.RST != 0:
		return 0, false
	case s.Flags&tcp.SYN != 0:
	case sides[dir].sure && !sides[1-dir].sure && s.Flags&tcp.ACK != 0 && (s.Options.HasTS || s.ID != 0 || s.Len() > 0):
		return m.keyOf(r, content(s, r.seq, 0)), true // only its acknowledgment may be changed
	case m.survey.look != byStamps || sides[dir].sure:
		return 0, false
	}
	key, enough := stamps(s)
	if enough && m.survey.sameID && m.survey.sameTS && (s.Options.HasTS || s.Flags&tcp.SYN != 0) {
		if !m.survey.nat {
			key ^= r.flow.conn.salt
		}
		return key, true
	}
	if s.Flags&tcp.SYN == 0 {
		return 0, false
	}
	return mix(uint64(s.Wnd)<<32|uint64(s.Flags&unchanged)<<8|uint64(s.Options.Shift), s.Options.Order^c0) ^ r.flow.conn.salt, true
}

// find finds the packet that a record is of among those that wait, and one that is the
// same but that its tap has already.
func (m *merger) find(r *record, dir, by int, key uint64) (best, alike *packet) {
	x := &m.exact
	if by == loose {
		x = &m.loose
	}
	var off time.Duration
	looked := 0
	for p := x.at(key); p != nil && looked < maxChain; p = p.newer[by] {
		looked++
		same := p.conn == r.flow.conn
		if same && p.dir != dir || !same && !m.mayBeOne(p, r) {
			continue
		}
		if p.frames[r.tap] != 0 || p.judged {
			if same {
				alike = p
			}
			continue
		}
		d, ok := m.fits(p, r)
		if p.twice {
			d += promptly // of two records of one packet the first counts
		}
		if ok && (best == nil || d < off) {
			best, off = p, d
		}
	}
	return best, alike
}

// findLoose finds the packet of a record whose sequence numbers were changed, and learns
// by how much. It reports whether that is news.
func (m *merger) findLoose(r *record, dir int) (p *packet, shifted bool) {
	key, ok := m.looseKey(r, dir)
	if !ok {
		return nil, false
	}
	if p, _ = m.find(r, dir, loose, key); p == nil {
		return nil, false
	}
	var o *record
	for _, at := range p.at {
		if at != nil {
			o = at
			break
		}
	}
	sides := &r.flow.sides
	shifted = sides[dir].shift(o.seq - r.seq)
	sides[dir].sure = true
	if r.segment.Flags&tcp.ACK != 0 {
		shifted = sides[1-dir].shift(o.ack-r.ack) || shifted
		sides[1-dir].sure = true
	}
	m.number(r, dir)
	return p, shifted
}

// shift makes the numbers of the connection so much more than they were. It reports
// whether that is more than nothing.
func (d *side) shift(by tcp.Seq) bool {
	if by == 0 {
		return false
	}
	d.delta += by
	c := &d.cover
	c.max, c.acked = c.max+by, c.acked+by
	for i := range c.holes {
		c.holes[i].from += by
		c.holes[i].to += by
	}
	return true
}

// fits reports whether a record may be of a packet, by the times at which other taps
// had it, and how far it is off from what is usual.
func (m *merger) fits(p *packet, r *record) (off time.Duration, ok bool) {
	c := p.conn
	mine := m.conns.placeOf(c, p.dir, r.tap)
	for tap, o := range p.at[:m.taps] {
		if o == nil {
			continue
		}
		d := r.at.Sub(o.at)
		if m.conns.placeOf(c, p.dir, tap) > mine {
			d = -d
		}
		if d < -m.slack || d > m.window {
			return 0, false
		}
		usual := time.Duration(0)
		if c.timed[p.dir] {
			usual = c.delay[p.dir]
		}
		off = (d - usual).Abs()
	}
	return off, true
}

// newPacket makes a packet of which a record is the first. It lies in the record.
func (m *merger) newPacket(r *record, c *conn, dir int) *packet {
	p := &r.own
	at, frames := p.at, p.frames
	clear(at[:m.taps])
	clear(frames[:m.taps])
	*p = packet{at: at, frames: frames, home: r, conn: c, dir: dir, first: r.at}
	r.uses++
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

// remove takes a packet out of all in which it is found.
func (m *merger) remove(p *packet) {
	if p.indexed[exact] {
		m.exact.remove(p)
	}
	if p.indexed[loose] {
		m.loose.remove(p)
	}
	if p.isOpen {
		p.conn.removeOpen(p)
	}
	if p.suspect {
		m.unsuspect(p)
	}
}

// free frees a packet whose records were handed out.
func (m *merger) free(p *packet) {
	m.remove(p)
	p.conn.pending--
	p.conn, p.sent, p.neared = nil, nil, nil
	m.unuse(p.home)
}
