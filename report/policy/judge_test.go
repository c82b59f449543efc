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

// connection returns a connection whose ends are in states as tables write
// them: CLOSED is proved, CLOSED? assumed, and CLOSED|TIME_WAIT one of several.
func connection(conn int, client, server string) *tracker.Record {
	r := &tracker.Record{Conn: conn, Incarnation: 1}
	for e, text := range []string{client, server} {
		x := &r.Ends[e]
		x.Addr = netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", e+1)), uint16(80+e*1000+conn))
		x.WindowScale, x.Packets, x.Certainty = -1, 5, tcp.Proved
		var assumed bool
		if text, assumed = strings.CutSuffix(text, "?"); assumed {
			x.Certainty = tcp.Assumed
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
				x.Certainty = tcp.Assumed
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
	j := p.Judge("x.pcap", o)
	j.Truncated = truncated
	for _, r := range records {
		j.Connection(r)
	}
	c, err := j.Close()
	if err != nil {
		return "error"
	}
	verdicts := fmt.Sprint(c.Verdict())
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
		{"an assumed state does not", leak, []*tracker.Record{connection(1, "FIN_WAIT_2", "CLOSE_WAIT?")}, false,
			"undecided: the state of the server is only assumed", "failed"},
		{"an assumed state passes", closed, []*tracker.Record{connection(1, "CLOSED", "CLOSED?")}, false, "passed", ""},
		{"what no state changes fails", "{name: a, forbid: server.port == 1081 || server.state == CLOSED}", []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT?")}, false, "failed", ""},
		{"an unknown state is undecided either way", leak, []*tracker.Record{connection(1, "CLOSED", "UNKNOWN?")}, false,
			"undecided: the state of the server is not known", ""},
		{"one of several may be the other", leak, []*tracker.Record{connection(1, "CLOSED", "CLOSED|CLOSE_WAIT")}, false,
			"undecided: the state of the server is one of several", "passed"},
		{"one of several, none of which breaks it", leak, []*tracker.Record{connection(1, "CLOSED", "CLOSED|LAST_ACK")}, false, "passed", ""},
		{"one of several, all of which break it", closed, []*tracker.Record{connection(1, "CLOSED", "TIME_WAIT|LAST_ACK")}, false, "failed", ""},
		{"both ends together", "{name: a, forbid: client.state == CLOSED && server.state == CLOSED || client.state != CLOSED && server.state != CLOSED}",
			[]*tracker.Record{connection(1, "CLOSED|TIME_WAIT", "CLOSED|LAST_ACK")}, false, "undecided: the state of the client is one of several", "failed"},

		{"a proved anomaly fails", grave, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceProved)}, false, "failed", ""},
		{"an assumed one does not", grave, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAssumed)}, false,
			"undecided: an anomaly is not proved", "failed"},
		{"an ambiguous one never", grave, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAmbiguous)}, false,
			"undecided: an anomaly is not proved", ""},

		{"octets of all that was captured", bytes, []*tracker.Record{connection(1, "CLOSED", "CLOSED")}, false, "failed", ""},
		{"octets of a part", bytes, []*tracker.Record{midstream}, false, "undecided: its beginning was not captured", ""},
		{"octets of one direction", bytes, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "asymmetric-capture", anomaly.Notice, anomaly.ConfidenceProved)}, false,
			"undecided: only one direction was captured", ""},
		{"octets of a lossy capture", bytes, []*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "capture-gap", anomaly.Notice, anomaly.ConfidenceProved)}, false,
			"undecided: packets are missing from the capture", ""},
		{"what was open where the capture is cut off", closed, []*tracker.Record{connection(1, "ESTABLISHED", "ESTABLISHED")}, true, "undecided: the capture is cut off", ""},
		{"what was closed before fails", "{name: a, forbid: server.state == CLOSED}", []*tracker.Record{connection(1, "CLOSED", "CLOSED")}, true, "failed", ""},

		{"expect compares as it stands", "{name: a, expect: {server: CLOSED}}", []*tracker.Record{connection(1, "CLOSED", "LAST_ACK?")}, false, "failed", ""},
		{"but not what nobody knows", "{name: a, expect: {server: CLOSED}}", []*tracker.Record{connection(1, "CLOSED", "UNKNOWN?")}, false, "undecided", ""},

		{"one proved is counted", none, []*tracker.Record{connection(1, "CLOSED", "CLOSE_WAIT"), connection(2, "CLOSED", "CLOSE_WAIT?")}, false, "failed", ""},
		{"one assumed is not", none, []*tracker.Record{connection(1, "CLOSED", "CLOSED"), connection(2, "CLOSED", "CLOSE_WAIT?")}, false,
			"undecided: states are only assumed, or not known", "failed"},
		{"one of two may be", "{name: a, count: 'count(connections, .server.state == CLOSED) == 1'}",
			[]*tracker.Record{connection(1, "CLOSED", "CLOSED?"), connection(2, "CLOSED", "CLOSED?")}, false, "undecided: states are only assumed, or not known", "failed"},
		{"an unknown one may be", none, []*tracker.Record{connection(1, "CLOSED", "UNKNOWN?")}, false, "undecided: states are only assumed, or not known", ""},
		{"anomalies of the set", "{name: a, count: 'count(connections, len(.anomalies) > 0) == 0'}",
			[]*tracker.Record{odd(connection(1, "CLOSED", "CLOSED"), "syn-timeout", anomaly.Error, anomaly.ConfidenceAssumed)}, false, "undecided: anomalies are not proved", "failed"},
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
		j := p.Judge("x.pcap", Options{})
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
	j := p.Judge("x.pcap", Options{})
	r := connection(1, "CLOSED", "CLOSED")
	for range 3 * maxFindings {
		j.Connection(r)
	}
	c, _ := j.Close()
	if len(c.Findings) != maxFindings || c.More[1] != 2*maxFindings {
		t.Errorf("%d findings and %v more", len(c.Findings), c.More)
	}
}
