package ladder

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Connections are drawn in as many goes as it takes, in the order of their numbers,
// in whatever order they end.
func TestInGoes(t *testing.T) {
	g := Goes{AtOnce: 3}
	for _, conn := range rand.Perm(200) {
		if conn%20 == 1 {
			g.Want(&tracker.Record{Conn: conn})
		}
	}
	var got [][]int
	for list := g.Next(); len(list) > 0; list = g.Next() {
		var conns []int
		for _, r := range list {
			conns = append(conns, r.Conn)
		}
		got = append(got, conns)
		for _, conn := range rand.Perm(1000) {
			g.Again(&tracker.Record{Conn: conn})
		}
	}
	if want := "[[1 21 41] [61 81 101] [121 141 161] [181]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What is drawn does not depend on how much of it is in memory.
func TestSpilledLadders(t *testing.T) {
	for _, o := range []Options{{}, {All: true}, {Width: 70}, {Absolute: true, All: true}} {
		want := string(ladderOf(o)(t))
		got := string(golden.Of(func(w io.Writer) error {
			var records []*tracker.Record
			sample.Observe(t, sample.Segments(), nil, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					records = append(records, e.Record.Clone())
				}
			})
			l := New(w, records, o)
			sample.Observe(t, sample.Segments(), l.Take, func(e *tracker.Event) {
				l.Event(e)
				l.settle(1, 1)
			})
			if l.spill.file.Size() == 0 {
				t.Error("nothing was put into a file")
			}
			return l.Close()
		})(t))
		if got != want {
			t.Errorf("%+v: from a file is drawn\n%s\nwant\n%s", o, got, want)
		}
	}
}

// A ladder takes no more memory the longer it is; before, 400 octets a segment, and
// what is told under it.
func TestLadderIsBounded(t *testing.T) {
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	const segments, bound = 100_000, 12 << 20
	known := &tracker.Record{Conn: 1, Start: sample.Begin, Ends: [2]tracker.EndRecord{{Addr: client}, {Addr: server}}}
	for name, o := range map[string]Options{"all": {All: true}, "notation": {All: true, Absolute: true}, "page": {All: true, Most: 1000}, "around": {All: true, Most: 1000, Around: []int{segments / 2}}} {
		var drawn lineCounter
		l := New(&drawn, []*tracker.Record{known}, o)
		tk, err := tracker.New(tracker.Config{Segments: true}, l.Event)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range segments {
			s := tcp.Segment{Time: sample.At(i), Packet: i + 1, Src: client, Dst: server, Seq: 100, Flags: tcp.SYN, Wnd: 1000}
			l.Take(&s)
			tk.Observe(&s)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > bound {
			t.Errorf("%s: %d segments take %d octets", name, segments, grown)
		}
		tk.Close()
		if name == "page" {
			pages, _ := l.Pages(sample.At(segments))
			if n := len(pages[1].Rows); n > o.Most || n < o.Most/2 {
				t.Errorf("a page has %d rows, want at most %d", n, o.Most)
			}
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		switch {
		case o.Most == 0 && drawn.lines < segments:
			t.Errorf("%s: %d lines are drawn of %d segments", name, drawn.lines, segments)
		case o.Most > 0 && (drawn.lines > 100 || !strings.Contains(drawn.text.String(), fmt.Sprintf(" %d  SYN-SENT", segments/2))):
			t.Errorf("%s: %d lines are drawn:\n%s", name, drawn.lines, &drawn.text)
		}
	}
}

// A lineCounter counts lines, and keeps the first.
type lineCounter struct {
	lines int
	text  strings.Builder
}

func (c *lineCounter) Write(b []byte) (int, error) {
	c.lines += bytes.Count(b, []byte("\n"))
	if c.text.Len() < 1<<13 {
		c.text.Write(b)
	}
	return len(b), nil
}
