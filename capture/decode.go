package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The fast path. Nearly every packet is TCP, or plainly not TCP, in IPv4 or
// IPv6 behind Ethernet, a VLAN tag or two, Linux cooked capture, a loopback
// header or nothing. Those are read here, in one pass and without allocating;
// whatever else there is, the fast path asks the slow one (decode_slow.go) for. What
// both can read, both read alike: FuzzDecode holds them to it.

// A verdict is what decoding makes of a packet.
type verdict uint8

const (
	notTCP      verdict = iota // something else, or a part of something that is not whole yet
	isTCP                      // the Segment is filled in
	undecodable                // cut before the end of the TCP header, or malformed
	ask                        // only the slow path can tell
)

// Ethernet types (and those of the headers that borrow them).
const (
	typeIPv4      = 0x0800
	typeTEB       = 0x6558 // transparent Ethernet bridging: an Ethernet frame
	typeVLAN      = 0x8100
	typeIPv6      = 0x86dd
	typeMPLS      = 0x8847
	typeMPLSMulti = 0x8848
	typePPPoE     = 0x8864
	typeQinQ      = 0x88a8
	typePBB       = 0x88e7
	typeQinQOld   = 0x9100
	minType       = 0x0600 // smaller ones are lengths of 802.3
)

// IP protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoDestOpts = 60
)

const (
	ethernetSize = 14
	sllSize      = 16
	sll2Size     = 20
	ipv4Size     = 20
	ipv6Size     = 40
	tcpSize      = 20

	maxTags = 8 // VLAN tags, or labels, that are looked behind
)

// decodeFast reads one packet of wire octets, of which data was captured. It
// fills in all of the Segment but the time and the number of the packet, which
// are not the decoders' business. 30 ns for a data segment.
func decodeFast(link LinkType, data []byte, wire int, o *Options, s *tcp.Segment) verdict {
	var kind uint16 // an Ethernet type
	var at int      // where what it names begins
	switch link {
	case LinkEthernet:
		if len(data) < ethernetSize {
			return undecodable
		}
		kind, at = be16(data[12:]), ethernetSize
	case LinkRaw, LinkIPv4, LinkIPv6, LinkRawBSD, LinkRawOpenBSD:
		return fastIP(data, wire, o, s)
	case LinkLinuxSLL:
		if len(data) < sllSize {
			return undecodable
		}
		kind, at = be16(data[14:]), sllSize
	case LinkLinuxSLL2:
		if len(data) < sll2Size {
			return undecodable
		}
		kind, at = be16(data), sll2Size
	case LinkNull, LinkLoop:
		if len(data) < 4 {
			return undecodable
		}
		if !ipFamily(data) {
			return notTCP
		}
		return fastIP(data[4:], wire-4, o, s)
	default:
		return ask
	}
	for tags := 0; kind != typeIPv4 && kind != typeIPv6; tags++ {
		if kind != typeVLAN && kind != typeQinQ && kind != typeQinQOld || tags == maxTags {
			return ask
		}
		if len(data) < at+4 {
			return undecodable
		}
		kind = be16(data[at+2:])
		at += 4
	}
	if kind == typeIPv4 {
		return fastIPv4(data[at:], wire-at, o, s)
	}
	return fastIPv6(data[at:], wire-at, o, s)
}

// ipFamily reports whether a BSD loopback header, in either byte order,
// announces IPv4 or IPv6: AF_INET is 2 everywhere, AF_INET6 what each system
// made it.
func ipFamily(b []byte) bool {
	family := be32(b)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(b)
	}
	switch family {
	case 2, 10, 23, 24, 26, 28, 30:
		return true
	}
	return false
}

func fastIP(data []byte, wire int, o *Options, s *tcp.Segment) verdict {
	if len(data) == 0 {
		return undecodable
	}
	switch data[0] >> 4 {
	case 4:
		return fastIPv4(data, wire, o, s)
	case 6:
		return fastIPv6(data, wire, o, s)
	}
	return undecodable
}

