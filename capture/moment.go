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

// earlier reports whether a packet is earlier than Options.Since.
func (s *Source) earlier(frame int, t tcp.Time) bool {
	m := &s.options.Since
	return frame < m.Packet || t < m.time(s.begin) && (m.Time != 0 || m.Relative)
}

// later reports whether a packet is later than Options.Until.
func (s *Source) later(t tcp.Time) bool {
	m := &s.options.Until
	return (m.Time != 0 || m.Relative) && t > m.time(s.begin)
}

// until is Stats.Until.
func (s *Source) until() tcp.Time {
	m := &s.options.Until
	own := max(s.stats.Last, s.ended)
	switch {
	case *m == Moment{}:
		return own
	case m.Packet != 0:
		return s.stats.Last
	case s.options.Ends && s.stats.Later == 0:
		return min(own, m.time(s.begin))
	}
	return m.time(s.begin)
}

// heard is Stats.Heard, of that Stats.Until. A packet later than that shows that the
// capture went on until then.
func (s *Source) heard(until tcp.Time) tcp.Time {
	if s.stats.Later > 0 {
		return until
	}
	return min(until, max(s.stats.Last, s.ended))
}
