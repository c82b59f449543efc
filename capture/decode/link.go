package decode

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// Link layers. Each method reads one header and passes on what is behind it.
// A header that is cut makes the packet undecodable: TCP may have been behind.

// Reads reports whether packets of a link type can be decoded at all.
func Reads(link pcap.LinkType) bool {
	switch link.Layout().Kind {
	case pcap.LayoutNone, pcap.LayoutPPP:
		return reader(link) != nil
	}
	return true
}

func (p *Decoder) link(link pcap.LinkType, f frame) Verdict {
	switch l := link.Layout(); l.Kind {
	case pcap.LayoutEthernet:
		return p.then(f, int(l.Start), p.ethernet)
	case pcap.LayoutCooked, pcap.LayoutCooked2:
		return p.cooked(f, int(l.TypeAt), int(l.Network))
	case pcap.LayoutType:
		return p.typed(f, int(l.TypeAt), int(l.Network))
	case pcap.LayoutVersion, pcap.LayoutIPv4, pcap.LayoutIPv6:
		return p.ip(f)
	case pcap.LayoutNull, pcap.LayoutLoop:
		if len(f.data) >= 4 && !ipFamily(f.data) {
			return NotTCP
		}
		return p.then(f, 4, p.ip)
	}
	if read := reader(link); read != nil {
		return read(p, f)
	}
	return Undecodable
}

// reader returns what reads the headers of a link type that have no one layout,
// or nil.
func reader(link pcap.LinkType) func(*Decoder, frame) Verdict {
	switch link {
	case pcap.LinkPPP:
		return (*Decoder).ppp
	case pcap.LinkPPPWithDir:
		return func(p *Decoder, f frame) Verdict { return p.then(f, 1, p.ppp) }
	case pcap.LinkPPPHDLC:
		return (*Decoder).pppOrCisco
	case pcap.LinkPPPoE:
		return (*Decoder).pppoe
	case pcap.LinkATM:
		return (*Decoder).llc
	case pcap.LinkMPLS:
		return (*Decoder).mpls
	case pcap.LinkWiFi:
		return func(p *Decoder, f frame) Verdict { return p.wifi(f, 0) }
	case pcap.LinkRadiotap:
		return (*Decoder).radiotap
	case pcap.LinkPFLog:
		return (*Decoder).pfLog
	case pcap.LinkNFLog:
		return (*Decoder).nfLog
	case pcap.LinkPPI:
		return func(p *Decoder, f frame) Verdict { return p.wrapped(f, 2, 4) }
	case pcap.LinkPktap:
		return func(p *Decoder, f frame) Verdict { return p.wrapped(f, 0, 8) }
	}
	return nil
}

// then passes on what is behind n octets of f.
func (p *Decoder) then(f frame, n int, next func(frame) Verdict) Verdict {
	rest, ok := f.after(n)
	if !ok {
		return Undecodable
	}
	return next(rest)
}

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

func (p *Decoder) ethernet(f frame) Verdict {
	rest, ok := f.after(inet.EthernetSize)
	if !ok {
		return Undecodable
	}
	return p.etherType(be16(f.data[12:]), rest)
}

// etherType reads what an Ethernet type names.
func (p *Decoder) etherType(kind uint16, f frame) Verdict {
	if p.tags++; p.tags > maxTags+1 {
		return Undecodable
	}
	switch kind {
	case inet.TypeIPv4:
		return p.ipv4(f)
	case inet.TypeIPv6:
		return p.ipv6(f)
	case inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld:
		rest, ok := f.after(4)
		if !ok {
			return Undecodable
		}
		return p.etherType(be16(f.data[2:]), rest)
	case inet.TypeMPLS, inet.TypeMPLSMulti:
		return p.mpls(f)
	case inet.TypePPPoE:
		return p.pppoe(f)
	case inet.TypePBB: // IEEE 802.1ah: four octets of tag, then a whole frame
		return p.then(f, 4, p.ethernet)
	case inet.TypeTEB:
		return p.ethernet(f)
	}
	if kind < inet.MinType && int(kind) <= f.wire {
		return p.llc(f.limit(int(kind)))
	}
	return NotTCP
}

