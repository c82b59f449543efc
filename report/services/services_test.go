package services

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// called is a connection of a client to a server.
func called(client, server string, change func(*tracker.Record)) *tracker.Record {
	r := new(tracker.Record)
	r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr = netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)
	r.Ends[tcp.Client].State, r.Ends[tcp.Server].State = tcp.Closed, tcp.Closed
	if change != nil {
		change(r)
	}
	return r
}

func ended(by tcp.ClosedBy, reset tcp.ResetBy) func(*tracker.Record) {
	return func(r *tracker.Record) { r.ClosedBy, r.ResetBy = by, reset }
}

// What a connection counts as.
func TestRow(t *testing.T) {
	in := func(client, server tcp.State) func(*tracker.Record) {
		return func(r *tracker.Record) { r.Ends[0].State, r.Ends[1].State = client, server }
	}
	for _, test := range []struct {
		name   string
		change func(*tracker.Record)
		got    func(*Row) int
		want   int
	}{
		{"open", in(tcp.Established, tcp.Established), func(r *Row) int { return r.Open }, 1},
		{"half open", in(tcp.SynSent, tcp.Listen), func(r *Row) int { return r.Open }, 1},
		{"a probe that was answered with RST is over", in(tcp.Closed, tcp.Closed), func(r *Row) int { return r.Open }, 0},
		{"closed is not open", ended(tcp.ByClient, 0), func(r *Row) int { return r.Open }, 0},
		{"closed", ended(tcp.ByClient, 0), func(r *Row) int { return r.ClosedBy[tcp.Client] }, 1},
		{"closed by both", ended(tcp.ByBoth, 0), func(r *Row) int { return r.ClosedByBoth + 10*r.Closes() }, 11},
		{"refused", ended(tcp.ByRefusal, tcp.ResetByServer), func(r *Row) int { return r.Refused + 10*r.ResetBy[tcp.ResetByServer] }, 1},
		{"unreachable", ended(tcp.ByUnreachable, 0), func(r *Row) int { return r.Refused }, 1},
		{"timed out", ended(tcp.ByTimeoutOfEnd, 0), func(r *Row) int { return r.TimedOut }, 1},
		{"reset", ended(tcp.ByClientReset, tcp.ResetByClient), func(r *Row) int { return r.ResetBy[tcp.ResetByClient] + 10*r.Closes() }, 1},
		{"closed, then reset", ended(tcp.ByServer, tcp.ResetByMiddlebox), func(r *Row) int { return r.ResetBy[tcp.ResetByMiddlebox] + 10*r.Closes() }, 11},
		{"what is explained is not counted twice", func(r *tracker.Record) {
			r.Anomalies = []anomaly.Anomaly{{Kind: "a", Severity: anomaly.Warning}, {Kind: "b", Severity: anomaly.Warning, Supersedes: []string{"a"}}}
		}, func(r *Row) int { return r.Severities[anomaly.Warning] + 10*r.Kinds["a"] }, 11},
		{"TIME_WAIT of the server", in(tcp.Closed, tcp.TimeWait), func(r *Row) int { return r.TimeWait[tcp.Server] }, 1},
	} {
		var c Counts
		c.Connection(called("10.0.0.1:1000", "10.0.0.2:80", test.change))
		for _, rows := range [][]Row{c.Rows(ByServer), c.Rows(ByClient)} {
			if len(rows) != 1 || rows[0].Connections != 1 || test.got(&rows[0]) != test.want {
				t.Errorf("%s: %+v, want %d", test.name, rows, test.want)
			}
		}
	}
}

func TestOldestCloseWait(t *testing.T) {
	var c Counts
	for _, age := range []time.Duration{time.Second, time.Minute, 5 * time.Second} {
		c.Connection(called("10.0.0.1:1000", "10.0.0.2:80", func(r *tracker.Record) {
			r.Ends[tcp.Server].State, r.Ends[tcp.Server].TimeInState = tcp.CloseWait, age
			r.Ends[tcp.Client].State, r.Ends[tcp.Client].TimeInState = tcp.FinWait2, time.Hour
		}))
	}
	if r := c.Rows(ByServer)[0]; r.CloseWait != [2]int{0, 3} || r.OldestCloseWait != time.Minute {
		t.Errorf("%v in CLOSE_WAIT, the oldest for %v, want 3 of the server's, a minute", r.CloseWait, r.OldestCloseWait)
	}
}

// flagged gives a connection anomalies of these severities.
func flagged(list ...anomaly.Severity) func(*tracker.Record) {
	return func(r *tracker.Record) {
		for _, s := range list {
			r.Anomalies = append(r.Anomalies, anomaly.Anomaly{Kind: "kind-" + s.String(), Severity: s})
		}
	}
}

func addrsOf(rows []Row) (list []string) {
	for i := range rows {
		list = append(list, rows[i].Addr.String())
	}
	return list
}

