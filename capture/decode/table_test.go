package decode

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// summed is an IPv4 packet with the right checksum in its header.
func summed(ip []byte) []byte {
	ip = slices.Clone(ip)
	binary.BigEndian.PutUint16(ip[10:], ^fold(addOctets(0, ip[:inet.IPv4Size])))
	return ip
}

// behind puts a packet where it stands.
func behind(at place, p []byte) (pcap.LinkType, []byte) {
	switch at.space {
	case etherType:
		return pcap.LinkEthernet, inFrame(at.n, p)
	case ipProto:
		return pcap.LinkRaw, inIPv4Proto(uint8(at.n), p)
	case udpTo:
		return pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(at.n, p))
	case udpFrom:
		return pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, appendAll(nil, at.n, uint16(50000), uint16(8+len(p)), uint16(0), p))
	case greType:
		return pcap.LinkRaw, inIPv4Proto(inet.ProtoGRE, gre(0, at.n, p))
	case pppType:
		return pcap.LinkPPP, appendAll(nil, "\xff\x03", at.n, p)
	}
	return pcap.LinkType(at.n), p
}

// What a header is before: nothing, or a segment in IPv4, or that in Ethernet, or
// behind a PPP protocol, or behind LLC and SNAP.
const (
	beforeNothing = "nothing"
	beforeIPv4    = "IPv4"
	beforeIPv6    = "IPv6"
	beforeFrame   = "frame"
	beforePPP     = "PPP"
	beforeSNAP    = "SNAP"
	beforeWiFi    = "802.11"
	beforeCheck   = "IPv4 and a check value"
)

