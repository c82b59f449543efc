package forge

import (
	"encoding/binary"
	"io"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker"
)

var le = binary.LittleEndian

// A Pcap writes a capture in the pcap format, with times in nanoseconds.
type Pcap struct {
	w      io.Writer
	snap   int
	record []byte
}

// NewPcap begins a capture whose packets are of the given link type and are
// cut to snap octets. The error is that of w.
func NewPcap(w io.Writer, link capture.LinkType, snap int) (*Pcap, error) {
	h := le.AppendUint32(nil, 0xa1b23c4d)
	h = le.AppendUint16(h, 2) // version 2.4
	h = le.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...)
	h = le.AppendUint32(h, uint32(snap))
	h = le.AppendUint32(h, uint32(link))
	_, err := w.Write(h)
	return &Pcap{w: w, snap: snap}, err
}

// Write writes a packet that was captured at time t. It does not keep it. The
// error is that of the writer.
func (p *Pcap) Write(t tracker.Time, packet []byte) error {
	kept := packet[:min(len(packet), p.snap)]
	p.record = le.AppendUint32(p.record[:0], uint32(t/1e9))
	p.record = le.AppendUint32(p.record, uint32(t%1e9))
	p.record = le.AppendUint32(p.record, uint32(len(kept)))
	p.record = le.AppendUint32(p.record, uint32(len(packet)))
	_, err := p.w.Write(append(p.record, kept...))
	return err
}
