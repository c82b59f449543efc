package decode

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// How packets are wrapped, and how far the slow path unwraps them. That it
// reads what is inside as tshark does is shown by TestTsharkAgrees; here are
// the wrappings that tshark 4.0 does not know, the choices and the limits.

// label is an MPLS label, the bottom of the stack or not.
func label(bottom bool) []byte {
	v := uint32(16<<12 | 64)
	if bottom {
		v |= 0x100
	}
	return appendAll(nil, v)
}

// snap is an LLC and SNAP header for an Ethernet type.
func snap(kind uint16) []byte {
	return appendAll(nil, "\xaa\xaa\x03\x00\x00\x00", kind)
}

func gre(flags, kind uint16, payload []byte) []byte {
	return appendAll(nil, flags, kind, payload)
}

func TestWrappings(t *testing.T) {
	segment := tcpSegment(1234, 0x18, nil, []byte("hello"))
	v4, v6 := inIPv4(segment), inIPv6(segment)
	vxlan := func(p []byte) []byte { return appendAll(nil, "\x08\x00\x00\x00\x00\x00\x01\x00", p) }
	for _, c := range []struct {
		name  string
		link  pcap.LinkType
		data  []byte
		want  Verdict
		outer Verdict // with Options.Outer
	}{
		{"mpls-link", pcap.LinkMPLS, appendAll(nil, label(false), label(true), v6), TCP, TCP},
		{"mpls-pseudowire", pcap.LinkEthernet, inFrame(inet.TypeMPLS, appendAll(nil, label(true), uint32(7), inEthernet(v4))), TCP, TCP},
		{"mpls-of-something-else", pcap.LinkEthernet, inFrame(inet.TypeMPLS, appendAll(nil, label(true), "\xff\xff")), Shut, Shut},
		{"mpls-without-a-bottom", pcap.LinkEthernet, inFrame(inet.TypeMPLS, appendAll(nil, label(false), label(false))), Undecodable, Undecodable},
		{"mpls-of-nine-labels", pcap.LinkMPLS, appendAll(nil, label(false), label(false), label(false), label(false), label(false), label(false), label(false), label(false), label(true), v4), TCP, TCP},
		{"mpls-on-ppp", pcap.LinkPPP, appendAll(nil, "\xff\x03\x02\x81", label(true), v4), TCP, TCP},
		{"pseudowires-in-pseudowires", pcap.LinkEthernet, nested(40, inEthernet(v4), func(p []byte) []byte {
			return inFrame(inet.TypeMPLS, appendAll(nil, label(true), uint32(0), p))
		}), Undecodable, Undecodable},
		{"netanalyzer", pcap.LinkNetAnalyzer, appendAll(nil, uint32(0), inEthernet(v4)), TCP, TCP},
		{"pppoe-discovery", pcap.LinkEthernet, inFrame(inet.TypePPPoE, appendAll(nil, "\x11\x09\x00\x00\x00\x00", make([]byte, 40))), NotTCP, NotTCP},
		{"ppp-control", pcap.LinkPPP, appendAll(nil, "\xff\x03\xc0\x21\x01\x01\x00\x04"), NotTCP, NotTCP},
		{"cisco-keepalive", pcap.LinkCiscoHDLC, appendAll(nil, "\x8f\x00\x80\x35", make([]byte, 18)), NotTCP, NotTCP},
		{"llc-ip", pcap.LinkATM, appendAll(nil, "\x06\x06\x03", v4), TCP, TCP},
		{"llc-of-another-organization", pcap.LinkATM, appendAll(nil, "\xaa\xaa\x03\x00\x00\x0c\x20\x00", make([]byte, 20)), NotTCP, NotTCP},
		{"llc-cooked", pcap.LinkLinuxSLL, appendAll(nil, make([]byte, 14), uint16(4), snap(inet.TypeIPv4), v4), TCP, TCP},
		{"novell-cooked", pcap.LinkLinuxSLL, appendAll(nil, make([]byte, 14), uint16(1), "\xff\xff", make([]byte, 20)), NotTCP, NotTCP},
		{"llc-behind-a-vlan-tag", pcap.LinkEthernet, inFrame(inet.TypeVLAN, inTag(uint16(8+len(v4)), appendAll(snap(inet.TypeIPv4), v4, "padding"))), TCP, TCP},
		{"wifi-beacon", pcap.LinkWiFi, appendAll(nil, "\x80\x00", make([]byte, 60)), NotTCP, NotTCP},
		{"wifi-null-function", pcap.LinkWiFi, appendAll(nil, "\x48\x01", make([]byte, 22)), NotTCP, NotTCP},
		{"wifi-encrypted", pcap.LinkWiFi, appendAll(nil, "\x08\x41", make([]byte, 22), snap(inet.TypeIPv4), v4), Shut, Shut},
		{"wifi-second-fragment", pcap.LinkWiFi, appendAll(nil, "\x08\x01", make([]byte, 20), "\x01\x00", make([]byte, 40)), Shut, Shut},
		{"wifi-aggregate", pcap.LinkWiFi, appendAll(nil, "\x88\x01", make([]byte, 22), "\x80\x00", make([]byte, 12), uint16(8+len(v4)), snap(inet.TypeIPv4), v4), TCP, TCP},
		{"wifi-cut", pcap.LinkWiFi, appendAll(nil, "\x08\x01", make([]byte, 10)), Undecodable, Undecodable},
		{"radiotap-longer-than-the-packet", pcap.LinkRadiotap, []byte{0, 0, 200, 0, 0, 0, 0, 0}, Undecodable, Undecodable},
		{"radiotap-of-endless-fields", pcap.LinkRadiotap, []byte{0, 0, 8, 0, 0, 0, 0, 0x80, 8, 1}, Undecodable, Undecodable},
		{"pktap-in-pktap", pcap.LinkPktap, appendAll(nil, "\x0c\x00\x00\x00\x00\x00\x00\x00\x02\x01\x00\x00", v4), Undecodable, Undecodable},
		{"nflog-without-a-packet", pcap.LinkNFLog, []byte{2, 0, 0, 0, 8, 0, 1, 0, 1, 2, 3, 4}, Undecodable, Undecodable},
		{"nflog-of-length-0", pcap.LinkNFLog, []byte{2, 0, 0, 0, 0, 0, 9, 0}, Undecodable, Undecodable},

		{"ipip", pcap.LinkRaw, inIPv4Proto(inet.ProtoIPv4, v4), TCP, NotTCP},
		{"6in4", pcap.LinkRaw, inIPv4Proto(inet.ProtoIPv6, v6), TCP, NotTCP},
		{"4in6", pcap.LinkRaw, inIPv6Next(inet.ProtoIPv4, v4), TCP, NotTCP},
		{"eight-ip-headers", pcap.LinkRaw, nested(7, v4, func(p []byte) []byte { return inIPv4Proto(inet.ProtoIPv4, p) }), TCP, NotTCP},
		{"nine-ip-headers", pcap.LinkRaw, nested(8, v4, func(p []byte) []byte { return inIPv4Proto(inet.ProtoIPv4, p) }), Undecodable, NotTCP},
		{"gre", pcap.LinkRaw, inIPv4Proto(inet.ProtoGRE, gre(0, inet.TypeIPv6, v6)), TCP, NotTCP},
		{"gre-with-everything", pcap.LinkRaw, inIPv4Proto(inet.ProtoGRE, gre(0xb000, inet.TypeTEB, appendAll(make([]byte, 12), inEthernet(v4)))), TCP, NotTCP},
		{"gre-pptp", pcap.LinkRaw, inIPv4Proto(inet.ProtoGRE, gre(0x3001, 0x880b, appendAll(nil, uint16(len(v4)+1), make([]byte, 6), "\x21", v4, "padding"))), TCP, NotTCP},
		{"gre-source-routed", pcap.LinkRaw, inIPv4Proto(inet.ProtoGRE, gre(0x4000, inet.TypeIPv4, appendAll(make([]byte, 4), "\x08\x00\x00\x04\x0a\x00\x00\x01\x00\x00\x00\x00", v4))), TCP, NotTCP},
		{"gre-cut", pcap.LinkRaw, inIPv4Proto(inet.ProtoGRE, []byte{0, 0}), Undecodable, NotTCP},
		{"vxlan", pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(portVXLAN, vxlan(inEthernet(v4)))), TCP, NotTCP},
		{"vxlan-without-an-id", pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(portVXLAN, make([]byte, 60))), Shut, NotTCP},
		{"vxlan-of-arp", pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(8472, vxlan(inFrame(0x0806, make([]byte, 28))))), NotTCP, NotTCP},
		{"geneve-of-a-later-version", pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(portGeneve, appendAll(nil, "\x40\x00\x08\x00\x00\x00\x00\x00", v4))), Shut, NotTCP},
		{"another-udp-port", pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(53, vxlan(inEthernet(v4)))), NotTCP, NotTCP},
		{"etherip", pcap.LinkRaw, inIPv4Proto(inet.ProtoEtherIP, appendAll(nil, "\x30\x00", inEthernet(v4))), TCP, NotTCP},
		{"esp", pcap.LinkRaw, inIPv4Proto(50, segment), Shut, NotTCP},
	} {
		for _, outer := range []bool{false, true} {
			want := c.want
			if outer {
				want = c.outer
			}
			p := New(Options{Outer: outer})
			var s tcp.Segment
			v := p.fast(c.link, c.data, len(c.data), &s)
			if v == ask {
				v = p.slowUnguarded(c.link, frame{c.data, len(c.data)}, 0, &s)
			}
			if v != want || v == TCP && (s.Seq != 1234 || s.Data != 5 || s.Cut != tcp.CutNone) {
				t.Errorf("%s, outer %v: got verdict %d, %+v, want %d", c.name, outer, v, s, want)
			}
		}
	}
}

