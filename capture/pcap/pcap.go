package pcap

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The classic pcap format: a header of 24 octets, then records. Its magic
// number tells byte order, the unit of its timestamps, and whether its records
// have the 8 octets more that Kuznetzov's patched libpcap wrote.
const (
	pcapMicro    = 0xa1b2c3d4
	pcapNano     = 0xa1b23c4d
	pcapNavtel   = 0xa12b3c4d // Navtel: nanoseconds
	pcapModified = 0xa1b2cd34
)

const pcapHeaderSize = 24

type pcapFile struct {
	w          *window
	order      byteOrder
	link       LinkType
	snap       uint32
	tick       int64  // nanoseconds in the unit of the fractional part
	headerSize int    // of a record
	limit      uint32 // captured octets that a sound record cannot exceed
	lengths    lengthOrder
}

// lengthOrder says which of a record's two lengths comes first. Files before
// version 2.3 have the length on the wire first, those of version 2.3 either.
type lengthOrder uint8

const (
	capturedFirst lengthOrder = iota
	wireFirst
	smallerIsCaptured
)

// isPcap reports whether a file beginning with these 4 octets is a pcap file.
func isPcap(b []byte) bool {
	switch m := binary.BigEndian.Uint32(b); m {
	case pcapMicro, pcapNano, pcapNavtel, pcapModified:
		return true
	default:
		m = bits.ReverseBytes32(m)
		return m == pcapMicro || m == pcapNano || m == pcapNavtel || m == pcapModified
	}
}

// newPcapFile reads the file header.
func newPcapFile(w *window) (*pcapFile, error) {
	h, err := w.peek(pcapHeaderSize)
	if err != nil {
		return nil, err
	}
	f := &pcapFile{w: w, tick: 1000, headerSize: 16}
	magic := binary.BigEndian.Uint32(h)
	if f.order.big = isPcap(h) && magic>>24 == pcapMicro>>24; !f.order.big {
		magic = bits.ReverseBytes32(magic)
	}
	switch magic {
	case pcapNano, pcapNavtel:
		f.tick = 1
	case pcapModified:
		f.headerSize = 24
	}
	major, minor := f.order.u16(h[4:]), f.order.u16(h[6:])
	switch {
	case major == 2 && minor < 3, major == 543:
		f.lengths = wireFirst
	case major == 2 && minor == 3:
		f.lengths = smallerIsCaptured
	case major != 2:
		return nil, fmt.Errorf("pcap version %d.%d is not supported", major, minor)
	}
	// Programs that merge or rewrite captures leave records longer than the
	// snap length behind, so the limit is a generous one.
	f.limit = min(max(f.order.u32(h[16:]), 1<<20), MaxRecord)
	f.snap = f.order.u32(h[16:])
	f.link = LinkType(f.order.u32(h[20:])) // the upper half describes the FCS
	w.consume(pcapHeaderSize)
	if magic == pcapMicro && !f.fits(f.headerSize) && f.fits(nokiaHeaderSize) {
		f.headerSize = nokiaHeaderSize
	}
	return f, nil
}

// nokiaHeaderSize is that of records in files of Nokia's firewalls, which nothing
// else tells.
const nokiaHeaderSize = 20

// fits reports whether the first record, with a header of that size, has another
// behind it, or the end, as far as the file was read.
func (f *pcapFile) fits(size int) bool {
	const year = 365 * 24 * 3600
	b, first := f.w.ahead(), uint32(0)
	for n := range 2 {
		switch {
		case len(b) == 0:
			return true
		case len(b) < 16:
			return n == 1 && size == 16
		}
		seconds, fraction, captured, wire := f.order.u32(b), f.order.u32(b[4:]), f.order.u32(b[8:]), f.order.u32(b[12:])
		if n == 0 {
			first = seconds
		}
		if seconds-first+year > 2*year || fraction >= 1e6 || captured > f.limit || captured > wire {
			return false
		}
		b = b[min(len(b), size+int(captured)):]
	}
	return true
}

// drops is 0: a pcap file does not tell.
func (f *pcapFile) drops() int64    { return 0 }
func (f *pcapFile) ended() tcp.Time { return 0 }

func (f *pcapFile) next(r *Record) error {
	h := f.w.ahead()
	if len(h) < f.headerSize {
		var err error
		if h, err = f.w.peek(f.headerSize); err != nil {
			return endOfRecords(err)
		}
	}
	h = h[:16] // all that is looked at
	seconds, fraction := f.order.u32(h), f.order.u32(h[4:])
	captured, wire := f.order.u32(h[8:]), f.order.u32(h[12:])
	if f.lengths == wireFirst || f.lengths == smallerIsCaptured && captured > wire {
		captured, wire = wire, captured
	}
	if captured > f.limit {
		return corrupt(fmt.Sprintf("a record of %d bytes", captured))
	}
	size := f.headerSize + int(captured)
	b := f.w.ahead()
	if len(b) < size {
		var err error
		if b, err = f.w.peek(size); err != nil {
			return cut(err)
		}
	}
	f.w.consume(size)
	r.Data = b[f.headerSize:size:size]
	r.Wire = max(int(wire), len(r.Data))
	r.Time = tcp.Time(int64(seconds)*1e9 + int64(fraction)*f.tick)
	r.Link = f.link
	return nil
}
