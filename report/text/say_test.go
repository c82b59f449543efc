package text

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestSay(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("x: no such file"), "tcpwatch: x: no such file\n"},
		{errors.New("\x1b[2J\nx"), "tcpwatch: \\x1b[2J\\nx\n"},
		{errors.New("what\n  where\n    ^"), "tcpwatch: what\n  where\n    ^\n"},
		{errors.New("what\n  ::error::x"), "tcpwatch: what\n  \\x3a:error::x\n"},
		{errors.Join(errors.New("one"), errors.New("two\nthree")), "tcpwatch: one\ntcpwatch: two\\nthree\n"},
		{fmt.Errorf("%w and %w", errors.New("one"), errors.New("two")), "tcpwatch: one and two\n"},
	} {
		var b strings.Builder
		SayError(&b, test.err)
		if b.String() != test.want {
			t.Errorf("%q: got %q, want %q", test.err, b.String(), test.want)
		}
	}
}

// What GitHub takes for a command is written so that it does not; addresses are left
// as they are.
func TestEscapedCommands(t *testing.T) {
	for s, want := range map[string]string{
		"::error::x": `\x3a:error::x`, "  ::add-mask::x": `  \x3a:add-mask::x`, "::notice title=a::x": `\x3a:notice title=a::x`, "##[error]x": `##\x5berror]x`, "a ##[error]x": `a ##\x5berror]x`,
		"::1": "::1", "::": "::", "::ffff:10.0.0.1": "::ffff:10.0.0.1", "fe80::1": "fe80::1", "a::error::b": "a::error::b", "# [x]": "# [x]",
	} {
		if got := Escape(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
