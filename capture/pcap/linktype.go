package pcap

import "strconv"

// A LinkType says which header the packets of an interface begin with: a
// number of the LINKTYPE_ registry that pcap and pcapng share.
type LinkType uint16

// The link types that tcpwatch reads.
const (
	LinkNull              LinkType = 0   // BSD loopback: address family in the host's byte order
	LinkEthernet          LinkType = 1   // Ethernet II, 802.3
	LinkTokenRing         LinkType = 6   // IEEE 802.5 Token Ring
	LinkARCNET            LinkType = 7   // ARCNET, as BSD has it
	LinkSLIP              LinkType = 8   // SLIP, with 16 bytes of direction and compression before it
	LinkPPP               LinkType = 9   // PPP, with or without its HDLC-like framing
	LinkFDDI              LinkType = 10  // FDDI
	LinkRawBSD            LinkType = 12  // IPv4 or IPv6, as most BSDs number it
	LinkRawOpenBSD        LinkType = 14  // IPv4 or IPv6, as OpenBSD numbers it
	LinkPPPHDLC           LinkType = 50  // PPP or Cisco HDLC, the first byte says which
	LinkPPPoE             LinkType = 51  // PPPoE session (RFC 2516)
	LinkSymantec          LinkType = 99  // Symantec firewall
	LinkATM               LinkType = 100 // LLC over ATM (RFC 2684)
	LinkRaw               LinkType = 101 // IPv4 or IPv6
	LinkCiscoHDLC         LinkType = 104 // Cisco HDLC
	LinkWiFi              LinkType = 105 // IEEE 802.11
	LinkFrameRelay        LinkType = 107 // Frame Relay
	LinkLoop              LinkType = 108 // OpenBSD loopback: address family in network byte order
	LinkENC               LinkType = 109 // OpenBSD's enc(4): IPsec, decrypted
	LinkLinuxSLL          LinkType = 113 // Linux cooked capture, version 1
	LinkPFLog             LinkType = 117 // OpenBSD's packet filter log
	LinkPrism             LinkType = 119 // header of Prism cards, then IEEE 802.11
	LinkIPOverFC          LinkType = 122 // IP over Fibre Channel (RFC 2625)
	LinkSunATM            LinkType = 123 // Sun's ATM
	LinkRadiotap          LinkType = 127 // radiotap, then IEEE 802.11
	LinkARCNETLinux       LinkType = 129 // ARCNET, as Linux has it
	LinkJuniperMLPPP      LinkType = 130 // Juniper, then a cookie and multilink PPP
	LinkJuniperMLFR       LinkType = 131 // Juniper, then a cookie and multilink Frame Relay
	LinkJuniperES         LinkType = 132 // Juniper encryption services
	LinkJuniperGGSN       LinkType = 133 // Juniper GGSN
	LinkJuniperMFR        LinkType = 134 // Juniper, then a cookie and Frame Relay
	LinkJuniperATM2       LinkType = 135 // Juniper, then a cookie of 8 bytes and LLC, IP or PPP
	LinkJuniperServices   LinkType = 136 // Juniper services
	LinkJuniperATM1       LinkType = 137 // Juniper, then a cookie of 4 bytes and LLC, IP or PPP
	LinkFireWire          LinkType = 138 // Apple's IP over IEEE 1394
	LinkDOCSIS            LinkType = 143 // DOCSIS
	LinkAVS               LinkType = 163 // AVS header, then IEEE 802.11
	LinkJuniperMonitor    LinkType = 164 // Juniper monitoring services
	LinkPPPD              LinkType = 166 // direction in the place of PPP's address, then PPP
	LinkJuniperPPPoE      LinkType = 167 // Juniper, then Ethernet
	LinkJuniperPPPoEATM   LinkType = 168 // Juniper, then PPPoE over ATM
	LinkJuniperEthernet   LinkType = 178 // Juniper, then Ethernet
	LinkJuniperPPP        LinkType = 179 // Juniper, then PPP
	LinkJuniperFrameRelay LinkType = 180 // Juniper, then Frame Relay
	LinkJuniperHDLC       LinkType = 181 // Juniper, then Cisco HDLC
	LinkMFR               LinkType = 182 // multilink Frame Relay (FRF.16)
	LinkJuniperVP         LinkType = 183 // Juniper voice services, then IPv4
	LinkPPI               LinkType = 192 // per-packet information, then what it names
	LinkERF               LinkType = 197 // Endace's record header, then what it names
	LinkPPPWithDir        LinkType = 204 // one byte of direction, then PPP
	LinkCiscoHDLCWithDir  LinkType = 205 // one byte of direction, then Cisco HDLC
	LinkFrameRelayWithDir LinkType = 206 // one byte of direction, then Frame Relay
	LinkMPLS              LinkType = 219 // MPLS label stack
	LinkIPNET             LinkType = 226 // Solaris IPNET, then IP
	LinkIPv4              LinkType = 228 // IPv4 only
	LinkIPv6              LinkType = 229 // IPv6 only
	LinkNFLog             LinkType = 239 // Linux netfilter log
	LinkNetAnalyzer       LinkType = 240 // four bytes of status, then Ethernet
	LinkNetAnalyzerAll    LinkType = 241 // four bytes of status, eight of preamble, then Ethernet
	LinkIPoIB             LinkType = 242 // IP over InfiniBand, with a global route header
	LinkPktap             LinkType = 258 // Apple's pktap, then what it names
	LinkLinuxSLL2         LinkType = 276 // Linux cooked capture, version 2
	LinkBroadcomTag       LinkType = 281 // Ethernet with a Broadcom switch tag
	LinkBroadcomPrepend   LinkType = 282 // Broadcom switch tag, then Ethernet
	LinkDSA               LinkType = 284 // Ethernet with a Marvell DSA tag
	LinkEDSA              LinkType = 285 // Ethernet with a Marvell EDSA tag
)

