package screen

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// alarm counts what went wrong, and names what did most often.
func alarm(found *findings.Counts, color bool) string {
	var counts []string
	for s := anomaly.Error; s >= anomaly.Warning; s-- {
		n := found.Of(s)
		count := text.Plural(uint64(n), s.String(), s.String()+"s")
		counts = append(counts, text.SeverityColor(s).PaintIf(color && n > 0, count))
	}
	line := strings.Join(counts, ", ")
	if list := found.List(); len(list) > 0 && list[0].Severity >= anomaly.Warning {
		f := &list[0]
		line += fmt.Sprintf(": %s at %s, %s", text.Escape(f.Kind), f.Place(), text.Plural(uint64(f.Count), "time", "times"))
	}
	return line
}

// findingLines returns the lines of the view of anomalies: a row for each Finding,
// and below them what the newest of each says.
//
//	Severity  Kind                Service      Times  Newest     Cause
//	error     rst-instead-of-ack  10.9.0.2:80   2000  12.1s ago  time-wait-shortened
//
//	error  rst-instead-of-ack  RFC 9293 §3.6.1  10.9.0.2:80
//	  conn 2000  frames 8,10,11  2026-01-02T03:04:05.620000Z
//	    The sentence, broken to the width of the terminal.
func findingLines(found *findings.Counts, s *record.Snapshot, o record.Options) []string {
	list := found.List()
	if len(list) == 0 {
		return []string{"No anomalies."}
	}
	g := &text.Grid{Width: o.Width, Color: o.Color, Columns: []text.Column{
		{Title: "Severity", Color: text.SeverityCellColor}, {Title: "Kind"}, {Title: "Service"}, {Title: "Times", Right: true},
		{Title: "Newest", Right: true}, {Title: "Certainty", Drop: 2}, {Title: "Cause", Drop: 1},
	}}
	for i := range list {
		f := &list[i]
		ago := text.Human(max(s.Time.Sub(f.Newest()), 0)) + " ago"
		g.Rows = append(g.Rows, []string{f.Severity.String(), text.Escape(f.Kind), f.Place(), strconv.Itoa(f.Count), ago, f.Confidence.String(), text.Escape(f.Cause)})
	}
	return text.Lines(func(out *bufio.Writer) {
		g.Print(out)
		for i := range list {
			f := &list[i]
			head := []string{text.SeverityColor(f.Severity).PaintIf(o.Color, f.Severity.String()), text.Bold.PaintIf(o.Color, text.Escape(f.Kind))}
			if f.Last.RFC != "" {
				head = append(head, text.Escape(f.Last.RFC))
			}
			text.WriteLine(out, "")
			text.WriteLine(out, strings.Join(append(head, f.Place()), text.Gap))
			facts := table.Facts(&f.Last, o.Time, s.Summary.First)
			if f.Many { // told above
				facts = facts[1:]
			}
			text.WriteLine(out, "  "+strings.Join(facts, text.Gap))
			if len(f.Conns) > 1 {
				text.WriteLine(out, "  first in conns "+text.Frames(f.Conns))
			}
			text.WriteWrapped(out, "    ", text.Escape(f.Last.Text), o.Width, text.Plain)
		}
	})
}
