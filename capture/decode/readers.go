package decode

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// What reads the headers of the table that take more than a line. A header that
// is cut makes the packet undecodable: TCP may have been behind it.

const (
	portVXLAN  = 4789 // RFC 7348
	portGeneve = 6081 // RFC 8926

	greERSPAN1 = 0x0001 // type I has the number of type II
	greERSPAN2 = 0x88be
	greERSPAN3 = 0x22eb
)

// wifiEither is 802.11 in CAPWAP, whose first two octets many controllers swap.
var wifiEither = link(0xffff)

// cut is what is behind a header that is not all there.
var cutOff = frame{wire: -1}

// skip returns the frame behind a header of n octets, or cutOff.
func (f frame) skip(n int) frame {
	if rest, ok := f.after(n); ok {
		return rest
	}
	return cutOff
}

// atMost returns the frame without what is behind n octets of it.
func (f frame) atMost(n int) frame {
	if n < f.wire && n >= 0 {
		return f.limit(n)
	}
	return f
}

// typed is what an Ethernet type names where there can be no length.
func typed(kind uint16) place {
	if kind < inet.MinType {
		return aNothing
	}
	return ether(kind)
}

// isIP reports whether a frame is surely an IP packet: its length fits, and the
// checksum of its header is right.
func (f frame) isIP() bool {
	switch h := f.data; {
	case len(h) >= inet.IPv4Size && h[0]>>4 == 4:
		size, total := int(h[0]&0xf)*4, int(be16(h[2:]))
		return size >= inet.IPv4Size && size <= total && total <= f.wire && size <= len(h) &&
			fold(addOctets(0, h[:size])) == 0xffff
	case len(h) >= inet.IPv6Size && h[0]>>4 == 6:
		length := int(be16(h[4:]))
		return length > 0 && inet.IPv6Size+length <= f.wire && f.wire-inet.IPv6Size-length < 64 // padding
	}
	return false
}

// isEthernet reports whether a frame is surely Ethernet, with IP or ARP in it.
func (f frame) isEthernet() bool {
	at := inet.EthernetSize
	for ; at <= len(f.data); at += 4 {
		switch be16(f.data[at-2:]) {
		case inet.TypeIPv4, inet.TypeIPv6:
			return f.skip(at).isIP()
		case inet.TypeARP:
			return len(f.data) >= at+4 && be32(f.data[at:]) == 1<<16|inet.TypeIPv4
		case inet.TypeVLAN, inet.TypeQinQ:
		default:
			return false
		}
	}
	return false
}

// guess finds the frame behind a header whose length only the two ends know: of
// cookies, sublayers, and the link layers of IP that have a multiple of four octets.
func guess(f frame) (frame, place) {
	for n := 0; n <= 16; n += 4 {
		switch rest := f.skip(n); {
		case rest.isEthernet():
			return rest, aFrame
		case rest.isIP():
			return rest, anIP
		}
	}
	if f.wire < 0 {
		return f, aNothing
	}
	return f, notOpened
}

// isVXLAN reports whether a UDP payload is surely VXLAN, whatever its port.
func (f frame) isVXLAN() bool { return mayVXLAN(f.data) && f.skip(8).isEthernet() }

// mayVXLAN looks at the bits of a VXLAN header that are always the same.
func mayVXLAN(b []byte) bool {
	return len(b) >= 8 && be32(b) == 0x08000000 && b[7] == 0
}

// readEthernet knows ISL besides, a frame around a frame that its destination tells.
func readEthernet(f frame) (frame, place) {
	const isl = 26
	h := f.data
	if kind := be16(h[12:]); kind < inet.MinType && (h[0] == 0x01 || h[0] == 0x0c) && h[1] == 0 && be16(h[2:]) == 0x0c00 && h[4] == 0 {
		return f.skip(isl), aFrame
	}
	return f.skip(inet.EthernetSize), ether(be16(h[12:]))
}

func readCooked(f frame) (frame, place) { return readCookedAs(be16(f.data[14:]), f.skip(16)) }

