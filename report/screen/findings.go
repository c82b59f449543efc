package screen

import (
	"bufio"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
)

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
	g := findings.Grid(list, s.Time)
	g.Width, g.Color = o.Width, o.Color
	return text.Lines(func(out *bufio.Writer) {
		g.Print(out)
		for _, f := range list {
			head := []string{text.SeverityColor(f.Severity).PaintIf(o.Color, f.Severity.String()), text.Bold.PaintIf(o.Color, text.Escape(f.Kind))}
			if f.Last.RFC != "" {
				head = append(head, text.Escape(f.Last.RFC))
			}
			text.WriteLine(out, "")
			text.WriteLine(out, strings.Join(append(head, f.Place()), text.Gap))
			facts := table.FactsOf(&f.Last, o.Time, s.Summary.First)
			if f.Many { // told above
				facts = facts[1:]
			}
			text.WriteLine(out, "  "+strings.Join(facts, text.Gap))
			if conns := f.Conns(); len(conns) > 1 {
				text.WriteLine(out, "  first in conns "+text.Frames(conns))
			}
			text.WriteWrapped(out, "    ", text.Escape(text.WithNext(f.Last.Text, f.Last.Next)), o.Width, text.Plain)
		}
	})
}
