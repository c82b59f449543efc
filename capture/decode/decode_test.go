package decode

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// octets reads hexadecimal digits; what follows a # on a line is a comment.
func octets(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	syn4 = `
		02 00 00 00 00 02 02 00 00 00 00 01  08 00   # Ethernet: to, from, IPv4
		45 00 00 3c  77 4f 40 00  40 06 af 5a        # 60 octets, ID 0x774f, DF, TTL 64, TCP
		0a 09 00 01  0a 09 00 02                     # 10.9.0.1 to 10.9.0.2
		9c 40 1b 58  99 1f 3d a0  00 00 00 00        # port 40000 to 7000, sequence number
		a0 02 fa f0  a0 2d 00 00                     # 40 octets, SYN, window 64240
		02 04 05 b4  04 02                           # MSS 1460, SACK permitted
		08 0a 3e f6 d4 9c 00 00 00 00                # timestamps
		01  03 03 0a                                 # window scale 10`

	data6 = `
		60 00 00 00  00 25 06 3f                     # 37 octets, TCP, hop limit 63
		20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
		20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02
		01 bb c0 00  00 00 10 00  00 00 20 00        # port 443 to 49152
		80 19 01 00  00 00 00 07                     # 32 octets, FIN PSH ACK, urgent pointer 7
		01 01 08 0a 00 00 00 01 00 00 00 02          # timestamps
		68 65 6c 6c 6f                               # hello`

	sack4 = `
		45 00 00 40  00 01 00 00  ff 06 00 00        # 64 octets, no DF, TTL 255
		c0 00 02 01  c0 00 02 02
		04 d2 16 2e  ff ff ff ff  7f ff ff ff
		b1 10 00 00  ff ff 00 00                     # 44 octets, ACK, AE, window 0
		01 01 05 12                                  # two SACK blocks
		00 00 00 0a 00 00 00 14  ff ff ff f0 00 00 00 04
		22 02  fe 04 00 00                           # Fast Open, an experiment`
)

