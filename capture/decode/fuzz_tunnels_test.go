package decode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A tunnel is a header of the table that carries whatever it is given.
type tunnel struct {
	name   string
	at     place
	header []byte
	before string
}

// wrap puts an IPv4 packet into the tunnel, and returns how many IP headers that adds.
func (c *tunnel) wrap(v4 []byte) (l pcap.LinkType, packet []byte, headers int) {
	switch headers = 0; c.before {
	case beforeIPv6:
		v4 = inIPv6Next(inet.ProtoIPv4, v4)
		headers++
	case beforeFrame:
		v4 = inEthernet(v4)
	case beforePPP:
		v4 = appendAll(nil, "\x00\x21", v4)
	case beforeSNAP:
		v4 = appendAll(snap(inet.TypeIPv4), v4)
	case beforeWiFi:
		v4 = appendAll(nil, "\x08\x01", make([]byte, 22), snap(inet.TypeIPv4), v4)
	case beforeCheck:
		v4 = appendAll(nil, v4, make([]byte, 16))
	}
	l, packet = behind(c.at, appendAll(nil, c.header, v4))
	if l == pcap.LinkRaw && c.at.space != linkType && packet[0]>>4 == 4 {
		headers++
		packet = summed(packet)
	}
	return l, packet, headers
}

// tunnels are those of the table, and what may be around them: the headers of links. Some
// say how long what they carry is, or stand elsewhere than the table says, and are left out.
func tunnels(tb testing.TB) (inner, links []tunnel) {
	for _, c := range headerCases {
		t := tunnel{c.name, c.at, octets(tb, c.header), c.before}
		if c.want != TCP || c.before == beforeNothing || c.name == "vxlan-elsewhere" { // that is not recognised in fragments
			continue
		}
		elastic := true
		for _, size := range []int{0, 1, 200} {
			v4 := summed(inIPv4(tcpSegment(1234, 0x18, nil, make([]byte, size))))
			l, packet, _ := t.wrap(v4)
			var s tcp.Segment
			v := New(Options{}).Decode(&pcap.Record{Data: packet, Wire: len(packet), Link: l}, &s)
			elastic = elastic && v == TCP && s.Seq == 1234 && int(s.Data) == size && s.Cut == tcp.CutNone
		}
		l, packet, _ := t.wrap(summed(inIPv4(tcpSegment(1234, 0x18, nil, nil))))
		switch {
		case !elastic:
		case l == pcap.LinkRaw && packet[0]>>4 == 4 && c.at.space != linkType:
			inner = append(inner, t)
		default:
			links = append(links, t)
		}
	}
	if len(inner) < 30 || len(links) < 60 {
		tb.Fatalf("only %d tunnels and %d links", len(inner), len(links))
	}
	return inner, links
}

// fragmentsOf cuts an IPv4 packet in two at an octet of what it carries, the second first
// if swapped. Its number is id.
func fragmentsOf(packet []byte, at int, id uint16, swapped bool) [][]byte {
	payload := packet[inet.IPv4Size:]
	at = at % len(payload) &^ 7
	if at == 0 {
		return [][]byte{packet}
	}
	first, second := inIPv4Fragment(packet[9], 0x2000, payload[:at]), inIPv4Fragment(packet[9], uint16(at/8), payload[at:])
	for _, p := range [][]byte{first, second} {
		binary.BigEndian.PutUint16(p[4:], id)
	}
	if swapped {
		first, second = second, first
	}
	return [][]byte{summed(first), summed(second)}
}

const (
	mostDecodeHeap = 1 << 20 // octets that a packet may have allocated, beside what it
	mostDecodeEach = 200     // may for each of its octets
)

// FuzzTunnels puts a segment into tunnels of the table, one in the other, up to as many as
// are opened, cuts any of them into fragments, and puts the whole behind a header of a
// link. The segment is found, once, and by the last packet alone. Of three octets each, the
// first says which tunnel, the others whether and where it is cut.
func FuzzTunnels(f *testing.F) {
	inner, links := tunnels(f)
	f.Add(bytes.Repeat([]byte{0, 0, 0}, MaxDepth), byte(0))
	for i := range max(len(inner), len(links)) {
		if i%4 == 0 {
			f.Add([]byte{byte(i), 0, 0, byte(3 * i), 1, byte(i), byte(7 * i), 0, 0}, byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, plan []byte, link byte) {
		packets := [][]byte{summed(inIPv4(tcpSegment(1234, 0x18, nil, []byte("hello tunnels"))))}
		headers, names := 1, ""
		for ; len(plan) >= 3; plan = plan[3:] {
			c := &inner[int(plan[0])%len(inner)]
			var wrapped [][]byte
			_, _, more := c.wrap(packets[0])
			if headers+more > MaxDepth {
				break
			}
			headers += more
			names += " " + c.name
			for _, p := range packets {
				_, outer, _ := c.wrap(p)
				parts := [][]byte{outer}
				if plan[1]&1 != 0 && len(packets) < 4 {
					parts = fragmentsOf(outer, int(plan[2]), uint16(headers<<8|len(wrapped)), plan[1]&2 != 0)
					names += fmt.Sprintf(" in %d", len(parts))
				}
				wrapped = append(wrapped, parts...)
			}
			packets = wrapped
		}
		var before, after runtime.MemStats
		p, size := New(Options{}), 0
		runtime.ReadMemStats(&before)
		for i, packet := range packets {
			l := pcap.LinkRaw
			if c := &links[int(link)%len(links)]; link != 0 {
				var more int
				if l, packet, more = c.wrap(packet); headers+more > MaxDepth {
					return
				}
			}
			size += len(packet)
			var s tcp.Segment
			switch v := p.Decode(&pcap.Record{Data: packet, Wire: len(packet), Link: l}, &s); {
			case i < len(packets)-1 && v != NotTCP:
				t.Errorf("%s: packet %d of %d has verdict %d", names, i+1, len(packets), v)
			case i == len(packets)-1 && (v != TCP || s.Seq != 1234 || s.Data != 13 || p.Next(&s)):
				t.Errorf("%s behind %v: verdict %d, %+v", names, l, v, s)
			}
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(mostDecodeHeap+mostDecodeEach*size) {
			t.Errorf("%s: %d octets of packets took %d of memory", names, size, used)
		}
	})
}
