package taps

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"os"
	"strings"
	"sync/atomic"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// maxTaps is how many places one packet is followed through.
const maxTaps = 8

// A Tap is a place where a capture was made.
type Tap struct {
	Name  string   // what messages call it; "": its first file
	Files []string // its capture, as [capture.Open] takes it; regular files, as they are read twice

	// Open, unless nil, opens what was captured there, in the place of Files; each time
	// the same.
	Open func() (Capture, error)
}

// A Capture is what was captured at a tap, as a [capture.Source] has it.
type Capture interface {
	Segments() iter.Seq2[*tcp.Segment, error]
	Stats() capture.Stats
	Stop()
	Close() error
}

// open opens it.
func (t *Tap) open(o capture.Options) (Capture, error) {
	if t.Open != nil {
		return t.Open()
	}
	src, err := capture.Open(t.Files, o)
	if err != nil {
		return nil, err // of a nil Source no Capture
	}
	return src, nil
}

// name returns what messages call the tap.
func (t *Tap) name() string {
	if t.Name != "" || len(t.Files) == 0 {
		return t.Name
	}
	return t.Files[0]
}

// label returns the tap and its files, for errors.
func (t *Tap) label() string {
	switch {
	case t.Name == "":
		return strings.Join(t.Files, ", ")
	case t.Open != nil:
		return t.Name
	}
	return fmt.Sprintf("%s (%s)", t.Name, strings.Join(t.Files, ", "))
}

// Options say how to read the captures. The zero value reads everything.
type Options struct {
	// Capture is how each of them is read. Since and Until are moments of the merged
	// stream, by the clock of the first tap. Part is not called.
	Capture capture.Options

	// AtEnds says that the first and the last tap on the path are on the hosts
	// themselves: what is captured there has left, or has arrived. That is for who
	// follows the segments; merging is the same.
	AtEnds bool
}

// A Source reads captures of several places as one. Its methods are for one
// goroutine, except Stop; Stats, Frames and Between may be called from the loop over
// Segments.
type Source struct {
	options Options
	list    []Tap
	survey  *survey
	merger  *merger
	stopped atomic.Bool
}

// Open opens captures of the same traffic, one for each tap, and reads them once: for
// the packets that they share, their clocks, and their places on the path. There must
// be two taps at least. The error says which file or tap is wrong, and what to do
// about it.
func Open(list []Tap, o Options) (*Source, error) {
	if len(list) < 2 || len(list) > maxTaps {
		return nil, fmt.Errorf("%d captures: must be 2 to %d, of the same traffic at different places", len(list), maxTaps)
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return nil, err
		}
	}
	if o.Capture.Payload && o.Capture.Seed == (maphash.Seed{}) {
		o.Capture.Seed = maphash.MakeSeed()
	}
	s := &Source{options: o, list: list}
	var err error
	if s.survey, err = newSurvey(list, o); err != nil {
		return nil, err
	}
	if s.merger, err = newMerger(list, o, s.survey, &s.stopped); err != nil {
		return nil, err
	}
	return s, nil
}

// check reports whether the files of a tap can be read twice.
func (t *Tap) check() error {
	if t.Open != nil {
		return nil
	}
	if len(t.Files) == 0 {
		return fmt.Errorf("tap %q has no files", t.Name)
	}
	for _, path := range t.Files {
		if path == "-" {
			return fmt.Errorf("%s: standard input cannot be read twice, as captures of several taps are; write it to a file first", t.label())
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() && !info.IsDir() {
			return fmt.Errorf("%s: is not a regular file, and captures of several taps are read twice; write it to a file first", path)
		}
	}
	return nil
}

// Segments reads the captures, once, as [capture.Source.Segments] does: a segment and
// its Twin are lent for a step of the loop, and an error ends it. Segments are in the
// order of the first tap's clock, which never runs back: each tap's own order is kept,
// and none comes near its receiver before it left its sender. All segments of a
// connection have the addresses, ports and sequence numbers that the tap next to its
// client captured.
func (s *Source) Segments() iter.Seq2[*tcp.Segment, error] { return s.merger.segments }

// Stats returns what was read so far, of all captures together, up to the segment that
// the loop is at, or the window of packets more. Times are by the clock of the first
// tap. Warnings begin with the name of their tap.
func (s *Source) Stats() capture.Stats { return s.merger.stats() }

// Stop ends the loop over Segments before the next segment. It may be called from
// another goroutine, at any time.
func (s *Source) Stop() {
	s.stopped.Store(true)
	for i := range s.merger.queues {
		s.merger.queues[i].source.Stop()
	}
}

// Lost returns how many packets those captures have lost so far that say so, and by when
// at the latest.
func (s *Source) Lost() (packets int64, by tcp.Time) {
	for i := range s.merger.queues {
		q := &s.merger.queues[i]
		if l, ok := q.source.(interface{ Lost() (int64, tcp.Time) }); ok {
			n, at := l.Lost()
			packets, by = packets+n, max(by, q.clock.Other(at))
		}
	}
	return packets, by
}

// Frames returns the frames of a packet of the merged stream, in the order of the list
// of taps: its number in the capture of each, and 0 where it is not there. nil: there is
// no packet of that number yet.
func (s *Source) Frames(packet int) []int { return s.merger.frames.Of(packet) }

// Between returns what happened between the taps. It is final after the loop over
// Segments, and not to be changed.
func (s *Source) Between() *Between { return s.merger.between() }

// Close closes the captures. It is safe to call more than once.
func (s *Source) Close() error {
	s.Stop()
	return errors.Join(s.merger.close()...)
}
