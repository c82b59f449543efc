package table

import (
	"bufio"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What stands below a table: the anomalies, grouped by kind with the worst
// first, the states counted, and one line about the whole.

// writeAnomalies writes the anomalies, after a blank line, if there are any:
//
//	error  rst-instead-of-ack  RFC 9293 §3.6.1
//	  conn 1  frames 8,10,11  2026-01-02T03:04:05.620000Z
//	    The sentence, broken to the width of the terminal.
//	  10.9.0.2:81  250 connections  conns 3,4,5,6 and 246 more  from 10.9.0.1
//	    For example, conn 3, frames 20,21, 2026-01-02T03:04:06.000000Z: The sentence.
func (a *anomalies) writeAnomalies(out *bufio.Writer, s *record.Summary, all bool) {
	o, groups := a.opts, a.groups(all)
	for _, g := range groups {
		severity := text.SeverityColor(g.Severity).PaintIf(o.Color, g.Severity.String())
		head := []string{severity, text.Bold.PaintIf(o.Color, text.Escape(g.Kind))}
		if g.RFC != "" {
			head = append(head, text.Escape(g.RFC))
		}
		text.WriteLine(out, "")
		text.WriteLine(out, strings.Join(head, text.Gap))
		for _, f := range g.List {
			text.WriteParts(out, "  ", facts(f, o.Time, s.First), o.Width)
			text.WriteWrapped(out, "    ", sentence(f, o.Time, s.First), o.Width, text.Plain)
			if f.First.Next != "" {
				text.WriteWrapped(out, "    ", text.Next+text.Escape(f.First.Next), o.Width, text.Plain)
			}
		}
		if len(g.More) > 0 {
			text.WriteLine(out, "  "+hidden(g.More))
		}
	}
	if legend := legendOf(groups); legend != "" {
		text.WriteLine(out, "")
		text.WriteWrapped(out, "", legend, o.Width, text.Plain)
	}
}

// legendOf says what the words mean that tell how sure findings are; "" where none
// stands.
func legendOf(groups []*findings.Group) string {
	var stands [anomaly.ConfidenceAmbiguous + 1]bool
	for _, g := range groups {
		for _, f := range g.List {
			stands[f.Confidence] = true
		}
	}
	var list []string
	if stands[anomaly.ConfidenceProved] {
		list = append(list, "proved: the packets alone show it")
	}
	if stands[anomaly.ConfidenceAmbiguous] {
		list = append(list, "ambiguous: the same packets have other explanations")
	}
	return strings.Join(list, "; ")
}

// hidden tells of findings that are not listed.
func hidden(list []*findings.Finding) string {
	n := 0
	for _, f := range list {
		n += f.Count
	}
	return fmt.Sprintf("and %d more (--all-anomalies lists all)", n)
}

// FactsOf returns what is to be told of one anomaly beside its sentence, see facts.
func FactsOf(a *anomaly.Anomaly, style text.TimeStyle, first tcp.Time) []string {
	return facts(findings.One(a), style, first)
}

// facts returns what is to be told of a finding beside its sentence. Times are
// in that style; first is that of the capture's first packet.
func facts(f *findings.Finding, style text.TimeStyle, first tcp.Time) []string {
	return factsBy(f, style, first, frames)
}

// factsBy is facts, with what writes the frames that show an anomaly.
func factsBy(f *findings.Finding, style text.TimeStyle, first tcp.Time, frames func(*anomaly.Anomaly) []string) []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	a := &f.First
	if f.Count == 1 && a.Conn > 0 {
		add("conn %d", a.Conn)
	} else {
		add("%s", f.Place())
	}
	if f.Count > 1 {
		conns := f.Conns()
		add("%s connections", text.Thousands(uint64(f.Count)))
		add("conns %s", few(conns[:min(len(conns), shownConns)], ",", f.Count, strconv.Itoa))
		from := few(f.FirstHosts(), ", ", f.Hosts, netip.Addr.String)
		if f.Hosts == 0 {
			from += " and others"
		}
		add("from %s", from)
	}
	if len(a.Samples) > 0 {
		add("conns %s", text.Frames(a.Samples))
	}
	if f.Count == 1 {
		list = append(list, frames(a)...)
		add("%s", style.Format(a.Time, first))
	} else if f.Same {
		add("first %s", style.Format(a.Time, first))
	}
	if f.Cause != "" {
		add("%s", text.Escape(f.Cause))
	}
	if a.Addr.IsValid() {
		add("%s", text.Plural(uint64(a.Count), "connection", "connections"))
	} else if f.Times > f.Count {
		add("%s times", text.Thousands(uint64(f.Times)))
	}
	if f.Count == 1 && a.Until != 0 {
		add("until %s", style.Format(a.Until, first))
	}
	if f.Confidence != anomaly.ConfidenceAssumed { // what nearly all are tells nothing
		add("%s", f.Confidence.String())
	}
	return list
}

// few writes the first items of n.
func few[T any](items []T, sep string, n int, write func(T) string) string {
	var list []string
	for _, item := range items {
		list = append(list, write(item))
	}
	line := strings.Join(list, sep)
	if more := n - len(items); more > 0 {
		line += fmt.Sprintf(" and %s more", text.Thousands(uint64(more)))
	}
	return line
}

// frames writes the frames that show an anomaly.
func frames(a *anomaly.Anomaly) []string {
	if len(a.Places) > 0 {
		return []string{"frames " + text.Places(a.Places)}
	}
	switch frames := evidence(a); len(frames) {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("frame %d", frames[0])}
	default:
		return []string{"frames " + text.Frames(frames)}
	}
}

// evidence returns the frames that show an anomaly.
func evidence(a *anomaly.Anomaly) []int {
	if len(a.Evidence) == 0 && a.Packet > 0 {
		return []int{a.Packet}
	}
	return a.Evidence
}

// writeWhole writes the lines about the whole: the states, unless nothing is listed,
// the notes, and the totals.
func writeWhole(out *bufio.Writer, o *record.Options, s *record.Summary, t *record.Tally) error {
	if t.Listed > 0 {
		text.WriteLine(out, statesLine(t, o.Color))
	}
	for _, note := range notes(o, s, t) {
		text.WriteWrapped(out, "", note, o.Width, text.Plain)
	}
	return text.WriteLine(out, record.TotalsLine(s, t))
}

// notes are what has to be known beside what is printed.
func notes(o *record.Options, s *record.Summary, t *record.Tally) []string {
	return slices.DeleteFunc(append(tapNotes(s, o), record.NumbersNote(s), record.LeftNote(t), record.TapNote(s, t), record.KernelNote(s), record.PendingNote(s, t, o)), func(note string) bool { return note == "" })
}

// tapNotes say how the clocks of the taps run, and what happened between them; none where
// there is one capture.
func tapNotes(s *record.Summary, o *record.Options) []string {
	if s.Between == nil {
		return nil
	}
	return append(s.Between.Clocks(o.Time, s.First), s.Between.Summaries()...)
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
