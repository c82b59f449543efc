package recent

import (
	"slices"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// ownSize is how many a connection remembers at most that has a memory of its
	// own, and OwnLeast how many that memory has room for at first.
	ownSize  = 1 << 6
	OwnLeast = 1 << 2
)

// Own is the memory that a connection has of its own. What opened the
// connection stays at the front of it, as long as it is known when this begins;
// behind that is a ring.
type Own struct {
	list   []Segment
	opened uint8 // segments that opened it
	oldest uint8 // where the ring begins, behind these
}

// Place makes room for one more segment.
func (o *Own) Place() *Segment {
	if n := len(o.list); n < ownSize {
		o.list = append(o.list, Segment{})
		return &o.list[n]
	}
	ring := o.list[o.opened:]
	g := &ring[o.oldest]
	o.oldest = uint8((int(o.oldest) + 1) % len(ring))
	return g
}

// Begin gives it the segments that are known so far, the oldest last.
func (o *Own) Begin(seed []Segment) {
	o.list = make([]Segment, 0, OwnLeast)
	for _, g := range slices.Backward(seed) {
		*o.Place() = g
		if n := len(o.list); g.Flags&tcp.SYN != 0 && int(o.opened) == n-1 && n < OwnLeast {
			o.opened++
		}
	}
}

// Memory returns how many octets it takes.
func (o *Own) Memory() uintptr { return uintptr(cap(o.list)) * unsafe.Sizeof(Segment{}) }

// Begun reports whether there is such a memory.
func (o *Own) Begun() bool { return o.list != nil }

// Back yields the segments, the newest first.
func (o *Own) Back(yield func(*Segment) bool) {
	ring := o.list[o.opened:]
	for i := range ring {
		if !yield(&ring[(int(o.oldest)+len(ring)-1-i)%len(ring)]) {
			return
		}
	}
	for i := range o.opened {
		if !yield(&o.list[o.opened-1-i]) {
			return
		}
	}
}
