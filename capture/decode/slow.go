package decode

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The slow path. What the fast path asks for is taken apart here, header by
// header: link layers, tags and tunnels by the table in table.go, ICMP errors in
// icmp.go, fragments in fragment.go; IP, its extension headers and TCP with
// gopacket's layers in gopacket.go.
//
// A header hands what is behind it to the next as a frame, so that every one
// of them can be behind every other. Three counts keep that finite: IP headers
// in a packet, others between two of them, extension headers behind one. What is
// deeper than the limits is counted as undecodable, not guessed at.

const (
	MaxDepth   = 8  // IP headers in a packet
	maxHeaders = 64 // others that are looked behind, between two of them
	maxTags    = 8  // VLAN tags that the fast path looks behind
)

// Protocols of IP that only the slow path reads. Those of mobile and multihomed hosts are
// headers behind which others may be (RFC 6275 §6.1.1, RFC 7401 §5.1, RFC 5533 §5.1); most have
// nothing behind them.
const (
	protoMobility = 135
	protoUDPLite  = 136 // CAPWAP over IPv6 is in it (RFC 5415 §3.1)
	protoHIP      = 139
	protoShim6    = 140
)

// A network is what the innermost IP header says of the segment behind it.
type network struct {
	src, dst netip.Addr // dst is the last hop of a source route
	ttl      uint8
	id       uint16
	noDF     bool
	label    bool // the flow label is not zero
	fragment bool // put together from fragments
}

// slow reads one packet, captured at now.
func (p *Decoder) slow(l pcap.LinkType, f frame, now tcp.Time, s *tcp.Segment) Verdict {
	return p.guarded(s, func() Verdict { return p.slowUnguarded(l, f, now, s) })
}

// guarded reads what fills in a Segment. gopacket's decoders have crashed on
// malformed packets before: if one does, the packet is undecodable.
func (p *Decoder) guarded(s *tcp.Segment, read func() Verdict) (v Verdict) {
	defer func() {
		if recover() != nil {
			v, p.more = Undecodable, nil
		}
	}()
	p.segment = s
	return read()
}

func (p *Decoder) slowUnguarded(l pcap.LinkType, f frame, now tcp.Time, s *tcp.Segment) Verdict {
	*s = tcp.Segment{}
	p.segment, p.now, p.depth, p.headers, p.more = s, now, 0, 0, p.more[:0]
	if p.o.Part != nil {
		p.parts = append(p.parts[:0], p.number)
	}
	if !p.Reads(l) {
		return Undecodable
	}
	return p.open(link(l), f)
}

// payload reads what an IP header carries.
func (p *Decoder) payload(proto uint8, f frame, n *network) Verdict {
	switch proto {
	case inet.ProtoTCP:
		return p.tcp(f, n)
	case inet.ProtoICMP:
		return p.icmp(f, n, false)
	case inet.ProtoICMPv6:
		return p.icmp(f, n, true)
	case inet.ProtoAH, protoMobility, protoHIP, protoShim6: // of IPv4; IPv6 has read its own
		return p.extensions(proto, f, n)
	}
	if p.o.Names && proto == inet.ProtoUDP && namesIn(f.data) {
		p.dns(f.data, n.dst)
	}
	switch {
	case p.o.Outer:
		return NotTCP
	case proto == inet.ProtoUDP, proto == protoUDPLite:
		return p.udp(f, proto)
	case proto == protoIPComp:
		return p.ipComp(f, n)
	case proto == protoESP && p.o.NullESP:
		return p.nullESP(f, n)
	}
	return p.open(place{ipProto, uint16(proto)}, f)
}
