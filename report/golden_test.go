package report

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// goldens are outputs, each compared with testdata/<name>.golden, which
// UPDATE=1 rewrites. Escape characters are written ^[ in the files.
var goldens = []struct {
	name   string
	format string
	opts   Options
	play   func(Printer) error     // nil: the sample
	text   func(testing.TB) []byte // instead of all these
}{
	{name: "table", format: "table"},
	{name: "table-120", format: "table", opts: Options{Width: 120}},
	{name: "table-80", format: "table", opts: Options{Width: 80}},
	{name: "table-60", format: "table", opts: Options{Width: 60}},
	{name: "table-ipv4-80", format: "table", opts: Options{Width: 80}, play: ipv4},
	{name: "table-ipv4-100", format: "table", opts: Options{Width: 100}, play: ipv4},
	{name: "table-color", format: "table", opts: Options{Color: true}},
	{name: "table-no-header", format: "table", opts: Options{NoHeader: true, Color: true}},
	{name: "table-existing", format: "table", opts: Options{Existing: true}},
	{name: "table-state", format: "table", opts: Options{Filter: Selection{States: []tcp.State{tcp.TimeWait, tcp.CloseWait}}}},
	{name: "table-anomaly", format: "table", opts: Options{Filter: Selection{Kinds: []string{"connection-refused"}}}},
	{name: "table-relative", format: "table", opts: Options{Time: Relative}},
	{name: "table-by-bytes", format: "table", opts: Options{Sort: "-bytes"}},
	{name: "table-many-anomalies", format: "table", play: manyAnomalies},
	{name: "table-no-packets", format: "table", play: func(p Printer) error { return p.Close(Summary{}) }},
	{name: "table-no-tcp", format: "table", play: func(p Printer) error {
		return p.Close(Summary{Packets: 3, First: begin, Last: at(20)})
	}},
	{name: "table-no-connection", format: "table", play: func(p Printer) error {
		return p.Close(Summary{Packets: 3, TCPPackets: 1, First: begin, Last: at(20)})
	}},
	{name: "table-none-selected", format: "table", opts: Options{Where: func(*tracker.Record) bool { return false }}},
	{name: "table-none-existing", format: "table", opts: Options{Existing: true}, play: func(p Printer) error {
		r := refused()
		p.Record(&r)
		return p.Close(whole())
	}},
	{name: "table-time-wait", format: "table", play: timeWaits},
	{name: "table-time-wait-relative-80", format: "table", opts: Options{Time: Relative, Width: 80, NoHeader: true}, play: timeWaits},
	{name: "wide", format: "wide"},
	{name: "wide-relative", format: "wide", opts: Options{Time: Relative, Color: true, Width: 80}},
	{name: "markdown", format: "markdown"},
	{name: "markdown-no-header", format: "markdown", opts: Options{NoHeader: true}},
	{name: "check-text", text: func(t testing.TB) []byte { return printCheck(t, "text") }},
	{name: "check-json", text: func(t testing.TB) []byte { return printCheck(t, "json") }},
	{name: "check-junit", text: func(t testing.TB) []byte { return printCheck(t, "junit") }},
	{name: "check-sarif", text: func(t testing.TB) []byte { return printCheck(t, "sarif") }},
	{name: "check-github", text: func(t testing.TB) []byte { return printCheck(t, "github") }},
	{name: "summary", format: "summary"},
	{name: "summary-color", format: "summary", opts: Options{Color: true}},
	{name: "summary-on", format: "summary", opts: Options{On: netip.MustParseAddr("10.9.0.2")}},
	{name: "on", format: "table", opts: Options{On: netip.MustParseAddr("10.9.0.2")}},
	{name: "on-client", format: "table", opts: Options{On: netip.MustParseAddr("10.9.0.1"), Color: true}},
	{name: "on-ipv6", format: "wide", opts: Options{On: netip.MustParseAddr("2001:db8::1")}},
	{name: "on-listening", format: "table", opts: Options{On: netip.MustParseAddr("10.9.0.2"), Listening: true}},
	{name: "on-markdown", format: "markdown", opts: Options{On: netip.MustParseAddr("10.9.0.2")}},
	{name: "on-nobody", format: "table", opts: Options{On: netip.MustParseAddr("192.0.2.1")}},
	{name: "listening", format: "table", opts: Options{Listening: true}},
	{name: "listening-none", format: "table", opts: Options{Listening: true}, play: func(p Printer) error { return p.Close(whole()) }},
	{name: "json", format: "json"},
	{name: "json-events", format: "json", opts: Options{Events: true, Sort: "-duration"}},
	{name: "json-empty", format: "json", opts: Options{Events: true}, play: func(p Printer) error { return p.Close(Summary{}) }},
	{name: "jsonl", format: "jsonl"},
	{name: "jsonl-events", format: "jsonl", opts: Options{Events: true}},
	{name: "jsonl-events-selected", format: "jsonl", opts: Options{Events: true, Filter: Selection{States: []tcp.State{tcp.TimeWait}}}},
	{name: "ladder", text: ladderOf(LadderOptions{})},
	{name: "ladder-all", text: ladderOf(LadderOptions{All: true})},
	{name: "ladder-absolute", text: ladderOf(LadderOptions{Absolute: true, Color: true})},
	{name: "ladder-120", text: ladderOf(LadderOptions{Width: 120})},
	{name: "ladder-100", text: ladderOf(LadderOptions{Width: 100})},
	{name: "ladder-80", text: ladderOf(LadderOptions{Width: 80})},
	{name: "ladder-60", text: ladderOf(LadderOptions{Width: 60})},
	{name: "ladder-notation", text: ladderOf(LadderOptions{Absolute: true, All: true, Stack: "linux", TwoMSL: 30 * time.Second})},
	{name: "kinds", text: kindsOf("table", KindOptions{})},
	{name: "kinds-60", text: kindsOf("table", KindOptions{Width: 60, Color: true})},
	{name: "kinds-json", text: kindsOf("json", KindOptions{})},
	{name: "kind", text: oneKind("table", KindOptions{Width: 70, Color: true})},
	{name: "kind-json", text: oneKind("json", KindOptions{})},
	{name: "kind-markdown", text: oneKind("markdown", KindOptions{})},
	{name: "states", text: func(t testing.TB) []byte { return written(t, func(w io.Writer) error { return WriteStates(w, false) }) }},
	{name: "states-dot", text: func(testing.TB) []byte { return StatesDot() }},
	{name: "states-svg", text: func(testing.TB) []byte { return StatesSVG() }},
	{name: "html", text: pageOf(play)},
	{name: "html-ladder", text: pageOf(drawnPage)},
	{name: "html-judged", text: pageOf(judged)},
	{name: "html-empty", text: pageOf(func(p Printer) error { return p.Close(Summary{}) })},
	{name: "csv", format: "csv"},
	{name: "csv-by-state", format: "csv", opts: Options{Sort: "client.state", NoHeader: true}},
}

