package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Save says where the packets of the selected connections are written.
type Save struct {
	Path       string // "": nowhere
	NoComments bool   // leave out what is said of each packet
}

// A saver writes the packets of the selected connections, once the captures were
// read and it is known which these are, and what became of them: for that the
// captures are read once more. A nil saver writes nothing.
type saver struct {
	Save
	file   *capture.Copy
	failed error
}

// open sees whether the file can be written, and the captures read twice.
func (s Save) open(r *Reading) (*saver, error) {
	if s.Path == "" {
		return nil, nil
	}
	for _, path := range r.Files {
		if info, err := os.Stat(path); path != "-" && err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			return nil, WithHint(fmt.Errorf("-w reads a capture twice, but %s is a pipe", text.Escape(path)),
				fmt.Sprintf("use standard input, which is kept for the second reading: tcpwatch ... -w %s - < %s", text.Escape(s.Path), text.Escape(path)))
		}
	}
	file, err := capture.CreateCopy(s.Path, r.Files, r.Capture)
	if err != nil {
		return nil, fmt.Errorf("-w: %w", err)
	}
	return &saver{Save: s, file: file}, nil
}

// notes returns what learns which packets are to be written of the captures that r
// reads next, and what is to be said of them.
func (s *saver) notes(r *Reading) *notes {
	if s == nil {
		return nil
	}
	n := &notes{ladder.NewComments()}
	r.Capture.Part = n.Part
	return n
}

// write writes the packets that n tells of, if the captures were read to their end.
// That they could not be written is an error of close: what is printed is printed all
// the same.
func (s *saver) write(ctx context.Context, r *Reading, spool *watch.Spool, n *notes) error {
	if s == nil || s.failed != nil {
		return nil
	}
	if ctx.Err() != nil {
		text.Say(r.Stderr, "interrupted: nothing was written to %s", text.Escape(s.Path))
		return nil
	}
	if slices.Contains(r.Files, "-") { // else another may be reading it
		if err := spool.Rewind(); err != nil {
			return err
		}
	}
	o := r.Capture
	o.Part = nil
	err := s.file.Add(ctx, r.Files, o, func(frame int) (string, bool) {
		comment, ok := n.Of(frame)
		if s.NoComments {
			comment = ""
		}
		return comment, ok
	})
	if errors.Is(err, context.Canceled) {
		text.Say(r.Stderr, "interrupted: %s lacks the rest", text.Escape(s.Path))
		return nil
	}
	s.failed = err
	return nil
}

// close closes the file.
func (s *saver) close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.failed, s.file.Close())
}

// notes are the comments on the packets of one capture. Nil notes take nothing.
type notes struct{ *ladder.Comments }

// on has the notes told what the sink is; of connections connection tells them.
func (n *notes) on(s watch.Sink) watch.Sink {
	if n == nil {
		return s
	}
	s.Segment, s.Still = n.Take, false
	event := s.Event
	s.Event = func(e *tracker.Event) error {
		n.Event(e)
		return event(e)
	}
	return s
}

// connection tells the notes of a connection, and whether it is selected.
func (n *notes) connection(r *tracker.Record, selected bool) {
	if n != nil {
		n.Connection(r, selected)
	}
}
