package screen

import (
	"net/netip"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A model is what is shown.
type model struct {
	next  func() tea.Msg                 // waits for the next refresh
	watch func(*tracker.Record) *watched // opens a ladder; nil: closes it
	keys  []key

	opts   record.Options // what is shown; On is the host that was asked for
	view   table.View
	on     netip.Addr // the host of the view OneHost
	filter string     // words that a row must hold
	typing bool       // of the filter
	paused bool
	help   bool

	now     *record.Snapshot // that is shown; nil before the first
	newest  *record.Snapshot // that will be when it goes on; nil: none is newer
	changed changes
	found   *findings.Counts // anomalies, up to now

	list   *table.List // of a view of rows
	lines  []string    // of any other view, of the help, or of the ladder
	head   [3]string   // about the whole
	widths []int       // of the list's columns
	ladder *watched    // that is open

	cursor, top int // the row that is chosen, and the first that is seen
	left        int // columns that are to the left of what is seen
	width       int // of the terminal
	height      int
}

// newModel returns what is shown at first.
func newModel(o record.Options, next func() tea.Msg, watch func(*tracker.Record) *watched) (*model, error) {
	m := &model{next: next, watch: watch, keys: allKeys(), opts: o, on: o.On, width: 80, height: 24}
	switch {
	case o.Listening:
		m.view = table.Listeners
	case o.On.IsValid():
		m.view = table.OneHost
	}
	if m.opts.Sort == "" {
		m.opts.Sort = "-conn"
	}
	_, err := table.NewList(table.BothEnds, &record.Snapshot{}, m.opts, "")
	return m, err
}

func (m *model) Init() tea.Cmd { return m.next }

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.draw()
	case *record.Snapshot:
		m.newest = msg
		if !m.paused {
			m.refresh()
		}
		return m, m.next
	case tea.PasteMsg:
		if m.typing {
			m.setFilter(m.filter + printable(msg.Content))
		}
	case tea.KeyPressMsg:
		return m, m.press(msg)
	}
	return m, nil
}

// refresh shows the newest there is.
func (m *model) refresh() {
	if m.newest == nil {
		return
	}
	m.changed.to(m.newest)
	m.now, m.newest = m.newest, nil
	m.found = m.now.Findings(&m.opts)
	m.draw()
}

// press does what a key asks for.
func (m *model) press(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if name == "ctrl+c" {
		return tea.Quit
	}
	if m.typing {
		m.typed(name, k.Text)
		return nil
	}
	for _, key := range m.keys {
		if slices.Contains(key.names, name) {
			return key.do(m)
		}
	}
	return nil
}

// typed changes the filter by a key.
func (m *model) typed(name, text string) {
	switch name {
	case "enter":
		m.typing = false
	case "esc":
		m.typing = false
		m.setFilter("")
	case "ctrl+u":
		m.setFilter("")
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.setFilter(string(r[:len(r)-1]))
		}
	default:
		m.setFilter(m.filter + printable(text))
	}
}

// setFilter shows only the rows that hold the words of text.
func (m *model) setFilter(text string) {
	m.filter = text
	m.draw()
}

// printable returns a text without what is more than itself.
func printable(typed string) string {
	return strings.Map(func(r rune) rune {
		if s := string(r); text.Escape(s) != s {
			return -1
		}
		return r
	}, typed)
}

// show shows another view.
func (m *model) show(v table.View) tea.Cmd {
	m.view, m.help = v, false
	m.close()
	m.cursor, m.top, m.left, m.widths = 0, 0, 0, nil
	m.draw()
	return nil
}

// host shows the sockets of one host: of the one that was asked for, or of the
// server of the connection that is chosen; if that is shown, of its client.
func (m *model) host() tea.Cmd {
	again := m.view == table.OneHost
	switch r := m.chosen(); {
	case m.opts.On.IsValid() && !again:
		m.on = m.opts.On
	case r == nil:
	case again && m.on == r.Ends[tcp.Server].Addr.Addr():
		m.on = r.Ends[tcp.Client].Addr.Addr()
	default:
		m.on = r.Ends[tcp.Server].Addr.Addr()
	}
	return m.show(table.OneHost)
}

// services shows the services; if they are shown, the client hosts, then the programs, if
// any are known, and then the services again.
func (m *model) services() tea.Cmd {
	if m.view == table.Services {
		m.opts.By = table.NextServices(m.now, &m.opts)
	}
	return m.show(table.Services)
}

// sort sorts by a field, from what people look for downwards; if that is done
// already, the other way round.
func (m *model) sort(by string) tea.Cmd {
	if m.opts.Sort == by {
		if rest, reversed := strings.CutPrefix(by, "-"); reversed {
			by = rest
		} else {
			by = "-" + by
		}
	}
	m.opts.Sort, m.cursor, m.top = by, 0, 0
	m.draw()
	return nil
}

// pause stops what is shown, or lets it go on.
func (m *model) pause() tea.Cmd {
	if m.paused = !m.paused; !m.paused {
		m.refresh()
	}
	return nil
}