// String returns the name that tcpdump gives the link type (its DLT_ name
// without the prefix), or its number where it has none here.
func (l LinkType) String() string {
	if l >= 147 && l <= 162 {
		return "USER" + strconv.Itoa(int(l-147))
	}
	if name, ok := linkNames[l]; ok {
		return name
	}
	return strconv.Itoa(int(l))
}

// linkNames holds the names of the link types that are read, and of those that
// a user is likely to meet and be told that they are not.
var linkNames = map[LinkType]string{
	LinkNull:              "NULL",
	LinkEthernet:          "EN10MB",
	2:                     "EN3MB",
	3:                     "AX25",
	LinkTokenRing:         "IEEE802",
	LinkARCNET:            "ARCNET",
	LinkSLIP:              "SLIP",
	LinkPPP:               "PPP",
	LinkFDDI:              "FDDI",
	LinkRawBSD:            "RAW",
	LinkRawOpenBSD:        "RAW",
	LinkPPPHDLC:           "PPP_SERIAL",
	LinkPPPoE:             "PPP_ETHER",
	LinkSymantec:          "SYMANTEC_FIREWALL",
	LinkATM:               "ATM_RFC1483",
	LinkRaw:               "RAW",
	LinkCiscoHDLC:         "C_HDLC",
	LinkWiFi:              "IEEE802_11",
	LinkFrameRelay:        "FRELAY",
	LinkLoop:              "LOOP",
	LinkENC:               "ENC",
	LinkLinuxSLL:          "LINUX_SLL",
	114:                   "LTALK",
	LinkPFLog:             "PFLOG",
	LinkPrism:             "PRISM_HEADER",
	LinkIPOverFC:          "IP_OVER_FC",
	LinkSunATM:            "SUNATM",
	LinkRadiotap:          "IEEE802_11_RADIO",
	LinkARCNETLinux:       "ARCNET_LINUX",
	LinkFireWire:          "APPLE_IP_OVER_IEEE1394",
	139:                   "MTP2_WITH_PHDR",
	140:                   "MTP2",
	141:                   "MTP3",
	142:                   "SCCP",
	LinkDOCSIS:            "DOCSIS",
	144:                   "LINUX_IRDA",
	LinkAVS:               "IEEE802_11_RADIO_AVS",
	165:                   "BACNET_MS_TP",
	LinkPPPD:              "PPP_PPPD",
	169:                   "GPRS_LLC",
	177:                   "LINUX_LAPD",
	LinkMFR:               "MFR",
	187:                   "BLUETOOTH_HCI_H4",
	189:                   "USB_LINUX",
	LinkPPI:               "PPI",
	195:                   "IEEE802_15_4",
	LinkERF:               "ERF",
	201:                   "BLUETOOTH_HCI_H4_WITH_PHDR",
	203:                   "LAPD",
	LinkPPPWithDir:        "PPP_WITH_DIR",
	LinkCiscoHDLCWithDir:  "C_HDLC_WITH_DIR",
	LinkFrameRelayWithDir: "FRELAY_WITH_DIR",
	209:                   "IPMB_LINUX",
	LinkMPLS:              "MPLS",
	220:                   "USB_LINUX_MMAPPED",
	224:                   "FC_2",
	225:                   "FC_2_WITH_FRAME_DELIMS",
	LinkIPNET:             "IPNET",
	227:                   "CAN_SOCKETCAN",
	LinkIPv4:              "IPV4",
	LinkIPv6:              "IPV6",
	230:                   "IEEE802_15_4_NOFCS",
	231:                   "DBUS",
	LinkNFLog:             "NFLOG",
	LinkNetAnalyzer:       "NETANALYZER",
	LinkNetAnalyzerAll:    "NETANALYZER_TRANSPARENT",
	LinkIPoIB:             "IPOIB",
	243:                   "MPEG_2_TS",
	247:                   "INFINIBAND",
	248:                   "SCTP",
	249:                   "USBPCAP",
	251:                   "BLUETOOTH_LE_LL",
	252:                   "WIRESHARK_UPPER_PDU",
	253:                   "NETLINK",
	254:                   "BLUETOOTH_LINUX_MONITOR",
	256:                   "BLUETOOTH_LE_LL_WITH_PHDR",
	LinkPktap:             "PKTAP",
	259:                   "EPON",
	265:                   "RDS",
	266:                   "USB_DARWIN",
	268:                   "SDLC",
	271:                   "VSOCK",
	272:                   "NORDIC_BLE",
	274:                   "ETHERNET_MPACKET",
	LinkLinuxSLL2:         "LINUX_SLL2",
	LinkJuniperMLPPP:      "JUNIPER_MLPPP",
	LinkJuniperMLFR:       "JUNIPER_MLFR",
	LinkJuniperES:         "JUNIPER_ES",
	LinkJuniperGGSN:       "JUNIPER_GGSN",
	LinkJuniperMFR:        "JUNIPER_MFR",
	LinkJuniperATM2:       "JUNIPER_ATM2",
	LinkJuniperServices:   "JUNIPER_SERVICES",
	LinkJuniperATM1:       "JUNIPER_ATM1",
	LinkJuniperMonitor:    "JUNIPER_MONITOR",
	LinkJuniperPPPoE:      "JUNIPER_PPPOE",
	LinkJuniperPPPoEATM:   "JUNIPER_PPPOE_ATM",
	LinkJuniperEthernet:   "JUNIPER_ETHER",
	LinkJuniperPPP:        "JUNIPER_PPP",
	LinkJuniperFrameRelay: "JUNIPER_FRELAY",
	LinkJuniperHDLC:       "JUNIPER_CHDLC",
	LinkJuniperVP:         "JUNIPER_VP",
	LinkBroadcomTag:       "DSA_TAG_BRCM",
	LinkBroadcomPrepend:   "DSA_TAG_BRCM_PREPEND",
	LinkDSA:               "DSA_TAG_DSA",
	LinkEDSA:              "DSA_TAG_EDSA",
}