// readCookedAs reads what a Linux cooked capture header says: an Ethernet type, or
// a number below these for what has none.
func readCookedAs(kind uint16, rest frame) (frame, place) {
	const protocolLLC = 4 // ETH_P_802_2
	if kind == protocolLLC {
		return rest, anLLC
	}
	return rest, typed(kind)
}

// readMPLS reads a label stack. It does not say what is behind it: IP is told by
// its version, and a first nibble of 0 is the control word of a pseudowire
// (RFC 4385 §3), which is taken to carry Ethernet. Without one Ethernet is told by
// what it carries.
func readMPLS(f frame) (frame, place) {
	for bottom := false; !bottom; f = f.skip(4) {
		if len(f.data) < 4 {
			return cutOff, aNothing
		}
		bottom = f.data[2]&1 != 0
	}
	if len(f.data) == 0 {
		return cutOff, aNothing
	}
	nibble := f.data[0] >> 4
	switch {
	case f.isEthernet() && !f.isIP():
		return f, aFrame
	case nibble == 4 || nibble == 6:
		return f, anIP
	case nibble == 0:
		return f.skip(4), aFrame
	case nibble == 1: // the channel for its own management
		return f, aNothing
	}
	return f, notOpened
}

// readPPPoE reads the header of a PPPoE session (RFC 2516 §4).
func readPPPoE(f frame) (frame, place) {
	if f.data[0] != 0x11 || f.data[1] != 0 { // version and type 1, session data
		return f, aNothing
	}
	return f.skip(6).atMost(int(be16(f.data[4:]))), aPPP
}

// readPPP reads PPP, whose address and control octets, and the first octet of
// whose protocol, may have been compressed away (RFC 1661 §6.5, §6.6).
func readPPP(f frame) (frame, place) {
	if len(f.data) >= 2 && f.data[0] == 0xff && f.data[1] == 0x03 {
		f = f.skip(2)
	}
	switch {
	case len(f.data) == 0:
	case f.data[0]&1 != 0:
		return f.skip(1), place{pppType, uint16(f.data[0])}
	case len(f.data) >= 2:
		return f.skip(2), place{pppType, be16(f.data)}
	}
	return cutOff, aNothing
}

// isCisco reports whether Cisco HDLC begins with an octet, and not PPP.
func isCisco(first byte) bool { return first == 0x0f || first == 0x8f }

// readNSH reads a network service header (RFC 8300 §2).
func readNSH(f frame) (frame, place) {
	size := int(be16(f.data)&0x3f) * 4
	if size < 8 {
		return cutOff, aNothing
	}
	return f.skip(size), nextProtocol(f.data[3])
}

// nextProtocol is what NSH and VXLAN-GPE number alike.
func nextProtocol(n uint8) place {
	switch n {
	case 1:
		return anIPv4
	case 2:
		return anIPv6
	case 3:
		return aFrame
	case 4:
		return ether(0x894f)
	case 5:
		return anMPLS
	}
	return notOpened
}

// readMetadata reads Cisco's metadata: version, how many words of options, these,
// an Ethernet type.
func readMetadata(f frame) (frame, place) {
	size := 2 + 4*int(f.data[1])
	rest := f.skip(size)
	if len(rest.data) < 2 {
		return cutOff, aNothing
	}
	return rest.skip(2), ether(be16(rest.data))
}

// readMACsec reads a security tag (IEEE 802.1AE §9). What is not encrypted has an
// Ethernet type behind it, and a check value at the end.
func readMACsec(f frame) (frame, place) {
	const hasID, isEncrypted, checkValue = 0x20, 0x0c, 16
	if f.data[0]&isEncrypted != 0 {
		return f, encrypted
	}
	size := 6
	if f.data[0]&hasID != 0 {
		size += 8
	}
	rest := f.atMost(f.wire - checkValue).skip(size)
	if len(rest.data) < 2 {
		return cutOff, aNothing
	}
	return rest.skip(2), ether(be16(rest.data))
}

