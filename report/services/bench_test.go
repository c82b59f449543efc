package services

import (
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A flood in which every connection is of another host, and traffic to one service.
func BenchmarkConnection(b *testing.B) {
	for name, hosts := range map[string]int{"one": 1, "flood": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			var c Counts
			r := called("10.0.0.1:1000", "10.0.0.2:80", nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n := i % hosts
				r.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 1000)
				c.Connection(r)
			}
		})
	}
}
