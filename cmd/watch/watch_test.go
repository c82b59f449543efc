package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// when is the time of the first packet of captures that are made here.
const when = tcp.Time(1_800_000_000_000_000_000)

// pcapOf returns a capture of the segments.
func pcapOf(t testing.TB, segments ...tcp.Segment) []byte {
	t.Helper()
	var out bytes.Buffer
	p, err := pktgen.NewPcap(&out, pcap.LinkEthernet, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	for i := range segments {
		if err := p.WriteSegment(&segments[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// syn returns one to a port.
func syn(at tcp.Time, port uint16) tcp.Segment {
	return tcp.Segment{
		Time: at, Src: netip.MustParseAddrPort("10.9.0.1:40001"), Dst: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.2"), port),
		Seq: 100, Flags: tcp.SYN, Wnd: 1000,
	}
}

// read opens a capture that is in memory.
func read(t testing.TB, pcap []byte) *watch.Watch {
	t.Helper()
	w, err := watch.Reader("memory", bytes.NewReader(pcap), capture.Options{}, tracker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// calls are what a sink was told, in short.
type calls []string

func (l *calls) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func (l calls) String() string { return strings.Join(l, "; ") }

// sink returns one that keeps them. Each is given to fail, whose
// error it returns.
func (l *calls) sink(fail func(call string) error) watch.Sink {
	call := func(format string, args ...any) error {
		l.add(format, args...)
		return fail((*l)[len(*l)-1])
	}
	return watch.Sink{
		Event: func(e *tracker.Event) error {
			what := [...]string{"moved", "odd", "over", "begun", "seen"}[e.Kind]
			return call("%s %d", what, e.Packet)
		},
		Segment: func(s *tcp.Segment) { l.add("segment %d", s.Packet) },
		Tick:    func(last bool) error { return call("tick %t", last) },
	}
}

func never(string) error { return nil }

func TestSinkIsToldInOrder(t *testing.T) {
	w, err := watch.Files([]string{"../../pcaps/refused.pcap"}, capture.Options{}, tracker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var got calls
	s := got.sink(never)
	s.Interval = 8 * time.Millisecond // of the 10.9 that it takes
	sum, err := w.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	const want = "segment 1; begun 1; moved 1; moved 1; tick false; segment 2; moved 2; moved 2; odd 2; tick true; over 0"
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if sum.Interrupted || sum.Capture.Segments != 2 || sum.Tracker.Conns != 1 {
		t.Errorf("the summary is %+v", sum)
	}
}

// A silence has its ticks, at which the timers have run.
func TestTicksOfFilesAreOfTheirTime(t *testing.T) {
	w := read(t, pcapOf(t, syn(when, 1), syn(when.Add(time.Minute), 2)))
	var at []string
	if _, err := w.Run(t.Context(), watch.Sink{Interval: 25 * time.Second, Tick: func(last bool) error {
		at = append(at, fmt.Sprint(w.Now().Sub(when), last))
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(at), "[25s false 50s false 1m0s true]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is found over many connections is told, unless each is looked at apart.
func TestManyConnections(t *testing.T) {
	var scan []tcp.Segment
	for i := range 200 {
		at := when.Add(time.Duration(i) * 10 * time.Millisecond)
		s := syn(at, uint16(1+i))
		scan = append(scan, s, tcp.Segment{Time: at.Add(time.Millisecond), Src: s.Dst, Dst: s.Src, Ack: s.Seq + 1, Flags: tcp.RST | tcp.ACK})
	}
	for apart, want := range map[bool]string{false: "port-scan", true: ""} {
		var got string
		if _, err := read(t, pcapOf(t, scan...)).Run(t.Context(), watch.Sink{Apart: apart, Event: func(e *tracker.Event) error {
			if e.Kind == tracker.EventAnomaly && e.Conn == 0 {
				got += e.Anomaly.Kind
			}
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("apart %t: got %q, want %q", apart, got, want)
		}
	}
}

// An error of the sink ends the run, which returns it; no more is told.
func TestErrorOfTheSinkEndsTheRun(t *testing.T) {
	broken := errors.New("the pipe is broken")
	const later = 100 // segments that nobody is to be told of
	var segments []tcp.Segment
	for i := range later {
		segments = append(segments, syn(when.Add(time.Duration(i)*time.Second), uint16(1+i)))
	}
	pcap := pcapOf(t, segments...)
	for _, last := range []string{"begun 1", "moved 1", "tick false", "tick true", "over 0"} {
		var got calls
		s := got.sink(func(call string) error {
			if call == last {
				return broken
			}
			return nil
		})
		s.Interval = 10 * time.Second
		if _, err := read(t, pcap).Run(t.Context(), s); err != broken {
			t.Errorf("%s: got the error %v", last, err)
		}
		if n := len(got); got[n-1] != last {
			t.Errorf("after %s it was told %s", last, got[n-1])
		}
	}
}

// When the capture has ended time goes on to the moment that was asked for. What
// fails then ends the run as well.
func TestTimeGoesOnToTheMoment(t *testing.T) {
	broken := errors.New("the pipe is broken")
	for _, want := range []error{nil, broken} {
		w, err := watch.Files([]string{"../../pcaps/time-wait.pcap"}, capture.Options{Until: capture.Moment{Relative: true, After: 2 * time.Minute}}, tracker.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		var got calls
		if _, err := w.Run(t.Context(), got.sink(func(call string) error {
			if call == "moved 0" { // by a timer, which is that of TIME_WAIT
				return want
			}
			return nil
		})); err != want {
			t.Errorf("got the error %v, want %v", err, want)
		}
		last := "moved 0; tick true; over 0"
		if want != nil {
			last = "moved 0"
		}
		if !strings.HasSuffix(got.String(), last) {
			t.Errorf("got %s, want %s last", got, last)
		}
	}
}

// Who leaves out the transitions is told all the rest as others are.
func TestStillLeavesOutTransitionsAlone(t *testing.T) {
	files, err := filepath.Glob("../../pcaps/*.pcap")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	told := func(file string, still bool) (list []string, moves int) {
		w, err := watch.Files([]string{file}, capture.Options{}, tracker.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.Run(t.Context(), watch.Sink{Still: still, Event: func(e *tracker.Event) error {
			if e.Kind == tracker.EventTransition {
				moves++
				return nil
			}
			one := *e
			if e.Record != nil {
				one.Record = nil
				list = append(list, fmt.Sprintf("%+v", *e.Record))
			}
			if e.Anomaly != nil {
				one.Anomaly = nil
				list = append(list, fmt.Sprintf("%+v", *e.Anomaly))
			}
			list = append(list, fmt.Sprintf("%+v", one))
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		return list, moves
	}
	for _, file := range files {
		all, moves := told(file, false)
		still, none := told(file, true)
		if moves == 0 || none != 0 || !slices.Equal(all, still) {
			t.Errorf("%s: %d and %d transitions, and the rest is the same: %v", file, moves, none, slices.Equal(all, still))
		}
	}
}

// What the context ends is told of as far as it came.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	const packets = 200_000
	syn := pcapOf(t, syn(when, 1))
	const header = 24 // of a pcap file
	pcap := append(syn[:header:header], bytes.Repeat(syn[header:], packets)...)
	over := 0
	sum, err := read(t, pcap).Run(ctx, watch.Sink{
		Segment: func(*tcp.Segment) { interrupt() },
		Event: func(e *tracker.Event) error {
			if e.Kind == tracker.EventConnection {
				over++
			}
			return nil
		},
	})
	if err != nil || !sum.Interrupted || sum.Capture.Packets == 0 || sum.Capture.Packets == packets || over != 1 {
		t.Errorf("got the error %v, interrupted %t after %d of %d packets, %d connections", err, sum.Interrupted, sum.Capture.Packets, packets, over)
	}
}

// The ticks of a silence end with the context: a stamp may lie years ahead.
func TestTicksAreInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	ticks := 0
	sum, err := read(t, pcapOf(t, syn(when, 1), syn(when.Add(time.Hour), 2))).Run(ctx, watch.Sink{Interval: time.Minute, Tick: func(last bool) error {
		if ticks++; ticks == 3 {
			interrupt()
		}
		return nil
	}})
	if err != nil || !sum.Interrupted || ticks != 4 { // three, and the last
		t.Errorf("got the error %v, interrupted %t, %d ticks", err, sum.Interrupted, ticks)
	}
}

// A reader tells what its file does.
func TestReaderTellsTheSame(t *testing.T) {
	paths, _ := filepath.Glob("../../pcaps/*.pcap")
	if len(paths) < 15 {
		t.Fatalf("%d captures found, want at least 15", len(paths))
	}
	for _, path := range paths {
		file, err := watch.Files([]string{path}, capture.Options{}, tracker.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		pcap, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var told [2]calls
		for i, w := range []*watch.Watch{file, read(t, pcap)} {
			if _, err := w.Run(t.Context(), told[i].sink(never)); err != nil {
				t.Fatal(err)
			}
		}
		if told[0].String() != told[1].String() {
			t.Errorf("%s: the file tells\n%s\nthe reader\n%s", path, told[0], told[1])
		}
	}
}

func TestProgressComesToTheSize(t *testing.T) {
	const packets = 1 << 13
	syn := pcapOf(t, syn(when, 1))
	pcap := append(syn[:24:24], bytes.Repeat(syn[24:], packets)...)
	path := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(path, pcap, 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := watch.Files([]string{path}, capture.Options{}, tracker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var read, size []int64
	if _, err := w.Run(t.Context(), watch.Sink{Progress: func(r, s int64) { read, size = append(read, r), append(size, s) }}); err != nil {
		t.Fatal(err)
	}
	if len(read) != 2 || read[0] == 0 || read[1] != int64(len(pcap)) || size[1] != int64(len(pcap)) {
		t.Errorf("got %v of %v octets, want two steps to %d", read, size, len(pcap))
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := watch.Files([]string{missing}, capture.Options{}, tracker.Config{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := watch.Files([]string{missing}, capture.Options{}, tracker.Config{Stack: "amiga"}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a stack that nobody knows comes before the file: %v", err)
	}
	if _, err := watch.Live(capture.LiveOptions{Follow: missing}, tracker.Config{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file that is followed: %v", err)
	}
}
