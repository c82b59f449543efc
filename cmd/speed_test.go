package cmd

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// BenchmarkReplay is a whole replay, from the file to what is printed. Other
// programs are measured on the same traffic by ./bench.
func BenchmarkReplay(b *testing.B) {
	for _, kind := range pktgen.TrafficKinds() {
		path := filepath.Join(b.TempDir(), string(kind)+".pcap")
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		packets, err := pktgen.Traffic{Kind: kind, Packets: 100_000, Seed: 1}.Write(f)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		for _, format := range []string{"summary", "jsonl"} {
			b.Run(string(kind)+"/"+format, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if status := execute(b.Context(), []string{"replay", "-o", format, path}, io.Discard, io.Discard); status != exitDone {
						b.Fatalf("exit status %d", status)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
			})
		}
	}
}
