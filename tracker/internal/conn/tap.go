package conn

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A capture that was made on the host of an end shows what came in there, and what
// that end sent. Nothing is lost between the tap and the end: what is only assumed of
// others is observed of this one, where its stack must take what came in.

// OnHost reports whether the capture was made on the host of the end.
func (m *Machine) OnHost(c *Conn, e tcp.Endpoint) bool {
	switch on := &m.TapOn; {
	case on.Nowhere:
		return false
	case on.Ends != [2]bool{}:
		return on.Ends[m.Role(c, e)]
	}
	return c.Key.Loopback((e == tcp.Client) == (c.Bits&ClientIsLow != 0)) || endpoint.RecordedAt(&c.Ends[e], &c.Ends[e.Peer()]) ||
		len(m.TapOn.Hosts) > 0 && slices.Contains(m.TapOn.Hosts, c.Addr(e).Addr())
}
