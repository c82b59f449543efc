package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Formats of other programs: snoop (RFC 1761), and the records of Endace's cards,
// which have no header of the file.

// A plainFormat is one that describes no interfaces.
type plainFormat interface {
	format
	about() (link LinkType, snap uint32, tick int64) // of the first packets; tick is in nanoseconds
}

func (f *pcapFile) about() (LinkType, uint32, int64) { return f.link, f.snap, f.tick }

const (
	snoopMagic      = "snoop\x00\x00\x00"
	snoopHeaderSize = 16
	snoopRecordSize = 24
)

// A snoopFile is what snoop of Solaris writes.
type snoopFile struct {
	w       *window
	link    LinkType
	dropped uint32
}

// snoopLinks are the link types of snoop, by their numbers there.
var snoopLinks = map[uint32]LinkType{0: LinkEthernet, 4: LinkEthernet, 2: LinkTokenRing, 8: LinkFDDI, 18: LinkSunATM, 26: LinkIPoIB}

func newSnoopFile(w *window) (*snoopFile, error) {
	h, err := w.peek(snoopHeaderSize)
	if err != nil {
		return nil, err
	}
	version, link := binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[12:])
	l, known := snoopLinks[link]
	switch {
	case version != 2:
		return nil, fmt.Errorf("snoop version %d is not supported", version)
	case !known:
		return nil, fmt.Errorf("link type %d of snoop is not supported", link)
	}
	w.consume(snoopHeaderSize)
	return &snoopFile{w: w, link: l}, nil
}

func (f *snoopFile) about() (LinkType, uint32, int64) { return f.link, 0, 1000 }
func (f *snoopFile) drops() int64                     { return int64(f.dropped) }
func (f *snoopFile) ended() tcp.Time                  { return 0 }

func (f *snoopFile) next(r *Record) error {
	h, err := f.w.peek(snoopRecordSize)
	if err != nil {
		return endOfRecords(err)
	}
	wire, captured, size := binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	f.dropped = binary.BigEndian.Uint32(h[12:])
	seconds, fraction := binary.BigEndian.Uint32(h[16:]), binary.BigEndian.Uint32(h[20:])
	if size > MaxRecord || uint64(size) < snoopRecordSize+uint64(captured) {
		return corrupt(fmt.Sprintf("a record of %d bytes", size))
	}
	b, err := f.w.peek(int(size))
	if err != nil {
		return cut(err)
	}
	f.w.consume(int(size))
	end := snoopRecordSize + int(captured)
	r.Data = b[snoopRecordSize:end:end]
	r.Wire = max(int(wire), len(r.Data))
	r.Time = tcp.Time(int64(seconds)*1e9 + int64(fraction)*1000)
	r.Link = f.link
	return nil
}

const (
	erfHeaderSize = 16
	erfPadding    = 48
)

// An erfFile is the records of a card, each with its header.
type erfFile struct{ w *window }

func (f *erfFile) about() (LinkType, uint32, int64) { return LinkERF, 0, 1 }
func (f *erfFile) drops() int64                     { return 0 }
func (f *erfFile) ended() tcp.Time                  { return 0 }

// isERF reports whether a file begins with two such records, or with one and ends:
// nothing else tells them.
func isERF(w *window) bool {
	h, err := w.peek(erfHeaderSize)
	if err != nil || !soundERF(h) {
		return false
	}
	size := int(binary.BigEndian.Uint16(h[10:]))
	b, err := w.peek(size + erfHeaderSize)
	if err != nil {
		whole, e := w.peek(size)
		return e == nil && len(w.ahead()) == len(whole)
	}
	return soundERF(b[size:])
}

// soundERF reports whether a header can be one: a time of this age, a kind that
// there is, lengths that fit each other.
func soundERF(h []byte) bool {
	var from, to = time.Date(1996, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	seconds, kind := int64(binary.LittleEndian.Uint32(h[4:])), h[8]&0x7f
	size, wire := int(binary.BigEndian.Uint16(h[10:])), int(binary.BigEndian.Uint16(h[14:]))
	return seconds >= from && seconds < to && kind > 0 && kind <= erfPadding && size >= erfHeaderSize && (wire > 0 || kind == erfPadding)
}

func (f *erfFile) next(r *Record) error {
	for {
		h, err := f.w.peek(erfHeaderSize)
		if err != nil {
			return endOfRecords(err)
		}
		size := int(binary.BigEndian.Uint16(h[10:]))
		if size < erfHeaderSize {
			return corrupt(fmt.Sprintf("a record of %d bytes", size))
		}
		b, err := f.w.peek(size)
		if err != nil {
			return cut(err)
		}
		f.w.consume(size)
		if b[8]&0x7f == erfPadding {
			continue
		}
		stamp := binary.LittleEndian.Uint64(b) // seconds, and 32 bits of fraction
		r.Data = b[:size:size]
		r.Wire = max(erfHeaderSize+int(binary.BigEndian.Uint16(b[14:])), size)
		r.Time = tcp.Time(int64(stamp>>32)*1e9 + int64(stamp&0xffffffff*1e9>>32))
		r.Link = LinkERF
		return nil
	}
}

// beginsOther returns the format of another program that a file has, or nil.
func beginsOther(w *window) (format, error) {
	head, err := w.peek(len(snoopMagic))
	switch {
	case err == nil && string(head) == snoopMagic:
		f, err := newSnoopFile(w)
		if err != nil {
			return nil, err
		}
		return f, nil
	case isERF(w):
		return &erfFile{w}, nil
	case w.err != nil && w.err != io.EOF && !errors.Is(w.err, io.ErrUnexpectedEOF):
		return nil, w.err
	}
	return nil, nil
}
