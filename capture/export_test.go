package capture

import (
	"io"
	"iter"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Records counts the records of a pcap file, and looks into none.
func Records(r io.Reader) (n int, err error) {
	f, err := newPcapFile(newWindow(r))
	if err != nil {
		return 0, err
	}
	var rec record
	for {
		if err := f.next(&rec); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

// Serial is Segments on one core.
func (s *Source) Serial() iter.Seq2[*tcp.Segment, error] { return s.readAll() }

// Ahead is Segments on two.
func (s *Source) Ahead() iter.Seq2[*tcp.Segment, error] { return s.readAhead() }

// OpenFiles counts the files that are open.
func (s *Source) OpenFiles() (n int) {
	for _, in := range s.inputs {
		if in.file != nil {
			n++
		}
	}
	return n
}

// BatchSize is how many segments are handed over at once.
const BatchSize = batchSize
