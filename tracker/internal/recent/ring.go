package recent

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

const (
	// ringSize is how many segments are remembered in common, a power of two.
	ringSize = 1 << 13
	// LookBack bounds how many segments of a connection are looked back through.
	LookBack = 1 << 8
)

// A Ring is a memory of a fixed size that connections share. A connection finds its
// own segments there by a chain, from the place of its newest. The zero Ring is empty.
type Ring struct {
	list []sharedSegment
	next uint32 // counts all that was ever put in, from 1
}

type sharedSegment struct {
	Segment
	conn uint32 // its connection's number, against chains into what was overwritten
	prev uint32 // place of the connection's segment before it
}

// Share gives the ring room for so many segments, a power of two; for tests.
func (r *Ring) Share(n int) { r.list = make([]sharedSegment, n) }

// Put makes room for a segment of the connection of that number, and newest its place.
func (r *Ring) Put(conn uint32, newest *uint32) *Segment {
	if r.list == nil {
		r.Share(ringSize)
	}
	r.next++
	g := &r.list[r.next&uint32(len(r.list)-1)]
	g.conn, g.prev = conn, *newest
	*newest = r.next
	return &g.Segment
}

// Has reports whether the ring still has what is at the place.
func (r *Ring) Has(at uint32) bool { return at != 0 && r.next-at < uint32(len(r.list)) }

func (r *Ring) at(place uint32) *sharedSegment { return &r.list[place&uint32(len(r.list)-1)] }

// Back yields the segments of the connection from its newest on. It returns the frame
// of the last that it yielded, or before where there was none, and whether more may
// have been overwritten; none if yield stopped it.
func (r *Ring) Back(conn, newest uint32, before int, yield func(*Segment) bool) (last int, more, stopped bool) {
	at := newest
	for n := 0; r.Has(at) && n < LookBack; n++ {
		g := r.at(at)
		if g.conn != conn && g.conn != 0 { // 0: it was provisional then
			break
		}
		if !yield(&g.Segment) {
			return before, false, true
		}
		before = g.Packet
		if g.prev >= at {
			break
		}
		at = g.prev
	}
	return before, at != 0, false
}

// Remembers reports whether the ring has so many segments of the connection with that
// newest, or all.
func (r *Ring) Remembers(newest uint32, many int) bool {
	n, at := 0, newest
	for ; n < many && r.Has(at); n++ {
		at = r.at(at).prev
	}
	return n >= many || at == 0
}

// Take takes down s, which the end sent.
func (g *Segment) Take(s *tcp.Segment, from tcp.Endpoint, is Bits, now tcp.Time) {
	g.At, g.Packet, g.From, g.Is = now, s.Packet, from, is
	g.Seq, g.Ack, g.Data, g.Flags, g.Wnd = s.Seq, s.Ack, s.Data, s.Flags, s.Wnd
	if s.Twin != nil && s.Twin.Fate == tcp.FateLost {
		g.Is |= WasLost
	}
	g.Content, g.TSVal, g.ID, g.TTL = Fold(s.Payload), s.Options.TSVal, s.ID, s.TTL
}

// Sent returns the segment as it was captured, as far as it is remembered.
func (g *Segment) Sent(now tcp.Time) tcp.Segment {
	return tcp.Segment{Time: now, Packet: g.Packet, Seq: g.Seq, Ack: g.Ack, Flags: g.Flags, Data: g.Data, Wnd: g.Wnd, TTL: g.TTL, ID: g.ID}
}
