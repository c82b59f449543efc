package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Microsoft's Network Monitor, versions 1 and 2, and Message Analyzer after it, have a
// table of the frames at the end of the file. It says where each is: there are holes,
// and frames in another order. So a file is read at any place. What comes compressed,
// or from a pipe, is read into memory first.

const (
	netmonMagic1     = "RTSS"
	netmonMagic2     = "GMBU"
	netmonHeaderSize = 32 // as far as it is looked at
	netmonTable      = 16 << 10
	netmonJump       = 4 << 10 // what is read of a frame that is not behind the one before

	// maxNetmon is how large a file is that is read into memory, at most.
	maxNetmon = 256 << 20
)

// What a frame is: one of netmonLinks, or of pcap if it is netmonPcap or more, or of
// those that no interface has.
const (
	netmonATM     = 4
	netmonWiFi    = 6
	netmonPcap    = 0xe000
	netmonOwn     = 0xf000
	netmonPayload = 0xfffc // these are not counted as frames
	netmonNetwork = 0xfffd
	netmonDNS     = 0xfffe
)

// netmonLinks are the link types of Network Monitor, by their numbers there. A frame
// of a VPN may have 0.
var netmonLinks = [...]LinkType{0: LinkEthernet, 1: LinkEthernet, 2: LinkTokenRing, 3: LinkFDDI, netmonATM: LinkATM, 5: linkUnknown, netmonWiFi: LinkWiFi, 7: LinkRaw, 8: LinkRaw, 9: LinkRaw}

// linkUnknown is that of packets that are not read.
const linkUnknown LinkType = 0xffff

// netmonNothing is what is handed out for Network Monitor's own frames, such as its
// filters: of a loopback, and no address family.
var netmonNothing = make([]byte, 4)

// A netmonFile is what Network Monitor writes.
type netmonFile struct {
	at      io.ReaderAt
	read    *int64 // octets
	version int    // the major in its upper octet
	network int    // of all frames, before version 2.1
	begin   tcp.Time

	table  int64 // where the rest of the table of frames is
	frames int   // in that
	places []byte

	buf       []byte
	lo        int64 // where in the file it is
	sum       int64 // octets of all frames
	from, end int64 // where the first of them begins, and the last ends
}

// isNetmon reports whether a file beginning with these 4 octets is one of Network
// Monitor.
func isNetmon(head []byte) bool {
	return string(head) == netmonMagic1 || string(head) == netmonMagic2
}

// newNetmonFile reads the header. What is read counts.
func newNetmonFile(w *window, from io.Reader, count *int64) (*netmonFile, error) {
	at, err := netmonAt(w, from)
	if err != nil {
		return nil, err
	}
	h := make([]byte, netmonHeaderSize)
	if _, err := at.ReadAt(h, 0); err != nil {
		return nil, shortened(err)
	}
	le := binary.LittleEndian
	f := &netmonFile{at: at, read: count, version: int(h[5])<<8 | int(h[4]), network: int(le.Uint16(h[6:]))}
	if v := f.version >> 8; v != 1 && v != 2 {
		return nil, fmt.Errorf("version %d.%d of Network Monitor is not supported", h[5], h[4])
	}
	field := func(i int) int { return int(le.Uint16(h[8+2*i:])) } // of a SYSTEMTIME: 2 is the day of the week
	f.begin = tcp.Time(time.Date(field(0), time.Month(field(1)), field(3), field(4), field(5), field(6), field(7)*1e6, time.UTC).UnixNano())
	f.table, f.frames = int64(le.Uint32(h[24:])), int(le.Uint32(h[28:])/4)
	if _, seeks := at.(*bytes.Reader); !seeks {
		*count = netmonHeaderSize // not what was read to see what it is
	}
	return f, nil
}

// netmonAt returns what the file is read from: the reader beneath, if that can be read at
// any place and begins like the file, or else what is in it.
func netmonAt(w *window, from io.Reader) (io.ReaderAt, error) {
	if at, can := from.(io.ReaderAt); can {
		head := make([]byte, len(netmonMagic1))
		if _, err := at.ReadAt(head, 0); err == nil && isNetmon(head) {
			return at, nil
		}
	}
	for {
		have := len(w.ahead())
		if have > maxNetmon {
			return nil, fmt.Errorf("a capture of Network Monitor of more than %d MiB must be a file that is not compressed", maxNetmon>>20)
		}
		switch _, err := w.peek(have + 1); {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
			return bytes.NewReader(w.ahead()), nil
		case err != nil:
			return nil, err
		}
	}
}

