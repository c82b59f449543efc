package conn

import (
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/order"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Worth returns how much the connection would be missed.
func (c *Conn) Worth() order.Worth {
	client, server := &c.Ends[tcp.Client], &c.Ends[tcp.Server]
	switch {
	case client.Closed() && server.Closed():
		return order.Closed
	case c.Provisional(), client.Assumed == tcp.SynSent.Set(), server.Assumed == tcp.SynReceived.Set():
		return order.SYN
	}
	return order.Open
}

// Number is that of the connection.
func (c *Conn) Number() uint32 { return c.ID }

// Kept is where the order keeps the place of the connection.
func (c *Conn) Kept() *order.Place { return &c.Place }

// connMemory is what a connection takes, in octets, with its place in all that looks
// connections up, and an ordinary history.
const connMemory = 640

// ordinarySteps is how long a history is that connMemory has room for.
const ordinarySteps = 10

// longHistory is what a history takes beyond that.
func longHistory(room int) int64 {
	return int64(max(room-ordinarySteps, 0)) * int64(unsafe.Sizeof(history.Step{}))
}

// Memory returns how many octets the connections take, about.
func (m *Machine) Memory() int64 { return int64(m.Live)*connMemory + m.rare + m.Found }

// weigh counts what only some connections need, of one.
func (m *Machine) weigh(c *Conn) {
	if o := c.Rare; o != nil {
		w := o.memory()
		m.rare += int64(w) - int64(o.weighed)
		o.weighed = w
	}
}

// memory returns how many octets it takes.
func (o *rareState) memory() uint32 {
	n := unsafe.Sizeof(*o)
	for e := range o.holes {
		n += uintptr(cap(o.holes[e])) * unsafe.Sizeof(holes.Hole{})
	}
	n += o.own.Memory()
	if o.staleSegments != nil {
		n += unsafe.Sizeof(*o.staleSegments)
	}
	if o.held != nil {
		n += unsafe.Sizeof(*o.held)
	}
	if o.denied != nil {
		n += unsafe.Sizeof(*o.denied)
	}
	if o.stalls != nil {
		n += unsafe.Sizeof(*o.stalls)
	}
	if o.second != nil {
		n += unsafe.Sizeof(*o.second)
	}
	if o.arrived != nil {
		n += unsafe.Sizeof(*o.arrived)
	}
	return uint32(n)
}

// evict gives up one connection, but not c, which has just begun.
func (m *Machine) evict(c *Conn) {
	if m.Live <= m.Max {
		m.counts.ForMemory++
	}
	if m.Order == nil {
		m.Order = order.New(m.Pool.All())
	}
	m.Order.Drop(c)
	least := m.Order.First()
	if !least.Provisional() {
		m.over(least)
	}
	m.remove(least)
	m.Order.Put(c)
	m.counts.Evicted++
}
