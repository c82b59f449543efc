package conn

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which end of a connection picked up midway is the client no segment of it
// tells. The ports tell: who calls another, before or after, is its client, and
// who is called its server. Where nothing is known of them, the lower one serves.
// What was guessed so may turn out wrong when connections are told of already:
// the ends stay where they are, and are told the other way round from then on.

// clientFirst reports whether the segment, the first of a connection picked up
// midway, comes from its client. old is the connection before it, or nil.
func (m *Machine) clientFirst(s *tcp.Segment, low bool, old *Conn) bool {
	if calls, called := m.Listeners.Has(s.Dst), m.Listeners.Has(s.Src); calls != called {
		return calls
	}
	for old != nil && old.Provisional() {
		old = old.Older() // its SYN may be forged
	}
	if old != nil && !(old.Origin() == tcp.FromMidstream && old.Bits&swapped == 0) {
		return old.EndOf(low) == m.Role(old, tcp.Client)
	}
	return s.Src.Port() >= s.Dst.Port()
}

// Role returns which role the end of the connection has: its own, or the other's
// where that was guessed wrong. It is its own inverse.
func (m *Machine) Role(c *Conn, e tcp.Endpoint) tcp.Endpoint {
	if c.Bits&OriginMidstream == 0 {
		return e
	}
	if c.Bits&swapped == 0 && m.Listens(c, tcp.Client) && !m.Listens(c, tcp.Server) {
		c.Bits |= swapped
	}
	if c.Bits&swapped != 0 {
		return e.Peer()
	}
	return e
}

// RolesKnown reports whether more than the numbers of the ports tells who is the
// client of a connection picked up midway.
func (m *Machine) RolesKnown(c *Conn) bool {
	if c.Bits&swapped != 0 || m.Listens(c, tcp.Client) != m.Listens(c, tcp.Server) {
		return true
	}
	old := m.FormerOf(c)
	return old != nil && (old.Origin() != tcp.FromMidstream || m.RolesKnown(old))
}

// called says of c, and of those before it on the same addresses and ports, which
// end is called: the one that is in a newer connection, which was seen to begin.
func (c *Conn) called(newer *Conn) {
	if newer.Origin() != tcp.FromMidstream {
		for ; c != nil; c = c.Older() {
			c.serves(newer.Addr(tcp.Server))
		}
	}
}

// serves says which end of a connection picked up midway is called.
func (c *Conn) serves(server netip.AddrPort) {
	if c.Origin() == tcp.FromMidstream && c.Addr(tcp.Client) == server {
		c.Bits |= swapped
	}
}

// callsIn says it of a connection in which a SYN is captured that is late, or was
// sent again.
func (c *Conn) callsIn(s *tcp.Segment, from tcp.Endpoint) {
	switch {
	case s.Flags&tcp.ACK == 0:
		c.serves(s.Dst)
	case !c.Ends[from].Has(endpoint.SentSYN):
		c.serves(s.Src)
	}
}
