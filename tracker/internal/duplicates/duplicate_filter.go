package duplicates

import (
	"math/bits"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
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

// A Filter remembers the newest packets by a hash of all that a copy shares. A
// packet whose place is taken by another is only forgotten sooner.
type Filter struct {
	slots []Slot
	first Slot // what the newest copy is one of
}

// A Slot is what is remembered of one packet.
type Slot struct {
	sum    uint64
	at     tcp.Time
	Packet uint32 // its frame, cut to 32 bits
	held   uint16 // of Segment.Payload
	TTL    uint8
}

// Repeats returns what is remembered of a packet that s is a second record of,
// or nil if it is none, and remembers s. The hash is not seeded, so that a
// replay is always the same; traffic that seeks collisions only has copies of
// it counted.
func (r *Filter) Repeats(s *tcp.Segment, k *flow.Key, low bool, now tcp.Time) *Slot {
	if s.Flags&tcp.RST != 0 && s.ID == 0 && !s.Options.HasTS {
		return nil // a stack without the connection answers every segment alike
	}
	if r.slots == nil {
		r.slots = make([]Slot, recentSize)
	}
	const c0, c1, c2, c3 = 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb
	way := uint64(k.Ports)<<32 | uint64(s.Data)
	if low {
		way ^= 1 << 31
	}
	sum := flow.Mix(c0^k.LoA^bits.RotateLeft64(k.HiA, 17), c1^k.LoB^bits.RotateLeft64(k.HiB, 31))
	sum += flow.Mix(c2^uint64(s.Seq)<<32^uint64(s.Ack), c3^uint64(s.Wnd)<<48^uint64(s.Checksum)<<32^uint64(s.Flags)<<16^uint64(s.ID))
	sum = flow.Mix(sum^c0, c1^way) ^ flow.Mix(sum^c2, c3^uint64(s.Options.TSVal)<<32^uint64(s.Options.TSEcr))
	slot := &r.slots[sum%recentSize]
	held := uint16(s.Payload)
	same := slot.sum == sum && slot.held == held
	if same {
		r.first = *slot
	}
	slot.sum, slot.at, slot.Packet, slot.held, slot.TTL = sum, now, uint32(s.Packet), held, s.TTL
	if !same {
		return nil
	}
	within := sameHop
	if hops := int(r.first.TTL) - int(s.TTL); hops != 0 {
		if hops < -2 || hops > 2 {
			return nil
		}
		within = nextHop
	}
	if s.ID == 0 && !s.Options.HasTS {
		within = featureless
	}
	if now.Sub(r.first.at) > within {
		return nil
	}
	slot.at = r.first.at // copies of copies do not stretch the time
	return &r.first
}