// headerCases has each header of the table, written after its specification, and
// what is behind it.
var headerCases = []struct {
	name   string
	at     place
	header string // hexadecimal
	before string
	want   Verdict
}{
	// Behind an Ethernet type.
	{"vlan", ether(0x8100), "0005 0800", beforeIPv4, TCP},
	{"vlan-9200", ether(0x9200), "0005 86dd", beforeIPv6, TCP},
	{"fine-grained-label", ether(0x893b), "0005 893b 0006 0800", beforeIPv4, TCP},
	{"mpls", ether(0x8847), "00010040 00020140", beforeIPv4, TCP},
	{"mpls-pseudowire", ether(0x8847), "00020140 00000000", beforeFrame, TCP},
	{"mpls-pseudowire-without-control-word", ether(0x8848), "00020140", beforeFrame, TCP},
	{"mpls-channel", ether(0x8848), "00020140 10000021", beforeIPv4, NotTCP},
	{"pppoe", ether(0x8864), "1100 0011 0036", beforePPP, TCP},
	{"pppoe-of-a-later-version", ether(0x8864), "1200 0011 0036", beforePPP, Shut},
	{"ppp-over-ethernet", ether(0x880b), "0021", beforeIPv4, TCP},
	{"802.1ah", ether(0x88e7), "00000005", beforeFrame, TCP},
	{"bridged", ether(0x6558), "", beforeFrame, TCP},
	{"long-llc", ether(0x8870), "", beforeSNAP, TCP},
	{"nsh-1", ether(0x894f), "0fc6 0101 000001ff 00000000 00000000 00000000 00000000", beforeIPv4, TCP},
	{"nsh-2-of-ethernet", ether(0x894f), "0fc2 0203 000001ff", beforeFrame, TCP},
	{"nsh-in-nsh", ether(0x894f), "0fc2 0204 000001ff 0fc2 0202 000001ff", beforeIPv6, TCP},
	{"nsh-of-mpls", ether(0x894f), "0fc2 0205 000001ff 00020140", beforeIPv4, TCP},
	{"nsh-of-something-else", ether(0x894f), "0fc2 02fe 000001ff", beforeIPv4, Shut},
	{"nsh-without-length", ether(0x894f), "0fc0 0201 000001ff", beforeIPv4, Undecodable},
	{"vn-tag", ether(0x8926), "00050007 0800", beforeIPv4, TCP},
	{"e-tag", ether(0x893f), "000000070000 0800", beforeIPv4, TCP},
	{"cisco-metadata", ether(0x8909), "0101 00010011 0800", beforeIPv4, TCP},
	{"cisco-metadata-of-two-words", ether(0x8909), "0102 00010011 00020022 86dd", beforeIPv6, TCP},
	{"cisco-metadata-of-no-words", ether(0x8909), "0100 00010011 0800", beforeIPv4, TCP},
	{"fabricpath", ether(0x8903), "0045", beforeFrame, TCP},
	{"trill", ether(0x22f3), "003f 0001 0002", beforeFrame, TCP},
	{"trill-with-options", ether(0x22f3), "00bf 0001 0002 00000000 00000000", beforeFrame, TCP},
	{"hsr", ether(0x892f), "003a 0001 0800", beforeIPv4, TCP},
	{"macsec", ether(0x88e5), "00 00 00000001 0800", beforeCheck, TCP},
	{"macsec-with-an-id", ether(0x88e5), "20 00 00000001 0200000000010001 0800", beforeCheck, TCP},
	{"macsec-encrypted", ether(0x88e5), "0c 00 00000001 0800", beforeIPv4, Shut},
	{"batman", ether(0x4305), "400f 3201 020000000009", beforeFrame, TCP},
	{"batman-of-four-addresses", ether(0x4305), "420f 3201 020000000009 020000000008 01 00", beforeFrame, TCP},
	{"batman-to-all", ether(0x4305), "010f 3200 00000001 020000000009", beforeFrame, TCP},
	{"batman-14", ether(0x4305), "030e 3201 020000000009", beforeFrame, TCP},
	{"batman-in-pieces", ether(0x4305), "410f 3201 020000000009 020000000008 0001 0100", beforeFrame, Shut},
	{"batman-originator", ether(0x4305), "000f 3200 00000001 020000000009 020000000008 00000000", beforeNothing, NotTCP},
	{"dsa-behind-a-type", ether(0xdada), "0000 c0000001 0800", beforeIPv4, TCP},
	{"broadcom-behind-a-type", ether(0x8874), "00000001 0800", beforeIPv4, TCP},
	{"realtek-8366", ether(0x8899), "a003 0800", beforeIPv4, TCP},
	{"realtek-8306", ether(0x8899), "9003 86dd", beforeIPv6, TCP},
	{"realtek-8365", ether(0x8899), "0400 0020 0003 8100 0005 0800", beforeIPv4, TCP},
	{"realtek-loop-detection", ether(0x8899), "23 00", beforeNothing, NotTCP},
	{"realtek-remote-control", ether(0x8899), "01 00", beforeNothing, NotTCP},
	{"realtek-of-another-kind", ether(0x8899), "70 00", beforeIPv4, Shut},
	{"fcoe-of-ip", ether(0x8906), "00000000000000000000000000 2e 04000002 00000001 05290000 01200000 ffffffff 00000000 10000200000000021000020000000001", beforeSNAP, TCP},
	{"fcoe-of-ip-in-pieces", ether(0x8906), "00000000000000000000000000 2e 04000002 00000001 05290000 01000001 ffffffff 00000000", beforeSNAP, Shut},
	{"fcoe-of-scsi", ether(0x8906), "00000000000000000000000000 2e 04000002 00000001 08290000 01200000 ffffffff 00000000", beforeNothing, NotTCP},
	{"macip", ether(0x809b), "004a 0000 0001 0002 05 06 48 48 16", beforeIPv4, TCP},
	{"appletalk", ether(0x809b), "0012 0000 0001 0002 05 06 02 02 02", beforeNothing, NotTCP},
	{"macip-behind-llc", place{linkType, 100}, "aaaa03 080007 809b 004a 0000 0001 0002 05 06 48 48 16", beforeIPv4, TCP},
	{"ethercat", ether(0x88a4), "", beforeNothing, Shut},

	// Behind a protocol of IP.
	{"dynamic-source-routing", place{ipProto, 48}, "06000000", beforeNothing, Shut},
	{"scps", place{ipProto, 105}, "", beforeNothing, Shut},
	{"mobility", place{ipProto, 135}, "3b00 0000 0000 0000", beforeNothing, NotTCP},
	{"mobility-before-a-packet", place{ipProto, 135}, "0401 0000 0000 0000 0000 0000 0000 0000", beforeIPv4, TCP},
	{"hip", place{ipProto, 139}, "3b04 0121 0000 0000 00000000000000000000000000000000 00000000000000000000000000000000", beforeNothing, NotTCP},
	{"shim6", place{ipProto, 140}, "0400 8000 0000 0001", beforeIPv4, TCP},
	{"udp-lite-of-capwap", place{ipProto, 136}, "c350 147f 0008 0000 00100000 00000000", beforeFrame, TCP},
	{"udp-lite", place{ipProto, 136}, "c350 1480 0008 0000", beforeNothing, NotTCP},
	{"ip-in-ip", place{ipProto, 4}, "", beforeIPv4, TCP},
	{"ip-in-ip-94", place{ipProto, 94}, "", beforeIPv4, TCP},
	{"6in4", place{ipProto, 41}, "", beforeIPv6, TCP},
	{"gre", place{ipProto, 47}, "0000 0800", beforeIPv4, TCP},
	{"gre-in-udp", place{udpTo, 4754}, "2000 86dd 00000001", beforeIPv6, TCP},
	{"gre-routed", place{ipProto, 47}, "4000 0800 00000000 0800 0004 0a000001 00000000", beforeIPv4, TCP},
	{"gre-of-a-later-version", place{ipProto, 47}, "0002 0800", beforeIPv4, Shut},
	{"pptp", place{ipProto, 47}, "3081 880b 0035 0005 00000001 00000001 21", beforeIPv4, TCP},
	{"pptp-acknowledges", place{ipProto, 47}, "2081 880b 0000 0005 00000001", beforeNothing, NotTCP},
	{"etherip", place{ipProto, 97}, "3000", beforeFrame, TCP},
	{"l2tpv3", place{ipProto, 115}, "00000005", beforeFrame, TCP},
	{"l2tpv3-with-a-cookie", place{ipProto, 115}, "00000005 1122334455667788", beforeFrame, TCP},
	{"l2tpv3-with-a-cookie-and-a-sublayer", place{ipProto, 115}, "00000005 1122334455667788 40000001", beforeFrame, TCP},
	{"l2tpv3-of-ppp", place{ipProto, 115}, "00000005 11223344 ff030021", beforeIPv4, TCP},
	{"l2tpv3-of-something-else", place{ipProto, 115}, "00000005 11223344 ff030021 1122", beforeIPv4, Shut},
	{"l2tpv3-control", place{ipProto, 115}, "00000000 c8030014 00000000 00000000", beforeNothing, NotTCP},
	{"mpls-in-ip", place{ipProto, 137}, "00020140", beforeIPv4, TCP},
	{"ethernet-in-ip", place{ipProto, 143}, "", beforeFrame, TCP},
	{"esp", place{ipProto, 50}, "00000001 00000001", beforeIPv4, Shut},
	{"protocol-99", place{ipProto, 99}, "", beforeIPv4, Shut},
	{"vrrp", place{ipProto, 112}, "", beforeNothing, NotTCP},

	// Behind a protocol of GRE.
	{"ppp-in-gre", place{greType, 0x880b}, "0021", beforeIPv4, TCP},
	{"erspan-1", place{greType, 0x88be}, "", beforeFrame, TCP},
	{"erspan-2", place{ipProto, 47}, "1000 88be 00000001 10010000 00000000", beforeFrame, TCP},
	{"erspan-3", place{greType, 0x22eb}, "20010000 00000000 00000000", beforeFrame, TCP},
	{"erspan-3-of-ip-with-a-subheader", place{greType, 0x22eb}, "20010000 00000000 0000 0801 0000000000000000", beforeIPv4, TCP},
	{"erspan-3-of-something-else", place{greType, 0x22eb}, "20010000 00000000 0000 1000", beforeIPv4, Shut},
	{"wccp-1", place{greType, 0x883e}, "", beforeIPv4, TCP},
	{"wccp-2", place{greType, 0x883e}, "00000000", beforeIPv4, TCP},
	{"aruba", place{greType, 0x8210}, "", beforeWiFi, TCP},
	{"frame-relay-in-gre", place{greType, 0x6559}, "1841 03cc", beforeIPv4, TCP},
	{"cisco-metadata-in-gre", place{greType, 0x8909}, "0800 0101 00010011", beforeIPv4, TCP},
	{"hdlc-in-gre", place{greType, 0x88d2}, "0f00 0800", beforeIPv4, TCP},
	{"ethernet-in-gre", place{greType, 0x6400}, "", beforeFrame, TCP},
	{"gre-of-an-unknown-type", place{greType, 0x7777}, "", beforeIPv4, Shut},

	// Behind a UDP port.
	{"vxlan", place{udpTo, 4789}, "08000000 00000100", beforeFrame, TCP},
	{"vxlan-of-linux", place{udpTo, 8472}, "08000000 00000100", beforeFrame, TCP},
	{"vxlan-with-a-policy", place{udpTo, 4789}, "88080011 00000100", beforeFrame, TCP},
	{"vxlan-elsewhere", place{udpTo, 5678}, "08000000 00000100", beforeFrame, TCP},
	{"vxlan-elsewhere-of-no-frame", place{udpTo, 5678}, "08000000 00000100 00", beforeFrame, NotTCP},
	{"vxlan-gpe", place{udpTo, 4790}, "0c000001 00000100", beforeIPv4, TCP},
	{"vxlan-gpe-of-nsh", place{udpTo, 4790}, "0c000004 00000100 0fc2 0203 000001ff", beforeFrame, TCP},
	{"vxlan-gpe-management", place{udpTo, 4790}, "0d000001 00000100", beforeIPv4, NotTCP},
	{"geneve", place{udpTo, 6081}, "02006558 00000100 0102030100000000", beforeFrame, TCP},
	{"gtp", place{udpTo, 2152}, "30ff0034 00000001", beforeIPv4, TCP},
	{"gtp-answered", place{udpFrom, 2152}, "30ff0034 00000001", beforeIPv4, TCP},
	{"gtp-with-a-number", place{udpTo, 2152}, "32ff0038 00000001 00010000", beforeIPv4, TCP},
	{"gtp-with-two-extensions", place{udpTo, 2152}, "34ff0044 00000001 00000085 011001c0 02112233 44556600", beforeIPv4, TCP},
	{"gtp-with-an-extension-of-length-0", place{udpTo, 2152}, "34ff0044 00000001 00000085 00100100", beforeIPv4, Shut},
	{"gtp-of-ethernet", place{udpTo, 2152}, "30ff0042 00000001", beforeFrame, TCP},
	{"gtp-of-ppp", place{udpTo, 2152}, "30ff0038 00000001 ff030021", beforeIPv4, TCP},
	{"gtp-echo", place{udpTo, 2152}, "32010004 00000000 00010000", beforeNothing, NotTCP},
	{"gtp-0", place{udpTo, 3386}, "1eff0034 0000000000000000 0000000000000000", beforeIPv4, TCP},
	{"l2tp", place{udpTo, 1701}, "0002 0001 0001 ff030021", beforeIPv4, TCP},
	{"l2tp-with-everything", place{udpFrom, 1701}, "4a02 0048 0001 0001 0001 0000 0002 0000 ff030021", beforeIPv4, TCP},
	{"l2tp-control", place{udpTo, 1701}, "c802 000c 0001 0000 0000 0000", beforeNothing, NotTCP},
	{"l2tpv3-in-udp", place{udpTo, 1701}, "0003 0000 00000005 11223344", beforeFrame, TCP},
	{"l2f", place{udpTo, 1701}, "0001 0001 0001 ff030021", beforeIPv4, Shut},
	{"lisp", place{udpTo, 4341}, "88000001 00000001", beforeIPv4, TCP},
	{"tzsp", place{udpTo, 37008}, "01000001 00 0a0111 01", beforeFrame, TCP},
	{"tzsp-of-wifi", place{udpTo, 37008}, "01000012 01", beforeWiFi, TCP},
	{"tzsp-of-something-else", place{udpTo, 37008}, "01000099 01", beforeFrame, Shut},
	{"tzsp-without-an-end", place{udpTo, 37008}, "01000001 00 0a01", beforeNothing, NotTCP},
	{"gue", place{udpTo, 6080}, "01040000 11223344", beforeIPv4, TCP},
	{"gue-of-ip-at-once", place{udpTo, 6080}, "", beforeIPv4, TCP},
	{"gue-control", place{udpTo, 6080}, "21040000 11223344", beforeIPv4, NotTCP},
	{"mpls-in-udp", place{udpTo, 6635}, "00020140", beforeIPv4, TCP},
	{"capwap", place{udpTo, 5247}, "00100000 00000000", beforeFrame, TCP},
	{"capwap-of-wifi", place{udpFrom, 5247}, "00100300 00000000", beforeWiFi, TCP},
	{"capwap-of-swapped-wifi", place{udpTo, 5247}, "00100300 00000000 0108 0000 020000000002 020000000001 020000000002 0000", beforeSNAP, TCP},
	{"capwap-encrypted", place{udpTo, 5247}, "01000000 17feff00", beforeFrame, Shut},
	{"capwap-in-pieces", place{udpTo, 5247}, "00100080 00010000", beforeFrame, Shut},
	{"capwap-alive", place{udpTo, 5247}, "00100008 00000000", beforeNothing, NotTCP},
	{"lwapp", place{udpTo, 12222}, "00 00 0048 30 20", beforeWiFi, TCP},
	{"lwapp-answered", place{udpFrom, 12223}, "08 00 0048 30 20", beforeWiFi, TCP},
	{"lwapp-behind-an-address", place{udpTo, 12223}, "020000000009 00 00 0048 30 20", beforeWiFi, TCP},
	{"lwapp-swapped", place{udpTo, 12222}, "00 00 0048 30 20 0108" + strings.Repeat("00", 22), beforeSNAP, TCP},
	{"lwapp-behind-a-type", ether(0x88bb), "00 00 0048 30 20", beforeWiFi, TCP},
	{"lwapp-control", place{udpTo, 12223}, "020000000009 04 00 0004 00 00 01 00 0000", beforeNothing, NotTCP},
	{"lwapp-in-pieces", place{udpTo, 12222}, "02 00 0048 30 20", beforeWiFi, Shut},
	{"lwapp-of-a-later-version", place{udpTo, 12222}, "40 00 0048 30 20", beforeWiFi, Shut},
	{"lwapp-of-ethernet", place{udpTo, 12220}, "", beforeFrame, TCP},
	{"juniper-mirror", place{udpTo, 30030}, "00000001 00000002", beforeIPv4, TCP},
	{"juniper-mirror-of-ipv6", place{udpTo, 30030}, "00000001 00000002", beforeIPv6, TCP},
	{"juniper-mirror-of-ppp", place{udpTo, 30030}, "00000001 00000002 ff030021", beforeIPv4, TCP},
	{"juniper-mirror-of-something-else", place{udpTo, 30030}, "00000001 00000002 11", beforeNothing, NotTCP},
	{"cluster", place{udpTo, 3343}, "", beforeFrame, TCP},
	{"cluster-route-control", place{udpTo, 3343}, "68736e64 0100 0000 0100 3000 01000000", beforeNothing, NotTCP},
	{"batman-gateway", place{udpFrom, 4306}, "01", beforeIPv4, TCP},
	{"batman-gateway-of-nothing", place{udpTo, 4306}, "01", beforeNothing, NotTCP},
	{"batman-gateway-keep-alive", place{udpTo, 4306}, "02", beforeIPv4, NotTCP},
	{"peekremote", place{udpTo, 5000}, "00ffabcd 02 0000000b 1122", beforeWiFi, TCP},
	{"not-peekremote", place{udpTo, 5000}, "d8 a4 0060 0060 00 00 11", beforeWiFi, NotTCP},
	{"ayiya", place{udpTo, 5072}, "44521104 6553f100 00000000000000000000000000000000 0000000000000000000000000000000000000000", beforeIPv4, TCP},
	{"ayiya-of-nothing", place{udpTo, 5072}, "4452103b 6553f100", beforeNothing, NotTCP},
	{"teredo", place{udpTo, 3544}, "", beforeIPv6, TCP},
	{"teredo-with-everything", place{udpFrom, 3544}, "0001 02 01 1122 33 0000000000000001 00 0000 1234 0a000001", beforeIPv6, TCP},
	{"esp-in-udp", place{udpTo, 4500}, "00000001 00000001", beforeIPv4, Shut},
	{"ike-in-udp", place{udpTo, 4500}, "00000000 0000000000000001", beforeNothing, NotTCP},
	{"audiocodes", place{udpTo, 925}, "0401", beforeIPv4, Shut},
	{"sflow", place{udpTo, 6343}, "00000005", beforeIPv4, Shut},

	// Behind a protocol of PPP.
	{"ppp-ipv4", place{pppType, 0x0021}, "", beforeIPv4, TCP},
	{"ppp-ipv4-by-its-ethernet-type", place{pppType, 0x0800}, "", beforeIPv4, TCP},
	{"ppp-ipv6-by-its-ethernet-type", place{pppType, 0x86dd}, "", beforeIPv6, TCP},
	{"ppp-ipv6", place{pppType, 0x0057}, "", beforeIPv6, TCP},
	{"ppp-mpls", place{pppType, 0x0281}, "00020140", beforeIPv4, TCP},
	{"ppp-bridged", place{pppType, 0x0031}, "0001", beforeFrame, TCP},
	{"ppp-bridged-token-ring", place{pppType, 0x0031}, "0002", beforeFrame, Shut},
	{"ppp-multilink", place{pppType, 0x003d}, "c0000001 0021", beforeIPv4, TCP},
	{"ppp-multilink-in-pieces", place{pppType, 0x003d}, "80000001 0021", beforeIPv4, Shut},
	{"ppp-van-jacobson", place{pppType, 0x002d}, "", beforeIPv4, Shut},
	{"ppp-encrypted", place{pppType, 0x0053}, "", beforeIPv4, Shut},
	{"ppp-unknown", place{pppType, 0x0099}, "", beforeIPv4, Shut},
	{"ppp-link-control", place{pppType, 0xc021}, "", beforeNothing, NotTCP},

	// Link types.
	{"isl", link(pcap.LinkEthernet), "01000c0000 00 020000000001 0050 aaaa03 000000 0005 0000 0000", beforeFrame, TCP},
	{"netanalyzer", link(pcap.LinkNetAnalyzer), "00000000", beforeFrame, TCP},
	{"netanalyzer-with-preamble", link(pcap.LinkNetAnalyzerAll), "00000000 55555555555555d5", beforeFrame, TCP},
	{"cooked", link(pcap.LinkLinuxSLL), "0000 0001 0006 0000000000000000 0800", beforeIPv4, TCP},
	{"cooked-2", link(pcap.LinkLinuxSLL2), "0800 0000 00000001 0001 00 06 0000000000000000", beforeIPv4, TCP},
	{"null", link(pcap.LinkNull), "02000000", beforeIPv4, TCP},
	{"null-of-an-ethernet-type", link(pcap.LinkNull), "00000800", beforeIPv4, TCP},
	{"null-of-a-swapped-ethernet-type", link(pcap.LinkNull), "dd860000", beforeIPv6, TCP},
	{"null-of-ppp", link(pcap.LinkNull), "ff030021", beforeIPv4, TCP},
	{"null-of-another-family", link(pcap.LinkNull), "07000000", beforeNothing, NotTCP},
	{"null-of-no-family", link(pcap.LinkNull), "12345678", beforeNothing, NotTCP},
	{"enc", link(pcap.LinkENC), "02000000 00000000 00000000", beforeIPv4, TCP},
	{"raw", link(pcap.LinkRawBSD), "", beforeIPv6, TCP},
	{"ppp", link(pcap.LinkPPP), "21", beforeIPv4, TCP},
	{"ppp-with-direction", link(pcap.LinkPPPWithDir), "01 ff03 0021", beforeIPv4, TCP},
	{"pppd", link(pcap.LinkPPPD), "0103 0021", beforeIPv4, TCP},
	{"ppp-or-hdlc", link(pcap.LinkPPPHDLC), "0f00 0800", beforeIPv4, TCP},
	{"hdlc", link(pcap.LinkCiscoHDLC), "8f00 86dd", beforeIPv6, TCP},
	{"hdlc-with-direction", link(pcap.LinkCiscoHDLCWithDir), "00 0f00 0800", beforeIPv4, TCP},
	{"frame-relay", link(pcap.LinkFrameRelay), "1841 03cc", beforeIPv4, TCP},
	{"frame-relay-of-four-octets", link(pcap.LinkFrameRelay), "18400041 038e", beforeIPv6, TCP},
	{"frame-relay-of-snap", link(pcap.LinkFrameRelay), "1841 0300 80 000000 0800", beforeIPv4, TCP},
	{"frame-relay-bridged", link(pcap.LinkFrameRelay), "1841 0300 80 0080c2 0007", beforeFrame, TCP},
	{"frame-relay-of-cisco", link(pcap.LinkFrameRelay), "1841 0800", beforeIPv4, TCP},
	{"frame-relay-of-ppp", link(pcap.LinkFrameRelay), "1841 03cf", beforePPP, TCP},
	{"frame-relay-in-pieces", link(pcap.LinkFrameRelay), "1841 03b1", beforeIPv4, Shut},
	{"frame-relay-compressed", link(pcap.LinkFrameRelay), "1841 03b0", beforeIPv4, Shut},
	{"frame-relay-management", link(pcap.LinkFrameRelay), "0001 03 08 00 75", beforeNothing, NotTCP},
	{"frame-relay-without-end-of-address", link(pcap.LinkFrameRelay), "0000000000", beforeNothing, Undecodable},
	{"frame-relay-with-direction", link(pcap.LinkFrameRelayWithDir), "01 1841 03cc", beforeIPv4, TCP},
	{"multilink-frame-relay", link(pcap.LinkMFR), "c001 1841 03cc", beforeIPv4, TCP},
	{"multilink-frame-relay-in-pieces", link(pcap.LinkMFR), "8001 1841 03cc", beforeIPv4, Shut},
	{"multilink-frame-relay-control", link(pcap.LinkMFR), "e100 01", beforeNothing, NotTCP},
	{"atm", link(pcap.LinkSunATM), "02000021", beforeSNAP, TCP},
	{"atm-bridged", link(pcap.LinkATM), "aaaa03 0080c2 0007 0000", beforeFrame, TCP},
	{"atm-lan", link(pcap.LinkSunATM), "01000021 0001", beforeFrame, TCP},
	{"atm-signalling", link(pcap.LinkSunATM), "06000005 0900", beforeNothing, NotTCP},
	{"atm-of-ppp", link(pcap.LinkSunATM), "00000021 0021", beforeIPv4, TCP},
	{"atm-of-ip-alone", link(pcap.LinkSunATM), "00000021", beforeIPv4, TCP},
	{"fddi", link(pcap.LinkFDDI), "50 020000000002 020000000001", beforeSNAP, TCP},
	{"fddi-management", link(pcap.LinkFDDI), "41 020000000002 020000000001", beforeNothing, NotTCP},
	{"token-ring", link(pcap.LinkTokenRing), "1040 020000000002 020000000001", beforeSNAP, TCP},
	{"token-ring-routed", link(pcap.LinkTokenRing), "1040 020000000002 820000000001 0630 0011 0022", beforeSNAP, TCP},
	{"token-ring-management", link(pcap.LinkTokenRing), "1000 020000000002 020000000001 00", beforeNothing, NotTCP},
	{"arcnet", link(pcap.LinkARCNET), "0102 d4 00 0001", beforeIPv4, TCP},
	{"arcnet-exception", link(pcap.LinkARCNET), "0102 d4 ff ffff d4 00 0001", beforeIPv4, TCP},
	{"arcnet-1051", link(pcap.LinkARCNET), "0102 f0", beforeIPv4, TCP},
	{"arcnet-in-pieces", link(pcap.LinkARCNET), "0102 d4 01 0001", beforeIPv4, Shut},
	{"arcnet-of-arp", link(pcap.LinkARCNET), "0102 d5 00 0001", beforeNothing, NotTCP},
	{"arcnet-of-linux", link(pcap.LinkARCNETLinux), "0102 0000 c4 00 0001", beforeIPv6, TCP},
	{"slip", link(pcap.LinkSLIP), "0040 0000000000000000000000000000", beforeIPv4, TCP},
	{"slip-compressed", link(pcap.LinkSLIP), "0080 0000000000000000000000000000", beforeIPv4, Shut},
	{"fibre-channel", link(pcap.LinkIPOverFC), "1000020000000002 1000020000000001", beforeSNAP, TCP},
	{"firewire", link(pcap.LinkFireWire), "1000020000000002 1000020000000001 0800", beforeIPv4, TCP},
	{"ipoib", link(pcap.LinkIPoIB), strings.Repeat("00", 40) + "0800 0000", beforeIPv4, TCP},
	{"ipnet", link(pcap.LinkIPNET), "01 02 0000 00000034 00000001 00000000 00000000 00000000", beforeIPv4, TCP},
	{"docsis", link(pcap.LinkDOCSIS), "0000 0042 1234", beforeFrame, TCP},
	{"docsis-with-an-extended-header", link(pcap.LinkDOCSIS), "0103 0045 112233 1234", beforeFrame, TCP},
	{"docsis-management", link(pcap.LinkDOCSIS), "c200 0042 1234", beforeFrame, NotTCP},
	{"docsis-of-cells", link(pcap.LinkDOCSIS), "4000 0042 1234", beforeFrame, Shut},
	{"symantec-2", link(pcap.LinkSymantec), "000000000000 0800" + strings.Repeat("00", 36), beforeIPv4, TCP},
	{"symantec-3", link(pcap.LinkSymantec), strings.Repeat("00", 20) + "86dd" + strings.Repeat("00", 34), beforeIPv6, TCP},
	{"dsa", link(pcap.LinkDSA), "020000000002 020000000001 c0000001 0800", beforeIPv4, TCP},
	{"edsa", link(pcap.LinkEDSA), "020000000002 020000000001 dada0000 c0000001 0800", beforeIPv4, TCP},
	{"broadcom", link(pcap.LinkBroadcomTag), "020000000002 020000000001 00000001 0800", beforeIPv4, TCP},
	{"broadcom-before", link(pcap.LinkBroadcomPrepend), "00000001", beforeFrame, TCP},
	{"erf", link(pcap.LinkERF), "0000000000000000 02 04 0054 0000 0042 0000", beforeFrame, TCP},
	{"erf-with-extensions", link(pcap.LinkERF), "0000000000000000 82 04 0064 0000 0042 8000000000000000 0000000000000000 0000", beforeFrame, TCP},
	{"erf-ip", link(pcap.LinkERF), "0000000000000000 16 04 0054 0000 0042", beforeIPv4, TCP},
	{"erf-ipv6", link(pcap.LinkERF), "0000000000000000 17 04 0054 0000 0042", beforeIPv6, TCP},
	{"erf-hdlc", link(pcap.LinkERF), "0000000000000000 01 04 0054 0000 0042 0f00 0800", beforeIPv4, TCP},
	{"erf-multichannel", link(pcap.LinkERF), "0000000000000000 05 04 0054 0000 0042 00000001 ff03 0021", beforeIPv4, TCP},
	{"erf-aal5", link(pcap.LinkERF), "0000000000000000 04 04 0054 0000 0042 00000021", beforeSNAP, TCP},
	{"erf-multichannel-aal5", link(pcap.LinkERF), "0000000000000000 09 04 0054 0000 0042 00000001 00000021", beforeSNAP, TCP},
	{"erf-padding", link(pcap.LinkERF), "0000000000000000 30 04 0054 0000 0042", beforeNothing, NotTCP},
	{"erf-infiniband", link(pcap.LinkERF), "0000000000000000 15 04 0054 0000 0042", beforeIPv4, Shut},
	{"prism", link(pcap.LinkPrism), "44000000 10000000 0000000000000000", beforeWiFi, TCP},
	{"prism-in-network-order", link(pcap.LinkPrism), "00000044 00000010 0000000000000000", beforeWiFi, TCP},
	{"prism-without-a-header", link(pcap.LinkPrism), "0801 0000 020000000002 020000000001 020000000002 0000", beforeSNAP, TCP},
	{"avs-as-prism", link(pcap.LinkPrism), "80211001 0000000c 00000000", beforeWiFi, TCP},
	{"avs", link(pcap.LinkAVS), "80211002 0000000c 00000000", beforeWiFi, TCP},
	{"pflog", link(pcap.LinkPFLog), "3d020000" + strings.Repeat("00", 60), beforeIPv4, TCP},
	{"ppi", link(pcap.LinkPPI), "0000 0800 69000000", beforeWiFi, TCP},
	{"pktap", link(pcap.LinkPktap), "0c000000 01000000 01000000", beforeFrame, TCP},
	{"juniper-ethernet", link(pcap.LinkJuniperEthernet), "4d4743 80 0006 010200 020101", beforeFrame, TCP},
	{"juniper-without-link-layer", link(pcap.LinkJuniperEthernet), "4d4743 02 02000000", beforeIPv4, TCP},
	{"juniper-of-another-magic", link(pcap.LinkJuniperEthernet), "4d4744 00", beforeFrame, Shut},
	{"juniper-ppp", link(pcap.LinkJuniperPPP), "4d4743 01 0000", beforePPP, TCP},
	{"juniper-frame-relay", link(pcap.LinkJuniperFrameRelay), "4d4743 00 1841 03cc", beforeIPv4, TCP},
	{"juniper-hdlc", link(pcap.LinkJuniperHDLC), "4d4743 00 0f00 0800", beforeIPv4, TCP},
	{"juniper-atm-1", link(pcap.LinkJuniperATM1), "4d4743 00 00000001", beforeSNAP, TCP},
	{"juniper-atm-2", link(pcap.LinkJuniperATM2), "4d4743 00 00000001 00000000", beforeSNAP, TCP},
	{"juniper-atm-1-of-ip", link(pcap.LinkJuniperATM1), "4d4743 00 00000001", beforeIPv6, TCP},
	{"juniper-atm-2-of-ppp", link(pcap.LinkJuniperATM2), "4d4743 00 00000001 00000000 0021", beforeIPv4, TCP},
	{"juniper-atm-2-of-ethernet", link(pcap.LinkJuniperATM2), "4d4743 00 00000001 00000000", beforeFrame, TCP},
	{"juniper-voice", link(pcap.LinkJuniperVP), "4d4743 00 000000000000000000000000000000000000", beforeIPv4, TCP},
	{"juniper-services", link(pcap.LinkJuniperServices), "4d4743 00 00000001 00000000", beforeIPv4, TCP},
	{"802.11", link(pcap.LinkWiFi), "", beforeWiFi, TCP},
	{"802.11-of-four-addresses", link(pcap.LinkWiFi), "0803 0000 020000000002 020000000001 020000000002 0000 020000000003", beforeSNAP, TCP},
	{"802.11-with-qos", link(pcap.LinkWiFi), "8801 0000 020000000002 020000000001 020000000002 0000 0000", beforeSNAP, TCP},
	{"802.11-with-qos-and-control", link(pcap.LinkWiFi), "8881 0000 020000000002 020000000001 020000000002 0000 0000 00000000", beforeSNAP, TCP},
	{"802.11-encrypted", link(pcap.LinkWiFi), "0841 0000 020000000002 020000000001 020000000002 0000", beforeSNAP, Shut},
	{"802.11-first-piece", link(pcap.LinkWiFi), "0805 0000 020000000002 020000000001 020000000002 0000", beforeSNAP, Shut},
	{"802.11-acknowledges", link(pcap.LinkWiFi), "d400 0000 020000000002", beforeNothing, NotTCP},
	{"radiotap", link(pcap.LinkRadiotap), "0000 0800 00000000", beforeWiFi, TCP},
	{"nflog", link(pcap.LinkNFLog), "02000000 3800 0900", beforeIPv4, TCP},
}

