package table_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestGoldens(t *testing.T) {
	printtest.Goldens(t, []printtest.Golden{
		{Name: "table", Format: "table"},
		{Name: "table-120", Format: "table", Options: record.Options{Width: 120}},
		{Name: "table-80", Format: "table", Options: record.Options{Width: 80}},
		{Name: "table-60", Format: "table", Options: record.Options{Width: 60}},
		{Name: "table-ipv4-80", Format: "table", Options: record.Options{Width: 80}, Play: ipv4},
		{Name: "table-ipv4-100", Format: "table", Options: record.Options{Width: 100}, Play: ipv4},
		{Name: "table-color", Format: "table", Options: record.Options{Color: true}},
		{Name: "table-no-header", Format: "table", Options: record.Options{NoHeader: true, Color: true}},
		{Name: "table-existing", Format: "table", Options: record.Options{Existing: true}},
		{Name: "table-state", Format: "table", Options: record.Options{Filter: record.Selection{States: []tcp.State{tcp.TimeWait, tcp.CloseWait}}}},
		{Name: "table-anomaly", Format: "table", Options: record.Options{Filter: record.Selection{Kinds: []string{"connection-refused"}}}},
		{Name: "table-relative", Format: "table", Options: record.Options{Time: text.Relative}},
		{Name: "table-equal", Format: "table", Options: record.Options{Width: 80, Height: 100}, Play: equal},
		{Name: "table-equal-all", Format: "table", Options: record.Options{Height: 100, AllAnomalies: true}, Play: equal},
		{Name: "markdown-equal", Format: "markdown", Play: equal},
		{Name: "table-by-bytes", Format: "table", Options: record.Options{Sort: "-bytes"}},
		{Name: "table-many-anomalies", Format: "table", Play: manyAnomalies},
		{Name: "table-no-packets", Format: "table", Play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
		{Name: "table-no-tcp", Format: "table", Play: func(p record.Printer) error {
			return p.Close(record.Summary{Packets: 3, First: sample.Begin, Last: sample.At(20)})
		}},
		{Name: "table-no-connection", Format: "table", Play: func(p record.Printer) error {
			return p.Close(record.Summary{Packets: 3, TCPPackets: 1, First: sample.Begin, Last: sample.At(20)})
		}},
		{Name: "table-none-selected", Format: "table", Options: record.Options{Where: func(*tracker.Record) bool { return false }}},
		{Name: "table-none-existing", Format: "table", Options: record.Options{Existing: true}, Play: func(p record.Printer) error {
			r := sample.Refused()
			p.Record(&r)
			return p.Close(printtest.Whole())
		}},
		{Name: "table-time-wait", Format: "table", Play: timeWaits},
		{Name: "table-time-wait-relative-80", Format: "table", Options: record.Options{Time: text.Relative, Width: 80, NoHeader: true}, Play: timeWaits},
		{Name: "services", Format: "services"},
		{Name: "services-by-client", Format: "services", Options: record.Options{By: services.ByClient}},
		{Name: "services-by-process", Format: "services", Options: record.Options{By: services.ByProcess}, Play: owned},
		{Name: "services-by-process-unknown", Format: "services", Options: record.Options{By: services.ByProcess}},
		{Name: "services-80", Format: "services", Options: record.Options{Width: 80}, Play: ipv4},
		{Name: "services-60", Format: "services", Options: record.Options{Width: 60, Color: true, NoHeader: true}, Play: ipv4},
		{Name: "services-none", Format: "services", Options: record.Options{Where: func(*tracker.Record) bool { return false }}},
		{Name: "services-none-yet", Format: "services", Options: record.Options{Ended: new(services.Counts)}, Play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
		{Name: "services-ended", Format: "services", Options: record.Options{Ended: ended()}, Play: ipv4},
		{Name: "table-long", Format: "table", Play: long(25)},
		{Name: "table-long-80", Format: "table", Options: record.Options{Width: 80, Height: 12}, Play: long(13)},
		{Name: "table-long-by-client", Format: "table", Options: record.Options{Height: 2, By: services.ByClient}},
		{Name: "wide-long", Format: "wide", Options: record.Options{Height: 2, Width: 80}},
		{Name: "table-long-existing", Format: "table", Options: record.Options{Height: 1, Existing: true}},
		{Name: "wide", Format: "wide"},
		{Name: "wide-relative", Format: "wide", Options: record.Options{Time: text.Relative, Color: true, Width: 80}},
		{Name: "markdown", Format: "markdown"},
		{Name: "markdown-no-header", Format: "markdown", Options: record.Options{NoHeader: true}},
		{Name: "summary", Format: "summary"},
		{Name: "summary-color", Format: "summary", Options: record.Options{Color: true}},
		{Name: "summary-on", Format: "summary", Options: record.Options{On: netip.MustParseAddr("10.9.0.2")}},
		{Name: "on", Format: "table", Options: record.Options{On: netip.MustParseAddr("10.9.0.2")}},
		{Name: "on-client", Format: "table", Options: record.Options{On: netip.MustParseAddr("10.9.0.1"), Color: true}},
		{Name: "on-ipv6", Format: "wide", Options: record.Options{On: netip.MustParseAddr("2001:db8::1")}},
		{Name: "on-listening", Format: "table", Options: record.Options{On: netip.MustParseAddr("10.9.0.2"), Listening: true}},
		{Name: "on-markdown", Format: "markdown", Options: record.Options{On: netip.MustParseAddr("10.9.0.2")}},
		{Name: "on-nobody", Format: "table", Options: record.Options{On: netip.MustParseAddr("192.0.2.1")}},
		{Name: "table-taps", Format: "table", Play: printtest.PlayTaps},
		{Name: "summary-taps", Format: "summary", Options: record.Options{Width: 80}, Play: printtest.PlayTaps},
		{Name: "markdown-taps", Format: "markdown", Options: record.Options{Time: text.Relative}, Play: printtest.PlayTaps},
		{Name: "compare", Format: "compare-text", Play: printtest.PlayTaps},
		{Name: "compare-80", Format: "compare-text", Options: record.Options{Width: 80, Color: true, Time: text.Relative}, Play: printtest.PlayTaps},
		{Name: "compare-no-header", Format: "compare-text", Options: record.Options{NoHeader: true}, Play: printtest.PlayTaps},
		{Name: "compare-markdown", Format: "compare-markdown", Options: record.Options{Color: true}, Play: printtest.PlayTaps},
		{Name: "compare-nothing", Format: "compare-text", Play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
		{Name: "listening", Format: "table", Options: record.Options{Listening: true}},
		{Name: "listening-none", Format: "table", Options: record.Options{Listening: true}, Play: func(p record.Printer) error { return p.Close(printtest.Whole()) }},
	})
}

// ended has the sample counted, twice.
func ended() *services.Counts {
	c := new(services.Counts)
	for range 2 {
		for _, r := range sample.Records() {
			c.Connection(&r)
		}
	}
	return c
}

// long is the sample with a connection to each of some services more.
func long(services int) func(record.Printer) error {
	return func(p record.Printer) error {
		for i := range services - len(sample.Records()) {
			r := sample.Sending()
			r.Conn = 100 + i
			r.Ends[0].Addr = netip.AddrPortFrom(r.Ends[0].Addr.Addr(), uint16(40000+i))
			r.Ends[1].Addr = netip.AddrPortFrom(r.Ends[1].Addr.Addr(), uint16(8000+i))
			if err := p.Record(&r); err != nil {
				return err
			}
		}
		return printtest.Play(p)
	}
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
				r.ClosedBy = tcp.ByServer
				r.Ends[0].State, r.Ends[1].State = tcp.Closed, tcp.TimeWait
				r.Ends[0].Timer, r.Ends[1].Timer = tracker.Timer{}, tracker.Timer{Kind: "2msl", Remaining: time.Duration(50+client) * time.Second}
			}
			p.Record(&r)
		}
	}
	return p.Close(record.Summary{Packets: 11, TCPPackets: 11, First: sample.Begin, Last: sample.Begin.Add(time.Second), Now: sample.Begin.Add(2 * time.Second)})
}

