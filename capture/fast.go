package capture

import (
	"encoding/binary"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The fast path. Nearly every packet is TCP, or plainly not TCP, in IPv4 or
// IPv6 behind Ethernet, a VLAN tag or two, Linux cooked capture, a loopback
// header or nothing. Those are read here, in one pass and without allocating;
// whatever else there is, the fast path asks the slow one (slow.go) for. What
// both can read, both read alike: FuzzDecode holds them to it.

// fast reads one packet of wire octets, of which data was captured. It
// fills in all of the Segment but the time and the number of the packet, which
// are not the decoders' business. 30 ns for a data segment.
func (p *Decoder) fast(link LinkType, data []byte, wire int, s *tcp.Segment) verdict {
	var kind uint16 // an Ethernet type
	var at int      // where what it names begins
	switch link {
	case LinkEthernet:
		if len(data) < ethernetSize {
			return undecodable
		}
		kind, at = be16(data[12:]), ethernetSize
	case LinkRaw, LinkIPv4, LinkIPv6, LinkRawBSD, LinkRawOpenBSD:
		return p.fastIP(data, wire, s)
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
		return p.fastIP(data[4:], wire-4, s)
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
		return p.fastIPv4(data[at:], wire-at, s)
	}
	return p.fastIPv6(data[at:], wire-at, s)
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

func (p *Decoder) fastIP(data []byte, wire int, s *tcp.Segment) verdict {
	if len(data) == 0 {
		return undecodable
	}
	switch data[0] >> 4 {
	case 4:
		return p.fastIPv4(data, wire, s)
	case 6:
		return p.fastIPv6(data, wire, s)
	}
	return undecodable
}

func (p *Decoder) fastIPv4(data []byte, wire int, s *tcp.Segment) verdict {
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
		return p.fastOther(data[9], data[ipv4Size:])
	}
	s.TTL = data[8]
	s.ID = be16(data[4:])
	src := netip.AddrFrom4([4]byte(data[12:16]))
	dst := netip.AddrFrom4([4]byte(data[16:20]))
	return p.fastTCP(data[ipv4Size:], total-ipv4Size, src, dst, s)
}

func (p *Decoder) fastIPv6(data []byte, wire int, s *tcp.Segment) verdict {
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
		return p.fastOther(data[6], data[ipv6Size:])
	}
	s.TTL = data[7]
	s.ID = 0
	src := netip.AddrFrom16([16]byte(data[8:24]))
	dst := netip.AddrFrom16([16]byte(data[24:40]))
	return p.fastTCP(data[ipv6Size:], length, src, dst, s)
}

// fastOther says what an IP payload that is not TCP may still hide.
func (p *Decoder) fastOther(proto uint8, payload []byte) verdict {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAH, protoDestOpts:
		return ask
	case protoIPv4, protoIPv6, protoGRE, protoEtherIP:
		if !p.o.Outer {
			return ask
		}
	case protoUDP:
		if !p.o.Outer && len(payload) >= 8 && isTunnelPort(be16(payload[2:])) {
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
func (p *Decoder) fastTCP(data []byte, length int, src, dst netip.Addr, s *tcp.Segment) verdict {
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
		if p.o.VerifyChecksums || s.Flags&(tcp.SYN|tcp.FIN|tcp.RST) != 0 {
			s.Sum = checkTCP(data, src, dst)
		}
		if p.o.Payload {
			s.Payload = p.hash(data, header, src, dst)
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
