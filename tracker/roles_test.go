package tracker_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which end of a connection picked up midway is the client: as the ports are
// called, before or after, on the same addresses or others; else the higher port.
func TestRolesMidstream(t *testing.T) {
	high, low, other := netip.MustParseAddrPort("192.0.2.1:9080"), netip.MustParseAddrPort("198.51.100.1:3330"), netip.MustParseAddrPort("203.0.113.1:50000")
	type line struct {
		src, dst netip.AddrPort
		segment  string
	}
	midway := []line{
		{low, high, "<SEQ=500><ACK=700><CTL=ACK><DATA=10>"},
		{high, low, "<SEQ=700><ACK=510><CTL=FIN,ACK>"},
		{high, low, "<SEQ=700><ACK=510><CTL=FIN,ACK>"},
	}
	call := func(client, server netip.AddrPort) []line {
		return []line{{client, server, "<SEQ=100><CTL=SYN>"}, {server, client, "<SEQ=300><ACK=101><CTL=SYN,ACK>"}}
	}
	calledSameWay, calledOtherWay := []line{{low, high, "<SEQ=90000><CTL=SYN>"}}, []line{{high, low, "<SEQ=90000><CTL=SYN>"}}
	gone := []line{ // the first connection is over
		{low, high, "<SEQ=510><ACK=701><CTL=FIN,ACK>"},
		{high, low, "<SEQ=701><ACK=511><CTL=ACK>"},
	}
	for _, row := range []struct {
		name          string
		before, after []line
		client        netip.AddrPort
		says          string // of the client
	}{
		{"nothing tells", nil, nil, high, "taken for the client only"},
		{"another called the high port before", call(other, high), nil, low, "the client, because the port"},
		{"another called the high port after", nil, call(other, high), low, "the client, as later packets showed"},
		{"another called the low port", nil, call(other, low), high, "taken for the client only"},
		{"others called both", call(other, low), call(other, high), high, "the client, because the port"},
		{"another's SYN had no answer", nil, call(other, high)[:1], high, "taken for the client only"},
		{"the low port called the high one after", nil, append(gone, calledSameWay...), low, "the client, as later packets showed"},
		{"the high port called the low one after", nil, append(gone, calledOtherWay...), high, "taken for the client only"},
	} {
		var got *tracker.Record
		tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
			if r := e.Record; e.Kind == tracker.EventConnection && r.Origin == tcp.FromMidstream {
				got = r.Clone()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		now := 1_000_000 * tcp.Second
		for i, l := range append(append(append([]line{}, row.before...), midway...), row.after...) {
			s, err := tcp.ParseSegment(l.segment)
			if err != nil {
				t.Fatal(err)
			}
			now += tcp.Second
			s.Time, s.Packet, s.Src, s.Dst = now, i+1, l.src, l.dst
			tk.Observe(&s)
		}
		tk.Close()
		client, server := &got.Ends[tcp.Client], &got.Ends[tcp.Server]
		if client.Addr != row.client {
			t.Errorf("%s: the client is %v, want %v", row.name, client.Addr, row.client)
			continue
		}
		ofHigh, by := server, tcp.ByServer // who closed
		if row.client == high {
			ofHigh, by = client, tcp.ByClient
		}
		if ofHigh.Bytes != 0 || got.ClosedBy != by {
			t.Errorf("%s: the high port sent %d octets, closed by %v; want 0, closed by %v", row.name, ofHigh.Bytes, got.ClosedBy, by)
		}
		again := slices.IndexFunc(got.Anomalies, func(a anomaly.Anomaly) bool { return a.Kind == "fin-retransmitted" })
		if again < 0 || got.Ends[got.Anomalies[again].End].Addr != high {
			t.Errorf("%s: no FIN of the high port is found to be sent again, but %v", row.name, got.Anomalies)
		}
		says := row.client.String() + " is " + row.says
		if text := got.Anomalies[0].Text; !strings.Contains(text, says) {
			t.Errorf("%s: %q does not say that %s", row.name, text, says)
		}
	}
}
