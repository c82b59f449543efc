package watch_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// piped returns a live capture of what is written to the file.
func piped(t testing.TB, o capture.LiveOptions, c tracker.Config) (*watch.Watch, *os.File) {
	t.Helper()
	r, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o.Stream = r
	w, err := watch.Live(o, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		to.Close()
		w.Close()
		r.Close()
	})
	return w, to
}

// write writes what is to be captured.
func write(t testing.TB, to *os.File, octets []byte) {
	t.Helper()
	if _, err := to.Write(octets); err != nil {
		t.Fatal(err)
	}
}

// A live capture that comes to its end is told of as a file is, and Idle before
// that.
func TestLiveCaptureThatEnds(t *testing.T) {
	w, to := piped(t, capture.LiveOptions{}, tracker.Config{})
	write(t, to, pcapOf(t, syn(when, 1)))
	to.Close()
	var got calls
	s := got.sink(never)
	idle := 0
	s.Idle = func() error {
		idle++
		return nil
	}
	sum, err := w.Run(t.Context(), s)
	if err != nil || sum.Interrupted || idle == 0 || sum.Capture.Segments != 1 {
		t.Errorf("got the error %v, interrupted %t, %d times idle, %d segments", err, sum.Interrupted, idle, sum.Capture.Segments)
	}
	if want := "segment 1; begun 1; moved 1; moved 1; tick true; over 0"; got.String() != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// While nothing comes timers run, and ticks come; the context ends it.
func TestQuietLiveCapture(t *testing.T) {
	w, to := piped(t, capture.LiveOptions{}, tracker.Config{TwoMSL: 50 * time.Millisecond})
	client, server := syn(when, 1), syn(when, 1)
	server.Src, server.Dst = client.Dst, client.Src
	segment := func(s tcp.Segment, at time.Duration, seq, ack tcp.Seq, flags tcp.Flags) tcp.Segment {
		s.Time, s.Seq, s.Ack, s.Flags = when.Add(at*time.Millisecond), seq, ack, flags
		return s
	}
	write(t, to, pcapOf(t, client,
		segment(server, 1, 300, 101, tcp.SYN|tcp.ACK),
		segment(client, 2, 101, 301, tcp.FIN|tcp.ACK),
		segment(server, 3, 301, 102, tcp.FIN|tcp.ACK),
		segment(client, 4, 102, 302, tcp.ACK)))
	ctx, interrupt := context.WithTimeout(t.Context(), patience)
	defer interrupt()
	var ticks []bool
	expired := false
	sum, err := w.Run(ctx, watch.Sink{
		Event: func(e *tracker.Event) error {
			expired = expired || e.Kind == tracker.EventTransition && e.From == tcp.TimeWait
			return nil
		},
		Interval: 10 * time.Millisecond,
		Tick: func(last bool) error {
			if ticks = append(ticks, last); expired {
				interrupt()
			}
			return nil
		},
	})
	if err != nil || !sum.Interrupted || !expired {
		t.Errorf("got the error %v, interrupted %t, TIME_WAIT over %t", err, sum.Interrupted, expired)
	}
	if n := len(ticks); n < 3 || slices.Index(ticks, true) != n-1 {
		t.Errorf("the ticks were %v", ticks)
	}
}

// A deadline ends a live capture, whose writer has not ended.
func TestLiveCaptureToADeadline(t *testing.T) {
	w, to := piped(t, capture.LiveOptions{}, tracker.Config{})
	write(t, to, pcapOf(t, syn(when, 1)))
	const long = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	begun := time.Now()
	var got calls
	if _, err := w.Run(ctx, got.sink(never)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d < long || d > patience || got[len(got)-1] != "over 0" {
		t.Errorf("after %v it ended with %s", d, got)
	}
}

// Errors of the sink end a live run, too.
func TestErrorOfTheSinkEndsALiveRun(t *testing.T) {
	broken := errors.New("the pipe is broken")
	fails := func() error { return broken }
	for name, s := range map[string]watch.Sink{
		"Event": {Event: func(*tracker.Event) error { return broken }},
		"Idle":  {Idle: fails},
		"Tick":  {Interval: time.Millisecond, Tick: func(bool) error { return broken }},
	} {
		w, to := piped(t, capture.LiveOptions{}, tracker.Config{})
		if s.Event != nil { // the others are called without a segment
			write(t, to, pcapOf(t, syn(when, 1)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if sum, err := w.Run(ctx, s); err != broken || sum.Interrupted {
			t.Errorf("%s: got the error %v", name, err)
		}
		cancel()
	}
}

// block returns a block of a pcapng file, of 32-bit words.
func block(kind uint32, words ...uint32) (b []byte) {
	size := uint32(12 + 4*len(words))
	for _, w := range slices.Concat([]uint32{kind, size}, words, []uint32{size}) {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// lossy returns the parts of a pcapng file: one with a SYN, one with the loss of 7
// packets and another SYN, and one with the first SYN again.
func lossy(t testing.TB) [][]byte {
	packet := func(after time.Duration, port uint16) []byte {
		frame := pcapOf(t, syn(when, port))[24+16:]
		words := make([]uint32, (len(frame)+3)/4)
		for i, octet := range frame {
			words[i/4] |= uint32(octet) << (i % 4 * 8)
		}
		us := uint64(when.Add(after)) / 1000
		return block(6, append([]uint32{0, uint32(us >> 32), uint32(us), uint32(len(frame)), uint32(len(frame))}, words...)...)
	}
	const section, iface, statistics, dropped = 0x0a0d0d0a, 1, 5, 5 | 8<<16
	return [][]byte{
		slices.Concat(
			block(section, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff),
			block(iface, uint32(pcap.LinkEthernet), 0),
			packet(0, 1)),
		slices.Concat(block(statistics, 0, 0, 0, dropped, 7, 0, 0), packet(time.Second, 2)),
		packet(3*time.Second, 1),
	}
}

// That packets were lost is told: as an anomaly, and then how many they were. What
// is found later in connections that had begun may have been lost only.
func TestLostPacketsAreTold(t *testing.T) {
	w, to := piped(t, capture.LiveOptions{}, tracker.Config{})
	parts := lossy(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var told []string
	var sure []string
	written, heeded := 0, false
	sum, err := w.Run(ctx, watch.Sink{
		Event: func(e *tracker.Event) error {
			switch {
			case e.Kind == tracker.EventAnomaly && e.Conn == 0:
				told = append(told, e.Anomaly.Kind+" "+e.Anomaly.Severity.String()+" "+e.Anomaly.Text)
			case e.Kind == tracker.EventAnomaly:
				sure = append(sure, e.Anomaly.Kind+" "+e.Anomaly.Confidence.String())
			}
			return nil
		},
		Idle: func() error {
			c := w.Summary().Capture
			if written == c.Segments && written < len(parts) && (written < 2 || heeded) {
				write(t, to, parts[written])
				if written++; written == len(parts) {
					return to.Close()
				}
			}
			heeded = c.Dropped > 0 // by the next time
			return nil
		},
		Lost: func(packets int64) { told = append(told, fmt.Sprint(packets)) },
	})
	if err != nil || sum.Interrupted || sum.Capture.Dropped != 7 {
		t.Errorf("got the error %v, interrupted %t, %d dropped", err, sum.Interrupted, sum.Capture.Dropped)
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "capture-gap notice The kernel dropped 7 packets (7 in all)") || told[1] != "7" {
		t.Errorf("told was %q", told)
	}
	if want := []string{"syn-retransmitted ambiguous"}; !slices.Equal(sure, want) {
		t.Errorf("found was %q, want %q", sure, want)
	}
}

// That the clock was set is told: as an anomaly, and as a notice.
func TestClockThatIsSetIsTold(t *testing.T) {
	var notices []string
	w, to := piped(t, capture.LiveOptions{Notice: func(text string) { notices = append(notices, text) }}, tracker.Config{})
	var segments []tcp.Segment
	for i := range 4 { // of which three are stamped an hour before the first
		segments = append(segments, syn(when.Add(-time.Duration(min(i, 1))*time.Hour), uint16(1+i)))
	}
	write(t, to, pcapOf(t, segments...))
	to.Close()
	var told []string
	if _, err := w.Run(t.Context(), watch.Sink{Event: func(e *tracker.Event) error {
		if e.Kind == tracker.EventAnomaly {
			told = append(told, e.Anomaly.Kind+" "+e.Anomaly.Cause+": "+e.Anomaly.Text)
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	const text = "he clock that stamps the packets was set back by 1h0m0s; tcpwatch keeps its own time, which is now 1h0m0s ahead of that clock"
	if len(told) != 1 || told[0] != "clock-step backward: T"+text+". The connections' timers are not affected." {
		t.Errorf("told was %q", told)
	}
	if len(notices) != 1 || notices[0] != "t"+text {
		t.Errorf("the notices were %q", notices)
	}
}