// made is the packet of a case.
func made(t testing.TB, at place, header, before string) (pcap.LinkType, []byte) {
	segment := tcpSegment(1234, 0x18, nil, []byte("hello rows, "))
	v4, v6 := summed(inIPv4(segment)), inIPv6(segment)
	inside := map[string][]byte{
		beforeNothing: nil, beforeIPv4: v4, beforeIPv6: v6, beforeFrame: inEthernet(v4),
		beforePPP: appendAll(nil, "\x00\x21", v4), beforeSNAP: appendAll(snap(inet.TypeIPv4), v4),
		beforeWiFi: appendAll(nil, "\x08\x01", make([]byte, 22), snap(inet.TypeIPv4), v4), beforeCheck: appendAll(nil, v4, make([]byte, 16)),
	}
	return behind(at, appendAll(octets(t, header), inside[before]))
}

func TestHeaders(t *testing.T) {
	for _, c := range headerCases {
		l, data := made(t, c.at, c.header, c.before)
		var s tcp.Segment
		p := New(Options{})
		v := p.fast(l, data, len(data), &s)
		if v == ask {
			v = p.slowUnguarded(l, frame{data, len(data)}, 0, &s)
		}
		if v != c.want || v == TCP && (s.Seq != 1234 || s.Data != 12 || s.Cut != tcp.CutNone) {
			t.Errorf("%s: got verdict %d, %+v, want %d", c.name, v, s, c.want)
		}
		if v == Shut && p.Passed().Name == "" {
			t.Errorf("%s: what was not opened has no name", c.name)
		}
	}
}

