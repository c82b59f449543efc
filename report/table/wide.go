package table

import (
	"bufio"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// wideColumns are those of wide, after table's first ten; see table.go.
var wideColumns = []column{
	tableColumns[0],
	addressColumn("Client Address", tcp.Client),
	stateColumn(tcp.Client, stateSetText),
	addressColumn("Server Address", tcp.Server),
	stateColumn(tcp.Server, stateSetText),
	fieldColumn("conn", 0, true),
	fieldColumn("client.bytes", 0, true),
	fieldColumn("server.bytes", 0, true),
	fieldColumn("duration", 0, true),
	fieldColumn("closed_by", 0, false),
	colored(fieldColumn("client.proved_state", 0, false)),
	colored(fieldColumn("server.proved_state", 0, false)),
	fieldColumn("client.packets", 0, true),
	fieldColumn("server.packets", 0, true),
	fieldColumn("client.retransmits", 0, true),
	fieldColumn("server.retransmits", 0, true),
	fieldColumn("handshake_rtt", 0, true),
	fieldColumn("start", 0, false),
	stackColumn("Client Stack", tcp.Client),
	stackColumn("Server Stack", tcp.Server),
	{text.Column{Title: "Timers"}, timersCell},
	{text.Column{Title: "Anomalies"}, anomaliesCell},
}

// NewWide makes the format wide.
func NewWide(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &table{out: out, opts: o, Connections: Connections{By: by}, columns: wideColumns, wide: true}
}

// stackColumn tells which stack an end has. One that is guessed is marked as an
// assumed state is.
func stackColumn(title string, e tcp.Endpoint) column {
	return column{text.Column{Title: title}, func(r *tracker.Record, _ *look) string {
		x := &r.Ends[e]
		switch x.StackCertainty {
		case tcp.StackUnknown:
			return "-"
		case tcp.StackGuessed:
			return x.Stack.Stack().Name + "?"
		}
		return x.Stack.Stack().Name
	}}
}

// colored colours a column of states.
func colored(c column) column {
	c.Color = text.StateColor
	return c
}

// stateSetText is stateText with the states that remain possible.
func stateSetText(e *tracker.EndRecord) string {
	if e.Possible.Len() < 2 {
		return text.State(e)
	}
	var names []string
	for _, s := range e.Possible.List() {
		names = append(names, s.String())
	}
	return text.State(e) + "{" + strings.Join(names, ",") + "}"
}

// timersCell tells the timers that run: client:timewait,58sec.
func timersCell(r *tracker.Record, _ *look) string {
	var timers []string
	for i := range r.Ends {
		if t := r.Ends[i].Timer; t.Kind != "" {
			timers = append(timers, tcp.Endpoint(i).String()+":"+text.Timer(t))
		}
	}
	if len(timers) == 0 {
		return "-"
	}
	return strings.Join(timers, ";")
}
