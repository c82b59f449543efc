package tracker_test

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/crossflow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// BenchmarkTraffic follows traffic of many kinds from the first segment to the
// last, with a Detector behind the Tracker, as replay does.
func BenchmarkTraffic(b *testing.B) {
	for _, kind := range pktgen.TrafficKinds() {
		if kind == pktgen.FullPayloads {
			continue // to the tracker they are LongFlows
		}
		b.Run(string(kind), func(b *testing.B) {
			var segments []tcp.Segment
			for k := range (pktgen.Traffic{Kind: kind, Packets: 100_000, Seed: 1}).All() {
				if k.Frame == nil {
					k.Packet = len(segments) + 1
					segments = append(segments, k.Segment)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				detector := crossflow.New(func(*tracker.Event) {})
				tk, err := tracker.New(tracker.Config{}, detector.Event)
				if err != nil {
					b.Fatal(err)
				}
				for i := range segments {
					tk.Observe(&segments[i])
				}
				tk.Close()
				detector.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(segments)), "ns/packet")
		})
	}
}
