package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A probe asks its receiver for an ACK and brings it nothing. A keepalive begins
// one below what its sender sends next (RFC 9293 §3.8.4), a probe of a closed
// window has the next octet, behind the window (§3.8.6.1). Neither is a
// retransmission. Where a capture begins in the middle of a connection that is
// idle, nothing but the answer tells which of the two numbers is the next.

// probedAt reports whether ack, which y's peer sent, shows that all that was
// captured of y are keepalives: it acknowledges one octet more than their number,
// and y, picked up in the middle, has sent no other.
func (c *Conn) probedAt(y *endpoint.End, ack tcp.Seq) bool {
	return c.Origin() == tcp.FromMidstream && y.Seen() && y.Bytes == 0 && !y.Has(endpoint.HasISS|endpoint.HasFIN) && ack == y.Nxt+1
}