// manyAnomalies are more findings of one kind than are shown: of two connections
// each, to services of their own.
func manyAnomalies(p record.Printer) error {
	for i := range 2 * (table.ShownOfKind + 5) {
		r := sample.ClosedByClient()
		r.Conn = i + 1
		r.Ends[1].Addr = netip.AddrPortFrom(r.Ends[1].Addr.Addr(), uint16(80+i/2))
		r.Anomalies = []anomaly.Anomaly{{
			Conn: r.Conn, Kind: "zero-window", Severity: anomaly.Info, Time: sample.At(i), Packet: i + 1, Count: 1, Text: "No room.",
		}}
		p.Record(&r)
	}
	return p.Close(record.Summary{Packets: 11, TCPPackets: 11, First: sample.Begin, Last: sample.Begin.Add(time.Second)})
}

// equal are connections that end alike, with sentences that tell of each; those of
// the last hosts differ in what makes a finding another.
func equal(p record.Printer) error {
	for i := range 12 {
		r := sample.ClosedByClient()
		r.Conn = i + 1
		r.Ends[0].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 1, byte(i / 2)}), uint16(40000+i))
		a := &r.Anomalies[0]
		a.Conn, a.Time, a.Packet, a.Evidence = r.Conn, sample.At(i), 10+i, nil
		a.Text = "It had to do with " + r.Ends[0].Addr.String() + "."
		switch i {
		case 8:
			a.Confidence = anomaly.ConfidenceAmbiguous
		case 9:
			a.Cause = "another"
		case 10:
			a.End = tcp.Client
		case 11:
			r.Ends[1].Addr = netip.AddrPortFrom(r.Ends[1].Addr.Addr(), 81)
		}
		if i%2 == 0 {
			r.Anomalies = append(r.Anomalies, anomaly.Anomaly{
				Conn: r.Conn, Kind: "zero-window", Severity: anomaly.Error, Time: sample.At(i), Packet: i + 1, Count: i + 1, Text: "No room.",
			})
		}
		p.Record(&r)
	}
	return p.Close(record.Summary{Packets: 11, TCPPackets: 11, First: sample.Begin, Last: sample.Begin.Add(time.Second)})
}

// owned are connections of which it is known what programs have them.
func owned(p record.Printer) error {
	r := sample.ClosedByClient()
	for i, programs := range [][2]string{{"curl", "nginx"}, {"", "nginx"}, {"a\x1b[1m", "-"}} {
		r.Conn = i + 1
		for e, program := range programs {
			r.Ends[e].Socket = &tcp.Socket{Owner: tcp.Owner{Program: program, PID: 7}}
		}
		if err := p.Record(&r); err != nil {
			return err
		}
	}
	return p.Close(printtest.Whole())
}
