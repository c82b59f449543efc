package tracker

import (
	"hash/maphash"
	"time"
)

// A capture on several interfaces, or of both sides of a router, holds one
// packet twice. It was sent once, and is taken once. A retransmission is
// another packet: it has a new IP identification or a newer timestamp.

const (
	// Two records of one packet at the same place are this close.
	sameHop = 500 * time.Microsecond
	// Two records from both sides of a router are, and their TTLs differ.
	nextHop = 50 * time.Millisecond
	// Without anything that tells two packets apart they must be this close.
	featureless = time.Millisecond
)

// recentSize is how many packets are remembered, a power of two. At a million
// packets a second it is some ten milliseconds.
const recentSize = 1 << 13

// recent remembers the newest packets by a hash of all that a copy shares.
type recent struct {
	slots []recentSlot
	seed  maphash.Seed
}

type recentSlot struct {
	sum uint64
	at  Time
	ttl uint8
}

// fingerprint is what a copy of a packet shares with it.
type fingerprint struct {
	src, dst     [16]byte
	ports        uint32
	seq, ack     Seq
	wndSum       uint32
	flagsID      uint32
	data         Size
	tsval, tsecr uint32
}

// repeats reports whether s is a second record of a packet that was captured
// before, and remembers it.
func (r *recent) repeats(s *Segment, now Time) bool {
	if s.Flags&RST != 0 && s.ID == 0 && !s.Options.HasTS {
		return false // a stack without the connection answers every segment alike
	}
	if r.slots == nil {
		r.slots = make([]recentSlot, recentSize)
		r.seed = maphash.MakeSeed()
	}
	sum := maphash.Comparable(r.seed, fingerprint{
		src: s.Src.Addr().As16(), dst: s.Dst.Addr().As16(),
		ports: uint32(s.Src.Port())<<16 | uint32(s.Dst.Port()),
		seq:   s.Seq, ack: s.Ack,
		wndSum:  uint32(s.Wnd)<<16 | uint32(s.Checksum),
		flagsID: uint32(s.Flags)<<16 | uint32(s.ID),
		data:    s.Data, tsval: s.Options.TSVal, tsecr: s.Options.TSEcr,
	})
	slot := &r.slots[sum%recentSize]
	old := *slot
	*slot = recentSlot{sum, now, s.TTL}
	if old.sum != sum {
		return false
	}
	within := sameHop
	if hops := int(old.ttl) - int(s.TTL); hops != 0 {
		if hops < -2 || hops > 2 {
			return false
		}
		within = nextHop
	}
	if s.ID == 0 && !s.Options.HasTS {
		within = featureless
	}
	return now.Sub(old.at) <= within
}