func fastIPv4(data []byte, wire int, o *Options, s *tcp.Segment) verdict {
	if len(data) < ipv4Size {
		return undecodable
	}
	if data[0] != 0x45 || be16(data[6:])&^0x4000 != 0 { // options; fragments
		return ask
	}
	total := int(be16(data[2:]))
	if total == 0 { // segmentation left to the network card: RFC 791 has no room for it
		total = wire
	}
	if total < ipv4Size {
		return undecodable
	}
	if len(data) > total {
		data = data[:total]
	}
	if data[9] != protoTCP {
		return o.fastOther(data[9], data[ipv4Size:])
	}
	s.TTL = data[8]
	s.ID = be16(data[4:])
	src := netip.AddrFrom4([4]byte(data[12:16]))
	dst := netip.AddrFrom4([4]byte(data[16:20]))
	return o.fastTCP(data[ipv4Size:], total-ipv4Size, src, dst, s)
}

func fastIPv6(data []byte, wire int, o *Options, s *tcp.Segment) verdict {
	if len(data) < ipv6Size {
		return undecodable
	}
	if data[0]>>4 != 6 {
		return undecodable
	}
	length := int(be16(data[4:]))
	if length == 0 { // a jumbogram, announced (RFC 2675) or not
		length = wire - ipv6Size
	}
	if len(data) > ipv6Size+length {
		data = data[:ipv6Size+length]
	}
	if data[6] != protoTCP {
		return o.fastOther(data[6], data[ipv6Size:])
	}
	s.TTL = data[7]
	s.ID = 0
	src := netip.AddrFrom16([16]byte(data[8:24]))
	dst := netip.AddrFrom16([16]byte(data[24:40]))
	return o.fastTCP(data[ipv6Size:], length, src, dst, s)
}

// fastOther says what an IP payload that is not TCP may still hide.
func (o *Options) fastOther(proto uint8, payload []byte) verdict {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAH, protoDestOpts:
		return ask
	case protoIPv4, protoIPv6, protoGRE, protoEtherIP:
		if !o.Outer {
			return ask
		}
	case protoUDP:
		if !o.Outer && len(payload) >= 8 && isTunnelPort(be16(payload[2:])) {
			return ask
		}
	case protoICMP:
		if len(payload) > 0 && isICMPError(payload[0]) {
			return ask
		}
	case protoICMPv6:
		if len(payload) > 0 && isICMPv6Error(payload[0]) {
			return ask
		}
	}
	return notTCP
}

// fastTCP reads a TCP header. length is what IP says the segment has.
func (o *Options) fastTCP(data []byte, length int, src, dst netip.Addr, s *tcp.Segment) verdict {
	if len(data) < tcpSize {
		return undecodable
	}
	header := int(data[12]>>4) * 4
	if header < tcpSize || header > length {
		return undecodable
	}
	s.Src = netip.AddrPortFrom(src, be16(data))
	s.Dst = netip.AddrPortFrom(dst, be16(data[2:]))
	s.Seq = tcp.Seq(be32(data[4:]))
	s.Ack = tcp.Seq(be32(data[8:]))
	s.Flags = tcp.Flags(be16(data[12:]) & 0x01ff)
	s.Wnd = be16(data[14:])
	s.Checksum = be16(data[16:])
	s.Urg = be16(data[18:])
	s.Data = tcp.Size(length - header)
	s.Options = tcp.Options{}
	s.Fragment = false
	if s.ICMP.Type != 0 {
		s.ICMP = tcp.ICMP{}
	}
	s.Sum = tcp.SumUnchecked
	s.Payload = 0
	switch {
	case len(data) >= length:
		s.Cut = tcp.CutNone
		if o.VerifyChecksums || s.Flags&(tcp.SYN|tcp.FIN|tcp.RST) != 0 {
			s.Sum = checkTCP(data, src, dst)
		}
		if o.Payload {
			s.Payload = o.hash(data, header, src, dst)
		}
	case len(data) >= header:
		s.Cut = tcp.CutPayload
	default:
		s.Cut = tcp.CutOptions
		header = len(data)
	}
	if header > tcpSize {
		readOptions(data[tcpSize:header], &s.Options)
	}
	return isTCP
}
