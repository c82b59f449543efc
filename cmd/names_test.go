package cmd

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"golang.org/x/net/dns/dnsmessage"
)

// namedFile is a capture of an answer of the DNS, of a connection to the address
// that it tells, of one in which the client calls the server by a name that it
// should not, and of one to the first that ends in TIME_WAIT.
func namedFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	p, err := pktgen.NewPcap(&b, pcap.LinkRaw, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	m := dnsmessage.Message{
		Header: dnsmessage.Header{Response: true},
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("www.example.com."), Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
		}},
	}
	message, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	now := tcp.Time(1_767_322_800) * 1e9
	write := func(packet []byte) {
		now = now.Add(1e7)
		if err := p.Write(now, packet); err != nil {
			t.Fatal(err)
		}
	}
	client := netip.MustParseAddrPort("10.0.0.1:4000")
	segment := func(src, dst netip.AddrPort, flags tcp.Flags, seq, ack tcp.Seq, data string) {
		s := tcp.Segment{Src: src, Dst: dst, Flags: flags, Seq: seq, Ack: ack, Wnd: 1000, TTL: 64, Data: tcp.Size(len(data))}
		packet := pktgen.Append(nil, &s)
		copy(packet[len(packet)-len(data):], data)
		write(packet)
	}
	dns := pktgen.Append(nil, &tcp.Segment{Src: netip.MustParseAddrPort("10.0.0.53:53"), Dst: client, Data: tcp.Size(len(message) - 12), TTL: 64})
	dns[9] = 17 // what follows is UDP
	copy(dns[20:], append([]byte{0, 53, 15, 160, 0, byte(8 + len(message)), 0, 0}, message...))
	write(dns)
	for i, data := range []string{"hello", "GET / HTTP/1.1\r\nHost: \x1b[2J<b>evil</b>|\r\n\r\n"} {
		server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(7 + i)}), 80)
		segment(client, server, tcp.SYN, 100, 0, "")
		segment(server, client, tcp.SYN|tcp.ACK, 300, 101, "")
		segment(client, server, tcp.ACK, 101, 301, data)
		segment(server, client, tcp.ACK, 301, 101+tcp.Seq(len(data)), "")
	}
	client = netip.MustParseAddrPort("10.0.0.1:4001")
	server := netip.MustParseAddrPort("192.0.2.7:80")
	segment(client, server, tcp.SYN, 100, 0, "")
	segment(server, client, tcp.SYN|tcp.ACK, 300, 101, "")
	segment(client, server, tcp.ACK, 101, 301, "GET / HTTP/1.1\r\nHost: Shop.example\r\n\r\n")
	segment(client, server, tcp.FIN|tcp.ACK, 139, 301, "")
	segment(server, client, tcp.FIN|tcp.ACK, 301, 140, "")
	segment(client, server, tcp.ACK, 140, 302, "")
	path := filepath.Join(t.TempDir(), "named.pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// Records have the names that the capture tells; tables and pages have them when
// they are asked for, and nothing in them does more than show itself.
func TestNamesAreShown(t *testing.T) {
	path := namedFile(t)
	const evil = "\x1b[2j<b>evil</b>|"
	out, _ := replayed(t, "replay", "-o", "json", path)
	var doc struct {
		Connections []struct{ Client, Server struct{ Name string } }
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	if c := doc.Connections; len(c) != 3 || c[0].Server.Name != "www.example.com" || c[1].Server.Name != evil || c[0].Client.Name != "" {
		t.Errorf("got %q", c)
	}
	for _, row := range []struct {
		args []string
		want []string
		not  []string
	}{
		{[]string{"-o", "table"}, []string{"192.0.2.7:80"}, []string{"example", "evil"}},
		{[]string{"-o", "table", "--names"}, []string{"192.0.2.7:80 (www.example.com)", `192.0.2.8:80 (\x1b[2j<b>evil</b>|)`,
			"192.0.2.7:80 (shop.example)"}, []string{"\x1b"}},
		{[]string{"-o", "wide", "--names"}, []string{"192.0.2.7:80 (www.example.com)", "192.0.2.7:80 (www.example.com, ...)  client 1", "10.0.0.1        192.0.2.7:80 (www.example.com, ...)"}, []string{"\x1b"}},
		{[]string{"-o", "markdown", "--names"}, []string{"192.0.2.7:80 (www.example.com)"}, []string{"\x1b", "<b>", "</b>|)"}},
		{[]string{"-o", "csv"}, []string{"client.name", ",www.example.com,"}, nil},
		{[]string{"-o", "jsonl", "--where", `server.name == "www.example.com"`}, []string{`"connections":1`}, []string{"evil"}},
		{[]string{"-o", "json"}, []string{`{"addr":"192.0.2.7","port":80,"names":["www.example.com","shop.example"],`}, nil},
		{[]string{"-o", "services"}, nil, []string{"example", "evil"}},
		{[]string{"-o", "services", "--names"}, []string{"192.0.2.7:80 (www.example.com, ...) ", `192.0.2.8:80 (\x1b[2j<b>evil</b>|) `}, []string{"\x1b"}},
		{[]string{"--on", "10.0.0.1"}, nil, []string{"example", "evil"}},
		{[]string{"--on", "10.0.0.1", "--names"}, []string{"10.0.0.1:4001           192.0.2.7:80 (shop.example)", `192.0.2.8:80 (\x1b[2j<b>evil</b>|)`}, []string{"\x1b"}},
		{[]string{"--on", "192.0.2.7", "--names"}, []string{"192.0.2.7:80 (www.example.com, ...) 0.0.0.0:* "}, nil},
		{[]string{"--listening"}, nil, []string{"example", "evil"}},
		{[]string{"--listening", "--names"}, []string{"192.0.2.7:80 (www.example.com, ...) "}, []string{"\x1b"}},
		{[]string{"-o", "html"}, nil, []string{`"called"`, "www.example.com"}},
		{[]string{"-o", "html", "--names"}, []string{`"called":{"1":["","www.example.com"],"2":["",`, "evil"}, []string{"\x1b", "<b>evil"}},
	} {
		out, _ := replayed(t, append(append([]string{"replay"}, row.args...), path)...)
		for _, want := range row.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%v: there is no %q in\n%.3000s", row.args, want, out)
			}
		}
		for _, not := range row.not {
			if strings.Contains(string(out), not) {
				t.Errorf("%v: there is %q in\n%.3000s", row.args, not, out)
			}
		}
	}
	if out, _ := replayed(t, "port", "80", path); strings.Contains(string(out), "example") {
		t.Errorf("port has names that nobody asked for:\n%s", out)
	}
	out, _ = replayed(t, "port", "4001", "--names", path)
	if want := "192.0.2.7:80 (shop.example) "; !strings.Contains(string(out), want) {
		t.Errorf("port: there is no %q in\n%s", want, out)
	}
	out, _ = replayed(t, "port", "80", "--names", path)
	if want := "192.0.2.7:80 (www.example.com) "; !strings.Contains(string(out), want) {
		t.Errorf("port: there is no %q in\n%s", want, out)
	}
}
