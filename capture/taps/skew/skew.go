// Package skew rewrites captures as another clock, or a firewall on the way, would have
// made them; for tests of captures of several places.
package skew

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Change is what is another in a capture. The zero Change is nothing.
type Change struct {
	Name  string
	Ahead time.Duration // of the clock
	Drift float64       // of the clock: 1e-6 is a microsecond in each second
	NAT   bool          // a firewall translates the address and port of the client, clamps the MSS to 1380, and is 3 hops
}

// Changes are those that are tried: clocks that differ, a firewall, and both.
var Changes = []Change{
	{Name: "true"},
	{Name: "ahead", Ahead: 3200 * time.Millisecond, Drift: 80e-6},
	{Name: "behind", Ahead: -3200 * time.Millisecond, Drift: 800e-6},
	{Name: "nat", NAT: true},
	{Name: "nat-ahead", Ahead: 3200 * time.Millisecond, Drift: 80e-6, NAT: true},
}

// Stamp returns what the changed clock showed.
func (c *Change) Stamp(t, first tcp.Time) tcp.Time {
	return t.Add(c.Ahead) + tcp.Time(float64(t-first)*c.Drift)
}

// Rewrite writes a pcap file as the change leaves it.
func (c *Change) Rewrite(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	unit := tcp.Time(1)
	switch le.Uint32(b) {
	case 0xa1b23c4d:
	case 0xa1b2c3d4:
		unit = 1000
	default:
		return fmt.Errorf("%s: no pcap file in this byte order", from)
	}
	link := le.Uint32(b[20:])
	var first tcp.Time
	for at := 24; at+16 <= len(b); {
		r := b[at:]
		n := int(le.Uint32(r[8:]))
		now := tcp.Time(le.Uint32(r))*tcp.Second + tcp.Time(le.Uint32(r[4:]))*unit
		if first == 0 {
			first = now
		}
		now = c.Stamp(now, first)
		le.PutUint32(r, uint32(now/tcp.Second))
		le.PutUint32(r[4:], uint32(now%tcp.Second/unit))
		if c.NAT {
			header := map[uint32]int{1: 14, 113: 16}[link]
			natPacket(r[16+header : 16+n])
		}
		at += 16 + n
	}
	return os.WriteFile(to, b, 0o666)
}

// Inside is the client whose address the firewall translates, Outside what to.
var Inside, Outside = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("203.0.113.5")

// update updates a checksum for a 16-bit word that changes (RFC 1624).
func update(sum []byte, old, new uint16) {
	be := binary.BigEndian
	s := uint32(^be.Uint16(sum)) + uint32(^old) + uint32(new)
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	be.PutUint16(sum, ^uint16(s))
}

// natPacket rewrites an IPv4 packet as a firewall between the two hosts would have,
// that clamps the MSS to 1380: also what an ICMP error quotes.
func natPacket(p []byte) {
	be := binary.BigEndian
	if p[0]>>4 != 4 {
		return
	}
	t := p[int(p[0]&15)*4:]
	put := func(b []byte, v uint16, sums ...[]byte) {
		for _, sum := range sums {
			update(sum, be.Uint16(b), v)
		}
		be.PutUint16(b, v)
	}
	address := func(at, port int) {
		if netip.AddrFrom4([4]byte(p[at:])) != Inside {
			return
		}
		o := Outside.As4()
		if p[9] != 6 {
			put(p[at:], be.Uint16(o[:]), p[10:12])
			put(p[at+2:], be.Uint16(o[2:]), p[10:12])
			return
		}
		put(p[at:], be.Uint16(o[:]), p[10:12], t[16:18])
		put(p[at+2:], be.Uint16(o[2:]), p[10:12], t[16:18])
		put(t[port:], be.Uint16(t[port:])+20000, t[16:18])
	}
	if netip.AddrFrom4([4]byte(p[12:])) == Inside {
		ttl := be.Uint16(p[8:])
		put(p[8:], ttl-3<<8, p[10:12])
	}
	address(12, 0)
	address(16, 2)
	if p[9] == 6 && t[13]&2 != 0 {
		for o := 20; o+4 <= len(t) && o < int(t[12]>>4)*4; {
			if t[o] == 1 {
				o++
				continue
			}
			if t[o] == 2 && be.Uint16(t[o+2:]) > 1380 {
				put(t[o+2:], 1380, t[16:18])
			}
			if t[o+1] < 2 {
				break
			}
			o += int(t[o+1])
		}
	}
}
