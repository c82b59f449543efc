package decode

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The headers whose inside is not one frame of one kind.

// ip reads IPv4 or IPv6, told by the version.
func (p *Decoder) ip(f frame) Verdict {
	if len(f.data) == 0 {
		return Undecodable
	}
	switch f.data[0] >> 4 {
	case 4:
		return p.ipv4(f)
	case 6:
		return p.ipv6(f)
	}
	return Undecodable
}

// radiotap reads the header that tells how a Wi-Fi frame was received. Of its
// fields only the flags matter: they say whether the 802.11 header is padded.
func (p *Decoder) radiotap(f frame) Verdict {
	const (
		hasTime, hasFlags, more = 1 << 0, 1 << 1, 1 << 31
		flagPadded              = 0x20
	)
	if len(f.data) < 8 {
		return Undecodable
	}
	size := int(binary.LittleEndian.Uint16(f.data[2:]))
	rest, ok := f.after(size)
	if !ok || size < 8 {
		return Undecodable
	}
	present := binary.LittleEndian.Uint32(f.data[4:])
	at := 8
	for word := present; word&more != 0; at += 4 {
		if at+4 > size {
			return Undecodable
		}
		word = binary.LittleEndian.Uint32(f.data[at:])
	}
	if present&hasTime != 0 {
		at = (at+7)&^7 + 8
	}
	padding := 1
	if present&hasFlags != 0 && at < size && f.data[at]&flagPadded != 0 {
		padding = 4
	}
	return p.wifi(rest, padding)
}

// wifiSwapped reads 802.11 whose first two octets may be the wrong way round. A
// data frame has the version and the kind in the first.
func (p *Decoder) wifiSwapped(f frame) Verdict {
	if len(f.data) >= 2 && f.data[0]&0x0f != 0x08 && f.data[1]&0x0f == 0x08 {
		return p.wifiFrame(f, f.data[1], f.data[0], 1)
	}
	return p.wifi(f, 1)
}

// wifi reads an 802.11 header, which is followed by padding to a multiple of so
// many octets.
func (p *Decoder) wifi(f frame, padding int) Verdict {
	if len(f.data) < 2 {
		return Undecodable
	}
	return p.wifiFrame(f, f.data[0], f.data[1], padding)
}

// wifiFrame reads an 802.11 header whose first two octets are given (IEEE 802.11
// §9.2).
func (p *Decoder) wifiFrame(f frame, kind, flags byte, padding int) Verdict {
	const (
		kindMask, data, noData, hasQoS = 0x0f, 0x08, 0x40, 0x80 // and the version

		fourAddresses, moreFragments, protected, hasControl = 0x03, 0x04, 0x40, 0x80

		aggregate = 0x80
	)
	switch {
	case kind&kindMask != data || kind&noData != 0:
		return NotTCP
	case flags&protected != 0:
		return p.pass("802.11", Encrypted)
	}
	size := 24
	if flags&fourAddresses == fourAddresses {
		size += 6
	}
	qos := size
	if kind&hasQoS != 0 {
		if size += 2; flags&hasControl != 0 {
			size += 4
		}
	}
	if len(f.data) < size {
		return Undecodable
	}
	fragment := f.data[22]&0x0f != 0 || flags&moreFragments != 0
	aggregated := kind&hasQoS != 0 && f.data[qos]&aggregate != 0
	rest, ok := f.after((size + padding - 1) / padding * padding)
	switch {
	case !ok:
		return Undecodable
	case fragment:
		return p.pass("802.11", InPieces)
	case aggregated:
		return p.aggregate(rest)
	}
	return p.llc(rest)
}

// aggregate reads the first of several frames, each with addresses and a length
// (IEEE 802.11 §9.3.2.2), and keeps the others for Next.
func (p *Decoder) aggregate(f frame) Verdict {
	const header, most = 14, 64
	p.moreDepth = p.depth
	for len(f.data) >= header && len(p.more) < most {
		length := int(be16(f.data[12:]))
		sub := f.skip(header).atMost(length)
		p.more = append(p.more, sub)
		f = f.skip((header + length + 3) &^ 3)
	}
	return p.next()
}

// next reads the frames that are left of an aggregate, up to the first TCP.
func (p *Decoder) next() Verdict {
	*p.segment = tcp.Segment{}
	v := Undecodable
	for len(p.more) > 0 {
		f := p.more[0]
		p.more = p.more[1:]
		p.depth, p.headers = p.moreDepth, 0
		if v = p.llc(f); v == TCP {
			break
		}
	}
	return v
}

// nfLog reads a netfilter log message: a header of four octets, then
// attributes, one of which is the packet. Their lengths are in the byte order
// of the host that logged; little endian is assumed.
func (p *Decoder) nfLog(f frame) Verdict {
	const payload = 9 // NFULA_PAYLOAD
	f, ok := f.after(4)
	for ok && len(f.data) >= 4 {
		length := int(binary.LittleEndian.Uint16(f.data))
		kind := binary.LittleEndian.Uint16(f.data[2:]) & 0x7fff
		if length < 4 {
			return Undecodable
		}
		if kind == payload {
			rest, ok := f.limit(length).after(4)
			if !ok {
				return Undecodable
			}
			return p.ip(rest)
		}
		f, ok = f.after((length + 3) &^ 3)
	}
	return Undecodable
}

const udpSize = 8

// udp reads what a datagram to or from the port of a tunnel carries, or one that
// is VXLAN for sure. It is one of UDP, or of UDP-Lite.
func (p *Decoder) udp(f frame, proto uint8) Verdict {
	rest, ok := f.after(udpSize)
	if !ok {
		// A datagram without its ports says nothing; most are no tunnel.
		return NotTCP
	}
	// UDP-Lite says how much of it is in the checksum instead.
	if length := int(be16(f.data[4:])); proto == inet.ProtoUDP && length >= udpSize && length-udpSize <= rest.wire {
		rest = rest.limit(length - udpSize)
	}
	to, from := place{udpTo, be16(f.data[2:])}, place{udpFrom, be16(f.data)}
	switch {
	case p.has(to):
		return p.open(to, rest)
	case p.has(from):
		return p.open(from, rest)
	case rest.isVXLAN():
		return p.open(place{udpTo, portVXLAN}, rest)
	}
	return NotTCP
}

// has reports whether there is something to read at a place.
func (p *Decoder) has(at place) bool {
	_, as := p.as[at]
	return as || table.get(at) != nil
}

// isTunnel reports whether a UDP datagram goes to, or comes from, the port of a
// tunnel.
func (p *Decoder) isTunnel(f frame) bool { return len(f.data) >= 4 && p.portSet().has(f.data) }
