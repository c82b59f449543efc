package decode

import (
	"fmt"
	"iter"
	"slices"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// The table of headers. Each row says what a header follows, how long it is, and
// what is inside; Decoder.open reads packets by it. Rows with a method of their own are the
// few whose inside is not one frame of one kind.

// A place is where a header stands: a space of numbers, and the number in it.
type place struct {
	space space
	n     uint16
}

// A space is a kind of number that names what is inside a header.
type space uint8

const (
	nothing   space = iota // nothing that could be TCP
	shut                   // something that is not opened; the number says why
	etherType              // an Ethernet type, or the length of an LLC frame
	ipProto                // a protocol of IP
	udpTo                  // a port that UDP goes to
	udpFrom                // a port that UDP comes from
	linkType               // a link type
	greType                // a protocol of GRE, where that is no Ethernet type
	pppType                // a protocol of PPP
)

func ether(n uint16) place       { return place{etherType, n} }
func link(l pcap.LinkType) place { return place{linkType, uint16(l)} }

// What is inside most headers.
var (
	aNothing  = place{}
	anIPv4    = ether(inet.TypeIPv4)
	anIPv6    = ether(inet.TypeIPv6)
	anIP      = link(pcap.LinkRaw)
	aFrame    = link(pcap.LinkEthernet)
	anLLC     = link(pcap.LinkATM)
	aPPP      = link(pcap.LinkPPP)
	aWiFi     = link(pcap.LinkWiFi)
	anMPLS    = ether(inet.TypeMPLS)
	aRelay    = link(pcap.LinkFrameRelay)
	notOpened = place{shut, uint16(NotOpened)}
	encrypted = place{shut, uint16(Encrypted)}
	inPieces  = place{shut, uint16(InPieces)}
	packed    = place{shut, uint16(Compressed)}
)

// A header is a row of the table.
type header struct {
	name    string  // as people call it
	as      string  // as Options.As calls it; "": it does not
	follows []place // where it stands
	min     int     // octets that read looks at

	// read returns what is behind the header, and what that is.
	read func(f frame) (frame, place)

	method func(p *Decoder, f frame) Verdict // in the place of read

	shut bool // nothing is inside that is opened
}

// at lists places of one space.
func at(s space, numbers ...uint16) (places []place) {
	for _, n := range numbers {
		places = append(places, place{s, n})
	}
	return places
}

// on lists link types.
func on(links ...pcap.LinkType) (places []place) {
	for _, l := range links {
		places = append(places, link(l))
	}
	return places
}

// either lists UDP ports of tunnels that are answered from the same port.
func either(ports ...uint16) []place { return append(at(udpTo, ports...), at(udpFrom, ports...)...) }

// then reads a header of n octets with always the same inside.
func then(n int, in place) func(frame) (frame, place) {
	return func(f frame) (frame, place) { return f.skip(n), in }
}

// typeAt reads a header of n octets that has an Ethernet type at a place.
func typeAt(at, n int) func(frame) (frame, place) {
	return func(f frame) (frame, place) { return f.skip(n), ether(be16(f.data[at:])) }
}

// shutRow is a row of a header that is told and not opened.
func shutRow(name string, why Why, follows []place) header {
	return header{name: name, shut: true, follows: follows, read: then(0, place{shut, uint16(why)})}
}

// The rows, by what they follow. tags.go, tunnels.go and links.go have what is longer than
// a line.
func rows() []header {
	return []header{
		// Behind an Ethernet type.
		{name: "VLAN", follows: at(etherType, inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld, 0x9200, 0x893b), min: 4, read: typeAt(2, 4)},
		{name: "MPLS", as: "mpls", follows: append(at(etherType, inet.TypeMPLS, inet.TypeMPLSMulti), place{ipProto, 137}, place{udpTo, 6635}, link(pcap.LinkMPLS), place{pppType, 0x0281}, place{pppType, 0x0283}), read: readMPLS},
		{name: "PPPoE", as: "pppoes", follows: append(at(etherType, inet.TypePPPoE), link(pcap.LinkPPPoE)), min: 6, read: readPPPoE},
		{name: "PPP", follows: at(etherType, 0x880b), read: then(0, aPPP)},
		{name: "802.1ah", follows: at(etherType, inet.TypePBB), read: then(4, aFrame)},
		{name: "transparent bridging", follows: append(at(etherType, inet.TypeTEB), place{ipProto, 143}), read: then(0, aFrame)},
		{name: "LLC", follows: at(etherType, 0x8870), read: then(0, anLLC)},
		{name: "NSH", as: "nsh", follows: append(at(etherType, 0x894f), place{ipProto, 145}), min: 4, read: readNSH},
		{name: "VN-Tag", follows: at(etherType, 0x8926), min: 6, read: typeAt(4, 6)},
		{name: "802.1BR", follows: at(etherType, 0x893f), min: 8, read: typeAt(6, 8)},
		{name: "Cisco metadata", follows: at(etherType, 0x8909), min: 2, read: readMetadata},
		{name: "FabricPath", follows: at(etherType, 0x8903), read: then(2, aFrame)},
		{name: "TRILL", follows: at(etherType, 0x22f3), min: 2, read: func(f frame) (frame, place) {
			return f.skip(6 + 4*int(be16(f.data)>>6&0x1f)), aFrame
		}},
		{name: "HSR", follows: at(etherType, 0x892f), min: 6, read: typeAt(4, 6)},
		{name: "MACsec", follows: at(etherType, 0x88e5), min: 2, read: readMACsec},
		{name: "batman-adv", follows: at(etherType, 0x4305), min: 2, read: readBatman},
		{name: "DSA", follows: at(etherType, 0xdada), min: 8, read: typeAt(6, 8)},
		{name: "Broadcom tag", follows: at(etherType, 0x8874), min: 6, read: typeAt(4, 6)},
		{name: "Realtek tag", follows: at(etherType, 0x8899), min: 1, read: readRealtek},
		{name: "FCoE", follows: at(etherType, 0x8906), min: 38, read: readFCoE},
		{name: "AppleTalk", follows: at(etherType, 0x809b), min: 13, read: func(f frame) (frame, place) {
			if f.data[12] != 22 { // MacIP
				return f, aNothing
			}
			return f.skip(13), anIPv4
		}},
		shutRow("EtherCAT", NotOpened, at(etherType, 0x88a4)), // it may carry frames in pieces

		// Behind a protocol of IP.
		{name: "IP in IP", as: "ip", follows: at(ipProto, inet.ProtoIPv4, 94), read: then(0, anIP)},
		{name: "IPv6 in IP", as: "ipv6", follows: at(ipProto, inet.ProtoIPv6), read: then(0, anIPv6)},
		{name: "GRE", as: "gre", follows: append(at(ipProto, inet.ProtoGRE), place{udpTo, 4754}), min: 4, read: readGRE},
		{name: "EtherIP", as: "etherip", follows: at(ipProto, inet.ProtoEtherIP), min: 2, read: func(f frame) (frame, place) {
			if f.data[0]>>4 != 3 { // RFC 3378 §3
				return f, notOpened
			}
			return f.skip(2), aFrame
		}},
		shutRow("ESP", Encrypted, at(ipProto, protoESP)),
		{name: "L2TPv3", follows: at(ipProto, 115), min: 4, read: func(f frame) (frame, place) {
			if be32(f.data) == 0 { // a control message (RFC 3931 §4.1.1)
				return f, aNothing
			}
			return guess(f.skip(4))
		}},

		// Behind a protocol of GRE.
		{name: "PPP", follows: at(greType, 0x880b), read: then(0, aPPP)},
		{name: "ERSPAN I", follows: at(greType, greERSPAN1), read: then(0, aFrame)},
		{name: "ERSPAN II", follows: at(greType, greERSPAN2), read: then(8, aFrame)},
		{name: "ERSPAN III", follows: at(greType, greERSPAN3), min: 12, read: readERSPAN3},
		{name: "WCCP", follows: at(greType, 0x883e), min: 1, read: func(f frame) (frame, place) {
			if f.data[0]>>4 != 4 { // version 2 has a header
				f = f.skip(4)
			}
			return f, anIPv4
		}},
		{name: "802.11", follows: aruba(), read: then(0, aWiFi)},
		{name: "Frame Relay", follows: at(greType, 0x6559), read: then(0, aRelay)},
		{name: "Cisco HDLC", follows: at(greType, 0x88d2, 0x8881), read: then(0, link(pcap.LinkPPPHDLC))},
		{name: "Ethernet", follows: at(greType, 0x6400), read: then(0, aFrame)},
		{name: "Cisco metadata", follows: at(greType, 0x8909), min: 4, read: func(f frame) (frame, place) { // the type is before it
			return f.skip(4 + 4*max(int(f.data[3]), 1)), typed(be16(f.data))
		}},

		// Behind a UDP port.
		{name: "VXLAN", as: "vxlan", follows: at(udpTo, portVXLAN, 8472), min: 4, read: readVXLAN},
		{name: "VXLAN-GPE", as: "vxlan_gpe", follows: at(udpTo, 4790), min: 4, read: readVXLAN},
		{name: "Geneve", as: "geneve", follows: at(udpTo, portGeneve), min: 4, read: func(f frame) (frame, place) {
			if f.data[0]>>6 != 0 { // version (RFC 8926 §3.4)
				return f, notOpened
			}
			return f.skip(8 + 4*int(f.data[0]&0x3f)), typed(be16(f.data[2:]))
		}},
		{name: "GTP-U", as: "gtp", follows: either(2152, 3386), min: 8, read: readGTP},
		{name: "L2TP", as: "l2tp", follows: either(1701), min: 2, read: readL2TP},
		{name: "LISP", as: "lisp-data", follows: at(udpTo, 4341), min: 8, read: then(8, anIP)},
		{name: "TZSP", as: "tzsp", follows: at(udpTo, 37008), min: 4, read: readTZSP},
		{name: "GUE", as: "gue", follows: at(udpTo, 6080), min: 4, read: readGUE},
		{name: "CAPWAP", as: "capwap.data", follows: either(5247), min: 4, read: readCAPWAP},
		{name: "LWAPP", as: "lwapp", follows: append(at(etherType, 0x88bb, 0xbbbb), append(either(12222), place{udpFrom, 12223})...), min: 4, read: readLWAPP},
		{name: "LWAPP", follows: at(udpTo, 12223), read: then(6, ether(0x88bb))}, // behind the address of who asks
		{name: "LWAPP", follows: either(12220), read: then(0, aFrame)},
		{name: "Juniper mirror", as: "jmirror", follows: either(30030), min: 9, read: func(f frame) (frame, place) {
			if rest, in := userPacket(f.skip(8)); in != notOpened {
				return rest, in
			}
			return f, aNothing // but what is inside tells what it is
		}},
		{name: "Microsoft cluster", as: "msrcp", follows: either(3343), read: surely(0, aFrame)}, // besides its own messages
		{name: "batman", follows: either(4306), min: 1, read: func(f frame) (frame, place) {
			if f.data[0] != 1 {
				return f, aNothing
			}
			return surely(1, anIP)(f)
		}},
		{name: "PeekRemote", as: "peekremote", follows: either(5000), min: 9, read: func(f frame) (frame, place) {
			if be32(f.data) != 0x00ffabcd {
				return f, aNothing
			}
			return f.skip(int(min(be32(f.data[5:]), pcap.MaxRecord))), aWiFi
		}},
		{name: "AYIYA", as: "ayiya", follows: either(5072), min: 4, read: readAYIYA},
		{name: "Teredo", as: "teredo", follows: either(3544), min: 1, read: readTeredo},
		{name: "ESP", follows: either(4500), min: 4, read: func(f frame) (frame, place) {
			if be32(f.data) == 0 || f.wire < 8 { // a key exchange, or a keep-alive (RFC 3948 §2)
				return f, aNothing
			}
			return f, encrypted
		}},
		shutRow("sFlow", NotOpened, at(udpTo, 6343)),
		shutRow("AudioCodes recording", NotOpened, at(udpTo, 925)),

		// Behind a protocol of PPP.
		{name: "IPv4", follows: at(pppType, 0x0021, inet.TypeIPv4), read: then(0, anIPv4)},
		{name: "IPv6", follows: at(pppType, 0x0057, inet.TypeIPv6), read: then(0, anIPv6)},
		{name: "PPP bridging", follows: at(pppType, 0x0031), min: 2, read: func(f frame) (frame, place) {
			if f.data[1] != 1 { // of which only this is Ethernet (RFC 3518 §4.2)
				return f, notOpened
			}
			return f.skip(2), aFrame
		}},
		{name: "PPP multilink", follows: at(pppType, 0x003d), min: 1, read: func(f frame) (frame, place) {
			if f.data[0]&0xc0 != 0xc0 { // neither the first nor the last is missing (RFC 1990 §3)
				return f, inPieces
			}
			return f.skip(4), aPPP
		}},
		shutRow("PPP", Compressed, at(pppType, 0x002d, 0x002f, 0x0061, 0x0003, 0x0005, 0x0059, 0x00fb, 0x00fd)),
		shutRow("PPP", Encrypted, at(pppType, 0x0053, 0x0055)),

		// Behind nothing: link types.
		{name: "Ethernet", as: "eth", follows: on(pcap.LinkEthernet), min: inet.EthernetSize, read: readEthernet},
		{name: "Ethernet", follows: on(pcap.LinkNetAnalyzer), read: then(4, aFrame)},
		{name: "Ethernet", follows: on(pcap.LinkNetAnalyzerAll), read: then(12, aFrame)},
		{name: "Linux cooked", as: "sll", follows: on(pcap.LinkLinuxSLL), min: 16, read: readCooked},
		{name: "Linux cooked", follows: on(pcap.LinkLinuxSLL2), min: 20, read: func(f frame) (frame, place) {
			return readCookedAs(be16(f.data), f.skip(20))
		}},
		{name: "BSD loopback", as: "null", follows: on(pcap.LinkNull, pcap.LinkLoop), min: 4, read: readLoopback},
		{name: "ENC", as: "enc", follows: on(pcap.LinkENC), min: 12, read: then(12, anIP)},
		{name: "IP", follows: on(pcap.LinkRawBSD, pcap.LinkRawOpenBSD, pcap.LinkIPv4, pcap.LinkIPv6), read: then(0, anIP)},
		{name: "PPP", as: "ppp", follows: on(pcap.LinkPPP), min: 1, read: readPPP},
		{name: "PPP", follows: on(pcap.LinkPPPWithDir), read: then(1, aPPP)},
		{name: "PPP", follows: on(pcap.LinkPPPD), min: 2, read: func(f frame) (frame, place) {
			if f.data[1] == 0x03 { // the direction in the place of the address
				f = f.skip(1)
			}
			return f.skip(1), aPPP
		}},
		{name: "PPP", as: "ppp_hdlc", follows: on(pcap.LinkPPPHDLC), min: 1, read: func(f frame) (frame, place) {
			if isCisco(f.data[0]) {
				return f, link(pcap.LinkCiscoHDLC)
			}
			return f, aPPP
		}},
		{name: "Cisco HDLC", as: "chdlc", follows: on(pcap.LinkCiscoHDLC), min: 4, read: func(f frame) (frame, place) {
			return f.skip(4), typed(be16(f.data[2:]))
		}},
		{name: "Cisco HDLC", follows: on(pcap.LinkCiscoHDLCWithDir), read: then(1, link(pcap.LinkCiscoHDLC))},
		{name: "Frame Relay", as: "fr", follows: on(pcap.LinkFrameRelay), min: 2, read: readFrameRelay},
		{name: "Frame Relay", follows: on(pcap.LinkFrameRelayWithDir), read: then(1, aRelay)},
		{name: "multilink Frame Relay", follows: on(pcap.LinkMFR), min: 2, read: func(f frame) (frame, place) {
			switch f.data[0] & 0xe0 { // FRF.16: begins, ends, control
			case 0xc0:
				return f.skip(2), aRelay
			case 0xe0:
				return f, aNothing
			}
			return f, inPieces
		}},
		{name: "ATM", follows: on(pcap.LinkSunATM), min: 6, read: readSunATM},
		{name: "FDDI", as: "fddi", follows: on(pcap.LinkFDDI), min: 13, read: func(f frame) (frame, place) {
			if f.data[0]&0x70 != 0x50 { // no LLC frame: a token, station management
				return f, aNothing
			}
			return f.skip(13), anLLC
		}},
		{name: "Token Ring", as: "tr", follows: on(pcap.LinkTokenRing), min: 15, read: readTokenRing},
		{name: "ARCNET", follows: on(pcap.LinkARCNET), min: 4, read: func(f frame) (frame, place) { return readARCNET(f.skip(2)) }},
		{name: "ARCNET", follows: on(pcap.LinkARCNETLinux), min: 6, read: func(f frame) (frame, place) { return readARCNET(f.skip(4)) }},
		{name: "SLIP", follows: on(pcap.LinkSLIP), min: 2, read: func(f frame) (frame, place) {
			if f.data[1]&0x80 != 0 { // its header was compressed (RFC 1144)
				return f, packed
			}
			return f.skip(16), anIP
		}},
		{name: "Fibre Channel", follows: on(pcap.LinkIPOverFC), read: then(16, anLLC)},
		{name: "FireWire", follows: on(pcap.LinkFireWire), min: 18, read: typeAt(16, 18)},
		{name: "InfiniBand", follows: on(pcap.LinkIPoIB), min: 44, read: typeAt(40, 44)},
		{name: "IPNET", follows: on(pcap.LinkIPNET), min: 24, read: then(24, anIP)},
		{name: "DOCSIS", follows: on(pcap.LinkDOCSIS), min: 6, read: readDOCSIS},
		{name: "Symantec", follows: on(pcap.LinkSymantec), min: 22, read: func(f frame) (frame, place) {
			if kind := be16(f.data[6:]); kind != 0 { // version 2 of two
				return f.skip(44), typed(kind)
			}
			return f.skip(56), typed(be16(f.data[20:]))
		}},
		{name: "DSA", follows: on(pcap.LinkDSA, pcap.LinkBroadcomTag), min: 18, read: typeAt(16, 18)},
		{name: "DSA", follows: on(pcap.LinkEDSA), min: 22, read: typeAt(20, 22)},
		{name: "Broadcom tag", follows: on(pcap.LinkBroadcomPrepend), read: then(4, aFrame)},
		{name: "ERF", as: "erf", follows: on(pcap.LinkERF), min: 16, read: readERF},
		{name: "Prism", follows: on(pcap.LinkPrism), min: 8, read: readPrism},
		{name: "AVS", follows: on(pcap.LinkAVS), min: 8, read: readAVS},
		{name: "packet filter log", follows: on(pcap.LinkPFLog), min: 1, read: func(f frame) (frame, place) {
			return f.skip((int(f.data[0]) + 3) &^ 3), anIP
		}},
		{name: "PPI", follows: on(pcap.LinkPPI), min: 8, read: func(f frame) (frame, place) { return readWrapped(f, 2, 4) }},
		{name: "PKTAP", as: "pktap", follows: on(pcap.LinkPktap), min: 12, read: func(f frame) (frame, place) { return readWrapped(f, 0, 8) }},
		{name: "Juniper Ethernet", follows: on(pcap.LinkJuniperEthernet, pcap.LinkJuniperPPPoE), min: 4, read: juniper(0, aFrame)},
		{name: "Juniper PPP", follows: on(pcap.LinkJuniperPPP), min: 4, read: juniper(2, aPPP)},
		{name: "Juniper Frame Relay", follows: on(pcap.LinkJuniperFrameRelay), min: 4, read: juniper(0, aRelay)},
		{name: "Juniper HDLC", follows: on(pcap.LinkJuniperHDLC), min: 4, read: juniper(0, link(pcap.LinkCiscoHDLC))},
		{name: "Juniper voice", follows: on(pcap.LinkJuniperVP), min: 4, read: juniper(18, anIPv4)},
		{name: "Juniper ATM", follows: on(pcap.LinkJuniperATM1), min: 4, read: juniper(4, anLLC)},
		{name: "Juniper ATM", follows: on(pcap.LinkJuniperATM2), min: 4, read: juniper(8, anLLC)},

		// With a method.
		{name: "LLC", as: "llc", follows: on(pcap.LinkATM), method: (*Decoder).llc},
		{name: "IP", follows: on(pcap.LinkRaw), method: (*Decoder).ip},
		{name: "IPv4", follows: []place{anIPv4}, method: (*Decoder).ipv4},
		{name: "IPv6", follows: []place{anIPv6}, method: (*Decoder).ipv6},
		{name: "802.11", as: "wlan", follows: on(pcap.LinkWiFi), method: func(p *Decoder, f frame) Verdict { return p.wifi(f, 1) }},
		{name: "802.11", follows: on(pcap.LinkRadiotap), method: (*Decoder).radiotap},
		{name: "netfilter log", follows: on(pcap.LinkNFLog), method: (*Decoder).nfLog},
		{name: "802.11", follows: []place{wifiEither}, method: (*Decoder).wifiSwapped},
		{name: "Juniper", follows: on(pcap.LinkJuniperMLPPP, pcap.LinkJuniperMLFR, pcap.LinkJuniperES, pcap.LinkJuniperGGSN, pcap.LinkJuniperMFR, pcap.LinkJuniperServices,
			pcap.LinkJuniperMonitor, pcap.LinkJuniperPPPoEATM), min: 4, read: juniper(0, aNothing)},
	}
}

// aruba lists the protocols by which its access points tunnel 802.11 in GRE, one
// for each queue.
func aruba() (places []place) {
	for n := uint16(0x8200); n <= 0x8370; n += 16 {
		places = append(places, place{greType, n})
	}
	return places
}

// quiet lists what carries no TCP: it is passed over without a word. What may carry it
// has a row, or is told: a frame of any other kind.
var quiet = index([][]place{
	at(etherType, inet.TypeARP, inet.TypeRARP, inet.TypeLoopback,
		0x00fe, 0x0842, 0x2000, 0x22ea, 0x22f0, 0x22f4, 0x6001, 0x6002, 0x6003, 0x6004, 0x6007, 0x8035, 0x80f3, 0x8102, 0x8137,
		0x8138, 0x814c, 0x8181, 0x8808, 0x8809, 0x8863, 0x886d, 0x887b, 0x888e, 0x8892, 0x88a2, 0x88ab, 0x88b8, 0x88b9,
		0x88ba, 0x88c7, 0x88ca, 0x88cc, 0x88cd, 0x88d9, 0x88dc, 0x88e1, 0x88e3, 0x88ee, 0x88f5, 0x88f6, 0x88f7, 0x88f8, 0x88fb, 0x8902,
		0x890d, 0x8912, 0x8914, 0x8915, 0x8917, 0x893a, 0x8940, 0x8942),
	at(ipProto, inet.ProtoTCP, inet.ProtoUDP, inet.ProtoICMP, inet.ProtoICMPv6, inet.ProtoSCTP,
		2, 3, 8, 9, 12, 27, 28, 33, 46, 54, 59, 88, 89, 103, 112, 113, 124, 134),
	at(greType, 0, 0xb7ea),
})

// index tells the places of a list.
func index(lists [][]place) map[place]bool {
	m := make(map[place]bool)
	for _, places := range lists {
		for _, at := range places {
			m[at] = true
		}
	}
	return m
}

// The rows by their places. They are indexed at the start of the program, because
// methods in the table look into it.
var (
	table      *pages
	byName     map[string]place // by header.as
	opensProto [256]bool        // for the fast path: the protocols of IP that only the slow one can tell
	opensPort  portSet          // and UDP ports of tunnels
)

// Pages hold rows by their places: a map takes longer than most rows.
type pages [pppType + 1][256]*[256]*header

func (t *pages) get(at place) *header {
	if page := t[at.space][at.n>>8]; page != nil {
		return page[at.n&0xff]
	}
	return nil
}

func (t *pages) set(at place, row *header) {
	page := &t[at.space][at.n>>8]
	if *page == nil {
		*page = new([256]*header)
	}
	(*page)[at.n&0xff] = row
}

// A portSet says of UDP ports whether something is to be looked for behind them.
type portSet struct{ to, from [1 << 13]uint8 }

func (s *portSet) add(at place) {
	set := &s.to
	if at.space == udpFrom {
		set = &s.from
	}
	set[at.n>>3] |= 1 << (at.n & 7)
}

// has looks at the ports in a UDP header.
func (s *portSet) has(h []byte) bool {
	from, to := be16(h), be16(h[2:])
	return s.to[to>>3]>>(to&7)&1 != 0 || s.from[from>>3]>>(from&7)&1 != 0
}

func init() {
	table, byName = new(pages), make(map[string]place)
	for _, row := range rows() {
		for _, at := range row.follows {
			if table.get(at) != nil {
				panic(fmt.Sprintf("capture/decode: two headers for %v", at))
			}
			table.set(at, &row)
			if at.space == udpTo || at.space == udpFrom {
				opensPort.add(at)
			}
		}
		if row.as != "" {
			byName[row.as] = row.follows[0]
		}
	}
	for n := range opensProto {
		opensProto[n] = !quiet[place{ipProto, uint16(n)}]
	}
}

// open reads what stands at a place, header by header.
func (p *Decoder) open(at place, f frame) Verdict {
	name := ""
	for {
		if p.as != nil {
			if to, ok := p.as[at]; ok {
				at = to
			}
		}
		if at.space == etherType && at.n < inet.MinType { // a length
			if int(at.n) > f.wire {
				return NotTCP
			}
			f, at = f.limit(int(at.n)), anLLC
		}
		row := table.get(at)
		if row == nil {
			return p.unknown(at, name)
		}
		if p.headers++; p.headers > maxHeaders {
			return Undecodable
		}
		if row.method != nil {
			return row.method(p, f)
		}
		if len(f.data) < row.min {
			return f.short(at)
		}
		rest, in := row.read(f)
		if rest.wire < 0 {
			return f.short(at)
		}
		f, at, name = rest, in, row.name
	}
}

// short is the verdict on a header that ends too early. A UDP datagram can go to
// the port of a tunnel and be none.
func (f frame) short(at place) Verdict {
	if at.space == udpTo || at.space == udpFrom {
		return f.missing()
	}
	return Undecodable
}

// unknown is the verdict on what no row reads, behind the header of that name.
func (p *Decoder) unknown(at place, name string) Verdict {
	switch {
	case at.space == nothing, quiet[at], at.space == pppType && at.n >= 0x4000: // control
		return NotTCP
	case at.space == shut:
		return p.pass(name, Why(at.n))
	}
	return p.pass(at.String(), NotOpened)
}

// String names what no row reads.
func (at place) String() string {
	if at == (place{greType, greERSPAN1}) {
		return fmt.Sprintf("GRE protocol 0x%04x without a sequence number", greERSPAN2)
	}
	switch at.space {
	case etherType:
		return fmt.Sprintf("EtherType 0x%04x", at.n)
	case greType:
		return fmt.Sprintf("GRE protocol 0x%04x", at.n)
	case pppType:
		return fmt.Sprintf("PPP protocol 0x%04x", at.n)
	case ipProto:
		return fmt.Sprintf("IP protocol %d", at.n)
	case linkType:
		return "link type " + pcap.LinkType(at.n).String()
	}
	return fmt.Sprintf("UDP port %d", at.n)
}

// Headers lists what is read, and what is told and not opened, by name: where it
// stands, for people.
func Headers() iter.Seq2[string, []string] {
	return func(yield func(name string, follows []string) bool) {
		list := rows()
		for i, row := range list {
			if slices.ContainsFunc(list[:i], func(r header) bool { return r.name == row.name }) {
				continue
			}
			var all []place
			for _, other := range list[i:] {
				if other.name == row.name {
					all = append(all, other.follows...)
				}
			}
			if follows := places(all); len(follows) > 0 && !yield(row.name, follows) {
				return
			}
		}
	}
}

// places names places but link types, once each.
func places(list []place) (names []string) {
	for _, at := range list {
		if name := at.String(); at.space != linkType && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Reads reports whether packets of a link type can be decoded at all.
func Reads(l pcap.LinkType) bool { return table.get(link(l)) != nil && link(l) != wifiEither }

// Reads is the function Reads, with Options.As.
func (p *Decoder) Reads(l pcap.LinkType) bool {
	_, as := p.as[link(l)]
	return as || Reads(l)
}

// opensProto reports whether something is read behind a protocol of IP.
func (p *Decoder) opensProto(proto uint8) bool {
	at := place{ipProto, uint16(proto)}
	_, as := p.as[at]
	row := table.get(at)
	return as || row != nil && !row.shut || proto == inet.ProtoUDP || proto == protoUDPLite || proto == protoIPComp || proto == protoESP && p.o.NullESP
}

// portSet is the UDP ports at which there may be a tunnel.
func (p *Decoder) portSet() *portSet {
	if p.ports != nil {
		return p.ports
	}
	return &opensPort
}
