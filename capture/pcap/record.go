// Package pcap reads capture files, pcap and pcapng, and makes pcapng. It knows
// nothing of what is in a packet.
//
//	reader.go  what a file is, gzip and zstd
//	window.go  the part of a file that is in memory
//	pcap.go    the records of pcap files
//	pcapng.go  those of pcapng files
//	blocks.go  the way back
//	copy.go    both ways: a capture, some of its packets left out
//
// Nothing is copied on the way: records lie in the window that the file is read
// into.
package pcap

import (
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

	Device int // of a live capture: the interface, as the tap numbers it
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
