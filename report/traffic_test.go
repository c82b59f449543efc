package report_test

import (
	"io"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// BenchmarkTraffic prints the 10,000 connections of some traffic in every
// format. ns/packet is in relation to the packets of that traffic.
func BenchmarkTraffic(b *testing.B) {
	const packets = 100_000
	var records []*tracker.Record
	tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
		if e.Kind == tracker.EventConnection {
			records = append(records, e.Record.Clone())
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	for k := range (pktgen.Traffic{Kind: pktgen.ShortConnections, Packets: packets, Seed: 1}).All() {
		tk.Observe(&k.Segment)
	}
	tk.Close()
	for _, format := range report.Formats() {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := report.New(format, io.Discard, record.Options{})
				if err != nil {
					b.Fatal(err)
				}
				for _, r := range records {
					if err := p.Record(r); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Close(record.Summary{Packets: packets, TCPPackets: packets}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
		})
	}
}
