package filter

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"golang.org/x/net/bpf"
)

// The kernel's program of a filter lets every packet through that the filter
// matches, and of most filters no other.
func TestKernelFilterLeavesOutNoMatch(t *testing.T) {
	packets := packetsOf(pcap.LinkEthernet)
	exact, all := 0, 0
	for _, expr := range append(ethernetExprs, "tcp.flags & syn != 0", "not tcp.flags & syn != 0", "ip6 and not tcp.flags = 2", "not (ip[8] > 3 or port 80)") {
		f := mustParse(t, expr)
		if f.root == nil {
			continue // the empty filter needs no program
		}
		raw, err := bpf.Assemble(f.Kernel(1 << 18))
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		m := newMachine(t, raw)
		more := 0
		for i := range packets {
			p := &packets[i]
			got, want := m.match(t, p), f.Match(pcap.LinkEthernet, p.data, p.wireLen)
			if want && !got {
				t.Fatalf("%q: the kernel leaves out %s, which matches\n% x", expr, p.name, p.data)
			}
			if got != want {
				more++
			}
		}
		if all++; more == 0 {
			exact++
		}
	}
	t.Logf("%d of %d filters are made whole by the kernel", exact, all)
	if exact < all/2 {
		t.Errorf("only %d of %d filters are made whole by the kernel", exact, all)
	}
}

// A program that the kernel would not take is none.
func TestKernelFilterIsBounded(t *testing.T) {
	expr := "port 1"
	for range 500 {
		expr += " or port 2"
	}
	if f := mustParse(t, expr).Kernel(1 << 18); f != nil {
		t.Errorf("a program of %d instructions", len(f))
	}
}
