package capture

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A record is one packet as a capture file holds it.
type record struct {
	data []byte   // the captured octets, valid until the next record is read
	wire int      // octets that it had on the wire, never less than len(data)
	time tcp.Time // zero: the file does not say
	link LinkType

	device int // of a live capture: the interface, as the tap numbers it
}

// damage says that a file is cut off or corrupt from some point on. What came
// before is good.
type damage struct {
	corrupt bool
	detail  string // what is corrupt
}

func (d *damage) Error() string {
	if !d.corrupt {
		return "cut off in mid-packet"
	}
	return "corrupt: " + d.detail
}

var cutOff = &damage{}

func corrupt(detail string) error { return &damage{corrupt: true, detail: detail} }

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
