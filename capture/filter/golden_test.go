package filter

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"golang.org/x/net/bpf"
)

// The filters that tcpdump compiled for us. UPDATE=1 rewrites them, with the
// tcpdump in PATH and the names of ports that its system knows.
const programsFile = "testdata/programs.txt"

// A program is what tcpdump -ddd made of an expression.
type program struct {
	link pcap.LinkType
	expr string
	code []bpf.RawInstruction
}

func (p *program) key() string { return p.link.String() + ": " + p.expr }

// readPrograms reads the golden file: of each program a line with link type and
// expression, then the lines of tcpdump, then an empty one.
func readPrograms(t *testing.T) []program {
	t.Helper()
	text, err := os.ReadFile(programsFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []program
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		head, code, _ := strings.Cut(block, "\n")
		if strings.HasPrefix(head, "#") {
			continue
		}
		link, expr, ok := strings.Cut(head, ": ")
		if !ok {
			t.Fatalf("%s: no link type in %q", programsFile, head)
		}
		p := program{expr: expr}
		for l := range exprs {
			if l.String() == link {
				p.link = l
			}
		}
		p.code = parseProgram(t, code)
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no programs", programsFile)
	}
	return all
}

func parseProgram(t *testing.T, text string) []bpf.RawInstruction {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Scan() // the number of instructions
	var code []bpf.RawInstruction
	for lines.Scan() {
		var i bpf.RawInstruction
		if _, err := fmt.Sscan(lines.Text(), &i.Op, &i.Jt, &i.Jf, &i.K); err != nil {
			t.Fatalf("%s: %q: %v", programsFile, lines.Text(), err)
		}
		code = append(code, i)
	}
	return code
}

