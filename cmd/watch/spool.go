package watch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tcpwatch/tcpwatch/capture"
)

// A Spool makes captures readable more than once, among which there may be
// standard input.
type Spool struct {
	input *os.File // nil: none is standard input
	start int64
	kept  bool // input is a temporary file
}

// NewSpool returns the Spool of the files: where "-" is among them and is a pipe,
// it is copied to a temporary file, from which o has it read.
func NewSpool(files []string, o *capture.Options) (*Spool, error) {
	if !slices.Contains(files, "-") {
		return new(Spool), nil
	}
	if info, err := os.Stdin.Stat(); err == nil && info.Mode().IsRegular() {
		start, err := os.Stdin.Seek(0, io.SeekCurrent)
		return &Spool{input: os.Stdin, start: start}, err
	}
	kept, err := os.CreateTemp("", "tcpwatch-*")
	if err != nil {
		return nil, fmt.Errorf("keeping standard input, which is read twice: %w", err)
	}
	s := &Spool{input: kept, kept: true}
	_, err = io.Copy(kept, os.Stdin)
	if err = errors.Join(err, s.Rewind()); err != nil {
		s.Close()
		return nil, fmt.Errorf("keeping standard input, which is read twice: %w", err)
	}
	o.Stdin = kept
	return s, nil
}

// Rewind goes back to the start of standard input, before it is read once more.
func (s *Spool) Rewind() error {
	if s.input == nil {
		return nil
	}
	_, err := s.input.Seek(s.start, io.SeekStart)
	return err
}

// Close takes the temporary file away.
func (s *Spool) Close() {
	if s.kept {
		s.input.Close()
		os.Remove(s.input.Name())
	}
}
