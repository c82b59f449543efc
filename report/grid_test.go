package report

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TestTwoWritersOneLook: tablewriter and the plain writer draw the same bytes.
func TestTwoWritersOneLook(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cells := []string{"", "-", "0", "tcp", "TIME_WAIT?", "[2001:db8::1]:443", "1234567", "a,b,c", "two words", "§", `\x1b[0m`, "%d", "UNKNOWN{CLOSED,FIN_WAIT_2}"}
	for range 300 {
		g := &grid{noHeader: random.IntN(3) == 0}
		for i := range 1 + random.IntN(6) {
			g.columns = append(g.columns, gridColumn{title: fmt.Sprintf("Title of %d", i*random.IntN(1000)), right: random.IntN(2) == 0})
		}
		for range 1 + random.IntN(20) {
			var row []string
			for range g.columns {
				row = append(row, cells[random.IntN(len(cells))])
			}
			g.rows = append(g.rows, row)
		}
		compareWriters(t, g)
	}
	for _, format := range []*table{
		newTable(nil, &Options{}, order{}).(*table),
		newWide(nil, &Options{}, order{}).(*table),
	} {
		for _, r := range sample() {
			format.keep(&r)
		}
		compareWriters(t, format.grid(format.columns, &Options{}, &Summary{}))
	}
}

// compareWriters draws g with both writers, and compares what is drawn.
func compareWriters(t *testing.T, g *grid) {
	t.Helper()
	var want, got bytes.Buffer
	if err := g.drawTablewriter(&want); err != nil {
		t.Fatal(err)
	}
	g.drawPlain(&got, g.widths())
	if got.String() != want.String() {
		t.Fatalf("plain:\n%q\ntablewriter:\n%q", got.String(), want.String())
	}
}

// TestLongTables: the step from one writer to the other shows nowhere.
func TestLongTables(t *testing.T) {
	for _, n := range []int{tablewriterRows, tablewriterRows + 1} {
		lines := strings.Split(string(print(t, "table", Options{}, many(n))), "\n")
		if want := "tcp    10.0.0.1:1024    ESTABLISHED  10.9.0.2:80     CLOSE_WAIT?     2  1234567        99     2m03s  -"; lines[2] != want {
			t.Errorf("%d rows: got line\n%q, want\n%q", n, lines[2], want)
		}
		if lines[n+1] != "" || !strings.HasPrefix(lines[n], "tcp ") {
			t.Errorf("%d rows: the table ends with %q, %q", n, lines[n], lines[n+1])
		}
	}
}

// many plays n connections.
func many(n int) func(Printer) error {
	return func(p Printer) error {
		r := sending()
		for i := range n {
			r.Conn = i + 1
			r.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(1023+i%50000))
			if err := p.Record(&r); err != nil {
				return err
			}
		}
		return p.Close(whole())
	}
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestColorChangesNothingElse: without its escape sequences, coloured output is
// what is printed without colour.
func TestColorChangesNothingElse(t *testing.T) {
	for _, format := range []string{"table", "wide", "summary"} {
		for _, opts := range []Options{{}, {NoHeader: true}, {Width: 80}, {On: netip.MustParseAddr("10.9.0.2")}, {Listening: true}} {
			want := string(print(t, format, opts, play))
			if sgr.MatchString(want) {
				t.Errorf("%s %+v: escape sequences without colour", format, opts)
			}
			opts.Color = true
			colored := string(print(t, format, opts, play))
			if got := sgr.ReplaceAllString(colored, ""); got != want || colored == want {
				t.Errorf("%s %+v: got:\n%s\nwant:\n%s", format, opts, got, want)
			}
		}
	}
}

