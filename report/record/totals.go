package record

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// TotalsLine tells the size of the capture, and whatever makes it less than
// the whole truth.
func TotalsLine(s *Summary, t *Tally) string {
	parts := []string{
		text.Plural(s.Packets, "packet", "packets"),
		text.Plural(s.TCPPackets, "TCP segment", "TCP segments"),
	}
	if s.Between != nil {
		parts[0] += fmt.Sprintf(" in %d captures", len(s.Between.Taps))
	}
	connections := text.Plural(uint64(t.Seen), "connection", "connections")
	if t.Listed != t.Seen {
		connections = fmt.Sprintf("%d of %s", t.Listed, connections)
	}
	parts = append(parts, connections)
	if s.Packets > 0 {
		parts = append(parts, text.Human(s.Last.Sub(s.First))+" from "+text.UTC.Format(s.First, s.First))
	}
	return "Totals: " + strings.Join(append(parts, Shortfalls(s)...), ", ")
}

// NumbersNote says where connections are numbered otherwise than in the whole
// capture; "" where they are not.
func NumbersNote(s *Summary) string {
	switch {
	case s.TCPPackets == 0:
		return ""
	case s.Filtered > 0:
		return "Note: connections are numbered after -f (--where keeps the numbers of the whole capture)"
	case s.Earlier > 0:
		return "Note: connections are numbered after --since"
	}
	return ""
}

// LeftNote says how many connections a table leaves out for want of memory; "" where it
// has all.
func LeftNote(t *Tally) string {
	if t.Left == 0 {
		return ""
	}
	return fmt.Sprintf("Note: the first %s of %s connections are listed, in the order in which they ended, to stay within --max-memory; -o jsonl and -o csv list all. Times in TIME_WAIT are of these; the states count all",
		text.Thousands(uint64(t.Listed-t.Left)), text.Thousands(uint64(t.Listed)))
}

// TapNote says on whose host the capture was made; "" where that is not known.
func TapNote(s *Summary, t *Tally) string {
	if !t.TapOn.IsValid() {
		return ""
	}
	if s.Between != nil {
		return "Note: captured on both hosts (--at-ends): what came in there has arrived"
	}
	host := t.TapOn.String()
	if !t.TapOnOne {
		host += " and others"
	}
	return "Note: captured on " + host + ": what came in there has arrived (--tap-on none: do not rely on it)"
}

// KernelNote says how often the kernel's states were compared with those that packets
// show; "" where it was not asked.
func KernelNote(s *Summary) string {
	if s.Kernel == nil {
		return ""
	}
	return fmt.Sprintf("Kernel: %s compared with the kernel's own, %s", text.Plural(s.Kernel.Compared, "state", "states"), text.Plural(s.Kernel.Differed, "difference", "differences"))
}

// Shortfalls tell what makes what is shown less than the whole truth.
func Shortfalls(s *Summary) (parts []string) {
	parts = append(parts, passedOver(s)...)
	if s.Undecodable > 0 {
		parts = append(parts, text.Plural(s.Undecodable, "packet", "packets")+" not decoded")
	}
	if s.Misdated > 0 {
		parts = append(parts, text.Plural(s.Misdated, "packet", "packets")+" with a wrong timestamp")
	}
	if s.Sorted > 0 {
		parts = append(parts, text.Plural(s.Sorted, "packet", "packets")+" put in time order")
	}
	if s.Dropped > 0 {
		parts = append(parts, text.Plural(s.Dropped, "packet", "packets")+" dropped by the capture")
	}
	for _, l := range s.Limits {
		parts = append(parts, fmt.Sprintf("%s (limit %s)", l.Text, l.Name))
	}
	if s.Truncated {
		parts = append(parts, "cut off mid-packet")
	}
	return parts
}

// maxPassed is how many kinds of headers that were not opened a line has.
const maxPassed = 3

// passedOver counts the packets that were passed over, by the headers that were not
// opened.
func passedOver(s *Summary) (parts []string) {
	var others uint64
	for i, p := range s.Passed {
		switch {
		case i == 0:
			parts = append(parts, fmt.Sprintf("%s of %s %s", text.Plural(p.Packets, "frame", "frames"), p.Header, p.Why))
		case i < maxPassed:
			parts = append(parts, fmt.Sprintf("%d of %s %s", p.Packets, p.Header, p.Why))
		default:
			others += p.Packets
		}
	}
	if others > 0 {
		parts = append(parts, fmt.Sprintf("%d of other headers not opened", others))
	}
	return parts
}

// tagged says why a filter did not match frames with a VLAN tag: it looks at what is
// behind one only if it says so.
func tagged(s *Summary) string {
	if s.Tagged == 0 {
		return ""
	}
	return " VLAN tags: " + text.Plural(s.Tagged, "frame", "frames") + " did not match; use -f 'vlan and ...' or --inner-filter."
}

// Nothing says why there is no connection to show.
func Nothing(s *Summary, t *Tally, o *Options) string {
	switch {
	case s.Packets == 0 && s.Earlier > 0 && s.Later > 0:
		return "No packets: none are between the two times."
	case s.Packets == 0 && s.Earlier > 0:
		return "No packets: all are earlier."
	case s.Packets == 0 && s.Later > 0:
		return "No packets: the time is before the first packet."
	case s.Packets == 0:
		return "No packets."
	case s.TCPPackets == 0 && s.Filtered == s.Packets:
		return "No TCP among " + text.Plural(s.Packets, "packet", "packets") + ": the filter kept none of them." + tagged(s)
	case s.TCPPackets == 0 && s.Filtered > 0:
		return "No TCP among " + text.Plural(s.Packets-s.Filtered, "packet", "packets") + " that the filter kept of " + strconv.FormatUint(s.Packets, 10) + "." + tagged(s)
	case s.TCPPackets == 0:
		return "No TCP among " + text.Plural(s.Packets, "packet", "packets") + "."
	case t.Seen == 0:
		return "No connection among " + text.Plural(s.TCPPackets, "TCP segment", "TCP segments") + "."
	case o.Existing && !o.Filter.Active() && o.Where == nil:
		return "No connection at that time: all earlier ones had closed."
	}
	return "No connection is selected of " + strconv.Itoa(t.Seen) + "."
}
