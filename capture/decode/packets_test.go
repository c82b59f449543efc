package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
)

// Packets for tests, put together header by header: each function
// puts its header before what it is given.

var (
	addrA  = netip.MustParseAddr("10.0.0.1")
	addrB  = netip.MustParseAddr("10.0.0.2")
	addrA6 = netip.MustParseAddr("2001:db8::1")
	addrB6 = netip.MustParseAddr("2001:db8::2")
)

// appendAll appends numbers in network byte order.
func appendAll(b []byte, values ...any) []byte {
	for _, v := range values {
		switch v := v.(type) {
		case uint8:
			b = append(b, v)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, v)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case netip.Addr:
			b = append(b, v.AsSlice()...)
		case []byte:
			b = append(b, v...)
		case string:
			b = append(b, v...)
		default:
			panic("capture: no width for this value")
		}
	}
	return b
}

// tcpSegment is a segment from port 1000 to port 2000, its checksum wrong.
func tcpSegment(seq uint32, flags uint8, options, data []byte) []byte {
	return appendAll(nil, uint16(1000), uint16(2000), seq, uint32(77),
		uint8((20+len(options))/4<<4), flags, uint16(512), uint16(0xbad0), uint16(0), options, data)
}

func inIPv4(payload []byte) []byte { return inIPv4Proto(inet.ProtoTCP, payload) }

func inIPv4Proto(proto uint8, payload []byte) []byte {
	return inIPv4Fragment(proto, 0x4000, payload)
}

// inIPv4Fragment is a packet with these flags and fragment offset.
func inIPv4Fragment(proto uint8, fragment uint16, payload []byte) []byte {
	return appendAll(nil, uint8(0x45), uint8(0), uint16(20+len(payload)), uint16(4242),
		fragment, uint8(64), proto, uint16(0), addrA, addrB, payload)
}

func inIPv6(payload []byte) []byte { return inIPv6Next(inet.ProtoTCP, payload) }

func inIPv6Next(next uint8, payload []byte) []byte {
	return appendAll(nil, uint32(6<<28), uint16(len(payload)), next, uint8(64), addrA6, addrB6, payload)
}

// inIPv6Fragment is a fragment with this offset and, in its lowest bit, whether
// there are more.
func inIPv6Fragment(next uint8, offset uint16, payload []byte) []byte {
	return inIPv6Next(inet.ProtoFragment, appendAll(nil, next, uint8(0), offset, uint32(99), payload))
}

// typeOf is the Ethernet type of an IP packet.
func typeOf(ip []byte) uint16 {
	if ip[0]>>4 == 6 {
		return inet.TypeIPv6
	}
	return inet.TypeIPv4
}

func inEthernet(ip []byte) []byte { return inFrame(typeOf(ip), ip) }

func inFrame(kind uint16, payload []byte) []byte {
	return appendAll(nil, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", kind, payload)
}

// inTag puts a tag of this kind before a packet, for a frame of that kind.
func inTag(inner uint16, payload []byte) []byte {
	return appendAll(nil, uint16(5), inner, payload)
}

func inUDP(port uint16, payload []byte) []byte {
	return appendAll(nil, uint16(50000), port, uint16(8+len(payload)), uint16(0), payload)
}
