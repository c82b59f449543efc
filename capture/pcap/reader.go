package pcap

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// maxZstdWindow bounds the memory that a zstd stream may ask for. It is what
// zstd --long writes at most, and what the zstd command accepts by default.
const maxZstdWindow = 128 << 20

// maxXZDictionary bounds the memory that an xz stream may ask for. It is what xz -9
// writes.
const maxXZDictionary = 64 << 20

// A Reader reads the records of one capture, of any format of this package,
// compressed or not. Its methods are for one goroutine.
type Reader struct {
	name string // as errors call it
	path string // as the commands that errors suggest call it

	raw    countingReader
	zstd   *zstd.Decoder // nil: none
	format format

	sort     *sort  // nil: records are returned in the order of the file
	early    *early // nil: nothing was read before its turn
	places   bool
	records  int      // that Next returned
	newest   tcp.Time // of the last of these; 0: none had a time
	misdated Misdated
	seen     func(kind uint32, block []byte) // of a Copier
}

// A format reads the records of one capture file.
type format interface {
	next(*Record) error
	drops() int64
	ended() tcp.Time
}

// NewReader reads the header of a capture from r. Errors call it by the name.
// They say that it is no capture, what it is instead, and what to do about it,
// in a command that calls it by the path.
func NewReader(r io.Reader, name, path string) (*Reader, error) {
	in := &Reader{name: name, path: path, raw: countingReader{r: r}}
	if err := in.start(); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// Next reads the next record. The error is io.EOF after the last, a *Damage if
// the capture goes no further although it should, and anything else if it could
// not be read.
func (in *Reader) Next(r *Record) error {
	if in.sort != nil {
		return in.sort.next(in, r)
	}
	return in.read(r)
}

// read reads the next record of the file.
func (in *Reader) read(r *Record) error {
	if in.early != nil {
		return in.nextEarly(r)
	}
	if err := in.format.next(r); err != nil || !in.places || in.far(r) {
		return in.stamped(r, err)
	}
	in.records++
	in.newest = r.Time
	return nil
}

// Drops is how many packets the capturing hosts say that they lost, as far as
// the capture was read: 0 where they do not say.
func (in *Reader) Drops() int64 { return in.format.drops() }

// Ended is when the file says, as far as it was read, that the capture ended:
// later than its last packet, if all was quiet by then. 0: it does not say.
func (in *Reader) Ended() tcp.Time { return in.format.ended() }

// Position is how many octets were read, compressed as they are.
func (in *Reader) Position() int64 { return in.raw.n }

// Unread gives back the newest record, which Next then returns again. Nothing
// was read since.
func (in *Reader) Unread(r Record) {
	if in.early == nil {
		in.early = new(early)
	}
	in.early.returned, in.early.again = r, true
}

// Close frees what reading took. What the capture is read from is left open.
func (in *Reader) Close() {
	if in.zstd != nil {
		in.zstd.Close()
		in.zstd = nil
	}
}

// start reads the header.
func (in *Reader) start() error {
	plain, err := in.decompress()
	if err != nil {
		return err
	}
	w := newWindow(plain)
	head, err := w.peek(4)
	switch {
	case err == io.EOF:
		return fmt.Errorf("%s: empty, not a capture", in.name)
	case errors.Is(err, io.ErrUnexpectedEOF) && w.hi > 0:
		return in.notACapture(w.buf[w.lo:w.hi])
	case errors.Is(err, io.ErrUnexpectedEOF):
		return in.tooShort(w)
	case err != nil:
		return in.unreadable(err)
	case binary.BigEndian.Uint32(head) == blockSection:
		in.format, err = newPcapngFile(w, in.seen)
	case isPcap(head):
		in.format, err = newPcapFile(w)
	case isNetmon(head):
		f, e := newNetmonFile(w, in.raw.r, &in.raw.n)
		if in.format, err = f, e; e != nil && in.raw.failed() {
			return in.unreadable(e)
		}
	default:
		if in.format, err = beginsOther(w); in.format != nil || err != nil {
			break
		}
		if _, err := w.peek(16); err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			return in.unreadable(err)
		}
		return in.notACapture(w.buf[w.lo:w.hi])
	}
	var d *Damage
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &d) && !d.corrupt:
		return in.tooShort(w)
	case !errors.As(err, &d) && in.raw.failed():
		return in.unreadable(err)
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

