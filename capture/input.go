package capture

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// maxZstdWindow bounds the memory that a zstd stream may ask for. It is what
// zstd --long writes at most, and what the zstd command accepts by default.
const maxZstdWindow = 128 << 20

// An input is one capture file, or what somebody else has opened.
type input struct {
	name    string // as error messages call it
	path    string
	from    io.Reader // what it reads if that is no file to be opened; else nil
	size    int64     // 0: not known, because it is no regular file
	regular bool      // it can be closed and opened again

	file   *os.File // that was opened here; nil when closed
	raw    *countingReader
	zstd   *zstd.Decoder
	format format
	first  tcp.Time // of the first packet, once lookAhead was called
}

// open opens the file, if it is one, and reads the header.
func (in *input) open() error {
	r := in.from
	if r == nil {
		f, err := os.Open(in.path)
		if err != nil {
			return err
		}
		in.file, r = f, f
	}
	if err := in.examine(r); err != nil {
		in.close()
		return err
	}
	if err := in.start(r); err != nil {
		in.close()
		return err
	}
	return nil
}

// examine asks the system what it is, if it is a file.
func (in *input) examine(r io.Reader) error {
	f, is := r.(*os.File)
	if !is {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s: a directory, not a capture: name the files in it", in.name)
	}
	if in.regular = info.Mode().IsRegular() && in.from == nil; in.regular {
		in.size = info.Size()
	}
	return nil
}

// start reads the header of a capture from r.
func (in *input) start(r io.Reader) error {
	in.raw = &countingReader{r: r}
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
	case be32(head) == blockSection:
		in.format, err = openFormat(newPcapngFile(w))
	case isPcap(head):
		in.format, err = openFormat(newPcapFile(w))
	default:
		if _, err := w.peek(16); err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			return in.unreadable(err)
		}
		return in.notACapture(w.buf[w.lo:w.hi])
	}
	var d *damage
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &d) && !d.corrupt:
		return in.tooShort(w)
	case errors.As(err, &d):
		return fmt.Errorf("%s: %w", in.name, err)
	case in.raw.err != nil && in.raw.err != io.EOF:
		return in.unreadable(err)
	}
	return fmt.Errorf("%s: %w", in.name, err)
}

// openFormat makes the interface of a format, nil when there is an error.
func openFormat[F format](f F, err error) (format, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// decompress tells by its first octets whether the file is compressed, and
// returns what is in it.
func (in *input) decompress() (io.Reader, error) {
	b := bufio.NewReaderSize(in.raw, 64<<10)
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
		return &unpacked{z, in.raw, "gzip"}, nil
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
		return &unpacked{z, in.raw, "zstd"}, nil
	}
	return b, nil
}

// isZstd recognizes a zstd frame and, since pzstd begins with one, a frame to
// be skipped (RFC 8878 §3.1).
func isZstd(head []byte) bool {
	return bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18})
}

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
		return n, fmt.Errorf("its zstd data needs more than %d MiB of memory: unpack it with zstd -dc --long=31", maxZstdWindow>>20)
	case u.kind == "gzip" && errors.Is(err, gzip.ErrHeader):
		return n, io.EOF // what is behind the last member is no gzip: gzip ignores it, too
	}
	return n, corrupt(fmt.Sprintf("its %s data: %v", u.kind, err))
}

// unpacking is the error for a compressed file that does not even begin well.
func (in *input) unpacking(kind string, err error) error {
	if in.raw.failed() {
		return in.unreadable(err)
	}
	var bad flate.CorruptInputError
	if errors.As(err, &bad) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		return fmt.Errorf("%s: corrupt %s data: %w", in.name, kind, err)
	}
	return fmt.Errorf("%s: reading its %s data: %w", in.name, kind, err)
}

func (in *input) unreadable(err error) error {
	return fmt.Errorf("reading %s: %w", in.name, err)
}

func (in *input) tooShort(w *window) error {
	return fmt.Errorf("%s: shorter than the header of a capture (%d octets): was it copied whole?", in.name, w.hi)
}

// notACapture says what a file is that is no capture.
func (in *input) notACapture(head []byte) error {
	for _, k := range [...]struct{ magic, what, hint string }{
		{"\xfd7zXZ\x00", "compressed by xz", "xz -dc"},
		{"BZh", "compressed by bzip2", "bzip2 -dc"},
		{"\x04\x22\x4d\x18", "compressed by lz4", "lz4 -dc"},
		{"\x1f\x9d", "compressed by compress", "uncompress -c"},
		{"\x1f\x8b", "compressed twice", "gzip -dc"},
		{"\x28\xb5\x2f\xfd", "compressed twice", "zstd -dc"},
		{"PK\x03\x04", "a zip archive", "unzip -p"},
	} {
		if bytes.HasPrefix(head, []byte(k.magic)) {
			return fmt.Errorf("%s: %s, which tcpwatch does not unpack: try %s %s | tcpwatch ... -",
				in.name, k.what, k.hint, in.path)
		}
	}
	if bytes.HasPrefix(head, []byte("snoop\x00\x00\x00")) {
		return fmt.Errorf("%s: a snoop capture: convert it with editcap -F pcapng", in.name)
	}
	return fmt.Errorf("%s: not a pcap or pcapng capture (it starts with %q)",
		in.name, head[:min(len(head), 16)])
}

// lookAhead finds out when the first packet was captured, so that files can be
// ordered. A file that can be opened again is closed until it is its turn, so
// that any number of them can be read.
func (in *input) lookAhead() error {
	var r record
	if err := in.format.next(&r); err == nil {
		in.first = r.time
	} else {
		in.first = math.MaxInt64 // nothing in it: the end is as good a place as any
	}
	if !in.regular {
		in.format = &prepended{format: in.format, record: r, pending: in.first != math.MaxInt64}
		return nil
	}
	return in.close()
}

// prepended gives back the record that lookAhead took. The record is in the
// window still, because nothing was read since.
type prepended struct {
	format
	record  record
	pending bool
}

func (p *prepended) next(r *record) error {
	if p.pending {
		*r, p.pending = p.record, false
		return nil
	}
	return p.format.next(r)
}

// sortInputs orders inputs by their first packets.
func sortInputs(inputs []*input) {
	slices.SortStableFunc(inputs, func(a, b *input) int { return cmp.Compare(a.first, b.first) })
}

// reopen opens the file again if lookAhead closed it.
func (in *input) reopen() error {
	if in.file != nil || in.from != nil {
		return nil
	}
	return in.open()
}

// position is how much of the file was read, as it is on disk.
func (in *input) position() int64 {
	if in.raw == nil {
		return 0
	}
	return in.raw.n
}

// close closes the file. What somebody else has opened is left to its owner.
func (in *input) close() error {
	if in.zstd != nil {
		in.zstd.Close()
		in.zstd = nil
	}
	if in.file == nil {
		return nil
	}
	f := in.file
	in.file = nil
	return f.Close()
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
