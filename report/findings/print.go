package findings

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Alarm is a line that counts errors and warnings, and names the gravest Finding:
//
//	2 errors, 1 warning: rst-instead-of-ack at 10.9.0.2:80, 2 times
func (c *Counts) Alarm(color bool) string {
	var counts []string
	for s := anomaly.Error; s >= anomaly.Warning; s-- {
		n := c.Of(s)
		count := text.Plural(uint64(n), s.String(), s.String()+"s")
		counts = append(counts, text.SeverityColor(s).PaintIf(color && n > 0, count))
	}
	line := strings.Join(counts, ", ")
	if list := c.List(); len(list) > 0 && list[0].Severity >= anomaly.Warning {
		f := list[0]
		line += fmt.Sprintf(": %s at %s, %s", text.Escape(f.Kind), f.Place(), text.Plural(uint64(f.Count), "time", "times"))
	}
	return line
}

// Grid lays out Findings, a row for each, as seen at a moment:
//
//	Severity  Kind                Service      Times     Newest  Certainty  Cause
//	error     rst-instead-of-ack  10.9.0.2:80   2000  12.1s ago  assumed    time-wait-shortened
func Grid(list []*Finding, now tcp.Time) *text.Grid {
	g := &text.Grid{Columns: []text.Column{
		{Title: "Severity", Color: text.SeverityCellColor}, {Title: "Kind"}, {Title: "Service"}, {Title: "Times", Right: true},
		{Title: "Newest", Right: true}, {Title: "Certainty", Drop: 2}, {Title: "Cause", Drop: 1},
	}}
	for _, f := range list {
		ago := text.Human(max(now.Sub(f.Newest()), 0)) + " ago"
		g.Rows = append(g.Rows, []string{f.Severity.String(), text.Escape(f.Kind), f.Place(), strconv.Itoa(f.Count), ago, f.Confidence.String(), text.Escape(f.Cause)})
	}
	return g
}
