package pcap

import "io"

const (
	// windowSize is how much of a file is read at once. Large enough that
	// system calls do not show, small enough that what was read is still in
	// the processor's cache when it is parsed: 256 KiB measured best.
	windowSize = 256 << 10

	// MaxRecord bounds one record of a capture file. No link sends packets
	// this large; a record that claims more is corrupt.
	MaxRecord = 64 << 20
)

// A window is the part of a stream that is in memory. Parsers look at it in
// place: what peek returns is valid until the next call of peek or skip.
type window struct {
	r      io.Reader
	buf    []byte
	lo, hi int   // buf[lo:hi] is what was read and not yet consumed
	err    error // why nothing more can be read
}

func newWindow(r io.Reader) *window {
	return &window{r: r, buf: make([]byte, windowSize)}
}

// peek returns the next n octets without consuming them. If the stream ends
// before them the error is io.EOF where nothing is left at all, and
// io.ErrUnexpectedEOF where something is.
func (w *window) peek(n int) ([]byte, error) {
	if w.hi-w.lo < n {
		if err := w.fill(n); err != nil {
			return nil, err
		}
	}
	return w.buf[w.lo : w.lo+n : w.lo+n], nil
}

// ahead returns what is in memory of the stream, which may be nothing.
func (w *window) ahead() []byte { return w.buf[w.lo:w.hi] }

// consume passes over n octets that peek returned.
func (w *window) consume(n int) { w.lo += n }

// skip passes over the next n octets, in memory or not.
func (w *window) skip(n int64) error {
	for {
		have := int64(w.hi - w.lo)
		if n <= have {
			w.lo += int(n)
			return nil
		}
		n -= have
		w.lo = w.hi
		if err := w.fill(1); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
	}
}

// fill reads until n octets are in the window. The buffer grows only as
// octets arrive, so that a short file cannot ask for a large one.
func (w *window) fill(n int) error {
	copy(w.buf, w.buf[w.lo:w.hi])
	w.hi -= w.lo
	w.lo = 0
	for idle := 0; w.hi < n; {
		if w.err != nil {
			if w.err == io.EOF && w.hi > 0 {
				return io.ErrUnexpectedEOF
			}
			return w.err
		}
		if w.hi == len(w.buf) {
			grown := make([]byte, 2*len(w.buf))
			copy(grown, w.buf)
			w.buf = grown
		}
		got, err := w.r.Read(w.buf[w.hi:])
		w.hi += got
		w.err = err
		if got > 0 {
			idle = 0
		} else if idle++; idle > 100 && err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return nil
}
