package watch

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/tracker"
)

var soak = flag.Int("soak", 1, "how many times the usual packets a day of the soak test has")

// aDay writes a capture of 24 hours: bursts of short connections in every minute, and
// twice an hour two attacks, in half a day of all kinds.
func aDay(w io.Writer, times int) error {
	const header, stamp = 24, 16
	var b bytes.Buffer
	// put writes a burst that begins so many seconds after the first.
	put := func(second int, write func(io.Writer) (int, error)) error {
		b.Reset()
		if _, err := write(&b); err != nil {
			return err
		}
		data := b.Bytes()
		for at := header; at < len(data); at += stamp + int(binary.LittleEndian.Uint32(data[at+8:])) {
			binary.LittleEndian.PutUint32(data[at:], binary.LittleEndian.Uint32(data[at:])+uint32(second))
		}
		if second > 0 {
			data = data[header:]
		}
		_, err := w.Write(data)
		return err
	}
	kinds := slices.DeleteFunc(pktgen.Attacks(), func(kind string) bool { // whose captures are no pcap, or take longer
		return slices.Contains([]string{"interfaces", "name-blocks", "scan-slow", "clock-back", "clock-jumps", "incarnations", "keepalive", "window-probes"}, kind)
	})
	for minute := range 24 * 60 {
		for n := range times {
			t := pktgen.Traffic{Kind: pktgen.ShortConnections, Packets: 2000, Seed: uint64(minute*times + n)}
			if err := put(60*minute+30*n/times, t.Write); err != nil {
				return err
			}
		}
		for n := range 2 * times * (minute % 30 / 29) {
			a := pktgen.Attack{Kind: kinds[(minute/30%24*2+n%2)%len(kinds)], Packets: 10_000, Seed: uint64(minute*times + n)}
			if err := put(60*minute+30+15*n/times, a.Write); err != nil {
				return err
			}
		}
	}
	return nil
}

// A day of traffic, and of attacks, is followed in memory that does not grow from one
// hour to the next, with all that a live run counts of it.
func TestADayTakesNoMoreThanAnHour(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	const (
		memory = 16 << 20 // of connections
		beside = 72 << 20 // of all else, with its bounds: here all of them are reached
	)
	out, in := io.Pipe()
	go func() { in.CloseWithError(aDay(in, *soak)) }()
	w, err := Reader("a day", out, capture.Options{}, tracker.Config{MaxMemory: memory})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ended, found := new(services.Counts), new(findings.Counts)
	var heaps []uint64 // by hour
	sum, err := w.Run(context.Background(), Sink{
		Interval: time.Hour,
		Tick: func(bool) error {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heaps = append(heaps, m.HeapAlloc)
			return nil
		},
		Event: func(e *tracker.Event) error {
			switch {
			case e.Kind == tracker.EventConnection:
				ended.Connection(e.Record)
				new(record.Options).Find(found, e.Record)
			case e.Kind == tracker.EventAnomaly && e.Conn == 0:
				found.Anomaly(e.Anomaly, nil)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d packets, %d connections, %d evicted; octets by hour: %v", sum.Capture.Packets, sum.Tracker.Conns, sum.Tracker.Evicted, heaps)
	if len(heaps) < 24 || sum.Capture.Truncated || sum.Tracker.Conns < 200_000 {
		t.Fatalf("%d hours, %d connections, %v", len(heaps), sum.Tracker.Conns, sum.Capture.Warnings)
	}
	first, second := slices.Max(heaps[1:12]), slices.Max(heaps[12:24])
	if second > first+first/8 {
		t.Errorf("the second half of the day took %d octets, the first %d", second, first)
	}
	if most := slices.Max(heaps); most > memory+beside {
		t.Errorf("it took %d octets, with %d for connections", most, memory)
	}
	runtime.KeepAlive(ended)
	runtime.KeepAlive(found)
}
