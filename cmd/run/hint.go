package run

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// TellHint writes the way out of an error, if it has one.
func TellHint(stderr io.Writer, err error) {
	var h *hinted
	if errors.As(err, &h) {
		text.Say(stderr, "hint: %s", h.hint)
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

// plainWord is what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[-+,./0-9:=@A-Z_a-z]+$`)

// retyped writes a command as it can be typed again, without the token in it.
func retyped(args []string) string {
	const token = "--token"
	args = slices.Clone(args)
	for i, arg := range args {
		switch {
		case arg == token && i+1 < len(args):
			args[i+1] = "TOKEN"
		case strings.HasPrefix(arg, token+"="):
			args[i] = token + "=TOKEN"
		case !plainWord.MatchString(arg):
			args[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(args, " ")
}
