package pktgen

import (
	"encoding/binary"
	"io"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var le = binary.LittleEndian

// A Pcap writes a capture in the pcap format, with times in nanoseconds. It
// writes record by record, so w should be buffered.
type Pcap struct {
	w      io.Writer
	link   pcap.LinkType
	snap   int
	record []byte
}

const recordHeaderSize = 16

// NewPcap begins a capture whose packets are of the given link type and are
// cut to snap octets. The error is that of w.
func NewPcap(w io.Writer, link pcap.LinkType, snap int) (*Pcap, error) {
	h := le.AppendUint32(nil, 0xa1b23c4d)
	h = le.AppendUint16(h, 2) // version 2.4
	h = le.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...)
	h = le.AppendUint32(h, uint32(snap))
	h = le.AppendUint32(h, uint32(link))
	_, err := w.Write(h)
	return &Pcap{w: w, link: link, snap: snap}, err
}

// Write writes a packet that was captured at time t. It does not keep it. The
// error is that of the writer.
func (p *Pcap) Write(t tcp.Time, packet []byte) error {
	return p.put(t, append(p.begin(), packet...), len(packet))
}

// WriteSegment writes the packet that Append makes of the segment, captured at
// s.Time. In an Ethernet capture it is given a header, with a VLAN tag unless
// vlan is 0; in any other it begins with IP. The error is that of the writer.
func (p *Pcap) WriteSegment(s *tcp.Segment, vlan uint16) error {
	b := p.begin()
	if p.link == pcap.LinkEthernet {
		b = appendEthernet(b, s.Src.Addr(), s.Dst.Addr(), vlan)
	}
	if s.ICMP.Type != 0 {
		b = Append(b, s)
		return p.put(s.Time, b, len(b)-recordHeaderSize)
	}
	b = appendHeaders(b, s)
	wire := len(b) - recordHeaderSize + int(s.Data)
	if room := min(int(s.Data), recordHeaderSize+p.snap-len(b)); room > 0 {
		b = append(b, make([]byte, room)...)
	}
	return p.put(s.Time, b, wire)
}

// begin returns the buffer of a record, its header still to be filled in.
func (p *Pcap) begin() []byte {
	return append(p.record[:0], make([]byte, recordHeaderSize)...)
}

// put writes the record b of a packet that measured wire octets.
func (p *Pcap) put(t tcp.Time, b []byte, wire int) error {
	p.record = b
	b = b[:min(len(b), recordHeaderSize+p.snap)]
	le.PutUint32(b, uint32(t/1e9))
	le.PutUint32(b[4:], uint32(t%1e9))
	le.PutUint32(b[8:], uint32(len(b)-recordHeaderSize))
	le.PutUint32(b[12:], uint32(wire))
	_, err := p.w.Write(b)
	return err
}

// appendEthernet appends the header of a frame that carries IP, with a VLAN
// tag unless vlan is 0. Hardware addresses are made of those of IP.
func appendEthernet(b []byte, src, dst netip.Addr, vlan uint16) []byte {
	b = appendHardware(b, dst)
	b = appendHardware(b, src)
	if vlan != 0 {
		b = be.AppendUint16(be.AppendUint16(b, inet.TypeVLAN), vlan)
	}
	if src.Is4() {
		return be.AppendUint16(b, inet.TypeIPv4)
	}
	return be.AppendUint16(b, inet.TypeIPv6)
}

// appendHardware appends a locally administered hardware address.
func appendHardware(b []byte, a netip.Addr) []byte {
	octets := a.As16()
	return append(append(b, 2, 0), octets[12:]...)
}
