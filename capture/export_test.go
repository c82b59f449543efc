package capture

import (
	"iter"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

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
