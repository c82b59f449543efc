package decode

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// BenchmarkDecode makes Segments of packets at hand.
func BenchmarkDecode(b *testing.B) {
	packet := octets(b, syn4)
	data := inEthernet(inIPv4(tcpSegment(1, 0x10, []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, make([]byte, 1400))))
	tagged := inFrame(inet.TypeMPLS, appendAll(nil, uint32(16<<12|0x100), data[inet.EthernetSize:]))
	var s tcp.Segment
	for _, c := range []struct {
		name string
		data []byte
		o    Options
	}{
		{"data", data, Options{}},
		{"data-named", data, Options{Names: true}},
		{"data-verified", data, Options{VerifyChecksums: true}},
		{"syn", packet, Options{}},
		{"slow", tagged, Options{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, r := New(c.o), pcap.Record{Data: c.data, Wire: len(c.data), Link: pcap.LinkEthernet}
			b.ReportAllocs()
			for b.Loop() {
				v := p.Decode(&r, &s)
				if v != TCP {
					b.Fatal(v)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
