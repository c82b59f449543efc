package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text in JSON.

// AppendComma appends the comma between two items, if there is one before.
func AppendComma(b []byte) []byte {
	if last := b[len(b)-1]; last == '{' || last == '[' {
		return b
	}
	return append(b, ',')
}

// escapedInJSON reports whether appendString writes r as anything but itself.
func escapedInJSON(r rune) bool {
	switch {
	case r == '"' || r == '\\':
		return true
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	}
	return r == utf8.RuneError || Unprintable(r)
}

// AppendString appends s quoted. What Escape would not let through to a
// terminal is escaped in JSON's own way, and bytes that are no UTF-8 become
// U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	if !strings.ContainsFunc(s, escapedInJSON) {
		return append(append(b, s...), '"')
	}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case !escapedInJSON(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff && Unprintable(r):
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
