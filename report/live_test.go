package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// snapshot returns a Snapshot of the sample's connections.
func snapshot() *Snapshot {
	s := &Snapshot{Time: at(60_000), Summary: whole()}
	records := sample()
	for i := range records {
		s.Records = append(s.Records, &records[i])
	}
	return s
}

// A List has the rows that the table prints, in the same order.
func TestListIsTheTable(t *testing.T) {
	for _, o := range []Options{{}, {Sort: "-bytes"}, {Sort: "client.state"}, {Existing: true}, {Filter: Selection{States: []tcp.State{tcp.TimeWait}}}} {
		l, err := NewList(BothEnds, snapshot(), o, "")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(print(t, "table", o, play))) {
			if fields := strings.Fields(line); len(fields) > 5 && strings.HasPrefix(fields[0], "tcp") {
				want = append(want, strings.Join(fields[:5], " "))
			}
		}
		var got []string
		for i := range l.Len() {
			got = append(got, strings.Join(l.Cells(i)[:5], " "))
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%+v: got rows\n%s\nwant\n%s", o, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if _, err := NewList(BothEnds, snapshot(), Options{Sort: "colour"}, ""); err == nil {
		t.Error("a List is sorted by colour")
	}
}

// The sockets of a host, and those that listen, are those that the tables of
// --on and --listening print.
func TestListOfSockets(t *testing.T) {
	for _, test := range []struct {
		view View
		opts Options
	}{
		{OneHost, Options{On: netip.MustParseAddr("10.9.0.1")}},
		{OneHost, Options{On: netip.MustParseAddr("10.9.0.2")}},
		{Listeners, Options{Listening: true}},
	} {
		l, err := NewList(test.view, snapshot(), test.opts, "")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Fields(string(print(t, "table", test.opts, play)))
		var got []string
		for i := range l.Len() {
			got = append(got, l.Cells(i)...)
		}
		if len(got) == 0 || len(text) < len(got) || !slices.Equal(got, text[len(text)-len(got):]) {
			t.Errorf("%v %v: got %q, the table is %q", test.view, test.opts.On, got, text)
		}
	}
}

func TestListOfWhatMatches(t *testing.T) {
	all, _ := NewList(BothEnds, snapshot(), Options{}, "")
	for i := range all.Len() {
		cells := all.Cells(i)
		some, _ := NewList(BothEnds, snapshot(), Options{}, strings.ToLower(cells[3])+" "+cells[1])
		if some.Find(all.Conn(i)) < 0 {
			t.Errorf("conn %d does not match its own addresses", all.Conn(i))
		}
	}
	if none, _ := NewList(BothEnds, snapshot(), Options{}, "10.9 nowhere"); none.Len() != 0 {
		t.Errorf("%d rows hold a word that no row has", none.Len())
	}
}

// Only the rows asked for are drawn, and columns grow but never shrink.
func TestDraw(t *testing.T) {
	l, _ := NewList(BothEnds, snapshot(), Options{}, "")
	lines, widths := l.Draw(0, 1, nil)
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "Proto  Client Address") {
		t.Errorf("drawn was %q", lines)
	}
	for i := range l.Len() {
		_, grown := l.Draw(i, i+1, widths)
		for j := range grown {
			if grown[j] < widths[j] {
				t.Errorf("row %d: column %d shrinks from %d to %d", i, j, widths[j], grown[j])
			}
		}
	}
	if lines, _ := l.Draw(0, 0, widths); len(lines) != 1 {
		t.Errorf("of no rows were drawn %q", lines)
	}
}

// What no Record tells any more is told; what one tells is told once.
func TestAnomalyLines(t *testing.T) {
	s := snapshot()
	known := s.Records[0].Anomalies[0]
	gone := anomaly.Anomaly{Conn: 4711, Kind: "zero-window-stall", Severity: anomaly.Warning, Count: 1, Text: "gone \x1b[2J"}
	lines := strings.Join(AnomalyLines(s, []anomaly.Anomaly{known, gone, flood()}, Options{Width: 80}), "\n")
	for text, times := range map[string]int{known.Kind + "  ": 1, "conn 4711": 1, `gone \x1b[2J`: 1, flood().Kind: 1} {
		if n := strings.Count(lines, text); n != times {
			t.Errorf("%q is told %d times, want %d, in\n%s", text, n, times, lines)
		}
	}
	if got := AnomalyLines(&Snapshot{}, nil, Options{}); len(got) != 1 || got[0] != "No anomalies." {
		t.Errorf("of nothing is told %q", got)
	}
}

// A LiveLadder keeps the newest rungs, and tells how many there were before.
func TestLiveLadderIsBounded(t *testing.T) {
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	var ladder *LiveLadder
	tk, err := tracker.New(tracker.Config{Segments: true}, func(e *tracker.Event) {
		if ladder != nil {
			ladder.Event(e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	record := func() (r *tracker.Record) {
		tk.Each(func(lent *tracker.Record) { r = lent.Clone() })
		return r
	}
	observe := func(i int, flags tcp.Flags) {
		s := tcp.Segment{Time: at(10 * i), Packet: i, Src: client, Dst: server, Seq: 100, Flags: flags, Wnd: 1000}
		if ladder != nil {
			ladder.Take(&s)
		}
		tk.Observe(&s)
	}
	observe(1, tcp.SYN)
	ladder = NewLiveLadder(record())
	const last = 5*liveRungs + 1
	for i := 2; i <= last; i++ {
		observe(i, tcp.SYN)
		if n := len(ladder.ladder.rows); n > liveRungs {
			t.Fatalf("%d rows are kept", n)
		}
	}
	for range 2 { // to draw changes nothing
		lines := ladder.Lines(record(), LadderOptions{Width: 80})
		text := strings.Join(lines, "\n")
		shown := strings.Count(text, "<CTL=SYN>")
		if want := fmt.Sprintf("... %s segments ...", thousands(uint64(last-1-shown))); !strings.Contains(text, want) {
			t.Errorf("%d segments are drawn, and there is no %q in\n%s", shown, want, strings.Join(lines[:min(len(lines), 9)], "\n"))
		}
		if !strings.Contains(text, fmt.Sprintf(" %d  SYN-SENT", last)) {
			t.Errorf("the newest segment is not drawn:\n%s", strings.Join(lines[max(len(lines)-9, 0):], "\n"))
		}
	}
}

// What is drawn of a long transfer is what is drawn of it at the end.
func TestLiveLadderFolds(t *testing.T) {
	d := &ladder{flow: &ladderFlow{peers: [2]netip.AddrPort{}}, records: []*tracker.Record{{}}}
	l := &LiveLadder{&Ladders{}, d}
	open := tcp.Views{State: tcp.Established, Proved: tcp.Established}
	for i := range 30 {
		d.add(&rung{packet: i + 1, segment: &tcp.Segment{Seq: tcp.Seq(10 * i), Data: 10, Flags: tcp.ACK, Wnd: 1000}, cells: [2]tcp.Views{open, open}}, false)
	}
	first := l.Lines(&tracker.Record{}, LadderOptions{})
	if again := l.Lines(&tracker.Record{}, LadderOptions{}); !slices.Equal(first, again) {
		t.Errorf("drawn again it is\n%s\nwas\n%s", strings.Join(again, "\n"), strings.Join(first, "\n"))
	}
	if !strings.Contains(strings.Join(first, "\n"), "... 24 segments, 240 B ...") {
		t.Errorf("nothing is folded in\n%s", strings.Join(first, "\n"))
	}
}
