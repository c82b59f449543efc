package table

import (
	"strings"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// shownOfKind is how many findings of one kind a table shows before it only
// counts them; wide, and a Selection of kinds, show all.
const shownOfKind = 5

// shownConns is how many connections of a finding are named.
const shownConns = 4

// anomalies are those that the Formats of tables tell of.
type anomalies struct {
	record.Quiet
	opts  *record.Options
	found findings.Counts
}

// Connection takes the anomalies of r.
func (a *anomalies) Connection(r *tracker.Record) error {
	a.opts.Find(&a.found, r)
	return nil
}

// Over takes the anomalies of r.
func (a *anomalies) Over(r *tracker.Record) error { return a.Connection(r) }

// Many takes an anomaly over many connections.
func (a *anomalies) Many(odd *anomaly.Anomaly) error {
	a.found.Anomaly(odd, nil)
	return nil
}

// groups returns the findings to list, all or as many as are usual.
func (a *anomalies) groups(all bool) []*findings.Group {
	if all || a.opts.AllAnomalies || len(a.opts.Filter.Kinds) > 0 {
		return a.found.Groups(0)
	}
	return a.found.Groups(shownOfKind)
}

// sentence is what a finding says. What it says with the values of one connection
// is an example for the others.
func sentence(f *findings.Finding, style text.TimeStyle, first tcp.Time) string {
	a := &f.First
	if f.Same {
		return text.Escape(a.Text)
	}
	from := append([]string{"conn " + text.Thousands(uint64(a.Conn))}, frames(a)...)
	return "For example, " + strings.Join(append(from, style.Format(a.Time, first)), ", ") + ": " + text.Escape(a.Text)
}
