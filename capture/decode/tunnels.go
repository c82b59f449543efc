package decode

import "github.com/tcpwatch/tcpwatch/capture/pcap"

// What reads tunnels: headers of the table behind IP, GRE or UDP that take more than a
// line.

const (
	portVXLAN  = 4789 // RFC 7348
	portGeneve = 6081 // RFC 8926

	greERSPAN1 = 0x0001 // type I has the number of type II
	greERSPAN2 = 0x88be
	greERSPAN3 = 0x22eb
)

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

// isVXLAN reports whether a UDP payload is surely VXLAN, whatever its port.
func (f frame) isVXLAN() bool { return mayVXLAN(f.data) && f.skip(8).isEthernet() }

// mayVXLAN looks at the bits of a VXLAN header that are always the same.
func mayVXLAN(b []byte) bool {
	return len(b) >= 8 && be32(b) == 0x08000000 && b[7] == 0
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

// wifiEither is 802.11 in CAPWAP, whose first two octets many controllers swap.
var wifiEither = link(0xffff)

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

// readLWAPP reads the header before a message of an access point's controller, or
// before 802.11 (RFC 5412 §3.3).
func readLWAPP(f frame) (frame, place) {
	const version, isControl, isFragment = 0xc0, 0x04, 0x02
	switch flags := f.data[0]; {
	case flags&version != 0:
		return f, notOpened
	case flags&isControl != 0:
		return f, aNothing
	case flags&isFragment != 0:
		return f, inPieces
	}
	return f.skip(6), wifiEither
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