func TestDecode(t *testing.T) {
	v4 := func(a string) netip.AddrPort { return netip.MustParseAddrPort(a) }
	syn := tcp.Segment{
		Src: v4("10.9.0.1:40000"), Dst: v4("10.9.0.2:7000"), Seq: 0x991f3da0,
		Wnd: 64240, Flags: tcp.SYN, TTL: 64, ID: 0x774f, Checksum: 0xa02d, Sum: tcp.SumBad,
		Options: tcp.Options{MSS: 1460, HasShift: true, Shift: 10, SACKOK: true, HasTS: true, TSVal: 0x3ef6d49c, Order: 0x24813},
	}
	data := tcp.Segment{
		Src: v4("[2001:db8::1]:443"), Dst: v4("[2001:db8::2]:49152"), Seq: 0x1000, Ack: 0x2000,
		Wnd: 256, Urg: 7, Flags: tcp.FIN | tcp.PSH | tcp.ACK, Data: 5, TTL: 63, Sum: tcp.SumBad,
		Options: tcp.Options{HasTS: true, TSVal: 1, TSEcr: 2, Order: 8},
	}
	sack := tcp.Segment{
		Src: v4("192.0.2.1:1234"), Dst: v4("192.0.2.2:5678"), Seq: 0xffffffff, Ack: 0x7fffffff,
		Flags: tcp.ACK | tcp.AE, TTL: 255, NoDF: true, ID: 1, Checksum: 0xffff,
		Options: tcp.Options{NumSACK: 2, SACK: [4]tcp.Block{{Left: 10, Right: 20}, {Left: 0xfffffff0, Right: 4}}, FastOpen: true},
	}
	with := func(s tcp.Segment, change func(*tcp.Segment)) tcp.Segment {
		change(&s)
		return s
	}
	padding := " 00 00 00 00 00 00"
	ip4 := strings.TrimSpace(strings.SplitN(syn4, "\n", 3)[2])
	for _, c := range []struct {
		name string
		link pcap.LinkType
		hex  string
		cut  int // octets that the snap length left; 0: all
		want tcp.Segment
	}{
		{"syn", pcap.LinkEthernet, syn4, 0, syn},
		{"padding-is-no-data", pcap.LinkEthernet, syn4 + padding, 0, syn},
		{"raw", pcap.LinkRaw, ip4, 0, syn},
		{"vlan", pcap.LinkEthernet, "000000000000 000000000000 8100 0005 0800" + ip4, 0, syn},
		{"qinq", pcap.LinkEthernet, "000000000000 000000000000 88a8 0005 9100 0005 8100 0006 0800" + ip4, 0, syn},
		{"cooked", pcap.LinkLinuxSLL, "0000 0001 0006 0000000000000000 0800" + ip4, 0, syn},
		{"cooked-2", pcap.LinkLinuxSLL2, "86dd 0000 00000001 0001 00 06 0000000000000000" + data6, 0, data},
		{"status-then-ethernet", pcap.LinkNetAnalyzer, "00000000 000000000000 000000000000 8100 0005 0800" + ip4, 0, syn},
		{"cisco-hdlc", pcap.LinkCiscoHDLC, "0f00 86dd" + data6, 0, data},
		{"loopback-little-endian", pcap.LinkNull, "02000000" + ip4, 0, syn},
		{"loopback-big-endian", pcap.LinkLoop, "00000018" + data6, 0, data},
		{"ipv6-data-and-fin", pcap.LinkIPv6, data6, 0, data},
		{"sack-and-fast-open", pcap.LinkIPv4, sack4, 0, sack},
		{"payload-is-cut", pcap.LinkRaw, data6, 74, with(data, func(s *tcp.Segment) { s.Cut, s.Sum = tcp.CutPayload, tcp.SumUnchecked })},
		{"options-are-cut", pcap.LinkEthernet, syn4, 58, with(syn, func(s *tcp.Segment) {
			s.Cut, s.Sum = tcp.CutOptions, tcp.SumUnchecked
			s.Options = tcp.Options{MSS: 1460, Order: 2}
		})},
		{"only-the-fixed-header-is-left", pcap.LinkEthernet, syn4, 54, with(syn, func(s *tcp.Segment) {
			s.Cut, s.Sum, s.Options = tcp.CutOptions, tcp.SumUnchecked, tcp.Options{}
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := octets(t, c.hex)
			wire := len(b)
			if c.cut > 0 {
				b = b[:c.cut]
			}
			var got tcp.Segment
			if v := new(Decoder).fast(c.link, b, wire, &got); v != TCP {
				t.Fatalf("got verdict %d", v)
			}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			var p Decoder
			if v := p.slowUnguarded(c.link, frame{b, wire}, 0, &got); v != TCP || got != c.want {
				t.Errorf("slow path: got verdict %d, %+v\nwant %+v", v, got, c.want)
			}
		})
	}
}

func TestWhatIsNoSegment(t *testing.T) {
	segment := tcpSegment(1, 0x10, nil, nil)
	set := func(b []byte, at int, v byte) []byte {
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name string
		link pcap.LinkType
		data []byte
		want Verdict
	}{
		{"arp", pcap.LinkEthernet, inFrame(0x0806, make([]byte, 28)), NotTCP},
		{"udp", pcap.LinkRaw, inIPv4Proto(inet.ProtoUDP, inUDP(53, nil)), NotTCP},
		{"ping", pcap.LinkRaw, inIPv4Proto(inet.ProtoICMP, []byte{8, 0, 0, 0, 0, 0, 0, 0}), NotTCP},
		{"neighbour-discovery", pcap.LinkRaw, inIPv6Next(inet.ProtoICMPv6, []byte{135, 0, 0, 0, 0, 0, 0, 0}), NotTCP},
		{"spanning-tree", pcap.LinkEthernet, inFrame(38, appendAll(nil, "\x42\x42\x03", make([]byte, 35))), NotTCP},
		{"loopback-of-another-family", pcap.LinkNull, appendAll(nil, uint32(7), segment), NotTCP},
		{"ethernet-cut", pcap.LinkEthernet, make([]byte, 13), Undecodable},
		{"vlan-cut", pcap.LinkEthernet, inFrame(inet.TypeVLAN, []byte{0, 1, 8}), Undecodable},
		{"cooked-cut", pcap.LinkLinuxSLL, make([]byte, 15), Undecodable},
		{"cooked-2-cut", pcap.LinkLinuxSLL2, make([]byte, 19), Undecodable},
		{"loopback-cut", pcap.LinkNull, make([]byte, 3), Undecodable},
		{"nothing", pcap.LinkRaw, nil, Undecodable},
		{"ip-version-5", pcap.LinkRaw, []byte{0x55}, Undecodable},
		{"ipv4-cut", pcap.LinkRaw, inIPv4(segment)[:19], Undecodable},
		{"ipv6-cut", pcap.LinkRaw, inIPv6(segment)[:39], Undecodable},
		{"ipv6-that-says-version-4", pcap.LinkEthernet, inFrame(inet.TypeIPv6, inIPv4(make([]byte, 40))), Undecodable},
		{"ipv4-that-says-version-6", pcap.LinkEthernet, inFrame(inet.TypeIPv4, inIPv6(segment)), Undecodable},
		{"ipv4-shorter-than-its-header", pcap.LinkRaw, set(inIPv4(segment), 3, 19), Undecodable},
		{"ipv4-header-of-16-octets", pcap.LinkRaw, set(inIPv4(segment), 0, 0x44), Undecodable},
		{"tcp-cut", pcap.LinkRaw, inIPv4(segment)[:39], Undecodable},
		{"tcp-shorter-than-its-header", pcap.LinkRaw, inIPv4(segment[:19]), Undecodable},
		{"tcp-header-of-16-octets", pcap.LinkRaw, inIPv4(set(tcpSegment(1, 0x10, nil, nil), 12, 0x40)), Undecodable},
		{"tcp-header-longer-than-the-packet", pcap.LinkRaw, inIPv4(set(tcpSegment(1, 0x10, nil, nil), 12, 0x60)), Undecodable},
		{"65-tags", pcap.LinkEthernet, appendAll(inFrame(inet.TypeVLAN, nil), strings.Repeat("\x00\x01\x81\x00", maxHeaders), inTag(inet.TypeIPv4, inIPv4(segment))), Undecodable},
		{"unknown-link-type", 147, inIPv4(segment), Undecodable},
	} {
		if got := decodeBoth(new(Decoder), c.link, c.data); got != c.want {
			t.Errorf("%s: got verdict %d, want %d", c.name, got, c.want)
		}
	}
}

// decodeBoth decodes a packet as a Source does.
func decodeBoth(p *Decoder, link pcap.LinkType, data []byte) Verdict {
	var s tcp.Segment
	v := p.fast(link, data, len(data), &s)
	if v == ask {
		v = p.slowUnguarded(link, frame{data, len(data)}, p.now, &s)
	}
	return v
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      tcp.Options
	}{
		{"none", "", tcp.Options{}},
		{"padding", "01010101 00000000", tcp.Options{}},
		{"nothing-behind-the-end", "00 0204 05b4", tcp.Options{}},
		{"mss", "0204 05b4", tcp.Options{MSS: 1460, Order: 2}},
		{"mss-of-another-length-is-passed-over", "0203 05 0402", tcp.Options{SACKOK: true, Order: 4}},
		{"shift-of-0", "030300", tcp.Options{HasShift: true, Order: 3}},
		{"shift-over-14-counts-as-14", "0303ff", tcp.Options{HasShift: true, Shift: 14, Order: 3}},
		{"sack-permitted", "0402", tcp.Options{SACKOK: true, Order: 4}},
		{"one-block", "050a 00000001 00000002", tcp.Options{NumSACK: 1, SACK: [4]tcp.Block{{Left: 1, Right: 2}}}},
		{"four-blocks", "0522 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008",
			tcp.Options{NumSACK: 4, SACK: [4]tcp.Block{{Left: 1, Right: 2}, {Left: 3, Right: 4}, {Left: 5, Right: 6}, {Left: 7, Right: 8}}}},
		{"half-a-block-is-none", "0506 00000001", tcp.Options{}},
		{"timestamps", "080a 00000001 00000002", tcp.Options{HasTS: true, TSVal: 1, TSEcr: 2, Order: 8}},
		{"timestamps-aligned", "0101080a 00000001 00000002", tcp.Options{HasTS: true, TSVal: 1, TSEcr: 2, Order: 8}},
		{"an-order-without-timestamps", "0204 05b4 01 01 0402 01 030307 00", tcp.Options{MSS: 1460, SACKOK: true, HasShift: true, Shift: 7, Order: 0x211413}},
		{"no-operations-first-and-last-are-no-order", "0101 0402 0101", tcp.Options{SACKOK: true, Order: 4}},
		{"many-no-operations-are-two-in-the-order", "0402 01010101 030307", tcp.Options{SACKOK: true, HasShift: true, Shift: 7, Order: 0x4113}},
		{"fast-open-request", "2202", tcp.Options{FastOpen: true}},
		{"fast-open-cookie", "220a 0102030405060708", tcp.Options{FastOpen: true}},
		{"fast-open-before-it-had-a-number", "fe04 f989", tcp.Options{FastOpen: true}},
		{"md5", "1312 00112233445566778899aabbccddeeff", tcp.Options{Signed: true}},
		{"authentication", "1d10 0102 00112233445566778899aabb", tcp.Options{Signed: true}},
		{"another-experiment", "fe04 f988", tcp.Options{}},
		{"unknown-is-passed-over", "fd04 0000 0402", tcp.Options{SACKOK: true, Order: 4}},
		{"length-0-ends-reading", "0402 0800 0204 05b4", tcp.Options{SACKOK: true, Order: 4}},
		{"length-1-ends-reading", "0402 0801 0204 05b4", tcp.Options{SACKOK: true, Order: 4}},
		{"too-long-ends-reading", "0402 0204 05", tcp.Options{SACKOK: true, Order: 4}},
		{"kind-alone-ends-reading", "0402 08", tcp.Options{SACKOK: true, Order: 4}},
	} {
		var got tcp.Options
		readOptions(octets(t, c.hex), &got)
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestLengthsComeFromTheHeaders(t *testing.T) {
	segment := tcpSegment(1, 0x10, nil, make([]byte, 1000))
	zero4 := inIPv4(segment)
	zero4[2], zero4[3] = 0, 0
	zero6 := inIPv6(segment)
	zero6[4], zero6[5] = 0, 0
	jumbo := inIPv6Next(inet.ProtoHopByHop, appendAll(nil, uint8(inet.ProtoTCP), uint8(0), "\xc2\x04", uint32(8+20+70000), segment))
	jumbo[4], jumbo[5] = 0, 0
	for _, c := range []struct {
		name       string
		data       []byte
		have, wire int
		want       tcp.Size
	}{
		{"captured", inIPv4(segment), 1040, 1040, 1000},
		{"cut", inIPv4(segment), 60, 1040, 1000},
		{"cut-by-a-tool-that-forgot-the-length", inIPv4(segment), 60, 60, 1000},
		{"padded", append(inIPv4(tcpSegment(1, 0x10, nil, []byte("x"))), 0, 0, 0, 0, 0), 46, 46, 1},
		{"ipv4-of-length-0", zero4, 1040, 1040, 1000},
		{"ipv4-of-length-0-cut", zero4, 60, 150000, 150000 - 40},
		{"ipv6-of-length-0", zero6, 1060, 1060, 1000},
		{"ipv6-of-length-0-cut", zero6, 80, 150000, 150000 - 60},
		{"jumbogram", jumbo, 1068, 40 + 8 + 20 + 70000, 70000},
	} {
		var s tcp.Segment
		var p Decoder
		if v := p.slowUnguarded(pcap.LinkRaw, frame{c.data[:c.have], c.wire}, 0, &s); v != TCP || s.Data != c.want {
			t.Errorf("%s: slow path: got verdict %d, %d octets, want %d", c.name, v, s.Data, c.want)
		}
		if v := new(Decoder).fast(pcap.LinkRaw, c.data[:c.have], c.wire, &s); v != ask && (v != TCP || s.Data != c.want) {
			t.Errorf("%s: got verdict %d, %d octets, want %d", c.name, v, s.Data, c.want)
		}
	}
}

func TestChecksums(t *testing.T) {
	for _, ip := range [][]byte{
		inIPv4(tcpSegment(1, 0x02, nil, []byte("odd"))),
		inIPv6(tcpSegment(1, 0x02, []byte{2, 4, 5, 180}, make([]byte, 1000))),
	} {
		at := len(ip) - len("odd") - inet.TCPSize
		src, dst := addrA, addrB
		if ip[0]>>4 == 6 {
			at = inet.IPv6Size
			src, dst = addrA6, addrB6
		}
		segment := ip[at:]
		set := func(v uint16) { segment[16], segment[17] = byte(v>>8), byte(v) }
		sum := func(length int, b []byte) uint16 { // as RFC 9293 §3.1 has it, slowly
			all := appendAll(nil, src, dst, uint32(inet.ProtoTCP), uint32(length), b, uint8(0))
			total := uint32(0)
			for i := 0; i+1 < len(all); i += 2 {
				total += uint32(be16(all[i:]))
			}
			for total > 0xffff {
				total = total>>16 + total&0xffff
			}
			return uint16(total)
		}
		set(0)
		good := ^sum(len(segment), segment)
		for _, c := range []struct {
			name string
			sent uint16
			want tcp.Sum
		}{
			{"good", good, tcp.SumGood},
			{"bad", good + 1, tcp.SumBad},
			{"left-to-the-card", sum(len(segment), nil), tcp.SumPartial},
			{"left-to-the-card-with-segmentation", sum(0, nil), tcp.SumPartial},
		} {
			set(c.sent)
			var s tcp.Segment
			if v := new(Decoder).fast(pcap.LinkRaw, ip, len(ip), &s); v != TCP || s.Sum != c.want {
				t.Errorf("%s: got verdict %d, sum %d, want %d", c.name, v, s.Sum, c.want)
			}
		}
	}
}

func TestChecksumsOfDataOnlyOnRequest(t *testing.T) {
	ip := inIPv4(tcpSegment(1, 0x10, nil, []byte("data")))
	for verify, want := range map[bool]tcp.Sum{false: tcp.SumUnchecked, true: tcp.SumBad} {
		var s tcp.Segment
		if New(Options{VerifyChecksums: verify}).fast(pcap.LinkRaw, ip, len(ip), &s); s.Sum != want {
			t.Errorf("verify %v: got %d, want %d", verify, s.Sum, want)
		}
	}
}

func TestFastPathDoesNotAllocate(t *testing.T) {
	var s tcp.Segment
	p := New(Options{VerifyChecksums: true})
	for name, text := range map[string]string{"syn": syn4, "data": "000000000000 000000000000 86dd" + data6} {
		b := octets(t, text)
		if n := testing.AllocsPerRun(100, func() {
			if p.fast(pcap.LinkEthernet, b, len(b), &s) != TCP {
				t.Fatal("not decoded")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestSlowPathDoesNotAllocateWithoutFragments(t *testing.T) {
	p := new(Decoder)
	var s tcp.Segment
	b := inFrame(inet.TypeMPLS, appendAll(nil, uint32(16<<12|0x100), inIPv6Next(inet.ProtoDestOpts, appendAll(nil, uint8(inet.ProtoTCP), uint8(0), "\x01\x04\x00\x00\x00\x00", tcpSegment(1, 0x10, nil, nil)))))
	if n := testing.AllocsPerRun(100, func() {
		if p.slow(pcap.LinkEthernet, frame{b, len(b)}, 0, &s) != TCP {
			t.Fatal("not decoded")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPayloadIsHashedOnRequestWhereItIsWhole(t *testing.T) {
	hashed := func(p *Decoder, payload string, cut int, spoil bool) uint64 {
		ip := inIPv4(tcpSegment(1, 0x10, nil, []byte(payload)))
		segment := ip[inet.IPv4Size:]
		copy(segment[16:18], []byte{0, 0})
		sum := ^fold(pseudoHeader(ip) + addOctets(0, segment))
		segment[16], segment[17] = byte(sum>>8), byte(sum)
		if spoil {
			segment[16] ^= 0x55
		}
		var s tcp.Segment
		if v := p.fast(pcap.LinkRaw, ip[:len(ip)-cut], len(ip), &s); v != TCP {
			t.Fatalf("%q: verdict %d", payload, v)
		}
		return s.Payload
	}
	p := New(Options{Payload: true})
	one := hashed(p, "one", 0, false)
	if one == 0 || one != hashed(p, "one", 0, false) || one == hashed(p, "two", 0, false) {
		t.Errorf("equal octets must have equal hashes, and others others: got %d", one)
	}
	keyed := func(key byte) uint64 {
		return hashed(New(Options{Payload: true, Key: &[32]byte{key}}), "one", 0, false)
	}
	if keyed(1) != 0xc34123ea4fd81ac4 || keyed(1) == keyed(2) {
		t.Errorf("a key must give the same hash everywhere, and another another: got %#x and %#x", keyed(1), keyed(2))
	}
	for name, got := range map[string]uint64{
		"not asked for": hashed(new(Decoder), "one", 0, false),
		"cut":           hashed(p, "one", 1, false),
		"corrupt":       hashed(p, "one", 0, true),
		"none":          hashed(p, "", 0, false),
	} {
		if got != 0 {
			t.Errorf("%s: got %d, want 0", name, got)
		}
	}
}

// pseudoHeader sums what a TCP checksum takes from an IPv4 header of 20 octets.
func pseudoHeader(ip []byte) uint64 {
	return addOctets(uint64(inet.ProtoTCP)+uint64(len(ip)-inet.IPv4Size), ip[12:20])
}

func TestFlowLabelOfASYN(t *testing.T) {
	for _, c := range []struct {
		flags, label byte
		want         bool
	}{{0x02, 1, true}, {0x12, 1, true}, {0x02, 0, false}, {0x10, 1, false}} {
		b := inIPv6(tcpSegment(7, c.flags, nil, nil))
		b[3] = c.label
		var fast, slow tcp.Segment
		new(Decoder).fast(pcap.LinkRaw, b, len(b), &fast)
		new(Decoder).slowUnguarded(pcap.LinkRaw, frame{b, len(b)}, 0, &slow)
		if fast.Label != c.want || slow.Label != c.want {
			t.Errorf("flags %#x, label %d: got %t and %t, want %t", c.flags, c.label, fast.Label, slow.Label, c.want)
		}
	}
}
