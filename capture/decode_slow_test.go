package capture

import (
	"encoding/binary"
	"net/netip"
	"testing"

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
		link  LinkType
		data  []byte
		want  verdict
		outer verdict // with Options.Outer
	}{
		{"mpls-link", LinkMPLS, appendAll(nil, label(false), label(true), v6), isTCP, isTCP},
		{"mpls-pseudowire", LinkEthernet, inFrame(typeMPLS, appendAll(nil, label(true), uint32(7), inEthernet(v4))), isTCP, isTCP},
		{"mpls-of-something-else", LinkEthernet, inFrame(typeMPLS, appendAll(nil, label(true), "\xff\xff")), notTCP, notTCP},
		{"mpls-without-a-bottom", LinkEthernet, inFrame(typeMPLS, appendAll(nil, label(false), label(false))), undecodable, undecodable},
		{"mpls-of-nine-labels", LinkMPLS, appendAll(nil, label(false), label(false), label(false), label(false), label(false), label(false), label(false), label(false), label(true), v4), undecodable, undecodable},
		{"mpls-on-ppp", LinkPPP, appendAll(nil, "\xff\x03\x02\x81", label(true), v4), isTCP, isTCP},
		{"pseudowires-in-pseudowires", LinkEthernet, nested(20, inEthernet(v4), func(p []byte) []byte {
			return inFrame(typeMPLS, appendAll(nil, label(true), uint32(0), p))
		}), undecodable, undecodable},
		{"netanalyzer", LinkNetAnalyzer, appendAll(nil, uint32(0), inEthernet(v4)), isTCP, isTCP},
		{"pppoe-discovery", LinkEthernet, inFrame(typePPPoE, appendAll(nil, "\x11\x09\x00\x00\x00\x00", make([]byte, 40))), notTCP, notTCP},
		{"ppp-control", LinkPPP, appendAll(nil, "\xff\x03\xc0\x21\x01\x01\x00\x04"), notTCP, notTCP},
		{"cisco-keepalive", LinkCiscoHDLC, appendAll(nil, "\x8f\x00\x80\x35", make([]byte, 18)), notTCP, notTCP},
		{"llc-ip", LinkATM, appendAll(nil, "\x06\x06\x03", v4), isTCP, isTCP},
		{"llc-of-another-organization", LinkATM, appendAll(nil, "\xaa\xaa\x03\x00\x00\x0c\x20\x00", make([]byte, 20)), notTCP, notTCP},
		{"llc-cooked", LinkLinuxSLL, appendAll(nil, make([]byte, 14), uint16(4), snap(typeIPv4), v4), isTCP, isTCP},
		{"novell-cooked", LinkLinuxSLL, appendAll(nil, make([]byte, 14), uint16(1), "\xff\xff", make([]byte, 20)), notTCP, notTCP},
		{"llc-behind-a-vlan-tag", LinkEthernet, inFrame(typeVLAN, inTag(uint16(8+len(v4)), appendAll(snap(typeIPv4), v4, "padding"))), isTCP, isTCP},
		{"wifi-beacon", LinkWiFi, appendAll(nil, "\x80\x00", make([]byte, 60)), notTCP, notTCP},
		{"wifi-null-function", LinkWiFi, appendAll(nil, "\x48\x01", make([]byte, 22)), notTCP, notTCP},
		{"wifi-encrypted", LinkWiFi, appendAll(nil, "\x08\x41", make([]byte, 22), snap(typeIPv4), v4), notTCP, notTCP},
		{"wifi-second-fragment", LinkWiFi, appendAll(nil, "\x08\x01", make([]byte, 20), "\x01\x00", make([]byte, 40)), notTCP, notTCP},
		{"wifi-aggregate", LinkWiFi, appendAll(nil, "\x88\x01", make([]byte, 22), "\x80\x00", make([]byte, 12), uint16(8+len(v4)), snap(typeIPv4), v4), isTCP, isTCP},
		{"wifi-cut", LinkWiFi, appendAll(nil, "\x08\x01", make([]byte, 10)), undecodable, undecodable},
		{"radiotap-longer-than-the-packet", LinkRadiotap, []byte{0, 0, 200, 0, 0, 0, 0, 0}, undecodable, undecodable},
		{"radiotap-of-endless-fields", LinkRadiotap, []byte{0, 0, 8, 0, 0, 0, 0, 0x80, 8, 1}, undecodable, undecodable},
		{"pktap-in-pktap", LinkPktap, appendAll(nil, "\x0c\x00\x00\x00\x00\x00\x00\x00\x02\x01\x00\x00", v4), undecodable, undecodable},
		{"nflog-without-a-packet", LinkNFLog, []byte{2, 0, 0, 0, 8, 0, 1, 0, 1, 2, 3, 4}, undecodable, undecodable},
		{"nflog-of-length-0", LinkNFLog, []byte{2, 0, 0, 0, 0, 0, 9, 0}, undecodable, undecodable},

		{"ipip", LinkRaw, inIPv4Proto(protoIPv4, v4), isTCP, notTCP},
		{"6in4", LinkRaw, inIPv4Proto(protoIPv6, v6), isTCP, notTCP},
		{"4in6", LinkRaw, inIPv6Next(protoIPv4, v4), isTCP, notTCP},
		{"eight-ip-headers", LinkRaw, nested(7, v4, func(p []byte) []byte { return inIPv4Proto(protoIPv4, p) }), isTCP, notTCP},
		{"nine-ip-headers", LinkRaw, nested(8, v4, func(p []byte) []byte { return inIPv4Proto(protoIPv4, p) }), undecodable, notTCP},
		{"gre", LinkRaw, inIPv4Proto(protoGRE, gre(0, typeIPv6, v6)), isTCP, notTCP},
		{"gre-with-everything", LinkRaw, inIPv4Proto(protoGRE, gre(0xb000, typeTEB, appendAll(make([]byte, 12), inEthernet(v4)))), isTCP, notTCP},
		{"gre-pptp", LinkRaw, inIPv4Proto(protoGRE, gre(0x3001, 0x880b, appendAll(make([]byte, 8), v4))), notTCP, notTCP},
		{"gre-source-routed", LinkRaw, inIPv4Proto(protoGRE, gre(0x4000, typeIPv4, appendAll(make([]byte, 4), v4))), notTCP, notTCP},
		{"gre-cut", LinkRaw, inIPv4Proto(protoGRE, []byte{0, 0}), undecodable, notTCP},
		{"vxlan", LinkRaw, inIPv4Proto(protoUDP, inUDP(portVXLAN, vxlan(inEthernet(v4)))), isTCP, notTCP},
		{"vxlan-without-an-id", LinkRaw, inIPv4Proto(protoUDP, inUDP(portVXLAN, make([]byte, 60))), notTCP, notTCP},
		{"vxlan-of-arp", LinkRaw, inIPv4Proto(protoUDP, inUDP(portVXLANLinux, vxlan(inFrame(0x0806, make([]byte, 28))))), notTCP, notTCP},
		{"geneve-of-a-later-version", LinkRaw, inIPv4Proto(protoUDP, inUDP(portGeneve, appendAll(nil, "\x40\x00\x08\x00\x00\x00\x00\x00", v4))), notTCP, notTCP},
		{"another-udp-port", LinkRaw, inIPv4Proto(protoUDP, inUDP(53, vxlan(inEthernet(v4)))), notTCP, notTCP},
		{"etherip", LinkRaw, inIPv4Proto(protoEtherIP, appendAll(nil, "\x30\x00", inEthernet(v4))), isTCP, notTCP},
		{"esp", LinkRaw, inIPv4Proto(50, segment), notTCP, notTCP},
	} {
		for _, outer := range []bool{false, true} {
			want := c.want
			if outer {
				want = c.outer
			}
			p := NewDecoder(DecodeOptions{Outer: outer})
			var s tcp.Segment
			v := p.fast(c.link, c.data, len(c.data), &s)
			if v == ask {
				v = p.slowUnguarded(c.link, frame{c.data, len(c.data)}, 0, &s)
			}
			if v != want || v == isTCP && (s.Seq != 1234 || s.Data != 5 || s.Cut != tcp.CutNone) {
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
		return inIPv6Next(protoRouting, appendAll(nil, uint8(protoTCP), uint8(4), kind, left, uint32(0), first, second, segment))
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
		if v := p.slowUnguarded(LinkRaw, frame{c.data, len(c.data)}, 0, &s); v != isTCP || s.Dst.Addr() != c.want {
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
		p := options(protoTCP, segment)
		for range n - 1 {
			p = options(protoDestOpts, p)
		}
		return inIPv6Next(protoDestOpts, p)
	}
	for _, c := range []struct {
		name string
		data []byte
		want verdict
	}{
		{"hop-by-hop", inIPv6Next(protoHopByHop, options(protoTCP, segment)), isTCP},
		{"authentication", inIPv6Next(protoAH, appendAll(nil, uint8(protoTCP), uint8(4), make([]byte, 22), segment)), isTCP},
		{"authentication-in-ipv4", inIPv4Proto(protoAH, appendAll(nil, uint8(protoTCP), uint8(4), make([]byte, 22), segment)), isTCP},
		{"many", chain(MaxExtensions - 1), isTCP},
		{"too-many", chain(MaxExtensions + 1), undecodable},
		{"cut", inIPv6Next(protoDestOpts, []byte{protoTCP, 1, 0, 0, 0, 0, 0, 0}), undecodable},
		{"nothing-follows", inIPv6Next(59, nil), notTCP},
	} {
		if got := decodeBoth(new(Decoder), LinkRaw, c.data); got != c.want {
			t.Errorf("%s: got verdict %d, want %d", c.name, got, c.want)
		}
	}
}

func TestICMPErrorsQuoteSegments(t *testing.T) {
	segment := tcpSegment(0xcafe, 0x18, nil, make([]byte, 100))
	quote4, quote6 := inIPv4(segment)[:28], inIPv6(segment)[:48]
	icmp := func(kind, code uint8, quote []byte) []byte { return appendAll(nil, kind, code, make([]byte, 6), quote) }
	with := func(kind uint8, quote []byte) []byte { return inIPv4Proto(protoICMP, icmp(kind, 1, quote)) }
	with6 := func(kind uint8, quote []byte) []byte { return inIPv6Next(protoICMPv6, icmp(kind, 1, quote)) }
	udpQuote := inIPv4Proto(protoUDP, inUDP(53, make([]byte, 20)))[:28]
	for _, c := range []struct {
		name string
		data []byte
		want verdict
	}{
		{"unreachable", with(3, quote4), isTCP},
		{"source-quench", with(4, quote4), isTCP},
		{"redirect-is-no-error", with(5, quote4), notTCP},
		{"time-exceeded", with(11, quote4), isTCP},
		{"parameter-problem", with(12, quote4), isTCP},
		{"echo", with(8, quote4), notTCP},
		{"about-udp", with(3, udpQuote), notTCP},
		{"about-a-later-fragment", with(3, inIPv4Fragment(protoTCP, 10, segment)[:28]), notTCP},
		{"about-a-first-fragment", with(3, inIPv4Fragment(protoTCP, 0x2000, segment)[:28]), isTCP},
		{"too-short-a-quote", with(3, quote4[:27]), notTCP},
		{"no-quote", with(3, nil), notTCP},
		{"cut-by-the-capture", with(3, quote4)[:50], undecodable},
		{"v6-unreachable", with6(1, quote6), isTCP},
		{"v6-too-big", with6(2, quote6), isTCP},
		{"v6-time-exceeded", with6(3, quote6), isTCP},
		{"v6-parameter-problem", with6(4, quote6), isTCP},
		{"v6-echo", with6(128, quote6), notTCP},
		{"v6-about-extended", with6(1, inIPv6Next(protoHopByHop, appendAll(nil, uint8(protoTCP), make([]byte, 7), segment))), isTCP},
		{"v6-about-a-first-fragment", with6(1, inIPv6Fragment(protoTCP, 1, segment)), isTCP},
		{"v6-about-a-later-fragment", with6(1, inIPv6Fragment(protoTCP, 8, segment)), notTCP},
		{"v6-too-short-a-quote", with6(1, quote6[:47]), notTCP},
	} {
		wire := len(c.data)
		if c.name == "cut-by-the-capture" {
			wire += 6
		}
		p := new(Decoder)
		s := tcp.Segment{Flags: tcp.SYN, Data: 7} // of the packet before
		v := p.fast(LinkRaw, c.data, wire, &s)
		if v == ask {
			v = p.slowUnguarded(LinkRaw, frame{c.data, wire}, 0, &s)
		}
		if v != c.want {
			t.Errorf("%s: got verdict %d, want %d", c.name, v, c.want)
			continue
		}
		if v != isTCP {
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

// Should a decoder crash after all, it costs one packet.
func TestCrashesAreUndecodable(t *testing.T) {
	ip := inIPv4Proto(protoGRE, make([]byte, 40))
	if v := new(Decoder).Decode(LinkRaw, ip, len(ip), 0, nil); v != undecodable { // without a Segment to be filled in
		t.Errorf("got verdict %d", v)
	}
}