// A Layout says where a link type has the protocol that it carries, and where
// the network header begins.
type Layout struct {
	Kind    LayoutKind
	Start   uint8 // of the link layer itself, where something stands before it
	TypeAt  uint8
	Network uint8
}

// A LayoutKind says how a link type tells what it carries.
type LayoutKind uint8

const (
	LayoutNone     LayoutKind = iota // at no one place
	LayoutEthernet                   // an EtherType, or the length of an LLC frame
	LayoutCooked                     // Linux: an EtherType, or 4 for an LLC frame
	LayoutCooked2                    // Linux: an EtherType
	LayoutType                       // an EtherType, and no VLAN tags
	LayoutPPP                        // a protocol of PPP, where nothing is compressed away
	LayoutVersion                    // nothing: the header of IP tells its version
	LayoutIPv4                       // nothing: IPv4
	LayoutIPv6                       // nothing: IPv6
	LayoutNull                       // an address family in anyone's byte order
	LayoutLoop                       // an address family in network byte order
)

// layouts are what decoders and filters read link types by. One of LayoutNone or
// LayoutPPP needs a row of the slow decoder (decode/table.go) besides.
//
// They are looked up for every packet, which is why they are in a dense array: a
// switch that returns a struct takes longer than all of the tests of the filter
// "tcp".
var layouts = [...]Layout{
	LinkEthernet:    {LayoutEthernet, 0, 12, 14},
	LinkNetAnalyzer: {LayoutEthernet, 4, 16, 18},
	LinkLinuxSLL:    {LayoutCooked, 0, 14, 16},
	LinkLinuxSLL2:   {LayoutCooked2, 0, 0, 20},
	LinkCiscoHDLC:   {LayoutType, 0, 2, 4},
	LinkPPP:         {LayoutPPP, 0, 2, 4},
	LinkPPPHDLC:     {LayoutPPP, 0, 2, 4},
	LinkPPPoE:       {LayoutPPP, 0, 6, 8},
	LinkRaw:         {LayoutVersion, 0, 0, 0},
	LinkRawBSD:      {LayoutVersion, 0, 0, 0},
	LinkRawOpenBSD:  {LayoutVersion, 0, 0, 0},
	LinkIPv4:        {LayoutIPv4, 0, 0, 0},
	LinkIPv6:        {LayoutIPv6, 0, 0, 0},
	LinkNull:        {LayoutNull, 0, 0, 4},
	LinkLoop:        {LayoutLoop, 0, 0, 4},
}

var noLayout Layout

// Layout returns that of the link type. Its Kind is LayoutNone where headers
// vary, and where the link type is not known.
func (l LinkType) Layout() *Layout {
	if int(l) < len(layouts) {
		return &layouts[l]
	}
	return &noLayout
}
