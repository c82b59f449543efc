package pcap

import "strconv"

// A LinkType says which header the packets of an interface begin with: a
// number of the LINKTYPE_ registry that pcap and pcapng share.
type LinkType uint16

// The link types that tcpwatch reads.
const (
	LinkNull        LinkType = 0   // BSD loopback: address family in the host's byte order
	LinkEthernet    LinkType = 1   // Ethernet II, 802.3
	LinkPPP         LinkType = 9   // PPP, with or without its HDLC-like framing
	LinkRawBSD      LinkType = 12  // IPv4 or IPv6, as most BSDs number it
	LinkRawOpenBSD  LinkType = 14  // IPv4 or IPv6, as OpenBSD numbers it
	LinkPPPHDLC     LinkType = 50  // PPP or Cisco HDLC, the first byte says which
	LinkPPPoE       LinkType = 51  // PPPoE session (RFC 2516)
	LinkATM         LinkType = 100 // LLC over ATM (RFC 2684)
	LinkRaw         LinkType = 101 // IPv4 or IPv6
	LinkCiscoHDLC   LinkType = 104 // Cisco HDLC
	LinkWiFi        LinkType = 105 // IEEE 802.11
	LinkLoop        LinkType = 108 // OpenBSD loopback: address family in network byte order
	LinkLinuxSLL    LinkType = 113 // Linux cooked capture, version 1
	LinkPFLog       LinkType = 117 // OpenBSD's packet filter log
	LinkRadiotap    LinkType = 127 // radiotap, then IEEE 802.11
	LinkPPI         LinkType = 192 // per-packet information, then what it names
	LinkPPPWithDir  LinkType = 204 // one byte of direction, then PPP
	LinkMPLS        LinkType = 219 // MPLS label stack
	LinkIPv4        LinkType = 228 // IPv4 only
	LinkIPv6        LinkType = 229 // IPv6 only
	LinkNFLog       LinkType = 239 // Linux netfilter log
	LinkNetAnalyzer LinkType = 240 // four bytes of status, then Ethernet
	LinkPktap       LinkType = 258 // Apple's pktap, then what it names
	LinkLinuxSLL2   LinkType = 276 // Linux cooked capture, version 2
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
	LinkNull:        "NULL",
	LinkEthernet:    "EN10MB",
	2:               "EN3MB",
	3:               "AX25",
	6:               "IEEE802",
	7:               "ARCNET",
	8:               "SLIP",
	LinkPPP:         "PPP",
	10:              "FDDI",
	LinkRawBSD:      "RAW",
	LinkRawOpenBSD:  "RAW",
	LinkPPPHDLC:     "PPP_SERIAL",
	LinkPPPoE:       "PPP_ETHER",
	99:              "SYMANTEC_FIREWALL",
	LinkATM:         "ATM_RFC1483",
	LinkRaw:         "RAW",
	LinkCiscoHDLC:   "C_HDLC",
	LinkWiFi:        "IEEE802_11",
	107:             "FRELAY",
	LinkLoop:        "LOOP",
	LinkLinuxSLL:    "LINUX_SLL",
	114:             "LTALK",
	LinkPFLog:       "PFLOG",
	119:             "PRISM_HEADER",
	122:             "IP_OVER_FC",
	123:             "SUNATM",
	LinkRadiotap:    "IEEE802_11_RADIO",
	129:             "ARCNET_LINUX",
	138:             "APPLE_IP_OVER_IEEE1394",
	139:             "MTP2_WITH_PHDR",
	140:             "MTP2",
	141:             "MTP3",
	142:             "SCCP",
	143:             "DOCSIS",
	144:             "LINUX_IRDA",
	163:             "IEEE802_11_RADIO_AVS",
	165:             "BACNET_MS_TP",
	166:             "PPP_PPPD",
	169:             "GPRS_LLC",
	177:             "LINUX_LAPD",
	182:             "MFR",
	187:             "BLUETOOTH_HCI_H4",
	189:             "USB_LINUX",
	LinkPPI:         "PPI",
	195:             "IEEE802_15_4",
	197:             "ERF",
	201:             "BLUETOOTH_HCI_H4_WITH_PHDR",
	203:             "LAPD",
	LinkPPPWithDir:  "PPP_WITH_DIR",
	205:             "C_HDLC_WITH_DIR",
	206:             "FRELAY_WITH_DIR",
	209:             "IPMB_LINUX",
	LinkMPLS:        "MPLS",
	220:             "USB_LINUX_MMAPPED",
	224:             "FC_2",
	225:             "FC_2_WITH_FRAME_DELIMS",
	226:             "IPNET",
	227:             "CAN_SOCKETCAN",
	LinkIPv4:        "IPV4",
	LinkIPv6:        "IPV6",
	230:             "IEEE802_15_4_NOFCS",
	231:             "DBUS",
	LinkNFLog:       "NFLOG",
	LinkNetAnalyzer: "NETANALYZER",
	241:             "NETANALYZER_TRANSPARENT",
	242:             "IPOIB",
	243:             "MPEG_2_TS",
	247:             "INFINIBAND",
	248:             "SCTP",
	249:             "USBPCAP",
	251:             "BLUETOOTH_LE_LL",
	252:             "WIRESHARK_UPPER_PDU",
	253:             "NETLINK",
	254:             "BLUETOOTH_LINUX_MONITOR",
	256:             "BLUETOOTH_LE_LL_WITH_PHDR",
	LinkPktap:       "PKTAP",
	259:             "EPON",
	265:             "RDS",
	266:             "USB_DARWIN",
	268:             "SDLC",
	271:             "VSOCK",
	272:             "NORDIC_BLE",
	274:             "ETHERNET_MPACKET",
	LinkLinuxSLL2:   "LINUX_SLL2",
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
// LayoutPPP needs a method of the slow decoder (decode/link.go) besides.
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
