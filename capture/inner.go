package capture

import (
	"encoding/binary"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// innerMatches reports whether Options.Inner lets a segment through. It is asked
// about headers made of the segment: what it was carried in, and in how many
// fragments, makes no difference.
func (o *Options) innerMatches(s *tcp.Segment) bool {
	if o.Inner == nil {
		return true
	}
	var packet [inet.IPv6Size + inet.TCPSize]byte
	b, size := packet[:], inet.IPv6Size
	length := int(s.Data) + inet.TCPSize
	be := binary.BigEndian
	if src, dst := s.Src.Addr(), s.Dst.Addr(); src.Is4() && dst.Is4() {
		b, size = b[:inet.IPv4Size+inet.TCPSize], inet.IPv4Size
		b[0], b[8], b[9] = 0x45, s.TTL, inet.ProtoTCP
		be.PutUint16(b[2:], uint16(min(length+size, 0xffff)))
		be.PutUint16(b[4:], s.ID)
		if !s.NoDF {
			b[6] = 0x40
		}
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
	} else {
		b[0], b[6], b[7] = 0x60, inet.ProtoTCP, s.TTL
		be.PutUint16(b[4:], uint16(min(length, 0xffff)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
	}
	t := b[size:]
	be.PutUint16(t, s.Src.Port())
	be.PutUint16(t[2:], s.Dst.Port())
	be.PutUint32(t[4:], uint32(s.Seq))
	be.PutUint32(t[8:], uint32(s.Ack))
	be.PutUint16(t[12:], inet.TCPSize/4<<12|uint16(s.Flags))
	be.PutUint16(t[14:], s.Wnd)
	be.PutUint16(t[16:], s.Checksum)
	be.PutUint16(t[18:], s.Urg)
	return o.Inner.Match(pcap.LinkRaw, b, size+length)
}

// leaveOut counts a packet that a filter did not match.
func (st *Stats) leaveOut(r *pcap.Record) {
	st.Filtered++
	st.FilteredBytes += int64(r.Wire)
	if isTagged(r) {
		st.Tagged++
	}
}

// isTagged reports whether a frame has a VLAN tag.
func isTagged(r *pcap.Record) bool {
	l := r.Link.Layout()
	switch l.Kind {
	case pcap.LayoutEthernet, pcap.LayoutCooked, pcap.LayoutCooked2:
	default:
		return false
	}
	if len(r.Data) < int(l.TypeAt)+2 {
		return false
	}
	switch binary.BigEndian.Uint16(r.Data[l.TypeAt:]) {
	case inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld:
		return true
	}
	return false
}
