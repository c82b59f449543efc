package table_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// printed is what is printed of port 80 of the sample's server, at its beginning.
func printed(t *testing.T, o record.Options, host string, records ...*tracker.Record) string {
	t.Helper()
	var addr netip.Addr
	if host != "" {
		addr = netip.MustParseAddr(host)
	}
	p := table.NewPort(80, addr)
	for _, r := range records {
		p.Connection(r)
	}
	var out strings.Builder
	o.Time = text.Relative
	if err := p.Print(&out, &o, &record.Summary{Packets: 9, First: sample.Begin, Now: sample.At(7000)}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// serverIn is a connection to port 80 whose server is in a state, for 5 s.
func serverIn(s tcp.State, change func(*tracker.Record)) *tracker.Record {
	r := sample.Sending()
	server := &r.Ends[tcp.Server]
	server.State, server.Certainty, server.TimeInState, server.Listener, server.Timer = s, tcp.Proved, 5*time.Second, false, tracker.Timer{}
	if s == tcp.TimeWait {
		server.Timer = tracker.Timer{Kind: "2msl", Remaining: 55 * time.Second}
	}
	if change != nil {
		change(&r)
	}
	return &r
}

// When a port can be bound again is said by what holds it.
func TestPortCanBeBound(t *testing.T) {
	listening := func(r *tracker.Record) { r.Ends[tcp.Server].Listener = true }
	refused := func(r *tracker.Record) { r.ClosedBy = tcp.ByRefusal }
	const reuse = "; with SO_REUSEADDR on the old sockets and the new one, immediately."
	for _, test := range []struct {
		name    string
		records []*tracker.Record
		want    string
	}{
		{"TIME_WAIT", []*tracker.Record{serverIn(tcp.TimeWait, nil), serverIn(tcp.TimeWait, nil)}, "10.9.0.2:80 can be bound from +62.000000 (55 s left)" + reuse},
		{"leaked", []*tracker.Record{serverIn(tcp.CloseWait, nil)}, "10.9.0.2:80 can be bound after its connection is closed" + reuse},
		{"both", []*tracker.Record{serverIn(tcp.CloseWait, nil), serverIn(tcp.TimeWait, nil), serverIn(tcp.Established, nil)},
			"10.9.0.2:80 can be bound after its 2 connections not in TIME_WAIT are closed, but not before +62.000000 (55 s left)" + reuse},
		{"listening", []*tracker.Record{serverIn(tcp.Closed, listening)}, "10.9.0.2:80 listens (1 handshake). After the listener stops, the port can be bound immediately."},
		{"refused since", []*tracker.Record{serverIn(tcp.Closed, listening), serverIn(tcp.Closed, refused)},
			"10.9.0.2:80 can be bound immediately. It refused 1 attempt from 10.9.0.1, the last at +125.000000; nothing was listening there then."},
	} {
		got := printed(t, record.Options{}, "", test.records...)
		if lines := strings.Split(strings.TrimSpace(got), "\n"); lines[len(lines)-1] != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// Rows are of the ends on one address that are in one state, of one role.
func TestPortRows(t *testing.T) {
	other := serverIn(tcp.Established, func(r *tracker.Record) {
		r.Ends[tcp.Client].Addr = netip.MustParseAddrPort("10.9.0.3:80")
		r.Ends[tcp.Client].State, r.Ends[tcp.Client].Certainty = tcp.FinWait2, tcp.Assumed
		r.Ends[tcp.Server].Addr = netip.MustParseAddrPort("10.9.0.4:9000")
	})
	records := []*tracker.Record{serverIn(tcp.TimeWait, nil), serverIn(tcp.CloseWait, nil), serverIn(tcp.TimeWait, nil), other, serverIn(tcp.Closed, nil), serverIn(tcp.Listen, nil)}
	want := `Port 80 at +7.000000

Address      As      State        Ends  Oldest  Peers                      Held Until  Left
10.9.0.2:80  server  CLOSE_WAIT      1      5s  10.9.0.1:37524             -           -
10.9.0.2:80  server  TIME_WAIT       2      5s  10.9.0.1:37524 and 1 more  +62.000000  55 s left
10.9.0.3:80  client  FIN_WAIT_2?     1      0s  10.9.0.4:9000              -           -
`
	if got := printed(t, record.Options{}, "", records...); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := printed(t, record.Options{}, "10.9.0.3", records...); strings.Contains(got, "10.9.0.2") || !strings.Contains(got, "10.9.0.3:80") {
		t.Errorf("of one host: got\n%s", got)
	}
	if got := printed(t, record.Options{}, "10.9.0.9", records...); !strings.Contains(got, "No endpoint holds it, and no connection to it was refused, among 6 connections.\n") {
		t.Errorf("of a host that has no such port: got\n%s", got)
	}
	for width := 60; width < 100; width++ {
		for line := range strings.Lines(printed(t, record.Options{Width: width}, "", records...)) {
			if n := utf8.RuneCountInString(line) - 1; n > width {
				t.Errorf("width %d: a line of %d columns: %s", width, n, line)
			}
		}
	}
}