// TestNarrowTerminals: lines fit as long as there is a column to leave out, and
// columns go in the documented order.
func TestNarrowTerminals(t *testing.T) {
	sequence := []string{"Anomalies", "Duration", "Sent", "Received", "Closed By", "Conn"}
	for width := 60; width <= 140; width++ {
		out := string(print(t, "table", Options{Width: width}, ipv4))
		rows, _, _ := strings.Cut(out, "\n\n")
		header, _, _ := strings.Cut(rows, "\n")
		var gone []string
		for _, title := range sequence {
			if !strings.Contains(header, title) {
				gone = append(gone, title)
			}
		}
		if !slices.Equal(gone, sequence[:len(gone)]) {
			t.Errorf("width %d: without %v", width, gone)
		}
		for line := range strings.Lines(rows) {
			if n := utf8.RuneCountInString(line) - 1; n > width && len(gone) < len(sequence) {
				t.Errorf("width %d: a line of %d columns: %s", width, n, line)
			}
		}
		for _, want := range []string{"10.9.0.1:37524", "10.9.0.2:80", "ESTABLISHED", "CLOSE_WAIT?"} {
			if !strings.Contains(rows, want) {
				t.Errorf("width %d: no %s in\n%s", width, want, rows)
			}
		}
	}
}

// TestNothingSteersATerminal: no format lets a control character through.
func TestNothingSteersATerminal(t *testing.T) {
	hostile := func(p Printer) error {
		const text = "\x1b]0;title\x07\u009b2J\u202e\r\x00\xff|"
		r := closedByClient()
		a := &r.Anomalies[0]
		a.Kind, a.Cause, a.Text, a.RFC, a.Supersedes = "kind"+text, text, text, text, []string{text}
		over := *a
		over.Conn = 0
		for _, e := range []tracker.Event{
			{Kind: tracker.EventTransition, Conn: 1},
			{Kind: tracker.EventAnomaly, Conn: 1, Anomaly: a},
			{Kind: tracker.EventAnomaly, Anomaly: &over},
		} {
			if err := p.Event(&e); err != nil {
				return err
			}
		}
		p.Record(&r)
		return p.Close(whole())
	}
	for _, format := range Formats() {
		if format == "csv" {
			continue // its words are the tracker's own
		}
		out := string(print(t, format, Options{Events: strings.HasPrefix(format, "json")}, hostile))
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			if format == "html" {
				line = strings.TrimLeft(line, "\t") // of its style and script
			}
			if strings.ContainsFunc(line, unprintable) || !utf8.ValidString(line) {
				t.Errorf("%s: %q", format, line)
			}
		}
	}
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{1000, tablewriterRows, 50_000} {
		for _, format := range []string{"table", "wide", "markdown"} {
			b.Run(fmt.Sprintf("%s/%d", format, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p, err := New(format, discard{}, Options{Width: 100})
					if err != nil {
						b.Fatal(err)
					}
					if err := many(n)(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestLongTablesAreCheap: a row beyond those that tablewriter draws costs a few
// allocations, where tablewriter makes 200 of them. BenchmarkTable has the times.
func TestLongTablesAreCheap(t *testing.T) {
	const rows = 2 * tablewriterRows
	allocations := testing.AllocsPerRun(1, func() { print(t, "table", Options{}, many(rows)) })
	if perRow := allocations / rows; perRow > 25 {
		t.Errorf("%.0f allocations a row", perRow)
	}
}

// What is odd about many connections explains what is odd about each of them.
func TestManyComeFirst(t *testing.T) {
	var c connections
	r := closedByClient()
	r.Anomalies = []anomaly.Anomaly{
		{Kind: "connection-refused", Severity: anomaly.Warning, Conn: r.Conn},
		{Kind: "rst-instead-of-ack", Severity: anomaly.Error, Conn: r.Conn},
	}
	c.keep(&r)
	c.keepMany(&anomaly.Anomaly{Kind: "port-scan", Severity: anomaly.Warning})
	var got []string
	for _, g := range c.groups(shownOfKind) {
		got = append(got, g.kind)
	}
	if want := []string{"rst-instead-of-ack", "port-scan", "connection-refused"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}
