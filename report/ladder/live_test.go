package ladder

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A LiveLadder keeps the newest rungs, and tells how many there were before.
func TestLiveLadderIsBounded(t *testing.T) {
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	var ladder *Live
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
		s := tcp.Segment{Time: sample.At(10 * i), Packet: i, Src: client, Dst: server, Seq: 100, Flags: flags, Wnd: 1000}
		if ladder != nil {
			ladder.Take(&s)
		}
		tk.Observe(&s)
	}
	observe(1, tcp.SYN)
	ladder = NewLive(record())
	const last = 5*liveRungs + 1
	for i := 2; i <= last; i++ {
		observe(i, tcp.SYN)
		if n := len(ladder.ladder.rows); n > liveRungs {
			t.Fatalf("%d rows are kept", n)
		}
	}
	for range 2 { // to draw changes nothing
		lines := ladder.Lines(record(), Options{Width: 80})
		drawn := strings.Join(lines, "\n")
		shown := strings.Count(drawn, "<CTL=SYN>")
		if want := fmt.Sprintf("... %s segments ...", text.Thousands(uint64(last-1-shown))); !strings.Contains(drawn, want) {
			t.Errorf("%d segments are drawn, and there is no %q in\n%s", shown, want, strings.Join(lines[:min(len(lines), 9)], "\n"))
		}
		if !strings.Contains(drawn, fmt.Sprintf(" %d  SYN-SENT", last)) {
			t.Errorf("the newest segment is not drawn:\n%s", strings.Join(lines[max(len(lines)-9, 0):], "\n"))
		}
	}
}

// What is drawn of a long transfer is what is drawn of it at the end.
func TestLiveLadderFolds(t *testing.T) {
	d := &ladder{flow: &ladderFlow{peers: [2]netip.AddrPort{}}, records: []*tracker.Record{{}}}
	l := &Live{ladders: &Printer{}, ladder: d}
	open := tcp.Views{State: tcp.Established, Proved: tcp.Established}
	for i := range 30 {
		d.add(&rung{packet: i + 1, segment: &tcp.Segment{Seq: tcp.Seq(10 * i), Data: 10, Flags: tcp.ACK, Wnd: 1000}, cells: [2]tcp.Views{open, open}}, false)
	}
	first := l.Lines(&tracker.Record{}, Options{})
	if again := l.Lines(&tracker.Record{}, Options{}); !slices.Equal(first, again) {
		t.Errorf("drawn again it is\n%s\nwas\n%s", strings.Join(again, "\n"), strings.Join(first, "\n"))
	}
	if !strings.Contains(strings.Join(first, "\n"), "... 24 segments, 240 B ...") {
		t.Errorf("nothing is folded in\n%s", strings.Join(first, "\n"))
	}
}
