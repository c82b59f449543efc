package capture

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// benchCapture is a capture of many segments with so many octets of data.
func benchCapture(size int) (b []byte, packets int) {
	timestamps := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	var all [][]byte
	for i := range 20000 {
		all = append(all, inEthernet(inIPv4(tcpSegment(uint32(i*size), 0x10, timestamps, make([]byte, size)))))
	}
	return pcap(1, all...), len(all)
}

func perPacket(b *testing.B, packets int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
}

// BenchmarkSegments is a capture read from memory: the file's format, the
// decoding, and the loop.
func BenchmarkSegments(b *testing.B) {
	for _, size := range []int{0, 1400} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			content, packets := benchCapture(size)
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				in := &input{name: "x"}
				if err := in.start(bytes.NewReader(content)); err != nil {
					b.Fatal(err)
				}
				s := &Source{}
				s.slow.o = &s.options
				n := 0
				more, err := s.readRecords(in, func(*tracker.Segment, error) bool { n++; return true })
				if n != packets || !more || err != nil {
					b.Fatal(n, more, err)
				}
			}
			perPacket(b, packets)
		})
	}
}

// BenchmarkRecords is the file's format alone.
func BenchmarkRecords(b *testing.B) {
	content, packets := benchCapture(1400)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		f, err := newPcapFile(newWindow(bytes.NewReader(content)))
		if err != nil {
			b.Fatal(err)
		}
		var r record
		for err == nil {
			err = f.next(&r)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	perPacket(b, packets)
}

func BenchmarkDecode(b *testing.B) {
	packet := octets(b, syn4)
	data := inEthernet(inIPv4(tcpSegment(1, 0x10, []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, make([]byte, 1400))))
	tagged := inFrame(typeMPLS, appendAll(nil, uint32(16<<12|0x100), data[ethernetSize:]))
	var s tracker.Segment
	for _, c := range []struct {
		name string
		data []byte
		o    Options
	}{
		{"data", data, Options{}},
		{"data-verified", data, Options{VerifyChecksums: true}},
		{"syn", packet, Options{}},
		{"slow", tagged, Options{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := &slowPath{o: &c.o}
			for b.Loop() {
				v := decodeFast(LinkEthernet, c.data, len(c.data), &c.o, &s)
				if v == ask {
					v = p.decode(LinkEthernet, frame{c.data, len(c.data)}, 0, &s)
				}
				if v != isTCP {
					b.Fatal(v)
				}
			}
		})
	}
}
