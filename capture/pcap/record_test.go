package pcap

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which way a packet went is told by the file, or else by a header that Linux makes.
func TestHeading(t *testing.T) {
	cooked := func(packetType byte) []byte { return append([]byte{0, packetType}, make([]byte, 14)...) }
	cooked2 := func(packetType byte) []byte { return append(append(make([]byte, 10), packetType), make([]byte, 9)...) }
	for _, test := range []struct {
		name string
		r    Record
		want tcp.Way
	}{
		{"Ethernet", Record{Link: LinkEthernet, Data: make([]byte, 60)}, tcp.WayUnknown},
		{"Ethernet, told by the file", Record{Link: LinkEthernet, Data: make([]byte, 60), Way: tcp.WayOut}, tcp.WayOut},
		{"to this host", Record{Link: LinkLinuxSLL, Data: cooked(0)}, tcp.WayIn},
		{"to all", Record{Link: LinkLinuxSLL, Data: cooked(1)}, tcp.WayUnknown},
		{"to another host", Record{Link: LinkLinuxSLL, Data: cooked(3)}, tcp.WayUnknown},
		{"from this host", Record{Link: LinkLinuxSLL, Data: cooked(4)}, tcp.WayOut},
		{"the newer header, to this host", Record{Link: LinkLinuxSLL2, Data: cooked2(0)}, tcp.WayIn},
		{"the newer header, from this host", Record{Link: LinkLinuxSLL2, Data: cooked2(4)}, tcp.WayOut},
		{"cut", Record{Link: LinkLinuxSLL2, Data: cooked2(4)[:10]}, tcp.WayUnknown},
		{"empty", Record{Link: LinkLinuxSLL}, tcp.WayUnknown},
	} {
		if got := test.r.Heading(); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}
