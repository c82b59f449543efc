package report

import (
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Snapshot is all that a display that is refreshed shows of one moment.
type Snapshot struct {
	Time    tcp.Time
	Records []*tracker.Record // of the connections that are kept, and of those over since the snapshot before; nobody else's
	Summary Summary           // of all so far
}
