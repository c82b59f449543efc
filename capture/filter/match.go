package filter

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// A test is one thing to find out about a packet.
type test struct {
	kind      testKind
	place     place        // where it is looked for
	dir       direction    // of addresses and ports
	on        networkSet   // of testIPv4 and testProto
	over      transportSet // of testPort
	low, high uint16       // of testPort: the range, ends included
	num       uint32       // of testType, testProto and the headers stepped over: the number wanted
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
	testMPLS                      // an MPLS label
	testPPPoE                     // the header of a PPPoE session
	testGeneve                    // a Geneve header, in UDP
	testRelation                  // arithmetic
)

// anyNumber asks for a tag, a label and so on of whatever number.
const anyNumber = 1 << 24

// A place is where a test looks: behind the headers that were stepped over.
type place struct {
	in     *tunnel // whose tags and labels these are; nil: those of the frame
	tags   uint8   // how many VLAN tags
	labels uint8   // how many MPLS labels, behind them
}

// A tunnel is a header with a link layer of its own behind it.
type tunnel struct {
	kind testKind // testPPPoE or testGeneve
	at   place
}

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
	cut     bool // a test needed octets beyond the end: the packet does not match

	place                   // where the test at hand looks
	kind    pcap.LayoutKind // of the link layer there
	start   int             // where that begins,
	typeAt  int             // where it says what it carries,
	network int             // and where that begins

	tcp int // where findTCP found the header
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
	return v.kind == pcap.LayoutEthernet || v.kind == pcap.LayoutCooked || v.kind == pcap.LayoutCooked2
}

// labelled reports whether frames may have MPLS labels.
func (v *view) labelled() bool {
	return v.tagged() || v.kind == pcap.LayoutType || v.kind == pcap.LayoutPPP
}

// open looks at the frame itself.
func (v *view) open(layout *pcap.Layout) {
	v.kind, v.start, v.typeAt, v.network = layout.Kind, int(layout.Start), int(layout.TypeAt), int(layout.Network)
}

// move looks at another place.
func (v *view) move(to place, layout *pcap.Layout) {
	v.open(layout)
	if to.in != nil {
		v.move(to.in.at, layout)
		v.enter(to.in.kind)
	}
	v.place = to
	if to.tags > 0 && v.tagged() {
		v.network += 4 * int(to.tags)
		v.typeAt += 4 * int(to.tags)
		if v.kind == pcap.LayoutCooked2 { // its own type is not next to what it carries
			v.typeAt = v.network - 2
		}
	}
	if v.labelled() {
		v.network += 4 * int(to.labels)
	} else {
		v.labels = 0
	}
}

// enter steps over the header of a tunnel. As with tags, it does not ask whether
// a PPPoE header is there; but behind what is no Geneve header is nothing.
func (v *view) enter(kind testKind) {
	if kind == testPPPoE {
		v.kind, v.start = pcap.LayoutPPP, v.network+6
		v.typeAt, v.network = v.start, v.start+2
		return
	}
	const bridged = 0x6558
	at, ok := v.findGeneve()
	if !ok {
		v.open(&pcap.Layout{})
		return
	}
	v.typeAt = at + 2
	v.start = at + 8 + int(v.u8(at)&63)*4
	v.network = v.start
	v.kind = pcap.LayoutEthernet // has an EtherType, whether there is a frame or not
	if v.u16(v.typeAt) == bridged {
		v.typeAt, v.network = v.start+12, v.start+inet.EthernetSize
	}
}

// noType is what carries returns where there is no EtherType to return.
const noType = 1 << 16

// carries returns the EtherType of what is at the place, or what stands in its
// place.
func (v *view) carries() uint32 {
	if v.labels > 0 {
		if !v.lastLabel() {
			return noType
		}
		return v.version()
	}
	switch v.kind {
	case pcap.LayoutEthernet, pcap.LayoutCooked, pcap.LayoutCooked2, pcap.LayoutType:
		return v.u16(v.typeAt)
	case pcap.LayoutVersion:
		return v.version()
	case pcap.LayoutIPv4:
		return inet.TypeIPv4
	case pcap.LayoutIPv6:
		return inet.TypeIPv6
	case pcap.LayoutPPP:
		switch proto := v.u16(v.typeAt); proto {
		case 0x21:
			return inet.TypeIPv4
		case 0x57:
			return inet.TypeIPv6
		case inet.TypeARP, inet.TypeRARP:
			return proto
		}
	case pcap.LayoutNull, pcap.LayoutLoop:
		return familyType(v.u32(0), v.kind == pcap.LayoutNull)
	}
	return noType
}

// version returns the EtherType that the first octet of an IP header tells.
func (v *view) version() uint32 {
	switch v.u8(v.network) >> 4 {
	case 4:
		return inet.TypeIPv4
	case 6:
		return inet.TypeIPv6
	}
	return noType
}