// updatePrograms has tcpdump compile all the expressions.
func updatePrograms(t *testing.T) {
	var b bytes.Buffer
	version, _ := exec.Command("tcpdump", "--version").CombinedOutput()
	fmt.Fprintf(&b, "# Made by UPDATE=1 go test, with %s\n\n", strings.ReplaceAll(strings.TrimSpace(string(version)), "\n", ", "))
	for _, link := range links() {
		for _, expr := range exprs[link] {
			args := []string{"-y", link.String(), "-ddd", "--", expr}
			if slices.Contains(reordered, expr) {
				args = slices.Insert(args, 0, "-O")
			}
			out, err := exec.Command("tcpdump", args...).Output()
			if err != nil {
				if exit, ok := err.(*exec.ExitError); ok {
					err = fmt.Errorf("%w: %s", err, exit.Stderr)
				}
				t.Fatalf("tcpdump %q: %v", args, err)
			}
			fmt.Fprintf(&b, "%v: %s\n%s\n", link, expr, out)
		}
	}
	if err := os.MkdirAll(filepath.Dir(programsFile), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(programsFile, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

func links() []pcap.LinkType {
	var links []pcap.LinkType
	for link := range exprs {
		links = append(links, link)
	}
	slices.Sort(links)
	return links
}

// A machine runs one program.
type machine struct {
	code []bpf.Instruction
	vms  map[int]*bpf.VM // by the length on the wire, which the VM knows nothing of
}

func newMachine(t *testing.T, code []bpf.RawInstruction) *machine {
	t.Helper()
	decoded, ok := bpf.Disassemble(code)
	if !ok {
		t.Fatalf("an instruction that is not known among %v", decoded)
	}
	return &machine{decoded, map[int]*bpf.VM{}}
}

func (m *machine) match(t *testing.T, p *packet) bool {
	t.Helper()
	usesLen := slices.Contains(m.code, bpf.Instruction(bpf.LoadExtension{Num: bpf.ExtLen}))
	key := 0
	if usesLen {
		key = p.wireLen
	}
	vm := m.vms[key]
	if vm == nil {
		code := slices.Clone(m.code)
		for i := range code {
			switch code[i] {
			case bpf.Instruction(bpf.LoadExtension{Num: bpf.ExtLen}):
				code[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(p.wireLen)}
			case bpf.Instruction(bpf.NegateA{}): // which the VM does not know
				code[i] = bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 1<<32 - 1}
			}
		}
		var err error
		if vm, err = bpf.NewVM(code); err != nil {
			t.Fatal(err)
		}
		m.vms[key] = vm
	}
	n, err := vm.Run(p.data)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// Every packet is matched by a filter exactly if tcpdump's program for the same
// expression matches it.
func TestAgreesWithTcpdump(t *testing.T) {
	if os.Getenv("UPDATE") != "" {
		if _, err := exec.LookPath("tcpdump"); err != nil {
			t.Fatal(err)
		}
		updatePrograms(t)
	}
	missing := map[string]bool{}
	for link, exprs := range exprs {
		for _, expr := range exprs {
			missing[link.String()+": "+expr] = true
		}
	}
	packets := map[pcap.LinkType][]packet{}
	for _, link := range links() {
		packets[link] = packetsOf(link)
		if len(packets[link]) < 500 {
			t.Errorf("only %d packets of %v", len(packets[link]), link)
		}
	}
	excepted := map[string]bool{}
	for _, p := range readPrograms(t) {
		if !missing[p.key()] {
			t.Errorf("%s: nobody asks for %q (again?)", programsFile, p.key())
		}
		delete(missing, p.key())
		if compareWithProgram(t, &p, packets[p.link]) {
			excepted[p.expr] = true
		}
	}
	for _, expr := range unchecked {
		if !excepted[expr] {
			t.Errorf("%q matches what tcpdump matches: it need not be excepted", expr)
		}
	}
	for key := range missing {
		t.Errorf("%s lacks %q: run with UPDATE=1", programsFile, key)
	}
}

// compareWithProgram compares a filter with its program, and reports whether
// they differ as was agreed.
func compareWithProgram(t *testing.T, p *program, packets []packet) (excepted bool) {
	t.Helper()
	f, err := Parse(p.expr)
	if err != nil {
		t.Errorf("%s: %v", p.key(), err)
		return false
	}
	m := newMachine(t, p.code)
	matched, wrong := 0, 0
	for i := range packets {
		packet := &packets[i]
		got, want := f.Match(p.link, packet.data, packet.wireLen), m.match(t, packet)
		if got {
			matched++
		}
		if got == want {
			continue
		}
		if !got && agreed(p, packet) {
			excepted = true
			continue
		}
		if wrong++; wrong <= 3 {
			t.Errorf("%s: Match(%s, of %d octets) = %v, tcpdump says %v\n% x",
				p.key(), packet.name, packet.wireLen, got, want, packet.data)
		}
	}
	if len(p.code) > 1 && (matched == 0 || matched == len(packets)) && wrong == 0 {
		t.Errorf("%s: matches %d of %d packets, which proves nothing", p.key(), matched, len(packets))
	}
	return excepted
}

// reordered are compared with what tcpdump -O compiles. Its optimizer
// moves a test of one branch in front of another's if both look at the same
// octets. On a packet cut between the two places its program then decides
// without octets that the expression, taken from the left, has need of. We take
// it from the left.
var reordered = []string{
	"host (10.0.0.1 or 1.2.3.4)", "not (tcp and port 80)",
	"port 80 or 443 or 22", "port 22 or (80) or (443)", "port 80 or (tcp src port 22 or 443) or 53",
	"port ssh or http or https",
}

// unchecked are the expressions of which libpcap loses the condition that
// the header is there, because the load is the right operand: it takes packets
// without that header. We do not.
var unchecked = []string{"1 + ip[8] * 2 = 129"}

// agreed reports whether tcpdump may match a packet that we do not match.
func agreed(p *program, packet *packet) bool {
	ip, err := Parse("ip")
	return err == nil && slices.Contains(unchecked, p.expr) && !ip.Match(p.link, packet.data, packet.wireLen)
}

// exprs are the expressions that are compared, by link type.
var exprs = map[pcap.LinkType][]string{
	pcap.LinkEthernet:  slices.Concat(commonExprs, ethernetExprs),
	pcap.LinkRaw:       commonExprs,
	pcap.LinkLinuxSLL:  slices.Concat(commonExprs, stepExprs, []string{"arp", "not arp", "ether proto 5", "ether proto 6", "ether proto 0x9000", "rarp host 10.0.0.1"}),
	pcap.LinkLinuxSLL2: slices.Concat(commonExprs, stepExprs, []string{"arp", "not arp", "ether proto 0x9000", "arp net 10.9"}),
	pcap.LinkPPP:       slices.Concat(commonExprs, stepExprs, []string{"mpls", "mpls 100 and tcp", "mpls or ip6"}),
	pcap.LinkPPPoE:     slices.Concat(commonExprs, stepExprs),
	pcap.LinkCiscoHDLC: slices.Concat(commonExprs, stepExprs, []string{"mpls", "mpls 100 and tcp", "mpls or ip", "arp", "arp host 10.0.0.1"}),
	pcap.LinkNull:      commonExprs,
	pcap.LinkLoop:      commonExprs,
	pcap.LinkIPv4:      ipv4Exprs,
	pcap.LinkIPv6:      ipv6Exprs,
}

// commonExprs mean something on any link type.
var commonExprs = []string{
	"ip", "ip6", "tcp", "udp", "icmp", "icmp6", "sctp", "not tcp", "ip or ip6",
	"tcp port 443", "not tcp port 443", "port 53", "host 10.0.0.1", "not host 10.0.0.1", "net 10.9", "net 10",
	"ip6 net 2001:db8::/32", "host 2001:db8::1", "not host 2001:db8::1",
	"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "not tcp[13] & 2 != 0", "len <= 60", "less 60", "greater 61", "ip[8] = 64",
	"tcp and (port 80 or port 443) and not host 10.9.1.2", "src host 10.0.0.1 and dst port 80",
	"icmp6[0] = 128", "ip6[6] = 6", "ether[8] & 1 = 0",
}

var ipv4Exprs = []string{
	"tcp", "not tcp", "tcp port 443", "not port 443", "host 10.0.0.1", "tcp[13] & 2 != 0", "ip[6:2] & 0x1fff != 0", "udp or icmp",
	"not host 10.0.0.1",
}

var ipv6Exprs = []string{
	"tcp", "not tcp", "tcp port 443", "not port 443", "host 2001:db8::1", "net fe80::/10", "icmp6[icmp6type] = icmp6-echo",
}

var ethernetExprs = []string{
	"",
	// Protocols.
	"arp", "rarp", "igmp", "pim", "vrrp", "carp", "esp", "ah or esp", "not ip", "not ip6", "not arp", "! udp",
	"ip proto 47", `ip proto \tcp`, `ip6 proto \udp`, `proto \icmp`, `ip6 proto 6 or 17`, "proto 132", "proto gre", "not ip6 proto 6",
	`ether proto \ip`, `ether proto \arp`, "ether proto 0x86dd", "ether proto 0x9000", "ether proto loopback",
	"ether proto 5", "ether proto 6", "ether proto 0xfe", "not ether proto 0x42", "ether proto 2048 or 2054",
	// Addresses.
	"src 10.0.0.1", "dst 10.0.0.1", "src or dst 10.0.0.1", "src and dst 10.0.0.1", "dst or src host 10.0.0.1", "dst and src net 10",
	"src host 10.0.0.1 or 1.2.3.4", "ip host 10.0.0.1", "ip src host 10.0.0.1", "arp host 10.0.0.1", "rarp src host 10.0.0.1",
	"arp dst net 10.9", "ip src 10.0.0.1 and dst 1.2.3.4", "host 10.9", "host 10", "src 10.9.1", "not src 10.9.1",
	"net 10.9.0.0/16", "net 10.9.0.0 mask 255.255.0.0", "net 10.9.0.2 mask 255.255.0.3", "src net 10.9.1", "net 10.9.1.2", "net 192.168.0.0/15",
	"net 0.0.0.0/0", "not net 0.0.0.0/0", "dst net 224.0.0.0/4 or 10.0.0.0/8", "host (10.0.0.1 or 1.2.3.4)", "host not 10.0.0.1",
	"src host (10.0.0.1 or not (1.2.3.4 or 10.9.1.2))",
	"ip6 host 2001:db8::1", "src host fe80::1", "dst net 2001:db8::/48", "net ::/0", "not net 2001:db8:0:1::/64", "ip6 src net fe80::/10",
	"src and dst net 2001:db8::/32", "host ::1 or ff02::1", "net ::1", "net 2001:db8:fffe::/47 or 2001:db8:0:1::2",
	"net ::ffff:0.0.0.0/96 or tcp",
	"ether host 2:0:0:0:0:1", "ether src 02:00:00:00:00:01", "not ether dst 02-00-00-00-00-02", "ether dst host 0200.0000.0002", "ether host 020000000002",
	"ether src and dst 2:0:0:0:0:1 or ether dst 2.0.0.0.0.2",
	// Ports.
	"port 80", "not port 80", "src port 80", "dst port 443", "src and dst port 80", "src or dst port 80", "tcp port 80 or 443",
	"tcp src port 22", "udp dst port 53", "sctp port 443", "tcp dst port 80 or 443", "tcp src and dst port 80", "port 80 or 443 or 22",
	"port 80 and not 443", "port not 80", "port (80 or 443)", "tcp port not (80 or 443)", "port 0x50", "port 0120", "port 65535 or 0",
	"portrange 7000-8080", "tcp portrange 8080-7000", "udp dst portrange 20-60", "src and dst portrange 22-443", "portrange 80", "not portrange 1-1024",
	"port http", "port ssh", "port https", "port domain", "tcp port domain", "udp port domain", "port ssh or http or https", "not port http-alt",
	"port 80 and (host 10.0.0.1) or 443", "port 22 or (80) or (443)", "port 22 or not 80",
	"host 10.0.0.1 and port 80 or 443", "port 80 or (tcp src port 22 or 443) or 53",
	// Precedence.
	"tcp or udp and port 53", "udp and port 53 or tcp", "tcp and port 80 or udp and port 53", "(tcp and port 80) or (udp and port 53)",
	"not tcp and port 53", "not (tcp and port 80)", "not not tcp", "tcp && port 80 || icmp", "!(tcp||udp)", "icmp or tcp and not port 80 or udp",
	"not host 10.0.0.1 and not port 22", "tcp and not (port 22 or port 80) and net 10",
	// Lengths.
	"len > 70", "len = 74", "length != 60", "greater 100 or less 50", "len - 14 = 46", "70 < len",
	// Octets.
	"tcp[tcpflags] & tcp-syn != 0", "tcp[tcpflags] == tcp-syn", "tcp[tcpflags] & (tcp-syn|tcp-ack) = (tcp-syn|tcp-ack)", "tcp[13] = 18",
	"tcp[13] & 7 != 0 and not port 22", "not tcp[13] = 2", "tcp[0:2] > 1023", "tcp[2:2] = 80 or tcp[0:2] = 80", "udp[4:2] = 12",
	"icmp[icmptype] = icmp-echo", "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-unreach", "icmp[icmpcode] = 1", "not icmp[0] = 8",
	"icmp6[icmp6type] = icmp6-neighborsolicit", "not icmp6[0] = 128", "ip[0] & 0xf != 5", "ip[6:2] & 0x1fff = 0", "ip[6:2] & 0x1fff != 0",
	"ip[12:4] = 0x0a000001", "ip6[8:4] = 0x20010db8", "ip6[6] = 44", "ether[0] & 1 != 0", "ether[12:2] = 0x800", "link[12:2] > 0x600", "arp[6:2] = 1", "not arp[7] = 2",
	"sctp[0:2] = 443", "igmp[0] = 0x16", "pim[0] >> 4 = 2", "vrrp[1] = 1",
	"tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
	"tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
	"tcp[tcp[12] >> 4] = 0", "ip[ip[9]] != 0", "tcp[ip[8] - 64] = 0", "tcp[ip[8] - 65] = 0", "ip[ip[8] - 48] = 0", "not ip[ip[8]] = 0",
	// Arithmetic.
	"ip[8] + 1 = 65", "ip[8] * 2 + 1 = 129", "1 + ip[8] * 2 = 129", "ip[8] / 10 = 6", "ip[8] % 10 = 4", "ip[9] ^ 0xff != 249", "- ip[8] = 0xffffffc0",
	"ip[8] - 65 > 5", "ip[8] << 2 | 1 = 257", "ip[9] & 6 | 1 = 7", "ip[9] | 1 & 3 = 7", "ip[2:2] % ip[8] * 2 = 45", "ip[2:2] * 2 % 7 & 3 = 90", "ip[9] & 7 ^ 1 = 6",
	"-ip[8] % 7 = 0xffffffff", "ip[2:2] - 20 - 20 = 5", "ip[8] / ip[1] = 1", "not ip[8] / ip[1] = 1", "ip[8] % ip[9] >= 4", "ip[9] >> 1 << 1 = ip[9]", "(ip[9]) = 6", "(5) < len",
	"((tcp[13] & 2) != 0) and (len > 5)", "len & 1 = 1 and tcp", "2 ^ 3 + len > 60", "ip[8:1] = 0100",
	// VLAN.
	"vlan", "vlan 100", "vlan (3)", "not vlan", "not vlan 100", "vlan and tcp", "vlan 100 and host 10.0.0.1", "vlan or tcp", "tcp or vlan", "not vlan and tcp",
	"tcp or (vlan and tcp)", "vlan and vlan", "vlan 100 and vlan 300 and ip", "vlan and port 80 and tcp[13] & 2 = 0", "vlan and not ip6[6] = 6", "vlan and ether[12:2] = 0x8100",
	"vlan and net 2001:db8::/32", "vlan and arp host 10.9.1.2 or 10.0.0.1", "(vlan 3 or vlan 300) and tcp", "vlan and ether host 2:0:0:0:0:1", "vlan and ether proto 5 or ether proto 6", "vlan 4095 or len=80",
	"vlan and ip[9] = 6 or icmp6[0] = 128 or vlan and udp",
	// Labels.
	"mpls", "mpls 100", "mpls (101)", "not mpls", "not mpls 100", "mpls and tcp", "mpls or tcp", "tcp or mpls", "not mpls and tcp", "mpls and mpls", "mpls 100 and mpls 1048575 and ip",
	"mpls and ip6 or ip", "mpls and host 10.0.0.1", "mpls and not port 80", "mpls and tcp[13] & 2 != 0", "mpls and ether host 2:0:0:0:0:1", "mpls and ether[12:2] = 0x8847", "vlan and mpls 100 and ip", "mpls and ip[9] = 6 or mpls or ip",
	// Sessions.
	"pppoes", "pppoes 5", "pppoes (0x27)", "not pppoes", "pppoes and tcp", "pppoes or tcp", "tcp or pppoes", "pppoes and ip6", "pppoes 65535 and port 80", "pppoes and host 10.0.0.1 or arp", "pppoes and ip[9] = 17",
	"pppoes and ether[0:2] = 0x21", "vlan 100 and pppoes and ip", "pppoes and mpls and ip", "pppoes and mpls 100", "pppoes and ether proto 0x281", "pppoes and not ether proto 0xfe",
	// Geneve.
	"geneve", "geneve 5", "geneve (6)", "not geneve", "not geneve 5", "tcp or geneve", "geneve and tcp", "geneve 6 and host 10.0.0.1", "geneve and port 80", "geneve and arp", "geneve and ip6 or ip", "geneve and ether host 2:0:0:0:0:1",
	"geneve and not ether host 2:0:0:0:0:1", "geneve and ether[12:2] = 0x800", "geneve and ip[9] = 6", "geneve and tcp[13] & 2 = 0", "geneve and vlan and ip", "geneve and vlan 300", "geneve and mpls and ip", "geneve and geneve",
	"geneve and geneve 6 and tcp", "pppoes and geneve and tcp", "geneve and len > 120", "geneve and host 2001:db8::1", "geneve and ip6[6] = 6", "vlan or geneve",
}

// stepExprs are those of link types that have no Ethernet header.
var stepExprs = []string{"pppoes", "pppoes 5 and tcp", "pppoes or tcp", "geneve", "geneve 5 and tcp", "pppoes and geneve and ip"}
