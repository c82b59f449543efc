package report

import (
	"bytes"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"

	encodingcsv "encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// TestRecordsAreValid decodes every line of JSON that the sample gives, and
// compares its connections, flattened, with the lines of CSV.
func TestRecordsAreValid(t *testing.T) {
	var lines []map[string]any
	for line := range bytes.Lines(print(t, "jsonl", Options{Events: true}, play)) {
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber()
		var object map[string]any
		if err := decoder.Decode(&object); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		lines = append(lines, object)
	}
	if last := lines[len(lines)-1]["type"]; last != "summary" {
		t.Errorf("the last line is a %v", last)
	}

	table, err := encodingcsv.NewReader(bytes.NewReader(print(t, "csv", Options{}, play))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	connections := slices.DeleteFunc(lines, func(l map[string]any) bool { return l["type"] != "connection" })
	if len(connections) != len(sample()) || len(table) != len(sample())+1 {
		t.Fatalf("%d connections in jsonl and %d lines in csv, of %d connections", len(connections), len(table), len(sample()))
	}
	for i, c := range connections {
		flat := make(map[string]string)
		flatten(flat, "", c)
		for j, path := range table[0] {
			if got, want := table[i+1][j], flat[path]; got != want {
				t.Errorf("connection %d: %s is %q in csv and %q in jsonl", i, path, got, want)
			}
			delete(flat, path)
		}
		for path := range flat {
			t.Errorf("connection %d: %s is not in csv", i, path)
		}
	}

	var whole struct{ Connections, Anomalies, Events []map[string]any }
	if err := json.Unmarshal(print(t, "json", Options{Events: true}, play), &whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.Connections) != 4 || len(whole.Anomalies) != 3 || len(whole.Events) != 5 {
		t.Errorf("json holds %d connections, %d anomalies, %d events", len(whole.Connections), len(whole.Anomalies), len(whole.Events))
	}
}

// flatten puts what v holds into flat by its path, as CSV has it.
func flatten(flat map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			flatten(flat, strings.TrimPrefix(path+"."+k, "."), item)
		}
	case []any:
		var words []string
		for _, item := range v {
			if object, ok := item.(map[string]any); ok {
				if item = object["state"]; item == nil {
					item = object["kind"]
				}
			}
			words = append(words, fmt.Sprint(item))
		}
		flat[path] = strings.Join(words, " ")
	default:
		flat[path] = fmt.Sprint(v)
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{
		"", "plain", `"quoted\"`, "tab\tline\nnull\x00del\x7f", "§ é 世 😀", "c1\u009b2J", "bidi\u202e", "plane 14 \U000e0041", "\u2028",
	} {
		text := appendString(nil, s)
		var got string
		if err := json.Unmarshal(text, &got); err != nil || got != s {
			t.Errorf("%q was written %s and read %q (%v)", s, text, got, err)
		}
		if strings.ContainsFunc(string(text), unprintable) {
			t.Errorf("%q was written %q", s, text)
		}
	}
	if got, want := string(appendString(nil, "a\xffb")), `"a\ufffdb"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSort(t *testing.T) {
	for _, test := range []struct{ by, want string }{
		{"", "1 2 3 4"},
		{"conn", "1 2 3 4"},
		{"-conn", "4 3 2 1"},
		{"client.state", "2 3 4 1"},
		{"server.port", "1 4 3 2"},
		{"server.addr", "1 3 4 2"},
		{"bytes", "3 1 2 4"},
		{"-bytes", "4 1 2 3"},
		{"handshake_rtt", "4 1 2 3"},  // 2 and 3 have none: last
		{"-handshake_rtt", "1 4 2 3"}, // in either direction
		{"closed_by", "1 3 2 4"},
		{"start", "1 2 3 4"},
		{"-duration", "2 4 1 3"},
		{"-anomalies", "1 3 2 4"},
		{"-server.possible", "2 1 3 4"},
		{"-client.history", "1 2 3 4"},
		{"origin", "2 1 3 4"},
	} {
		if got := strings.Join(connsBy(t, test.by), " "); got != test.want {
			t.Errorf("sorted by %q: got %s, want %s", test.by, got, test.want)
		}
	}
	for _, path := range SortFields() {
		if got := connsBy(t, path); len(got) != len(sample()) {
			t.Errorf("sorted by %q: %d connections", path, len(got))
		}
	}
}

// connsBy returns the conns of the sample in the order asked for, which must
// be the same in the table and in JSON.
func connsBy(t *testing.T, by string) []string {
	t.Helper()
	var object struct{ Connections []struct{ Conn int } }
	if err := json.Unmarshal(print(t, "json", Options{Sort: by}, play), &object); err != nil {
		t.Fatal(err)
	}
	var conns []string
	for _, c := range object.Connections {
		conns = append(conns, strconv.Itoa(c.Conn))
	}
	var rows []string
	for line := range strings.Lines(string(print(t, "table", Options{Sort: by, NoHeader: true}, play))) {
		if strings.HasPrefix(line, "tcp") {
			rows = append(rows, strings.Fields(line)[5])
		}
	}
	if !slices.Equal(conns, rows) {
		t.Errorf("sorted by %q: json has %v, the table %v", by, conns, rows)
	}
	return conns
}

func TestFieldsHaveOnePathEach(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range fields {
		if seen[f.path] {
			t.Errorf("%s is twice in the list", f.path)
		}
		seen[f.path] = true
	}
}

// The vectors are those published with the Community ID specification, and one
// of Zeek's own tests.
func TestCommunityID(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "[2607:f8b0:400c:c03::1a]:25", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
		{"1.2.3.4:1122", "5.6.7.8:3344", "1:wCb3OG7yAFWelaUydu0D+125CLM="},
	} {
		a, b := netip.MustParseAddrPort(test.a), netip.MustParseAddrPort(test.b)
		if got := communityID(a, b); got != test.want {
			t.Errorf("communityID(%v, %v) = %s, want %s", a, b, got, test.want)
		}
		if got := communityID(b, a); got != test.want {
			t.Errorf("communityID(%v, %v) = %s, want %s", b, a, got, test.want)
		}
	}
	// Between ports of one address the lesser port comes first.
	a, b := netip.MustParseAddrPort("127.0.0.1:256"), netip.MustParseAddrPort("127.0.0.1:255")
	if communityID(a, b) != communityID(b, a) {
		t.Error("the direction changes the identifier between ports of one address")
	}
}

func BenchmarkRecords(b *testing.B) {
	for _, format := range []string{"jsonl", "csv"} {
		b.Run(format, func(b *testing.B) {
			p, err := New(format, discard{}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			r := closedByClient()
			b.ReportAllocs()
			for b.Loop() {
				p.Record(&r)
			}
		})
	}
	b.Run("transition", func(b *testing.B) {
		p, err := New("jsonl", discard{}, Options{Events: true})
		if err != nil {
			b.Fatal(err)
		}
		e := tracker.Event{Kind: tracker.EventTransition, Time: at(1), Packet: 7, Conn: 1, From: tcp.SynSent, To: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN)}
		b.ReportAllocs()
		for b.Loop() {
			p.Event(&e)
		}
	})
}

// discard takes everything.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// TestStreamingAllocates: a transition costs no allocation, and a record only
// those of its Community ID.
func TestStreamingAllocates(t *testing.T) {
	p, err := New("jsonl", discard{}, Options{Events: true})
	if err != nil {
		t.Fatal(err)
	}
	e := tracker.Event{Kind: tracker.EventTransition, Time: at(1), Packet: 7, Conn: 1, From: tcp.SynSent, To: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN)}
	if got := testing.AllocsPerRun(100, func() { p.Event(&e) }); got > 0 {
		t.Errorf("a transition costs %v allocations", got)
	}
	r := refused()
	r.Anomalies = nil
	if got := testing.AllocsPerRun(100, func() { p.Record(&r) }); got > 1 {
		t.Errorf("a record costs %v allocations", got)
	}
}
