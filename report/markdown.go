package report

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// markdown prints the table, with all its columns, as GitHub's Markdown has
// tables; the anomalies below it are lists. out keeps the first error, which
// Close returns.
type markdown struct {
	quiet
	connections
	out  *bufio.Writer
	opts *Options
}

func newMarkdown(out *bufio.Writer, o *Options, by order) format {
	return &markdown{out: out, opts: o, connections: connections{by: by}}
}

func (m *markdown) connection(r *tracker.Record) error {
	m.keep(r)
	return nil
}

func (m *markdown) many(a *tracker.Anomaly) error {
	m.keepMany(a)
	return nil
}

func (m *markdown) close(s *Summary, t *tally) error {
	if t.listed == 0 {
		writeLine(m.out, nothing(s, t, m.opts))
	} else if err := m.grid(tableColumns, m.opts, s).writeMarkdown(m.out); err != nil {
		return err
	}
	for _, g := range m.groups(shownOf(len(m.opts.Filter.Kinds) > 0)) {
		head := fmt.Sprintf("**%s: %s**", g.severity, escapeMarkdown(g.kind))
		if g.rfc != "" {
			head += " (" + escapeMarkdown(g.rfc) + ")"
		}
		writeLine(m.out, "\n"+head+"\n")
		for _, a := range g.list {
			writeLine(m.out, "- "+escapeMarkdown(strings.Join(facts(a, m.opts.Time, s.First), ", ")+": "+a.Text))
		}
		if g.hidden > 0 {
			writeLine(m.out, fmt.Sprintf("- and %d more", g.hidden))
		}
	}
	if t.listed > 0 {
		writeLine(m.out, "\n"+statesLine(t, false))
	}
	return writeLine(m.out, "\n"+totalsLine(s, t))
}

// markdownSockets prints Options.On and Options.Listening.
type markdownSockets struct{ sockets }

func newMarkdownSockets(out *bufio.Writer, o *Options, by order) format {
	return &markdownSockets{newSockets(out, o, by)}
}

func (m *markdownSockets) close(*Summary, *tally) error {
	g := m.grid(m.opts)
	if len(g.rows) == 0 && !m.on.IsValid() {
		return writeLine(m.out, noListeners)
	}
	return g.writeMarkdown(m.out)
}