// decompress tells by its first octets whether the file is compressed, and
// returns what is in it.
func (in *Reader) decompress() (io.Reader, error) {
	b := bufio.NewReaderSize(&in.raw, 64<<10)
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, in.unreadable(err)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, in.unpacking("gzip", err)
		}
		return &unpacked{z, &in.raw, "gzip"}, nil
	case isZstd(head):
		z, err := zstd.NewReader(b,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxZstdWindow),
			zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, in.unpacking("zstd", err)
		}
		in.zstd = z
		return &unpacked{z, &in.raw, "zstd"}, nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return &unpacked{bzip2.NewReader(b), &in.raw, "bzip2"}, nil
	case bytes.Equal(head, []byte{0x04, 0x22, 0x4d, 0x18}):
		return &unpacked{lz4.NewReader(b), &in.raw, "lz4"}, nil
	case bytes.HasPrefix(head, []byte(xzMagic[:4])):
		z, err := xz.NewReader(b, maxXZDictionary)
		if err != nil {
			return nil, in.unpacking("xz", err)
		}
		return &unpacked{z, &in.raw, "xz"}, nil
	}
	return b, nil
}

// isZstd recognizes a zstd frame and, since pzstd begins with one, a frame to
// be skipped (RFC 8878 §3.1).
func isZstd(head []byte) bool {
	return bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}

const xzMagic = "\xfd7zXZ\x00"

var errXZMemory = fmt.Errorf("its xz data needs more than %d MiB of memory; decompress it with xz -dc", maxXZDictionary>>20)

// unpacked reads compressed data. What is wrong with the data is damage; an
// error of the file beneath is passed on.
type unpacked struct {
	r    io.Reader
	raw  *countingReader
	kind string
}

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	switch {
	case err == nil, err == io.EOF, u.raw.failed():
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, io.ErrUnexpectedEOF
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return n, fmt.Errorf("its zstd data needs more than %d MiB of memory; decompress it with zstd -dc --long=31", maxZstdWindow>>20)
	case errors.Is(err, xz.ErrMemlimit):
		return n, errXZMemory
	case errors.Is(err, xz.ErrBuf) && u.raw.err == io.EOF:
		return n, io.ErrUnexpectedEOF
	case u.kind == "gzip" && errors.Is(err, gzip.ErrHeader):
		return n, io.EOF // what is behind the last member is no gzip: gzip ignores it, too
	}
	return n, corrupt(fmt.Sprintf("its %s data: %v", u.kind, err))
}

// unpacking is the error for a compressed file that does not even begin well.
func (in *Reader) unpacking(kind string, err error) error {
	if in.raw.failed() {
		return in.unreadable(err)
	}
	if errors.Is(err, xz.ErrMemlimit) {
		return fmt.Errorf("%s: %w", in.name, errXZMemory)
	}
	var bad flate.CorruptInputError
	if errors.As(err, &bad) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || kind == "xz" {
		return fmt.Errorf("%s: corrupt %s data: %w", in.name, kind, err)
	}
	return fmt.Errorf("%s: reading its %s data: %w", in.name, kind, err)
}

func (in *Reader) unreadable(err error) error {
	return fmt.Errorf("reading %s: %w", in.name, err)
}

func (in *Reader) tooShort(w *window) error {
	return fmt.Errorf("%s: shorter than a capture header (%d bytes); the copy may be incomplete", in.name, w.hi)
}

// notACapture says what a file is that is no capture.
func (in *Reader) notACapture(head []byte) error {
	for _, k := range [...]struct{ magic, what, hint string }{
		{xzMagic, "compressed twice", "xz -dc"},
		{"BZh", "compressed twice", "bzip2 -dc"},
		{"\x04\x22\x4d\x18", "compressed twice", "lz4 -dc"},
		{"\x1f\x9d", "compressed by compress", "uncompress -c"},
		{"\x1f\x8b", "compressed twice", "gzip -dc"},
		{"\x28\xb5\x2f\xfd", "compressed twice", "zstd -dc"},
		{"PK\x03\x04", "a zip archive", "unzip -p"},
	} {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return fmt.Errorf("%s: %s, which tcpwatch does not decompress; try %s %s | tcpwatch ... -",
				in.name, k.what, k.hint, in.path)
		}
	}
	const tarMagicAt = 257
	switch {
	case len(head) > tarMagicAt && bytes.HasPrefix(head[tarMagicAt:], []byte("ustar")):
		return fmt.Errorf("%s: a tar archive; name a capture in it: tar -xOf %s NAME | tcpwatch ... -", in.name, in.path)
	}
	// No more than the number that tells what a file is: its name may lead to a
	// file that is nobody's business.
	return fmt.Errorf("%s: not a pcap or pcapng capture (it starts with %q)",
		in.name, head[:min(len(head), 4)])
}

// countingReader counts what is read, and remembers why it failed.
type countingReader struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if err != nil {
		c.err = err
	}
	return n, err
}

// failed reports whether the reader beneath failed, rather than ended.
func (c *countingReader) failed() bool { return c.err != nil && c.err != io.EOF }
