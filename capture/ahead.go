package capture

import (
	"iter"
	"runtime"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// With a second core the capture is read and decoded on a goroutine of its own
// while the loop over the segments works on those before. They are handed over
// in batches, which go round: a channel operation for each segment costs as
// much as decoding it. Of long flows reading is 45 % of the work, so that what
// remains to the loop takes 0.65 of the time. Only files are read this way: what
// comes from a pipe may pause, and then a batch that is not full would keep back
// what came.

const (
	// batchSize is how many segments are handed over at once, and batches how many
	// such are under way. With 4 of them the two sides waited for each other 7,500
	// times in 5 million segments, and took longer than one alone; with 16, 300
	// times. More, or larger ones, are no better.
	batchSize = 512
	batches   = 16

	// namesSize is how many names are handed over at once, at least: of a capture
	// without TCP there would be no end to them.
	namesSize = 1024

	// readAheadFrom is how many octets a capture has, at least, that it is
	// worthwhile for: reading it takes ten times as long as making the batches.
	readAheadFrom = 256 << 10
)

// A batch is segments on their way.
type batch struct {
	segments [batchSize]tcp.Segment
	n        int
	named    []namedAt
	stats    Stats // when the last of them was read
	err      error // that ended the reading behind them
}

// A namedAt is a name that comes before a segment of a batch, or at its end.
type namedAt struct {
	Named
	at     tcp.Time
	before int
}

// ahead is the state of reading ahead.
type ahead struct {
	stats   Stats // of the newest batch that the loop was given
	reading bool  // they are what Stats returns

	// Of who fills the batches.
	batch *batch
	next  func() bool // hands it over and takes another; false: there is none
}

// worthReadingAhead reports whether there are the core and the files for it.
func (s *Source) worthReadingAhead() bool {
	return runtime.GOMAXPROCS(0) > 1 && s.size >= readAheadFrom // of a pipe the size is not known
}

// readAhead is readAll on another goroutine.
func (s *Source) readAhead() iter.Seq2[*tcp.Segment, error] {
	return func(yield func(*tcp.Segment, error) bool) {
		free, full := make(chan *batch, batches), make(chan *batch, batches)
		for range batches {
			free <- new(batch)
		}
		s.ahead.reading = true
		go s.fill(free, full)
		defer func() { // the goroutine ends, and has closed the files, before the loop does
			s.Stop()
			close(free)
			for range full {
			}
		}()
		for b := range full {
			s.ahead.stats = b.stats
			named := b.named
			for i := range b.segments[:b.n] {
				if len(named) > 0 {
					named = s.nameUpTo(named, i)
				}
				if !yield(&b.segments[i], nil) {
					return
				}
			}
			s.nameUpTo(named, b.n)
			if b.err != nil {
				yield(nil, b.err)
				return
			}
			free <- b
		}
	}
}

// nameUpTo tells of the names that come before segment i of a batch, and returns
// the others.
func (s *Source) nameUpTo(named []namedAt, i int) []namedAt {
	for len(named) > 0 && named[0].before <= i {
		s.options.Named(&named[0].Named, named[0].at)
		named = named[1:]
	}
	return named
}

// fill reads the capture into batches, until there is none to be had any more.
func (s *Source) fill(free <-chan *batch, full chan<- *batch) {
	defer close(full)
	a := &s.ahead
	hand := func() {
		a.batch.stats = s.count()
		full <- a.batch
	}
	take := func() bool {
		b := <-free
		if a.batch = b; b == nil {
			return false
		}
		b.n, b.named, s.segment = 0, b.named[:0], &b.segments[0]
		return true
	}
	a.next = func() bool {
		hand()
		return take()
	}
	take()
	for _, err := range s.readAll() {
		b := a.batch
		if b.err = err; err != nil {
			break
		}
		if b.n++; b.n < batchSize {
			s.segment = &b.segments[b.n]
			continue
		}
		if !a.next() {
			return
		}
	}
	if a.batch != nil {
		hand()
	}
}
