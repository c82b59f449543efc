package table_test

import (
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TestLongTables: a table that is long enough to be drawn by hand looks as a
// short one, which tablewriter draws.
func TestLongTables(t *testing.T) {
	repeated := func(times int) func(record.Printer) error {
		return func(p record.Printer) error {
			for range times {
				for _, r := range sample.Records() {
					p.Record(&r)
				}
			}
			return p.Close(printtest.Whole())
		}
	}
	sorted := func(times int, format string) []string {
		out := string(printtest.Print(t, format, record.Options{}, repeated(times)))
		table, _, _ := strings.Cut(out[strings.Index(out, "Proto"):], "\n\n")
		return slices.Sorted(strings.Lines(table + "\n"))
	}
	for _, format := range []string{"table", "wide"} {
		const times = 1000
		short, long := sorted(1, format), sorted(times, format)
		if len(short) != 5 || len(long) != 4*times+1 || !slices.Equal(slices.Compact(long), short) {
			t.Errorf("%s: the long table has %d lines, which are\n%s\nwant\n%s", format, len(long), slices.Compact(long), short)
		}
	}
}

// many plays n connections.
func many(n int) func(record.Printer) error {
	return func(p record.Printer) error {
		r := sample.Sending()
		for i := range n {
			r.Conn = i + 1
			r.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(1023+i%50000))
			if err := p.Record(&r); err != nil {
				return err
			}
		}
		return p.Close(printtest.Whole())
	}
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestColorChangesNothingElse: without its escape sequences, coloured output is
// what is printed without colour.
func TestColorChangesNothingElse(t *testing.T) {
	for _, format := range []string{"table", "wide", "summary"} {
		for _, opts := range []record.Options{{}, {NoHeader: true}, {Width: 80}, {On: netip.MustParseAddr("10.9.0.2")}, {Listening: true}} {
			want := string(printtest.Print(t, format, opts, printtest.Play))
			if sgr.MatchString(want) {
				t.Errorf("%s %+v: escape sequences without colour", format, opts)
			}
			opts.Color = true
			colored := string(printtest.Print(t, format, opts, printtest.Play))
			if got := sgr.ReplaceAllString(colored, ""); got != want || colored == want {
				t.Errorf("%s %+v: got:\n%s\nwant:\n%s", format, opts, got, want)
			}
		}
	}
}

// TestNarrowTerminals: lines fit as long as there is a column to leave out, and
// columns go in the documented order.
func TestNarrowTerminals(t *testing.T) {
	sequence := []string{"Duration", "Sent", "Received", "Closed By", "Proto", "Conn"}
	for width := 60; width <= 140; width++ {
		out := string(printtest.Print(t, "table", record.Options{Width: width}, ipv4))
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
		table, note, _ := strings.Cut(rows, "Columns left out: ")
		note, _, _ = strings.Cut(strings.ReplaceAll(note, "\n", " "), " (-o wide, -o csv or a wider terminal")
		var told []string
		if note != "" {
			told = strings.Split(note, ", ")
		}
		slices.Sort(told)
		slices.Sort(gone)
		if !slices.Equal(told, gone) {
			t.Errorf("width %d: without %v, but told is %v", width, gone, told)
		}
		for line := range strings.Lines(table) {
			if n := utf8.RuneCountInString(line) - 1; n > width && len(gone) < len(sequence) {
				t.Errorf("width %d: a line of %d columns: %s", width, n, line)
			}
		}
		for _, want := range []string{"10.9.0.1:37524", "10.9.0.2:80", "ESTABLISHED", "CLOSE_WAIT?", "Anomalies", "rst-instead-of-ack"} {
			if !strings.Contains(rows, want) {
				t.Errorf("width %d: no %s in\n%s", width, want, rows)
			}
		}
	}
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{1000, 2000, 50_000} {
		for _, format := range []string{"table", "wide", "markdown"} {
			b.Run(fmt.Sprintf("%s/%d", format, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p, err := report.New(format, io.Discard, record.Options{Width: 100})
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
	const rows = 4000
	allocations := testing.AllocsPerRun(1, func() { printtest.Print(t, "table", record.Options{}, many(rows)) })
	if perRow := allocations / rows; perRow > 25 {
		t.Errorf("%.0f allocations a row", perRow)
	}
}

// What there is no room for is counted, and the table says so.
func TestTablesKeepToMemory(t *testing.T) {
	const n = 1000
	for _, format := range []string{"table", "wide", "markdown"} {
		out := string(printtest.Print(t, format, record.Options{Memory: 200 << 10}, many(n)))
		rows := strings.Count(out, "10.0.")
		said := fmt.Sprintf("Note: the first %d of 1,000 connections are listed, in the order in which they ended, to stay within --max-memory;", rows)
		if rows < 10 || rows > 100 || !strings.Contains(out, said) || !strings.Contains(out, "1000") {
			t.Errorf("%s: %d rows are listed, and it is not said by\n%s\n%s", format, rows, said, out)
		}
		if out = string(printtest.Print(t, format, record.Options{Memory: 100 << 20}, many(n))); strings.Count(out, "10.0.") < n || strings.Contains(out, "to stay within --max-memory") {
			t.Errorf("%s: not all is listed where there is room", format)
		}
	}
}
