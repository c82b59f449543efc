package filter

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

func mustParse(t testing.TB, expr string) *Filter {
	t.Helper()
	f, err := Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The caret stands under the word that is at fault.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ expr, caret, reason string }{
		{"tcp and gateway 10.0.0.1",
			"        ^", `"gateway" is not supported`},
		{"ip broadcast",
			"   ^", `"broadcast" is not supported`},
		{"ip6 protochain 6",
			"    ^", `"protochain" is not supported`},
		{"inbound",
			"^", `"inbound" is not supported`},
		{"tcp port 80 pppoed",
			"            ^", `"pppoed" is not supported`},
		{"mpls 1048576",
			"     ^", "an MPLS label is at most 1048575"},
		{"pppoes 65536",
			"       ^", "a PPPoE session number is at most 65535"},
		{"geneve 16777216",
			"       ^", "a Geneve network number is at most 16777215"},
		{"mpls and vlan",
			"         ^", `"vlan" cannot come after "mpls"`},
		{"mpls and mpls and pppoes",
			"                  ^", `"pppoes" cannot come after "mpls"`},
		{"pppoes and vlan",
			"           ^", `"vlan" cannot come after "pppoes"`},
		{strings.Repeat("mpls and ", 16) + "mpls",
			strings.Repeat(" ", 144) + "^", `"mpls" is one header too many: at most 16 can be stepped over`},
		{"host example.com",
			"     ^", `"example.com" is the name of a host; names are not resolved, use its address`},
		{`ip host \tcp`,
			"        ^", `"tcp" is the name of a host; names are not resolved, use its address`},
		{"net loopback",
			"    ^", `"loopback" is the name of a network; names are not resolved, use its address`},
		{"host a and b",
			"     ^", `"a" is the name of a host; names are not resolved, use its address`},
		{"10.0.0.1",
			"^", `"10.0.0.1" needs "host", "net", "port" or "proto" before it`},
		{"tcp or 80",
			"       ^", `"80" needs "host", "net", "port" or "proto" before it`},
		{"(port 80) or 443",
			"             ^", `"443" needs "host", "net", "port" or "proto" before it`},
		{"TCP and port 80",
			"^", `unknown word "TCP"; keywords are in lower case: "tcp"`},
		{"prot 80",
			"^", `"prot" is not known`},
		{"syn",
			"^", `"syn" is not a condition by itself; write "tcp.flags & syn != 0"`},
		{"tcp and",
			"       ^", `an expression is missing after "and"`},
		{"and tcp",
			"^", `an expression is missing before "and"`},
		{"tcp and or udp",
			"        ^", `an expression is missing between "and" and "or"`},
		{"tcp udp",
			"    ^", `expected "and", "or" or the end, found "udp"`},
		{"not",
			"   ^", `an expression is missing after "not"`},
		{"(tcp and (udp or icmp)",
			"^", `this "(" is never closed`},
		{"tcp)",
			"   ^", `this ")" has no "("`},
		{"tcp and ()",
			"         ^", "these parentheses are empty"},
		{"port",
			"    ^", "expected a port, found the end"},
		{"port tcp",
			"     ^", `expected a port, found "tcp"`},
		{"port 65536",
			"     ^", "a port is at most 65535"},
		{"port nosuch",
			"     ^", `"nosuch" is not a known port name; use its number`},
		{"udp port ssh",
			"         ^", `"ssh" is a port of TCP only`},
		{"port 10.0.0.1",
			"     ^", `expected a port, found "10.0.0.1"`},
		{"port 089",
			"     ^", `"089" begins with 0, so it is octal, but 8 is not an octal digit`},
		{"icmp port 80",
			"^", `"icmp" cannot come before "port": "tcp", "udp" and "sctp" can`},
		{"portrange 80-http",
			"          ^", `expected two port numbers, such as 8000-8080, found "80-http"`},
		{"portrange 1-65536",
			"          ^", "a port is at most 65535"},
		{"tcp host 10.0.0.1",
			"^", `"tcp" cannot come before "host" with an IP address`},
		{"ip6 host 10.0.0.1",
			"^", `"ip6" cannot come before an IPv4 address`},
		{"ip host ::1",
			"^", `"ip" cannot come before an IPv6 address`},
		{"host 10.0.0.256",
			"     ^", `"10.0.0.256" is not an IPv4 address: "256" is more than 255`},
		{"host 10.0.0.01",
			"     ^", `"10.0.0.01" is not an IPv4 address: "01" begins with 0, which some programs read as octal`},
		{"host 1.2.3.4.5",
			"     ^", `"1.2.3.4.5" is not an IPv4 address: it has more than four parts`},
		{"host fe80::1::2",
			"     ^", `"fe80::1::2" is neither an IPv6 nor an Ethernet address`},
		{"host 10.0.0.0/8",
			"     ^", `"10.0.0.0" with a length is a network: write "net" before it`},
		{"net 10.0.0.1/8",
			"    ^", `"10.0.0.1" has bits set beyond the length of the network: the network is 10.0.0.0`},
		{"net fe80::1/64",
			"    ^", `"fe80::1" has bits set beyond the length of the network: the network is fe80::`},
		{"net 10.0.0.0/33",
			"             ^", `expected a length of 0 to 32 bits, found "33"`},
		{"net 10.0.0.0 mask 8",
			"                  ^", `expected a mask such as 255.255.0.0, found "8"`},
		{"host 2:0:0:0:0:1",
			"     ^", `"2:0:0:0:0:1" is an Ethernet address: write "ether host", "ether src" or "ether dst" before it`},
		{"ether",
			"^", `"ether" must be followed by "src", "dst", "host", "proto" or "["`},
		{"ether host 10.0.0.1",
			"^", `"ether" cannot come before "host" with an IP address`},
		{"ip proto tcp",
			"         ^", `"tcp" is a keyword: write \tcp for the protocol`},
		{"ip proto 256",
			"         ^", "an IP protocol is at most 255"},
		{"tcp proto 6",
			"^", `"tcp" cannot come before "proto": "ip", "ip6" and "ether" can`},
		{"src proto 6",
			"    ^", `"proto" has no direction: "src" and "dst" cannot come before it`},
		{"vlan 4096",
			"     ^", "a VLAN number is at most 4095"},
		{"less than",
			"     ^", `expected a length in bytes after "less", found "than"`},
		{"tcp[13] & 2",
			"           ^", `expected a comparison such as "=" or "!=", found the end`},
		{"tcp[13] = 2 = 3",
			"            ^", `a comparison has two sides; "=" cannot follow it`},
		{"tcp[13:3] = 2",
			"       ^", `expected a size of 1, 2 or 4 bytes, found "3"`},
		{"tcp[13 = 2",
			"       ^", `expected "]", found "="`},
		{"tcp[4-1] = 2",
			"    ^", `expected a number, found "4-1"`},
		{"ah[0] = 2",
			"^", `bytes of "ah" cannot be read`},
		{"ip[0] / 0 = 2",
			"        ^", "division by zero"},
		{"ip[0] << 32 = 2",
			"         ^", "shift by more than 31 bits"},
		{"len > 4294967296",
			"      ^", `"4294967296" does not fit into 32 bits`},
		{"tcp; udp",
			"   ^", `';' has no meaning here`},
		{"tcp and \u00e9t\u00e9",
			"        ^", `'é' has no meaning here`},
		{`host \`,
			"     ^", "a name must follow the backslash"},
		{strings.Repeat("not ", 201) + "tcp",
			strings.Repeat(" ", 804) + "^", "the expression is nested more than 200 levels deep"},
	} {
		_, err := Parse(tt.expr)
		var fe *Error
		if !errors.As(err, &fe) {
			t.Errorf("ParseFilter(%q): error %v, want a FilterError", tt.expr, err)
			continue
		}
		want := "filter: " + tt.reason + "\n  " + tt.expr + "\n  " + tt.caret
		if got := err.Error(); got != want {
			t.Errorf("ParseFilter(%q):\n%s\nwant\n%s", tt.expr, got, want)
		}
	}
}

// What cannot be printed does not reach the terminal.
func TestErrorIsPrintable(t *testing.T) {
	_, err := Parse("tcp\n and \x1b[31m foo")
	want := "filter: '\\x1b' has no meaning here\n  tcp  and  [31m foo\n           ^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// Expressions that mean the same are the same filter.
func TestEquals(t *testing.T) {
	for _, tt := range []struct{ expr, same string }{
		{"tcp or udp and port 53", "(tcp or udp) and port 53"},
		{"tcp and port 80 or udp and port 53", "((tcp and port 80) or udp) and port 53"},
		{"not tcp and udp", "(not tcp) and udp"},
		{"! tcp || udp && icmp", "(not tcp or udp) and icmp"},
		{"port 80 or 443", "port 80 or port 443"},
		{"tcp dst port 80 or 443", "tcp dst port 80 or tcp dst port 443"},
		{"src host 10.0.0.1 or 10.0.0.2 and not 10.0.0.3", "src host 10.0.0.1 or src host 10.0.0.2 and not src host 10.0.0.3"},
		{"host 10.0.0.1 and port 80 or 443", "host 10.0.0.1 and port 80 or port 443"},
		{"port 80 and (host 10.0.0.1) or 443", "port 80 and host 10.0.0.1 or port 443"},
		{"port 22 or (tcp src port 80 or 443) or 53", "port 22 or (tcp src port 80 or tcp src port 443) or port 53"},
		{"port (80 or 443)", "port 80 or port 443"},
		{"port not 80", "not port 80"},
		{"port 22 or (80 and tcp)", "port 22 or (port 80 and tcp)"},
		{"src 10.0.0.1", "src host 10.0.0.1"},
		{"dst or src host 10.0.0.1", "host 10.0.0.1"},
		{"net 10.9", "net 10.9.0.0/16"},
		{"net 10/8", "net 10.0.0.0/8"},
		{"net 10", "net 10.0.0.0 mask 255.0.0.0"},
		{"net 10.9.0.0", "host 10.9.0.0"},
		{"net ::1", "ip6 host ::1"},
		{"portrange 90-80", "portrange 80-90"},
		{"portrange 80", "port 80"},
		{"port http", "tcp port 80"},
		{"port domain", "port 53"},
		{`proto \tcp`, "tcp"},
		{"ip6 proto 58", "icmp6"},
		{"ether proto 0x800", "ip"},
		{"less 60", "len <= 60"},
		{"greater 60", "len >= 60"},
		{"ip[0] & 1 << 2 + 3 * 4 = 0", "ip[0] & (1 << (2 + (3 * 4))) = 0"},
		{"ip[0] - ip[1] - ip[2] = 0", "(ip[0] - ip[1]) - ip[2] = 0"},
		{"ip[0] % ip[1] + 1 = 0", "ip[0] % (ip[1] + 1) = 0"},
		{"ip[0] | ip[1] & 3 = 0", "ip[0] | (ip[1] & 3) = 0"},
		{"-ip[0] + 1 = 0", "(-ip[0]) + 1 = 0"},
		{"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[13] & 3 != 0"},
		{"tcp.flags & (syn|fin) != 0", "tcp.flags & (tcp-syn|tcp-fin) != 0"},
		{"", "  \t\n"},
	} {
		f, same := mustParse(t, tt.expr), mustParse(t, tt.same)
		if !reflect.DeepEqual(f, same) {
			t.Errorf("%q is\n%v, but %q is\n%v", tt.expr, f, tt.same, same)
		}
	}
}

func TestString(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{"", ""},
		{"tcp && (port 80||443)", "tcp and (port 80 or port 443)"},
		{"(tcp or udp) and not (src net 10.9 and vlan 3)", "tcp or udp and not (src net 10.9.0.0/16 and vlan 3)"},
		{"ether src and dst 02-00-00-00-00-01", "ether src and dst host 2:0:0:0:0:1"},
		{"net 10.0.0.1 mask 255.0.0.255", "net 10.0.0.1 mask 255.0.0.255"},
		{"dst net 2001:db8::/32", "ip6 dst net 2001:db8::/32"},
		{"udp src portrange 5-7", "udp src portrange 5-7"},
		{"ether proto 0x88cc or ip proto 47", "ether proto 0x88cc or ip proto 47"},
		{"(tcp[(12)] & 0xf0) >> 2 == (5)", "(tcp[12] & 240) >> 2 = 5"},
		{"ip[2:2] - (len - 14) < - ip6[0] * 2", "ip[2:2] - (len - 14) < -ip6[0] * 2"},
		{"tcp.flags = syn|ack", "tcp.flags = 18"},
		{"mpls (100) && mpls || ip", "mpls 100 and mpls or ip"},
		{"pppoes 0x27 and geneve (11) and geneve", "pppoes 39 and geneve 11 and geneve"},
	} {
		if got := mustParse(t, tt.expr).String(); got != tt.want {
			t.Errorf("ParseFilter(%q).String() = %q, want %q", tt.expr, got, tt.want)
		}
	}
}

// tcp.flags sees what tcp[13] sees, and IPv6.
func TestFlags(t *testing.T) {
	syn := tcpHeader(40000, 80, 0x02)
	hop := []byte{6, 0, 1, 4, 0, 0, 0, 0}
	v6 := func(next byte, payload ...[]byte) []byte {
		return ipv6("2001:db8::1", "fe80::1", next, slices.Concat(payload...))
	}
	v4 := func(fragment uint16, options []byte) []byte {
		return ipv4("10.0.0.1", "1.2.3.4", 6, fragment, options, syn)
	}
	for _, tt := range []struct {
		name string
		kind uint16
		data []byte
		want bool
	}{
		{"v4", inet.TypeIPv4, v4(0x4000, nil), true},
		{"v4 with options", inet.TypeIPv4, v4(0, make([]byte, 8)), true},
		{"v4 first fragment", inet.TypeIPv4, v4(0x2000, nil), true},
		{"v4 later fragment", inet.TypeIPv4, v4(0x2001, nil), false},
		{"v4 of UDP", inet.TypeIPv4, ipv4("10.0.0.1", "1.2.3.4", 17, 0, nil, syn), false},
		{"v6", inet.TypeIPv6, v6(6, syn), true},
		{"v6 hop-by-hop", inet.TypeIPv6, v6(0, hop, syn), true},
		{"v6 long destination options", inet.TypeIPv6, v6(60, []byte{6, 1}, make([]byte, 14), syn), true},
		{"v6 routing, then hop-by-hop", inet.TypeIPv6, v6(43, []byte{0, 0, 0, 0, 0, 0, 0, 0}, hop, syn), true},
		{"v6 first fragment", inet.TypeIPv6, v6(44, []byte{6, 0, 0, 1, 0, 0, 0, 9}, syn), true},
		{"v6 later fragment", inet.TypeIPv6, v6(44, []byte{6, 0, 0, 9, 0, 0, 0, 9}, syn), false},
		{"v6 authentication", inet.TypeIPv6, v6(51, []byte{6, 4}, make([]byte, 22), syn), true},
		{"v6 of UDP", inet.TypeIPv6, v6(17, syn), false},
		{"v6 of endless headers", inet.TypeIPv6, v6(0, make([]byte, 400)), false},
		{"v6 of a header beyond the end", inet.TypeIPv6, v6(0, []byte{6, 200, 0, 0}), false},
		{"cut before the flags", inet.TypeIPv6, v6(6, syn[:13]), false},
		{"arp", inet.TypeARP, arp("10.0.0.1", "1.2.3.4"), false},
	} {
		for _, link := range []pcap.LinkType{pcap.LinkEthernet, pcap.LinkLinuxSLL, pcap.LinkLinuxSLL2, pcap.LinkRaw, pcap.LinkNull, pcap.LinkLoop, pcap.LinkPPP} {
			header, ok := linkHeader(link, tt.kind)
			if !ok {
				continue
			}
			data := slices.Concat(header, tt.data)
			for _, expr := range []string{"tcp.flags & syn != 0", "tcp.flags = syn", "tcp.flags & (syn|fin) != 0", "syn & tcp.flags = tcp-syn"} {
				if got := mustParse(t, expr).Match(link, data, len(data)); got != tt.want {
					t.Errorf("%v: %s: %q matches: %v, want %v", link, tt.name, expr, got, tt.want)
				}
			}
			if mustParse(t, "tcp.flags & ack != 0").Match(link, data, len(data)) {
				t.Errorf("%v: %s: has an ACK", link, tt.name)
			}
		}
	}
}

// Link types that tcpdump has no filters for, or other ones.
func TestLinks(t *testing.T) {
	v4 := ipv4("10.0.0.1", "1.2.3.4", 6, 0, nil, tcpHeader(40000, 80, 2))
	v6 := ipv6("fe80::1", "fe80::2", 6, tcpHeader(40000, 80, 2))
	tag := octets16(100, inet.TypeIPv4)
	cooked, _ := linkHeader(pcap.LinkLinuxSLL, inet.TypeVLAN)
	cooked2, _ := linkHeader(pcap.LinkLinuxSLL2, inet.TypeVLAN)
	ethernet, _ := linkHeader(pcap.LinkEthernet, inet.TypeIPv4)
	label, geneve := []byte{0, 6, 0x41, 64}, ipv4("10.9.1.2", "1.2.3.4", 17, 0, nil, slices.Concat(octets16(40000, 6081, 50, 0), octets16(0, inet.TypeIPv4, 0, 5<<8)))
	labelled, _ := linkHeader(pcap.LinkLinuxSLL, inet.TypeMPLS)
	for _, tt := range []struct {
		name string
		link pcap.LinkType
		data []byte
		expr string
		want bool
	}{
		{"tags in cooked captures", pcap.LinkLinuxSLL, slices.Concat(cooked, tag, v4), "vlan 100 and tcp port 80", true},
		{"tags in cooked captures 2", pcap.LinkLinuxSLL2, slices.Concat(cooked2, tag, v4), "vlan 100 and tcp port 80", true},
		{"another tag", pcap.LinkLinuxSLL2, slices.Concat(cooked2, tag, v4), "vlan 3 and tcp port 80", false},
		{"labels in cooked captures", pcap.LinkLinuxSLL, slices.Concat(labelled, label, v4), "mpls 100 and tcp port 80", true},
		{"no labels in raw IP", pcap.LinkRaw, v4, "mpls", false},
		{"mpls moves nothing in raw IP", pcap.LinkRaw, v4, "mpls or tcp port 80", true},
		{"nothing is behind what is not Geneve", pcap.LinkEthernet, slices.Concat(ethernet, v4), "geneve or tcp or ip or arp or port 80 or host 1.2.3.4 or ether host 2:0:0:0:0:1", false},
		{"but it has a length", pcap.LinkEthernet, slices.Concat(ethernet, v4), "geneve or not tcp and len > 20", true},
		{"Geneve behind labels", pcap.LinkLinuxSLL, slices.Concat(labelled, label, geneve, v4), "mpls and geneve 5 and tcp port 80", true},
		{"not Geneve in UDP", pcap.LinkLinuxSLL, slices.Concat(labelled, label, geneve, v4), "mpls and geneve 6 or udp", false},
		{"no tags in raw IP", pcap.LinkRaw, v4, "vlan", false},
		{"vlan moves nothing in raw IP", pcap.LinkRaw, v4, "vlan or tcp port 80", true},
		{"no Ethernet addresses in raw IP", pcap.LinkRaw, v4, "ether host 2:0:0:0:0:1", false},
		{"status before Ethernet", pcap.LinkNetAnalyzer, slices.Concat([]byte{1, 2, 3, 4}, ethernet, v4), "tcp port 80 and ether src 2:0:0:0:0:1 and ether[5] = 2", true},
		{"raw IP of OpenBSD", pcap.LinkRawOpenBSD, v4, "tcp port 80", true},
		{"raw IP of the BSDs", pcap.LinkRawBSD, v6, "tcp port 80", true},
		{"IPv6 of FreeBSD", pcap.LinkNull, slices.Concat([]byte{28, 0, 0, 0}, v6), "ip6 and port 80", true},
		{"IPv6 of macOS, other byte order", pcap.LinkNull, slices.Concat([]byte{0, 0, 0, 30}, v6), "ip6 and port 80", true},
		{"IPv6 of OpenBSD", pcap.LinkLoop, slices.Concat([]byte{0, 0, 0, 24}, v6), "ip6 and port 80", true},
		{"loop has one byte order", pcap.LinkLoop, slices.Concat([]byte{24, 0, 0, 0}, v6), "ip6", false},
		{"PPP as HDLC", pcap.LinkPPPHDLC, slices.Concat([]byte{0xff, 3, 0, 0x21}, v4), "host 1.2.3.4", true},
		{"802.11 has no network header here", pcap.LinkWiFi, slices.Concat([]byte{8, 0}, v4), "ip or tcp or port 80 or tcp.flags != 0", false},
		{"802.11 has a length", pcap.LinkWiFi, slices.Concat([]byte{8, 0}, v4), "not tcp and less 100 and ether[0] = 8", true},
	} {
		if got := mustParse(t, tt.expr).Match(tt.link, tt.data, len(tt.data)); got != tt.want {
			t.Errorf("%s: %q matches: %v, want %v", tt.name, tt.expr, got, tt.want)
		}
	}
}

func TestReads(t *testing.T) {
	for _, tt := range []struct {
		expr string
		link pcap.LinkType
		want bool
	}{
		{"tcp", pcap.LinkEthernet, true},
		{"tcp", pcap.LinkNull, true},
		{"tcp", pcap.LinkWiFi, false},
		{"", pcap.LinkWiFi, true},
		{"less 100 and ether[0] = 8", pcap.LinkWiFi, true},
		{"less 100 or ip[0] = 8", pcap.LinkWiFi, false},
		{"tcp.flags = syn", pcap.LinkPFLog, false},
	} {
		if got := mustParse(t, tt.expr).Reads(tt.link); got != tt.want {
			t.Errorf("ParseFilter(%q).Reads(%v) = %v, want %v", tt.expr, tt.link, got, tt.want)
		}
	}
}

// Lengths are those on the wire, not those of what was captured.
func TestLengths(t *testing.T) {
	data := make([]byte, 64)
	for _, tt := range []struct {
		expr string
		want bool
	}{
		{"len = 1500", true}, {"less 1499", false}, {"less 1500", true}, {"greater 1500", true}, {"greater 1501", false}, {"len = 64", false},
	} {
		if got := mustParse(t, tt.expr).Match(pcap.LinkEthernet, data, 1500); got != tt.want {
			t.Errorf("%q matches 1500 octets cut to 64: %v, want %v", tt.expr, got, tt.want)
		}
	}
}

func TestZeroValueMatchesAll(t *testing.T) {
	var f Filter
	if !f.Match(pcap.LinkEthernet, nil, 0) || f.String() != "" {
		t.Error("it does not")
	}
}

// Chains are not nesting.
func TestLongChain(t *testing.T) {
	expr := "host 10.0.0.1" + strings.Repeat(" or 1.2.3.4 and not 5.6.7.8", 5000)
	f := mustParse(t, expr)
	if again := mustParse(t, f.String()); !reflect.DeepEqual(f, again) {
		t.Error("changed by String")
	}
}

// benchmarked are matched against a TCP segment over Ethernet.
var benchmarked = []struct{ name, expr string }{
	{"proto", "tcp"},
	{"host", "host 10.0.0.1"},
	{"port", "tcp port 443"},
	{"flags", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0"},
	{"own-flags", "tcp.flags & (syn|fin) != 0"},
	{"miss", "udp port 53 or icmp"},
	{"long", "tcp and (port 80 or port 443) and not (net 192.168.0.0/16 or host 10.9.9.9) and tcp[13] & 2 != 0"},
}

func benchmarkSegment() []byte {
	header, _ := linkHeader(pcap.LinkEthernet, inet.TypeIPv4)
	return slices.Concat(header, ipv4("10.0.0.1", "1.2.3.4", 6, 0x4000, nil, tcpHeader(40000, 443, 2)))
}

func TestMatchDoesNotAllocate(t *testing.T) {
	data := benchmarkSegment()
	for _, b := range benchmarked {
		f := mustParse(t, b.expr)
		if n := testing.AllocsPerRun(100, func() { f.Match(pcap.LinkEthernet, data, len(data)) }); n != 0 {
			t.Errorf("matching %q allocates %v times", b.expr, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	data := benchmarkSegment()
	for _, bb := range benchmarked {
		f := mustParse(b, bb.expr)
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				f.Match(pcap.LinkEthernet, data, len(data))
			}
		})
	}
}

// Whatever is read prints as something that reads as the same filter, and what
// is refused is refused with a place in the expression.
func FuzzParse(f *testing.F) {
	for _, exprs := range exprs {
		for _, expr := range exprs {
			f.Add(expr)
		}
	}
	for _, expr := range []string{
		"tcp.flags & (syn|fin) != 0", "tcp and gateway 10.0.0.1", "net 10/8", "port 22 or (80 and tcp)", `\`, "((((", "-len % 3 = 1", "not not not",
		"(-len) % 3 = -1", "ip[ip[ip[1]]:4] ^ 1 ^ 2 = len", "vlan (80 or 443)", "host ::ffff:1.2.3.4",
	} {
		f.Add(expr)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		filter, err := Parse(expr)
		if err != nil {
			var fe *Error
			if !errors.As(err, &fe) || fe.Offset < 0 || fe.Offset > len(expr) || strings.Count(err.Error(), "\n") != 2 {
				t.Fatalf("ParseFilter(%q): %#v", expr, err)
			}
			return
		}
		again, err := Parse(filter.String())
		if err != nil {
			t.Fatalf("%q prints as %q:\n%v", expr, filter, err)
		}
		if !reflect.DeepEqual(filter, again) {
			t.Fatalf("%q prints as %q, which is\n%v", expr, filter, again)
		}
	})
}

// No packet stops a filter.
func FuzzMatch(f *testing.F) {
	for i, p := range packetsOf(pcap.LinkEthernet) {
		if i%50 == 0 {
			f.Add(uint16(pcap.LinkEthernet), p.data, p.wireLen)
		}
	}
	for _, link := range links() {
		for i, p := range packetsOf(link)[:100] {
			if i%10 == 0 {
				f.Add(uint16(link), p.data, p.wireLen)
			}
		}
	}
	var filters []*Filter
	for _, expr := range append(ethernetExprs, "tcp.flags & syn != 0", "ether[ip[2:2]:4] = 1", "tcp[len - 100:4] / (len - 64) > 0", "icmp6[- len] = 0") {
		filters = append(filters, mustParse(f, expr))
	}
	f.Fuzz(func(t *testing.T, link uint16, data []byte, wireLen int) {
		for _, filter := range filters {
			filter.Match(pcap.LinkType(link), data, wireLen)
		}
	})
}
