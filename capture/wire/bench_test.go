package wire

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

func BenchmarkWire(b *testing.B) {
	for _, kind := range []pktgen.TrafficKind{pktgen.LongFlows, pktgen.ShortConnections} {
		list, _, ok := segmentsOf(writeTraffic(b, kind, 20_000))
		if !ok {
			b.Fatal("no segments")
		}
		const size = 1024
		var messages [][]byte
		write := func() {
			var w Writer
			messages = messages[:0]
			for i := range list {
				if w.Add(&list[i], i+1); w.Len() == size {
					m, err := w.Message(Head{Run: 1, N: 1})
					if err != nil {
						b.Fatal(err)
					}
					messages = append(messages, m)
				}
			}
		}
		write()
		n := float64(len(messages) * size)
		b.Run(string(kind)+"/write", func(b *testing.B) {
			for b.Loop() {
				write()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/segment")
		})
		b.Run(string(kind)+"/read", func(b *testing.B) {
			var r Reader
			var got []Segment
			for b.Loop() {
				for _, m := range messages {
					var err error
					if _, got, err = r.Read(m, got[:0]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/segment")
		})
	}
}
