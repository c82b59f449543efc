package taps

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// MaxConns is how many connections are known at a time, and maxIdle for how long one
	// is known of which nothing comes. One takes about 2 KB.
	MaxConns = 1 << 16
	maxIdle  = 15 * time.Minute

	// maxClosed is for how long one is known that was closed: longer than its last
	// packets are on their way.
	maxClosed = 12 * time.Second

	// maxSuspects is how many packets of one direction wait at a time for what shows
	// that their alleged sender did not send them.
	maxSuspects = 16
)

// A tuple is the addresses and ports of a connection, the lower end first.
type tuple struct {
	loA, loB, hiA, hiB uint64
	ports              uint32
}

// tupleOf returns the tuple of a segment, and whether it comes from the lower end.
func tupleOf(s *tcp.Segment) (t tuple, low bool) {
	srcA, srcB := words(s.Src.Addr())
	dstA, dstB := words(s.Dst.Addr())
	sp, dp := uint32(s.Src.Port()), uint32(s.Dst.Port())
	low = srcA < dstA || srcA == dstA && (srcB < dstB || srcB == dstB && sp <= dp)
	if low {
		return tuple{srcA, srcB, dstA, dstB, sp<<16 | dp}, true
	}
	return tuple{dstA, dstB, srcA, srcB, dp<<16 | sp}, false
}

// hash returns a hash of it.
func (t *tuple) hash() uint64 {
	return mix(mix(t.loA^c0, t.loB^c1)^mix(t.hiA^c1, t.hiB^c2), uint64(t.ports)^c0)
}

// The directions of a connection.
const (
	fromClient = 0
	fromServer = 1
)

// An entry is what the taps have with the same addresses and ports.
type entry struct {
	tuple tuple
	flows [maxTaps]*flow
}

// A flow is a connection as one tap has it.
type flow struct {
	tap       int
	entry     *entry
	ends      [2]netip.AddrPort // the client and the server
	clientLow bool              // the client is the lower end of the tuple
	conn      *conn
	sides     [2]side // by direction
}

// A side is what one tap has of one direction.
type side struct {
	cover     cover   // in the numbers of the connection
	before    *cover  // of the connection before, with the same addresses and ports; nil: there was none
	delta     tcp.Seq // what those are more than the tap's
	sure      bool    // delta is known, as some packet was found at another tap
	packets   int
	acks      bool  // its sender acknowledges something: it heard the other end
	ttl       uint8 // of the newest that left its sender, as other taps show
	ttlKnown  bool
	hasTS     bool     // it has timestamps
	signed    bool     // it is signed
	withoutID int      // of those before, that are no SYN, so many have no IP identification; below 0: some have
	again     tcp.Seq  // the first of the octets that were newest sent again
	againAt   tcp.Time // when they were
	newest    uint64   // the key of the newest record of which there was none alike
	newestAt  tcp.Time // when it was
	suspects  []*packet
	highest   uint32    // of those that came, the place in the order in which they left
	recent    [8]uint32 // the places of the newest
	came      uint32    // how many did
}

// A conn is a connection, at whichever taps it is.
type conn struct {
	salt     uint64 // of its keys
	flows    [maxTaps]*flow
	taps     int               // that have it
	away     bool              // its client is at the beginning of the path
	opened   bool              // the client is known by a SYN
	named    bool              // names are final
	names    [2]netip.AddrPort // of the client and the server
	namer    *flow             // that they are of
	numbered [2]bool           // the numbers of a direction are final
	deltas   [2]tcp.Seq        // what those of the connection are more
	left     [2]uint32         // packets that left their sender, by direction
	delay    [2]time.Duration  // of the newest that was followed, from one outer tap to the other
	timed    [2]bool           // there is one
	answered [2]bool           // the receiver acknowledged something that the sender sent
	shifts   int               // times that its numbers turned out to be changed
	matched  int               // records that were found to be of a packet of another tap
	maxMSS   uint16            // the larger that a SYN has; 0: not known
	big      [2]bool           // some records have more octets than a wire carries in one segment
	open     [2][]*packet      // of such a direction: those with octets that wait
	way      [1]connWay        // room for the only one
	own      [2]flow           // and for the first flows
	entry    entry             // and for what it is found by at the first tap
	closed   uint8             // bits: the client sent FIN, the server did, one of them RST
	ways     []connWay         // what happened to its packets between neighbours

	older, newer *conn    // in the order of use
	used, placed tcp.Time // when it was, and when it was put in that order
	pending      int      // packets that wait
	gone         bool
	joined       *conn // that it turned out to be, which has its flows
	turned       bool  // with the client as the server
}

