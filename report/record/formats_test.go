package record_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TestRecordsAreValid decodes every line of JSON that the sample gives, and
// compares its connections, flattened, with the lines of CSV.
func TestRecordsAreValid(t *testing.T) {
	var lines []map[string]any
	for line := range bytes.Lines(printtest.Print(t, "jsonl", record.Options{Events: true}, printtest.Play)) {
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

	table, err := csv.NewReader(bytes.NewReader(printtest.Print(t, "csv", record.Options{}, printtest.Play))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	connections := slices.DeleteFunc(lines, func(l map[string]any) bool { return l["type"] != "connection" })
	if len(connections) != len(sample.Records()) || len(table) != len(sample.Records())+1 {
		t.Fatalf("%d connections in jsonl and %d lines in csv, of %d connections", len(connections), len(table), len(sample.Records()))
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
	if err := json.Unmarshal(printtest.Print(t, "json", record.Options{Events: true}, printtest.Play), &whole); err != nil {
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
	for _, path := range record.SortFields() {
		for _, by := range []string{path, "-" + path} {
			if got := connsBy(t, by); len(got) != len(sample.Records()) {
				t.Errorf("sorted by %q: %d connections", by, len(got))
			}
		}
	}
}

// What has no room in memory is printed all the same, in the same order.
func TestMemoryMakesNoDifference(t *testing.T) {
	for _, format := range []string{"json", "csv"} {
		for _, by := range []string{"-server.addr", "-duration", "closed_by"} {
			o := record.Options{Sort: by, Events: format == "json"}
			want := printtest.Print(t, format, o, printtest.Play)
			o.Memory = 1
			if got := printtest.Print(t, format, o, printtest.Play); !bytes.Equal(got, want) {
				t.Errorf("%s by %s, in no memory:\n%s\nwant\n%s", format, by, got, want)
			}
		}
	}
}

// connsBy returns the conns of the sample in the order asked for, which must
// be the same in the table and in JSON.
func connsBy(t *testing.T, by string) []string {
	t.Helper()
	var object struct{ Connections []struct{ Conn int } }
	if err := json.Unmarshal(printtest.Print(t, "json", record.Options{Sort: by}, printtest.Play), &object); err != nil {
		t.Fatal(err)
	}
	var conns []string
	for _, c := range object.Connections {
		conns = append(conns, strconv.Itoa(c.Conn))
	}
	var rows []string
	for line := range strings.Lines(string(printtest.Print(t, "table", record.Options{Sort: by, NoHeader: true}, printtest.Play))) {
		if strings.HasPrefix(line, "tcp") {
			rows = append(rows, strings.Fields(line)[5])
		}
	}
	if !slices.Equal(conns, rows) {
		t.Errorf("sorted by %q: json has %v, the table %v", by, conns, rows)
	}
	return conns
}

func BenchmarkRecords(b *testing.B) {
	for _, format := range []string{"jsonl", "csv"} {
		b.Run(format, func(b *testing.B) {
			p, err := report.New(format, io.Discard, record.Options{})
			if err != nil {
				b.Fatal(err)
			}
			r := sample.ClosedByClient()
			b.ReportAllocs()
			for b.Loop() {
				p.Record(&r)
			}
		})
	}
	b.Run("transition", func(b *testing.B) {
		p, err := report.New("jsonl", io.Discard, record.Options{Events: true})
		if err != nil {
			b.Fatal(err)
		}
		e := tracker.Event{Kind: tracker.EventTransition, Time: sample.At(1), Packet: 7, Conn: 1, From: tcp.SynSent, To: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN)}
		b.ReportAllocs()
		for b.Loop() {
			p.Event(&e)
		}
	})
}

// TestStreamingAllocates: a transition costs no allocation, and a record only
// those of its Community ID.
func TestStreamingAllocates(t *testing.T) {
	p, err := report.New("jsonl", io.Discard, record.Options{Events: true})
	if err != nil {
		t.Fatal(err)
	}
	e := tracker.Event{Kind: tracker.EventTransition, Time: sample.At(1), Packet: 7, Conn: 1, From: tcp.SynSent, To: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN)}
	if got := testing.AllocsPerRun(100, func() { p.Event(&e) }); got > 0 {
		t.Errorf("a transition costs %v allocations", got)
	}
	r := sample.Refused()
	r.Anomalies = nil
	if got := testing.AllocsPerRun(100, func() { p.Record(&r) }); got > 1 {
		t.Errorf("a record costs %v allocations", got)
	}
}
