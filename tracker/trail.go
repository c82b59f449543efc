package tracker

import (
	"iter"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The trail is the memory of the newest segments of all connections together,
// for the anomalies to look back at and to cite. It is of a fixed size: what a
// busy capture overwrites is forgotten, and cited no more. Every connection
// finds its own segments by a chain through it.

// trailSize is how many segments are remembered, a power of two.
const trailSize = 1 << 13

// A glimpse is what is remembered of a segment.
type glimpse struct {
	at      tcp.Time
	packet  int
	seq     tcp.Seq
	ack     tcp.Seq
	data    tcp.Size
	content uint32 // Segment.Payload, folded; 0: none
	tsval   uint32
	conn    uint32 // its connection's number, against chains into what was overwritten
	prev    uint32 // place of the connection's segment before it
	flags   tcp.Flags
	wnd     uint16
	id      uint16
	ttl     uint8
	from    tcp.Endpoint
	is      glimpseBits
}

// glimpseBits say what the segment was to its connection.
type glimpseBits uint8

const (
	wasOld       glimpseBits = 1 << iota // reading.old
	wasStale                             // reading.stale
	wasKeepalive                         // reading.keepalive
	wasForeign                           // reading.foreign
	wasReply                             // a RST in reply
	wasAccepted                          // a RST that its receiver takes
)

// pure reports whether the segment did nothing but acknowledge.
func (g *glimpse) pure() bool {
	return g.flags&(tcp.ACK|tcp.SYN|tcp.FIN|tcp.RST) == tcp.ACK && g.data == 0
}

// end is the sequence number after the segment's last.
func (g *glimpse) end() tcp.Seq {
	n := g.data
	if g.flags&tcp.SYN != 0 {
		n++
	}
	if g.flags&tcp.FIN != 0 {
		n++
	}
	return g.seq.Add(n)
}

// trail is a ring. next counts all that was ever put in, from 1.
type trail struct {
	ring []glimpse
	next uint32
}

// put remembers a segment of the connection.
func (tr *trail) put(c *Conn, s *tcp.Segment, from tcp.Endpoint, is glimpseBits, now tcp.Time) {
	if tr.ring == nil {
		tr.ring = make([]glimpse, trailSize)
	}
	tr.next++
	g := &tr.ring[tr.next%trailSize]
	g.at, g.packet, g.conn, g.prev, g.from, g.is = now, s.Packet, c.id, c.trail, from, is
	g.seq, g.ack, g.data, g.flags, g.wnd = s.Seq, s.Ack, s.Data, s.Flags, s.Wnd
	g.content, g.tsval, g.id, g.ttl = fold(s.Payload), s.Options.TSVal, s.ID, s.TTL
	c.trail = tr.next
}

// fold halves a hash, keeping 0 apart.
func fold(hash uint64) uint32 {
	if hash == 0 {
		return 0
	}
	return max(1, uint32(hash^hash>>32))
}

// back yields the segments of the connection that are still remembered, the
// newest first.
func (tr *trail) back(c *Conn) iter.Seq[*glimpse] {
	return func(yield func(*glimpse) bool) {
		for at := c.trail; at != 0 && tr.next-at < trailSize; {
			g := &tr.ring[at%trailSize]
			if g.conn != c.id && g.conn != 0 || !yield(g) { // 0: it was provisional then
				return
			}
			if g.prev >= at {
				return
			}
			at = g.prev
		}
	}
}

// bits packs a reading.
func (r reading) bits() (b glimpseBits) {
	if r.old {
		b |= wasOld
	}
	if r.stale {
		b |= wasStale
	}
	if r.keepalive {
		b |= wasKeepalive
	}
	if r.foreign {
		b |= wasForeign
	}
	return b
}

// answers reports whether the segment can answer a probe. Nothing answers a RST,
// and a RST without ACK answers what had a number to make its own of.
func (g *glimpse) answers(probe *glimpse) bool {
	switch {
	case probe.flags&tcp.RST != 0:
		return false
	case g.flags&tcp.RST != 0:
		return (g.flags|probe.flags)&tcp.ACK != 0
	}
	return probe.flags&tcp.SYN != 0 && g.flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK
}

// opens reports whether the segment has exactly these of the SYN and ACK bits.
func (g *glimpse) opens(flags tcp.Flags) bool { return g.flags&(tcp.SYN|tcp.ACK|tcp.RST) == flags }

// acksFrom reports whether the segment is no part of the handshake but
// acknowledges the SYN with the given number.
func (g *glimpse) acksFrom(syn tcp.Seq) bool {
	return g.flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.ACK && syn.Before(g.ack)
}
