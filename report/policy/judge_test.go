package policy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// connection returns a connection whose ends are in states: CLOSED is proved,
// CLOSED! settled, CLOSED? assumed without another that is possible, and
// CLOSED|TIME_WAIT assumed, with another.
func connection(conn int, client, server string) *tracker.Record {
	r := &tracker.Record{Conn: conn, Incarnation: 1}
	for e, text := range []string{client, server} {
		x := &r.Ends[e]
		x.Addr = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", e+1)), uint16(80+e*1000+conn))
		x.WindowScale, x.Packets, x.Certainty = -1, 5, tcp.Proved
		for mark, certainty := range map[string]tcp.Certainty{"?": tcp.Assumed, "!": tcp.Settled} {
			if plain, ok := strings.CutSuffix(text, mark); ok {
				text, x.Certainty = plain, certainty
			}
		}
		for i, name := range strings.Split(text, "|") {
			s, err := tcp.ParseState(name)
			if err != nil && name != "UNKNOWN" {
				panic(err)
			}
			if i == 0 {
				x.State = s
			}
			if strings.Contains(text, "|") {
				x.Possible |= 1 << s
				if x.Certainty == tcp.Proved {
					x.Certainty = tcp.Assumed
				}
			}
		}
		x.Proved = x.State
		x.History = []tracker.Step{{Packet: 3 + e, State: x.State}}
	}
	return r
}

// odd adds an anomaly.
func odd(r *tracker.Record, kind string, severity anomaly.Severity, certain anomaly.Confidence) *tracker.Record {
	r.Anomalies = append(r.Anomalies, anomaly.Anomaly{Conn: r.Conn, Kind: kind, Severity: severity, Confidence: certain, Packet: 9, Evidence: []int{8, 9}, Text: "so", Count: 1})
	return r
}

// judged judges connections by rules in YAML, and returns what was found.
func judged(t *testing.T, rules string, o Options, truncated bool, records ...*tracker.Record) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte("rules:\n- "+rules), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := New(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := p.Judge(t.Context(), "x.pcap", o)
	j.Truncated = truncated
	for _, r := range records {
		j.Connection(r)
	}
	c, err := j.Close()
	if err != nil {
		return "error"
	}
	verdicts := fmt.Sprint(c.Verdict())
	if n := c.Tallies[0].Assumed; n > 0 && c.Verdict() == check.Passed {
		verdicts += " by what is assumed"
	}
	for _, f := range c.Findings {
		if _, why, ok := strings.Cut(f.Text, ", but "); ok && f.Verdict == check.Undecided {
			verdicts += ": " + why
			break
		}
	}
	return verdicts
}

