// Package pcap reads capture files, pcap, pcapng and others, and makes pcapng. It knows
// nothing of what is in a packet.
//
//	reader.go  what a file is, and how it is compressed
//	window.go  the part of a file that is in memory
//	pcap.go    the records of pcap files
//	pcapng.go  those of pcapng files
//	stamps.go  stamps that are wrong
//	order.go   records that are out of order
//	others.go  those of snoop, and of Endace's cards
//	netmon.go  those of Network Monitor
//	blocks.go  the way back
//	copy.go    both ways: a capture, some of its packets left out
//
// Nothing is copied on the way: records lie in the window that the file is read
// into.
package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Record is one packet as a capture file holds it.
type Record struct {
	Data []byte   // the captured octets, valid until the next record is read
	Wire int      // octets that it had on the wire, never less than len(data)
	Time tcp.Time // zero: the file does not say
	Link LinkType

	Number int     // among the records of the file, from 1; 0: they come in its order
	Device int     // of a live capture: the interface, as the tap numbers it
	Way    tcp.Way // as the file says, beside the packet

	Comment string // that the file has beside the packet; of several, a line each; cut to maxComment

	process Process // beside the packet, see Process
}

// A Process is the one that a packet is of, as macOS writes it.
type Process struct {
	PID  int
	Name string // "": not known; it may hold anything
}

// Process returns the process of this host that sent the packet, or received it, as a
// block of macOS beside the packet says, or its header (PKTAP). Of two, it is the one that
// the other works for.
func (r *Record) Process() Process {
	if r.Link != LinkPktap {
		return r.process
	}
	for _, at := range [...]int{pktapEffective, pktapPID} {
		if len(r.Data) >= at+4+pktapName {
			name, _, _ := bytes.Cut(r.Data[at+4:at+4+pktapName], []byte{0})
			if len(name) > 0 {
				return Process{int(int32(binary.LittleEndian.Uint32(r.Data[at:]))), string(name)}
			}
		}
	}
	return Process{}
}

// HasProcess reports whether Process may tell.
func (r *Record) HasProcess() bool { return r.process.Name != "" || r.Link == LinkPktap }

// Places in the header of PKTAP, whose numbers are little endian.
const (
	pktapFlags     = 36 // 1: the packet came in; 2: it went out
	pktapPID       = 52 // and the name behind it
	pktapEffective = 84 // the same of who that works for
	pktapName      = 17
)

// Heading returns which way the packet went past the host that recorded it, as the
// file says, or the header of a Linux cooked capture, or of PKTAP.
func (r *Record) Heading() tcp.Way {
	if r.Way != tcp.WayUnknown {
		return r.Way
	}
	if r.Link == LinkPktap && len(r.Data) > pktapFlags {
		return wayOfFlags[r.Data[pktapFlags]&3]
	}
	at := 0
	switch r.Link.Layout().Kind {
	case LayoutCooked:
		at = 1
	case LayoutCooked2:
		at = 10
	default:
		return tcp.WayUnknown
	}
	if at >= len(r.Data) {
		return tcp.WayUnknown
	}
	return WayOf(r.Data[at])
}

// WayOf returns what a packet type of Linux says (packet(7)): that of a packet to
// this host, or from it. One to all, or to another host, is on no way of its own.
func WayOf(packetType uint8) tcp.Way {
	const host, outgoing = 0, 4
	switch packetType {
	case host:
		return tcp.WayIn
	case outgoing:
		return tcp.WayOut
	}
	return tcp.WayUnknown
}

// Damage says that a file is cut off or corrupt from some point on. What came
// before is good.
type Damage struct {
	corrupt bool
	detail  string // what is corrupt
}

func (d *Damage) Error() string {
	if !d.corrupt {
		return "cut off mid-packet"
	}
	return "corrupt: " + d.detail
}

var cutOff = &Damage{}

func corrupt(detail string) error { return &Damage{corrupt: true, detail: detail} }

// cut makes the end of a stream in the middle of something into damage.
func cut(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return cutOff
	}
	return err
}

// byteOrder is the order of a file's integers. Unlike binary.ByteOrder it is
// inlined.
type byteOrder struct{ big bool }

func (o byteOrder) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if o.big {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (o byteOrder) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if o.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (o byteOrder) u64(b []byte) uint64 {
	v := binary.LittleEndian.Uint64(b)
	if o.big {
		v = bits.ReverseBytes64(v)
	}
	return v
}
