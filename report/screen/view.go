package screen

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// How it looks:
//
//	tcpwatch  both ends  by -conn  row 1 of 40  2026-01-02T03:04:05.000000Z   what is shown
//	2 errors, 0 warnings: rst-instead-of-ack at 10.9.0.2:80, 2 times          what went wrong
//	3 packets dropped by the capture, 40 connections, 17 TCP segments         of what
//	States: ESTABLISHED 2  TIME_WAIT 1  CLOSED 1
//	    Proto  Client Address  State       ...
//	>*  tcp    10.9.0.1:37520  TIME_WAIT   ...
//	? help  q quit  / filter  enter ladder  tab view  p pause
//
// No line is wrapped: what is too long goes on to the right of the screen.

const (
	headLines = 4
	footLines = 1
	margin    = 4 // columns before a row: what is chosen, what changed
)

// room returns how many rows, or lines, there is room for.
func (m *model) room() int {
	n := m.height - headLines - footLines
	if m.rows() != nil {
		n-- // the titles
	}
	return max(n, 1)
}

func (m *model) View() tea.View {
	lines := make([]string, 0, m.height)
	for _, line := range m.summary() {
		lines = append(lines, ansi.Truncate(line, m.width, ">"))
	}
	lines = append(lines, m.body()...)
	for len(lines) < m.height-footLines {
		lines = append(lines, "")
	}
	lines = append(lines[:max(m.height-footLines, 0)], ansi.Truncate(m.foot(), m.width, ">"))
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	return v
}

// summary returns the lines at the top: what is shown, and three about the whole.
func (m *model) summary() []string {
	what := []string{"tcpwatch", m.title()}
	if m.opts.Sort != "" && m.rows() != nil {
		what = append(what, "by "+m.opts.Sort)
	}
	if m.now == nil || m.now.Time == 0 {
		return []string{strings.Join(what, "  "), "Waiting for packets.", "", ""}
	}
	if m.paused {
		what = append(what, "PAUSED")
	}
	if m.filter != "" {
		what = append(what, "only "+m.filter)
	}
	if m.ladder != nil && !m.help {
		what = append(what, "idle "+text.Human(max(m.now.Time.Sub(m.ladder.last.End), 0)))
	}
	if where := m.where(); where != "" {
		what = append(what, where)
	}
	return []string{strings.Join(append(what, m.opts.TimeOf(m.now)), "  "), m.head[0], m.head[1], m.head[2]}
}

// where says which of the rows, or lines, are seen, where that is not plain; of rows
// that are filtered, how many there are.
func (m *model) where() string {
	room := m.room()
	list := m.rows()
	switch {
	case list == nil && len(m.lines) > room:
		return fmt.Sprintf("lines %d-%d of %d", m.top+1, min(m.top+room, len(m.lines)), len(m.lines))
	case list == nil:
	case list.Len() > room:
		return fmt.Sprintf("row %d of %d", m.cursor+1, list.Len())
	case m.filter != "":
		return text.Plural(uint64(list.Len()), "row", "rows")
	}
	return ""
}

// title says what is shown.
func (m *model) title() string {
	switch {
	case m.help:
		return "help"
	case m.ladder != nil:
		return "ladder"
	case m.view == table.OneHost && m.on.IsValid():
		return "on " + m.on.String()
	}
	return m.view.String()
}

// body returns the rows, or lines, that are seen.
func (m *model) body() []string {
	if m.now == nil && !m.help {
		return nil
	}
	list := m.rows()
	if list == nil {
		lines := m.lines[min(m.top, len(m.lines)):min(m.top+m.room(), len(m.lines))]
		return m.cut(lines, 0)
	}
	to := min(m.top+m.room(), list.Len())
	lines, widths := list.Draw(m.top, to, m.widths)
	m.widths = widths
	lines = m.cut(lines, margin)
	if list.Len() == 0 {
		nothing := "nothing"
		if m.opts.Existing && m.filter == "" && len(m.now.Records) > 0 {
			nothing += " (x shows closed ones)"
		}
		return append(lines, strings.Repeat(" ", margin)+nothing)
	}
	lines[0] = strings.Repeat(" ", margin) + lines[0]
	for i := m.top; i < to; i++ {
		at := i - m.top + 1
		lines[at] = m.before(i, list.Conn(i)) + lines[at]
		if i == m.cursor && m.opts.Color {
			row := ansi.Strip(lines[at])
			lines[at] = "\x1b[7m" + row + strings.Repeat(" ", max(m.width-len(row), 0)) + "\x1b[0m"
		}
	}
	return lines
}

// before returns what stands before row i.
func (m *model) before(i, conn int) string {
	marks := []byte("    ")
	if i == m.cursor {
		marks[0] = '>'
	}
	if mark := m.changed.marks[conn]; mark != 0 {
		marks[1] = mark
	}
	before := string(marks)
	if m.opts.Color && (marks[1] == markNew || marks[1] == markMoved) {
		return "\x1b[1m" + before + "\x1b[0m"
	}
	return before
}

// cut returns of the lines what is seen beside the margin.
func (m *model) cut(lines []string, margin int) []string {
	room := max(m.width-margin, 1)
	seen := make([]string, len(lines))
	for i, line := range lines {
		seen[i] = ansi.Cut(line, m.left, m.left+room)
		if ansi.StringWidth(line) > m.left+room {
			seen[i] = ansi.Truncate(seen[i], room-1, "") + ">"
		}
	}
	return seen
}

// foot returns the line at the bottom.
func (m *model) foot() string {
	switch {
	case m.typing:
		return "/" + m.filter + "_"
	case m.ladder != nil:
		return "up down  esc back  q quit  p pause"
	case m.help:
		return "up down  esc back  q quit"
	}
	return "? help  q quit  / filter  enter ladder  tab view  s a i b n c sort  p pause"
}