// nested wraps a packet n times.
func nested(n int, p []byte, wrap func([]byte) []byte) []byte {
	for range n {
		p = wrap(p)
	}
	return p
}

// The checksum of a routed packet is that of its last hop, and so is its flow.
func TestRoutesLeadToTheLastHop(t *testing.T) {
	last4, last6 := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	segment := tcpSegment(1, 0x02, nil, nil)
	ipv4Options := func(options string) []byte {
		ip := appendAll(nil, inIPv4(nil), options, segment)
		ip[0] += byte(len(options) / 4)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		return ip
	}
	routing := func(kind, left uint8) []byte {
		first, second := addrB6, last6
		if kind == 4 {
			first, second = second, first
		}
		return inIPv6Next(inet.ProtoRouting, appendAll(nil, uint8(inet.ProtoTCP), uint8(4), kind, left, uint32(0), first, second, segment))
	}
	for _, c := range []struct {
		name string
		data []byte
		want netip.Addr
	}{
		{"loose-source-route", ipv4Options("\x83\x07\x04\xc0\x00\x02\x09\x00"), last4},
		{"strict-source-route", ipv4Options("\x01\x89\x07\x04\xc0\x00\x02\x09"), last4},
		{"source-route-that-is-done", ipv4Options("\x83\x07\x08\xc0\x00\x02\x09\x00"), addrB},
		{"record-route", ipv4Options("\x07\x07\x04\xc0\x00\x02\x09\x00"), addrB},
		{"option-of-length-0", ipv4Options("\x83\x00\x04\xc0\x00\x02\x09\x00"), addrB},
		{"type-0", routing(0, 1), last6},
		{"type-2", routing(2, 1), last6},
		{"segment-routing", routing(4, 1), last6},
		{"segment-routing-that-is-done", routing(4, 0), addrB6},
		{"type-of-another-shape", routing(3, 1), addrB6},
	} {
		var s tcp.Segment
		p := new(Decoder)
		if v := p.slowUnguarded(pcap.LinkRaw, frame{c.data, len(c.data)}, 0, &s); v != TCP || s.Dst.Addr() != c.want {
			t.Errorf("%s: got verdict %d, %v, want %v", c.name, v, s.Dst, c.want)
		}
	}
}

