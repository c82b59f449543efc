package decode

import "github.com/tcpwatch/tcpwatch/capture/internal/inet"

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

// cutOff is what is behind a header that is not all there.
var cutOff = frame{wire: -1}

// skip returns the frame behind a header of n octets, or cutOff.
func (f frame) skip(n int) frame {
	if rest, ok := f.after(n); ok {
		return rest
	}
	return cutOff
}

// atMost returns the frame without what is behind n octets of it.
func (f frame) atMost(n int) frame {
	if n < f.wire && n >= 0 {
		return f.limit(n)
	}
	return f
}

// typed is what an Ethernet type names where there can be no length.
func typed(kind uint16) place {
	if kind < inet.MinType {
		return aNothing
	}
	return ether(kind)
}

// isIP reports whether a frame is surely an IP packet: its length fits, and the
// checksum of its header is right.
func (f frame) isIP() bool {
	switch h := f.data; {
	case len(h) >= inet.IPv4Size && h[0]>>4 == 4:
		size, total := int(h[0]&0xf)*4, int(be16(h[2:]))
		return size >= inet.IPv4Size && size <= total && total <= f.wire && size <= len(h) &&
			fold(addOctets(0, h[:size])) == 0xffff
	case len(h) >= inet.IPv6Size && h[0]>>4 == 6:
		length := int(be16(h[4:]))
		return length > 0 && inet.IPv6Size+length <= f.wire && f.wire-inet.IPv6Size-length < 64 // padding
	}
	return false
}

// isEthernet reports whether a frame is surely Ethernet, with IP or ARP in it.
func (f frame) isEthernet() bool {
	at := inet.EthernetSize
	for ; at <= len(f.data); at += 4 {
		switch be16(f.data[at-2:]) {
		case inet.TypeIPv4, inet.TypeIPv6:
			return f.skip(at).isIP()
		case inet.TypeARP:
			return len(f.data) >= at+4 && be32(f.data[at:]) == 1<<16|inet.TypeIPv4
		case inet.TypeVLAN, inet.TypeQinQ:
		default:
			return false
		}
	}
	return false
}

// known tells what a frame surely is: Ethernet, IP, or PPP with IP in it.
func (f frame) known() place {
	switch {
	case f.isEthernet():
		return aFrame
	case f.isIP():
		return anIP
	case len(f.data) >= 2 && (be16(f.data) == 0x0021 || be16(f.data) == 0x0057) && f.skip(2).isIP():
		return aPPP
	}
	return aNothing
}

// surely reads a header of n octets if there is surely this inside.
func surely(n int, in place) func(frame) (frame, place) {
	return func(f frame) (frame, place) {
		if rest := f.skip(n); rest.known() == in {
			return rest, in
		}
		return f, aNothing
	}
}

// guess finds the frame behind a header whose length only the two ends know: of
// cookies, sublayers, and the link layers of IP that have a multiple of four octets.
func guess(f frame) (frame, place) {
	for n := 0; n <= 16; n += 4 {
		if rest := f.skip(n); rest.known() != aNothing {
			return rest, rest.known()
		}
	}
	if f.wire < 0 {
		return f, aNothing
	}
	return f, notOpened
}
