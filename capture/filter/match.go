package filter

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// A test is one thing to find out about a packet.
type test struct {
	kind      testKind
	depth     uint8        // how many VLAN tags stand before the header looked at
	dir       direction    // of addresses and ports
	on        networkSet   // of testIPv4 and testProto
	over      transportSet // of testPort
	low, high uint16       // of testPort: the range, ends included
	num       uint32       // of testType, testProto and testVLAN: the number wanted
	addr      [4]uint32    // of testIPv4 (in the first), testIPv6 and testEtherHost (16 bits, then 32)
	mask      [4]uint32    // of testIPv4 and testIPv6: which bits of addr count
	rel       *relation

	yes, no int32 // where to go on
}

type testKind uint8

const (
	testType      testKind = iota // the protocol that the link layer carries
	testProto                     // the protocol that IP carries
	testIPv4                      // addresses of IPv4, ARP and RARP
	testIPv6                      // addresses of IPv6
	testEtherHost                 // addresses of Ethernet
	testPort                      // ports of TCP, UDP and SCTP
	testVLAN                      // a VLAN tag
	testRelation                  // arithmetic
)

// anyVLAN asks for a tag, of whatever number.
const anyVLAN = 1 << 16

type direction uint8

const (
	dirEither direction = iota // source or destination
	dirBoth                    // source and destination
	dirSrc
	dirDst
)

// A networkSet is a set of protocols right above the link layer.
type networkSet uint8

const (
	onIPv4 networkSet = 1 << iota
	onIPv6
	onARP
	onRARP
)

// A transportSet is a set of protocols with ports.
type transportSet uint8

const (
	onTCP transportSet = 1 << iota
	onUDP
	onSCTP
)

// has reports whether the set holds the protocol of that number.
func (s transportSet) has(number uint32) bool {
	switch number {
	case inet.ProtoTCP:
		return s&onTCP != 0
	case inet.ProtoUDP:
		return s&onUDP != 0
	case inet.ProtoSCTP:
		return s&onSCTP != 0
	}
	return false
}

// needsNetwork reports whether the test looks beyond the link layer.
func (t *test) needsNetwork() bool {
	return t.kind != testRelation || len(t.rel.needs) > 0 || t.rel.flags
}

// A view is a packet as a filter sees it.
type view struct {
	data    []byte
	wireLen uint32
	layout  *pcap.Layout
	cut     bool // a test needed octets beyond the end: the packet does not match

	// For the relation at hand.
	tags uint8 // how many VLAN tags stand before its headers
	tcp  int   // where findTCP found the header
}

func (v *view) u8(at int) uint32 {
	if at >= len(v.data) {
		v.cut = true
		return 0
	}
	return uint32(v.data[at])
}

func (v *view) u16(at int) uint32 {
	if at+2 > len(v.data) {
		v.cut = true
		return 0
	}
	return uint32(binary.BigEndian.Uint16(v.data[at:]))
}

func (v *view) u32(at int) uint32 {
	if at+4 > len(v.data) {
		v.cut = true
		return 0
	}
	return binary.BigEndian.Uint32(v.data[at:])
}

// tagged reports whether frames may have VLAN tags.
func (v *view) tagged() bool {
	k := v.layout.Kind
	return k == pcap.LayoutEthernet || k == pcap.LayoutCooked || k == pcap.LayoutCooked2
}

// network returns where the network header begins, behind so many VLAN tags.
func (v *view) network(tags uint8) int {
	at := int(v.layout.Network)
	if v.tagged() {
		at += 4 * int(tags)
	}
	return at
}

// noType is what carries returns where there is no EtherType to return.
const noType = 1 << 16

