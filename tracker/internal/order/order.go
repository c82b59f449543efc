// Package order finds the connection that is given up where there is no room for
// one more.
package order

import (
	"cmp"
	"iter"
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

// A Worth is how much a connection would be missed.
type Worth uint8

const (
	Closed Worth = iota
	SYN          // the handshake waits for an answer, of either end
	Open

	worthBits = 2
)

// A Member is a connection. It keeps its place in the order.
type Member interface {
	comparable
	Last() tcp.Time // when it was last seen
	Worth() Worth
	Number() uint32
	Kept() *Place
}

// A Place is the worth of a connection when it was put into the order, plus one,
// below its place in the line or heap. 0: it is in neither.
type Place uint32

// As is the worth.
func (p Place) As() Worth { return Worth(p&(1<<worthBits-1)) - 1 }

// At is the place in the line or heap.
func (p Place) At() int { return int(p >> worthBits) }

func place(w Worth, i int) Place { return Place(i)<<worthBits | Place(w+1) }

// An Order finds the connection that is missed least.
type Order[C Member] struct {
	Lines [Open]line[C]
	Heap  []idler[C]
}

const placeMask = 1<<(32-worthBits) - 1

// New makes the order of the connections.
func New[C Member](conns iter.Seq[C]) *Order[C] {
	var all []idler[C]
	for c := range conns {
		all = append(all, idler[C]{c.Last(), c})
	}
	slices.SortFunc(all, func(a, b idler[C]) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Conn.Number(), b.Conn.Number()))
	})
	o := new(Order[C])
	for _, x := range all {
		o.Put(x.Conn)
	}
	return o
}

// Put adds a connection, or moves it to those that are missed less where it is
// one of them now.
func (o *Order[C]) Put(c C) {
	w := c.Worth()
	if *c.Kept() != 0 {
		if w >= c.Kept().As() {
			return // if it is more, that is seen when it comes up
		}
		o.Drop(c)
	}
	if w == Open {
		o.Heap = append(o.Heap, idler[C]{})
		o.rise(len(o.Heap)-1, idler[C]{c.Last(), c})
	} else {
		*c.Kept() = place(w, o.Lines[w].join(c, w))
	}
}

// Drop takes the connection out.
func (o *Order[C]) Drop(c C) {
	if *c.Kept() == 0 {
		return
	}
	w, i := c.Kept().As(), c.Kept().At()
	*c.Kept() = 0
	if w != Open {
		o.Lines[w].leave(i)
		return
	}
	last := len(o.Heap) - 1
	moved := o.Heap[last]
	o.Heap[last] = idler[C]{}
	o.Heap = o.Heap[:last]
	if i < last {
		o.sink(i, moved)
	}
}

// First returns the connection that is missed least.
func (o *Order[C]) First() C {
	for {
		closed, syns := &o.Lines[Closed], &o.Lines[SYN]
		var c C
		switch {
		case closed.N > 0:
			c = closed.first()
		case syns.N > (syns.N+len(o.Heap))/NewestSYNs, len(o.Heap) == 0:
			c = syns.first()
		default:
			c = o.Heap[0].Conn
			if silent := c.Last(); silent > o.Heap[0].Since {
				o.sink(0, idler[C]{silent, c})
				continue
			}
		}
		if c.Worth() == c.Kept().As() {
			return c
		}
		o.Drop(c)
		o.Put(c)
	}
}

// A line is connections in the order in which they joined it. Those that left
// it leave a gap.
type line[C Member] struct {
	Conns []C
	left  int // how many places there were before conns
	N     int // connections
}

// join adds a connection and returns its place, which fits into 30 bits.
func (l *line[C]) join(c C, w Worth) int {
	if len(l.Conns) > 2*l.N+64 {
		l.close(w)
	}
	l.Conns = append(l.Conns, c)
	l.N++
	return (l.left + len(l.Conns) - 1) & placeMask
}

// leave empties a place.
func (l *line[C]) leave(at int) {
	l.Conns[(at-l.left)&placeMask] = *new(C)
	l.N--
}

// first returns the connection that joined first. There must be one.
func (l *line[C]) first() C {
	for l.Conns[0] == *new(C) {
		l.Conns = l.Conns[1:]
		l.left++
	}
	return l.Conns[0]
}

// close closes the gaps.
func (l *line[C]) close(w Worth) {
	l.Conns = slices.DeleteFunc(l.Conns, func(c C) bool { return c == *new(C) })
	for i, c := range l.Conns {
		*c.Kept() = place(w, (l.left+i)&placeMask)
	}
}

// An idler is a connection that was silent from then on, at least.
type idler[C Member] struct {
	Since tcp.Time
	Conn  C
}

// at puts x into place i of the heap.
func (o *Order[C]) at(i int, x idler[C]) {
	o.Heap[i] = x
	*x.Conn.Kept() = place(Open, i)
}

// rise puts x where it belongs, from place i on up.
func (o *Order[C]) rise(i int, x idler[C]) {
	for ; i > 0 && o.Heap[(i-1)/2].Since > x.Since; i = (i - 1) / 2 {
		o.at(i, o.Heap[(i-1)/2])
	}
	o.at(i, x)
}

// sink puts x where it belongs, from place i on down, or up.
func (o *Order[C]) sink(i int, x idler[C]) {
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
