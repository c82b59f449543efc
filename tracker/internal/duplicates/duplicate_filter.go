package duplicates

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A capture on several interfaces, or of both sides of a router, holds one
// packet twice. It was sent once, and is taken once. A retransmission is
// another packet: it has a new IP identification or a newer timestamp, and comes
// no sooner than its sender's shortest timer lets it.

const (
	// Two records of one packet at the same place are this close. Within that time no
	// timer repeats a packet so that nothing of it tells.
	sameHop = 10 * time.Millisecond
	// Of those that are not as close as this the network may have made one.
	Promptly = 500 * time.Microsecond
	// Two records from both sides of a router are this close, and their TTLs differ.
	nextHop = 50 * time.Millisecond
	// Without anything that tells two packets apart they must be this close.
	featureless = time.Millisecond
)

// numSlots is how many packets are remembered, a power of two. At a million
// packets a second it is some four milliseconds.
const numSlots = 1 << 12

// A Filter remembers the newest packets by all that a copy shares. A packet whose
// place is taken by another is only forgotten sooner.
type Filter struct {
	slots []Slot
	first Slot  // what the newest copy is one of
	copy  *Slot // where that copy is remembered
}

// A Slot is what is remembered of one packet: all that a copy of it has the same,
// packed, as comparing it field by field took a tenth of an everyday segment's time.
type Slot struct {
	numbers     uint64 // SEQ and ACK
	flowAndData uint64 // the hash of addresses and ports, and the length
	options     uint64 // timestamps and SACK blocks
	header      uint64 // window, checksum, IP identification, flags
	At          tcp.Time
	Packet      uint32 // its frame, cut to 32 bits
	held        uint16 // of Segment.Payload
	TTL         uint8
}

// fromLow marks, among the flags, from which end a packet came.
const fromLow = 1 << 15

// Repeats returns what is remembered of a packet that s is a second record of,
// or nil if it is none, and remembers s. hash is the seeded hash of addresses and
// ports, of which nobody can choose two that have it the same. Where a packet is
// remembered is not seeded, so that a replay is always the same.
func (r *Filter) Repeats(s *tcp.Segment, k *flow.Key, hash uint32, low bool, now tcp.Time) *Slot {
	if s.Flags&tcp.RST != 0 && s.ID == 0 && !s.Options.HasTS {
		return nil // a stack without the connection answers every segment alike
	}
	if r.slots == nil {
		r.slots = make([]Slot, numSlots)
	}
	numbers, flowAndData := uint64(s.Seq)<<32|uint64(s.Ack), uint64(hash)<<32|uint64(s.Data)
	header := uint64(s.Wnd)<<48 | uint64(s.Checksum)<<32 | uint64(s.ID)<<16 | uint64(s.Flags)
	if low {
		header |= fromLow
	}
	options := uint64(s.Options.TSVal)<<32 | uint64(s.Options.TSEcr)
	if s.Options.NumSACK > 0 {
		options = withSACK(options, &s.Options)
	}
	held := uint16(s.Payload)
	const c0, c1 = 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03
	place := flow.Mix(c0^numbers^k.LoA, c1^header^uint64(k.Ports)<<32^k.LoB)
	slot := &r.slots[place&uint64(len(r.slots)-1)]
	same := slot.numbers == numbers && slot.header == header && slot.flowAndData == flowAndData && slot.options == options && slot.held == held
	if same {
		r.first = *slot
	}
	slot.numbers, slot.flowAndData, slot.options, slot.header = numbers, flowAndData, options, header
	slot.At, slot.Packet, slot.held, slot.TTL = now, uint32(s.Packet), held, s.TTL
	if !same || now.Sub(r.first.At) > copiedWithin(s, int(r.first.TTL)-int(s.TTL)) {
		return nil
	}
	slot.At = r.first.At // copies of copies do not stretch the time
	r.copy = slot
	return &r.first
}

// Arrived says that the newest copy is a packet itself, of which the capture may
// hold a second record.
func (r *Filter) Arrived(now tcp.Time) { r.copy.At = now }

// withSACK adds the edges of the SACK blocks to the timestamps.
func withSACK(options uint64, o *tcp.Options) uint64 {
	for _, b := range o.SACK[:o.NumSACK] {
		options = options*31 + (uint64(b.Left)<<32 | uint64(b.Right))
	}
	return options
}

// copiedWithin returns how long after a packet a copy of it may be recorded, so
// many hops from it; below 0 it is none.
func copiedWithin(s *tcp.Segment, hops int) time.Duration {
	switch {
	case hops < -2 || hops > 2:
		return -1
	case s.ID == 0 && !s.Options.HasTS && s.PureAck() && hops == 0:
		return -1 // duplicate ACKs are sent in a row
	case s.ID == 0 && (!s.Options.HasTS || s.PureAck() && hops == 0):
		return featureless
	case hops != 0:
		return nextHop
	}
	return sameHop
}

// Late tells of second records of an end's packets that did not come promptly. A
// network makes copies too, and these arrive. So they are records only if nearly
// all packets of their sender were recorded twice, from its SYN on.
type Late struct {
	opened  bool   // its SYN was
	n       uint32 // of them
	Arrived uint32 // of them, taken for packets
	Repeats uint32 // of these, with octets, SYN or FIN
	Octets  uint64 // of these
}

// enough is how many packets of an end must be recorded twice, not promptly,
// before its others are believed to be.
const enough = 3

// IsRecord reports whether s, of an end of which so many packets were counted, is
// a record, and no packet. midway says that the end's SYN was not captured.
func (k *Late) IsRecord(s *tcp.Segment, packets uint32, midway bool) bool {
	k.n++
	k.opened = k.opened || midway || s.Flags&tcp.SYN != 0
	if k.opened && k.n >= enough && 8*k.n >= 7*(packets-k.Arrived) {
		return true
	}
	k.Arrived++
	k.Octets += uint64(s.Data)
	if s.Len() > 0 {
		k.Repeats++
	}
	return false
}

// Uncount forgets what was taken for packets.
func (k *Late) Uncount() { k.Arrived, k.Repeats, k.Octets = 0, 0, 0 }