func TestCertainty(t *testing.T) {
	const (
		leak   = "{name: a, forbid: server.state == CLOSE_WAIT}"
		closed = "{name: a, require: server.state == CLOSED}"
		grave  = "{name: a, forbid: 'any(anomalies, .kind == syn_timeout)'}"
		none   = "{name: a, count: 'count(connections, .server.state == CLOSE_WAIT) == 0'}"
		bytes  = "{name: a, require: client.bytes > 0}"
	)
	midstream := connection(1, "CLOSED", "CLOSED")
	midstream.Origin = tcp.FromMidstream
	for _, test := range []struct {
		name, rules string
		records     []*tracker.Record
		cut         bool
		want        string
		strict      string // with Strict; "": the same
	}{
		{"a proved state fails", leak, []*tracker.Record{connection(1, "FIN_WAIT_2?", "CLOSE_WAIT")}, false, "failed", ""},
		{"a settled state fails", leak, []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT!")}, false, "failed", ""},
		{"a settled state fails, whatever else is said to be possible", leak, []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT|CLOSED!")}, false, "failed", ""},
		{"an assumed state fails where no other is possible", leak, []*tracker.Record{connection(1, "FIN_WAIT_2", "CLOSE_WAIT?")}, false, "failed", ""},
		{"an assumed state fails where no other passes", closed, []*tracker.Record{connection(1, "CLOSED", "TIME_WAIT|LAST_ACK")}, false, "failed", ""},
		{"an assumed state is undecided where another passes", leak, []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT|ESTABLISHED")}, false,
			"undecided: the server may also be in ESTABLISHED", "failed"},
		{"an assumed state passes", closed, []*tracker.Record{connection(1, "CLOSED", "CLOSED?")}, false, "passed", ""},
		{"an assumed state passes, and it is counted that another breaks the rule", leak, []*tracker.Record{connection(1, "CLOSED", "CLOSED|CLOSE_WAIT")}, false,
			"passed by what is assumed", "passed"},
		{"a state that no reading allows passes", leak, []*tracker.Record{connection(1, "SYN_SENT", "LISTEN|SYN_RCVD")}, false, "passed", ""},
		{"what no state changes fails", "{name: a, forbid: server.port == 1081 || server.state == CLOSED}", []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT|CLOSED")}, false, "failed", ""},
		{"an unknown state is undecided if one breaks the rule", leak, []*tracker.Record{connection(1, "FIN_WAIT_1", "UNKNOWN?")}, false,
			"undecided: the server may be in CLOSE_WAIT: no packet shows its state", ""},
		{"an unknown state passes if none breaks the rule: there was no FIN to wait after", leak, []*tracker.Record{connection(1, "SYN_SENT", "UNKNOWN?")}, false, "passed", ""},
		{"an unknown state is undecided if one keeps the rule", closed, []*tracker.Record{connection(1, "CLOSED", "UNKNOWN?")}, false,
			"undecided: the server may be in CLOSED: no packet shows its state", ""},
		{"that no packet tells is graver than what is assumed", "{name: a, forbid: client.state == CLOSED || server.state == LISTEN}",
			[]*tracker.Record{connection(1, "TIME_WAIT|CLOSED", "UNKNOWN?")}, false, "undecided: the server may be in LISTEN: no packet shows its state", ""},
		{"both ends together", "{name: a, forbid: client.state == CLOSED && server.state == CLOSED || client.state != CLOSED && server.state != CLOSED}",
			[]*tracker.Record{connection(1, "CLOSED|TIME_WAIT", "CLOSED|LAST_ACK")}, false, "undecided: the client may also be in TIME_WAIT", "failed"},
		{"a state and an anomaly together", "{name: a, forbid: 'server.state == CLOSE_WAIT || len(anomalies) > 0'}",
			[]*tracker.Record{odd(connection(1, "CLOSED", "CLOSE_WAIT|ESTABLISHED"), "forged-rst", anomaly.Error, anomaly.ConfidenceAmbiguous)}, false,
			"undecided: the server may also be in ESTABLISHED, and an anomaly is ambiguous", "failed"},

		{"a proved anomaly fails", grave, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceProved)}, false, "failed", ""},
		{"an assumed one fails", grave, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAssumed)}, false, "failed", ""},
		{"an ambiguous one does not", grave, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAmbiguous)}, false,
			"undecided: an anomaly is ambiguous", ""},
		{"an assumed one is denied", "{name: a, deny: error}", []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAssumed)}, false, "failed", ""},
		{"an ambiguous one may not have been", "{name: a, deny: error}", []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAmbiguous)}, false,
			"undecided: it is ambiguous: so", ""},

		{"octets of all that was captured", bytes, []*tracker.Record{connection(1, "CLOSED", "CLOSED")}, false, "failed", ""},
		{"octets of a part", bytes, []*tracker.Record{midstream}, false, "undecided: its beginning was not captured", ""},
		{"octets of one direction", bytes, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "asymmetric-capture", anomaly.Notice, anomaly.ConfidenceProved)}, false,
			"undecided: only one direction was captured", ""},
		{"octets of a lossy capture", bytes, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "capture-gap", anomaly.Notice, anomaly.ConfidenceProved)}, false,
			"undecided: packets are missing from the capture", ""},
		{"what was open where the capture is cut off", closed, []*tracker.Record{connection(1, "ESTABLISHED", "ESTABLISHED")}, true, "undecided: the capture is cut off", ""},
		{"what was closed before fails", "{name: a, forbid: server.state == CLOSED}", []*tracker.Record{connection(1, "CLOSED", "CLOSED")}, true, "failed", ""},

		{"an expected state that no reading allows", "{name: a, expect: {server: CLOSED}}", []*tracker.Record{connection(1, "CLOSED", "LAST_ACK?")}, false, "failed", ""},
		{"an expected state that may be", "{name: a, expect: {server: LAST_ACK}}", []*tracker.Record{connection(1, "CLOSED", "CLOSED|LAST_ACK")}, false,
			"undecided: the server may also be in LAST_ACK", "failed"},
		{"an expected state that is assumed", "{name: a, expect: {server: CLOSED}}", []*tracker.Record{connection(1, "CLOSED", "CLOSED|LAST_ACK")}, false, "passed by what is assumed", "passed"},
		{"an expected state of which no packet tells", "{name: a, expect: {server: CLOSED}}", []*tracker.Record{connection(1, "CLOSED", "UNKNOWN?")}, false,
			"undecided: the server may be in CLOSED: no packet shows its state", ""},
		{"an expected state that cannot be", "{name: a, expect: {server: CLOSE_WAIT}}", []*tracker.Record{connection(1, "CLOSED", "UNKNOWN?")}, false, "failed", ""},

		{"one proved is counted", none, []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT"), connection(2, "CLOSED", "CLOSE_WAIT|CLOSED")}, false, "failed", ""},
		{"one assumed is not", none, []*tracker.Record{connection(1, "CLOSED", "CLOSED"), connection(2, "CLOSED", "CLOSE_WAIT|CLOSED")}, false,
			"undecided: the server of connection 2 may also be in CLOSED", "failed"},
		{"one that can be nothing else is", none, []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT|CLOSED"), connection(2, "CLOSED", "CLOSE_WAIT?")}, false, "failed", ""},
		{"one of two may be", "{name: a, count: 'count(connections, .server.state == CLOSED) == 1'}",
			[]*tracker.Record{connection(1, "CLOSED", "CLOSED|LAST_ACK"), connection(2, "CLOSED", "CLOSED|LAST_ACK")}, false,
			"undecided: the server of connection 1 may also be in LAST_ACK", "failed"},
		{"an unknown one may be", none, []*tracker.Record{connection(1, "FIN_WAIT_1", "UNKNOWN?")}, false,
			"undecided: the server of connection 1 may also be in CLOSE_WAIT", ""},
		{"an assumed anomaly of the set", "{name: a, count: 'count(connections, len(.anomalies) > 0) == 0'}",
			[]*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAssumed)}, false, "failed", ""},
		{"an ambiguous anomaly of the set", "{name: a, count: 'count(connections, len(.anomalies) > 0) == 0'}",
			[]*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAmbiguous)}, false, "undecided: an anomaly is ambiguous", ""},
		{"the set of a match", "{name: a, match: conn > 1, count: len(connections) == 1}",
			[]*tracker.Record{connection(1, "CLOSED", "CLOSED"), connection(2, "CLOSED", "CLOSED")}, false, "passed", ""},

		{"a severity means it and above", "{name: a, deny: warning}", []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceProved)}, false, "failed", ""},
		{"and not below", "{name: a, deny: warning}", []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Notice, anomaly.ConfidenceProved)}, false, "passed", ""},
		{"what one rule allows no rule denies", "{name: a, deny: warning}\n- {name: b, port: 1081, allow: syn-timeout}",
			[]*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceProved)}, false, "passed", ""},
		{"but only where that rule applies", "{name: a, deny: warning}\n- {name: b, port: 1081, allow: syn-timeout}",
			[]*tracker.Record{odd(connection(2, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceProved)}, false, "failed", ""},
		{"no connection", leak, nil, false, "undecided", ""},
	} {
		if got := judged(t, test.rules, Options{}, test.cut, test.records...); got != test.want && !(test.cut && strings.HasPrefix(got, test.want)) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		if test.strict == "" {
			test.strict, _, _ = strings.Cut(test.want, ":")
		}
		if got := judged(t, test.rules, Options{Strict: true}, test.cut, test.records...); !strings.HasPrefix(got, test.strict) {
			t.Errorf("%s, strictly: got %q, want %q", test.name, got, test.strict)
		}
	}
}

