package decode

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"golang.org/x/net/dns/dnsmessage"
)

// helloOf returns what a TLS client sends first.
func helloOf(t testing.TB, server string) []byte {
	t.Helper()
	client, peer := net.Pipe()
	defer client.Close()
	go tls.Client(client, &tls.Config{ServerName: server, InsecureSkipVerify: true}).Handshake()
	b := make([]byte, 1<<16)
	n := 0
	for n < 5 || n < 5+int(be16(b[3:])) {
		m, err := peer.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	peer.Close()
	return b[:n]
}

// namesOf decodes packets, a second apart, and lists what they tell.
func namesOf(t *testing.T, packets ...[]byte) string {
	t.Helper()
	p := New(Options{Names: true})
	var s tcp.Segment
	var list []string
	for i, b := range packets {
		p.Decode(&pcap.Record{Data: b, Wire: len(b), Link: pcap.LinkRaw, Time: tcp.Time(i+1) * 1e9}, &s)
		if !p.Naming() {
			continue
		}
		for _, n := range p.Named(&s, tcp.Time(i+1)*1e9) {
			list = append(list, fmt.Sprintf("%d:%q=%v", i+1, n.Name, n.Host))
		}
	}
	return strings.Join(list, " ")
}

// The segments of these tests go from 10.0.0.1 to 10.0.0.2.
func carrying(seq uint32, data string) []byte {
	return inIPv4(tcpSegment(seq, 0x18, nil, []byte(data)))
}

// withOptions gives an IPv4 packet options that do nothing.
func withOptions(packet []byte) []byte {
	b := appendAll(nil, packet[:20], "\x01\x01\x01\x00", packet[20:])
	b[0] = 0x46
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func TestServerNames(t *testing.T) {
	hello := string(helloOf(t, "www.Example.com"))
	// The same handshake in records of 50 octets.
	var split string
	for rest := hello[5:]; rest != ""; {
		n := min(len(rest), 50)
		split += "\x16\x03\x01" + string(binary.BigEndian.AppendUint16(nil, uint16(n))) + rest[:n]
		rest = rest[n:]
	}
	whole := carrying(1, hello)
	dst := netip.AddrFrom4([4]byte(whole[16:20]))
	for _, row := range []struct {
		name    string
		packets [][]byte
		want    string // %v is the server
	}{
		{"whole", [][]byte{whole}, `1:"www.example.com"=%v`},
		{"in-two", [][]byte{carrying(1, hello[:30]), carrying(31, hello[30:])}, `2:"www.example.com"=%v`},
		{"octet-by-octet", func() (list [][]byte) {
			for i := range hello {
				list = append(list, carrying(uint32(1+i), hello[i:i+1]))
			}
			return list[:5]
		}(), ``},
		{"one-comes-again", [][]byte{carrying(1, hello[:30]), carrying(1, hello[:30]), carrying(31, hello[30:])}, `3:"www.example.com"=%v`},
		{"on-a-syn", [][]byte{inIPv4(tcpSegment(0, 0x02, nil, []byte(hello[:30]))), carrying(31, hello[30:])}, `2:"www.example.com"=%v`},
		{"one-is-missing", [][]byte{carrying(1, hello[:30]), carrying(40, hello[39:])}, ``},
		{"in-many-records", [][]byte{carrying(1, split)}, `1:"www.example.com"=%v`},
		{"in-many-records-and-segments", [][]byte{carrying(1, split[:120]), carrying(121, split[120:])}, `2:"www.example.com"=%v`},
		{"with-early-data", [][]byte{carrying(1, hello+"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x05early")}, `1:"www.example.com"=%v`},
		{"behind-options", [][]byte{withOptions(whole)}, `1:"www.example.com"=%v`},
		{"too-late", append([][]byte{carrying(1, hello[:30])}, append(make([][]byte, 11), carrying(31, hello[30:]))...), ``},
		{"no-handshake", [][]byte{carrying(1, "\x17\x03\x03\x00\x05hello")}, ``},
		{"http", [][]byte{carrying(1, "GET / HTTP/1.1\r\nAccept: */*\r\nhost:  shop.example:8080 \r\n\r\nHost: no")}, `1:"shop.example"=%v`},
		{"http-by-address", [][]byte{carrying(1, "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n")}, ``},
		{"http-by-another-address", [][]byte{carrying(1, "GET / HTTP/1.1\r\nHost: 10.0.0.2\r\n\r\n")}, ``},
		{"http-in-the-body", [][]byte{carrying(1, "POST / HTTP/1.0\r\n\r\nHost: no\r\n")}, ``},
		{"http-cut", [][]byte{carrying(1, "GET / HTTP/1.1\r\nHost: half")}, ``},
		{"no-http", [][]byte{carrying(1, "EHLO x\r\nHost: no\r\n\r\n")}, ``},
		{"no-method", [][]byte{carrying(1, "G\x00 / HTTP/1.1\r\nHost: no\r\n\r\n")}, ``},
		{"http-controls", [][]byte{carrying(1, "GET / HTTP/1.1\r\nHost: a\x1b[2Jb\r\n\r\n")}, `1:"a\x1b[2jb"=%v`},
	} {
		want := row.want
		if want != "" {
			want = fmt.Sprintf(want, dst)
		}
		if got := namesOf(t, row.packets...); got != want {
			t.Errorf("%s: got %s, want %s", row.name, got, want)
		}
	}
	// Without Options.Names nothing is kept.
	p := New(Options{})
	var s tcp.Segment
	p.Decode(&pcap.Record{Data: whole, Wire: len(whole), Link: pcap.LinkRaw}, &s)
	if p.Naming() || p.data != nil {
		t.Error("names are told that nobody asked for")
	}
}

// Of ClientHellos that never end no more is kept than the bounds say.
func TestHellosAreBounded(t *testing.T) {
	p := New(Options{Names: true})
	var s tcp.Segment
	feed := func(port int, seq uint32, data []byte) {
		b := inIPv4(tcpSegment(seq, 0x18, nil, data))
		b[20], b[21] = byte(port>>8), byte(port)
		p.Decode(&pcap.Record{Data: b, Wire: len(b), Link: pcap.LinkRaw, Time: 1e9}, &s)
		if p.Naming() {
			p.Named(&s, 1e9)
		}
	}
	endless := appendAll(nil, "\x16\x03\x01\xff\xff\x01\xff\xff\xff", make([]byte, 2+32+1),
		"\x00\x02\x00\x00\x01\x00", "\xff\xff\x00\x2a\xff\xf0", make([]byte, 1000))
	for port := range 1000 {
		feed(port, 1, endless)
	}
	if len(p.hellos) != maxHellos || len(p.helloOrder) != maxHellos {
		t.Errorf("%d ClientHellos are kept", len(p.hellos))
	}
	for i := range 30 {
		feed(999, uint32(1+len(endless)+1000*i), make([]byte, 1000))
	}
	for key, h := range p.hellos {
		if len(h.data) > maxHello {
			t.Errorf("%v: %d octets are kept", key, len(h.data))
		}
	}
	feed(5, 1, []byte("\x16\x03\x01\x00\x04\x01\x00\x01\x00\x17\x03\x03\x00\x01x")) // not whole, but something else follows
	if len(p.hellos) != maxHellos-1 {
		t.Errorf("%d ClientHellos are kept, want one less", len(p.hellos))
	}
}

// answer returns an answer of the DNS, to 10.0.0.2.
func answer(t *testing.T, port uint16, response bool, question string, resources ...dnsmessage.Resource) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: response},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(question), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers:   resources,
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	datagram := inUDP(4321, b)
	binary.BigEndian.PutUint16(datagram, port)
	return inIPv4Proto(inet.ProtoUDP, datagram)
}

