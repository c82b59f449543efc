package report

import (
	"fmt"
	"strconv"
	"strings"
)

// totalsLine tells the size of the capture, and whatever makes it less than
// the whole truth.
func totalsLine(s *Summary, t *tally) string {
	parts := []string{
		plural(s.Packets, "packet", "packets"),
		plural(s.TCPPackets, "TCP segment", "TCP segments"),
	}
	connections := plural(uint64(t.seen), "connection", "connections")
	if t.listed != t.seen {
		connections = fmt.Sprintf("%d of %s", t.listed, connections)
	}
	parts = append(parts, connections)
	if s.Packets > 0 {
		parts = append(parts, human(s.Last.Sub(s.First))+" from "+UTC.Format(s.First, s.First))
	}
	return "Totals: " + strings.Join(append(parts, shortfalls(s)...), ", ")
}

// shortfalls tell what makes what is shown less than the whole truth.
func shortfalls(s *Summary) (parts []string) {
	if s.Undecodable > 0 {
		parts = append(parts, plural(s.Undecodable, "packet", "packets")+" not understood")
	}
	if s.Dropped > 0 {
		parts = append(parts, plural(s.Dropped, "packet", "packets")+" dropped by the capture")
	}
	if s.Evicted > 0 {
		parts = append(parts, plural(s.Evicted, "connection", "connections")+" forgotten for want of memory")
	}
	if s.Truncated {
		parts = append(parts, "cut off in mid-packet")
	}
	return parts
}

// nothing says why there is no connection to show.
func nothing(s *Summary, t *tally, o *Options) string {
	switch {
	case s.Packets == 0 && s.Later > 0:
		return "No packets: the moment is before the first."
	case s.Packets == 0:
		return "No packets."
	case s.TCPPackets == 0 && s.Filtered == s.Packets:
		return "No TCP among " + plural(s.Packets, "packet", "packets") + ": the filter left none of them."
	case s.TCPPackets == 0 && s.Filtered > 0:
		return "No TCP among " + plural(s.Packets-s.Filtered, "packet", "packets") + " that the filter left of " + strconv.FormatUint(s.Packets, 10) + "."
	case s.TCPPackets == 0:
		return "No TCP among " + plural(s.Packets, "packet", "packets") + "."
	case t.seen == 0:
		return "No connection among " + plural(s.TCPPackets, "TCP segment", "TCP segments") + "."
	case o.Existing && !o.Filter.active() && o.Where == nil:
		return "No connection at that moment: all that began earlier were over."
	}
	return "No connection is selected out of " + strconv.Itoa(t.seen) + "."
}