// The worst stand first; what is harmless alone makes none worse.
func TestOrder(t *testing.T) {
	var c Counts
	c.Connection(called("10.0.0.1:1", "10.0.0.2:1", flagged(anomaly.Notice, anomaly.Notice)))
	c.Connection(called("10.0.0.1:1", "10.0.0.2:2", flagged(anomaly.Warning)))
	c.Connection(called("10.0.0.1:1", "10.0.0.2:3", flagged(anomaly.Error)))
	for range 3 {
		c.Connection(called("10.0.0.1:1", "10.0.0.2:4", nil))
	}
	c.Connection(called("10.0.0.1:1", "10.0.0.2:5", flagged(anomaly.Warning, anomaly.Warning)))
	c.Connection(called("10.0.0.1:1", "10.0.0.2:6", nil))
	want := []string{"10.0.0.2:3", "10.0.0.2:5", "10.0.0.2:2", "10.0.0.2:4", "10.0.0.2:1", "10.0.0.2:6"}
	if got := addrsOf(c.Rows(ByServer)); !slices.Equal(got, want) {
		t.Errorf("services are in the order %v, want %v", got, want)
	}
}

// An anomaly over many connections is counted with the service, or the host, that
// it is about, if that has a row.
func TestAnomaliesOverMany(t *testing.T) {
	var c Counts
	flood := anomaly.Anomaly{Kind: "syn-flood", Severity: anomaly.Warning, Addr: netip.MustParseAddr("10.0.0.2"), Port: 80}
	scan := anomaly.Anomaly{Kind: "port-scan", Severity: anomaly.Warning, Addr: netip.MustParseAddr("10.0.0.1")}
	nobody := anomaly.Anomaly{Kind: "port-scan", Severity: anomaly.Warning, Addr: netip.MustParseAddr("10.0.0.9")}
	c.Anomaly(&flood)
	c.Anomaly(&scan)
	c.Anomaly(&nobody)
	c.Anomaly(&anomaly.Anomaly{Kind: "clock-step"})
	c.Connection(called("10.0.0.1:1000", "10.0.0.2:80", nil))
	servers, clients := c.Rows(ByServer), c.Rows(ByClient)
	if len(servers) != 1 || servers[0].Kinds["syn-flood"] != 1 || len(servers[0].Kinds) != 1 {
		t.Errorf("services are %+v, want one with the flood", servers)
	}
	if len(clients) != 1 || clients[0].Kinds["port-scan"] != 1 || len(clients[0].Kinds) != 1 {
		t.Errorf("clients are %+v, want one with the scan", clients)
	}
}

// A scan of all ports is bounded, loses no connection, and does not push out the
// service that is in use.
func TestManyServices(t *testing.T) {
	var c Counts
	const busy = "10.0.0.2:443"
	for port := 1; port < 1<<16; port++ {
		server := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(port)).String()
		c.Connection(called("10.0.0.1:1000", server, ended(tcp.ByRefusal, tcp.ResetByServer)))
		if port%1000 == 0 {
			c.Connection(called("10.0.0.3:1000", busy, func(r *tracker.Record) { r.HandshakeRTT = time.Millisecond }))
		}
		if n := len(c.by[ByServer].rows); n > MostRows {
			t.Fatalf("%d rows", n)
		}
	}
	rows := c.Rows(ByServer)
	connections, services := 0, 0
	for i := range rows {
		connections += rows[i].Connections
		services += max(rows[i].Others, 1)
	}
	if want := 1<<16 - 1 + 65; connections != want || services != 1<<16-1 {
		t.Errorf("%d connections to %d services, want %d to %d", connections, services, want, 1<<16-1)
	}
	if last := rows[len(rows)-1]; last.Others == 0 || last.Addr.IsValid() || last.Refused != last.Connections {
		t.Errorf("the last row is %+v, want that of the others", last)
	}
	if i := slices.IndexFunc(rows, func(r Row) bool { return r.Addr.String() == busy }); i < 0 || rows[i].Connections != 66 || rows[i].Handshakes.N() != 65 {
		t.Errorf("%s is at %d, want 66 connections", busy, i)
	}
}

// Of those with as few connections the first go, and no more than the half; also
// where a clone counts on.
func TestHalfGoes(t *testing.T) {
	server := func(n int) string {
		return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(n)).String()
	}
	c := new(Counts)
	for n := 1; n <= MostRows; n++ {
		c.Connection(called("10.0.0.1:1000", server(n), nil))
	}
	c.Connection(called("10.0.0.1:1000", server(1), nil))
	for _, c := range []*Counts{c.Clone(), c} {
		c.Connection(called("10.0.0.1:1000", server(MostRows+1), nil))
		rows := c.Rows(ByServer)
		has := func(n int) bool {
			return slices.ContainsFunc(rows, func(r Row) bool { return r.Addr.String() == server(n) })
		}
		if others := rows[len(rows)-1].Others; len(rows) != MostRows/2+2 || others != MostRows/2 || !has(1) || has(2) || has(MostRows/2+1) || !has(MostRows/2+2) || !has(MostRows+1) {
			t.Errorf("%d rows, the last of %d others", len(rows), others)
		}
	}
}

