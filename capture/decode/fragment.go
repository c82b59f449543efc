package decode

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// IP fragments. A datagram is put together when its fragments cover it, by the
// lengths in their headers: what the snap length cut off does not hold it up.
// The octets handed on are then those up to the first that was not captured,
// which is enough for a TCP header.
//
// Fragments that overlap are an attack or an error, and the datagram is given
// up (RFC 5722, RFC 8200 §4.5 ask for this on IPv6; for IPv4 receivers differ,
// and a bystander cannot know which octets won). An exact repetition is not an
// overlap: captures often hold packets twice.
//
// Memory is bounded: so many datagrams, so many octets, so many fragments in
// one, and so long in trace time. What is in excess goes, oldest first.

const (
	maxDatagram      = 65535   // octets of a datagram without its header
	MaxDatagrams     = 16384   // datagrams that are kept or remembered
	MaxPieces        = 256     // fragments of a datagram
	MaxFragmentBytes = 8 << 20 // octets of memory in all, with what pieces take beside their data
	pieceOverhead    = 112     // octets that a piece takes beside its data: itself, room to grow, an allocation
	maxParts         = 1024    // packets that are known to be part of a datagram

	// fragmentTimeout is what Linux gives a datagram; RFC 791 §3.2 and RFC 8200
	// §4.5 speak of 15 and 60 seconds.
	fragmentTimeout = 30 * time.Second

	// repeatSpan is how long a datagram that was whole is remembered, so that
	// the copies that a capture has of its fragments do not begin another.
	repeatSpan = 100 * time.Millisecond
)

// A fragmentKey tells which fragments belong together.
type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8 // 0 on IPv6, where later fragments need not have it right
	v6       bool
}

// A fragment is one piece of a datagram.
type fragment struct {
	offset int
	more   bool  // not the last
	proto  uint8 // what the datagram carries, if this is its first
	frame
}

// An assembly is a datagram that is being put together, or was.
type assembly struct {
	key     fragmentKey
	begun   tcp.Time
	pieces  []piece // in the order of their offsets
	length  int     // in all; -1 while the last fragment is missing
	covered int     // octets of the wire that the pieces have
	kept    int     // octets of memory that they take

	over  bool     // whole, or given up: its fragments are not looked at
	until tcp.Time // when over, how long that holds
	whole int      // with Options.Part, when whole: the packet that made it so
	parts []int    // with Options.Part: the packets that it is made of
}

// A piece is a fragment that is kept.
type piece struct {
	offset, wire int
	proto        uint8
	data         []byte
}

func (p piece) end() int { return p.offset + p.wire }

// fragments are the datagrams that are not whole yet.
type fragments struct {
	datagrams map[fragmentKey]*assembly
	order     []*assembly // by when they were begun
	kept      int         // octets of memory in all datagrams
	whole     []byte      // the datagram handed out last
	givenUp   int         // datagrams that were not whole, to stay within the bounds
}

// add takes a fragment of the datagram, which those packets are. If that is whole now it returns it, good
// until the next call, and the protocol that it carries.
func (fs *fragments) add(d *assembly, g fragment, parts []int, now tcp.Time) (f frame, proto uint8, ok bool) {
	if d.over {
		return frame{}, 0, false
	}
	before := d.kept
	if !d.insert(g) {
		if len(d.pieces) == MaxPieces {
			fs.givenUp++
		}
		d.parts = nil
		fs.finish(d, now.Add(fragmentTimeout))
		return frame{}, 0, false
	}
	parts = parts[:min(len(parts), maxParts-len(d.parts))]
	d.parts = append(d.parts, parts...)
	d.kept += 8 * len(parts)
	for fs.kept += d.kept - before; fs.kept > MaxFragmentBytes; {
		fs.giveUpOldest()
	}
	if fs.datagrams[d.key] != d { // it was the oldest
		return frame{}, 0, false
	}
	if d.covered != d.length {
		return frame{}, 0, false
	}
	f, proto = fs.join(d), d.pieces[0].proto
	fs.finish(d, now.Add(repeatSpan))
	return f, proto, true
}

// refuse makes the fragments of a datagram be passed over.
func (fs *fragments) refuse(key fragmentKey, now tcp.Time) {
	fs.finish(fs.find(key, now), now.Add(fragmentTimeout))
}

// find returns the datagram with a key, a new one if there is none or if it
// was over long ago.
func (fs *fragments) find(key fragmentKey, now tcp.Time) *assembly {
	for len(fs.order) > 0 && now.Sub(fs.order[0].begun) > fragmentTimeout {
		fs.dropOldest()
	}
	d := fs.datagrams[key]
	if d != nil && (!d.over || now <= d.until) {
		return d
	}
	for len(fs.order) >= MaxDatagrams {
		fs.giveUpOldest()
	}
	if fs.datagrams == nil {
		fs.datagrams = make(map[fragmentKey]*assembly)
	}
	d = &assembly{key: key, begun: now, length: -1}
	fs.datagrams[key] = d
	fs.order = append(fs.order, d)
	return d
}

// finish gives back what a datagram holds.
func (fs *fragments) finish(d *assembly, until tcp.Time) {
	fs.kept -= d.kept
	d.pieces, d.kept = nil, 0
	d.over, d.until = true, until
}

// giveUpOldest is dropOldest, for want of room.
func (fs *fragments) giveUpOldest() {
	if d := fs.order[0]; !d.over {
		fs.givenUp++
	}
	fs.dropOldest()
}

// dropOldest forgets the datagram that was begun first.
func (fs *fragments) dropOldest() {
	d := fs.order[0]
	fs.order[0] = nil
	fs.order = fs.order[1:]
	fs.kept -= d.kept
	d.pieces, d.parts, d.kept = nil, nil, 0
	if fs.datagrams[d.key] == d { // else it was over and has a successor
		delete(fs.datagrams, d.key)
	}
}

// insert adds a fragment to the pieces. It fails if the fragment contradicts
// them; one that is there already changes nothing.
func (d *assembly) insert(g fragment) bool {
	end := g.offset + g.wire
	at, found := slices.BinarySearchFunc(d.pieces, g.offset, func(p piece, offset int) int {
		return p.offset - offset
	})
	if found && d.pieces[at].wire == g.wire {
		return true
	}
	switch {
	case found, len(d.pieces) == MaxPieces,
		at > 0 && d.pieces[at-1].end() > g.offset,
		at < len(d.pieces) && d.pieces[at].offset < end,
		d.length >= 0 && end > d.length,
		!g.more && d.length >= 0,
		!g.more && at < len(d.pieces):
		return false
	}
	if !g.more {
		d.length = end
	}
	p := piece{g.offset, g.wire, g.proto, slices.Clone(g.data)}
	d.pieces = slices.Insert(d.pieces, at, p)
	d.covered += p.wire
	d.kept += len(p.data) + pieceOverhead
	return true
}

// join returns the octets of a datagram that is covered.
func (fs *fragments) join(d *assembly) frame {
	fs.whole = fs.whole[:0]
	for _, p := range d.pieces {
		fs.whole = append(fs.whole, p.data...)
		if len(p.data) < p.wire {
			break
		}
	}
	return frame{fs.whole, d.length}
}