// Whatever is cut of a packet, and wherever, is no crash and no segment of another
// connection.
func TestCutHeaders(t *testing.T) {
	for _, c := range headerCases {
		l, data := made(t, c.at, c.header, c.before)
		for n := range data {
			var s tcp.Segment
			if v := New(Options{}).slowUnguarded(l, frame{data[:n], len(data)}, 0, &s); v == TCP && s.Seq != 1234 {
				t.Errorf("%s, cut to %d octets: %+v", c.name, n, s)
			}
		}
	}
}

// each goes through the rows by their places.
func each(t *pages) iter.Seq2[place, *header] {
	return func(yield func(place, *header) bool) {
		for s := range t {
			for n := range 1 << 16 {
				at := place{space(s), uint16(n)}
				if row := t.get(at); row != nil && !yield(at, row) {
					return
				}
			}
		}
	}
}

// Each row of the table, and each place of it but the queues of one tunnel, is read
// by a case.
func TestEveryHeaderHasACase(t *testing.T) {
	read := map[string]bool{}
	kept := table
	defer func() { table = kept }()
	table = new(pages)
	var all []*header
	for at, row := range each(kept) {
		all = append(all, row)
		marked := *row
		if mark := row.read; mark != nil {
			marked.read = func(f frame) (frame, place) {
				read[row.name+" at "+row.follows[0].String()] = true
				return mark(f)
			}
		} else {
			method := row.method
			marked.method = func(p *Decoder, f frame) Verdict {
				read[row.name+" at "+row.follows[0].String()] = true
				return method(p, f)
			}
		}
		table.set(at, &marked)
	}
	for _, c := range headerCases {
		l, data := made(t, c.at, c.header, c.before)
		New(Options{}).slowUnguarded(l, frame{data, len(data)}, 0, new(tcp.Segment))
	}
	for _, row := range all {
		if name := row.name + " at " + row.follows[0].String(); !read[name] {
			t.Errorf("no case reads %s", name)
		}
	}
}

