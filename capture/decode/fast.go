package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The fast path. Nearly every packet is TCP, or plainly not TCP, in IPv4 or
// IPv6 behind Ethernet, a VLAN tag or two, another header that pcap knows the
// layout of, or nothing. Those are read here, in one pass and without allocating;
// whatever else there is, the fast path asks the slow one (slow.go) for. What
// both can read, both read alike: FuzzDecode holds them to it.

// fast reads one packet of wire octets, of which data was captured. It
// fills in all of the Segment but the time and the number of the packet, which
// are not the decoders' business. 30 ns for a data segment.
func (p *Decoder) fast(link pcap.LinkType, data []byte, wire int, s *tcp.Segment) Verdict {
	l := link.Layout()
	switch l.Kind {
	case pcap.LayoutEthernet, pcap.LayoutCooked, pcap.LayoutCooked2, pcap.LayoutType:
	case pcap.LayoutVersion, pcap.LayoutIPv4, pcap.LayoutIPv6:
		return p.fastIP(data, wire, s)
	case pcap.LayoutNull, pcap.LayoutLoop:
		if len(data) < 4 {
			return Undecodable
		}
		if !ipFamily(data) {
			return ask
		}
		return p.fastIP(data[4:], wire-4, s)
	default:
		return ask
	}
	at := int(l.Network) // where what the Ethernet type names begins
	if len(data) < at {
		return Undecodable
	}
	typeAt := int(l.TypeAt)
	switch be16(data[typeAt : typeAt+2]) {
	case inet.TypeIPv4:
		return p.fastIPv4(data[at:], wire-at, s)
	case inet.TypeIPv6:
		return p.fastIPv6(data[at:], wire-at, s)
	case inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld:
		return p.fastTagged(data[at:], wire-at, s)
	}
	return ask
}

// fastTagged reads what is behind VLAN tags.
func (p *Decoder) fastTagged(data []byte, wire int, s *tcp.Segment) Verdict {
	for range maxTags {
		if len(data) < 4 {
			return Undecodable
		}
		kind := be16(data[2:])
		data, wire = data[4:], wire-4
		switch kind {
		case inet.TypeIPv4:
			return p.fastIPv4(data, wire, s)
		case inet.TypeIPv6:
			return p.fastIPv6(data, wire, s)
		case inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld:
		default:
			return ask
		}
	}
	return ask
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

func (p *Decoder) fastIP(data []byte, wire int, s *tcp.Segment) Verdict {
	if len(data) == 0 {
		return Undecodable
	}
	switch data[0] >> 4 {
	case 4:
		return p.fastIPv4(data, wire, s)
	case 6:
		return p.fastIPv6(data, wire, s)
	}
	return Undecodable
}

func (p *Decoder) fastIPv4(data []byte, wire int, s *tcp.Segment) Verdict {
	if len(data) < inet.IPv4Size {
		return Undecodable
	}
	h, rest := data[:inet.IPv4Size], data[inet.IPv4Size:]
	if h[0] != 0x45 || be16(h[6:])&^0x4000 != 0 { // options; fragments
		return ask
	}
	total := int(be16(h[2:]))
	if total == 0 { // segmentation left to the network card: RFC 791 has no room for it
		total = wire
	}
	length := total - inet.IPv4Size
	if length < 0 {
		return Undecodable
	}
	if len(rest) > length {
		rest = rest[:length]
	}
	if h[9] != inet.ProtoTCP {
		return p.fastOther(h[9], rest)
	}
	s.TTL = h[8]
	s.ID = be16(h[4:])
	s.NoDF, s.Label = h[6]&0x40 == 0, false
	src := netip.AddrFrom4([4]byte(h[12:16]))
	dst := netip.AddrFrom4([4]byte(h[16:20]))
	return p.fastTCP(rest, length, src, dst, s)
}

// flowLabel is its place in the first four octets of an IPv6 header.
const flowLabel = 0xfffff

func (p *Decoder) fastIPv6(data []byte, wire int, s *tcp.Segment) Verdict {
	if len(data) < inet.IPv6Size {
		return Undecodable
	}
	h, rest := data[:inet.IPv6Size], data[inet.IPv6Size:]
	if h[0]>>4 != 6 {
		return Undecodable
	}
	length := int(be16(h[4:]))
	if length == 0 { // a jumbogram, announced (RFC 2675) or not
		length = wire - inet.IPv6Size
	}
	if len(rest) > length {
		rest = rest[:length]
	}
	if h[6] != inet.ProtoTCP {
		return p.fastOther(h[6], rest)
	}
	s.TTL = h[7]
	s.ID, s.NoDF = 0, false
	src := netip.AddrFrom16([16]byte(h[8:24]))
	dst := netip.AddrFrom16([16]byte(h[24:40]))
	v := p.fastTCP(rest, length, src, dst, s)
	s.Label = s.Flags&tcp.SYN != 0 && be32(h)&flowLabel != 0
	return v
}

// fastOther says what an IP payload that is not TCP may still hide.
func (p *Decoder) fastOther(proto uint8, payload []byte) Verdict {
	switch proto {
	case inet.ProtoUDP:
		if !p.o.Outer && len(payload) >= udpSize && (p.portSet().has(payload) || mayVXLAN(payload[udpSize:])) || p.o.Names && namesIn(payload) {
			return ask
		}
	case inet.ProtoICMP:
		if len(payload) > 0 && isICMPError(payload[0]) {
			return ask
		}
	case inet.ProtoICMPv6:
		if len(payload) > 0 && isICMPv6Error(payload[0]) {
			return ask
		}
	case inet.ProtoHopByHop, inet.ProtoRouting, inet.ProtoFragment, inet.ProtoAH, inet.ProtoDestOpts, protoMobility, protoHIP, protoShim6:
		return ask
	default:
		if opensProto[proto] && !p.o.Outer {
			return ask
		}
	}
	return NotTCP
}

// fastTCP reads a TCP header. length is what IP says the segment has.
func (p *Decoder) fastTCP(data []byte, length int, src, dst netip.Addr, s *tcp.Segment) Verdict {
	if len(data) < inet.TCPSize {
		return Undecodable
	}
	header := int(data[12]>>4) * 4
	if header < inet.TCPSize || header > length {
		return Undecodable
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
	if header > inet.TCPSize {
		readOptions(data[inet.TCPSize:header], &s.Options)
	}
	if len(data) > header && p.o.Names && p.mayName(data[header], s.Seq) {
		p.data, p.naming = data[header:], true
	}
	return TCP
}
