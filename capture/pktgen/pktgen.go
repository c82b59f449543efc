// Package pktgen makes packets and captures, the other way round than package
// capture reads them. The lab injects what it makes, the benchmarks read it.
package pktgen

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var be = binary.BigEndian

// Append appends the segment as an IPv4 or IPv6 packet, with right checksums
// and zeros for its data. Of a segment whose ICMP.Type is set it makes that
// ICMP error, sent to Src, or by ICMP.From if that is valid, else by Dst's
// host. A TTL of 0 becomes 64; Payload, Checksum, Sum, Cut and Fragment have no
// effect.
//
// It panics if the two addresses are not of one family, or if the packet is
// longer than IP can say.
func Append(b []byte, s *tcp.Segment) []byte {
	if s.ICMP.Type != 0 {
		return appendICMP(b, s)
	}
	b = appendHeaders(b, s)
	return append(b, make([]byte, s.Data)...)
}

// appendHeaders appends the packet of a TCP segment as Append does, but for its
// data.
func appendHeaders(b []byte, s *tcp.Segment) []byte {
	start := len(b)
	b = appendIP(b, s.Src.Addr(), s.Dst.Addr(), inet.ProtoTCP, s)
	tcp := len(b)
	b = be.AppendUint16(b, s.Src.Port())
	b = be.AppendUint16(b, s.Dst.Port())
	b = be.AppendUint32(b, uint32(s.Seq))
	b = be.AppendUint32(b, uint32(s.Ack))
	b = be.AppendUint16(b, uint16(s.Flags)) // the header's length is put in below
	b = be.AppendUint16(b, s.Wnd)
	b = append(b, 0, 0) // checksum
	b = be.AppendUint16(b, s.Urg)
	b = appendOptions(b, &s.Options)
	b[tcp+12] |= byte(len(b)-tcp) / 4 << 4
	finish(b[start:], b[tcp:], int(s.Data), inet.ProtoTCP, 16)
	return b
}

// appendIP appends an IP header without its length and checksum.
func appendIP(b []byte, src, dst netip.Addr, proto uint8, s *tcp.Segment) []byte {
	if src.Is4() != dst.Is4() {
		panic(fmt.Sprintf("pktgen: %v and %v are of two families", src, dst))
	}
	ttl := s.TTL
	if ttl == 0 {
		ttl = 64
	}
	if src.Is4() {
		b = append(b, 0x45, 0, 0, 0)
		b = be.AppendUint16(b, s.ID)
		b = append(b, 0x40, 0, ttl, proto, 0, 0) // don't fragment
	} else {
		b = append(b, 0x60, 0, 0, 0, 0, 0, proto, ttl)
	}
	b = appendAddr(b, src)
	return appendAddr(b, dst)
}

// appendAddr appends the octets of an address.
func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		octets := a.As4()
		return append(b, octets[:]...)
	}
	octets := a.As16()
	return append(b, octets[:]...)
}

// appendOptions appends TCP options, each where Linux aligns it.
func appendOptions(b []byte, o *tcp.Options) []byte {
	if o.MSS != 0 {
		b = be.AppendUint16(append(b, 2, 4), o.MSS)
	}
	if o.SACKOK != o.HasTS { // or else they fill each other up
		b = append(b, 1, 1)
	}
	if o.SACKOK {
		b = append(b, 4, 2)
	}
	if o.HasTS {
		b = be.AppendUint32(append(b, 8, 10), o.TSVal)
		b = be.AppendUint32(b, o.TSEcr)
	}
	if o.HasShift {
		b = append(b, 1, 3, 3, o.Shift)
	}
	if o.FastOpen {
		b = append(b, 1, 1, 34, 2)
	}
	if o.Signed {
		b = append(append(b, 1, 1, 19, 18), make([]byte, 16)...)
	}
	if o.NumSACK > 0 {
		b = append(b, 1, 1, 5, 2+8*o.NumSACK)
		for _, k := range o.SACK[:o.NumSACK] {
			b = be.AppendUint32(b, uint32(k.Left))
			b = be.AppendUint32(b, uint32(k.Right))
		}
	}
	return b
}

// appendICMP appends the ICMP error that quotes the segment.
func appendICMP(b []byte, s *tcp.Segment) []byte {
	from := s.ICMP.From
	if !from.IsValid() {
		from = s.Dst.Addr()
	}
	quoted := *s
	quoted.ICMP = tcp.ICMP{}
	quote := Append(nil, &quoted)
	proto := uint8(inet.ProtoICMP)
	if s.ICMP.V6 {
		proto = inet.ProtoICMPv6
	}
	start := len(b)
	b = appendIP(b, from, s.Src.Addr(), proto, &tcp.Segment{})
	message := len(b)
	b = append(b, s.ICMP.Type, s.ICMP.Code, 0, 0, 0, 0, 0, 0)
	b = append(b, quote...)
	finish(b[start:], b[message:], 0, proto, 2)
	return b
}

// finish puts lengths and checksums into a packet whose protocol's header and
// data are body, with the checksum at the given offset in it. So many zeros
// follow that are not in packet.
func finish(packet, body []byte, zeros int, proto uint8, at int) {
	length := len(packet) + zeros
	if length > 65535 {
		panic(fmt.Sprintf("pktgen: a packet of %d bytes", length))
	}
	var pseudo uint64 // the sum of the pseudo-header
	if packet[0]>>4 == 4 {
		be.PutUint16(packet[2:], uint16(length))
		be.PutUint16(packet[10:], fold(sum(packet[:inet.IPv4Size])))
		pseudo = sum(packet[12:20])
	} else {
		be.PutUint16(packet[4:], uint16(length-inet.IPv6Size))
		pseudo = sum(packet[8:40])
	}
	if proto == inet.ProtoICMP { // has no pseudo-header
		pseudo = 0
	} else {
		pseudo += uint64(proto) + uint64(len(body)+zeros)
	}
	be.PutUint16(body[at:], fold(pseudo+sum(body)))
}

// sum adds up the 16-bit words of b, the last one filled up with zero, or what
// is the same modulo 2^16-1, its 32-bit words (RFC 1071 §2).
func sum(b []byte) (total uint64) {
	for ; len(b) >= 4; b = b[4:] {
		total += uint64(be.Uint32(b))
	}
	for ; len(b) >= 2; b = b[2:] {
		total += uint64(be.Uint16(b))
	}
	if len(b) > 0 {
		total += uint64(b[0]) << 8
	}
	return total
}

// fold makes a checksum of a sum.
func fold(total uint64) uint16 {
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}