func TestExtensionHeaders(t *testing.T) {
	segment := tcpSegment(1, 0x10, nil, nil)
	options := func(next uint8, p []byte) []byte {
		return appendAll(nil, next, uint8(0), "\x01\x04\x00\x00\x00\x00", p)
	}
	chain := func(n int) []byte {
		p := options(inet.ProtoTCP, segment)
		for range n - 1 {
			p = options(inet.ProtoDestOpts, p)
		}
		return inIPv6Next(inet.ProtoDestOpts, p)
	}
	for _, c := range []struct {
		name string
		data []byte
		want Verdict
	}{
		{"hop-by-hop", inIPv6Next(inet.ProtoHopByHop, options(inet.ProtoTCP, segment)), TCP},
		{"authentication", inIPv6Next(inet.ProtoAH, appendAll(nil, uint8(inet.ProtoTCP), uint8(4), make([]byte, 22), segment)), TCP},
		{"authentication-in-ipv4", inIPv4Proto(inet.ProtoAH, appendAll(nil, uint8(inet.ProtoTCP), uint8(4), make([]byte, 22), segment)), TCP},
		{"many", chain(inet.MaxExtensions - 1), TCP},
		{"too-many", chain(inet.MaxExtensions + 1), Undecodable},
		{"cut", inIPv6Next(inet.ProtoDestOpts, []byte{inet.ProtoTCP, 1, 0, 0, 0, 0, 0, 0}), Undecodable},
		{"nothing-follows", inIPv6Next(59, nil), NotTCP},
	} {
		if got := decodeBoth(new(Decoder), pcap.LinkRaw, c.data); got != c.want {
			t.Errorf("%s: got verdict %d, want %d", c.name, got, c.want)
		}
	}
}

