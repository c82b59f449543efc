package pcap

import (
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Copier reads a capture as a Reader does, and makes Blocks of it: those of the
// packets that are kept, which may be given a comment, and of pcapng every other
// block as it is (interfaces with their options, names, statistics, blocks that
// nobody knows). What the packets have stays as it was, to the last bit of their
// times.
//
// A block that forbids to be copied is left out. A simple packet block has no room
// for a comment, and is given none.
type Copier struct {
	in    Reader
	out   *Blocks
	plain int64      // the nanoseconds in a unit of its times; 0: it is pcapng
	unit  uint8      // the power of ten that this is, see newClock
	links []LinkType // of its interfaces
	last  []byte     // the block of the newest packet, of pcapng
	kind  uint32     // of that
	order order      // of the section
	flush func() error
	err   error // of flush
}

// enough is how many octets of blocks wait before they are flushed.
const enough = 256 << 10

// An order is one of the byte orders of package binary.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// NewCopier reads the header of a capture from r, see NewReader, and adds to out
// what comes before its packets. When that is much, flush is called, which empties
// out; its error is one of Next.
func NewCopier(r io.Reader, name, path string, out *Blocks, flush func() error) (*Copier, error) {
	c := &Copier{in: Reader{name: name, path: path, raw: countingReader{r: r}}, out: out, flush: flush}
	c.in.seen = c.block
	if err := c.in.start(); err != nil {
		c.Close()
		return nil, err
	}
	if f, is := c.in.format.(plainFormat); is {
		link, snap, tick := f.about()
		c.plain, c.unit, c.links = tick, 9, []LinkType{link}
		for ; tick > 1; tick /= 10 {
			c.unit--
		}
		out.Section("tcpwatch")
		out.describe("", link, snap, c.unit)
	}
	return c, nil
}

// Next reads the next packet, see Reader.Next, and adds to the Blocks what comes
// before it; at the end, what is behind the last.
func (c *Copier) Next(r *Record) error {
	err := c.in.Next(r)
	if c.err != nil {
		return c.err
	}
	return err
}

// Keep adds the packet r, which Next has just read, with the comment unless that
// is empty.
func (c *Copier) Keep(r *Record, comment string) {
	switch {
	case c.plain != 0:
		c.out.packet(c.linkOf(r), r.Time/tcp.Time(c.plain), r, comment)
	case comment == "" || c.kind == blockPacketSimple:
		c.out.raw(c.last)
	default:
		c.out.commented(c.last, c.order, clipped(comment))
	}
}

// linkOf returns the number of the interface that has the link type of a packet of a
// format that describes none.
func (c *Copier) linkOf(r *Record) int {
	n := slices.Index(c.links, r.Link)
	if n < 0 {
		n = len(c.links)
		c.links = append(c.links, r.Link)
		c.out.describe("", r.Link, 0, c.unit)
	}
	return n
}

// Close frees what reading took. What the capture is read from is left open.
func (c *Copier) Close() { c.in.Close() }

// block takes a block of a pcapng file.
func (c *Copier) block(kind uint32, b []byte) {
	switch kind {
	case blockPacket, blockPacketObsolete, blockPacketSimple:
		c.last, c.kind = b, kind
	case blockCustomHere:
	case blockSection:
		c.order = binary.LittleEndian
		if binary.BigEndian.Uint32(b[8:]) == byteOrderMagic {
			c.order = binary.BigEndian
		}
		at := len(c.out.buf)
		c.out.raw(b)
		binary.LittleEndian.PutUint64(c.out.buf[at+16:], math.MaxUint64) // its length is another now
	default:
		if c.out.raw(b); c.err == nil && len(c.out.buf) > enough {
			c.err = c.flush()
		}
	}
}

// raw adds a block as it is.
func (b *Blocks) raw(block []byte) { b.buf = append(b.buf, block...) }

// commented adds a packet block with a comment in front of its options.
func (b *Blocks) commented(block []byte, o order, comment string) {
	const fixed = 8 + 20 // type, length and what stands before the packet
	options := fixed + int(padded(o.Uint32(block[8+12:])))
	rest := block[options : len(block)-4]
	start := len(b.buf)
	b.raw(block[:options])
	b.buf = o.AppendUint16(b.buf, optComment)
	b.buf = o.AppendUint16(b.buf, uint16(len(comment)))
	b.octets([]byte(comment))
	b.raw(rest)
	if len(rest) == 0 {
		b.u32(optEnd)
	}
	length := uint32(len(b.buf) - start + 4)
	b.buf = o.AppendUint32(b.buf, length)
	o.PutUint32(b.buf[start+4:], length)
}
