// Package table prints connections for people, as netstat does.
//
//	table.go     two ends a line, netstat's look; wide is the same with more columns
//	cells.go     what the columns of these hold
//	netstat.go   the table of one host, and the listening sockets
//	markdown.go  the table for GitHub
//	summary.go   counts only
//	services.go  a line for each service, or client host
//	sections.go  below tables: the anomalies, and the states counted
//	findings.go  the anomalies to tell of, equal ones as one, and what they say
//	timewait.go  below tables: who is left in TIME_WAIT, and for how long
//	port.go      one port: who holds it, and when it can be bound again
//	live.go      the tables of displays, while a capture goes on
//
// An end whose state is only assumed carries a "?" in every table.
package table

import (
	"bufio"
	"cmp"
	"slices"
	"strconv"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The table: one connection a line, with the state of each end beside its
// address, as netstat has one end a line.
//
//	Proto  Client Address    State      Server Address  State   Conn  Sent  Received  Duration  Closed By  Anomalies
//	tcp    10.9.0.1:37520    TIME_WAIT  10.9.0.2:80     CLOSED     1     3         0     620ms  client     rst-instead-of-ack
//
// Sent and Received are payload, seen from the client. On a terminal that is too
// narrow columns are left out from the right of this order: addresses, states and
// Anomalies (which always stay), Conn, Proto, Closed By, Sent with Received,
// Duration. A line below says which; no cell is cut. What is not known is "-", so
// that awk counts columns right; only the last column is left empty.
//
// wide has the same columns first, adds what else is known, and is never
// narrowed. In it a state is followed by the set of all that remain possible:
// UNKNOWN{FIN_WAIT_2,CLOSED}.

// A column is one column of these tables.
type column struct {
	in tables
	text.Column
	cell func(r *tracker.Record, l *look) string
}

// ofHosts are the columns of what the kernels of hosts say. They are there where a cell
// of theirs is not "-".
var ofHosts = []string{"Process", "Service", "Pod", "Kernel"}

// tables is a set of the tables that a column is in.
type tables uint8

const (
	inTable tables = 1 << iota // and markdown
	inWide
	inLive // of displays; see live.go

	everywhere = inTable | inWide | inLive
)

// allColumns are the columns of all these tables, in their order. The numbers,
// Drop, matter to table alone, which a narrow terminal takes columns from.
var allColumns = []column{
	{everywhere, text.Column{Title: "Proto", Drop: 4}, protocolCell},
	addressColumn(everywhere, "Client Address", tcp.Client),
	stateColumn(inTable|inLive, tcp.Client, text.State),
	stateColumn(inWide, tcp.Client, stateSetText),
	addressColumn(everywhere, "Server Address", tcp.Server),
	stateColumn(inTable|inLive, tcp.Server, text.State),
	stateColumn(inWide, tcp.Server, stateSetText),
	numberColumn(inTable|inWide, "conn", 5),
	{inLive, text.Column{Title: "Idle", Right: true}, idleCell},
	{inLive, text.Column{Title: "Age", Right: true}, ageCell},
	numberColumn(everywhere, "client.bytes", 2),
	numberColumn(everywhere, "server.bytes", 2),
	numberColumn(inLive, "conn", 0),
	numberColumn(inTable|inWide, "duration", 1),
	wordColumn(everywhere, "closed_by", 3),
	colored(wordColumn(inWide, "client.proved_state", 0)),
	colored(wordColumn(inWide, "server.proved_state", 0)),
	numberColumn(inWide, "client.packets", 0),
	numberColumn(inWide, "server.packets", 0),
	numberColumn(inWide, "client.retransmits", 0),
	numberColumn(inWide, "server.retransmits", 0),
	numberColumn(inWide, "handshake_rtt", 0),
	wordColumn(inWide, "start", 0),
	stackColumn(inWide, "Client Stack", tcp.Client),
	stackColumn(inWide, "Server Stack", tcp.Server),
	{inWide, text.Column{Title: "Timers"}, timersCell},
	ownerColumn("Process", func(o *tcp.Owner) string {
		if o.PID == 0 {
			return o.Program
		}
		return o.Program + "/" + strconv.Itoa(o.PID)
	}),
	ownerColumn("Service", func(o *tcp.Owner) string { return cmp.Or(o.Unit, o.Container) }),
	ownerColumn("Pod", func(o *tcp.Owner) string { return o.Pod }),
	hostColumn("Kernel", func(s *tcp.Socket) string {
		if !s.Differs {
			return ""
		}
		return s.State.String()
	}),
	{everywhere, text.Column{Title: "Anomalies"}, anomaliesCell},
}

// columnsOf returns the columns of one table, of these rows.
func columnsOf(t tables, rows []*Row) []column {
	return slices.DeleteFunc(slices.Clone(allColumns), func(c column) bool {
		known := func(r *Row) bool { return c.cell(r.Record, nil) != "-" }
		return c.in&t == 0 || slices.Contains(ofHosts, c.Title) && !slices.ContainsFunc(rows, known)
	})
}

// table prints the formats table and wide.
type table struct {
	listed
	out  *bufio.Writer
	in   tables
	wide bool
}

// New makes the format table.
func New(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &table{listed: listedFor(o, by), out: out, in: inTable}
}

// NewWide makes the format wide.
func NewWide(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &table{listed: listedFor(o, by), out: out, in: inWide, wide: true}
}

// Close prints the table, and what stands below it. What matters most is on the
// first screen: the anomalies stand above a table that takes more than half of it,
// and above one that is longer than a screen the services.
func (t *table) Close(s *record.Summary, tally *record.Tally) error {
	tally.Left = t.rows.Left
	height := cmp.Or(t.opts.Height, usualHeight)
	above := tally.Listed > height/2
	if above {
		t.writeAnomaliesAbove(s)
	}
	if tally.Listed > height {
		if err := t.writeServicesAbove(tally); err != nil {
			return err
		}
	}
	if tally.Listed == 0 {
		text.WriteLine(t.out, record.Nothing(s, tally, t.opts))
	} else {
		g := t.rows.grid(columnsOf(t.in, t.rows.Rows), t.opts, s)
		if t.wide {
			g.Width = 0
		}
		if err := g.Print(t.out); err != nil {
			return err
		}
	}
	if !above {
		t.writeAnomalies(t.out, s, t.wide)
	}
	few := t.rows.timeWaitLine(t.opts, t.wide)
	if few == "" {
		if err := t.rows.writeTimeWaits(t.out, t.opts, s, t.wide); err != nil {
			return err
		}
	}
	text.WriteLine(t.out, "")
	if few != "" {
		text.WriteLine(t.out, few)
	}
	return writeWhole(t.out, t.opts, s, tally)
}

// writeAnomaliesAbove writes the anomalies, and a blank line, if there are any.
func (t *table) writeAnomaliesAbove(s *record.Summary) {
	lines := text.Lines(func(out *bufio.Writer) { t.writeAnomalies(out, s, t.wide) })
	for _, line := range append(lines[1:], lines[0]) { // the blank line comes after them
		if len(lines) > 1 {
			text.WriteLine(t.out, line)
		}
	}
}

// writeServicesAbove writes the services, and a blank line.
func (t *table) writeServicesAbove(tally *record.Tally) error {
	o := *t.opts
	if t.wide {
		o.Width = 0
	}
	if err := writeServices(t.out, &o, tally.Services, shownServices); err != nil {
		return err
	}
	return text.WriteLine(t.out, "")
}

// listed is what the Formats that list connections, with the anomalies below them,
// have in common, all of it but Close.
type listed struct {
	anomalies
	rows Connections
}

func listedFor(o *record.Options, by record.Order) listed {
	return listed{anomalies: anomalies{opts: o, found: findings.Counts{Each: o.AllAnomalies, All: true, Memory: o.Memory / 2}}, rows: Connections{By: by, Memory: o.Memory / 2}}
}

func (l *listed) Connection(r *tracker.Record) error {
	l.rows.Connection(r)
	return l.anomalies.Connection(r)
}

// Connections keep the rows that a table will print.
type Connections struct {
	record.Quiet
	By     record.Order
	Rows   []*Row
	Memory int64 // octets that the rows may take, about; 0: any
	Left   int   // connections that there was no room for

	octets int64 // that the rows take
}

// rowMemory is what a row takes until it is printed, without the texts of its anomalies:
// a copy of the record, and its cells.
const rowMemory = int64(unsafe.Sizeof(Row{})+unsafe.Sizeof(tracker.Record{})) + 1000

// room reports whether there is room for a row of r, and takes it.
func (c *Connections) room(r *tracker.Record) bool {
	n := rowMemory
	for i := range r.Anomalies {
		a := &r.Anomalies[i]
		n += int64(unsafe.Sizeof(*a)) + int64(len(a.Text)+len(a.Next)+8*len(a.Evidence))
	}
	if c.Memory > 0 && (c.Left > 0 || c.octets+n > c.Memory) {
		c.Left++
		return false
	}
	c.octets += n
	return true
}

// A Row is one connection to print.
type Row struct {
	record.Key
	Record *tracker.Record // without its history
}

// Connection keeps a copy of r without its history, if there is room.
func (c *Connections) Connection(r *tracker.Record) error {
	if !c.room(r) {
		return nil
	}
	kept := *r
	for i := range kept.Ends {
		kept.Ends[i].History = nil
	}
	kept.Anomalies = slices.Clone(r.Anomalies)
	for i := range kept.Anomalies {
		kept.Anomalies[i].Evidence = slices.Clone(kept.Anomalies[i].Evidence)
	}
	c.Rows = append(c.Rows, &Row{Key: c.By.Key(r), Record: &kept})
	return nil
}

// Sort puts the connections in the order asked for.
func (c *Connections) Sort() {
	slices.SortFunc(c.Rows, func(a, b *Row) int { return c.By.Compare(a.Key, b.Key) })
}

// grid lays the connections out in columns, in the order asked for.
func (c *Connections) grid(columns []column, o *record.Options, s *record.Summary) *text.Grid {
	c.Sort()
	g := &text.Grid{NoHeader: o.NoHeader, Width: o.Width, Else: "-o wide, -o csv or a wider terminal shows them", Color: o.Color}
	for _, col := range columns {
		g.Columns = append(g.Columns, col.Column)
	}
	l := newLook(o, s)
	cells := make([]string, len(c.Rows)*len(columns))
	for i := range c.Rows {
		row := cells[i*len(columns) : (i+1)*len(columns)]
		for j, col := range columns {
			row[j] = col.cell(c.Rows[i].Record, l)
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}
