package capture

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Until is the moment up to which a capture is looked at. The zero Until is
// its end. At most one of Time, Relative and Packet is used.
type Until struct {
	Time     tcp.Time      // packets stamped later are passed over; 0: none are
	Relative bool          // packets later than After the first one are passed over
	After    time.Duration // with Relative
	Packet   int           // the last packet to look at, from 1; 0: the last there is
}

// moment returns the time from which on packets are passed over, given the
// time of the first packet; 0 where no time says so.
func (u Until) moment(first tcp.Time) tcp.Time {
	if u.Relative {
		return first.Add(u.After)
	}
	return u.Time
}
