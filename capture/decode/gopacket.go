package decode

import (
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The only file that knows gopacket. Its layers are decoded one by one, by
// DecodeFromBytes, into structs that are reused: NewPacket would cost ten
// times as much, guess at what is above TCP, and print to standard output on
// some malformed packets.
//
// Of the module's decoders (v1.1.19) only those are used here that never
// crashed on millions of mutated packets: IPv4, IPv6 and its extension
// headers, TCP, LLC. Lengths are always taken from the octets
// themselves, because the decoders correct them by what was captured; and the
// errors of IPv4, IPv6 and TCP are not looked at, because these fill in the
// fixed header before anything can go wrong, and the rest is checked here.

// gopacketLayers are the headers that are read by gopacket.
type gopacketLayers struct {
	ip4  layers.IPv4
	ip6  layers.IPv6
	hbh  layers.IPv6HopByHop
	skip layers.IPv6ExtensionSkipper
	tcp  layers.TCP
	llc  layers.LLC
}

// ipv4 reads an IPv4 header with its options.
func (p *Decoder) ipv4(f frame) Verdict {
	if len(f.data) < inet.IPv4Size || f.data[0]>>4 != 4 {
		return Undecodable
	}
	if p.depth++; p.depth > MaxDepth {
		return Undecodable
	}
	p.headers = 0
	ip := &p.layers.ip4
	_ = ip.DecodeFromBytes(f.data, gopacket.NilDecodeFeedback)
	total := int(be16(f.data[2:]))
	if total == 0 { // segmentation left to the network card
		total = f.wire
	}
	header := int(ip.IHL) * 4
	if header < inet.IPv4Size {
		return Undecodable
	}
	f, ok := f.limit(total).after(header)
	if !ok {
		return Undecodable
	}
	n := network{
		src: netip.AddrFrom4([4]byte(ip.SrcIP)),
		dst: lastHop(ip),
		ttl: ip.TTL, id: ip.Id, noDF: ip.Flags&layers.IPv4DontFragment == 0,
	}
	proto := uint8(ip.Protocol)
	more := ip.Flags&layers.IPv4MoreFragments != 0
	if ip.FragOffset == 0 && !more {
		return p.payload(proto, f, &n)
	}
	key := fragmentKey{src: n.src, dst: n.dst, id: uint32(n.id), proto: proto}
	return p.fragment(key, fragment{int(ip.FragOffset) * 8, more, proto, f}, &n)
}

// lastHop is where a packet is going in the end: its destination, or the last
// address of a source route that it has not come to the end of (RFC 791 §3.1).
func lastHop(ip *layers.IPv4) netip.Addr {
	const looseRoute, strictRoute = 131, 137
	for _, o := range ip.Options {
		if o.OptionType != looseRoute && o.OptionType != strictRoute {
			continue
		}
		if n := len(o.OptionData); n >= 5 && int(o.OptionData[0]) <= int(o.OptionLength)-3 {
			return netip.AddrFrom4([4]byte(o.OptionData[n-4:]))
		}
	}
	return netip.AddrFrom4([4]byte(ip.DstIP))
}

// ipv6 reads the fixed IPv6 header.
func (p *Decoder) ipv6(f frame) Verdict {
	if len(f.data) < inet.IPv6Size || f.data[0]>>4 != 6 {
		return Undecodable
	}
	if p.depth++; p.depth > MaxDepth {
		return Undecodable
	}
	p.headers = 0
	ip := &p.layers.ip6
	_ = ip.DecodeFromBytes(f.data, gopacket.NilDecodeFeedback)
	n := network{
		src: netip.AddrFrom16([16]byte(ip.SrcIP)),
		dst: netip.AddrFrom16([16]byte(ip.DstIP)),
		ttl: ip.HopLimit, label: ip.FlowLabel != 0,
	}
	length := int(be16(f.data[4:]))
	f, ok := f.after(inet.IPv6Size)
	if !ok {
		return Undecodable
	}
	if length == 0 {
		if length = p.jumboLength(uint8(ip.NextHeader), f); length == 0 {
			length = f.wire
		}
	}
	return p.extensions(uint8(ip.NextHeader), f.limit(length), &n)
}

// jumboLength is the length in a jumbo payload option (RFC 2675 §2), or 0.
func (p *Decoder) jumboLength(next uint8, f frame) int {
	const jumbo = 0xc2
	h := &p.layers.hbh
	if next != inet.ProtoHopByHop || h.DecodeFromBytes(f.data, gopacket.NilDecodeFeedback) != nil {
		return 0
	}
	for _, o := range h.Options {
		if o.OptionType != jumbo || len(o.OptionData) != 4 {
			continue
		}
		if length := be32(o.OptionData); length <= pcap.MaxRecord {
			return int(length)
		}
	}
	return 0
}

// extensions reads the extension headers of IPv6 (RFC 8200 §4) up to what
// they carry.
func (p *Decoder) extensions(next uint8, f frame, n *network) Verdict {
	for range inet.MaxExtensions {
		h, size := f.data, 0
		switch next {
		case inet.ProtoHopByHop, inet.ProtoDestOpts, inet.ProtoRouting:
			skip := &p.layers.skip
			if skip.DecodeFromBytes(h, gopacket.NilDecodeFeedback) != nil {
				return Undecodable
			}
			if size = len(skip.Contents); next == inet.ProtoRouting {
				n.route(skip.Contents)
			}
		case inet.ProtoAH:
			if len(h) < 12 {
				return Undecodable
			}
			size = (int(h[1]) + 2) * 4
		case protoMobility, protoHIP, protoShim6:
			if len(h) < 8 {
				return Undecodable
			}
			size = (int(h[1]) + 1) * 8
		case inet.ProtoFragment:
			if size = 8; len(h) < size {
				return Undecodable
			}
			offset, more := int(be16(h[2:])&^7), h[3]&1 != 0
			if offset == 0 && !more { // atomic (RFC 6946)
				break
			}
			f, ok := f.after(size)
			if !ok {
				return Undecodable
			}
			key := fragmentKey{src: n.src, dst: n.dst, id: be32(h[4:]), v6: true}
			return p.fragment(key, fragment{offset, more, h[0], f}, n)
		default:
			return p.payload(next, f, n)
		}
		rest, ok := f.after(size)
		if !ok {
			return Undecodable
		}
		next, f = h[0], rest
	}
	return Undecodable
}

// route takes the last address of a routing header that still has segments
// left: types 0 (RFC 5095 forbids it), 2 (RFC 6275) and 4 (RFC 8754).
func (n *network) route(h []byte) {
	if len(h) < 24 || h[3] == 0 {
		return
	}
	switch h[2] {
	case 0, 2:
		n.dst = netip.AddrFrom16([16]byte(h[len(h)-16:]))
	case 4: // its segments are listed last first
		n.dst = netip.AddrFrom16([16]byte(h[8:24]))
	}
}

// fragment keeps a fragment until its datagram is whole, and reads that.
func (p *Decoder) fragment(key fragmentKey, g fragment, n *network) Verdict {
	if !p.carriesTCP(g.proto, key.v6 && g.offset > 0) {
		if p.o.Outer {
			return NotTCP
		}
		return p.open(place{ipProto, uint16(g.proto)}, g.frame)
	}
	if g.wire == 0 || g.more && g.wire%8 != 0 || g.offset+g.wire > maxDatagram {
		return Undecodable
	}
	if g.proto == inet.ProtoUDP && g.offset == 0 && !p.isTunnel(g.frame) {
		p.fragments.refuse(key, p.now)
		return NotTCP
	}
	d := p.fragments.find(key, p.now)
	if d.over && d.whole != 0 {
		p.tellParts(d.whole, p.parts) // copies of it
	}
	over := d.over
	datagram, proto, ok := p.fragments.add(d, g, p.parts, p.now)
	switch {
	case !ok && d.over && !over:
		return Undecodable // it contradicts the others
	case !ok:
		return NotTCP
	}
	p.parts, d.parts, d.whole = append(p.parts[:0], d.parts...), nil, p.number
	n.fragment = true
	if key.v6 {
		return p.extensions(proto, datagram, n)
	}
	return p.payload(proto, datagram, n)
}

// tellParts tells which packets make another whole.
func (p *Decoder) tellParts(whole int, parts []int) {
	for _, n := range parts {
		if n != whole {
			p.o.Part(n, whole)
		}
	}
}

// carriesTCP reports whether fragments of this protocol are worth keeping. Of
// IPv6 fragments only the first need tell it truly (RFC 8200 §4.5).
func (p *Decoder) carriesTCP(proto uint8, unsure bool) bool {
	switch proto {
	case inet.ProtoTCP, inet.ProtoAH, inet.ProtoDestOpts, inet.ProtoHopByHop, inet.ProtoRouting, protoMobility, protoHIP, protoShim6:
		return true
	}
	return unsure || !p.o.Outer && p.opensProto(proto)
}

// tcp reads a TCP header and fills in the Segment.
func (p *Decoder) tcp(f frame, n *network) Verdict {
	if len(f.data) < inet.TCPSize {
		return Undecodable
	}
	t := &p.layers.tcp
	_ = t.DecodeFromBytes(f.data, gopacket.NilDecodeFeedback)
	header := int(t.DataOffset) * 4
	if header < inet.TCPSize || header > f.wire {
		return Undecodable
	}
	s := p.segment
	s.Src = netip.AddrPortFrom(n.src, uint16(t.SrcPort))
	s.Dst = netip.AddrPortFrom(n.dst, uint16(t.DstPort))
	s.Seq, s.Ack = tcp.Seq(t.Seq), tcp.Seq(t.Ack)
	s.Wnd, s.Urg, s.Checksum = t.Window, t.Urgent, t.Checksum
	s.Data = tcp.Size(f.wire - header)
	s.TTL, s.ID, s.NoDF, s.Fragment = n.ttl, n.id, n.noDF, n.fragment
	for _, f := range [...]struct {
		set bool
		tcp.Flags
	}{
		{t.FIN, tcp.FIN}, {t.SYN, tcp.SYN}, {t.RST, tcp.RST},
		{t.PSH, tcp.PSH}, {t.ACK, tcp.ACK}, {t.URG, tcp.URG},
		{t.ECE, tcp.ECE}, {t.CWR, tcp.CWR}, {t.NS, tcp.AE},
	} {
		if f.set {
			s.Flags |= f.Flags
		}
	}
	s.Label = n.label && s.Flags&tcp.SYN != 0
	switch {
	case f.whole():
		if p.o.VerifyChecksums || s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) {
			s.Sum = checkTCP(f.data, n.src, n.dst)
		}
		if p.o.Payload {
			s.Payload = p.hash(f.data, header, n.src, n.dst)
		}
	case len(f.data) >= header:
		s.Cut = tcp.CutPayload
	default: // gopacket reads no options from a header that is cut
		s.Cut = tcp.CutOptions
		readOptions(f.data[inet.TCPSize:], &s.Options)
		return TCP
	}
	for _, o := range t.Options {
		if o.OptionType == layers.TCPOptionKindNop {
			s.Options.Place(optionNop)
		}
		if int(o.OptionLength) == 2+len(o.OptionData) { // else the last, malformed
			setOption(uint8(o.OptionType), o.OptionData, &s.Options)
		}
	}
	s.Options.Placed()
	if len(f.data) > header && p.o.Names && p.mayName(f.data[header], s.Seq) {
		p.data, p.naming = f.data[header:], true
	}
	return TCP
}

// llc reads an LLC header and, if that says so, what organizations put behind it.
func (p *Decoder) llc(f frame) Verdict {
	const snap, ip = 0xaa, 0x06
	l := &p.layers.llc
	if l.DecodeFromBytes(f.data, gopacket.NilDecodeFeedback) != nil {
		return f.missing()
	}
	rest, ok := f.after(len(l.Contents))
	switch {
	case !ok:
		return Undecodable
	case l.DSAP == ip && l.SSAP == ip:
		return p.ip(rest)
	case l.DSAP != snap || l.SSAP != snap:
		return NotTCP
	}
	in, at := readSNAP(rest)
	if in.wire < 0 {
		return rest.missing()
	}
	return p.open(at, in)
}
