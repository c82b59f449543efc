package conn

import (
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/order"
	"github.com/tcpwatch/tcpwatch/tracker/internal/pool"
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
	n := unsafe.Sizeof(*o) + o.own.Memory() + pool.Size(o.staleSegments) + pool.Size(o.held) + pool.Size(o.denied) + pool.Size(o.stalls) + pool.Size(o.second) + pool.Size(o.arrived)
	for e := range o.holes {
		n += uintptr(cap(o.holes[e])) * unsafe.Sizeof(holes.Hole{})
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
