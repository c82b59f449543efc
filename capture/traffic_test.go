package capture_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// benchTraffic runs a benchmark of something that reads captures, and returns
// how many packets or segments it found, on traffic of many kinds.
func benchTraffic(b *testing.B, read func(path string, content []byte) (int, error)) {
	for _, kind := range pktgen.TrafficKinds() {
		b.Run(string(kind), func(b *testing.B) {
			var file bytes.Buffer
			packets, err := pktgen.Traffic{Kind: kind, Packets: 100_000, Seed: 1}.Write(&file)
			if err != nil {
				b.Fatal(err)
			}
			path := filepath.Join(b.TempDir(), "traffic.pcap")
			if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(file.Len()))
			b.ReportAllocs()
			for b.Loop() {
				n, err := read(path, file.Bytes())
				if err != nil || n > packets || n < packets/2 {
					b.Fatalf("%d of %d packets are read: %v", n, packets, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
		})
	}
}

// BenchmarkRecords is the file's format alone, read from memory.
func BenchmarkRecords(b *testing.B) {
	benchTraffic(b, func(_ string, content []byte) (n int, err error) {
		in, err := pcap.NewReader(bytes.NewReader(content), "x", "x")
		if err != nil {
			return 0, err
		}
		var r pcap.Record
		for {
			if err := in.Next(&r); err == io.EOF {
				return n, nil
			} else if err != nil {
				return n, err
			}
			n++
		}
	})
}

// BenchmarkSegments is all of package capture: the file, its format, the
// decoding, and the loop.
func BenchmarkSegments(b *testing.B) {
	benchTraffic(b, func(path string, _ []byte) (n int, err error) {
		src, err := capture.Open([]string{path}, capture.Options{})
		if err != nil {
			return 0, err
		}
		defer src.Close()
		for _, err := range src.Segments() {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	})
}