func TestGoldens(t *testing.T) {
	produced := make(map[string]bool)
	for _, test := range goldens {
		file := filepath.Join("testdata", test.name+".golden")
		if produced[file] {
			t.Fatalf("two goldens are named %s", test.name)
		}
		produced[file] = true
		t.Run(test.name, func(t *testing.T) {
			if test.play == nil {
				test.play = play
			}
			text := test.text
			if text == nil {
				text = func(t testing.TB) []byte { return print(t, test.format, test.opts, test.play) }
			}
			got := strings.ReplaceAll(string(text(t)), "\x1b", "^[")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		if !produced[file] {
			t.Errorf("nothing produces %s", file)
		}
	}
}

// print returns what a format prints.
func print(t testing.TB, format string, o Options, play func(Printer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	p, err := New(format, &out, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := play(p); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// ipv4 is the sample without its connection over IPv6.
func ipv4(p Printer) error {
	for _, r := range sample() {
		if r.Conn != 2 {
			p.Record(&r)
		}
	}
	return p.Close(whole())
}

// timeWaits are connections left in TIME_WAIT: many of one client, on 12
// servers, of which the first closes first itself.
func timeWaits(p Printer) error {
	conn := 0
	for server := range 12 {
		for client := range 14 - server {
			conn++
			r := closedByClient()
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
	return p.Close(Summary{Packets: 11, TCPPackets: 11, First: begin, Last: begin.Add(time.Second), Now: begin.Add(2 * time.Second)})
}

// manyAnomalies is a connection with more anomalies of one kind than are shown.
func manyAnomalies(p Printer) error {
	r := closedByClient()
	r.Anomalies = nil
	for i := range shownOfKind + 5 {
		r.Anomalies = append(r.Anomalies, anomaly.Anomaly{
			Conn: 1, Kind: "zero-window", Severity: anomaly.Info, Time: at(i), Packet: i + 1, Count: 1, Text: "No room.",
		})
	}
	p.Record(&r)
	return p.Close(Summary{Packets: 11, TCPPackets: 11, First: begin, Last: begin.Add(time.Second)})
}