// readBatman reads a packet of batman-adv, of the kinds that carry a frame, which
// version 15 numbered anew.
func readBatman(f frame) (frame, place) {
	kind := f.data[0]
	if f.data[1] < 15 {
		kind = map[uint8]uint8{3: 0x40, 4: 0x01, 6: 0x41, 9: 0x42}[kind]
	}
	switch kind {
	case 0x40:
		return f.skip(10), aFrame
	case 0x42: // four addresses
		return f.skip(18), aFrame
	case 0x01: // to all
		return f.skip(14), aFrame
	case 0x41:
		return f, inPieces
	case 0x02, 0x05: // combined with another; to several
		return f, notOpened
	}
	return f, aNothing
}

// readGRE reads a GRE header (RFC 2784, RFC 2890), with source routing (RFC 1701)
// and as PPTP has it (RFC 2637 §4.1).
func readGRE(f frame) (frame, place) {
	const hasChecksum, hasRouting, hasKey, hasSequence, hasAck, version = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007
	flags, kind, size := be16(f.data), be16(f.data[2:]), 4
	if flags&hasRouting != 0 {
		flags |= hasChecksum // both fields are there if either is
	}
	for _, field := range [...]uint16{hasChecksum, hasKey, hasSequence} {
		if flags&field != 0 {
			size += 4
		}
	}
	switch flags & version {
	case 0:
	case 1:
		if flags&hasSequence == 0 { // acknowledges, and carries nothing
			return f, aNothing
		}
		if flags&hasAck != 0 {
			size += 4
		}
		if len(f.data) < 8 {
			return cutOff, aNothing
		}
		return f.skip(size).atMost(int(be16(f.data[4:]))), place{greType, kind}
	default:
		return f, notOpened
	}
	rest := f.skip(size)
	for more := flags&hasRouting != 0; more; { // up to an entry of length 0
		if len(rest.data) < 4 {
			return cutOff, aNothing
		}
		length := int(rest.data[3])
		more = length > 0
		rest = rest.skip(4 + length)
	}
	if kind == greERSPAN2 && flags&hasSequence == 0 {
		kind = greERSPAN1
	}
	if table.get(place{greType, kind}) != nil {
		return rest, place{greType, kind}
	}
	return rest, typed(kind)
}

// readERSPAN3 reads the header of a mirrored frame, which may have a subheader.
func readERSPAN3(f frame) (frame, place) {
	size, last := 12, be16(f.data[10:])
	if last&1 != 0 {
		size += 8
	}
	switch last >> 10 & 0x1f {
	case 0:
		return f.skip(size), aFrame
	case 2:
		return f.skip(size), anIP
	}
	return f, notOpened
}

// readVXLAN reads a VXLAN header (RFC 7348 §5), which may say what is inside in
// its last reserved octet, as VXLAN-GPE does.
func readVXLAN(f frame) (frame, place) {
	const validID, policy, hasNext, management = 0x08, 0x80, 0x04, 0x01
	switch flags := f.data[0]; {
	case flags&validID == 0:
		return f, notOpened
	case flags&(policy|hasNext) != hasNext:
		return f.skip(8), aFrame
	case flags&management != 0:
		return f, aNothing
	}
	return f.skip(8), nextProtocol(f.data[3])
}

// readGTP reads a GTP-U header (3GPP TS 29.281 §5.1), or one of version 0.
func readGTP(f frame) (frame, place) {
	const isUser, hasMore, user = 0x10, 0x07, 0xff
	h := f.data
	if h[1] != user || h[0]&isUser == 0 {
		return f, aNothing
	}
	switch h[0] >> 5 {
	case 0:
		return userPacket(f.skip(20))
	case 1:
	default:
		return f, aNothing
	}
	f = f.atMost(8 + int(be16(h[2:])))
	size := 8
	if h[0]&hasMore != 0 {
		size = 12
		for { // extension headers, each with the kind of the next at its end
			if len(h) < size+1 {
				return cutOff, aNothing
			}
			if h[size-1] == 0 {
				break
			}
			length := 4 * int(h[size])
			if length == 0 {
				return f, notOpened
			}
			size += length
		}
	}
	return userPacket(f.skip(size))
}

