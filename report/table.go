package report

import (
	"bufio"
	"cmp"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The table: one connection a line, with the state of each end beside its
// address, as netstat has one end a line.
//
//	Proto  Client Address    State      Server Address  State   Conn  Sent  Received  Duration  Closed By  Anomalies
//	tcp    10.9.0.1:37520    TIME_WAIT  10.9.0.2:80     CLOSED     1     3         0     620ms  client     rst-instead-of-ack
//
// Sent and Received are payload, seen from the client. A terminal that is too
// narrow loses Anomalies first (they are listed below), then Duration, Sent
// with Received, Closed By, and Conn last; never an address or a state, and no
// cell is cut. What is not known is "-", so that awk counts columns right; only
// the last column is left empty.
//
// wide has the same columns first, adds what else is known, and is never
// narrowed. In it a state is followed by the set of all that remain possible:
// UNKNOWN{FIN_WAIT_2,CLOSED}.

// A column is one column of the table.
type column struct {
	gridColumn
	cell func(r *tracker.Record, l *look) string
}

// A look is what cells depend on beside the record.
type look struct {
	time  TimeStyle
	first tcp.Time // of the capture
	now   tcp.Time // the moment that is shown
}

var tableColumns = []column{
	{gridColumn{title: "Proto"}, func(r *tracker.Record, _ *look) string { return protocol(r.Ends[tracker.Client].Addr) }},
	addressColumn("Client Address", tracker.Client),
	stateColumn(tracker.Client, stateText),
	addressColumn("Server Address", tracker.Server),
	stateColumn(tracker.Server, stateText),
	fieldColumn("conn", 5, true),
	fieldColumn("client.bytes", 3, true),
	fieldColumn("server.bytes", 3, true),
	fieldColumn("duration", 2, true),
	fieldColumn("closed_by", 4, false),
	{gridColumn{title: "Anomalies", drop: 1}, anomaliesCell},
}

// addressColumn is the column of the addresses of one end.
func addressColumn(title string, end tracker.Endpoint) column {
	return column{gridColumn{title: title}, func(r *tracker.Record, _ *look) string {
		return r.Ends[end].Addr.String()
	}}
}

// stateColumn is the column of the states of one end.
func stateColumn(end tracker.Endpoint, text func(*tracker.EndRecord) string) column {
	return column{gridColumn{title: "State", color: stateColor}, func(r *tracker.Record, _ *look) string {
		return text(&r.Ends[end])
	}}
}

// fieldColumn is the column of a field of the record.
func fieldColumn(path string, drop int, right bool) column {
	title, text := titled(path)
	return column{gridColumn{title: title, right: right, drop: drop}, func(r *tracker.Record, l *look) string {
		return text(r, l.time, l.first)
	}}
}

func newLook(o *Options, s *Summary) *look {
	return &look{time: o.Time, first: s.First, now: cmp.Or(s.Now, s.Last)}
}

// anomaliesCell names the anomalies of a connection, each once.
func anomaliesCell(r *tracker.Record, _ *look) string {
	var kinds []string
	for i := range r.Anomalies {
		if kind := r.Anomalies[i].Kind; !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return joinEscaped(kinds, ",")
}

// table prints the formats table and wide.
type table struct {
	quiet
	connections
	out     *bufio.Writer
	opts    *Options
	columns []column
	wide    bool
}

func newTable(out *bufio.Writer, o *Options, by order) format {
	return &table{out: out, opts: o, connections: connections{by: by}, columns: tableColumns}
}

func (t *table) connection(r *tracker.Record) error {
	t.keep(r)
	return nil
}

func (t *table) many(a *tracker.Anomaly) error {
	t.keepMany(a)
	return nil
}

func (t *table) close(s *Summary, tally *tally) error {
	if tally.listed == 0 {
		writeLine(t.out, nothing(s, tally, t.opts))
	} else {
		g := t.grid(t.columns, t.opts, s)
		if t.wide {
			g.width = 0
		}
		if err := g.writeTo(t.out); err != nil {
			return err
		}
	}
	t.writeAnomalies(t.out, t.opts, s, t.wide)
	if err := t.writeTimeWaits(t.out, t.opts, s, t.wide); err != nil {
		return err
	}
	writeLine(t.out, "")
	if tally.listed > 0 {
		writeLine(t.out, statesLine(tally, t.opts.Color))
	}
	return writeLine(t.out, totalsLine(s, tally))
}

// connections keeps what a table will print.
type connections struct {
	by   order
	rows []*row
	over []tracker.Anomaly // those over many connections
}

// A row is one connection to print.
type row struct {
	key
	rec *tracker.Record // without its history
}

// keep keeps a copy of r.
func (c *connections) keep(r *tracker.Record) {
	kept := *r
	k := &row{key: c.by.key(r), rec: &kept}
	for i := range k.rec.Ends {
		k.rec.Ends[i].History = nil
	}
	k.rec.Anomalies = slices.Clone(r.Anomalies)
	for i := range k.rec.Anomalies {
		k.rec.Anomalies[i].Evidence = slices.Clone(k.rec.Anomalies[i].Evidence)
	}
	c.rows = append(c.rows, k)
}

// keepMany keeps a copy of an anomaly over many connections.
func (c *connections) keepMany(a *tracker.Anomaly) {
	kept := *a
	kept.Evidence = slices.Clone(a.Evidence)
	c.over = append(c.over, kept)
}

// sort puts the connections in the order asked for.
func (c *connections) sort() {
	slices.SortFunc(c.rows, func(a, b *row) int { return c.by.compare(a.key, b.key) })
}

// grid lays the connections out in columns, in the order asked for.
func (c *connections) grid(columns []column, o *Options, s *Summary) *grid {
	c.sort()
	g := &grid{noHeader: o.NoHeader, width: o.Width, color: o.Color}
	for _, col := range columns {
		g.columns = append(g.columns, col.gridColumn)
	}
	l := newLook(o, s)
	cells := make([]string, len(c.rows)*len(columns))
	for i := range c.rows {
		row := cells[i*len(columns) : (i+1)*len(columns)]
		for j, col := range columns {
			row[j] = col.cell(c.rows[i].rec, l)
		}
		g.rows = append(g.rows, row)
	}
	return g
}
