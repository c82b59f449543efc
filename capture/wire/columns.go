package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The columns of a message, in their order. Each begins with its length. What is said
// to be "since" is a difference to the segment before of the same sender in the same
// connection, unless it says otherwise.
const (
	columnShape    = iota // which shape a segment has; a new one is the next number
	columnShapes          // the shapes, as they come for the first time
	columnFlow            // which connection, twice, and one more if its second end sent it
	columnFlows           // the connections, as they come for the first time
	columnTime            // since the segment before, whoever sent it
	columnPacket          // since the segment before, whoever sent it
	columnNth             // since the segment before, whoever sent it, less 1
	columnSeq             // beyond what its sender would send next
	columnAck             // beyond what its receiver would send next
	columnWnd             // since
	columnID              // since
	columnData            // since
	columnChecksum        // 2 octets
	columnTSVal           // since
	columnTSEcr           // beyond the newest of its receiver
	columnRare            // what few segments have, as their shape says: SACK blocks, the urgent pointer, what an ICMP error tells
	columnPayload         // 8 octets
	columns
)

// A shape is all of a segment that hardly ever changes, as it is written.
type shape [24]byte

// Where the fields of a shape are.
const (
	shapeFlags   = 0
	shapeTTL     = 2
	shapeSum     = 3
	shapeCut     = 4
	shapeWay     = 5
	shapeBits    = 6
	shapeNumSACK = 8
	shapeShift   = 9
	shapeMSS     = 10
	shapeType    = 12
	shapeCode    = 13
	shapeUrg     = 14
	shapeOrder   = 16
)

// The bits of a shape.
const (
	bitNoDF = 1 << iota
	bitLabel
	bitFragment
	bitShift
	bitSACKOK
	bitTS
	bitSigned
	bitFastOpen
	bitPayload
	bitV6
	bitsEnd
)

// bit is a bit if it is set.
func bit(set bool, b uint16) uint16 {
	if set {
		return b
	}
	return 0
}

// shapeOf returns the shape of a segment.
func shapeOf(s *tcp.Segment) (h shape) {
	o, be := &s.Options, binary.BigEndian
	be.PutUint16(h[shapeFlags:], uint16(s.Flags))
	h[shapeTTL], h[shapeSum], h[shapeCut], h[shapeWay] = s.TTL, byte(s.Sum), byte(s.Cut), byte(s.Way)
	be.PutUint16(h[shapeBits:], bit(s.NoDF, bitNoDF)|bit(s.Label, bitLabel)|bit(s.Fragment, bitFragment)|
		bit(o.HasShift, bitShift)|bit(o.SACKOK, bitSACKOK)|bit(o.HasTS, bitTS)|bit(o.Signed, bitSigned)|bit(o.FastOpen, bitFastOpen)|
		bit(s.Payload != 0, bitPayload)|bit(s.ICMP.V6, bitV6))
	h[shapeNumSACK], h[shapeShift] = o.NumSACK, o.Shift
	be.PutUint16(h[shapeMSS:], o.MSS)
	h[shapeType], h[shapeCode] = s.ICMP.Type, s.ICMP.Code
	be.PutUint16(h[shapeUrg:], s.Urg)
	be.PutUint64(h[shapeOrder:], o.Order)
	return h
}

// segment returns a segment of that shape, and whether there is such a shape.
func (h *shape) segment() (s tcp.Segment, ok bool) {
	o, be := &s.Options, binary.BigEndian
	s.Flags = tcp.Flags(be.Uint16(h[shapeFlags:]))
	s.TTL, s.Sum, s.Cut, s.Way = h[shapeTTL], tcp.Sum(h[shapeSum]), tcp.Cut(h[shapeCut]), tcp.Way(h[shapeWay])
	bits := be.Uint16(h[shapeBits:])
	s.NoDF, s.Label, s.Fragment = bits&bitNoDF != 0, bits&bitLabel != 0, bits&bitFragment != 0
	o.HasShift, o.SACKOK, o.HasTS = bits&bitShift != 0, bits&bitSACKOK != 0, bits&bitTS != 0
	o.Signed, o.FastOpen = bits&bitSigned != 0, bits&bitFastOpen != 0
	s.ICMP.V6 = bits&bitV6 != 0
	o.NumSACK, o.Shift = h[shapeNumSACK], h[shapeShift]
	o.MSS = be.Uint16(h[shapeMSS:])
	s.ICMP.Type, s.ICMP.Code = h[shapeType], h[shapeCode]
	s.Urg = be.Uint16(h[shapeUrg:])
	o.Order = be.Uint64(h[shapeOrder:])
	ok = bits < bitsEnd && int(o.NumSACK) <= len(o.SACK) && s.Sum <= tcp.SumBad && s.Cut <= tcp.CutOptions && s.Way <= tcp.WayOut
	return s, ok
}

// hasPayload reports whether segments of that shape have a hash of what they carry.
func (h *shape) hasPayload() bool {
	return binary.BigEndian.Uint16(h[shapeBits:])&bitPayload != 0
}

// An end is what is known of one end of a connection, to tell what it sends next.
type end struct {
	next  tcp.Seq
	wnd   uint16
	id    uint16
	data  tcp.Size
	tsVal uint32
}

// sent takes in what the end has sent.
func (e *end) sent(s *tcp.Segment) {
	if s.ICMP.Type != 0 {
		return // somebody else did
	}
	e.next, e.wnd, e.id, e.data = s.End(), s.Wnd, s.ID, s.Data
	if s.Options.HasTS {
		e.tsVal = s.Options.TSVal
	}
}

// zigzag32 maps small differences, of either sign, to small numbers.
func zigzag32(d uint32) uint64 { return uint64(d<<1 ^ uint32(int32(d)>>31)) }

func unzigzag32(u uint64) uint32 { return uint32(u)>>1 ^ -(uint32(u) & 1) }

// appendAddr appends an address behind its length.
func appendAddr(b []byte, a netip.Addr) []byte {
	octets := a.AsSlice()
	return append(append(b, byte(len(octets))), octets...)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(appendAddr(b, a.Addr()), a.Port())
}
