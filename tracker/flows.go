package tracker

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// A flowKey names a connection's addresses and ports, the lower end first. Of
// the 16 octets of an address a is the first half and b the second: as numbers,
// and not in arrays, they are compared, hashed and copied in registers.
type flowKey struct {
	loA, loB, hiA, hiB uint64
	ports              uint32 // that of the lower end in the upper half
}

// keyOf returns the segment's flow, and whether it comes from its lower end.
func keyOf(s *Segment) (k flowKey, low bool) {
	low = k.set(s)
	return k, low
}

// set makes k the segment's flow, and reports whether the segment comes from
// its lower end. It has no branch: who sends next is what no processor can
// predict.
func (k *flowKey) set(s *Segment) (low bool) {
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

// flows finds the newest connection of every flow: a table with open
// addressing, the next place being tried where one is taken. The tags lie apart
// from the connections, so that what is passed over costs no cache line, and
// hold all of a hash that is ever needed, so that growing looks at no
// connection. A Go map took twice as long.
type flows struct {
	tags  []uint32 // hashes; 0: free
	conns []*Conn
	n     int
	seed  [5]uint64
}

func newFlows() flows {
	f := flows{tags: make([]uint32, 1<<6), conns: make([]*Conn, 1<<6)}
	for i := range f.seed {
		f.seed[i] = rand.Uint64()
	}
	return f
}

// hash is seeded, so that traffic cannot choose its collisions. It is never 0.
func (f *flows) hash(k *flowKey) uint32 {
	lo := mix(k.loA^f.seed[0], k.loB^f.seed[1])
	hi := mix(k.hiA^f.seed[2], k.hiB^f.seed[3])
	return max(1, uint32(mix(lo^bits.RotateLeft64(hi, 32)^uint64(k.ports), f.seed[4])))
}

// find returns the newest connection of the flow, whose hash is h, or nil.
func (f *flows) find(h uint32, k *flowKey) *Conn {
	if i := f.place(h, k); f.tags[i] != 0 {
		return f.conns[i]
	}
	return nil
}

// place returns where the flow is, or the free place where it would be.
func (f *flows) place(h uint32, k *flowKey) uint32 {
	last := uint32(len(f.tags) - 1)
	i := h & last
	for tag := f.tags[i]; tag != 0 && (tag != h || !f.conns[i].key.is(k)); tag = f.tags[i] {
		i = (i + 1) & last
	}
	return i
}

// set makes c the newest connection of its flow.
func (f *flows) set(h uint32, c *Conn) {
	i := f.place(h, &c.key)
	if f.tags[i] == 0 {
		if f.n++; f.n*4 > len(f.tags)*3 {
			f.grow()
			i = f.place(h, &c.key)
		}
	}
	f.tags[i], f.conns[i] = h, c
}

// grow doubles the table.
func (f *flows) grow() {
	tags, conns := f.tags, f.conns
	f.tags, f.conns = make([]uint32, 2*len(tags)), make([]*Conn, 2*len(tags))
	last := uint32(len(f.tags) - 1)
	for i, tag := range tags {
		if tag == 0 {
			continue
		}
		j := tag & last
		for f.tags[j] != 0 {
			j = (j + 1) & last
		}
		f.tags[j], f.conns[j] = tag, conns[i]
	}
}

// drop forgets the flow, and moves up those that its place was in the way of.
func (f *flows) drop(h uint32, k *flowKey) {
	last := uint32(len(f.tags) - 1)
	free := f.place(h, k)
	for i := (free + 1) & last; f.tags[i] != 0; i = (i + 1) & last {
		if (i-f.tags[i])&last >= (i-free)&last {
			f.tags[free], f.conns[free] = f.tags[i], f.conns[i]
			free = i
		}
	}
	f.tags[free], f.conns[free] = 0, nil
	f.n--
}

// all yields every connection.
func (f *flows) all() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range f.conns {
			for ; c != nil; c = c.older {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// mix folds the product of two numbers.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
