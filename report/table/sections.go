package table

import (
	"bufio"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What stands below a table: the anomalies, grouped by kind with the worst
// first, the states counted, and one line about the whole.

// shownOfKind is how many anomalies of one kind a table shows before it only
// counts them; wide, and a Selection of kinds, show all.
const shownOfKind = 10

// A Group is the anomalies of one kind, in the order of their times.
type Group struct {
	Kind     string
	Severity anomaly.Severity
	RFC      string
	List     []*anomaly.Anomaly
	Hidden   int // how many more there are
}

// Groups returns the anomalies that were kept, the worst kinds first, and of
// those the ones over many connections: a port scan explains what follows. Of
// each kind the first are listed, as many as shown says; 0: all.
func (c *Connections) Groups(shown int) []Group {
	var list []*anomaly.Anomaly
	for i := range c.over {
		list = append(list, &c.over[i])
	}
	for i := range c.Rows {
		for j := range c.Rows[i].Record.Anomalies {
			list = append(list, &c.Rows[i].Record.Anomalies[j])
		}
	}
	slices.SortStableFunc(list, func(a, b *anomaly.Anomaly) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity), cmp.Compare(min(a.Conn, 1), min(b.Conn, 1)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.RFC, b.RFC),
			cmp.Compare(a.Time, b.Time), cmp.Compare(a.Conn, b.Conn))
	})
	var groups []Group
	for _, a := range list {
		n := len(groups)
		if n == 0 || groups[n-1].Kind != a.Kind || groups[n-1].Severity != a.Severity || groups[n-1].RFC != a.RFC {
			groups = append(groups, Group{Kind: a.Kind, Severity: a.Severity, RFC: a.RFC})
			n++
		}
		g := &groups[n-1]
		if shown > 0 && len(g.List) == shown {
			g.Hidden++
			continue
		}
		g.List = append(g.List, a)
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
func (c *Connections) writeAnomalies(out *bufio.Writer, o *record.Options, s *record.Summary, all bool) {
	for _, g := range c.Groups(shownOf(all || len(o.Filter.Kinds) > 0)) {
		severity := text.SeverityColor(g.Severity).PaintIf(o.Color, g.Severity.String())
		head := []string{severity, text.Bold.PaintIf(o.Color, text.Escape(g.Kind))}
		if g.RFC != "" {
			head = append(head, text.Escape(g.RFC))
		}
		text.WriteLine(out, "")
		text.WriteLine(out, strings.Join(head, text.Gap))
		for _, a := range g.List {
			text.WriteLine(out, "  "+strings.Join(Facts(a, o.Time, s.First), text.Gap))
			text.WriteWrapped(out, "    ", text.Escape(a.Text), o.Width, text.Plain)
		}
		if g.Hidden > 0 {
			text.WriteLine(out, fmt.Sprintf("  and %d more", g.Hidden))
		}
	}
}

// Facts returns what is to be told of an anomaly beside its sentence. Times are
// in that style; first is that of the capture's first packet.
func Facts(a *anomaly.Anomaly, style text.TimeStyle, first tcp.Time) []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
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
		add("conns %s", text.Frames(a.Samples))
	}
	if frames := evidence(a); len(frames) == 1 {
		add("frame %d", frames[0])
	} else if len(frames) > 1 {
		add("frames %s", text.Frames(frames))
	}
	add("%s", style.Format(a.Time, first))
	if a.Cause != "" {
		add("%s", text.Escape(a.Cause))
	}
	if a.Addr.IsValid() {
		add("%s", text.Plural(uint64(a.Count), "connection", "connections"))
	} else if a.Count > 1 {
		add("%d times", a.Count)
	}
	if a.Until != 0 {
		add("until %s", style.Format(a.Until, first))
	}
	if a.Confidence != anomaly.ConfidenceProved {
		add("%s", a.Confidence.String())
	}
	return list
}

// evidence returns the frames that show an anomaly.
func evidence(a *anomaly.Anomaly) []int {
	if len(a.Evidence) == 0 && a.Packet > 0 {
		return []int{a.Packet}
	}
	return a.Evidence
}

// statesLine counts the states of both ends, the most frequent first.
func statesLine(t *record.Tally, colors bool) string {
	var parts []string
	for _, s := range t.States.Frequent() {
		name := text.StateColor(s.String()).PaintIf(colors, s.String())
		parts = append(parts, name+" "+strconv.Itoa(t.States.Total(s)))
	}
	return "States: " + strings.Join(parts, text.Gap)
}