// userPacket tells what a mobile network carries for its users.
func userPacket(f frame) (frame, place) {
	switch {
	case len(f.data) == 0:
		return cutOff, aNothing
	case f.isEthernet() && !f.isIP():
		return f, aFrame
	case f.data[0]>>4 == 4, f.data[0]>>4 == 6:
		return f, anIP
	case len(f.data) >= 2 && be16(f.data) == 0xff03:
		return f, aPPP
	}
	return f, notOpened
}

// readL2TP reads a message of L2TPv2 (RFC 2661 §3.1) or of L2TPv3 (RFC 3931 §4.1.2).
func readL2TP(f frame) (frame, place) {
	const isControl, hasLength, hasSequence, hasOffset = 0x8000, 0x4000, 0x0800, 0x0200
	flags, size := be16(f.data), 6
	switch {
	case flags&isControl != 0:
		return f, aNothing
	case flags == 3:
		return guess(f.skip(8))
	case flags&0x34ff != 2: // what is reserved, and the version
		return f, notOpened
	}
	if flags&hasLength != 0 {
		if len(f.data) < 4 {
			return cutOff, aNothing
		}
		f = f.atMost(int(be16(f.data[2:])))
		size += 2
	}
	if flags&hasSequence != 0 {
		size += 4
	}
	if flags&hasOffset != 0 {
		rest := f.skip(size)
		if len(rest.data) < 2 {
			return cutOff, aNothing
		}
		size += 2 + int(be16(rest.data))
	}
	return f.skip(size), aPPP
}

// readTZSP reads a header of TaZmen's sniffer protocol: four octets, then tags up
// to one that ends them.
func readTZSP(f frame) (frame, place) {
	const padding, end = 0, 1
	if f.data[0] != 1 || f.data[1] > 1 { // version; received, or to be sent
		return f, aNothing
	}
	in, known := map[uint16]place{
		1: aFrame, 2: link(pcap.LinkTokenRing), 4: aPPP, 5: link(pcap.LinkFDDI), 7: anIP, 18: aWiFi,
		119: link(pcap.LinkPrism), 127: link(pcap.LinkAVS),
	}[be16(f.data[2:])]
	if !known {
		return f, notOpened
	}
	f = f.skip(4)
	for len(f.data) > 0 {
		switch tag := f.data[0]; {
		case tag == end:
			return f.skip(1), in
		case tag == padding:
			f = f.skip(1)
		case len(f.data) < 2:
			return cutOff, aNothing
		default:
			f = f.skip(2 + int(f.data[1]))
		}
	}
	return cutOff, aNothing
}

// readGUE reads generic UDP encapsulation: a header, or (version 1) IP at once.
func readGUE(f frame) (frame, place) {
	const isControl = 0x20
	switch h := f.data; {
	case h[0]>>6 == 1:
		return f, anIP
	case h[0]>>6 != 0:
		return f, notOpened
	case h[0]&isControl != 0:
		return f, aNothing
	default:
		return f.skip(4 + 4*int(h[0]&0x1f)), place{ipProto, uint16(h[1])}
	}
}

// readCAPWAP reads a data header (RFC 5415 §4.3).
func readCAPWAP(f frame) (frame, place) {
	const native, wifi, isFragment, isAlive = 0x01, 1, 0x80, 0x08
	h := f.data
	switch {
	case h[0] == 1: // version 0, and DTLS follows
		return f, encrypted
	case h[0] != 0:
		return f, notOpened
	case h[3]&isAlive != 0:
		return f, aNothing
	case h[3]&isFragment != 0:
		return f, inPieces
	}
	rest := f.skip(4 * int(h[1]>>3))
	switch {
	case h[2]&native == 0:
		return rest, aFrame
	case h[2]>>1&0x1f == wifi:
		return rest, wifiEither
	}
	return rest, notOpened
}

