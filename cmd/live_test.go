package cmd

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// when is the time of the first packet of most captures here.
const when = tcp.Time(1_800_000_000_000_000_000)

// A growing capture is one that the test goes on writing.
type growing struct {
	t    *testing.T
	file *os.File
	pcap *pktgen.Pcap
}

// newGrowing makes one that has no packets yet.
func newGrowing(t *testing.T) *growing {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "x.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	w, err := pktgen.NewPcap(file, pcap.LinkEthernet, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	return &growing{t, file, w}
}

// write adds segments to it.
func (g *growing) write(segments ...tcp.Segment) {
	g.t.Helper()
	for i := range segments {
		if err := g.pcap.WriteSegment(&segments[i], 0); err != nil {
			g.t.Fatal(err)
		}
	}
}

// A following is live in this process, which follows a growing capture.
type following struct {
	*growing
	out   sharedBuffer // both outputs
	ended chan int     // the exit status
	quit  func()
}

// follow starts live on a capture that has no packets yet.
func follow(t *testing.T, args ...string) *following {
	t.Helper()
	f := &following{growing: newGrowing(t), ended: make(chan int, 1)}
	ctx, quit := context.WithCancel(t.Context())
	f.quit = quit
	t.Cleanup(quit)
	args = append([]string{"live", "--follow", f.file.Name(), "--user", strconv.Itoa(os.Geteuid())}, args...)
	go func() { f.ended <- execute(ctx, args, &f.out, &f.out) }()
	return f
}

// prints waits until all the texts were printed.
func (f *following) prints(texts ...string) {
	f.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out, missing := f.out.String(), ""
		for _, text := range texts {
			if !strings.Contains(out, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("no %s in\n%s", missing, out)
		}
	}
}

// stop interrupts live, and returns what it printed.
func (f *following) stop() string {
	f.t.Helper()
	f.quit()
	select {
	case status := <-f.ended:
		if status != exitDone {
			f.t.Errorf("exit status %d: %s", status, f.out.String())
		}
	case <-time.After(patience):
		f.t.Fatal("it does not end")
	}
	return f.out.String()
}

// sharedBuffer is written by one goroutine and read by another.
type sharedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// opened returns the segments that open a connection from a port, and closed
// those that close it.
func opened(port uint16, at tcp.Time) []tcp.Segment {
	c, s := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), port), netip.MustParseAddrPort("10.9.0.2:7000")
	return timed(at, 1000, []tcp.Segment{
		{Src: c, Dst: s, Seq: 100, Flags: tcp.SYN},
		{Src: s, Dst: c, Seq: 300, Ack: 101, Flags: tcp.SYN | tcp.ACK},
		{Src: c, Dst: s, Seq: 101, Ack: 301, Flags: tcp.ACK},
	})
}

func closed(port uint16, at tcp.Time) []tcp.Segment {
	c, s := netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), port), netip.MustParseAddrPort("10.9.0.2:7000")
	return timed(at, 1002, []tcp.Segment{
		{Src: c, Dst: s, Seq: 101, Ack: 301, Flags: tcp.FIN | tcp.ACK},
		{Src: s, Dst: c, Seq: 301, Ack: 102, Flags: tcp.FIN | tcp.ACK},
		{Src: c, Dst: s, Seq: 102, Ack: 302, Flags: tcp.ACK},
	})
}

// timed gives segments the times at which they were captured, and what their
// hosts say that it is.
func timed(at tcp.Time, theirs uint32, segments []tcp.Segment) []tcp.Segment {
	for i := range segments {
		s := &segments[i]
		s.Time, s.Wnd = at.Add(time.Duration(i)*time.Millisecond), 1000
		s.Options.HasTS, s.Options.TSVal = true, theirs
		if s.Flags&tcp.ACK != 0 {
			s.Options.TSEcr = theirs
		}
	}
	return segments
}