// cooked reads a Linux cooked capture header of the given size, with the
// Ethernet type at the given place.
func (p *Decoder) cooked(f frame, typeAt, size int) Verdict {
	const protocolLLC = 4 // ETH_P_802_2
	rest, ok := f.after(size)
	if !ok {
		return Undecodable
	}
	switch kind := be16(f.data[typeAt:]); {
	case kind == protocolLLC:
		return p.llc(rest)
	case kind >= inet.MinType:
		return p.etherType(kind, rest)
	}
	return NotTCP
}

// mpls reads a label stack. It does not say what is behind it: IP is told by
// its version, and a first nibble of 0 is the control word of a pseudowire
// (RFC 4385 §3), which is taken to carry Ethernet.
func (p *Decoder) mpls(f frame) Verdict {
	for range maxTags {
		rest, ok := f.after(4)
		if !ok {
			return Undecodable
		}
		bottom := f.data[2]&1 != 0
		if f = rest; !bottom {
			continue
		}
		if len(f.data) == 0 {
			return Undecodable
		}
		switch f.data[0] >> 4 {
		case 4:
			return p.ipv4(f)
		case 6:
			return p.ipv6(f)
		case 0:
			if p.tags++; p.tags > maxTags {
				return Undecodable
			}
			return p.then(f, 4, p.ethernet)
		}
		return NotTCP
	}
	return Undecodable
}

// pppoe reads the header of a PPPoE session (RFC 2516 §4).
func (p *Decoder) pppoe(f frame) Verdict {
	rest, ok := f.after(6)
	if !ok {
		return Undecodable
	}
	if f.data[0] != 0x11 || f.data[1] != 0 { // version and type 1, session data
		return NotTCP
	}
	if length := int(be16(f.data[4:])); length <= rest.wire {
		rest = rest.limit(length)
	}
	return p.ppp(rest)
}

// ppp reads PPP, whose address and control octets, and the first octet of
// whose protocol, may have been compressed away (RFC 1661 §6.5, §6.6).
func (p *Decoder) ppp(f frame) Verdict {
	if len(f.data) >= 2 && f.data[0] == 0xff && f.data[1] == 0x03 {
		f, _ = f.after(2)
	}
	if len(f.data) == 0 {
		return Undecodable
	}
	protocol, size := uint16(f.data[0]), 1
	if protocol&1 == 0 {
		if len(f.data) < 2 {
			return Undecodable
		}
		protocol, size = be16(f.data), 2
	}
	switch protocol {
	case 0x0021:
		return p.then(f, size, p.ipv4)
	case 0x0057:
		return p.then(f, size, p.ipv6)
	case 0x0281, 0x0283:
		return p.then(f, size, p.mpls)
	}
	return NotTCP
}

// pppOrCisco reads PPP or Cisco HDLC, told by the first octet.
func (p *Decoder) pppOrCisco(f frame) Verdict {
	if len(f.data) > 0 && (f.data[0] == 0x0f || f.data[0] == 0x8f) {
		return p.typed(f, 2, 4)
	}
	return p.ppp(f)
}

// typed reads a header of the given size that has an Ethernet type, and never a
// length, at the given place.
func (p *Decoder) typed(f frame, typeAt, size int) Verdict {
	rest, ok := f.after(size)
	if !ok {
		return Undecodable
	}
	if kind := be16(f.data[typeAt:]); kind >= inet.MinType {
		return p.etherType(kind, rest)
	}
	return NotTCP
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

// pfLog reads the header of OpenBSD's packet filter log: its length, padded to
// four octets, is all that matters.
func (p *Decoder) pfLog(f frame) Verdict {
	if len(f.data) == 0 {
		return Undecodable
	}
	return p.then(f, (int(f.data[0])+3)&^3, p.ip)
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
			return p.then(f.limit(length), 4, p.ip)
		}
		f, ok = f.after((length + 3) &^ 3)
	}
	return Undecodable
}

// wrapped reads a little endian header that names its own length and the link
// type of what is behind it.
func (p *Decoder) wrapped(f frame, lengthAt, linkAt int) Verdict {
	if len(f.data) < linkAt+4 {
		return Undecodable
	}
	length := int(binary.LittleEndian.Uint16(f.data[lengthAt:]))
	link := binary.LittleEndian.Uint32(f.data[linkAt:])
	rest, ok := f.after(length)
	if !ok || length < linkAt+4 || link == uint32(pcap.LinkPPI) || link == uint32(pcap.LinkPktap) || link > 0xffff {
		return Undecodable
	}
	return p.link(pcap.LinkType(link), rest)
}
