package flow

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Key names a connection's addresses and ports, the lower end first. Of
// the 16 octets of an address a is the first half and b the second: as numbers,
// and not in arrays, they are compared, hashed and copied in registers.
type Key struct {
	LoA, LoB, HiA, HiB uint64
	Ports              uint32 // that of the lower end in the upper half
}

// KeyOf returns the segment's flow, and whether it comes from its lower end.
func KeyOf(s *tcp.Segment) (k Key, low bool) {
	low = k.Set(s)
	return k, low
}

// Set makes k the segment's flow, and reports whether the segment comes from
// its lower end. It has no branch: who sends next is what no processor can
// predict.
func (k *Key) Set(s *tcp.Segment) (low bool) {
	srcA, srcB := Words(s.Src.Addr())
	dstA, dstB := Words(s.Dst.Addr())
	sp, dp := uint64(s.Src.Port()), uint64(s.Dst.Port())
	_, borrow := bits.Sub64(dp, sp, 0)
	_, borrow = bits.Sub64(dstB, srcB, borrow)
	_, borrow = bits.Sub64(dstA, srcA, borrow)
	swap := -borrow // all bits where src is the higher
	a, b, p := (srcA^dstA)&swap, (srcB^dstB)&swap, (sp^dp)&swap
	k.LoA, k.LoB, k.HiA, k.HiB, k.Ports = srcA^a, srcB^b, dstA^a, dstB^b, uint32((sp^p)<<16|dp^p)
	return borrow == 0
}

// Words returns the two halves of an address of 16 octets.
func Words(of netip.Addr) (a, b uint64) {
	if of.Is4() {
		o := of.As4()
		return 0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(o[:]))
	}
	o := of.As16()
	return binary.BigEndian.Uint64(o[:8]), binary.BigEndian.Uint64(o[8:])
}

// Is reports whether both are one flow.
func (k *Key) Is(o *Key) bool {
	return k.LoB == o.LoB && k.HiB == o.HiB && k.Ports == o.Ports && k.LoA == o.LoA && k.HiA == o.HiA
}

// Addr returns the address and port of the lower, or the higher, end.
func (k *Key) Addr(low bool) netip.AddrPort {
	a, b, port := k.HiA, k.HiB, uint16(k.Ports)
	if low {
		a, b, port = k.LoA, k.LoB, uint16(k.Ports>>16)
	}
	var o [16]byte
	binary.BigEndian.PutUint64(o[:8], a)
	binary.BigEndian.PutUint64(o[8:], b)
	if a == 0 && b>>32 == 0xffff { // IPv4
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(o[12:])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(o), port)
}

// Loopback reports whether the address of the lower, or the higher, end is one that only
// its own host can use.
func (k *Key) Loopback(low bool) bool {
	a, b := k.HiA, k.HiB
	if low {
		a, b = k.LoA, k.LoB
	}
	return a == 0 && (b == 1 || b>>24 == 0xffff7f) // ::1, 127.0.0.0/8
}

// Self reports whether the flow leads from a port to the same port.
func (k *Key) Self() bool {
	return k.Ports>>16 == k.Ports&0xffff && k.LoA == k.HiA && k.LoB == k.HiB
}

// A Seed makes hashes of flows that traffic cannot foresee, so that it cannot
// choose which of them collide.
type Seed [5]uint64

// NewSeed returns another seed each time.
func NewSeed() (s Seed) {
	for i := range s {
		s[i] = rand.Uint64()
	}
	return s
}

// Hash returns the hash of the flow, which is never 0.
func (s *Seed) Hash(k *Key) uint32 {
	lo := Mix(k.LoA^s[0], k.LoB^s[1])
	hi := Mix(k.HiA^s[2], k.HiB^s[3])
	return max(1, uint32(Mix(lo^bits.RotateLeft64(hi, 32)^uint64(k.Ports), s[4])))
}

// Mix folds the product of two numbers.
func Mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
