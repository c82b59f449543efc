package decode

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// What reads link layers: headers of the table that a link type names, and that take
// more than a line.

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

// readLoopback reads the number of an address family. Some systems write an Ethernet
// type in its place, or PPP.
func readLoopback(f frame) (frame, place) {
	h := f.data
	switch {
	case ipFamily(h):
		return f.skip(4), anIP
	case be16(h) == 0xff03:
		return f, aPPP
	case be16(h) == 0:
		return f.skip(4), typed(be16(h[2:]))
	case be16(h[2:]) == 0:
		return f.skip(4), typed(binary.LittleEndian.Uint16(h))
	}
	return f, aNothing
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
	case [3]byte{}, [3]byte{0, 0, 0xf8}, [3]byte{8, 0, 7}: // Ethernet types (RFC 1042, 802.1H, AppleTalk)
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
func readARCNET(f frame) (frame, place) {
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
	kind := f.data[8] &^ more
	for next := f.data[8]; next&more != 0; {
		if f = f.skip(8); len(f.data) < 16+1 {
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
	switch kind := min(be32(f.data), binary.LittleEndian.Uint32(f.data)); kind {
	case 0x41, 0x44:
		length := binary.LittleEndian.Uint32(f.data[4:])
		return f.skip(int(min(length, be32(f.data[4:]), pcap.MaxRecord))), aWiFi
	}
	return f, aWiFi // some wrote no header at all
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
		f = f.skip(n)
		if alone := f.known(); in == anLLC && alone != aNothing { // on a circuit of its own, which needs no LLC (RFC 2684 §6)
			return f, alone
		}
		return f, in
	}
}
