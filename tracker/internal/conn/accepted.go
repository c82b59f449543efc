package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Listens reports whether the port of the end listens, as far as it is known.
func (m *Machine) Listens(c *Conn, e tcp.Endpoint) bool { return m.Listeners.Has(c.Addr(e)) }

// Accepted reports whether the server accepted the SYN: it answered one that was
// captured, or what it or the client sent since shows that it did. An end that
// sends a SYN of its own does not listen, and a SYN+ACK alone may answer what
// nobody sent.
func (c *Conn) Accepted() bool {
	client, server := &c.Ends[tcp.Client], &c.Ends[tcp.Server]
	switch {
	case c.Provisional(), c.Origin() == tcp.FromMidstream, server.Has(endpoint.SentSYN):
		return false
	case c.Origin() == tcp.FromSYN && server.Has(endpoint.SentSYNACK):
		return true
	}
	return client.Has(endpoint.HasAcked) || server.Bytes > 0
}

// accepted takes down that the server turns out by s to have accepted the SYN.
func (m *Machine) accepted(c *Conn, s *tcp.Segment) {
	m.Listeners.Add(c.Addr(tcp.Server), c.Addr(tcp.Client).Addr(), c.Key, int64(m.Now), s.Packet, c.Ends[tcp.Client].TSVal)
}

// unknown returns the state of an end of which nothing is known but its port.
func (m *Machine) unknown(c *Conn, e tcp.Endpoint) tcp.State {
	if m.Listens(c, e) {
		return tcp.Listen
	}
	return tcp.Unknown
}
