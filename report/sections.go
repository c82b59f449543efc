package report

import (
	"bufio"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// What stands below a table: the anomalies, grouped by kind with the worst
// first, the states counted, and one line about the whole.

// shownOfKind is how many anomalies of one kind a table shows before it only
// counts them; wide, and a Selection of kinds, show all.
const shownOfKind = 10

// shownFrames is how many frames of an anomaly's evidence are shown.
const shownFrames = 8

// A group is the anomalies of one kind, in the order of their times.
type group struct {
	kind     string
	severity anomaly.Severity
	rfc      string
	list     []*anomaly.Anomaly
	hidden   int // how many more there are
}

// groups returns the anomalies that were kept, the worst kinds first, and of
// those the ones over many connections: a port scan explains what follows. Of
// each kind the first are listed, as many as shown says; 0: all.
func (c *connections) groups(shown int) []group {
	var list []*anomaly.Anomaly
	for i := range c.over {
		list = append(list, &c.over[i])
	}
	for i := range c.rows {
		for j := range c.rows[i].rec.Anomalies {
			list = append(list, &c.rows[i].rec.Anomalies[j])
		}
	}
	slices.SortStableFunc(list, func(a, b *anomaly.Anomaly) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity), cmp.Compare(min(a.Conn, 1), min(b.Conn, 1)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.RFC, b.RFC),
			cmp.Compare(a.Time, b.Time), cmp.Compare(a.Conn, b.Conn))
	})
	var groups []group
	for _, a := range list {
		n := len(groups)
		if n == 0 || groups[n-1].kind != a.Kind || groups[n-1].severity != a.Severity || groups[n-1].rfc != a.RFC {
			groups = append(groups, group{kind: a.Kind, severity: a.Severity, rfc: a.RFC})
			n++
		}
		g := &groups[n-1]
		if shown > 0 && len(g.list) == shown {
			g.hidden++
			continue
		}
		g.list = append(g.list, a)
	}
	return groups
}

// shownOf is how many anomalies of one kind are listed; 0: all.
func shownOf(all bool) int {
	if all {
		return 0
	}
	return shownOfKind
}

// writeAnomalies writes the anomalies, after a blank line, if there are any:
//
//	error  rst-instead-of-ack  RFC 9293 §3.6.1
//	  conn 1  frames 8,10,11  2026-01-02T03:04:05.620000Z
//	    The sentence, broken to the width of the terminal.
func (c *connections) writeAnomalies(out *bufio.Writer, o *Options, s *Summary, all bool) {
	l := newLook(o, s)
	for _, g := range c.groups(shownOf(all || len(o.Filter.Kinds) > 0)) {
		severity := severityColor(g.severity).paintIf(o.Color, g.severity.String())
		head := []string{severity, bold.paintIf(o.Color, Escape(g.kind))}
		if g.rfc != "" {
			head = append(head, Escape(g.rfc))
		}
		writeLine(out, "")
		writeLine(out, strings.Join(head, gap))
		for _, a := range g.list {
			writeLine(out, "  "+strings.Join(l.facts(a), gap))
			const indent = "    "
			width := 0
			if o.Width > 0 {
				width = max(o.Width-len(indent), 20)
			}
			for _, line := range wrap(Escape(a.Text), width) {
				writeLine(out, indent+line)
			}
		}
		if g.hidden > 0 {
			writeLine(out, fmt.Sprintf("  and %d more", g.hidden))
		}
	}
}

// facts returns what is to be told of an anomaly beside its sentence.
func (l *look) facts(a *anomaly.Anomaly) []string {
	var facts []string
	add := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	switch {
	case a.Conn > 0:
		add("conn %d", a.Conn)
	case !a.Addr.IsValid():
		add("whole capture")
	case a.Port != 0:
		add("%v", netip.AddrPortFrom(a.Addr, a.Port))
	default:
		add("%v", a.Addr)
	}
	if len(a.Samples) > 0 {
		add("conns %s", frameList(a.Samples))
	}
	if frames := evidence(a); len(frames) == 1 {
		add("frame %d", frames[0])
	} else if len(frames) > 1 {
		add("frames %s", frameList(frames))
	}
	add("%s", l.time.Format(a.Time, l.first))
	if a.Cause != "" {
		add("%s", Escape(a.Cause))
	}
	if a.Addr.IsValid() {
		add("%d connections", a.Count)
	} else if a.Count > 1 {
		add("%d times", a.Count)
	}
	if a.Until != 0 {
		add("until %s", l.time.Format(a.Until, l.first))
	}
	if a.Confidence != anomaly.ConfidenceProved {
		add("%s", a.Confidence.String())
	}
	return facts
}

// evidence returns the frames that show an anomaly.
func evidence(a *anomaly.Anomaly) []int {
	if len(a.Evidence) == 0 && a.Packet > 0 {
		return []int{a.Packet}
	}
	return a.Evidence
}

// frameList writes frame numbers: 8,10,11. Of a long list it writes the first
// ones and the last.
func frameList(frames []int) string {
	var b strings.Builder
	for i, n := range frames {
		if len(frames) > shownFrames && i == shownFrames-1 {
			return b.String() + ",..," + strconv.Itoa(frames[len(frames)-1])
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// statesLine counts the states of both ends, the most frequent first.
func statesLine(t *tally, colors bool) string {
	var parts []string
	for _, s := range t.states.frequent() {
		name := stateColor(s.String()).paintIf(colors, s.String())
		parts = append(parts, name+" "+strconv.Itoa(t.states.total(s)))
	}
	return "States: " + strings.Join(parts, gap)
}

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

// writeLine writes text and a line break. out keeps the first error.
func writeLine(out *bufio.Writer, text string) error {
	out.WriteString(text)
	return out.WriteByte('\n')
}

// joinEscaped escapes the words and joins them.
func joinEscaped(words []string, sep string) string {
	for i, w := range words {
		words[i] = Escape(w)
	}
	return strings.Join(words, sep)
}