// readAYIYA reads its header: an identity and a signature of the lengths that the
// first octets say.
func readAYIYA(f frame) (frame, place) {
	h := f.data
	if h[2]&0xf != 1 { // forward
		return f, aNothing
	}
	return f.skip(8 + 1<<(h[0]>>4) + 4*int(h[1]>>4)), place{ipProto, uint16(h[3])}
}

// readTeredo passes over an authentication and an origin (RFC 4380 §5.1.1).
func readTeredo(f frame) (frame, place) {
	if h := f.data; len(h) >= 4 && be16(h) == 1 {
		f = f.skip(13 + int(h[2]) + int(h[3]))
	}
	if h := f.data; len(h) >= 2 && be16(h) == 0 {
		f = f.skip(8)
	}
	if len(f.data) > 0 && f.data[0]>>4 != 6 {
		return f, notOpened
	}
	return f, anIPv6
}

// readFrameRelay reads an address of two to four octets, then what RFC 2427
// puts there, or an Ethernet type, as Cisco's routers do.
func readFrameRelay(f frame) (frame, place) {
	for n := 0; ; n++ { // the last octet of the address is odd
		if len(f.data) == 0 || n == 4 {
			return cutOff, aNothing
		}
		last := f.data[0]&1 != 0
		if f = f.skip(1); last {
			break
		}
	}
	if len(f.data) < 3 {
		return cutOff, aNothing
	}
	if f.data[0] != 0x03 {
		return f.skip(2), typed(be16(f.data))
	}
	if f = f.skip(1); f.data[0] == 0 { // padding
		f = f.skip(1)
	}
	kind := f.data[0]
	switch f = f.skip(1); kind {
	case 0xcc:
		return f, anIPv4
	case 0x8e:
		return f, anIPv6
	case 0xcf:
		return f, aPPP
	case 0x80:
		return readSNAP(f)
	case 0xb1:
		return f, inPieces
	case 0xb0:
		return f, packed
	}
	return f, aNothing
}

// readSNAP reads an organization and its number for what is inside.
func readSNAP(f frame) (frame, place) {
	if len(f.data) < 5 {
		return cutOff, aNothing
	}
	rest, kind := f.skip(5), be16(f.data[3:])
	switch [3]byte(f.data) {
	case [3]byte{}, [3]byte{0, 0, 0xf8}: // Ethernet types (RFC 1042, 802.1H)
		return rest, typed(kind)
	case [3]byte{0, 0x80, 0xc2}: // bridged (RFC 2684 §5.2, RFC 2427 §4.2)
		if kind == 1 || kind == 7 {
			if padded := rest.skip(2); padded.isEthernet() {
				return padded, aFrame
			}
			return rest, aFrame
		}
	}
	return rest, aNothing
}

// readSunATM reads what Sun's driver puts before a packet: what it is, and the
// numbers of the circuit.
func readSunATM(f frame) (frame, place) {
	const emulation, encapsulation, local, signalling = 1, 2, 5, 6
	rest := f.skip(4)
	switch kind := f.data[0] & 0xf; {
	case kind == encapsulation, be16(rest.data) == 0xaaaa:
		return rest, anLLC
	case kind == emulation && be16(rest.data) != 0xff00: // else a control frame
		return rest.skip(2), aFrame
	case kind == emulation, kind == local, kind == signalling:
		return rest, aNothing
	}
	return guess(rest)
}

// readTokenRing reads a header with the route that a set bit of the source address
// announces.
func readTokenRing(f frame) (frame, place) {
	const kind, isLLC, routed = 0xc0, 0x40, 0x80
	if f.data[1]&kind != isLLC {
		return f, aNothing
	}
	size := inet.EthernetSize
	if f.data[8]&routed != 0 {
		size += int(f.data[14] & 0x1f)
	}
	return f.skip(size), anLLC
}

