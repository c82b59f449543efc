package table

import (
	"bufio"
	"cmp"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Services: one server address and port a line, the worst first.
//
//	Server Address  Conns  Open  CLOSE_WAIT     Oldest  TIME_WAIT  Refused  Timed Out  Reset By  Closed By    Retr   RTT p50  p99     Anomalies
//	10.9.0.2:80         2     1  server 1 of 2  1m05s  client 1         0          0  server 1  client 100%  0.07%  1.5ms    10.2ms  1 error
//
// In CLOSE_WAIT is one of the two connections that the server's peer closed, and
// Oldest is how long the oldest of these has been there. Closed By are
// shares of the connections that a FIN closed, Retr is that of the segments that
// were sent again. A terminal that is too narrow loses columns, which a line below
// names; never the connections and the anomalies. Of the anomalies those of the two
// gravest severities are counted, but no infos.

// shownServices is how many services stand above a long table.
const shownServices = 10

// usualHeight is how many lines a terminal has that does not say.
const usualHeight = 24

// A serviceColumn is one column of the table.
type serviceColumn struct {
	text.Column
	cell func(r *services.Row) string
}

var serviceColumns = []serviceColumn{
	{text.Column{}, serviceName}, // its title says what the rows are of
	{text.Column{Title: "Conns", Right: true}, func(r *services.Row) string { return fmt.Sprint(r.Connections) }},
	{text.Column{Title: "Open", Right: true, Drop: 9}, func(r *services.Row) string { return fmt.Sprint(r.Open) }},
	{text.Column{Title: "CLOSE_WAIT", Drop: 10}, func(r *services.Row) string {
		var list []string
		for e, n := range r.CloseWait {
			if n > 0 {
				list = append(list, fmt.Sprintf("%v %d of %d", tcp.Endpoint(e), n, r.PeerClosed[e]))
			}
		}
		return joined(list)
	}},
	{text.Column{Title: "Oldest", Right: true, Drop: 8}, func(r *services.Row) string {
		if r.CloseWait == [2]int{} {
			return "-"
		}
		return text.Human(r.OldestCloseWait)
	}},
	{text.Column{Title: "TIME_WAIT", Drop: 4}, func(r *services.Row) string { return byEnd(r.TimeWait) }},
	{text.Column{Title: "Refused", Right: true, Drop: 6}, func(r *services.Row) string { return fmt.Sprint(r.Refused) }},
	{text.Column{Title: "Timed Out", Right: true, Drop: 5}, func(r *services.Row) string { return fmt.Sprint(r.TimedOut) }},
	{text.Column{Title: "Reset By", Drop: 7}, func(r *services.Row) string {
		var list []string
		for by := tcp.ResetByClient; by < tcp.NumResetBy; by++ {
			list = appendCount(list, by.String(), r.ResetBy[by])
		}
		return joined(list)
	}},
	{text.Column{Title: "Closed By", Drop: 1}, func(r *services.Row) string {
		var list []string
		share := func(who string, n int) {
			if n > 0 {
				list = append(list, fmt.Sprintf("%s %.0f%%", who, 100*float64(n)/float64(r.Closes())))
			}
		}
		share("client", r.ClosedBy[tcp.Client])
		share("server", r.ClosedBy[tcp.Server])
		share("both", r.ClosedByBoth)
		return joined(list)
	}},
	{text.Column{Title: "Retr", Right: true, Drop: 3}, func(r *services.Row) string {
		if r.Retransmits == 0 {
			return "0%"
		}
		return fmt.Sprintf("%.2g%%", 100*r.RetransmittedShare())
	}},
	{text.Column{Title: "RTT p50", Right: true, Drop: 2}, func(r *services.Row) string { return quantile(r, 0.5) }},
	{text.Column{Title: "p99", Right: true, Drop: 2}, func(r *services.Row) string { return quantile(r, 0.99) }},
	{text.Column{Title: "Anomalies"}, severities},
}

// serviceName is the server's address and port, the client host, or the program.
func serviceName(r *services.Row) string {
	switch {
	case r.Others > 0:
		return fmt.Sprintf("%d others", r.Others)
	case r.Program != "":
		return text.Escape(r.Program)
	case r.Addr.Port() == 0:
		return r.Addr.Addr().String()
	}
	return r.Addr.String()
}

// byEnd writes a number for each end that has one: client 3, server 1.
func byEnd(n [2]int) string {
	list := appendCount(nil, tcp.Client.String(), n[tcp.Client])
	return joined(appendCount(list, tcp.Server.String(), n[tcp.Server]))
}

func appendCount(list []string, what string, n int) []string {
	if n == 0 {
		return list
	}
	return append(list, fmt.Sprintf("%s %d", what, n))
}

func joined(list []string) string { return cmp.Or(strings.Join(list, ", "), "-") }

// quantile is one of the times that handshakes took.
func quantile(r *services.Row, part float64) string {
	if r.Handshakes.N() == 0 {
		return "-"
	}
	return text.Human(r.Handshakes.Quantile(part))
}

// severities counts the anomalies of the two gravest severities that there are.
func severities(r *services.Row) string {
	var list []string
	for s := anomaly.Error; s > anomaly.Info && len(list) < 2; s-- {
		if n := r.Severities[s]; n > 0 {
			list = append(list, text.Plural(uint64(n), s.String(), s.String()+"s"))
		}
	}
	return strings.Join(list, ", ")
}

// ServiceGrid lays out the rows of services, client hosts, or programs, as Options.By
// says, but no more than shown; 0: all. More is how many it lacks.
func ServiceGrid(o *record.Options, c *services.Counts, shown int) (g *text.Grid, more int) {
	rows := c.Rows(o.By)
	if shown > 0 && len(rows) > shown {
		for i := range rows[shown:] {
			more += max(rows[shown+i].Others, 1)
		}
		rows = rows[:shown]
	}
	g = &text.Grid{NoHeader: o.NoHeader, Width: o.Width, Color: o.Color}
	for _, col := range serviceColumns {
		g.Columns = append(g.Columns, col.Column)
	}
	g.Columns[0].Title = [...]string{services.ByServer: "Server Address", services.ByClient: "Client Address", services.ByProcess: "Process"}[o.By]
	for i := range rows {
		cells := make([]string, len(serviceColumns))
		for j, col := range serviceColumns {
			cells[j] = col.cell(&rows[i])
		}
		if o.Names {
			cells[0] = text.Named(cells[0], rows[i].Names...)
		}
		g.Rows = append(g.Rows, cells)
	}
	return g, more
}

// ServicesTitle says what the rows of services are of.
func ServicesTitle(o *record.Options) string {
	return [...]string{services.ByServer: "Servers", services.ByClient: "Clients", services.ByProcess: "Processes"}[o.By]
}

// NextServices returns what rows of services are of that are shown after those of
// Options.By: of programs only if one is known. The Snapshot may be nil.
func NextServices(s *record.Snapshot, o *record.Options) services.By {
	switch {
	case o.By == services.ByServer:
		return services.ByClient
	case o.By == services.ByClient && s != nil && len(s.Services(o).Rows(services.ByProcess)) > 0:
		return services.ByProcess
	}
	return services.ByServer
}

// writeServices writes the table, and below it what it lacks.
func writeServices(out *bufio.Writer, o *record.Options, c *services.Counts, shown int) error {
	if o.By == services.ByProcess && len(c.Rows(services.ByProcess)) == 0 {
		text.WriteWrapped(out, "", "It is not known which programs have the connections. live -p learns it, and with -w keeps it for replay.", o.Width, text.Plain)
		return nil
	}
	g, more := ServiceGrid(o, c, shown)
	if err := g.Print(out); err != nil {
		return err
	}
	if more > 0 {
		text.WriteLine(out, fmt.Sprintf("and %d more (-o services lists all)", more))
	}
	return nil
}

// serviceTable prints the format services.
type serviceTable struct {
	record.Quiet
	out  *bufio.Writer
	opts *record.Options
}

// NewServices makes the format services.
func NewServices(out *bufio.Writer, o *record.Options, _ record.Order) record.Format {
	return &serviceTable{out: out, opts: o}
}

func (p *serviceTable) Close(s *record.Summary, t *record.Tally) error {
	if len(t.Services.Rows(services.ByServer)) == 0 {
		text.WriteLine(p.out, record.Nothing(s, t, p.opts))
	} else if err := writeServices(p.out, p.opts, t.Services, 0); err != nil {
		return err
	}
	text.WriteLine(p.out, "")
	for _, note := range append(tapNotes(s, p.opts), record.PendingNote(s, t, p.opts)) {
		if note != "" {
			text.WriteWrapped(p.out, "", note, p.opts.Width, text.Plain)
		}
	}
	return text.WriteLine(p.out, record.TotalsLine(s, t))
}

// ServiceLines returns the lines of the View Services, as wide as Options.Width.
func ServiceLines(s *record.Snapshot, o record.Options) []string {
	c := s.Services(&o)
	if len(c.Rows(services.ByServer)) == 0 {
		return []string{"No connections."}
	}
	return text.Lines(func(out *bufio.Writer) { writeServices(out, &o, c, 0) })
}