// An aggregate of 802.11 has several segments.
func TestAggregatesHoldSeveralSegments(t *testing.T) {
	var data []byte
	sub := func(p []byte) {
		data = appendAll(data, make([]byte, 12), uint16(len(p)), p)
		for len(data)%4 != 2 { // the header before has 26 octets
			data = append(data, 0)
		}
	}
	data = appendAll(nil, "\x88\x01", make([]byte, 22), "\x80\x00")
	sub(appendAll(snap(inet.TypeARP), make([]byte, 28)))
	for seq := uint32(1); seq <= 3; seq++ {
		sub(appendAll(snap(inet.TypeIPv4), inIPv4(tcpSegment(seq, 0x10, nil, make([]byte, seq)))))
	}
	var got []tcp.Seq
	var s tcp.Segment
	p := New(Options{})
	for ok := p.Decode(&pcap.Record{Data: data, Wire: len(data), Link: pcap.LinkWiFi}, &s) == TCP; ok; ok = p.Next(&s) {
		got = append(got, s.Seq)
	}
	if !slices.Equal(got, []tcp.Seq{1, 2, 3}) {
		t.Errorf("got %v", got)
	}
}

// Whatever stands behind IP may be in fragments of it.
func TestHeadersInFragments(t *testing.T) {
	n := 0
	for _, c := range headerCases {
		l, data := made(t, c.at, c.header, c.before)
		if l != pcap.LinkRaw || c.want != TCP || c.name == "vxlan-elsewhere" || data[0]>>4 != 4 || c.at.space == linkType {
			continue
		}
		n++
		payload := data[inet.IPv4Size:]
		cut := 16 // before the end of most headers
		first, second := inIPv4Fragment(data[9], 0x2000, payload[:cut]), inIPv4Fragment(data[9], uint16(cut/8), payload[cut:])
		p := New(Options{})
		var s tcp.Segment
		if v := p.Decode(&pcap.Record{Data: first, Wire: len(first), Link: l}, &s); v != NotTCP {
			t.Errorf("%s: the first fragment has verdict %d", c.name, v)
		}
		if v := p.Decode(&pcap.Record{Data: second, Wire: len(second), Link: l}, &s); v != TCP || s.Seq != 1234 || s.Data != 12 {
			t.Errorf("%s: got verdict %d, %+v", c.name, v, s)
		}
	}
	if n < 40 {
		t.Errorf("only %d cases", n)
	}
}

// What is passed over without a word has no row.
func TestQuietHeadersAreNotRead(t *testing.T) {
	for at := range quiet {
		if row := table.get(at); row != nil {
			t.Errorf("%v is read by %s", at, row.name)
		}
	}
}
