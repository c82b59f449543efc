package table_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// goldens are outputs, each compared with testdata/<name>.golden.
var goldens = []struct {
	name   string
	format string
	opts   record.Options
	play   func(record.Printer) error // nil: the sample
}{
	{name: "table", format: "table"},
	{name: "table-120", format: "table", opts: record.Options{Width: 120}},
	{name: "table-80", format: "table", opts: record.Options{Width: 80}},
	{name: "table-60", format: "table", opts: record.Options{Width: 60}},
	{name: "table-ipv4-80", format: "table", opts: record.Options{Width: 80}, play: ipv4},
	{name: "table-ipv4-100", format: "table", opts: record.Options{Width: 100}, play: ipv4},
	{name: "table-color", format: "table", opts: record.Options{Color: true}},
	{name: "table-no-header", format: "table", opts: record.Options{NoHeader: true, Color: true}},
	{name: "table-existing", format: "table", opts: record.Options{Existing: true}},
	{name: "table-state", format: "table", opts: record.Options{Filter: record.Selection{States: []tcp.State{tcp.TimeWait, tcp.CloseWait}}}},
	{name: "table-anomaly", format: "table", opts: record.Options{Filter: record.Selection{Kinds: []string{"connection-refused"}}}},
	{name: "table-relative", format: "table", opts: record.Options{Time: text.Relative}},
	{name: "table-by-bytes", format: "table", opts: record.Options{Sort: "-bytes"}},
	{name: "table-many-anomalies", format: "table", play: manyAnomalies},
	{name: "table-no-packets", format: "table", play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
	{name: "table-no-tcp", format: "table", play: func(p record.Printer) error {
		return p.Close(record.Summary{Packets: 3, First: sample.Begin, Last: sample.At(20)})
	}},
	{name: "table-no-connection", format: "table", play: func(p record.Printer) error {
		return p.Close(record.Summary{Packets: 3, TCPPackets: 1, First: sample.Begin, Last: sample.At(20)})
	}},
	{name: "table-none-selected", format: "table", opts: record.Options{Where: func(*tracker.Record) bool { return false }}},
	{name: "table-none-existing", format: "table", opts: record.Options{Existing: true}, play: func(p record.Printer) error {
		r := sample.Refused()
		p.Record(&r)
		return p.Close(printtest.Whole())
	}},
	{name: "table-time-wait", format: "table", play: timeWaits},
	{name: "table-time-wait-relative-80", format: "table", opts: record.Options{Time: text.Relative, Width: 80, NoHeader: true}, play: timeWaits},
	{name: "wide", format: "wide"},
	{name: "wide-relative", format: "wide", opts: record.Options{Time: text.Relative, Color: true, Width: 80}},
	{name: "markdown", format: "markdown"},
	{name: "markdown-no-header", format: "markdown", opts: record.Options{NoHeader: true}},
	{name: "summary", format: "summary"},
	{name: "summary-color", format: "summary", opts: record.Options{Color: true}},
	{name: "summary-on", format: "summary", opts: record.Options{On: netip.MustParseAddr("10.9.0.2")}},
	{name: "on", format: "table", opts: record.Options{On: netip.MustParseAddr("10.9.0.2")}},
	{name: "on-client", format: "table", opts: record.Options{On: netip.MustParseAddr("10.9.0.1"), Color: true}},
	{name: "on-ipv6", format: "wide", opts: record.Options{On: netip.MustParseAddr("2001:db8::1")}},
	{name: "on-listening", format: "table", opts: record.Options{On: netip.MustParseAddr("10.9.0.2"), Listening: true}},
	{name: "on-markdown", format: "markdown", opts: record.Options{On: netip.MustParseAddr("10.9.0.2")}},
	{name: "on-nobody", format: "table", opts: record.Options{On: netip.MustParseAddr("192.0.2.1")}},
	{name: "listening", format: "table", opts: record.Options{Listening: true}},
	{name: "listening-none", format: "table", opts: record.Options{Listening: true}, play: func(p record.Printer) error { return p.Close(printtest.Whole()) }},
}

func TestGoldens(t *testing.T) {
	var outputs []golden.Output
	for _, test := range goldens {
		if test.play == nil {
			test.play = printtest.Play
		}
		outputs = append(outputs, golden.Output{Name: test.name, Text: func(t testing.TB) []byte {
			return printtest.Print(t, test.format, test.opts, test.play)
		}})
	}
	golden.Test(t, outputs)
}

// ipv4 is the sample without its connection over IPv6.
func ipv4(p record.Printer) error {
	for _, r := range sample.Records() {
		if r.Conn != 2 {
			p.Record(&r)
		}
	}
	return p.Close(printtest.Whole())
}

// timeWaits are connections left in TIME_WAIT: many of one client, on 12
// servers, of which the first closes first itself.
func timeWaits(p record.Printer) error {
	conn := 0
	for server := range 12 {
		for client := range 14 - server {
			conn++
			r := sample.ClosedByClient()
			r.Conn, r.Anomalies = conn, nil
			r.Ends[0].Addr = netip.AddrPortFrom(r.Ends[0].Addr.Addr(), uint16(40000+client))
			r.Ends[1].Addr = netip.AddrPortFrom(r.Ends[1].Addr.Addr(), uint16(80+server))
			if server == 0 && client < 3 {
				r.ClosedBy = tracker.ByServer
				r.Ends[0].State, r.Ends[1].State = tcp.Closed, tcp.TimeWait
				r.Ends[0].Timer, r.Ends[1].Timer = tracker.Timer{}, tracker.Timer{Kind: "2msl", Remaining: time.Duration(50+client) * time.Second}
			}
			p.Record(&r)
		}
	}
	return p.Close(record.Summary{Packets: 11, TCPPackets: 11, First: sample.Begin, Last: sample.Begin.Add(time.Second), Now: sample.Begin.Add(2 * time.Second)})
}

// manyAnomalies is a connection with more anomalies of one kind than are shown.
func manyAnomalies(p record.Printer) error {
	r := sample.ClosedByClient()
	r.Anomalies = nil
	for i := range table.ShownOfKind + 5 {
		r.Anomalies = append(r.Anomalies, tracker.Anomaly{
			Conn: 1, Kind: "zero-window", Severity: tracker.Info, Time: sample.At(i), Packet: i + 1, Count: 1, Text: "No room.",
		})
	}
	p.Record(&r)
	return p.Close(record.Summary{Packets: 11, TCPPackets: 11, First: sample.Begin, Last: sample.Begin.Add(time.Second)})
}