// carries returns the EtherType of what is behind so many VLAN tags, or what
// stands in its place.
func (v *view) carries(tags uint8) uint32 {
	switch v.layout.Kind {
	case pcap.LayoutEthernet, pcap.LayoutCooked, pcap.LayoutCooked2:
		if tags > 0 {
			return v.u16(v.network(tags) - 2)
		}
		return v.u16(int(v.layout.TypeAt))
	case pcap.LayoutType:
		return v.u16(int(v.layout.TypeAt))
	case pcap.LayoutVersion:
		switch v.u8(0) >> 4 {
		case 4:
			return inet.TypeIPv4
		case 6:
			return inet.TypeIPv6
		}
	case pcap.LayoutIPv4:
		return inet.TypeIPv4
	case pcap.LayoutIPv6:
		return inet.TypeIPv6
	case pcap.LayoutPPP:
		switch v.u16(int(v.layout.TypeAt)) {
		case 0x21:
			return inet.TypeIPv4
		case 0x57:
			return inet.TypeIPv6
		}
	case pcap.LayoutNull, pcap.LayoutLoop:
		return familyType(v.u32(0), v.layout.Kind == pcap.LayoutNull)
	}
	return noType
}

// familyType returns the EtherType of an address family. That of IPv6 differs
// from system to system.
func familyType(family uint32, swapped bool) uint32 {
	if swapped && family > 0xffff {
		family = family>>24 | family>>8&0xff00
	}
	switch family {
	case 2:
		return inet.TypeIPv4
	case 10, 24, 28, 30: // Linux, the BSDs, FreeBSD, macOS
		return inet.TypeIPv6
	}
	return noType
}

// test reports whether one thing is so. It means nothing if the view is cut
// afterwards.
func (v *view) test(t *test) bool {
	switch t.kind {
	case testType:
		return v.isType(t)
	case testProto:
		return v.isProto(t.num, t.on, t.depth)
	case testIPv4:
		return v.isIPv4(t)
	case testIPv6:
		return v.carries(t.depth) == inet.TypeIPv6 && v.eitherWay(t, v.network(t.depth), 8, 24)
	case testEtherHost:
		return v.layout.Kind == pcap.LayoutEthernet && v.eitherWay(t, int(v.layout.Start), 6, 0)
	case testPort:
		return v.isPort(t)
	case testVLAN:
		return v.isVLAN(t)
	}
	return v.relation(t.rel, t.depth)
}

// isType also knows the numbers of LLC, which are smaller than any EtherType.
func (v *view) isType(t *test) bool {
	const maxLength = 1500 // of an 802.3 frame
	switch v.layout.Kind {
	case pcap.LayoutVersion:
		if t.num != inet.TypeIPv4 && t.num != inet.TypeIPv6 {
			return false
		}
	case pcap.LayoutEthernet, pcap.LayoutCooked:
		if t.num > maxLength {
			break
		}
		carries := v.carries(t.depth)
		if v.layout.Kind == pcap.LayoutEthernet && carries > maxLength ||
			v.layout.Kind == pcap.LayoutCooked && carries != 4 {
			return false
		}
		switch at := v.network(t.depth); t.num {
		case 0x06, 0xf0, 0xfe: // IP, NetBEUI and OSI are at both ends of the frame
			return v.u16(at) == t.num<<8|t.num
		default:
			return v.u8(at) == t.num
		}
	}
	return v.carries(t.depth) == t.num
}

// isProto looks behind a fragment header of IPv6, but no other.
func (v *view) isProto(number uint32, on networkSet, depth uint8) bool {
	at := v.network(depth)
	switch v.carries(depth) {
	case inet.TypeIPv4:
		return on&onIPv4 != 0 && v.u8(at+9) == number
	case inet.TypeIPv6:
		if on&onIPv6 == 0 {
			return false
		}
		next := v.u8(at + 6)
		return next == number || next == inet.ProtoFragment && v.u8(at+inet.IPv6Size) == number
	}
	return false
}

func (v *view) isIPv4(t *test) bool {
	at := v.network(t.depth)
	switch v.carries(t.depth) {
	case inet.TypeIPv4:
		return t.on&onIPv4 != 0 && v.eitherWay(t, at, 12, 16)
	case inet.TypeARP:
		return t.on&onARP != 0 && v.eitherWay(t, at, 14, 24)
	case inet.TypeRARP:
		return t.on&onRARP != 0 && v.eitherWay(t, at, 14, 24)
	}
	return false
}

