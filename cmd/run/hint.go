package run

import (
	"errors"
	"fmt"
	"io"
)

// TellHint writes the way out of an error, if it has one.
func TellHint(stderr io.Writer, err error) {
	var h *hinted
	if errors.As(err, &h) {
		fmt.Fprintf(stderr, "tcpwatch: hint: %s\n", h.hint)
	}
}

// HasHint reports whether an error has a way out.
func HasHint(err error) bool {
	var h *hinted
	return errors.As(err, &h)
}

// hinted is an error with a way out.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// WithHint adds a way out to an error.
func WithHint(err error, hint string) error { return &hinted{err, hint} }