func TestICMPErrorsQuoteSegments(t *testing.T) {
	segment := tcpSegment(0xcafe, 0x18, nil, make([]byte, 100))
	quote4, quote6 := inIPv4(segment)[:28], inIPv6(segment)[:48]
	icmp := func(kind, code uint8, quote []byte) []byte { return appendAll(nil, kind, code, make([]byte, 6), quote) }
	with := func(kind uint8, quote []byte) []byte { return inIPv4Proto(inet.ProtoICMP, icmp(kind, 1, quote)) }
	with6 := func(kind uint8, quote []byte) []byte { return inIPv6Next(inet.ProtoICMPv6, icmp(kind, 1, quote)) }
	udpQuote := inIPv4Proto(inet.ProtoUDP, inUDP(53, make([]byte, 20)))[:28]
	for _, c := range []struct {
		name string
		data []byte
		want Verdict
	}{
		{"unreachable", with(3, quote4), TCP},
		{"source-quench", with(4, quote4), TCP},
		{"redirect-is-no-error", with(5, quote4), NotTCP},
		{"time-exceeded", with(11, quote4), TCP},
		{"parameter-problem", with(12, quote4), TCP},
		{"echo", with(8, quote4), NotTCP},
		{"about-udp", with(3, udpQuote), NotTCP},
		{"about-a-later-fragment", with(3, inIPv4Fragment(inet.ProtoTCP, 10, segment)[:28]), NotTCP},
		{"about-a-first-fragment", with(3, inIPv4Fragment(inet.ProtoTCP, 0x2000, segment)[:28]), TCP},
		{"too-short-a-quote", with(3, quote4[:27]), NotTCP},
		{"no-quote", with(3, nil), NotTCP},
		{"cut-by-the-capture", with(3, quote4)[:50], Undecodable},
		{"v6-unreachable", with6(1, quote6), TCP},
		{"v6-too-big", with6(2, quote6), TCP},
		{"v6-time-exceeded", with6(3, quote6), TCP},
		{"v6-parameter-problem", with6(4, quote6), TCP},
		{"v6-echo", with6(128, quote6), NotTCP},
		{"v6-about-extended", with6(1, inIPv6Next(inet.ProtoHopByHop, appendAll(nil, uint8(inet.ProtoTCP), make([]byte, 7), segment))), TCP},
		{"v6-about-a-first-fragment", with6(1, inIPv6Fragment(inet.ProtoTCP, 1, segment)), TCP},
		{"v6-about-a-later-fragment", with6(1, inIPv6Fragment(inet.ProtoTCP, 8, segment)), NotTCP},
		{"v6-too-short-a-quote", with6(1, quote6[:47]), NotTCP},
	} {
		wire := len(c.data)
		if c.name == "cut-by-the-capture" {
			wire += 6
		}
		p := new(Decoder)
		s := tcp.Segment{Flags: tcp.SYN, Data: 7} // of the packet before
		v := p.fast(pcap.LinkRaw, c.data, wire, &s)
		if v == ask {
			v = p.slowUnguarded(pcap.LinkRaw, frame{c.data, wire}, 0, &s)
		}
		if v != c.want {
			t.Errorf("%s: got verdict %d, want %d", c.name, v, c.want)
			continue
		}
		if v != TCP {
			continue
		}
		want := tcp.Segment{Seq: 0xcafe, ICMP: tcp.ICMP{Code: 1}}
		v6 := c.data[0]>>4 == 6
		want.Src, want.Dst, want.ICMP.From, want.ICMP.Type = netip.AddrPortFrom(addrA, 1000), netip.AddrPortFrom(addrB, 2000), addrA, c.data[20]
		if v6 {
			want.Src, want.Dst, want.ICMP.From = netip.AddrPortFrom(addrA6, 1000), netip.AddrPortFrom(addrB6, 2000), addrA6
			want.ICMP.Type, want.ICMP.V6 = c.data[40], true
		}
		if s != want {
			t.Errorf("%s: got  %+v\nwant %+v", c.name, s, want)
		}
	}
}