// lastLabel reports whether the label stepped over last is the last one.
func (v *view) lastLabel() bool { return v.u8(v.network-2)&1 != 0 }

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
func (v *view) test(t *test, layout *pcap.Layout) bool {
	if t.place != v.place {
		v.move(t.place, layout)
	}
	switch t.kind {
	case testType:
		return v.isType(t.num)
	case testProto:
		return v.isProto(t.num, t.on)
	case testIPv4:
		return v.isIPv4(t)
	case testIPv6:
		return v.carries() == inet.TypeIPv6 && v.eitherWay(t, v.network, 8, 24)
	case testEtherHost:
		return v.kind == pcap.LayoutEthernet && v.typeAt-4*int(v.tags) > v.start && v.eitherWay(t, v.start, 6, 0)
	case testPort:
		return v.isPort(t)
	case testVLAN:
		return v.isVLAN(t)
	case testMPLS:
		return v.isMPLS(t)
	case testPPPoE:
		return v.isType(inet.TypePPPoE) && (t.num == anyNumber || v.u32(v.network)&0xffff == t.num)
	case testGeneve:
		at, ok := v.findGeneve()
		return ok && (t.num == anyNumber || v.u32(at+4)>>8 == t.num)
	}
	return v.relation(t.rel)
}

// isType also knows the numbers of LLC, which are smaller than any EtherType.
func (v *view) isType(num uint32) bool {
	const maxLength = 1500 // of an 802.3 frame
	switch {
	case v.labels > 0:
	case v.kind == pcap.LayoutVersion:
		if num != inet.TypeIPv4 && num != inet.TypeIPv6 {
			return false
		}
	case v.kind == pcap.LayoutPPP:
		return v.u16(v.typeAt) == pppType(num)
	case v.kind == pcap.LayoutEthernet, v.kind == pcap.LayoutCooked:
		if num > maxLength {
			break
		}
		carries := v.carries()
		if v.kind == pcap.LayoutEthernet && carries > maxLength ||
			v.kind == pcap.LayoutCooked && carries != 4 {
			return false
		}
		switch num {
		case 0x06, 0xf0, 0xfe: // IP, NetBEUI and OSI are at both ends of the frame
			return v.u16(v.network) == num<<8|num
		default:
			return v.u8(v.network) == num
		}
	}
	return v.carries() == num
}

// pppType returns the protocol of PPP that an EtherType or a number of LLC
// stands for.
func pppType(num uint32) uint32 {
	switch num {
	case inet.TypeIPv4:
		return 0x21
	case 0xfe: // OSI
		return 0x23
	case 0x600: // XNS
		return 0x25
	case 0x6003: // DECnet
		return 0x27
	case 0x42: // spanning tree
		return 0x31
	case inet.TypeIPv6:
		return 0x57
	}
	return num
}

// isProto looks behind a fragment header of IPv6, but no other.
func (v *view) isProto(number uint32, on networkSet) bool {
	at := v.network
	switch v.carries() {
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
	at := v.network
	switch v.carries() {
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
	at := v.network
	switch v.carries() {
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
	switch v.carries() {
	case inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld:
		return t.num == anyNumber || v.u16(v.network)&0xfff == t.num
	}
	return false
}

// isMPLS asks for a label behind those stepped over, or for the first one.
func (v *view) isMPLS(t *test) bool {
	switch {
	case !v.labelled():
		return false
	case t.place.labels > 0:
		if v.lastLabel() {
			return false
		}
	case v.kind == pcap.LayoutPPP:
		if v.u16(v.typeAt) != 0x281 {
			return false
		}
	case !v.isType(inet.TypeMPLS):
		return false
	}
	return t.num == anyNumber || v.u32(v.network)>>12 == t.num
}

// findGeneve returns where a Geneve header of version 0 begins, if there is one.
func (v *view) findGeneve() (at int, ok bool) {
	if !v.isPort(&test{dir: dirDst, over: onUDP, low: genevePort, high: genevePort}) {
		return 0, false
	}
	at = v.network + inet.IPv6Size
	if v.carries() == inet.TypeIPv4 {
		at = v.network + int(v.u8(v.network)&15)*4
	}
	at += 8 // of UDP
	if v.u8(at)>>6 != 0 {
		return 0, false
	}
	v.u16(at + 2) // what is inside must have been captured, even if nobody asks
	return at, true
}

const genevePort = 6081

// has reports whether the packet has a header that octets are to be loaded
// from.
func (v *view) has(proto *protocol) bool {
	at := v.network
	switch {
	case proto.etherType != 0:
		return v.isType(uint32(proto.etherType))
	case proto.over == onIPv6:
		return v.carries() == inet.TypeIPv6 && v.u8(at+6) == proto.number
	}
	return v.carries() == inet.TypeIPv4 && v.u8(at+9) == proto.number && v.u16(at+6)&0x1fff == 0
}

// findTCP looks for a TCP header behind IPv4, or behind IPv6 and extension
// headers, and not in a fragment other than the first.
func (v *view) findTCP() bool {
	at := v.network
	switch v.carries() {
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
