package table

import (
	"bufio"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// What displays show of Snapshots. Their tables are those of the formats, with
// the columns that matter while a connection goes on. A List knows the rows of
// one, in their order, and lays out those that a display has room for: with
// 10,000 connections only what is seen is drawn.
//
//	Proto  Client Address   State         Server Address  State         Idle   Age  Sent  Received  Conn  Closed By  Anomalies
//	tcp    10.9.0.1:37520   ESTABLISHED   10.9.0.2:80     ESTABLISHED?  12ms  4.1s     3        12     1  -

// A View names what a display can show of a Snapshot.
type View uint8

const (
	BothEnds   View = iota // a connection a line, with the states of both ends
	OneHost                // what netstat would show on the host of Options.On
	Listeners              // the listening sockets that the traffic gives away
	TimeWaits              // who is left in TIME_WAIT, and for how long
	AnomalyLog             // what went wrong, the worst first
	Services               // a line for each service, or client host, as Options.By says
)

// Views returns all Views.
func Views() []View { return []View{BothEnds, OneHost, Listeners, TimeWaits, AnomalyLog, Services} }

func (v View) String() string {
	return [...]string{"both ends", "one host", "listeners", "TIME_WAIT", "anomalies", "services"}[v]
}

// A List is the rows that a View shows of a Snapshot.
type List struct {
	columns []text.Column
	conns   []int // by row; 0 where it is of no one connection
	cells   func(i int) []string
	color   bool
}

// NewList returns the rows of the Views BothEnds, OneHost and Listeners. Only
// those are in it that hold all the words of match, in any case. It keeps the
// Snapshot, and changes nothing in it. The error tells a field to sort by that
// does not exist.
func NewList(v View, s *record.Snapshot, o record.Options, match string) (*List, error) {
	by, err := record.ParseOrder(o.Sort)
	if err != nil {
		return nil, err
	}
	l := &List{color: o.Color}
	if v == BothEnds {
		l.connections(s, &o, by)
	} else {
		l.sockets(v, s, &o, by)
	}
	l.only(match)
	return l, nil
}

// connections fills the list with connections.
func (l *List) connections(s *record.Snapshot, o *record.Options, by record.Order) {
	rows := connectionsOf(s, o, by).Rows
	columns := columnsOf(inLive, rows)
	for _, c := range columns {
		l.columns = append(l.columns, c.Column)
	}
	for _, r := range rows {
		l.conns = append(l.conns, r.Conn)
	}
	look := newLook(o, s.Whole())
	l.cells = func(i int) []string {
		cells := make([]string, len(columns))
		for j, c := range columns {
			cells[j] = c.cell(rows[i].Record, look)
		}
		return cells
	}
}

// sockets fills the list with sockets.
func (l *List) sockets(v View, s *record.Snapshot, o *record.Options, by record.Order) {
	k := newSockets(nil, o, by)
	if k.listening = v == Listeners; k.listening {
		k.on = record.Options{}.On
	}
	for _, r := range s.Records {
		if o.Selects(r, true) {
			k.Connection(r)
		}
	}
	l.columns = k.columns()
	list := k.list()
	for i := range list {
		l.conns = append(l.conns, list[i].Conn)
	}
	l.cells = func(i int) []string { return k.cells(&list[i]) }
}

// only leaves in the list the rows that hold all the words of match.
func (l *List) only(match string) {
	words := strings.Fields(strings.ToLower(match))
	if len(words) == 0 {
		return
	}
	var conns, rows []int
	for i := range l.conns {
		if holdsAll(l.cells(i), words) {
			conns, rows = append(conns, l.conns[i]), append(rows, i)
		}
	}
	all := l.cells
	l.conns, l.cells = conns, func(i int) []string { return all(rows[i]) }
}

// holdsAll reports whether the cells hold all the words, which are in lower
// case.
func holdsAll(cells, words []string) bool {
	text := strings.ToLower(strings.Join(cells, " "))
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// Len returns how many rows there are.
func (l *List) Len() int { return len(l.conns) }

// Conn returns the number of the connection that row i is of, or 0.
func (l *List) Conn(i int) int { return l.conns[i] }

// Find returns the row of a connection, or -1.
func (l *List) Find(conn int) int { return slices.Index(l.conns, conn) }

// Titles returns the titles of the columns.
func (l *List) Titles() []string { return (&text.Grid{Columns: l.columns}).Titles() }

// Cells returns the cells of row i, escaped.
func (l *List) Cells(i int) []string { return l.cells(i) }

// Draw lays out the titles and the rows from one up to, but not including,
// another, a line each. Columns are at least as wide as widths says, which is
// what the Draw before returned, so that they do not jump about; nil at first.
func (l *List) Draw(from, to int, widths []int) (lines []string, grown []int) {
	g := &text.Grid{Columns: l.columns, Color: l.color}
	for i := from; i < to; i++ {
		g.Rows = append(g.Rows, l.cells(i))
	}
	return g.Lines(widths)
}

// connectionsOf returns the connections of the Snapshot that are selected, in
// order. They are the Snapshot's own.
func connectionsOf(s *record.Snapshot, o *record.Options, by record.Order) *Connections {
	c := &Connections{By: by}
	for _, r := range s.Records {
		if o.Selects(r, true) {
			c.Rows = append(c.Rows, &Row{Key: by.Key(r), Record: r})
		}
	}
	c.Sort()
	return c
}

// TimeWaitLines returns the lines of the View TimeWaits, as wide as
// Options.Width.
func TimeWaitLines(s *record.Snapshot, o record.Options) []string {
	c := connectionsOf(s, &o, record.Order{})
	lines := text.Lines(func(out *bufio.Writer) { c.writeTimeWaits(out, &o, s.Whole(), false) })
	if len(lines) == 1 {
		return []string{"No end is in TIME_WAIT."}
	}
	return lines[1:] // without the blank line that stands between a table and this
}

// StatusLines returns two lines about the whole: what was captured and what of
// it is missing, and how many ends are in which state.
func StatusLines(s *record.Snapshot, o record.Options) (totals, states string) {
	t := record.NewTally()
	for _, r := range s.Records {
		t.Connection(r)
	}
	parts := append(record.Shortfalls(&s.Summary), // first, where no terminal is too narrow for them
		text.Plural(uint64(len(s.Records)), "connection", "connections"),
		text.Plural(s.Summary.TCPPackets, "TCP segment", "TCP segments"))
	if k := s.Summary.Kernel; k != nil && k.Differed > 0 {
		parts = append(parts, text.Plural(k.Differed, "difference", "differences")+" from the kernel's states")
	}
	return strings.Join(parts, ", "), statesLine(t, o.Color)
}