// readARCNET reads what is behind the addresses: IP as RFC 1051 has it, or as RFC
// 1201, which splits what is too long.
func readARCNET(_, f frame) (frame, place) {
	const oldIP, ipv4, ipv6, exception = 0xf0, 0xd4, 0xc4, 0xff
	if len(f.data) < 2 {
		return cutOff, aNothing
	}
	kind := f.data[0]
	f = f.skip(1)
	if kind == oldIP {
		return f, anIPv4
	}
	if kind != ipv4 && kind != ipv6 {
		return f, aNothing
	}
	if f.data[0] == exception { // behind which the kind and the rest come again
		f = f.skip(4)
	}
	if len(f.data) == 0 {
		return cutOff, aNothing
	}
	if f.data[0] != 0 {
		return f, inPieces
	}
	return f.skip(3), anIP
}

// readDOCSIS reads the header of cable modems, of which one kind is a frame.
func readDOCSIS(f frame) (frame, place) {
	size := 6
	if f.data[0]&1 != 0 { // an extended header
		size += int(f.data[1])
	}
	switch f.data[0] &^ 1 {
	case 0:
		return f.skip(size), aFrame
	case 0xc2, 0xc4, 0xc6, 0xc8, 0xca, 0xcc: // its own messages
		return f, aNothing
	}
	if f.data[0]>>6 == 3 {
		return f, aNothing
	}
	return f, notOpened
}

// readERF reads a record header of Endace's cards, and the extensions that it
// announces.
func readERF(f frame) (frame, place) {
	const more = 0x80
	kind := f.data[0+8] &^ more
	for next := f.data[8]; next&more != 0; {
		if f = f.skip(8); len(f.data) < 9+8 {
			return cutOff, aNothing
		}
		next = f.data[8]
	}
	f = f.skip(16)
	switch kind {
	case 2, 11, 16, 20:
		return f.skip(2), aFrame
	case 1, 10, 15, 19:
		return f, link(pcap.LinkPPPHDLC)
	case 5, 17:
		return f.skip(4), link(pcap.LinkPPPHDLC)
	case 4, 18:
		return f.skip(4), anLLC
	case 9:
		return f.skip(8), anLLC
	case 22:
		return f, anIPv4
	case 23:
		return f, anIPv6
	case 13, 14, 27, 48: // counters, the card itself, padding
		return f, aNothing
	}
	return f, notOpened
}

// readPrism reads the header of Prism's cards, in the byte order of the host; some
// drivers wrote that of AVS under its name.
func readPrism(f frame) (frame, place) {
	if isAVS(f) {
		return readAVS(f)
	}
	length := binary.LittleEndian.Uint32(f.data[4:])
	return f.skip(int(min(length, be32(f.data[4:]), pcap.MaxRecord))), aWiFi
}

func isAVS(f frame) bool { return be32(f.data)>>12 == 0x80211 }

func readAVS(f frame) (frame, place) {
	if !isAVS(f) {
		return f, notOpened
	}
	return f.skip(int(min(be32(f.data[4:]), pcap.MaxRecord))), aWiFi
}

// readWrapped reads a little endian header that names its own length and the link
// type of what is behind it.
func readWrapped(f frame, lengthAt, linkAt int) (frame, place) {
	length := int(binary.LittleEndian.Uint16(f.data[lengthAt:]))
	kind := binary.LittleEndian.Uint32(f.data[linkAt:])
	if length < linkAt+4 || kind == uint32(pcap.LinkPPI) || kind == uint32(pcap.LinkPktap) || kind > 0xffff {
		return cutOff, aNothing
	}
	return f.skip(length), link(pcap.LinkType(kind))
}

// juniper reads the header of Juniper's routers, and a cookie of n octets before
// what the link type says; where flags say that this is left out, IP.
func juniper(n int, in place) func(frame) (frame, place) {
	return func(f frame) (frame, place) {
		const magic, noLink, extended = 0x4d4743, 0x02, 0x80
		if be32(f.data)>>8 != magic {
			return f, notOpened
		}
		flags := f.data[3]
		f = f.skip(4)
		if flags&extended != 0 {
			if len(f.data) < 2 {
				return cutOff, aNothing
			}
			f = f.skip(2 + int(be16(f.data)))
		}
		switch {
		case flags&noLink != 0:
			return f.skip(4), anIP
		case in == aNothing:
			return guess(f)
		}
		return f.skip(n), in
	}
}
