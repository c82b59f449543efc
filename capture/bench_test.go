package capture

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// BenchmarkDecode makes Segments of packets at hand.
func BenchmarkDecode(b *testing.B) {
	packet := octets(b, syn4)
	data := inEthernet(inIPv4(tcpSegment(1, 0x10, []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, make([]byte, 1400))))
	tagged := inFrame(typeMPLS, appendAll(nil, uint32(16<<12|0x100), data[ethernetSize:]))
	var s tcp.Segment
	for _, c := range []struct {
		name string
		data []byte
		o    DecodeOptions
	}{
		{"data", data, DecodeOptions{}},
		{"data-verified", data, DecodeOptions{VerifyChecksums: true}},
		{"syn", packet, DecodeOptions{}},
		{"slow", tagged, DecodeOptions{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := NewDecoder(c.o)
			b.ReportAllocs()
			for b.Loop() {
				v := p.Decode(LinkEthernet, c.data, len(c.data), 0, &s)
				if v != isTCP {
					b.Fatal(v)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
