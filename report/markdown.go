package report

import (
	"bufio"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
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

func (m *markdown) many(a *anomaly.Anomaly) error {
	m.keepMany(a)
	return nil
}

func (m *markdown) close(s *Summary, t *tally) error {
	if t.listed == 0 {
		writeLine(m.out, nothing(s, t, m.opts))
	} else if err := m.grid(tableColumns, m.opts, s).writeMarkdown(m.out); err != nil {
		return err
	}
	l := &look{time: m.opts.Time, first: s.First}
	for _, g := range m.groups(shownOf(len(m.opts.Filter.Kinds) > 0)) {
		head := fmt.Sprintf("**%s: %s**", g.severity, escapeMarkdown(g.kind))
		if g.rfc != "" {
			head += " (" + escapeMarkdown(g.rfc) + ")"
		}
		writeLine(m.out, "\n"+head+"\n")
		for _, a := range g.list {
			writeLine(m.out, "- "+escapeMarkdown(strings.Join(l.facts(a), ", ")+": "+a.Text))
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

// writeMarkdown writes the grid as a table in Markdown. Its header stays even
// without column titles, because there is no table without one.
func (g *grid) writeMarkdown(out *bufio.Writer) error {
	widths := make([]int, len(g.columns))
	lines := [][]string{g.titles()}
	if g.noHeader {
		lines[0] = make([]string, len(g.columns))
	}
	for _, row := range g.rows {
		var line []string
		for _, cell := range row {
			line = append(line, escapeMarkdown(cell))
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), len("--:"))
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if g.columns[i].right {
				cell, pad = pad, cell
			}
			out.WriteString("| ")
			out.WriteString(cell)
			out.WriteString(pad)
			out.WriteByte(' ')
		}
		writeLine(out, "|")
		if n > 0 {
			continue
		}
		for i, c := range g.columns {
			rule := strings.Repeat("-", widths[i])
			if c.right {
				rule = rule[1:] + ":"
			}
			fmt.Fprintf(out, "| %s ", rule)
		}
		writeLine(out, "|")
	}
	return nil
}

// markdownMarks are what Markdown would take for more than text, HTML included.
// An underscore inside a word is text to GitHub.
var markdownMarks = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "|", `\|`, "<", "&lt;", "&", "&amp;", "](", `]\(`)

// escapeMarkdown returns text that Markdown shows as it stands.
func escapeMarkdown(text string) string {
	text = Escape(text)
	if !strings.ContainsAny(text, "\\`*|<&]") {
		return text
	}
	return markdownMarks.Replace(text)
}