// What a clone counts on is not counted by what it is of.
func TestClone(t *testing.T) {
	var c Counts
	c.Connection(called("10.0.0.1:1000", "10.0.0.2:80", flagged(anomaly.Error)))
	on := c.Clone()
	on.Connection(called("10.0.0.1:1000", "10.0.0.2:80", func(r *tracker.Record) {
		flagged(anomaly.Error)(r)
		r.HandshakeRTT = 1
	}))
	before, after := c.Rows(ByServer)[0], on.Rows(ByServer)[0]
	if before.Connections != 1 || before.Kinds["kind-error"] != 1 || before.Handshakes.N() != 0 || after.Connections != 2 || after.Kinds["kind-error"] != 2 || after.Handshakes.N() != 1 {
		t.Errorf("%+v before, and %+v after", before, after)
	}
	var none *Counts
	if rows := none.Clone().Rows(ByServer); len(rows) != 0 {
		t.Errorf("%v of none", rows)
	}
}

// A quantile is at most 6 % off, and exact where all are equal.
func TestQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h, low, high Histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(float64(time.Microsecond) * 2 * (1 + rng.ExpFloat64()*1e5))
		all = append(all, d)
		h.Add(d)
		if i%2 == 0 {
			low.Add(d)
		} else {
			high.Add(d)
		}
	}
	slices.Sort(all)
	low.merge(&high)
	for _, part := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := all[int(part*float64(len(all)))-1]
		for _, got := range []time.Duration{h.Quantile(part), low.Quantile(part)} {
			if off := float64(got)/float64(want) - 1; off < -0.065 || off > 0.065 {
				t.Errorf("quantile %v is %v, want %v: %.1f %% off", part, got, want, 100*off)
			}
		}
	}
	for _, n := range []int{2, 31, 32, 33, 64, 100} { // few are kept in another way than many
		var one, two, both Histogram
		for i, d := range all[5000 : 5000+n] {
			one.Add(d)
			if i < n/3 {
				two.Add(d)
			} else {
				both.Add(d)
			}
		}
		both.merge(&two)
		for _, part := range []float64{0.01, 0.5, 0.9, 1} {
			want := all[5000+max(int(math.Ceil(part*float64(n))), 1)-1]
			for _, got := range []time.Duration{one.Quantile(part), both.Quantile(part)} {
				if off := float64(got)/float64(want) - 1; both.N() != n || off < -0.065 || off > 0.065 {
					t.Errorf("quantile %v of %d is %v, want %v: %.1f %% off", part, n, got, want, 100*off)
				}
			}
		}
	}
	for _, d := range []time.Duration{1, time.Microsecond, 10_200 * time.Microsecond, time.Hour} {
		var one Histogram
		one.Add(d)
		if got := one.Quantile(0.5); got != d {
			t.Errorf("the median of %v is %v", d, got)
		}
	}
	var two Histogram
	two.Add(1500 * time.Microsecond)
	two.Add(10_200 * time.Microsecond)
	if p50, p99 := two.Quantile(0.5), two.Quantile(0.99); p50 != 1500*time.Microsecond || p99 != 10_200*time.Microsecond {
		t.Errorf("of 1.5 ms and 10.2 ms the median is %v, and 99 %% are at most %v", p50, p99)
	}
	if got := new(Histogram).Quantile(0.5); got != 0 {
		t.Errorf("the median of none is %v", got)
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	var c Counts
	r := called("10.0.0.1:1000", "10.0.0.2:80", func(r *tracker.Record) { r.HandshakeRTT = time.Millisecond })
	c.Connection(r)
	if n := testing.AllocsPerRun(100, func() { c.Connection(r) }); n > 0 {
		t.Errorf("a connection costs %v allocations", n)
	}
}

// Of many names a few are kept, each once.
func TestAddName(t *testing.T) {
	var names []string
	for i := range 100 {
		for _, name := range []string{"", "a", strconv.Itoa(i / 2)} {
			names = AddName(names, name)
		}
	}
	if got, want := strings.Join(names, " "), "a 0 1 2 3 4 5 6 7 8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A program has a row as far as it is known, and a connection between two of its own
// counts once.
func TestByProcess(t *testing.T) {
	var c Counts
	of := func(client, server string) {
		c.Connection(called("10.0.0.1:1000", "10.0.0.2:80", func(r *tracker.Record) {
			for e, program := range [2]string{client, server} {
				if program != "-" {
					r.Ends[e].Socket = &tcp.Socket{Owner: tcp.Owner{Program: program}}
				}
			}
		}))
	}
	of("curl", "nginx")
	of("-", "nginx")
	of("nginx", "nginx")
	of("", "-")
	want := []string{"nginx 3", "curl 1"}
	for _, rows := range [][]Row{c.Rows(ByProcess), c.Clone().Rows(ByProcess)} {
		var got []string
		for _, r := range rows {
			got = append(got, fmt.Sprint(r.Program, " ", r.Connections))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
