package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// What is drawn beside a segment: the sockets of both hosts after it. A ladder
// test compares them, and who asks for EventSegments (Config.Segments) is told them.

// saw tells the listener, if it asks for that, that all that came of a segment or,
// with packet 0, of a timer of the connection was told.
func (m *Machine) saw(c *Conn, from tcp.Endpoint, packet int, skipped tcp.Skip) {
	if c == nil {
		return
	}
	if skipped > tcp.CapturedTwice && c.ID != 0 {
		m.listener.Refused(c, from, packet, skipped)
	}
	if m.segments {
		m.listener.Seen(c, from, packet, skipped)
	}
}

// Socket returns what the host of an end has on the connection's addresses and
// ports: the end of the newest connection there that is not CLOSED in the
// assumed view, or of the newest of all.
func (m *Machine) Socket(c *Conn, e tcp.Endpoint) tcp.Views {
	low := (e == tcp.Client) == (c.Bits&ClientIsLow != 0)
	newest := m.NewestOf(c.Key)
	if newest == nil {
		return tcp.Views{State: tcp.Closed, Proved: tcp.Closed}
	}
	subject := &newest.Ends[newest.EndOf(low)]
	for o := newest; o != nil; o = o.Older() {
		if end := &o.Ends[o.EndOf(low)]; end.Assumed != tcp.Closed.Set() {
			subject = end
			break
		}
	}
	return tcp.Views{State: subject.Assumed.Shown(), Proved: subject.Proved.Only()}
}
