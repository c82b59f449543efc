package report_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestNewRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, test := range []struct {
		format string
		opts   record.Options
		want   string // "" for none
	}{
		{"table", record.Options{Sort: "client.state"}, ""},
		{"csv", record.Options{Sort: "-anomalies"}, ""},
		{"wide", record.Options{On: netip.IPv6Loopback()}, ""},
		{"yaml", record.Options{}, `unknown output format "yaml" (table, wide, json, jsonl, csv, markdown, html, summary, services, packets)`},
		{"\x1b[2J", record.Options{}, `unknown output format`},
		{"", record.Options{}, `unknown output format ""`},
		{"table", record.Options{Sort: "colour"}, `unknown field "colour" to sort by (conn, community_id, incarnation, client.addr,`},
		{"table", record.Options{Sort: "-"}, `unknown field ""`},
		{"table", record.Options{Sort: "type"}, `unknown field "type"`},
		{"jsonl", record.Options{Sort: "conn"}, "jsonl cannot be sorted"},
		{"services", record.Options{Sort: "conn"}, "services cannot be sorted"},
		{"services", record.Options{By: services.ByClient}, ""},
		{"services", record.Options{Listening: true}, "services has no --listening view"},
		{"jsonl", record.Options{By: services.ByClient}, "jsonl has no rows of services for --by"},
		{"summary", record.Options{Sort: "conn"}, "summary cannot be sorted"},
		{"table", record.Options{Events: true}, "table prints no events; use json or jsonl"},
		{"json", record.Options{Listening: true}, "json has no --listening view"},
		{"csv", record.Options{On: netip.IPv6Loopback()}, "csv has no --on view"},
	} {
		p, err := report.New(test.format, io.Discard, test.opts)
		switch {
		case test.want == "" && (err != nil || p == nil):
			t.Errorf("report.New(%q, %+v) = %v, %v", test.format, test.opts, p, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("report.New(%q, %+v): got error %v, want %q", test.format, test.opts, err, test.want)
		case err != nil && strings.Contains(err.Error(), "\x1b"):
			t.Errorf("report.New(%q): an escape sequence is in the error", test.format)
		}
	}
}

// failing is a writer that takes so many octets.
type failing struct {
	room int
	err  error
}

func (w *failing) Write(b []byte) (int, error) {
	if len(b) > w.room {
		n := w.room
		w.room = 0
		return n, w.err
	}
	w.room -= len(b)
	return len(b), nil
}

