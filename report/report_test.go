package report

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

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestNewRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, test := range []struct {
		format string
		opts   Options
		want   string // "" for none
	}{
		{"table", Options{Sort: "client.state"}, ""},
		{"csv", Options{Sort: "-anomalies"}, ""},
		{"wide", Options{On: netip.IPv6Loopback()}, ""},
		{"yaml", Options{}, `unknown output format "yaml" (table, wide, json, jsonl, csv, markdown, html, summary)`},
		{"\x1b[2J", Options{}, `unknown output format`},
		{"", Options{}, `unknown output format ""`},
		{"table", Options{Sort: "colour"}, `unknown field "colour" to sort by (conn, community_id, incarnation, client.addr,`},
		{"table", Options{Sort: "-"}, `unknown field ""`},
		{"table", Options{Sort: "type"}, `unknown field "type"`},
		{"jsonl", Options{Sort: "conn"}, "jsonl cannot be sorted"},
		{"summary", Options{Sort: "conn"}, "summary cannot be sorted"},
		{"table", Options{Events: true}, "table prints no events (json and jsonl do)"},
		{"json", Options{Listening: true}, "json has no --listening view"},
		{"csv", Options{On: netip.IPv6Loopback()}, "csv has no --on view"},
	} {
		p, err := New(test.format, io.Discard, test.opts)
		switch {
		case test.want == "" && (err != nil || p == nil):
			t.Errorf("New(%q, %+v) = %v, %v", test.format, test.opts, p, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("New(%q, %+v): got error %v, want %q", test.format, test.opts, err, test.want)
		case err != nil && strings.Contains(err.Error(), "\x1b"):
			t.Errorf("New(%q): an escape sequence is in the error", test.format)
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
	for _, format := range Formats() {
		p, err := New(format, &failing{room: 100, err: full}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := play(p); !errors.Is(err, full) {
			t.Errorf("%s: got error %v, want %v", format, err, full)
		}
		if err := p.Flush(); !errors.Is(err, full) {
			t.Errorf("%s: Flush after it: got error %v, want %v", format, err, full)
		}
	}
	p, err := New("jsonl", &failing{err: full}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := closedByClient()
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
	p, err := New("jsonl", w, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = play(p)
	if !IsBrokenPipe(err) {
		t.Errorf("a reader that has gone: %v is no broken pipe", err)
	}
	for _, err := range []error{nil, io.EOF, syscall.ENOSPC, os.ErrClosed} {
		if IsBrokenPipe(err) {
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
		p, err := New(test.format, &out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := closedByClient()
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
		opts Options
		want []string // the conns
	}{
		{"all", Options{}, []string{"1", "2", "3", "4"}},
		{"either-end", Options{Filter: Selection{States: []tcp.State{tcp.CloseWait}}}, []string{"4"}},
		{"any-of-the-states", Options{Filter: Selection{States: []tcp.State{tcp.Unknown, tcp.TimeWait}}}, []string{"1", "2"}},
		{"kind", Options{Filter: Selection{Kinds: []string{"connection-refused"}}}, []string{"3"}},
		{"state-and-kind", Options{Filter: Selection{States: []tcp.State{tcp.TimeWait}, Kinds: []string{"connection-refused"}}}, nil},
		{"where", Options{Where: func(r *tracker.Record) bool { return r.Conn%2 == 0 }}, []string{"2", "4"}},
		{"records-ignore-existing", Options{Existing: true}, []string{"1", "2", "3", "4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opts.Sort, test.opts.NoHeader = "conn", true
			var got []string
			for line := range strings.Lines(string(print(t, "csv", test.opts, play))) {
				got = append(got, strings.Split(line, ",")[1])
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got conns %v, want %v", got, test.want)
			}
		})
	}
}

func TestExists(t *testing.T) {
	for _, test := range []struct {
		client, server tcp.State
		want           bool
	}{
		{tcp.Closed, tcp.Closed, false},
		{tcp.Closed, tcp.Listen, false},
		{tcp.SynSent, tcp.Listen, true},
		{tcp.TimeWait, tcp.Closed, true},
		{tcp.Closed, tcp.LastAck, true},
		{tcp.Unknown, tcp.Closed, true},
	} {
		var r tracker.Record
		r.Ends[tcp.Client].State, r.Ends[tcp.Server].State = test.client, test.server
		if got := exists(&r); got != test.want {
			t.Errorf("exists(%v, %v) = %v", test.client, test.server, got)
		}
	}
}

// TestKeepsNothing: what a Printer was given may be used again by its owner.
func TestKeepsNothing(t *testing.T) {
	for _, format := range Formats() {
		var out bytes.Buffer
		p, err := New(format, &out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = play(spoiler{p})
		if err != nil {
			t.Fatal(err)
		}
		if want := print(t, format, Options{}, play); !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%s: got:\n%s\nwant:\n%s", format, out.Bytes(), want)
		}
	}
}

// A spoiler overwrites what its Printer was given, after each call.
type spoiler struct{ Printer }

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

// Lines that waited leave nothing behind.
func TestEventLinesAreForgotten(t *testing.T) {
	var got []string
	l := newEventLines(&Options{Where: func(*tracker.Record) bool { return true }}, func(line []byte) error {
		got = append(got, string(line))
		return nil
	})
	for _, step := range []func() error{
		func() error { return l.add(1, []byte("a")) },
		func() error { return l.add(2, []byte("b")) },
		func() error { return l.add(0, []byte("c")) },
		func() error { return l.decide(2, false) },
		func() error { return l.decide(3, true) },
		func() error { return l.add(1, []byte("d")) },
		func() error { return l.decide(1, true) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("passed on were %q, want %q", got, want)
	}
	if n := len(l.waiting) + len(l.lines) + len(l.selected); n != 0 {
		t.Errorf("%d things are kept of what was passed on", n)
	}
}