// open opens the ladder of the connection that is chosen.
func (m *model) open() tea.Cmd {
	if r := m.chosen(); r != nil && m.ladder == nil && !m.help {
		m.ladder = m.watch(r)
		m.left = 0
		m.draw()
	}
	return nil
}

// close closes the ladder.
func (m *model) close() {
	if m.ladder != nil {
		m.watch(nil)
		m.ladder = nil
	}
}

// back goes back from the help, the ladder, or a filter.
func (m *model) back() tea.Cmd {
	switch {
	case m.help:
		m.help = false
	case m.ladder != nil:
		m.close()
	default:
		m.filter = ""
	}
	m.left = 0
	m.draw()
	return nil
}

// chosen returns the connection that is chosen, or nil.
func (m *model) chosen() *tracker.Record {
	if m.list == nil || m.cursor >= m.list.Len() {
		return nil
	}
	return m.record(m.list.Conn(m.cursor))
}

// record returns what is known of a connection, or nil.
func (m *model) record(conn int) *tracker.Record {
	for _, r := range m.now.Records {
		if r.Conn == conn {
			return r
		}
	}
	return nil
}

// move chooses another row, or moves the lines of a text.
func (m *model) move(by int) tea.Cmd {
	if m.rows() == nil {
		m.top += by
	} else {
		m.cursor += by
	}
	m.settle()
	return nil
}

// rows returns the list that is seen, or nil.
func (m *model) rows() *table.List {
	if m.help || m.ladder != nil {
		return nil
	}
	return m.list
}

// draw lays out what is shown anew.
func (m *model) draw() {
	if m.now == nil {
		if m.lines = nil; m.help {
			m.lines = helpLines(m.keys)
		}
		m.settle()
		return
	}
	conn := 0
	if m.list != nil && m.cursor > 0 && m.cursor < m.list.Len() {
		conn = m.list.Conn(m.cursor)
	}
	following := m.top+m.room() >= len(m.lines) // the end of a ladder is what one wants to see
	m.list, m.lines = nil, nil
	o := m.opts
	m.head[0] = m.found.Alarm(o.Color)
	m.head[1], m.head[2] = table.StatusLines(m.now, o)
	o.On, o.Width = m.on, m.width
	switch m.view {
	case table.TimeWaits:
		m.lines = table.TimeWaitLines(m.now, o)
	case table.AnomalyLog:
		m.lines = findingLines(m.found, m.now, o)
	case table.Services:
		m.lines = table.ServiceLines(m.now, o)
	case table.OneHost:
		if !m.on.IsValid() {
			m.lines = []string{"No host: select a connection first."}
			break
		}
		fallthrough
	default:
		// The field to sort by was checked in newModel, or is one of ours.
		m.list, _ = table.NewList(m.view, m.now, o, m.filter)
		if at := m.list.Find(conn); conn != 0 && at >= 0 {
			m.top, m.cursor = m.top+at-m.cursor, at
		}
	}
	if m.list == nil && m.filter != "" {
		m.lines = slices.DeleteFunc(m.lines, func(line string) bool { return !strings.Contains(strings.ToLower(line), strings.ToLower(m.filter)) })
	}
	if m.ladder != nil {
		m.head[2], m.lines = m.ladder.lines(m.record(m.ladder.last.Conn), m.now, o)
		if following {
			m.top = len(m.lines)
		}
	}
	if m.help {
		m.lines = helpLines(m.keys)
	}
	m.settle()
}

// settle brings what is chosen, and what is seen, within what there is.
func (m *model) settle() {
	room := m.room()
	n := len(m.lines)
	if l := m.rows(); l != nil {
		n = l.Len()
		m.cursor = max(min(m.cursor, n-1), 0)
		m.top = min(max(m.top, m.cursor-room+1), m.cursor)
	}
	m.top = max(min(m.top, n-room), 0)
}

// changes knows how connections stood in the Snapshot that is shown, and what
// that changed.
type changes struct {
	stood map[int]standing
	marks map[int]byte // by connection; none: nothing
}

// A standing is what of a connection counts as a change.
type standing struct {
	states    [2]tcp.State
	certain   [2]tcp.Certainty
	anomalies int
	packets   uint64
}

// What stands before a connection that changed.
const (
	markNew   = '+' // it came into sight
	markMoved = '*' // a state, or its certainty, or an anomaly
	markSpoke = '.' // segments were sent
)

// to goes on to the next Snapshot.
func (c *changes) to(s *record.Snapshot) {
	first := c.stood == nil
	before := c.stood
	c.stood, c.marks = make(map[int]standing, len(s.Records)), make(map[int]byte)
	for _, r := range s.Records {
		a, b := &r.Ends[0], &r.Ends[1]
		now := standing{[2]tcp.State{a.State, b.State}, [2]tcp.Certainty{a.Certainty, b.Certainty}, len(r.Anomalies), a.Packets + b.Packets}
		c.stood[r.Conn] = now
		was, known := before[r.Conn]
		spoke := was
		spoke.packets = now.packets
		switch {
		case first:
		case !known:
			c.marks[r.Conn] = markNew
		case now != spoke:
			c.marks[r.Conn] = markMoved
		case now != was:
			c.marks[r.Conn] = markSpoke
		}
	}
}