// A baseline masks the client's port and keeps the server's.
func TestBaselineKeepsTheService(t *testing.T) {
	from := func(client, server uint16, state string) *tracker.Record {
		r := connection(1, "FIN_WAIT_1", state)
		r.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), client)
		r.Ends[tcp.Server].Addr = netip.AddrPortFrom(netip.MustParseAddr("fd00::2"), server)
		return r
	}
	for _, test := range []struct {
		name string
		now  []*tracker.Record
		want string
	}{
		{"other ports of the client", []*tracker.Record{from(2000, 443, "CLOSED"), from(2001, 80, "CLOSED|LAST_ACK")}, "passed []"},
		{"another port of the server", []*tracker.Record{from(1000, 444, "CLOSED"), from(1001, 80, "CLOSED|LAST_ACK")},
			"failed [-1 10.0.0.1:* FIN_WAIT_1, [fd00::2]:443 CLOSED, from syn, open +1 10.0.0.1:* FIN_WAIT_1, [fd00::2]:444 CLOSED, from syn, open]"},
		{"the service that leaks", []*tracker.Record{from(1000, 443, "CLOSE_WAIT"), from(1001, 80, "CLOSED")},
			"failed [-1 10.0.0.1:* FIN_WAIT_1, [fd00::2]:443 CLOSED, from syn, open +1 10.0.0.1:* FIN_WAIT_1, [fd00::2]:443 CLOSE_WAIT, from syn, open]"},
		{"a state that may be the same", []*tracker.Record{from(1000, 443, "LAST_ACK|CLOSED"), from(1001, 80, "CLOSED")}, "undecided"},
		{"a state that may be another, but not the same", []*tracker.Record{from(1000, 443, "CLOSE_WAIT|LAST_ACK"), from(1001, 80, "CLOSED")}, "failed"},
	} {
		path := filepath.Join(t.TempDir(), "base")
		judge := func(update bool, records ...*tracker.Record) *check.Capture {
			b, err := OpenBaseline(path, update, []string{"x.pcap"})
			if err != nil {
				t.Fatal(err)
			}
			p, err := New("", nil, b)
			if err != nil {
				t.Fatal(err)
			}
			j := p.Judge(t.Context(), "x.pcap", Options{})
			for _, r := range records {
				j.Connection(r)
			}
			c, err := j.Close()
			if err != nil {
				t.Fatal(err)
			}
			if b.Set(j); b.Write() != nil {
				t.Fatal("the baseline cannot be written")
			}
			return c
		}
		judge(true, from(1000, 443, "CLOSED"), from(1001, 80, "CLOSED"))
		c := judge(false, test.now...)
		var texts []string
		for _, f := range c.Findings {
			texts = append(texts, f.Text)
		}
		if got := fmt.Sprint(c.Verdict(), " ", texts); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// What came of a rule is counted by connections, or by captures where it is asked
// once.
func TestTallies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte(`rules:
- {name: a, deny: error}
- {name: b, match: conn > 1, forbid: server.state == CLOSE_WAIT}
- {name: c, count: len(connections) > 0}
- {name: d, match: conn > 9, deny: error}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	for undecided, want := range map[Undecided]string{
		Warn:   "[{1 1 2 0} {1 1 1 0} {0 0 1 0} {0 0 0 0} {0 0 1 0}]",
		Fail:   "[{2 0 2 0} {2 0 1 0} {0 0 1 0} {0 0 0 0} {0 0 1 0}]",
		Ignore: "[{1 0 3 0} {1 0 2 0} {0 0 1 0} {0 0 0 0} {0 0 1 0}]",
	} {
		p, err := New(path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		j := p.Judge(t.Context(), "x.pcap", Options{Undecided: undecided})
		twice := odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAssumed)
		j.Connection(odd(twice, "forged-rst", anomaly.Error, anomaly.ConfidenceProved))
		j.Connection(odd(connection(2, "CLOSED", "CLOSE_WAIT"), "forged-rst", anomaly.Error, anomaly.ConfidenceAmbiguous))
		j.Connection(connection(3, "CLOSED", "CLOSE_WAIT|CLOSED"))
		j.Connection(connection(4, "CLOSED", "CLOSED"))
		c, err := j.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(c.Tallies); got != want {
			t.Errorf("undecided %d: got %s, want %s", undecided, got, want)
		}
	}
}

// An anomaly over many connections is denied by rules that are about all.
func TestAnomaliesOverMany(t *testing.T) {
	scan := &anomaly.Anomaly{Kind: "port-scan", Severity: anomaly.Warning, Text: "so", Count: 20}
	for _, test := range []struct {
		flags []Flag
		want  check.Verdict
	}{
		{nil, check.Undecided}, // there is no connection
		{[]Flag{{"deny", "warning"}}, check.Failed},
		{[]Flag{{"deny", "port-scan"}}, check.Failed},
		{[]Flag{{"deny", "warning"}, {"allow", "port-scan"}}, check.Undecided},
	} {
		p, err := New("", test.flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		j := p.Judge(t.Context(), "x.pcap", Options{})
		j.Anomaly(scan)
		if c, _ := j.Close(); c.Verdict() != test.want {
			t.Errorf("%v: got %v, want %v", test.flags, c.Verdict(), test.want)
		}
	}
}

// However much a capture breaks, what is told of it is bounded, and the rest
// counted.
func TestFindingsAreBounded(t *testing.T) {
	p, err := New("", []Flag{{"forbid", "server.state == CLOSED"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := p.Judge(t.Context(), "x.pcap", Options{})
	r := connection(1, "CLOSED", "CLOSED")
	for range 3 * maxFindings {
		j.Connection(r)
	}
	c, _ := j.Close()
	if len(c.Findings) != maxFindings || c.More[1] != 2*maxFindings {
		t.Errorf("%d findings and %v more", len(c.Findings), c.More)
	}
}
