package pktgen

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// mix hands out the packet at hand, now and then in fragments, and now and then
// something else before it.
func (n *network) mix() {
	if n.rnd.IntN(10) == 0 {
		n.other(n.noise())
	}
	k := &n.packet
	if k.Data < 600 || k.Src.Addr().Is6() || n.rnd.IntN(100) > 0 {
		n.stopped = n.stopped || !n.yield(k)
		return
	}
	whole := appendEthernet(nil, k.Src.Addr(), k.Dst.Addr(), k.VLAN)
	ip := len(whole)
	whole = Append(whole, &k.Segment)
	const first = 512 // octets behind the IP header
	n.other(fragment(whole, ip, 0, first, true))
	n.other(fragment(whole, ip, first, len(whole)-ip-inet.IPv4Size-first, false))
}

// other hands out a frame at the time of the packet at hand.
func (n *network) other(frame []byte) {
	k := Packet{Segment: tcp.Segment{Time: n.packet.Time}, Frame: frame}
	n.stopped = n.stopped || !n.yield(&k)
}

// fragment returns so many octets, from an offset on, of what the IPv4 packet
// carries that begins at ip in the frame.
func fragment(frame []byte, ip, offset, length int, more bool) []byte {
	body := ip + inet.IPv4Size
	b := append([]byte(nil), frame[:body]...)
	b = append(b, frame[body+offset:body+offset+length]...)
	header := b[ip:body]
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	be.PutUint16(header[2:], uint16(inet.IPv4Size+length))
	be.PutUint16(header[6:], field)
	be.PutUint16(header[10:], 0)
	be.PutUint16(header[10:], fold(sum(header)))
	return b
}

// noise returns a frame that carries no TCP.
func (n *network) noise() []byte {
	host, gateway := clientAt(n.rnd.IntN(1000)), netip.AddrFrom4([4]byte{192, 0, 2, 53})
	if n.rnd.IntN(3) == 0 {
		host, gateway = toIPv6(host), toIPv6(gateway)
	}
	b := appendEthernet(nil, host, gateway, 0)
	ethernet := len(b)
	packet := tcp.Segment{ID: uint16(n.rnd.Uint32())}
	switch n.rnd.IntN(8) {
	case 0: // ARP: who has the gateway
		b = append(b[:ethernet-2], inet.TypeARP>>8, inet.TypeARP&0xff, 0, 1, inet.TypeIPv4>>8, inet.TypeIPv4&0xff, 6, 4, 0, 1)
		b = append(b, b[6:12]...)
		b = append(b, host.AsSlice()[host.BitLen()/8-4:]...)
		b = append(b, 0, 0, 0, 0, 0, 0)
		return append(b, gateway.AsSlice()[gateway.BitLen()/8-4:]...)
	case 1: // an echo request
		message, proto := byte(8), uint8(inet.ProtoICMP)
		if host.Is6() {
			message, proto = 128, inet.ProtoICMPv6
		}
		b = appendIP(b, host, gateway, proto, &packet)
		at := len(b)
		b = append(b, message, 0, 0, 0, 0, 7, 0, 1)
		b = append(b, make([]byte, 56)...)
		finish(b[ethernet:], b[at:], 0, proto, 2)
		return b
	case 2: // the spanning tree protocol, whose frames have a length for a type
		return append(b[:ethernet-2], 0, 38, 0x42, 0x42, 3, 0, 0, 0, 0, 0)
	case 3: // octets of no meaning, in a frame that says IP
		for range 20 + n.rnd.IntN(60) {
			b = append(b, byte(n.rnd.Uint32()))
		}
		b[ethernet] &= 0x0f // version 0
		return b
	}
	b = appendIP(b, host, gateway, inet.ProtoUDP, &packet)
	at := len(b)
	size := 8 + 20 + n.rnd.IntN(1200)
	b = be.AppendUint16(b, uint16(lowPort+n.rnd.IntN(ports)))
	b = be.AppendUint16(b, 53)
	b = be.AppendUint16(b, uint16(size))
	b = append(b, make([]byte, size-6)...)
	finish(b[ethernet:], b[at:], 0, inet.ProtoUDP, 6)
	if host.Is4() && size > 1000 { // some get lost on the way
		return fragment(b, ethernet, 0, 800, true)
	}
	return b
}
