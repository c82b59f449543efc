package capture

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Moment is one in a capture. The zero Moment is none. At most one of Time,
// Relative and Packet is used.
type Moment struct {
	Time     tcp.Time
	Relative bool          // After the first packet of the capture
	After    time.Duration // with Relative
	Packet   int           // the number of a packet, from 1
}

// time returns the time of the moment, given that of the first packet; 0 where no
// time says it.
func (m Moment) time(first tcp.Time) tcp.Time {
	if m.Relative {
		return first.Add(m.After)
	}
	return m.Time
}

// Follows reports whether the moment is behind a packet of that number and time, in a
// capture whose first packet has the time first.
func (m Moment) Follows(packet int, t, first tcp.Time) bool {
	return packet < m.Packet || (m.Time != 0 || m.Relative) && t < m.time(first)
}

// Precedes reports whether the moment is a time before that of a packet.
func (m Moment) Precedes(t, first tcp.Time) bool {
	return (m.Time != 0 || m.Relative) && t > m.time(first)
}

// Over returns Stats.Until and Stats.Heard of a capture whose packets have times from
// first to last, and that itself says that it ended at ended. Later says that it has
// packets behind Options.Until.
func (o *Options) Over(first, last, ended tcp.Time, later bool) (until, heard tcp.Time) {
	own, m := max(last, ended), &o.Until
	switch {
	case *m == Moment{}:
		until = own
	case m.Packet != 0:
		until = last
	case o.Ends && !later:
		until = min(own, m.time(first))
	default:
		until = m.time(first)
	}
	if later { // which shows that it went on until then
		return until, until
	}
	return until, min(until, own)
}