func resource(name string, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET}, Body: body}
}

func TestAnswers(t *testing.T) {
	a := &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}
	aaaa := &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 7}}
	alias := func(to string) *dnsmessage.CNAMEResource {
		return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}
	}
	for _, row := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"both-kinds", answer(t, 53, true, "x.example.", resource("x.Example.", a), resource("x.example.", aaaa)), `1:"x.example"=192.0.2.7 1:"x.example"=2001:db8::7`},
		{"aliases", answer(t, 53, true, "www.example.", resource("www.example.", alias("cdn.example.")),
			resource("CDN.example.", alias("edge.example.")), resource("edge.example.", a)), `1:"www.example"=192.0.2.7`},
		{"aliases-in-a-circle", answer(t, 53, true, "a.", resource("a.", alias("b.")), resource("b.", alias("a.")), resource("a.", a)), `1:"a"=192.0.2.7`},
		{"others-between", answer(t, 53, true, "a.", resource("a.", &dnsmessage.TXTResource{TXT: []string{"no"}}), resource("a.", a)), `1:"a"=192.0.2.7`},
		{"multicast", answer(t, 5353, true, "printer.local.", resource("printer.local.", a)), `1:"printer.local"=192.0.2.7`},
		{"a-question", answer(t, 53, false, "x.example.", resource("x.example.", a)), ``},
		{"another-port", answer(t, 54, true, "x.example.", resource("x.example.", a)), ``},
		{"behind-options", withOptions(answer(t, 53, true, "x.example.", resource("x.example.", a))), `1:"x.example"=192.0.2.7`},
		{"another-port-behind-options", withOptions(answer(t, 54, true, "x.example.", resource("x.example.", a))), ``},
		{"controls", answer(t, 53, true, "x.", resource("\x1b[2J.", a)), `1:"\x1b[2j"=192.0.2.7`},
	} {
		if got := namesOf(t, row.packet); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
		for n := range row.packet { // cut anywhere, it is no trouble
			namesOf(t, row.packet[:n])
		}
	}
	p := New(Options{Names: true})
	var s tcp.Segment
	b := answer(t, 53, true, "x.", resource("x.", a))
	v := p.Decode(&pcap.Record{Data: b, Wire: len(b), Link: pcap.LinkRaw}, &s)
	if named := p.Named(&s, 1); v != NotTCP || len(named) != 1 || named[0].Asker != netip.AddrFrom4([4]byte(b[16:20])) {
		t.Errorf("got verdict %d, %+v", v, named)
	} else if p.Naming() || len(p.Named(&s, 1)) > 0 {
		t.Error("names are told twice")
	}
}

// FuzzServerName reads anything as if it were a ClientHello: the same name is read
// of all of it and of it in pieces, and what is cut off takes none away.
func FuzzServerName(f *testing.F) {
	hello := helloOf(f, "www.example.com")
	f.Add(hello, 30)
	f.Add(append(bytes.Clone(hello[:40]), 0xff, 0xff), 7)
	f.Add([]byte("\x16\x03\x01\xff\xff\x01\xff\xff\xff"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		name, more := ServerName(b)
		if len(name) > len(b) {
			t.Errorf("a name of %d octets in %d", len(name), len(b))
		}
		if name != "" && more {
			t.Errorf("%q is read, and more is wanted", name)
		}
		if at < 0 || at > len(b) {
			return
		}
		if part, more := ServerName(b[:at]); !more && part != name && part != "" {
			t.Errorf("of %d octets %q is read, of all %q", at, part, name)
		}
		hostOf(b)
	})
}
