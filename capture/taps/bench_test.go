package taps_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/taps"
)

// cpu returns the processor time that the process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// benchmarkMerge measures the processor time of merging two captures, for each record and
// as a multiple of that of reading both once.
func benchmarkMerge(b *testing.B, p *pathway) {
	client, server := p.write(b)
	start, records := cpu(), 0
	for range b.N {
		for _, name := range []string{client, server} {
			src, err := capture.Open([]string{name}, capture.Options{})
			if err != nil {
				b.Fatal(err)
			}
			for _, err := range src.Segments() {
				if err != nil {
					b.Fatal(err)
				}
				records++
			}
			src.Close()
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
		}
		src.Close()
	}
	merging := cpu() - start
	b.ReportMetric(float64(merging)/float64(records), "cpu-ns/record")
	b.ReportMetric(float64(merging)/float64(reading), "cpu/reading")
}

const benchmarked = 500_000 // packets

func BenchmarkMergeLongFlows(b *testing.B) { benchmarkMerge(b, &pathway{packets: benchmarked}) }
func BenchmarkMergeLossy(b *testing.B) {
	benchmarkMerge(b, &pathway{packets: benchmarked, lossy: true})
}
func BenchmarkMergeShortConnections(b *testing.B) {
	benchmarkMerge(b, &pathway{packets: benchmarked, short: true, pace: 200 * time.Microsecond})
}