// conns finds connections by what taps have of them.
type conns struct {
	entries        map[tuple]*entry
	survey         *survey
	taps           int
	cache          [cached]*entry // found not long ago
	oldest, newest *conn
	n              int
	free           []*conn       // to be used again
	forgot         func(c *conn) // is told of each that is forgotten
	dropped        int           // that were forgotten for others
}

// cached is how many entries are found without the map.
const cached = 1 << 9

// placeIn returns where in the cache an entry is.
func (t *conns) placeIn(k *tuple) **entry {
	return &t.cache[(k.ports*0x9e3779b1>>16^uint32(k.loB)^uint32(k.hiB)*31)%cached]
}

// of returns the flow of a segment and its direction.
func (t *conns) of(s *tcp.Segment, tap int, at tcp.Time) (*flow, int) {
	key, low := tupleOf(s)
	place := t.placeIn(&key)
	e := *place
	if e == nil || e.tuple != key {
		if e = t.entries[key]; e != nil {
			*place = e
		}
	}
	var f *flow
	if e != nil {
		f = e.flows[tap]
	}
	if f == nil {
		f = t.add(s, tap, e, &key, low, at)
		*place = f.entry
		t.expire(at)
	}
	f.conn.used = at
	if low == f.clientLow {
		return f, fromClient
	}
	return f, fromServer
}

// add adds a flow: to the connection with the same addresses and ports at another tap, or to
// one of its own. e is what other taps have of them; nil: nothing.
func (t *conns) add(s *tcp.Segment, tap int, e *entry, key *tuple, low bool, at tcp.Time) *flow {
	if e != nil {
		for _, g := range e.flows[:t.taps] {
			if g != nil && g.conn.flows[tap] == nil {
				return g.conn.add(tap, e, &g.ends, g.clientLow)
			}
		}
	}
	c := t.newConn()
	c.salt = key.hash()
	if e == nil {
		e = &c.entry
		e.tuple = *key
		t.entries[*key] = e
	}
	client := s.Src.Port() > s.Dst.Port()
	if s.Flags&tcp.SYN != 0 && s.ICMP.Type == 0 {
		client, c.opened = s.Flags&tcp.ACK == 0, true
	}
	ends := [2]netip.AddrPort{s.Src, s.Dst}
	if !client {
		ends[0], ends[1] = ends[1], ends[0]
	}
	away, known := t.survey.away(tap, ends[0].Addr(), ends[1].Addr())
	c.away = away || !known
	t.n++
	t.use(c, at)
	return c.add(tap, e, &ends, low == client)
}

// add adds the flow of a tap to a connection.
func (c *conn) add(tap int, e *entry, ends *[2]netip.AddrPort, clientLow bool) *flow {
	var f *flow
	if c.taps < len(c.own) {
		f = &c.own[c.taps]
	} else {
		f = new(flow)
	}
	f.tap, f.entry, f.ends, f.clientLow, f.conn = tap, e, *ends, clientLow, c
	c.flows[tap], e.flows[tap] = f, f
	c.taps++
	return f
}

// newConn returns a connection of which nothing is set.
func (t *conns) newConn() *conn {
	n := len(t.free)
	if n == 0 {
		return new(conn)
	}
	c := t.free[n-1]
	t.free = t.free[:n-1]
	*c = conn{}
	return c
}

