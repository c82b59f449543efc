package taps_test

import (
	"bufio"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A farWriter writes what a tap captures that is so far from the server: what comes from
// there is captured later, and all else sooner or at once.
type farWriter struct {
	p     *pktgen.Pcap
	late  [2]time.Duration // by direction: to the server, from it
	queue [2][]tcp.Segment
}

// put takes a segment, and writes those before it.
func (w *farWriter) put(s *tcp.Segment) error {
	dir := 0
	if s.Src.Port() < s.Dst.Port() {
		dir = 1
	}
	c := *s
	c.Time = c.Time.Add(w.late[dir])
	w.queue[dir] = append(w.queue[dir], c)
	return w.flush(s.Time.Add(min(w.late[0], w.late[1])))
}

// flush writes what is captured by a time.
func (w *farWriter) flush(until tcp.Time) error {
	for {
		dir := 0
		if len(w.queue[0]) == 0 || len(w.queue[1]) > 0 && w.queue[1][0].Time < w.queue[0][0].Time {
			dir = 1
		}
		if len(w.queue[dir]) == 0 || w.queue[dir][0].Time > until {
			return nil
		}
		if err := w.p.WriteSegment(&w.queue[dir][0], 0); err != nil {
			return err
		}
		w.queue[dir] = w.queue[dir][1:]
	}
}

// twoTaps writes traffic as two taps capture it that are 5 ms apart, and returns the
// files. Of each so many packets lost is the nth; 0: none.
func twoTaps(t testing.TB, traffic pktgen.Traffic, lost int) (client, server string) {
	t.Helper()
	client, server = filepath.Join(t.TempDir(), "client.pcap"), filepath.Join(t.TempDir(), "server.pcap")
	var files [2]*os.File
	var buffers [2]*bufio.Writer
	var writers [2]farWriter
	for i, name := range []string{client, server} {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		files[i], buffers[i] = f, bufio.NewWriterSize(f, 1<<18)
		p, err := pktgen.NewPcap(buffers[i], pcap.LinkEthernet, 96)
		if err != nil {
			t.Fatal(err)
		}
		writers[i].p = p
		writers[i].late[1-i] = 5 * time.Millisecond
	}
	n := 0
	for k := range traffic.All() {
		if k.Frame != nil {
			continue
		}
		n++
		for i := range writers {
			toServer := k.Src.Port() > k.Dst.Port()
			if lost != 0 && n%lost == 0 && toServer == (i == 1) {
				continue
			}
			if err := writers[i].put(&k.Segment); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range writers {
		if err := writers[i].flush(1<<63 - 1); err != nil {
			t.Fatal(err)
		}
		buffers[i].Flush()
		files[i].Close()
	}
	return client, server
}

// cpu returns the processor time that the process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func benchmarkMerge(b *testing.B, kind pktgen.TrafficKind, lost int) {
	client, server := twoTaps(b, pktgen.Traffic{Kind: kind, Packets: 500_000}, lost)
	start, packets := cpu(), 0
	for range b.N {
		for _, name := range []string{client, server} {
			for range 2 {
				src, err := capture.Open([]string{name}, capture.Options{})
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range src.Segments() {
					if err != nil {
						b.Fatal(err)
					}
				}
				src.Close()
			}
		}
	}
	reading := cpu() - start
	b.ResetTimer()
	start = cpu()
	for range b.N {
		src, err := taps.Open([]taps.Tap{{Files: []string{client}}, {Files: []string{server}}}, taps.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range src.Segments() {
			if err != nil {
				b.Fatal(err)
			}
			packets++
		}
		src.Close()
	}
	merging := cpu() - start
	b.ReportMetric(float64(merging)/float64(packets), "cpu-ns/event")
	b.ReportMetric(float64(merging)/float64(reading), "cpu/read")
}

func BenchmarkMergeLongFlows(b *testing.B)        { benchmarkMerge(b, pktgen.LongFlows, 0) }
func BenchmarkMergeLossy(b *testing.B)            { benchmarkMerge(b, pktgen.LongFlows, 50) }
func BenchmarkMergeShortConnections(b *testing.B) { benchmarkMerge(b, pktgen.ShortConnections, 0) }
