package tracker

import (
	"cmp"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Where there is no room for a connection more, another is given up, the one
// that is missed least: one that is closed, before a SYN without an answer,
// before one that is open, and among those of a kind the one of which nothing
// was seen for the longest time. The newest SYNs, one in newestSYNs of all, are
// as good as open ones, or else no connection could begin where all are open.
//
// The order is not kept before it is needed: it is made when the limit is first
// reached, and until then costs nothing. Connections that are closed, and SYNs,
// wait in the order in which they became so; the open ones are a heap, keyed by
// a time that is never later than the newest segment, and put right when that
// comes up: their segments do not touch it. A heap for all three cost a flood of
// SYNs 14 %.

// newestSYNs is which part of all connections SYNs without an answer may be
// before they are given up for one that is open.
const newestSYNs = 16

// A worth is how much a connection would be missed.
type worth uint8

const (
	worthClosed worth = iota
	worthSYN          // the handshake waits for an answer, of either end
	worthOpen

	worthBits = 2
)

// worth returns how much the connection would be missed.
func (c *Conn) worth() worth {
	client, server := &c.ends[tcp.Client], &c.ends[tcp.Server]
	switch {
	case client.closed() && server.closed():
		return worthClosed
	case c.provisional(), client.assumed == tcp.SynSent.Set(), server.assumed == tcp.SynReceived.Set():
		return worthSYN
	}
	return worthOpen
}

// An order finds the connection that is missed least. A connection knows its
// place in it: its worth then, plus one, below its place in the line or heap.
type order struct {
	lines [worthOpen]line
	heap  []idler
}

const placeMask = 1<<(32-worthBits) - 1

func (c *Conn) placedAs() worth      { return worth(c.place&(1<<worthBits-1)) - 1 }
func (c *Conn) putAt(w worth, i int) { c.place = uint32(i)<<worthBits | uint32(w+1) }

// newOrder makes the order of the connections.
func newOrder(p *pool) *order {
	var all []idler
	for c := range p.all() {
		all = append(all, idler{c.last(), c})
	}
	slices.SortFunc(all, func(a, b idler) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.conn.id, b.conn.id)) })
	o := new(order)
	for _, x := range all {
		o.put(x.conn)
	}
	return o
}

// put adds a connection, or moves it to those that are missed less where it is
// one of them now.
func (o *order) put(c *Conn) {
	w := c.worth()
	if c.place != 0 {
		if w >= c.placedAs() {
			return // if it is more, that is seen when it comes up
		}
		o.drop(c)
	}
	if w == worthOpen {
		o.heap = append(o.heap, idler{})
		o.rise(len(o.heap)-1, idler{c.last(), c})
	} else {
		c.putAt(w, o.lines[w].join(c, w))
	}
}

// drop takes the connection out.
func (o *order) drop(c *Conn) {
	if c.place == 0 {
		return
	}
	w, i := c.placedAs(), int(c.place>>worthBits)
	c.place = 0
	if w != worthOpen {
		o.lines[w].leave(i)
		return
	}
	last := len(o.heap) - 1
	moved := o.heap[last]
	o.heap[last] = idler{}
	o.heap = o.heap[:last]
	if i < last {
		o.sink(i, moved)
	}
}

// first returns the connection that is missed least.
func (o *order) first() *Conn {
	for {
		closed, syns := &o.lines[worthClosed], &o.lines[worthSYN]
		var c *Conn
		switch {
		case closed.n > 0:
			c = closed.first()
		case syns.n > (syns.n+len(o.heap))/newestSYNs, len(o.heap) == 0:
			c = syns.first()
		default:
			c = o.heap[0].conn
			if silent := c.last(); silent > o.heap[0].since {
				o.sink(0, idler{silent, c})
				continue
			}
		}
		if c.worth() == c.placedAs() {
			return c
		}
		o.drop(c)
		o.put(c)
	}
}

// A line is connections in the order in which they joined it. Those that left
// it leave a gap.
type line struct {
	conns []*Conn
	left  int // how many places there were before conns
	n     int // connections
}

// join adds a connection and returns its place, which fits into 30 bits.
func (l *line) join(c *Conn, w worth) int {
	if len(l.conns) > 2*l.n+64 {
		l.close(w)
	}
	l.conns = append(l.conns, c)
	l.n++
	return (l.left + len(l.conns) - 1) & placeMask
}

// leave empties a place.
func (l *line) leave(place int) {
	l.conns[(place-l.left)&placeMask] = nil
	l.n--
}

// first returns the connection that joined first. There must be one.
func (l *line) first() *Conn {
	for l.conns[0] == nil {
		l.conns = l.conns[1:]
		l.left++
	}
	return l.conns[0]
}

// close closes the gaps.
func (l *line) close(w worth) {
	l.conns = slices.DeleteFunc(l.conns, func(c *Conn) bool { return c == nil })
	for i, c := range l.conns {
		c.putAt(w, (l.left+i)&placeMask)
	}
}

// An idler is a connection that was silent from then on, at least.
type idler struct {
	since tcp.Time
	conn  *Conn
}

// at puts x into place i of the heap.
func (o *order) at(i int, x idler) {
	o.heap[i] = x
	x.conn.putAt(worthOpen, i)
}

// rise puts x where it belongs, from place i on up.
func (o *order) rise(i int, x idler) {
	for ; i > 0 && o.heap[(i-1)/2].since > x.since; i = (i - 1) / 2 {
		o.at(i, o.heap[(i-1)/2])
	}
	o.at(i, x)
}

// sink puts x where it belongs, from place i on down, or up.
func (o *order) sink(i int, x idler) {
	for {
		child := 2*i + 1
		if child+1 < len(o.heap) && o.heap[child+1].since < o.heap[child].since {
			child++
		}
		if child >= len(o.heap) || o.heap[child].since >= x.since {
			break
		}
		o.at(i, o.heap[child])
		i = child
	}
	o.rise(i, x)
}

// evict gives up one connection, but not c, which has just begun.
func (t *Machine) evict(c *Conn) {
	if t.order == nil {
		t.order = newOrder(&t.pool)
	}
	t.order.drop(c)
	least := t.order.first()
	if !least.provisional() {
		t.over(least)
	}
	t.remove(least)
	t.order.put(c)
	t.counts.Evicted++
}
