package decode

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The slow path. What the fast path asks for is taken apart here, header by
// header: link layers in link.go, tunnels in tunnel.go, ICMP errors in
// icmp.go, fragments in fragment.go; IP, its extension headers and TCP with
// gopacket's layers in gopacket.go.
//
// A header hands what is behind it to the next as a frame, so that every one
// of them can be behind every other. Three counts keep that finite: IP headers
// in a packet, tags between two of them, extension headers behind one. What is
// deeper than the limits is counted as undecodable, not guessed at.

const (
	maxDepth = 8 // IP headers in a packet
	maxTags  = 8 // VLAN tags, or labels, that are looked behind
)

// A frame is what remains of a packet behind the headers read so far.
type frame struct {
	data []byte // what was captured of it
	wire int    // the octets it had on the wire, or has by its header's word
}

// after returns the frame behind a header of n octets. It is not ok if the
// header is not all there.
func (f frame) after(n int) (rest frame, ok bool) {
	if n > len(f.data) || n > f.wire {
		return frame{}, false
	}
	return frame{f.data[n:], f.wire - n}, true
}

// limit returns the frame as a header says its length is: without padding, and
// with all that the capture lacks.
func (f frame) limit(n int) frame {
	return frame{f.data[:min(n, len(f.data))], n}
}

// whole reports whether the capture lacks nothing of the frame.
func (f frame) whole() bool { return len(f.data) >= f.wire }

// A network is what the innermost IP header says of the segment behind it.
type network struct {
	src, dst netip.Addr // dst is the last hop of a source route
	ttl      uint8
	id       uint16
	noDF     bool
	label    bool // the flow label is not zero
	fragment bool // put together from fragments
}

// slow reads one packet, captured at now. gopacket's decoders have crashed
// on malformed packets before: if one does, the packet is undecodable.
func (p *Decoder) slow(link pcap.LinkType, f frame, now tcp.Time, s *tcp.Segment) (v Verdict) {
	defer func() {
		if recover() != nil {
			v = Undecodable
		}
	}()
	return p.slowUnguarded(link, f, now, s)
}

func (p *Decoder) slowUnguarded(link pcap.LinkType, f frame, now tcp.Time, s *tcp.Segment) Verdict {
	*s = tcp.Segment{}
	p.segment, p.now, p.depth, p.tags = s, now, 0, 0
	if p.o.Part != nil {
		p.parts = append(p.parts[:0], p.number)
	}
	return p.link(link, f)
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
	case inet.ProtoAH: // of IPv4; IPv6 has read its own
		return p.extensions(proto, f, n)
	}
	if p.o.Names && proto == inet.ProtoUDP && namesIn(f.data) {
		p.dns(f.data, n.dst)
	}
	if p.o.Outer {
		return NotTCP
	}
	switch proto {
	case inet.ProtoIPv4:
		return p.ipv4(f)
	case inet.ProtoIPv6:
		return p.ipv6(f)
	case inet.ProtoGRE:
		return p.gre(f)
	case inet.ProtoEtherIP:
		return p.etherIP(f)
	case inet.ProtoUDP:
		return p.udp(f)
	}
	return NotTCP
}
