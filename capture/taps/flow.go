package taps

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// maxConns is how many connections are known at a time.
	maxConns = 1 << 16

	// maxSuspects is how many packets of one direction wait at a time for what shows
	// that their alleged sender did not send them.
	maxSuspects = 16
)

// A tuple is the addresses and ports of a connection as one tap has them, the lower
// end first.
type tuple struct {
	loA, loB, hiA, hiB uint64
	ports              uint32
	tap                uint8
}

// tupleOf returns the tuple of a segment, and whether it comes from the lower end.
func tupleOf(s *tcp.Segment, tap int) (t tuple, low bool) {
	srcA, srcB := words(s.Src.Addr())
	dstA, dstB := words(s.Dst.Addr())
	sp, dp := uint32(s.Src.Port()), uint32(s.Dst.Port())
	low = srcA < dstA || srcA == dstA && (srcB < dstB || srcB == dstB && sp <= dp)
	if low {
		return tuple{srcA, srcB, dstA, dstB, sp<<16 | dp, uint8(tap)}, true
	}
	return tuple{dstA, dstB, srcA, srcB, dp<<16 | sp, uint8(tap)}, false
}

// hash returns a number that is the same for the tuple at every tap.
func (t *tuple) hash() uint64 {
	return mix(mix(t.loA^c0, t.loB^c1)^mix(t.hiA^c1, t.hiB^c2), uint64(t.ports)^c0)
}

// The directions of a connection.
const (
	fromClient = 0
	fromServer = 1
)

// A flow is a connection as one tap has it.
type flow struct {
	tuple     tuple
	ends      [2]netip.AddrPort // the client and the server
	clientLow bool              // the client is the lower end of the tuple
	conn      *conn
	sides     [2]side // by direction
}

// A side is what one tap has of one direction.
type side struct {
	cover    cover
	packets  int
	ttl      uint8 // of the newest that left its sender, as other taps show
	ttlKnown bool
	withID   bool // of those some have an IP identification
	suspects []*packet
	recent   [8]uint32 // the newest that came, by their places in the order in which they left
}

// A conn is a connection, at whichever taps it is.
type conn struct {
	salt     uint64 // of its keys
	flows    [maxTaps]*flow
	lone     bool              // it is at one tap only, as far as is known
	away     bool              // its client is at the beginning of the path
	opened   bool              // the client is known by a SYN
	named    bool              // names are final
	names    [2]netip.AddrPort // of the client and the server
	left     [2]uint32         // packets that left their sender, by direction
	delay    [2]time.Duration  // of the newest that was followed, from one outer tap to the other
	timed    [2]bool           // there is one
	answered [2]bool           // the receiver acknowledged something that the sender sent
	index    int               // in the list of the worst; see Between

	older, newer *conn // in the order of use
	used         tcp.Time
	pending      int // packets that wait
	gone         bool
}

// conns finds connections by what taps have of them.
type conns struct {
	flows          map[tuple]*flow
	survey         *survey
	taps           int
	oldest, newest *conn
	n              int
}

// of returns the flow of a segment and its direction.
func (t *conns) of(s *tcp.Segment, tap int, at tcp.Time) (*flow, int) {
	key, low := tupleOf(s, tap)
	f := t.flows[key]
	if f == nil {
		f = t.add(s, key, low)
	}
	t.use(f.conn, at)
	if low == f.clientLow {
		return f, fromClient
	}
	return f, fromServer
}

// add adds a flow: to the connection with the same addresses and ports at another tap, or to
// one of its own.
func (t *conns) add(s *tcp.Segment, key tuple, low bool) *flow {
	tap := int(key.tap)
	for i := range t.taps {
		other := key
		other.tap = uint8(i)
		if g := t.flows[other]; g != nil && g.conn.flows[tap] == nil {
			f := &flow{tuple: key, ends: g.ends, clientLow: g.clientLow, conn: g.conn}
			t.flows[key] = f
			g.conn.flows[tap], g.conn.lone = f, false
			return f
		}
	}
	c := &conn{salt: key.hash(), lone: true}
	fromClient := s.Src.Port() > s.Dst.Port()
	if s.Flags&tcp.SYN != 0 && s.ICMP.Type == 0 {
		fromClient, c.opened = s.Flags&tcp.ACK == 0, true
	}
	ends := [2]netip.AddrPort{s.Src, s.Dst}
	if !fromClient {
		ends[0], ends[1] = ends[1], ends[0]
	}
	away, known := t.survey.away(tap, ends[0].Addr(), ends[1].Addr())
	c.away = away || !known
	f := &flow{tuple: key, ends: ends, clientLow: low == fromClient, conn: c}
	c.flows[tap] = f
	t.flows[key] = f
	t.n++
	return f
}

// join makes the flow of another connection, which has no other, one of this.
func (t *conns) join(c *conn, f *flow) {
	old := f.conn
	tap := int(f.tuple.tap)
	c.opened = c.opened || old.opened
	old.flows[tap], old.gone = nil, true
	t.unlink(old)
	t.n--
	f.conn, c.flows[tap], c.lone = c, f, false
}

// use says that a connection is used, and forgets the oldest if there are too many.
func (t *conns) use(c *conn, at tcp.Time) {
	c.used = at
	if t.newest == c {
		return
	}
	t.unlink(c)
	if c.older = t.newest; c.older != nil {
		c.older.newer = c
	} else {
		t.oldest = c
	}
	t.newest = c
	for t.n > maxConns && t.oldest != c {
		t.forget(t.oldest)
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
	for _, f := range c.flows {
		if f != nil {
			delete(t.flows, f.tuple)
		}
	}
	c.gone = true
	t.n--
}

// path returns the place on the path of the i-th tap on the way of a direction.
func (t *conns) path(c *conn, dir, i int) int {
	if c.away == (dir == fromClient) {
		return t.survey.order[i]
	}
	return t.survey.order[t.taps-1-i]
}

// name makes the names of a connection final: those at the tap next to its client.
func (t *conns) name(c *conn) {
	c.named = true
	for i := range t.taps {
		tap := i // of one that nobody opened the first tap's
		if c.opened {
			tap = t.path(c, fromClient, i)
		}
		if f := c.flows[tap]; f != nil {
			c.names = f.ends
			return
		}
	}
}
