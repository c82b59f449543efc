package decode

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// ICMP errors quote the packet that they are about: its IP header and at least
// the first 8 octets behind it (RFC 792, RFC 4443 §2.4), which for TCP are the
// ports and the sequence number.

// isICMPError reports whether an ICMP message of this type says that a packet
// did not get through: destination unreachable, source quench, time exceeded,
// parameter problem. A redirect quotes a packet too, but that one went on.
func isICMPError(kind uint8) bool {
	return kind == 3 || kind == 4 || kind == 11 || kind == 12
}

// isICMPv6Error reports the same of ICMPv6: destination unreachable, packet
// too big, time exceeded, parameter problem.
func isICMPv6Error(kind uint8) bool { return kind >= 1 && kind <= 4 }

const (
	icmpSize  = 8
	quoteSize = 8 // octets of TCP that are enough
)

// icmp reads an ICMP or ICMPv6 message and, if it is an error about a TCP
// segment, fills in the Segment.
func (p *Decoder) icmp(f frame, n *network, v6 bool) Verdict {
	if len(f.data) == 0 { // most messages are no errors
		return NotTCP
	}
	if v6 && !isICMPv6Error(f.data[0]) || !v6 && !isICMPError(f.data[0]) {
		return NotTCP
	}
	quote, ok := f.after(icmpSize)
	if !ok {
		return f.missing()
	}
	src, dst, header, v := quotedTCP(quote)
	if v != TCP {
		return v
	}
	*p.segment = tcp.Segment{
		Src: netip.AddrPortFrom(src, be16(header)),
		Dst: netip.AddrPortFrom(dst, be16(header[2:])),
		Seq: tcp.Seq(be32(header[4:])),
		ICMP: tcp.ICMP{
			Type: f.data[0],
			Code: f.data[1],
			V6:   v6,
			From: n.src,
		},
	}
	switch m := &p.segment.ICMP; {
	case m.TooBig() && v6: // RFC 4443 §3.2
		m.MTU = be32(f.data[4:])
	case m.TooBig(): // RFC 1191 §4
		m.MTU = uint32(be16(f.data[6:]))
	}
	return TCP
}

// missing is the verdict on a message that ends too early: whether it was sent
// so or cut by the capture makes the difference.
func (f frame) missing() Verdict {
	if f.whole() {
		return NotTCP
	}
	return Undecodable
}

// quotedTCP finds the beginning of a TCP header in a quoted packet. Lengths in
// a quote are not to be trusted, so none is looked at.
func quotedTCP(f frame) (src, dst netip.Addr, header []byte, v Verdict) {
	var proto uint8
	var rest frame
	ok := false
	switch {
	case len(f.data) >= inet.IPv4Size && f.data[0]>>4 == 4:
		if be16(f.data[6:])&0x1fff != 0 { // not the first fragment
			return src, dst, nil, NotTCP
		}
		proto = f.data[9]
		src = netip.AddrFrom4([4]byte(f.data[12:16]))
		dst = netip.AddrFrom4([4]byte(f.data[16:20]))
		rest, ok = f.after(max(int(f.data[0]&0xf)*4, inet.IPv4Size))
	case len(f.data) >= inet.IPv6Size && f.data[0]>>4 == 6:
		src = netip.AddrFrom16([16]byte(f.data[8:24]))
		dst = netip.AddrFrom16([16]byte(f.data[24:40]))
		rest, ok = f.after(inet.IPv6Size)
		proto, rest, ok = quotedExtensions(f.data[6], rest, ok)
	}
	switch {
	case !ok:
		return src, dst, nil, f.missing()
	case proto != inet.ProtoTCP:
		return src, dst, nil, NotTCP
	case len(rest.data) < quoteSize:
		return src, dst, nil, rest.missing()
	}
	return src, dst, rest.data, TCP
}

// quotedExtensions passes over the extension headers of a quoted IPv6 packet.
func quotedExtensions(proto uint8, f frame, ok bool) (uint8, frame, bool) {
	for range inet.MaxExtensions {
		if !ok || len(f.data) < quoteSize {
			return proto, f, ok
		}
		next, size := f.data[0], 8
		switch proto {
		case inet.ProtoHopByHop, inet.ProtoRouting, inet.ProtoDestOpts:
			size = 8 + 8*int(f.data[1])
		case inet.ProtoFragment:
			if be16(f.data[2:])&^7 != 0 { // not the first fragment
				return 0xff, f, true
			}
		default:
			return proto, f, true
		}
		proto = next
		f, ok = f.after(size)
	}
	return proto, f, false
}
