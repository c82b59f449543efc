package capture

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"golang.org/x/net/dns/dnsmessage"
)

// requesting is a packet that carries a request to a host of that name.
func requesting(seq uint32, host string) []byte {
	text := "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	b := carrying(tcp.Segment{Seq: tcp.Seq(seq), Flags: tcp.ACK, Data: tcp.Size(len(text))})
	copy(b[len(b)-len(text):], text)
	return b
}

// A name is told before the segment that tells it, on one core and on two.
func TestNamesAreToldInOrder(t *testing.T) {
	var packets [][]byte
	var want []string
	for i := range 20*BatchSize + 7 { // batches go round
		if i%3 == 1 {
			packets = append(packets, requesting(uint32(i), fmt.Sprintf("host%d.example", i)))
			want = append(want, fmt.Sprintf("host%d.example at %d", i, 1+i))
		} else {
			packets = append(packets, numbered(uint32(i)))
		}
		want = append(want, fmt.Sprint(i))
	}
	path := file(t, "in.pcap", captured(t, 1, packets...))
	for name, all := range map[string]func(*Source) iter.Seq2[*tcp.Segment, error]{"serial": (*Source).Serial, "ahead": (*Source).Ahead} {
		var got []string
		s := open(t, Options{Named: func(n *Named, at tcp.Time) { got = append(got, fmt.Sprintf("%s at %d", n.Name, at/1e9)) }}, path)
		for g, err := range all(s) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(g.Seq))
		}
		if !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("%s: at %d got %q, want %q", name, i, got[i], want[i])
				}
			}
			t.Errorf("%s: got %d, want %d", name, len(got), len(want))
		}
	}
}

// answering is a packet that carries an answer of the DNS, of one name.
func answering(t *testing.T, name string) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{Response: true},
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{},
		}},
	}
	message, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	const udp = 8
	b := carrying(tcp.Segment{Data: tcp.Size(udp + len(message) - 20)})
	b[9] = 17 // what follows is UDP
	binary.BigEndian.PutUint32(b[20:], 53<<16|4000)
	copy(b[20+udp:], message)
	return b
}

// Names that no segment comes between do not pile up while the capture is read
// ahead.
func TestNamesDoNotPileUp(t *testing.T) {
	var packets [][]byte
	var want []string
	for i := range 20 * namesSize {
		name := fmt.Sprintf("host%d.example", i)
		packets, want = append(packets, answering(t, name+".")), append(want, name)
	}
	packets = append(packets, numbered(1))
	path := file(t, "in.pcap", captured(t, 1, packets...))
	var got []string
	var s *Source
	s = open(t, Options{Named: func(n *Named, _ tcp.Time) {
		got = append(got, n.Name)
		if wait := s.Stats().Packets - len(got); wait > namesSize {
			t.Fatalf("%d names wait with one", wait)
		}
	}}, path)
	segments := 0
	for _, err := range s.Ahead() {
		if segments++; err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) || segments != 1 {
		t.Errorf("got %d names and %d segments, want %d and 1", len(got), segments, len(want))
	}
	// Who leaves the loop early has no more of them read.
	s = open(t, Options{Named: func(*Named, tcp.Time) {}}, file(t, "turned.pcap", captured(t, 1, slices.Concat(packets[len(packets)-1:], packets)...)))
	for range s.Ahead() {
		break
	}
	if n := s.OpenFiles(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// The names that a pcapng file has beside its packets are told where they are, on one
// core and on two.
func TestNamesBesidePacketsAreTold(t *testing.T) {
	file := file(t, "in.pcapng", named(numbered(1), "One.example.", numbered(2), "two.example"))
	for name, all := range map[string]func(*Source) iter.Seq2[*tcp.Segment, error]{"serial": (*Source).Serial, "ahead": (*Source).Ahead} {
		var got []string
		s := open(t, Options{Named: func(n *Named, at tcp.Time) { got = append(got, fmt.Sprintf("%s=%s at %d", n.Host, n.Name, at)) }}, file)
		for g, err := range all(s) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(g.Seq))
		}
		if want := []string{"1", "10.0.0.1=one.example at 1000", "2", "10.0.0.1=two.example at 2000"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// named is a pcapng file of packets, a microsecond apart, and of names of 10.0.0.1.
func named(content ...any) []byte {
	le := binary.LittleEndian
	var b []byte
	block := func(kind uint32, body []byte) {
		body = append(body, make([]byte, -len(body)&3)...)
		length := uint32(len(body) + 12)
		b = le.AppendUint32(append(le.AppendUint32(le.AppendUint32(b, kind), length), body...), length)
	}
	block(0x0a0d0d0a, append(le.AppendUint64(nil, 1<<32|0x1a2b3c4d), "\xff\xff\xff\xff\xff\xff\xff\xff"...))
	block(1, le.AppendUint64(nil, uint64(pcap.LinkRaw)))
	at := uint32(0)
	for _, c := range content {
		switch c := c.(type) {
		case string:
			block(4, append(le.AppendUint32(le.AppendUint32(nil, uint32(len(c)+5)<<16|1), 0x0100000a), c+"\x00"...))
		case []byte:
			at++
			head := le.AppendUint64(nil, 0)
			for _, v := range []uint32{at, uint32(len(c)), uint32(len(c))} {
				head = le.AppendUint32(head, v)
			}
			block(6, append(head, c...))
		}
	}
	return b
}