// turn makes the client of a flow its server.
func (f *flow) turn() {
	f.clientLow = !f.clientLow
	f.ends[0], f.ends[1] = f.ends[1], f.ends[0]
	f.sides[0], f.sides[1] = f.sides[1], f.sides[0]
}

// join makes the flows of another connection, which are at other taps, those of this.
func (t *conns) join(c, old *conn, turned bool) {
	for tap, f := range old.flows {
		if f == nil {
			continue
		}
		if turned {
			f.turn()
		}
		f.conn, c.flows[tap], old.flows[tap] = c, f, nil
		c.taps++
	}
	c.opened = c.opened || old.opened
	old.gone, old.joined, old.turned = true, c, turned
	t.unlink(old)
	t.n--
}

// renew begins a new connection with a flow's addresses and ports. The old keeps what it
// has.
func (c *conn) renew(f *flow) *flow {
	return c.add(f.tap, f.entry, &f.ends, f.clientLow)
}

// use adds a connection to the order of use, or says that it was used.
func (t *conns) use(c *conn, at tcp.Time) {
	c.used, c.placed = at, at
	t.unlink(c)
	if c.older = t.newest; c.older != nil {
		c.older.newer = c
	} else {
		t.oldest = c
	}
	t.newest = c
}

// expire forgets connections that are idle, and the oldest if there are too many. What
// was used since it was put in the order is put there again: putting all there whenever
// they are used took as long as finding them.
func (t *conns) expire(now tcp.Time) {
	for c := t.oldest; c != nil; c = t.oldest {
		idle := c.pending == 0 && (now.Sub(c.used) > maxIdle || c.closed > 2 && now.Sub(c.used) > maxClosed)
		switch {
		case c.used != c.placed:
			t.use(c, c.used)
		case idle || t.n > MaxConns:
			if !idle {
				t.dropped++
			}
			t.forget(c)
		default:
			return
		}
	}
}

// unlink takes a connection out of the order of use.
func (t *conns) unlink(c *conn) {
	if c.newer != nil {
		c.newer.older = c.older
	} else if t.newest == c {
		t.newest = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else if t.oldest == c {
		t.oldest = c.newer
	}
	c.older, c.newer = nil, nil
}

// forget forgets a connection. Records of it that wait keep what they need.
func (t *conns) forget(c *conn) {
	t.unlink(c)
	for tap, f := range c.flows {
		if f == nil || f.entry.flows[tap] != f {
			continue
		}
		e := f.entry
		if e.flows[tap] = nil; e.flows != [maxTaps]*flow{} {
			continue
		}
		delete(t.entries, e.tuple)
		if place := t.placeIn(&e.tuple); *place == e {
			*place = nil
		}
	}
	c.gone = true
	t.n--
	t.forgot(c)
	if c.pending == 0 && c.entry.flows == [maxTaps]*flow{} { // nothing has it any more
		t.free = append(t.free, c)
	}
}

// tapAt returns the tap at a place on the way of a direction.
func (t *conns) tapAt(c *conn, dir, place int) int {
	if c.away == (dir == fromClient) {
		return t.survey.order[place]
	}
	return t.survey.order[t.taps-1-place]
}

// placeOf returns at which place on the way of a direction a tap lies.
func (t *conns) placeOf(c *conn, dir, tap int) int {
	if at := t.survey.place[tap]; c.away != (dir == fromClient) {
		return t.taps - 1 - at
	} else {
		return at
	}
}

// number makes the numbers of a direction final: those at the tap that the names are of,
// as far as they are known there.
func (c *conn) number(dir int) tcp.Seq {
	if !c.numbered[dir] {
		c.numbered[dir], c.deltas[dir] = true, c.namer.sides[dir].delta
	}
	return c.deltas[dir]
}

// name makes the names of a connection final: those at the tap next to its client.
func (t *conns) name(c *conn) {
	c.named = true
	for i := range t.taps {
		tap := i // of one that nobody opened the first tap's
		if c.opened {
			tap = t.tapAt(c, fromClient, i)
		}
		if f := c.flows[tap]; f != nil {
			c.names, c.namer = f.ends, f
			return
		}
	}
}