// When the wall clock is set the run goes on: no state is lost, timers run, and
// it is told.
func TestLiveWhenTheClockIsSet(t *testing.T) {
	for _, c := range []struct {
		name string
		by   time.Duration
		told string
	}{
		{"back", -time.Hour, `"cause":"backward"`},
		{"forward", time.Hour, `"cause":"forward"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			kept := filepath.Join(t.TempDir(), "kept.pcapng")
			f := follow(t, "--2msl", "300ms", "-w", kept)
			now := when
			f.write(opened(40001, now)...)
			f.write(opened(40002, now.Add(time.Second))...)
			f.prints(`"conn":2,"endpoint":"client","from":"SYN_SENT","to":"ESTABLISHED"`)
			now = now.Add(c.by)
			f.write(closed(40001, now.Add(2*time.Second))...)
			f.write(opened(40003, now.Add(3*time.Second))...)
			f.prints(
				`"kind":"clock-step"`, c.told, `"reference":"RFC 7323 §5.4"`,
				`"conn":1,"endpoint":"client","from":"TIME_WAIT","to":"CLOSED","event":"2MSL over"`,
				`"conn":3,"endpoint":"client","from":"SYN_SENT","to":"ESTABLISHED"`,
			)
			f.write(closed(40002, now.Add(4*time.Second))...)
			f.prints(`"conn":2,"endpoint":"client","from":"TIME_WAIT","to":"CLOSED","event":"2MSL over"`)
			out := f.stop()
			if !strings.Contains(out, `"states":{"CLOSED":{"client":2,"server":2},"ESTABLISHED":{"client":1,"server":1}}`) {
				t.Errorf("a connection was lost:\n%s", out)
			}
			live := transitions(out)
			if !slices.IsSortedFunc(live, func(a, b string) int { return strings.Compare(a[:lenTime], b[:lenTime]) }) {
				t.Errorf("time went back:\n%s", out)
			}
			again, _ := replayed(t, "replay", "-o", "jsonl", "--events", "--2msl", "300ms", kept)
			if replay := transitions(string(again)); !slices.Equal(live, replay) {
				t.Errorf("live told of\n%s\na replay of\n%s", strings.Join(live, ""), strings.Join(replay, ""))
			}
		})
	}
}

// lenTime is how long a time of a record is, to the second.
const lenTime = len("2006-01-02T15:04:05")

// transitions returns the transitions among the lines, from their time on.
func transitions(out string) (all []string) {
	for line := range strings.Lines(out) {
		if _, rest, ok := strings.Cut(line, `{"type":"transition","ts":"`); ok {
			all = append(all, rest)
		}
	}
	return all
}

// A run that is over leaves no goroutine behind, and no file open.
func TestLiveLeavesNothingBehind(t *testing.T) {
	left := func() (goroutines, files int) {
		list, _ := os.ReadDir("/proc/self/fd")
		return runtime.NumGoroutine(), len(list)
	}
	const runs = 10 // of which each that leaves something adds to what is left
	for _, source := range []string{"--follow", "-i"} {
		t.Run(source, func(t *testing.T) {
			if source == "-i" && (runtime.GOOS != "linux" || os.Geteuid() != 0) {
				t.Skip("SKIPPED: only root may capture")
			}
			capture := newGrowing(t)
			capture.write(opened(40001, when)...)
			from := map[string]string{"--follow": capture.file.Name(), "-i": "lo"}[source]
			address := "127.0.0.1:" + freePort(t)
			args := []string{"live", source, from, "--user", strconv.Itoa(os.Geteuid()), "-o", "table", "--interval", "10ms", "--listen", address, "-w", filepath.Join(t.TempDir(), "kept.pcapng")}
			once := func() {
				var out sharedBuffer
				ctx, quit := context.WithCancel(t.Context())
				defer quit()
				ended := make(chan int, 1)
				go func() { ended <- execute(ctx, args, &out, &out) }()
				fetch(t, "http://"+address+"/", "")
				quit()
				if status := <-ended; status != exitDone || !strings.Contains(out.String(), "Totals: ") {
					t.Fatalf("exit status %d: %s", status, out.String())
				}
			}
			once() // what there is once for all runs
			goroutines, files := left()
			for range runs {
				once()
			}
			g1, f1 := left()
			for end := time.Now().Add(patience); (g1 > goroutines || f1 > files) && time.Now().Before(end); g1, f1 = left() {
				time.Sleep(10 * time.Millisecond)
			}
			if g1 > goroutines || f1 > files {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines and %d files before, %d and %d after %d runs:\n%s", goroutines, files, g1, f1, runs, stacks[:runtime.Stack(stacks, true)])
			}
		})
	}
}
