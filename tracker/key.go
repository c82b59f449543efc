package tracker

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A flowKey names a connection's addresses and ports, the lower end first. Of
// the 16 octets of an address a is the first half and b the second: as numbers,
// and not in arrays, they are compared, hashed and copied in registers.
type flowKey struct {
	loA, loB, hiA, hiB uint64
	ports              uint32 // that of the lower end in the upper half
}

// keyOf returns the segment's flow, and whether it comes from its lower end.
func keyOf(s *tcp.Segment) (k flowKey, low bool) {
	low = k.set(s)
	return k, low
}

// set makes k the segment's flow, and reports whether the segment comes from
// its lower end. It has no branch: who sends next is what no processor can
// predict.
func (k *flowKey) set(s *tcp.Segment) (low bool) {
	srcA, srcB := words(s.Src.Addr())
	dstA, dstB := words(s.Dst.Addr())
	sp, dp := uint64(s.Src.Port()), uint64(s.Dst.Port())
	_, borrow := bits.Sub64(dp, sp, 0)
	_, borrow = bits.Sub64(dstB, srcB, borrow)
	_, borrow = bits.Sub64(dstA, srcA, borrow)
	swap := -borrow // all bits where src is the higher
	a, b, p := (srcA^dstA)&swap, (srcB^dstB)&swap, (sp^dp)&swap
	k.loA, k.loB, k.hiA, k.hiB, k.ports = srcA^a, srcB^b, dstA^a, dstB^b, uint32((sp^p)<<16|dp^p)
	return borrow == 0
}

// words returns the two halves of an address of 16 octets.
func words(of netip.Addr) (a, b uint64) {
	if of.Is4() {
		o := of.As4()
		return 0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(o[:]))
	}
	o := of.As16()
	return binary.BigEndian.Uint64(o[:8]), binary.BigEndian.Uint64(o[8:])
}

// is reports whether both are one flow.
func (k *flowKey) is(o *flowKey) bool {
	return k.loB == o.loB && k.hiB == o.hiB && k.ports == o.ports && k.loA == o.loA && k.hiA == o.hiA
}

// addr returns the address and port of the lower, or the higher, end.
func (k *flowKey) addr(low bool) netip.AddrPort {
	a, b, port := k.hiA, k.hiB, uint16(k.ports)
	if low {
		a, b, port = k.loA, k.loB, uint16(k.ports>>16)
	}
	var o [16]byte
	binary.BigEndian.PutUint64(o[:8], a)
	binary.BigEndian.PutUint64(o[8:], b)
	if a == 0 && b>>32 == 0xffff { // IPv4
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(o[12:])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(o), port)
}

// self reports whether the flow leads from a port to the same port.
func (k *flowKey) self() bool {
	return k.ports>>16 == k.ports&0xffff && k.loA == k.hiA && k.loB == k.hiB
}

// A seed makes hashes of flows that traffic cannot foresee, so that it cannot
// choose which of them collide.
type seed [5]uint64

func newSeed() (s seed) {
	for i := range s {
		s[i] = rand.Uint64()
	}
	return s
}

// hash is never 0.
func (s *seed) hash(k *flowKey) uint32 {
	lo := mix(k.loA^s[0], k.loB^s[1])
	hi := mix(k.hiA^s[2], k.hiB^s[3])
	return max(1, uint32(mix(lo^bits.RotateLeft64(hi, 32)^uint64(k.ports), s[4])))
}

// mix folds the product of two numbers.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
