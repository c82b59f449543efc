package tracker

// Where there is no room for a connection more, another is given up, the one
// that is missed least: one that is closed, before a SYN without an answer,
// before one that is open, and among those of a kind the one of which nothing
// was seen for the longest time. The newest SYNs, one in newestSYNs of all, are
// as good as open ones, or else no connection could begin where all are open.
//
// The order is not kept before it is needed: it is made when the limit is first
// reached, and until then costs nothing. It is a heap for each kind, keyed by a
// time that is never later than the newest segment, and put right when that
// comes up: segments of open connections do not touch it.

// newestSYNs is which part of all connections SYNs without an answer may be
// before they are given up for one that is open.
const newestSYNs = 16

// A worth is how much a connection would be missed.
type worth uint8

const (
	worthClosed worth = iota
	worthSYN          // the handshake waits for an answer, of either end
	worthOpen
	numWorths

	worthBits = 2
)

// worth returns how much the connection would be missed.
func (c *Conn) worth() worth {
	client, server := &c.ends[Client], &c.ends[Server]
	switch {
	case client.closed() && server.closed():
		return worthClosed
	case c.provisional(), client.assumed == setOf(SynSent), server.assumed == setOf(SynReceived):
		return worthSYN
	}
	return worthOpen
}

// An order finds the connection that is missed least. A connection knows where
// it is in it: place, counted from 1, above its worth.
type order [numWorths][]idler

// An idler is a connection that was silent from then on, at least.
type idler struct {
	since Time
	conn  *Conn
}

// newOrder makes the order of the connections.
func newOrder(f *flows) *order {
	o := new(order)
	for c := range f.all() {
		o.put(c)
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
	o[w] = append(o[w], idler{})
	o.rise(w, len(o[w])-1, idler{c.last(), c})
}

func (c *Conn) placedAs() worth { return worth(c.place & (1<<worthBits - 1)) }

// drop takes the connection out.
func (o *order) drop(c *Conn) {
	if c.place == 0 {
		return
	}
	w, i := c.placedAs(), int(c.place>>worthBits)-1
	c.place = 0
	last := len(o[w]) - 1
	moved := o[w][last]
	o[w][last] = idler{}
	o[w] = o[w][:last]
	if i < last {
		o.sink(w, i, moved)
	}
}

// at puts x into place i.
func (o *order) at(w worth, i int, x idler) {
	o[w][i] = x
	x.conn.place = uint32(i+1)<<worthBits | uint32(w)
}

// rise puts x where it belongs, from place i on up.
func (o *order) rise(w worth, i int, x idler) {
	for h := o[w]; i > 0 && h[(i-1)/2].since > x.since; i = (i - 1) / 2 {
		o.at(w, i, h[(i-1)/2])
	}
	o.at(w, i, x)
}

// sink puts x where it belongs, from place i on down, or up.
func (o *order) sink(w worth, i int, x idler) {
	for h := o[w]; ; {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1].since < h[child].since {
			child++
		}
		if child >= len(h) || h[child].since >= x.since {
			break
		}
		o.at(w, i, h[child])
		i = child
	}
	o.rise(w, i, x)
}

// first returns the connection that is missed least.
func (o *order) first() *Conn {
	for {
		w := worthClosed
		switch syns, open := len(o[worthSYN]), len(o[worthOpen]); {
		case len(o[w]) > 0:
		case syns > (syns+open)/newestSYNs, open == 0:
			w = worthSYN
		default:
			w = worthOpen
		}
		c := o[w][0].conn
		switch now, silent := c.worth(), c.last(); {
		case now != w:
			o.drop(c)
			o.put(c)
		case silent > o[w][0].since:
			o.sink(w, 0, idler{silent, c})
		default:
			return c
		}
	}
}

// evict gives up one connection, but not c, which has just begun.
func (t *Tracker) evict(c *Conn) {
	if t.order == nil {
		t.order = newOrder(&t.flows)
	}
	t.order.drop(c)
	least := t.order.first()
	if !least.provisional() {
		t.over(least)
	}
	t.remove(least)
	t.order.put(c)
	t.stats.Evicted++
}
