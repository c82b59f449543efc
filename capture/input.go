package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync/atomic"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An input is one capture file, or what somebody else has opened.
type input struct {
	name    string // as error messages call it
	path    string
	from    io.Reader    // what it reads if that is no file to be opened; else nil
	stopped *atomic.Bool // it ends here
	size    int64        // 0: not known, because it is no regular file
	regular bool         // it can be closed and opened again
	pipe    bool         // it may pause, and what it delivered is not to be kept back

	file     *os.File      // that was opened here; nil when closed
	reader   *pcap.Reader  // nil: not open
	first    tcp.Time      // of the first packet, once lookAhead was called
	stamps   bool          // its stamps are looked at as it is read, and not before
	disorder pcap.Disorder // of all, or as far as it was read
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
	err := in.examine(r)
	if err == nil {
		in.reader, err = pcap.NewReader(&stoppable{r, in.stopped}, in.name, in.path)
	}
	if err != nil {
		in.close()
		return err
	}
	if !in.pipe {
		in.reader.Place()
	}
	return nil
}

// A stoppable ends when it is stopped: a capture can be long and have no packet.
type stoppable struct {
	io.Reader
	stopped *atomic.Bool
}

func (s *stoppable) Read(b []byte) (int, error) {
	if s.stopped.Load() {
		return 0, io.EOF
	}
	return s.Reader.Read(b)
}

// ReadAt is for formats that are read at any place.
func (s *stoppable) ReadAt(b []byte, at int64) (int, error) {
	r, can := s.Reader.(io.ReaderAt)
	switch {
	case !can:
		return 0, errors.ErrUnsupported
	case s.stopped.Load():
		return 0, io.EOF
	}
	return r.ReadAt(b, at)
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
		return fmt.Errorf("%s: is a directory, not a capture; name the files in it", in.name)
	}
	in.pipe = !info.Mode().IsRegular()
	if in.regular = info.Mode().IsRegular() && in.from == nil; in.regular {
		in.size = info.Size()
	}
	return nil
}

// lookAhead finds out when the first packet was captured, so that files can be
// ordered. A file that can be opened again is closed until it is its turn, so
// that any number of them can be read.
func (in *input) lookAhead() error {
	var r pcap.Record
	empty := in.reader.Next(&r) != nil
	if in.first = r.Time; empty {
		in.first = math.MaxInt64 // the end is as good a place as any
	}
	if in.regular {
		return in.close()
	}
	if !empty {
		in.reader.Unread(r)
	}
	return nil
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

// look looks at the stamps of a file, and has it read in their order if they are out
// of order.
func (in *input) look() error {
	f, err := os.Open(in.path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := pcap.NewReader(&stoppable{f, in.stopped}, in.name, in.path)
	switch {
	case err != nil && in.stopped.Load():
		return nil
	case err != nil:
		return err
	}
	defer r.Close()
	if in.disorder = r.Look(); in.disorder.Found() {
		in.reader.Sort(in.disorder)
	}
	return nil
}

// sorted is how many of its packets were put in order, as far as it was read.
func (in *input) sorted() int {
	if in.reader == nil {
		return 0
	}
	return in.reader.Sorted()
}

// position is how much of the file was read, as it is on disk.
func (in *input) position() int64 {
	if in.reader == nil {
		return 0
	}
	return in.reader.Position()
}

// misdated returns which of its packets were stamped wrong, as far as it was read.
func (in *input) misdated() pcap.Misdated {
	if in.reader == nil {
		return pcap.Misdated{}
	}
	return in.reader.Misdated()
}

// close closes the file. What somebody else has opened is left to its owner.
func (in *input) close() error {
	if in.reader != nil {
		in.reader.Close()
	}
	if in.file == nil {
		return nil
	}
	f := in.file
	in.file, in.reader = nil, nil
	return f.Close()
}
