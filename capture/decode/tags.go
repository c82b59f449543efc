package decode

// What reads tags: headers of the table that an Ethernet type names, and that take more
// than a line. A header that is cut makes the packet undecodable: TCP may have been
// behind it.

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
	switch {
	case f.data[1] != 0: // no session data
		return f, aNothing
	case f.data[0] != 0x11: // version and type
		return f, notOpened
	}
	return f.skip(6).atMost(int(be16(f.data[4:]))), aPPP
}

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
	rest := f.skip(2 + 4*max(int(f.data[1]), 1)) // one word if it says none
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

// readRealtek reads what its switches put before the Ethernet type of a frame that goes to
// the host or comes from there. Other frames of the type are the switches' own.
func readRealtek(f frame) (frame, place) {
	kind, size := f.data[0]>>4, 0
	switch {
	case kind == 9, kind == 10: // RTL8306, RTL8366
		size = 2
	case f.data[0] == 4: // RTL8365 and later
		size = 6
	case f.data[0] <= 3, f.data[0] == 0x23: // RRCP, REP, RLDP
		return f, aNothing
	default:
		return f, notOpened
	}
	if len(f.data) < size+2 {
		return cutOff, aNothing
	}
	return f.skip(size + 2), ether(be16(f.data[size:]))
}

// readFCoE reads a frame of Fibre Channel (FC-BB-5) up to the IP that it may carry
// (RFC 4338): most carry SCSI.
func readFCoE(f frame) (frame, place) {
	const before, header, network = 14, 24, 16
	if f.data[before+8] != 5 { // the type: LLC and SNAP
		return f, aNothing
	}
	if f.data[before+13]&0x20 == 0 { // without addresses of the network it is not the first of a sequence
		return f, inPieces
	}
	return f.skip(before + header + network), anLLC
}
