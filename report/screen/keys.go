package screen

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/tcpwatch/tcpwatch/report/table"
)

// A key is what some keys of the keyboard do.
type key struct {
	names []string
	help  string
	do    func(*model) tea.Cmd
}

// allKeys returns all keys but those of the filter while it is typed. The help
// is made of them.
func allKeys() []key {
	sorted := func(name, help, by string) key {
		return key{[]string{name}, "sort by " + help, func(m *model) tea.Cmd { return m.sort(by) }}
	}
	view := func(name, help string, v table.View) key {
		return key{[]string{name}, help, func(m *model) tea.Cmd { return m.show(v) }}
	}
	moves := func(help string, by func(*model) int, names ...string) key {
		return key{names, help, func(m *model) tea.Cmd { return m.move(by(m)) }}
	}
	sideways := func(help string, by int, names ...string) key {
		return key{names, help, func(m *model) tea.Cmd { m.left = max(m.left+by, 0); return nil }}
	}
	const all = 1 << 30
	return []key{
		view("1", "both ends of every connection", table.BothEnds),
		{[]string{"2"}, "the sockets of one host: --on, or the connection's server; again: its client", (*model).host},
		view("3", "the listening sockets", table.Listeners),
		view("4", "the connections in TIME_WAIT", table.TimeWaits),
		view("5", "the anomalies, equal ones in one row", table.AnomalyLog),
		{[]string{"6"}, "the services, the worst first; again: client hosts, programs", (*model).services},
		{[]string{"tab"}, "the next view", func(m *model) tea.Cmd { return m.another(1) }},
		{[]string{"shift+tab"}, "the previous view", func(m *model) tea.Cmd { return m.another(-1) }},
		{[]string{"enter"}, "the ladder of the connection: its newest segments, and its history", (*model).open},
		sorted("s", "state of the client; the same key again reverses the order", "client.state"),
		sorted("a", "age, the oldest first", "start"),
		sorted("i", "idle time, the longest first", "end"),
		sorted("b", "bytes, the most first", "-bytes"),
		sorted("n", "number of anomalies, the most first", "-anomalies"),
		sorted("c", "number of the connection, the newest first", "-conn"),
		{[]string{"/"}, "filter: only rows with all the words; enter keeps it, esc clears it", func(m *model) tea.Cmd { m.typing, m.help = true, false; m.close(); m.draw(); return nil }},
		{[]string{"x"}, "show or hide closed connections", func(m *model) tea.Cmd { m.opts.Existing = !m.opts.Existing; m.draw(); return nil }},
		{[]string{"d"}, "only connections that the kernel has in another state (-p); again: all", func(m *model) tea.Cmd { m.opts.Differing = !m.opts.Differing; m.draw(); return nil }},
		{[]string{"p", "space"}, "pause, continue", (*model).pause},
		moves("up", func(*model) int { return -1 }, "up", "k"),
		moves("down", func(*model) int { return 1 }, "down", "j"),
		moves("a page up", func(m *model) int { return -m.room() }, "pgup", "ctrl+b"),
		moves("a page down", func(m *model) int { return m.room() }, "pgdown", "ctrl+f"),
		moves("go to the first", func(*model) int { return -all }, "home", "g"),
		moves("go to the last", func(*model) int { return all }, "end", "G"),
		sideways("scroll left", -8, "left", "h"),
		sideways("scroll right, if lines are longer than the screen", 8, "right", "l"),
		{[]string{"esc"}, "back", (*model).back},
		{[]string{"ctrl+z"}, "suspend; fg comes back", func(*model) tea.Cmd { return tea.Suspend }},
		{[]string{"?"}, "this help", func(m *model) tea.Cmd { m.help, m.top = !m.help, 0; m.draw(); return nil }},
		{[]string{"q"}, "quit, as Ctrl-C does", func(*model) tea.Cmd { return tea.Quit }},
	}
}

// another shows the view that stands by places after the one that is shown.
func (m *model) another(by int) tea.Cmd {
	views := table.Views()
	v := views[(int(m.view)+by+len(views))%len(views)]
	if v == table.OneHost {
		return m.host()
	}
	return m.show(v)
}

// helpLines returns the help.
func helpLines(keys []key) []string {
	var lines []string
	for _, k := range keys {
		lines = append(lines, fmt.Sprintf("%-13s  %s", strings.Join(k.names, " "), k.help))
	}
	return append(lines, "",
		"A ? after a state: assumed; it holds if the captured segments arrived.",
		"Before a row:  > selected   + new   * states or anomalies changed   . new packets")
}