func TestFirstErrorSticks(t *testing.T) {
	full := errors.New("no space left")
	for _, format := range report.Formats() {
		p, err := report.New(format, &failing{room: 100, err: full}, record.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := printtest.Play(p); !errors.Is(err, full) {
			t.Errorf("%s: got error %v, want %v", format, err, full)
		}
		if err := p.Flush(); !errors.Is(err, full) {
			t.Errorf("%s: Flush after it: got error %v, want %v", format, err, full)
		}
	}
	p, err := report.New("jsonl", &failing{err: full}, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := sample.ClosedByClient()
	for range 1000 {
		err = p.Record(&r)
	}
	if !errors.Is(err, full) {
		t.Errorf("streaming into a full disk: got error %v, want %v", err, full)
	}
}

func TestIsBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	p, err := report.New("jsonl", w, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = printtest.Play(p)
	if !report.IsBrokenPipe(err) {
		t.Errorf("a reader that has gone: %v is no broken pipe", err)
	}
	for _, err := range []error{nil, io.EOF, syscall.ENOSPC, os.ErrClosed} {
		if report.IsBrokenPipe(err) {
			t.Errorf("%v is a broken pipe", err)
		}
	}
}

func TestFlushShowsWhatStreams(t *testing.T) {
	for _, test := range []struct {
		format string
		want   int // lines
	}{{"jsonl", 1}, {"csv", 2}, {"table", 0}} {
		var out bytes.Buffer
		p, err := report.New(test.format, &out, record.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := sample.ClosedByClient()
		p.Record(&r)
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != test.want {
			t.Errorf("%s: %d lines after Flush, want %d", test.format, got, test.want)
		}
	}
}

func TestSelection(t *testing.T) {
	for _, test := range []struct {
		name string
		opts record.Options
		want []string // the conns
	}{
		{"all", record.Options{}, []string{"1", "2", "3", "4"}},
		{"either-end", record.Options{Filter: record.Selection{States: []tcp.State{tcp.CloseWait}}}, []string{"4"}},
		{"any-of-the-states", record.Options{Filter: record.Selection{States: []tcp.State{tcp.Unknown, tcp.TimeWait}}}, []string{"1", "2"}},
		{"kind", record.Options{Filter: record.Selection{Kinds: []string{"connection-refused"}}}, []string{"3"}},
		{"state-and-kind", record.Options{Filter: record.Selection{States: []tcp.State{tcp.TimeWait}, Kinds: []string{"connection-refused"}}}, nil},
		{"where", record.Options{Where: func(r *tracker.Record) bool { return r.Conn%2 == 0 }}, []string{"2", "4"}},
		{"records-ignore-existing", record.Options{Existing: true}, []string{"1", "2", "3", "4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opts.Sort, test.opts.NoHeader = "conn", true
			var got []string
			for line := range strings.Lines(string(printtest.Print(t, "csv", test.opts, printtest.Play))) {
				got = append(got, strings.Split(line, ",")[1])
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got conns %v, want %v", got, test.want)
			}
		})
	}
}

// TestKeepsNothing: what a record.Printer was given may be used again by its owner.
func TestKeepsNothing(t *testing.T) {
	for _, format := range report.Formats() {
		var out bytes.Buffer
		p, err := report.New(format, &out, record.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = printtest.Play(spoiler{p})
		if err != nil {
			t.Fatal(err)
		}
		if want := printtest.Print(t, format, record.Options{}, printtest.Play); !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s: got:\n%s\nwant:\n%s", format, out.Bytes(), want)
		}
	}
}

// A spoiler overwrites what its record.Printer was given, after each call.
type spoiler struct{ record.Printer }

func (s spoiler) Event(e *tracker.Event) error {
	err := s.Printer.Event(e)
	if r := e.Record; r != nil {
		for i := range r.Anomalies {
			clear(r.Anomalies[i].Evidence)
		}
		clear(r.Anomalies)
		for i := range r.Ends {
			clear(r.Ends[i].History)
		}
		*r = tracker.Record{}
	}
	if e.Anomaly != nil && e.Anomaly.Conn == 0 {
		clear(e.Anomaly.Evidence)
		*e.Anomaly = anomaly.Anomaly{}
	}
	return err
}

// TestNothingSteersATerminal: no format lets a control character through.
func TestNothingSteersATerminal(t *testing.T) {
	hostile := func(p record.Printer) error {
		const text = "\x1b]0;title\x07\u009b2J\u202e\r\x00\xff|"
		r := sample.ClosedByClient()
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
		return p.Close(printtest.Whole())
	}
	for _, format := range report.Formats() {
		if format == "csv" {
			continue // its words are the tracker's own
		}
		out := string(printtest.Print(t, format, record.Options{Events: strings.HasPrefix(format, "json")}, hostile))
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			if format == "html" {
				line = strings.TrimLeft(line, "\t") // of its style and script
			}
			if strings.ContainsFunc(line, text.Unprintable) || !utf8.ValidString(line) {
				t.Errorf("%s: %q", format, line)
			}
		}
	}
}

// TestOnTheTrackersEvents: every format prints what a real tracker says of a
// connection that opens and closes.
func TestOnTheTrackersEvents(t *testing.T) {
	for _, format := range report.Formats() {
		out := printtest.Print(t, format, record.Options{Events: strings.HasPrefix(format, "json")}, track)
		want := "10.9.0.1"
		switch format {
		case "summary":
			want = "TIME_WAIT"
		case "services":
			want = "10.9.0.2:80"
		}
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: no %s in\n%s", format, want, out)
		}
	}
}

// track runs a tracker over the segments of one connection.
func track(p record.Printer) error {
	var failed error
	tr, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
		if err := p.Event(e); err != nil {
			failed = err
		}
	})
	if err != nil {
		return err
	}
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	for i, s := range []tcp.Segment{
		{Src: client, Seq: 100, Flags: tcp.SYN, Options: tcp.Options{MSS: 1460}},
		{Src: server, Seq: 300, Ack: 101, Flags: tcp.SYN | tcp.ACK, Options: tcp.Options{MSS: 1460}},
		{Src: client, Seq: 101, Ack: 301, Flags: tcp.ACK},
		{Src: client, Seq: 101, Ack: 301, Flags: tcp.ACK | tcp.PSH, Data: 3},
		{Src: server, Seq: 301, Ack: 104, Flags: tcp.ACK},
		{Src: client, Seq: 104, Ack: 301, Flags: tcp.FIN | tcp.ACK},
		{Src: server, Seq: 301, Ack: 105, Flags: tcp.FIN | tcp.ACK},
		{Src: client, Seq: 105, Ack: 302, Flags: tcp.ACK},
	} {
		s.Time, s.Packet, s.Wnd, s.Dst = sample.At(10*i), i+1, 1000, server
		if s.Src == server {
			s.Dst = client
		}
		tr.Observe(&s)
	}
	tr.Close()
	if failed != nil {
		return failed
	}
	return p.Close(record.Summary{Packets: 8, TCPPackets: 8, First: sample.At(0), Last: sample.At(70)})
}

// A display that is refreshed counts of services what Ended has, and the records.
func TestTablesOfServices(t *testing.T) {
	var out strings.Builder
	tables, err := report.NewTables("services", &out, record.Options{NoHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	flood, r := sample.Flood(), sample.Sending()
	ended := new(services.Counts)
	ended.Connection(&r)
	ended.Anomaly(&flood)
	tables.Event(&tracker.Event{Kind: tracker.EventAnomaly, Anomaly: &flood})
	if err := tables.Refresh(&record.Snapshot{Time: sample.At(9000), Records: []*tracker.Record{&r}, Ended: ended}); err != nil {
		t.Fatal(err)
	}
	if want := "\n10.9.0.2:80  2  2  server 2 of 2  1m05s "; !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "  1 warning\n") {
		t.Errorf("got\n%s\nwant %q, and 1 warning", out.String(), want)
	}
}
