package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Version is what Message writes. Read reads it, and all before it.
const Version = 1

const (
	// MaxSegments is how many segments a message has at most, and MaxAbout how many
	// octets what the sensor says of itself.
	MaxSegments = 4096
	MaxAbout    = 16 << 10

	// MaxMessage is how many octets a message has at most: what a server of messages
	// takes by default.
	MaxMessage = 1 << 20

	// maxColumns is how many octets the segments of a message have at most, not
	// compressed: MaxSegments of the largest, with some room.
	maxColumns = MaxSegments * 256
)

// A Segment is one that a sensor saw, of which several partitions may have their share.
type Segment struct {
	tcp.Segment
	Nth int // of all segments that the sensor saw in this run, from 1
}

// A Head is what a message has besides segments.
type Head struct {
	Run   uint64   // of the sensor; no two have the same
	N     uint64   // number of the message in this run, and for its partition, from 1
	Mark  tcp.Time // no segment behind this message is earlier
	After int      // all segments behind this message come after so many of the sensor
	Sent  tcp.Time // by the clock of the sensor; 0: it does not capture now
	End   bool     // there is no message behind this one
	About []byte   // what the sensor says of itself
}

// appendHead appends a head.
func appendHead(b []byte, h *Head) []byte {
	b = append(b, Version)
	b = binary.BigEndian.AppendUint64(b, h.Run)
	b = binary.AppendUvarint(b, h.N)
	b = binary.AppendVarint(b, int64(h.Mark))
	b = binary.AppendUvarint(b, uint64(h.After))
	b = binary.AppendVarint(b, int64(h.Sent))
	var bits byte
	if h.End {
		bits |= 1
	}
	b = append(b, bits)
	b = binary.AppendUvarint(b, uint64(len(h.About)))
	return append(b, h.About...)
}

// A VersionError says that a message is of a later version.
type VersionError uint8

func (e VersionError) Error() string {
	return fmt.Sprintf("is of version %d, and this tcpwatch reads up to version %d", uint8(e), Version)
}

// errMalformed says that a message is not as Message writes it.
var errMalformed = errors.New("is malformed")

// ReadHead reads what a message has besides segments. About lies in the message.
func ReadHead(message []byte) (Head, error) {
	h, _, err := cutHead(message)
	return h, err
}

// cutHead cuts a message behind its head.
func cutHead(message []byte) (h Head, rest []byte, err error) {
	r := &reader{octets: message}
	switch v := r.octet(); {
	case r.bad:
		return h, nil, errMalformed
	case v > Version:
		return h, nil, VersionError(v)
	case v == 0:
		return h, nil, errMalformed
	}
	h.Run = r.fixed64()
	h.N = r.uvarint()
	h.Mark = tcp.Time(r.varint())
	h.After = r.length(math.MaxInt)
	h.Sent = tcp.Time(r.varint())
	bits := r.octet()
	h.End = bits&1 != 0
	h.About = r.take(r.length(MaxAbout))
	if r.bad || bits > 1 {
		return h, nil, errMalformed
	}
	return h, r.octets, nil
}

// Partition returns to which of so many parts a segment belongs: the same one for both
// directions of a connection, and at every sensor.
func Partition(s *tcp.Segment, parts int) int {
	if parts < 2 {
		return 0
	}
	h := mix(hashOf(s.Src) + hashOf(s.Dst)) // in either order
	return int(h % uint64(parts))
}

// hashOf is a hash of one end. It must never change: it is part of the format.
func hashOf(a netip.AddrPort) uint64 {
	x := a.Addr().As16()
	return mix(binary.BigEndian.Uint64(x[:8]) + mix(binary.BigEndian.Uint64(x[8:])+uint64(a.Port())))
}

// mix is the finaliser of MurmurHash3.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
