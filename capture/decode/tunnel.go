package decode

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
)

// Tunnels in IP. None is entered with Options.Outer.

// UDP ports at which tunnels are looked for.
const (
	portVXLAN      = 4789 // RFC 7348
	portVXLANLinux = 8472 // what Linux used before there was a number, and still does
	portGeneve     = 6081 // RFC 8926
)

func isTunnelPort(port uint16) bool {
	return port == portVXLAN || port == portVXLANLinux || port == portGeneve
}

// isTunnel reports whether a UDP datagram goes to the port of a tunnel.
func isTunnel(f frame) bool {
	return len(f.data) >= 4 && isTunnelPort(be16(f.data[2:]))
}

const udpSize = 8

func (p *Decoder) udp(f frame) Verdict {
	rest, ok := f.after(udpSize)
	if !ok {
		// A datagram without its ports says nothing; most are no tunnel.
		return NotTCP
	}
	if length := int(be16(f.data[4:])); length >= udpSize && length-udpSize <= rest.wire {
		rest = rest.limit(length - udpSize)
	}
	switch be16(f.data[2:]) {
	case portVXLAN, portVXLANLinux:
		return p.vxlan(rest)
	case portGeneve:
		return p.geneve(rest)
	}
	return NotTCP
}

// vxlan reads a VXLAN header (RFC 7348 §5).
func (p *Decoder) vxlan(f frame) Verdict {
	const validID = 0x08
	rest, ok := f.after(8)
	if !ok {
		return Undecodable
	}
	if f.data[0]&validID == 0 {
		return NotTCP
	}
	return p.ethernet(rest)
}

// geneve reads a Geneve header and its options (RFC 8926 §3.4).
func (p *Decoder) geneve(f frame) Verdict {
	if len(f.data) < 8 {
		return Undecodable
	}
	if f.data[0]>>6 != 0 { // version
		return NotTCP
	}
	rest, ok := f.after(8 + 4*int(f.data[0]&0x3f))
	if !ok {
		return Undecodable
	}
	return p.tunnelled(be16(f.data[2:]), rest)
}

// gre reads a GRE header (RFC 2784, RFC 2890). Version 1 (PPTP) and source
// routing (RFC 1701) are not followed.
func (p *Decoder) gre(f frame) Verdict {
	const (
		hasChecksum, hasRouting, hasKey, hasSequence = 0x8000, 0x4000, 0x2000, 0x1000
		version                                      = 0x0007

		erspan2, erspan3 = 0x88be, 0x22eb
	)
	if len(f.data) < 4 {
		return Undecodable
	}
	flags, kind := be16(f.data), be16(f.data[2:])
	if flags&(version|hasRouting) != 0 {
		return NotTCP
	}
	size := 4
	for _, field := range [...]uint16{hasChecksum, hasKey, hasSequence} {
		if flags&field != 0 {
			size += 4
		}
	}
	rest, ok := f.after(size)
	if !ok {
		return Undecodable
	}
	switch kind {
	case erspan2:
		if flags&hasSequence == 0 { // type I has no header of its own
			return p.ethernet(rest)
		}
		return p.then(rest, 8, p.ethernet)
	case erspan3:
		return p.erspan3(rest)
	}
	return p.tunnelled(kind, rest)
}

// erspan3 reads the header of a mirrored frame, which may have a subheader.
func (p *Decoder) erspan3(f frame) Verdict {
	if len(f.data) < 12 {
		return Undecodable
	}
	size := 12
	if binary.BigEndian.Uint32(f.data[8:])&1 != 0 {
		size += 8
	}
	return p.then(f, size, p.ethernet)
}

// etherIP reads an EtherIP header (RFC 3378 §3).
func (p *Decoder) etherIP(f frame) Verdict {
	if len(f.data) < 2 {
		return Undecodable
	}
	if f.data[0]>>4 != 3 {
		return NotTCP
	}
	return p.then(f, 2, p.ethernet)
}

// tunnelled reads what a tunnel header's Ethernet type names.
func (p *Decoder) tunnelled(kind uint16, f frame) Verdict {
	if kind < inet.MinType {
		return NotTCP
	}
	return p.etherType(kind, f)
}
