package decode

import (
	"bytes"
	"compress/flate"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// deflated is what IPComp makes of a payload.
func deflated(proto uint8, p []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 9)
	w.Write(p)
	w.Close()
	return appendAll(nil, proto, "\x00\x00\x02", out.Bytes())
}

// nullESP is what ESP makes of one without encryption.
func nullESP(proto uint8, p []byte, check int) []byte {
	pad := -(len(p) + 2) & 3
	b := appendAll(nil, uint32(1), uint32(1), p)
	for i := range pad {
		b = append(b, byte(i+1))
	}
	return append(append(b, byte(pad), proto), make([]byte, check)...)
}

func TestIPsec(t *testing.T) {
	segment := tcpSegment(1234, 0x18, nil, []byte("hello"))
	v4 := summed(inIPv4(segment))
	bomb := deflated(inet.ProtoTCP, append(bytes.Clone(segment), make([]byte, 1<<20)...))
	many := segment
	for i := range MaxDepth + 1 {
		proto := uint8(protoIPComp)
		if i == 0 {
			proto = inet.ProtoTCP
		}
		many = deflated(proto, many)
	}
	null, off := Options{NullESP: true}, Options{}
	for _, c := range []struct {
		name string
		o    Options
		data []byte
		want Verdict
		size tcp.Size
	}{
		{"ipcomp", off, inIPv4Proto(protoIPComp, deflated(inet.ProtoTCP, segment)), TCP, 5},
		{"ipcomp-on-ipv6", off, inIPv6Next(protoIPComp, deflated(inet.ProtoTCP, segment)), TCP, 5},
		{"ipcomp-of-a-tunnel", off, inIPv4Proto(protoIPComp, deflated(inet.ProtoIPv4, v4)), TCP, 5},
		{"ipcomp-of-something-else", off, inIPv4Proto(protoIPComp, appendAll(nil, uint8(6), "\x00\x01\x00\xff\xff\xff\xff")), Shut, 0},
		{"ipcomp-of-more-than-a-packet-can-have", off, inIPv4Proto(protoIPComp, bomb), TCP, maxDatagram - inet.TCPSize},
		{"ipcomp-in-ipcomp", off, inIPv4Proto(protoIPComp, many), Undecodable, 0},
		{"esp", off, inIPv4Proto(protoESP, nullESP(inet.ProtoTCP, segment, 12)), Shut, 0},
		{"null-esp", null, inIPv4Proto(protoESP, nullESP(inet.ProtoTCP, segment, 12)), TCP, 5},
		{"null-esp-of-a-tunnel", null, inIPv6Next(protoESP, nullESP(inet.ProtoIPv4, v4, 16)), TCP, 5},
		{"null-esp-that-is-encrypted", null, inIPv4Proto(protoESP, bytes.Repeat([]byte{0x5a, 0xc3}, 40)), Shut, 0},
		{"null-esp-of-eight-octets", null, inIPv4Proto(protoESP, make([]byte, 8)), Shut, 0},
	} {
		var s tcp.Segment
		p := New(c.o)
		for range 2 { // the second time with what the first left
			v := p.slowUnguarded(pcap.LinkRaw, frame{c.data, len(c.data)}, 0, &s)
			if v != c.want || v == TCP && (s.Seq != 1234 || s.Data != c.size) {
				t.Errorf("%s: got verdict %d, %+v, want %d", c.name, v, s, c.want)
			}
		}
	}
	cut := inIPv4Proto(protoIPComp, deflated(inet.ProtoTCP, segment))
	if v := New(off).slowUnguarded(pcap.LinkRaw, frame{cut[:len(cut)-3], len(cut)}, 0, new(tcp.Segment)); v != Shut {
		t.Errorf("what is cut: got verdict %d", v)
	}
}
