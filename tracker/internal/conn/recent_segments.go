package conn

import (
	"iter"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The recent segments are a memory of the newest ones of all connections together,
// for the anomalies to look back at and to cite. It is of a fixed size: what a
// busy capture overwrites is forgotten, and cited no more. Every connection
// finds its own segments by a chain through it.

// ringSize is how many segments are remembered, a power of two.
const ringSize = 1 << 13

// A RecentSegment is what is remembered of a segment.
type RecentSegment struct {
	At      tcp.Time
	Packet  int
	Seq     tcp.Seq
	Ack     tcp.Seq
	Data    tcp.Size
	Content uint32 // Segment.Payload, folded; 0: none
	TSVal   uint32
	conn    uint32 // its connection's number, against chains into what was overwritten
	prev    uint32 // place of the connection's segment before it
	Flags   tcp.Flags
	Wnd     uint16
	ID      uint16
	TTL     uint8
	From    tcp.Endpoint
	Is      segmentBits
}

// segmentBits say what the segment was to its connection.
type segmentBits uint8

const (
	WasOld       segmentBits = 1 << iota // Reading.Old
	WasStale                             // Reading.Stale
	WasKeepalive                         // Reading.Keepalive
	WasForeign                           // Reading.Foreign
	WasReply                             // a RST in reply
	wasAccepted                          // a RST that its receiver takes
)

// Pure reports whether the segment did nothing but acknowledge.
func (g *RecentSegment) Pure() bool {
	return g.Flags&(tcp.ACK|tcp.SYN|tcp.FIN|tcp.RST) == tcp.ACK && g.Data == 0
}

// End is the sequence number after the segment's last.
func (g *RecentSegment) End() tcp.Seq {
	n := g.Data
	if g.Flags&tcp.SYN != 0 {
		n++
	}
	if g.Flags&tcp.FIN != 0 {
		n++
	}
	return g.Seq.Add(n)
}

// recentSegments is a ring. next counts all that was ever put in, from 1.
type recentSegments struct {
	Ring []RecentSegment
	next uint32
}

// put remembers a segment of the connection.
func (tr *recentSegments) put(c *Conn, s *tcp.Segment, from tcp.Endpoint, is segmentBits, now tcp.Time) {
	if tr.Ring == nil {
		tr.Ring = make([]RecentSegment, ringSize)
	}
	tr.next++
	g := &tr.Ring[tr.next%ringSize]
	g.At, g.Packet, g.conn, g.prev, g.From, g.Is = now, s.Packet, c.ID, c.newestSegment, from, is
	g.Seq, g.Ack, g.Data, g.Flags, g.Wnd = s.Seq, s.Ack, s.Data, s.Flags, s.Wnd
	g.Content, g.TSVal, g.ID, g.TTL = Fold(s.Payload), s.Options.TSVal, s.ID, s.TTL
	c.newestSegment = tr.next
}

// Fold halves a hash, keeping 0 apart.
func Fold(hash uint64) uint32 {
	if hash == 0 {
		return 0
	}
	return max(1, uint32(hash^hash>>32))
}

// Back yields the segments of the connection that are still remembered, the
// newest first.
func (tr *recentSegments) Back(c *Conn) iter.Seq[*RecentSegment] {
	return func(yield func(*RecentSegment) bool) {
		for at := c.newestSegment; at != 0 && tr.next-at < ringSize; {
			g := &tr.Ring[at%ringSize]
			if g.conn != c.ID && g.conn != 0 || !yield(g) { // 0: it was provisional then
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
func (r Reading) bits() (b segmentBits) {
	if r.Old {
		b |= WasOld
	}
	if r.Stale {
		b |= WasStale
	}
	if r.Keepalive {
		b |= WasKeepalive
	}
	if r.Foreign {
		b |= WasForeign
	}
	return b
}

// Answers reports whether the segment can answer a probe. Nothing answers a RST,
// and a RST without ACK answers what had a number to make its own of.
func (g *RecentSegment) Answers(probe *RecentSegment) bool {
	switch {
	case probe.Flags&tcp.RST != 0:
		return false
	case g.Flags&tcp.RST != 0:
		return (g.Flags|probe.Flags)&tcp.ACK != 0
	}
	return probe.Flags&tcp.SYN != 0 && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK
}

// Opens reports whether the segment has exactly these of the SYN and ACK bits.
func (g *RecentSegment) Opens(flags tcp.Flags) bool {
	return g.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == flags
}

// AcksFrom reports whether the segment is no part of the handshake but
// acknowledges the SYN with the given number.
func (g *RecentSegment) AcksFrom(syn tcp.Seq) bool {
	return g.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.ACK && syn.Before(g.Ack)
}
