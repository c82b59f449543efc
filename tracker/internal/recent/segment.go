package recent

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Segment is what is remembered of one.
type Segment struct {
	At      tcp.Time
	Packet  int
	Seq     tcp.Seq
	Ack     tcp.Seq
	Data    tcp.Size
	Content uint32 // Segment.Payload, folded; 0: none, or not known
	TSVal   uint32
	Flags   tcp.Flags
	Wnd     uint16
	ID      uint16
	TTL     uint8
	From    tcp.Endpoint
	Is      Bits
}

// Bits say what the segment was to its connection.
type Bits uint8

const (
	WasOld       Bits = 1 << iota // conn.Reading.Old
	WasStale                      // Reading.Stale
	WasKeepalive                  // Reading.Keepalive
	WasForeign                    // Reading.Foreign
	WasReply                      // a RST in reply
	WasAccepted                   // a RST that its receiver takes
	WasLost                       // captures of several places show that it did not come near its receiver
	IsRecalled                    // only its numbers and its frame are still known, not its header
)

// Pure reports whether the segment did nothing but acknowledge.
func (g *Segment) Pure() bool {
	return g.Flags&(tcp.ACK|tcp.SYN|tcp.FIN|tcp.RST) == tcp.ACK && g.Data == 0
}

// End is the sequence number after the segment's last.
func (g *Segment) End() tcp.Seq {
	n := g.Data
	if g.Flags&tcp.SYN != 0 {
		n++
	}
	if g.Flags&tcp.FIN != 0 {
		n++
	}
	return g.Seq.Add(n)
}

// Fold halves a hash, keeping 0 apart.
func Fold(hash uint64) uint32 {
	if hash == 0 {
		return 0
	}
	return max(1, uint32(hash^hash>>32))
}

// Answers reports whether the segment can answer a probe. Nothing answers a RST,
// and a RST without ACK answers what had a number to make its own of.
func (g *Segment) Answers(probe *Segment) bool {
	switch {
	case probe.Flags&tcp.RST != 0:
		return false
	case g.Flags&tcp.RST != 0:
		return (g.Flags|probe.Flags)&tcp.ACK != 0
	}
	return probe.Flags&tcp.SYN != 0 && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK
}

// Opens reports whether the segment has exactly these of the SYN and ACK bits.
func (g *Segment) Opens(flags tcp.Flags) bool {
	return g.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == flags
}

// AcksFrom reports whether the segment is no part of the handshake but
// acknowledges the SYN with the given number.
func (g *Segment) AcksFrom(syn tcp.Seq) bool {
	return g.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.ACK && syn.Before(g.Ack)
}
