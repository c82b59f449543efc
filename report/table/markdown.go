package table

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// markdown prints the table, with all its columns, as GitHub's Markdown has
// tables; the anomalies below it are lists. out keeps the first error, which
// Close returns.
type markdown struct {
	listed
	out *bufio.Writer
}

// NewMarkdown makes the format markdown.
func NewMarkdown(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &markdown{listed: listedFor(o, by), out: out}
}

func (m *markdown) Close(s *record.Summary, t *record.Tally) error {
	t.Left = m.rows.Left
	if t.Listed == 0 {
		text.WriteLine(m.out, record.Nothing(s, t, m.opts))
	} else if err := m.rows.grid(columnsOf(inTable, m.rows.Rows), m.opts, s).PrintMarkdown(m.out); err != nil {
		return err
	}
	groups := m.groups(false)
	for _, g := range groups {
		head := fmt.Sprintf("**%s: %s**", g.Severity, text.EscapeMarkdown(g.Kind))
		if g.RFC != "" {
			head += " (" + text.EscapeMarkdown(g.RFC) + ")"
		}
		text.WriteLine(m.out, "\n"+head+"\n")
		for _, f := range g.List {
			text.WriteLine(m.out, "- "+text.EscapeMarkdown(strings.Join(facts(f, m.opts.Time, s.First), ", ")+": "+text.WithNext(sentence(f, m.opts.Time, s.First), f.First.Next)))
		}
		if len(g.More) > 0 {
			text.WriteLine(m.out, "- "+hidden(g.More))
		}
	}
	if legend := legendOf(groups); legend != "" {
		text.WriteLine(m.out, "\n"+legend)
	}
	if t.Listed > 0 {
		text.WriteLine(m.out, "\n"+statesLine(t, false))
	}
	for _, note := range notes(m.opts, s, t) {
		text.WriteLine(m.out, "\n"+note)
	}
	return text.WriteLine(m.out, "\n"+record.TotalsLine(s, t))
}

// markdownSockets prints Options.On and Options.Listening.
type markdownSockets struct{ sockets }

// NewMarkdownSockets makes the format markdown of Options.On and Options.Listening.
func NewMarkdownSockets(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &markdownSockets{newSockets(out, o, by)}
}

func (m *markdownSockets) Close(*record.Summary, *record.Tally) error {
	g := m.grid(m.opts)
	if len(g.Rows) == 0 && !m.on.IsValid() {
		return text.WriteLine(m.out, noListeners)
	}
	return g.PrintMarkdown(m.out)
}
