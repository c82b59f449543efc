package decode

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// FuzzDecode holds the two decoders to each other: what the fast path has an
// answer to, the slow one answers alike. There is no difference that was
// agreed upon.
func FuzzDecode(f *testing.F) {
	paths, err := filepath.Glob("../testdata/*.pcap*")
	if err != nil || len(paths) == 0 {
		f.Fatal("no captures to begin with", err)
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			f.Fatal(err)
		}
		in, err := pcap.NewReader(file, path, path)
		if err != nil {
			f.Fatal(err)
		}
		var r pcap.Record
		for i := 0; in.Next(&r) == nil; i++ {
			if i%7 == 0 || i < 4 {
				f.Add(uint16(r.Link), bytes.Clone(r.Data), uint16(r.Wire-len(r.Data)), uint8(i%8))
			}
		}
		file.Close()
	}
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01"} {
		f.Add(uint16(pcap.LinkRaw), inIPv4(tcpSegment(1, 0x18, []byte{1, 1, 1, 0}, []byte(text))), uint16(0), uint8(8))
	}
	for _, text := range []string{data6, sack4} {
		f.Add(uint16(pcap.LinkRaw), octets(f, text), uint16(0), uint8(2))
	}
	f.Add(uint16(pcap.LinkEthernet), octets(f, syn4), uint16(0), uint8(0))
	f.Add(uint16(pcap.LinkLinuxSLL2), appendAll(nil, uint16(inet.TypeIPv6), make([]byte, 18), octets(f, data6)), uint16(3), uint8(0))
	f.Add(uint16(pcap.LinkNetAnalyzer), appendAll(nil, make([]byte, 4), octets(f, syn4)), uint16(0), uint8(0))
	f.Add(uint16(pcap.LinkCiscoHDLC), appendAll(nil, uint16(0x0f00), uint16(inet.TypeIPv6), octets(f, data6)), uint16(0), uint8(0))
	segment := tcpSegment(1234, 0x18, nil, []byte("hello"))
	f.Add(uint16(pcap.LinkRaw), inIPv4Proto(protoIPComp, deflated(inet.ProtoTCP, segment)), uint16(0), uint8(0))
	f.Add(uint16(pcap.LinkRaw), inIPv4Proto(protoESP, nullESP(inet.ProtoTCP, segment, 12)), uint16(0), uint8(16))
	for _, c := range headerCases {
		l, data := made(f, c.at, c.header, c.before)
		f.Add(uint16(l), data, uint16(0), uint8(0))
	}
	f.Fuzz(func(t *testing.T, link uint16, data []byte, cut uint16, options uint8) {
		fuzzDecode(t, link, data, cut, options)
	})
}

// FuzzHeaders puts headers of the table behind each other, and changes some octets
// of the packet.
func FuzzHeaders(f *testing.F) {
	for i := range headerCases {
		f.Add([]byte{byte(i)}, []byte{}, uint16(0), uint8(0))
		f.Add([]byte{byte(i), byte(2 * i), byte(3 * i)}, []byte{0, byte(i), 0xff}, uint16(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, headers, changes []byte, cut uint16, options uint8) {
		l, data := pcap.LinkRaw, summed(inIPv4(tcpSegment(1234, 0x18, nil, []byte("hello"))))
		for _, i := range headers[:min(len(headers), 12)] {
			c := headerCases[int(i)%len(headerCases)]
			l, data = behind(c.at, appendAll(octets(t, c.header), data))
		}
		for ; len(changes) >= 3 && len(data) > 0; changes = changes[3:] {
			data[int(be16(changes))%len(data)] ^= changes[2]
		}
		fuzzDecode(t, uint16(l), data, cut, options)
	})
}

// fuzzDecode holds the two decoders to each other on one packet.
func fuzzDecode(t *testing.T, link uint16, data []byte, cut uint16, options uint8) {
	p := New(Options{Outer: options&1 != 0, VerifyChecksums: options&2 != 0, Payload: options&4 != 0, Names: options&8 != 0, NullESP: options&16 != 0})
	wire := len(data) + int(cut)
	var fast, slow tcp.Segment
	v := p.fast(pcap.LinkType(link), data, wire, &fast)
	named := p.data
	p.data = nil
	w := p.slowUnguarded(pcap.LinkType(link), frame{data, wire}, 0, &slow)
	if v != ask && v != w {
		t.Fatalf("verdict %d, slow path %d", v, w)
	}
	if v == TCP && fast != slow {
		t.Fatalf("fast %+v\nslow %+v", fast, slow)
	}
	if v == TCP && !bytes.Equal(named, p.data) {
		t.Fatalf("fast: names are looked for in %q\nslow: %q", named, p.data)
	}
	if w == ask {
		t.Fatal("the slow path asks")
	}
	if w == TCP && slow.ICMP.Type == 0 && !slow.Src.IsValid() {
		t.Fatalf("a segment from nowhere: %+v", slow)
	}
	// A second time, for what the decoder keeps from packet to packet.
	var again tcp.Segment
	if w2 := p.slowUnguarded(pcap.LinkType(link), frame{data, wire}, 0, &again); w == TCP && !slow.Fragment && (w2 != w || again != slow) {
		t.Fatalf("again: verdict %d, %+v\nfirst: %d, %+v", w2, again, w, slow)
	}
	for range 100 { // what else an aggregate holds
		if !p.Next(&again) {
			return
		}
	}
	t.Fatal("no end of segments")
}