// shortened makes the end of the file, where it is read at, into one in the middle of
// something.
func shortened(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (f *netmonFile) drops() int64    { return 0 }
func (f *netmonFile) ended() tcp.Time { return 0 }

func (f *netmonFile) about() (LinkType, uint32, int64) {
	tick := int64(1000)
	if f.stamped() {
		tick = 100
	}
	return f.link(f.network), 0, tick
}

// stamped reports whether each frame has a stamp of its own.
func (f *netmonFile) stamped() bool { return f.version >= 0x203 }

// link returns the link type of a number of Network Monitor.
func (f *netmonFile) link(network int) LinkType {
	switch {
	case network < len(netmonLinks):
		return netmonLinks[network]
	case network == 0xe080: // Message Analyzer
		return LinkWiFi
	case network > 0xe080 && network <= 0xe08a:
		return linkUnknown
	case network >= netmonPcap && network < netmonOwn:
		return LinkType(network - netmonPcap)
	}
	return linkUnknown
}

// trailer is how many octets are behind a frame.
func (f *netmonFile) trailer() int {
	switch {
	case f.version < 0x201:
		return 0
	case f.version == 0x201:
		return 2
	case f.version == 0x202:
		return 6
	}
	return 15
}

func (f *netmonFile) next(r *Record) error {
	for {
		place, err := f.place()
		if err != nil {
			return err
		}
		if counts, err := f.frame(place, r); counts || err != nil {
			return err
		}
	}
}

// place returns where the next frame is.
func (f *netmonFile) place() (int64, error) {
	if len(f.places) == 0 {
		if f.frames == 0 {
			return 0, io.EOF
		}
		n := min(f.frames, netmonTable)
		if cap(f.places) < 4*n {
			f.places = make([]byte, 4*n)
		}
		f.places = f.places[:4*n]
		got, err := f.at.ReadAt(f.places, f.table)
		if got < len(f.places) {
			if got &^= 3; got == 0 {
				return 0, cut(err)
			}
			f.places, n = f.places[:got], got/4
		}
		f.table += int64(4 * n)
		f.frames -= n
	}
	place := int64(binary.LittleEndian.Uint32(f.places))
	f.places = f.places[4:]
	return place, nil
}

// frame reads a frame, and reports whether it counts as one.
func (f *netmonFile) frame(place int64, r *Record) (counts bool, err error) {
	le := binary.LittleEndian
	head := 16
	if f.version < 0x200 {
		head = 8
	}
	h, err := f.peek(place, head)
	if err != nil {
		return false, err
	}
	var captured, wire uint32
	if f.version < 0x200 {
		wire, captured = uint32(le.Uint16(h[4:])), uint32(le.Uint16(h[6:]))
		r.Time = f.begin.Add(time.Duration(le.Uint32(h)) * time.Millisecond)
	} else {
		wire, captured = le.Uint32(h[8:]), le.Uint32(h[12:])
		// It may be before the beginning: 10 times this is what has a sign.
		r.Time = f.begin.Add(time.Duration(int64(le.Uint64(h)*10) * 100))
	}
	if captured > MaxRecord {
		return false, corrupt(fmt.Sprintf("a record of %d bytes", captured))
	}
	size := head + int(captured) + f.trailer()
	b, err := f.peek(place, size)
	if err != nil {
		return false, err
	}
	if f.sum == 0 {
		f.from = place
	}
	f.sum += int64(size)
	f.from, f.end = min(f.from, place), max(f.end, place+int64(size))
	if f.sum > f.end-f.from {
		return false, corrupt("frames in each other's place")
	}
	data, trailer := b[head:head+int(captured):head+int(captured)], b[head+int(captured):]
	network := f.network
	if len(trailer) >= 2 {
		network = int(le.Uint16(trailer))
	}
	if f.stamped() {
		const to1970 = 11_644_473_600 * 1e7 // from 1601, in units of 100 ns
		r.Time = tcp.Time(int64(le.Uint64(trailer[6:])-to1970) * 100)
	}
	r.Link, r.Data = f.link(network), data
	r.Wire = max(int(wire), len(data))
	before := 0
	switch {
	case network == netmonPayload, network == netmonNetwork, network == netmonDNS:
		return false, nil
	case network >= netmonOwn:
		r.Link, r.Data, r.Wire = LinkNull, netmonNothing, len(netmonNothing)
		return true, nil
	case network == netmonATM:
		before = 16 // two addresses and the circuit
	case network == netmonWiFi && len(data) >= 3:
		before = int(le.Uint16(data[1:]))
	}
	before = min(before, len(data))
	r.Data = data[before:]
	r.Wire -= before
	return true, nil
}

// peek returns n octets of the file, which are valid until the next call. Frames that
// are behind each other are read many at once.
func (f *netmonFile) peek(at int64, n int) ([]byte, error) {
	end := f.lo + int64(len(f.buf))
	if at >= f.lo && at+int64(n) <= end {
		return f.buf[at-f.lo:][:n:n], nil
	}
	size := max(n, netmonJump)
	if at >= f.lo && at <= end {
		size = max(n, windowSize)
	}
	if cap(f.buf) < min(size, windowSize) {
		f.buf = make([]byte, min(size, windowSize))
	}
	f.lo, f.buf = at, f.buf[:min(size, cap(f.buf))]
	got, err := f.at.ReadAt(f.buf, at)
	*f.read += int64(got)
	// What is longer than a window grows as octets arrive.
	for got == len(f.buf) && got < n && err == nil {
		grown := make([]byte, min(n, 2*got))
		copy(grown, f.buf)
		var more int
		more, err = f.at.ReadAt(grown[got:], at+int64(got))
		*f.read += int64(more)
		f.buf, got = grown, got+more
	}
	f.buf = f.buf[:got]
	if got >= n {
		return f.buf[:n:n], nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return nil, cut(err)
}