// eitherWay compares the addresses at src and dst of the header at that place,
// or the one of them that the test is about.
func (v *view) eitherWay(t *test, header, src, dst int) bool {
	switch t.dir {
	case dirSrc:
		return v.isAddress(t, header+src)
	case dirDst:
		return v.isAddress(t, header+dst)
	case dirBoth:
		return v.isAddress(t, header+src) && v.isAddress(t, header+dst)
	}
	return v.isAddress(t, header+src) || v.isAddress(t, header+dst)
}

func (v *view) isAddress(t *test, at int) bool {
	switch t.kind {
	case testEtherHost:
		return v.u32(at+2) == t.addr[1] && v.u16(at) == t.addr[0]
	case testIPv4:
		// Octets that do not count need not have been captured.
		return t.mask[0] == 0 || v.u32(at)&t.mask[0] == t.addr[0]
	}
	for i, mask := range t.mask {
		if mask != 0 && (v.u32(at+4*i)&mask != t.addr[i] || v.cut) {
			return false
		}
	}
	return true
}

// isPort finds no ports in fragments of IPv4 other than the first, and none
// behind extension headers of IPv6.
func (v *view) isPort(t *test) bool {
	at := v.network(t.depth)
	switch v.carries(t.depth) {
	case inet.TypeIPv4:
		if !t.over.has(v.u8(at+9)) || v.u16(at+6)&0x1fff != 0 {
			return false
		}
		at += int(v.u8(at)&15) * 4
	case inet.TypeIPv6:
		if !t.over.has(v.u8(at + 6)) {
			return false
		}
		at += inet.IPv6Size
	default:
		return false
	}
	switch t.dir {
	case dirSrc:
		return v.inRange(t, at)
	case dirDst:
		return v.inRange(t, at+2)
	case dirBoth:
		return v.inRange(t, at) && v.inRange(t, at+2)
	}
	return v.inRange(t, at) || v.inRange(t, at+2)
}

func (v *view) inRange(t *test, at int) bool {
	port := v.u16(at)
	return port >= uint32(t.low) && port <= uint32(t.high)
}

func (v *view) isVLAN(t *test) bool {
	if !v.tagged() {
		return false
	}
	switch v.carries(t.depth) {
	case inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld:
		return t.num == anyVLAN || v.u16(v.network(t.depth))&0xfff == t.num
	}
	return false
}

// has reports whether the packet has a header that octets are to be loaded
// from.
func (v *view) has(proto *protocol) bool {
	at := v.network(v.tags)
	switch {
	case proto.etherType != 0:
		return v.isType(&test{kind: testType, num: uint32(proto.etherType), depth: v.tags})
	case proto.over == onIPv6:
		return v.carries(v.tags) == inet.TypeIPv6 && v.u8(at+6) == proto.number
	}
	return v.carries(v.tags) == inet.TypeIPv4 && v.u8(at+9) == proto.number && v.u16(at+6)&0x1fff == 0
}

// findTCP looks for a TCP header behind IPv4, or behind IPv6 and extension
// headers, and not in a fragment other than the first.
func (v *view) findTCP() bool {
	at := v.network(v.tags)
	switch v.carries(v.tags) {
	case inet.TypeIPv4:
		v.tcp = at + int(v.u8(at)&15)*4
		return v.u8(at+9) == inet.ProtoTCP && v.u16(at+6)&0x1fff == 0
	case inet.TypeIPv6:
	default:
		return false
	}
	next := v.u8(at + 6)
	at += inet.IPv6Size
	for range inet.MaxExtensions {
		switch next {
		case inet.ProtoTCP:
			v.tcp = at
			return true
		case inet.ProtoFragment:
			if v.u16(at+2)>>3 != 0 {
				return false
			}
			next, at = v.u8(at), at+8
		case inet.ProtoAH:
			next, at = v.u8(at), at+4*int(v.u8(at+1)+2)
		case inet.ProtoHopByHop, inet.ProtoRouting, inet.ProtoDestOpts:
			next, at = v.u8(at), at+8*int(v.u8(at+1)+1)
		default:
			return false
		}
	}
	return false
}
