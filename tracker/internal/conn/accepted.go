package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// Listens reports whether the port of the end listens, as far as it is known.
func (m *Machine) Listens(c *Conn, e tcp.Endpoint) bool { return m.Listeners.Has(c.Addr(e)) }

// Accepted reports whether the server accepted the SYN: it answered one that was
// captured, or what it or the client sent since shows that it did. An end that
// sends a SYN of its own does not listen, and a SYN+ACK alone may answer what
// nobody sent.
func (c *Conn) Accepted() bool {
	client, server := &c.Ends[tcp.Client], &c.Ends[tcp.Server]
	switch {
	case c.Provisional(), c.Origin() == tcp.FromMidstream, server.Has(SentSYN):
		return false
	case c.Origin() == tcp.FromSYN && server.Has(SentSYNACK):
		return true
	}
	return client.Has(HasAcked) || server.Bytes > 0
}

// unknown returns the state of an end of which nothing is known but its port.
func (m *Machine) unknown(c *Conn, e tcp.Endpoint) tcp.State {
	if m.Listens(c, e) {
		return tcp.Listen
	}
	return tcp.Unknown
}
