package conn

import (
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

// evict gives up one connection, but not c, which has just begun.
func (m *Machine) evict(c *Conn) {
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
