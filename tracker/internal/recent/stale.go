package recent

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Stale is a segment of an older connection that fell among those of a new
// one.
type Stale struct {
	Packet   int // 0: none
	Original int // the frame in which it was captured first
	Age      time.Duration
	Ended    tcp.Time // when the older connection ended
	Seq, End tcp.Seq
	Nxt      tcp.Seq // what follows the sender's own octets up to then
}
