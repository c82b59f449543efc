package decode

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"

	"github.com/minio/highwayhash"
	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TCP option kinds.
const (
	optionEnd          = 0
	optionNop          = 1
	optionMSS          = 2
	optionShift        = 3
	optionSACKOK       = 4
	optionSACK         = 5
	optionTimestamps   = 8
	optionMD5          = 19
	optionAO           = 29
	optionFastOpen     = 34
	optionExperimental = 254

	// fastOpenMagic marks an experimental option as Fast Open (RFC 7413,
	// appendix A, as deployed before it had a number).
	fastOpenMagic = 0xf989

	// maxShift is the largest window scale (RFC 7323 §2.3).
	maxShift = 14
)

// readOptions reads the options of a TCP header, up to its end, an
// end-of-options octet, or the first option that does not fit.
func readOptions(b []byte, o *tcp.Options) {
	// Timestamps aligned by two no-operations: what nearly every segment has.
	if len(b) == 12 && be32(b) == 0x0101080a {
		o.HasTS, o.TSVal, o.TSEcr = true, be32(b[4:]), be32(b[8:])
		o.Order = optionTimestamps
		return
	}
	readEach(b, o)
	o.Placed()
}

// readEach reads options one by one.
func readEach(b []byte, o *tcp.Options) {
	for len(b) > 0 {
		switch b[0] {
		case optionEnd:
			return
		case optionNop:
			o.Place(optionNop)
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return
		}
		setOption(b[0], b[2:b[1]], o)
		b = b[b[1]:]
	}
}

// setOption takes one option. One whose length is not that of its kind is
// passed over, as receivers do.
func setOption(kind uint8, value []byte, o *tcp.Options) {
	switch kind {
	case optionMSS:
		if len(value) == 2 {
			o.MSS = be16(value)
			o.Place(kind)
		}
	case optionShift:
		if len(value) == 1 {
			o.HasShift, o.Shift = true, min(value[0], maxShift)
			o.Place(kind)
		}
	case optionSACKOK:
		if len(value) == 0 {
			o.SACKOK = true
			o.Place(kind)
		}
	case optionSACK:
		if n := len(value) / 8; len(value)%8 == 0 && n > 0 && n <= len(o.SACK) {
			for i := range n {
				o.SACK[i] = tcp.Block{
					Left:  tcp.Seq(be32(value[8*i:])),
					Right: tcp.Seq(be32(value[8*i+4:])),
				}
			}
			o.NumSACK = uint8(n)
		}
	case optionTimestamps:
		if len(value) == 8 {
			o.HasTS, o.TSVal, o.TSEcr = true, be32(value), be32(value[4:])
			o.Place(kind)
		}
	case optionMD5, optionAO:
		o.Signed = true
	case optionFastOpen:
		o.FastOpen = true
	case optionExperimental:
		if len(value) >= 2 && be16(value) == fastOpenMagic {
			o.FastOpen = true
		}
	}
}

// checkTCP checks the checksum of a whole TCP segment (§3.1). What a sender
// left to its network card holds the sum of the pseudo-header alone, or, if
// the card is to cut the segment up, that sum without the length.
func checkTCP(segment []byte, src, dst netip.Addr) tcp.Sum {
	pseudo := uint64(inet.ProtoTCP)
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		pseudo += uint64(be32(s[:])) + uint64(be32(d[:]))
	} else {
		s, d := src.As16(), dst.As16()
		pseudo = addOctets(addOctets(pseudo, s[:]), d[:])
	}
	length := uint64(len(segment))
	if fold(addOctets(pseudo+length, segment)) == 0xffff {
		return tcp.SumGood
	}
	if sent := be16(segment[16:]); sent == fold(pseudo+length) || sent == fold(pseudo) {
		return tcp.SumPartial
	}
	return tcp.SumBad
}

// hash hashes the payload of a whole TCP segment: 0 if there is none, or if the
// checksum is wrong. It is seeded, so that traffic cannot choose its collisions.
func (p *Decoder) hash(segment []byte, header int, src, dst netip.Addr) uint64 {
	if header == len(segment) || checkTCP(segment, src, dst) == tcp.SumBad {
		return 0
	}
	if p.o.Key != nil {
		return max(1, highwayhash.Sum64(segment[header:], p.o.Key[:]))
	}
	if p.seed == (maphash.Seed{}) {
		p.seed = maphash.MakeSeed()
	}
	return max(1, maphash.Bytes(p.seed, segment[header:]))
}

// addOctets adds b to a ones' complement sum that is not folded yet
// (RFC 1071). The sum stays below 2^63, as a sum of 32-bit words with their
// carries, for any b that a capture can hold.
func addOctets(sum uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	sum = sum>>32 + sum&0xffffffff + carry
	for len(b) >= 2 {
		sum += uint64(be16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold reduces a ones' complement sum to 16 bits.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
