package conn

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

// NewestSYNs is which part of all connections SYNs without an answer may be
// before they are given up for one that is open.
const NewestSYNs = 16

// A worth is how much a connection would be missed.
type worth uint8

const (
	WorthClosed worth = iota
	WorthSYN          // the handshake waits for an answer, of either end
	WorthOpen

	WorthBits = 2
)

// worth returns how much the connection would be missed.
func (c *Conn) worth() worth {
	client, server := &c.Ends[tcp.Client], &c.Ends[tcp.Server]
	switch {
	case client.closed() && server.closed():
		return WorthClosed
	case c.Provisional(), client.Assumed == tcp.SynSent.Set(), server.Assumed == tcp.SynReceived.Set():
		return WorthSYN
	}
	return WorthOpen
}

// An order finds the connection that is missed least. A connection knows its
// place in it: its worth then, plus one, below its place in the line or heap.
type order struct {
	Lines [WorthOpen]line
	Heap  []idler
}

const placeMask = 1<<(32-WorthBits) - 1

// PlacedAs is its worth when it was put into the order.
func (c *Conn) PlacedAs() worth      { return worth(c.Place&(1<<WorthBits-1)) - 1 }
func (c *Conn) putAt(w worth, i int) { c.Place = uint32(i)<<WorthBits | uint32(w+1) }

// newOrder makes the order of the connections.
func newOrder(p *pool) *order {
	var all []idler
	for c := range p.All() {
		all = append(all, idler{c.Last(), c})
	}
	slices.SortFunc(all, func(a, b idler) int { return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Conn.ID, b.Conn.ID)) })
	o := new(order)
	for _, x := range all {
		o.put(x.Conn)
	}
	return o
}

// put adds a connection, or moves it to those that are missed less where it is
// one of them now.
func (o *order) put(c *Conn) {
	w := c.worth()
	if c.Place != 0 {
		if w >= c.PlacedAs() {
			return // if it is more, that is seen when it comes up
		}
		o.drop(c)
	}
	if w == WorthOpen {
		o.Heap = append(o.Heap, idler{})
		o.rise(len(o.Heap)-1, idler{c.Last(), c})
	} else {
		c.putAt(w, o.Lines[w].join(c, w))
	}
}

// drop takes the connection out.
func (o *order) drop(c *Conn) {
	if c.Place == 0 {
		return
	}
	w, i := c.PlacedAs(), int(c.Place>>WorthBits)
	c.Place = 0
	if w != WorthOpen {
		o.Lines[w].leave(i)
		return
	}
	last := len(o.Heap) - 1
	moved := o.Heap[last]
	o.Heap[last] = idler{}
	o.Heap = o.Heap[:last]
	if i < last {
		o.sink(i, moved)
	}
}

// first returns the connection that is missed least.
func (o *order) first() *Conn {
	for {
		closed, syns := &o.Lines[WorthClosed], &o.Lines[WorthSYN]
		var c *Conn
		switch {
		case closed.N > 0:
			c = closed.first()
		case syns.N > (syns.N+len(o.Heap))/NewestSYNs, len(o.Heap) == 0:
			c = syns.first()
		default:
			c = o.Heap[0].Conn
			if silent := c.Last(); silent > o.Heap[0].Since {
				o.sink(0, idler{silent, c})
				continue
			}
		}
		if c.worth() == c.PlacedAs() {
			return c
		}
		o.drop(c)
		o.put(c)
	}
}

// A line is connections in the order in which they joined it. Those that left
// it leave a gap.
type line struct {
	Conns []*Conn
	left  int // how many places there were before conns
	N     int // connections
}

// join adds a connection and returns its place, which fits into 30 bits.
func (l *line) join(c *Conn, w worth) int {
	if len(l.Conns) > 2*l.N+64 {
		l.close(w)
	}
	l.Conns = append(l.Conns, c)
	l.N++
	return (l.left + len(l.Conns) - 1) & placeMask
}

// leave empties a place.
func (l *line) leave(place int) {
	l.Conns[(place-l.left)&placeMask] = nil
	l.N--
}

// first returns the connection that joined first. There must be one.
func (l *line) first() *Conn {
	for l.Conns[0] == nil {
		l.Conns = l.Conns[1:]
		l.left++
	}
	return l.Conns[0]
}

// close closes the gaps.
func (l *line) close(w worth) {
	l.Conns = slices.DeleteFunc(l.Conns, func(c *Conn) bool { return c == nil })
	for i, c := range l.Conns {
		c.putAt(w, (l.left+i)&placeMask)
	}
}

// An idler is a connection that was silent from then on, at least.
type idler struct {
	Since tcp.Time
	Conn  *Conn
}

// at puts x into place i of the heap.
func (o *order) at(i int, x idler) {
	o.Heap[i] = x
	x.Conn.putAt(WorthOpen, i)
}

// rise puts x where it belongs, from place i on up.
func (o *order) rise(i int, x idler) {
	for ; i > 0 && o.Heap[(i-1)/2].Since > x.Since; i = (i - 1) / 2 {
		o.at(i, o.Heap[(i-1)/2])
	}
	o.at(i, x)
}

// sink puts x where it belongs, from place i on down, or up.
func (o *order) sink(i int, x idler) {
	for {
		child := 2*i + 1
		if child+1 < len(o.Heap) && o.Heap[child+1].Since < o.Heap[child].Since {
			child++
		}
		if child >= len(o.Heap) || o.Heap[child].Since >= x.Since {
			break
		}
		o.at(i, o.Heap[child])
		i = child
	}
	o.rise(i, x)
}

// evict gives up one connection, but not c, which has just begun.
func (m *Machine) evict(c *Conn) {
	if m.Order == nil {
		m.Order = newOrder(&m.Pool)
	}
	m.Order.drop(c)
	least := m.Order.first()
	if !least.Provisional() {
		m.over(least)
	}
	m.remove(least)
	m.Order.put(c)
	m.counts.Evicted++
}