// An error that says that a packet is too big tells what fits (RFC 1191 §4, RFC
// 4443 §3.2).
func TestTooBigTellsWhatFits(t *testing.T) {
	segment := tcpSegment(0xcafe, 0x18, nil, make([]byte, 100))
	v4 := inIPv4Proto(inet.ProtoICMP, appendAll(nil, "\x03\x04\xff\xff\xff\xff", uint16(1400), inIPv4(segment)[:28]))
	v6 := inIPv6Next(inet.ProtoICMPv6, appendAll(nil, "\x02\x00\xff\xff", uint32(1400), inIPv6(segment)[:48]))
	other := inIPv4Proto(inet.ProtoICMP, appendAll(nil, "\x03\x01\xff\xff\xff\xff", uint16(1400), inIPv4(segment)[:28]))
	for i, data := range [][]byte{v4, v6, other} {
		want := uint32(1400)
		if i == 2 {
			want = 0
		}
		var s tcp.Segment
		if v := new(Decoder).Decode(&pcap.Record{Data: data, Wire: len(data), Link: pcap.LinkRaw}, &s); v != TCP || s.ICMP.MTU != want {
			t.Errorf("packet %d: verdict %d, MTU %d, want %d", i, v, s.ICMP.MTU, want)
		}
	}
}

// Should a decoder crash after all, it costs one packet.
func TestCrashesAreUndecodable(t *testing.T) {
	ip := inIPv4Proto(inet.ProtoGRE, make([]byte, 40))
	if v := new(Decoder).Decode(&pcap.Record{Data: ip, Wire: len(ip), Link: pcap.LinkRaw}, nil); v != Undecodable { // without a Segment to be filled in
		t.Errorf("got verdict %d", v)
	}
}
