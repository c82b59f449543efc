// Package text writes what people read: text that cannot steer a terminal, times
// and numbers in few digits, colours, and tables of text.
//
// Nothing that came from a packet or a file name reaches an output unescaped
// (Escape). Colour is added after the layout, and never says what the text does
// not say.
package text

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A TimeStyle is how tables write times. Records are always in UTC.
type TimeStyle uint8

const (
	UTC      TimeStyle = iota // 2026-01-02T03:04:05.123456Z
	Local                     // 2026-01-02T04:04:05.123456+01:00
	Relative                  // +12.500000, in seconds from the first packet
)

var timeStyles = []string{"utc", "local", "relative"}

// ParseTimeStyle reads the name of a TimeStyle: utc, local or relative.
func ParseTimeStyle(s string) (TimeStyle, error) {
	for i, name := range timeStyles {
		if name == s {
			return TimeStyle(i), nil
		}
	}
	return UTC, fmt.Errorf("unknown time style %q (%s)", Escape(s), strings.Join(timeStyles, ", "))
}

// Format writes t for people, in microseconds; first is the capture's first
// packet.
func (s TimeStyle) Format(t, first tcp.Time) string {
	const layout = "2006-01-02T15:04:05.000000Z07:00"
	switch s {
	case Local:
		return t.Std().Local().Format(layout)
	case Relative:
		return fmt.Sprintf("%+.6f", t.Sub(first).Seconds())
	}
	return t.Std().Format(layout)
}

// AppendTime appends t in RFC 3339, UTC, always with nine digits of a second.
func AppendTime(b []byte, t tcp.Time) []byte {
	const day = 24 * 60 * 60
	second, rest := floorDiv(int64(t), 1e9)
	date, second := floorDiv(second, day)
	b = append(b, dateOf(date)...)
	b = appendDigits(append(b, 'T'), second/3600, 2)
	b = appendDigits(append(b, ':'), second/60%60, 2)
	b = appendDigits(append(b, ':'), second%60, 2)
	b = appendDigits(append(b, '.'), rest, 9)
	return append(b, 'Z')
}

// A date is a day since 1970, and its text.
type date struct {
	day  int64
	text string
}

// newestDate is the one that was last asked for: nearly all times of a capture are
// of one day, and to find it out took most of the time that a record took.
var newestDate atomic.Pointer[date]

// dateOf returns the text of a day since 1970.
func dateOf(day int64) string {
	d := newestDate.Load()
	if d == nil || d.day != day {
		d = &date{day, time.Unix(day*24*60*60, 0).UTC().Format(time.DateOnly)}
		newestDate.Store(d)
	}
	return d.text
}

// floorDiv divides, and returns the rest, which is not negative.
func floorDiv(n, by int64) (quotient, rest int64) {
	quotient, rest = n/by, n%by
	if rest < 0 {
		return quotient - 1, rest + by
	}
	return quotient, rest
}

// appendDigits appends n with that many digits.
func appendDigits(b []byte, n int64, digits int) []byte {
	at := len(b)
	b = append(b, "000000000"[:digits]...)
	for i := at + digits - 1; n > 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
	return b
}

// AppendSeconds appends d in seconds, exactly, without trailing zeros.
func AppendSeconds(b []byte, d time.Duration) []byte {
	n := uint64(d)
	if d < 0 {
		b = append(b, '-')
		n = -n
	}
	b = strconv.AppendUint(b, n/1e9, 10)
	rest := n % 1e9
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for unit := uint64(1e8); rest > 0; unit /= 10 {
		b = append(b, '0'+byte(rest/unit))
		rest %= unit
	}
	return b
}

// Human writes a duration in about three digits: 85us, 10.2ms, 620ms, 12.3s,
// 4m05s, 2h05m, 3d04h.
func Human(d time.Duration) string {
	if d < 0 {
		return "-" + Human(-d)
	}
	unit := func(d, unit time.Duration, name string) string {
		n := float64(d) / float64(unit)
		digits := 0
		switch {
		case n < 9.995:
			digits = 2
		case n < 99.95:
			digits = 1
		}
		s := strconv.FormatFloat(n, 'f', digits, 64)
		if digits > 0 {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s + name
	}
	pair := func(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
		return fmt.Sprintf("%d%s%02d%s", d/big, bigName, d%big/small, smallName)
	}
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0s"
	case d < time.Microsecond:
		return unit(d, time.Nanosecond, "ns")
	case d < time.Millisecond:
		return unit(d, time.Microsecond, "us")
	case d < time.Second:
		return unit(d, time.Millisecond, "ms")
	case d < time.Minute:
		return unit(d, time.Second, "s")
	case d < time.Hour:
		return pair(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return pair(d, time.Hour, "h", time.Minute, "m")
	}
	return pair(d, day, "d", time.Hour, "h")
}

// Left writes how long something still lasts, in whole seconds: 24 s left.
func Left(d time.Duration) string {
	return Thousands(uint64(max(d+time.Second-1, 0)/time.Second)) + " s left"
}

// Timer writes a running timer as ss -o does: timewait,58sec. (Except that
// ss writes a second and a half "1.500ms".)
func Timer(t tracker.Timer) string {
	kind := t.Kind
	if kind == "2msl" {
		kind = "timewait"
	}
	ms := t.Remaining.Milliseconds()
	var left string
	switch {
	case ms >= 10*60_000:
		left = fmt.Sprintf("%dmin", ms/60_000)
	case ms >= 60_000:
		left = fmt.Sprintf("%dmin", ms/60_000)
		if s := ms % 60_000 / 1000; s > 0 {
			left += fmt.Sprintf("%dsec", s)
		}
	case ms >= 10_000 || ms >= 1000 && ms%1000 == 0:
		left = fmt.Sprintf("%dsec", ms/1000)
	case ms >= 1000:
		left = fmt.Sprintf("%d.%03dsec", ms/1000, ms%1000)
	default:
		left = fmt.Sprintf("%dms", ms)
	}
	return kind + "," + left
}

// Protocol names the address family as netstat does.
func Protocol(end netip.AddrPort) string {
	if end.Addr().Is4() {
		return "tcp"
	}
	return "tcp6"
}

// AssumedMark follows a state that is only assumed.
const AssumedMark = "?"

// State writes the state of an end as every table does.
func State(e *tracker.EndRecord) string {
	if e.Certainty == tcp.Assumed && e.State != tcp.Unknown {
		return e.State.String() + AssumedMark
	}
	return e.State.String()
}

// mostOfName is how many characters of a name stand beside an address, the last.
const mostOfName = 40

// Address returns the address and port of an end, with its name behind it if that
// is known and asked for.
func Address(e *tracker.EndRecord, names bool) string {
	if !names {
		return e.Addr.String()
	}
	return Named(e.Addr.String(), e.Name)
}

// Named returns an address with the name behind it that it is said to have, if
// there is one; of several the first, and that there are more.
func Named(addr string, names ...string) string {
	if len(names) == 0 || names[0] == "" {
		return addr
	}
	name := HostName(names[0])
	if len(name) > mostOfName {
		name = "..." + name[len(name)-mostOfName+3:]
	}
	if len(names) > 1 {
		name += ", ..."
	}
	return addr + " (" + name + ")"
}

// HostName returns a name of a host as it is shown. Whoever sent the packet chose
// it: what no such name has is escaped, so that it can neither end the brackets
// that it stands in and go on as another column, nor turn the line round.
func HostName(s string) string {
	plain := func(b byte) bool { return b > ' ' && b < 0x7f && b != '(' && b != ')' }
	var b strings.Builder
	for i := range len(s) {
		if plain(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		}
	}
	return b.String()
}

// Escape returns s with everything that is not printable written as Go escapes
// it (\n, \x1b, \u202e), and so what would be a command to GitHub: text from a
// packet or a file name can then neither steer a terminal or a workflow nor break a
// line.
func Escape(s string) string {
	if strings.Contains(s, "##[") {
		s = strings.ReplaceAll(s, "##[", `##\x5b`)
	}
	if command := strings.TrimLeft(s, " "); strings.HasPrefix(command, "::") && workflowCommand.MatchString(command) {
		s = s[:len(s)-len(command)] + `\x3a` + command[1:]
	}
	if !strings.ContainsFunc(s, Unprintable) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case Unprintable(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// workflowCommand is a line that a workflow of GitHub's obeys: ::error file=x::text.
// An IPv6 address is none.
var workflowCommand = regexp.MustCompile(`^::[A-Za-z-]+( |::)`)

// Say writes what people are told beside the output: one line a matter. More lines
// are only those that the message indents.
func Say(w io.Writer, format string, args ...any) {
	lines := strings.Split(fmt.Sprintf(format, args...), "\n  ")
	for i := range lines {
		lines[i] = Escape(lines[i])
	}
	fmt.Fprintf(w, "tcpwatch: %s\n", strings.Join(lines, "\n  "))
}

// SayError is Say of an error; of several that were joined each is a matter.
func SayError(w io.Writer, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		for _, err := range joined.Unwrap() {
			SayError(w, err)
		}
		return
	}
	Say(w, "%v", err)
}

// Unprintable reports whether a rune could do more than show itself: controls,
// and marks that turn the direction of text.
func Unprintable(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return !unicode.IsPrint(r)
}

// Plural writes a number with what it counts.
func Plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatUint(n, 10) + " " + many
}

// wrap breaks text into lines of at most width columns, between words; a word
// that is longer has a line of its own. A width of 0 is no limit.
func wrap(text string, width int) []string {
	if width <= 0 {
		return []string{text}
	}
	var lines []string
	line, length := "", 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case line == "":
			line, length = word, n
		case length+1+n <= width:
			line, length = line+" "+word, length+1+n
		default:
			lines = append(lines, line)
			line, length = word, n
		}
	}
	return append(lines, line)
}

// WriteWrapped writes text after an indent, broken to the width of the terminal.
func WriteWrapped(out *bufio.Writer, indent, text string, width int, c Color) {
	if width > 0 {
		width = max(width-len(indent), 20)
	}
	for _, line := range wrap(text, width) {
		WriteLine(out, indent+c.Paint(line))
	}
}

// WriteParts writes the parts of a line after an indent, with a Gap between two. On
// a narrow terminal it breaks between parts.
func WriteParts(out *bufio.Writer, indent string, parts []string, width int) {
	line := indent
	for i, part := range parts {
		switch {
		case i == 0:
			line += part
		case width > 0 && utf8.RuneCountInString(line+Gap+part) > width:
			WriteLine(out, line)
			line = indent + Gap + part
		default:
			line += Gap + part
		}
	}
	WriteLine(out, line)
}

// WriteLine writes text and a line break. out keeps the first error.
func WriteLine(out *bufio.Writer, text string) error {
	out.WriteString(text)
	return out.WriteByte('\n')
}

// JoinEscaped escapes the words and joins them.
func JoinEscaped(words []string, sep string) string {
	for i, w := range words {
		words[i] = Escape(w)
	}
	return strings.Join(words, sep)
}

// Lines returns the lines that write writes.
func Lines(write func(*bufio.Writer)) []string {
	var b bytes.Buffer
	out := bufio.NewWriter(&b)
	write(out)
	out.Flush() // into memory: no error
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// Thousands writes a number with commas: 28,232.
func Thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Octets writes a number of octets in about two digits: 512 B, 1.6 MB.
func Octets(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1e3, "kB"
	for _, larger := range []string{"MB", "GB", "TB"} {
		if f < 999.5 {
			break
		}
		f, unit = f/1e3, larger
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %s", f, unit)
	}
	return fmt.Sprintf("%.0f %s", f, unit)
}

// shownFrames is how many frames of a list are shown.
const shownFrames = 8

// Frames writes frame numbers: 8,10,11. Of a long list it writes the first
// ones and the last.
func Frames(frames []int) string {
	var b strings.Builder
	for i, n := range frames {
		if len(frames) > shownFrames && i == shownFrames-1 {
			return b.String() + ",..," + strconv.Itoa(frames[len(frames)-1])
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// Places writes where packets of several captures are, by capture: "client 12,13; server
// 10". A packet that several have is told of with the first of them.
func Places(list []tcp.Place) string {
	var taps []string
	frames := map[string][]int{}
	for _, p := range list {
		if frames[p.Tap] == nil {
			taps = append(taps, p.Tap)
		}
		frames[p.Tap] = append(frames[p.Tap], p.Packet)
	}
	for i, tap := range taps {
		taps[i] = Escape(tap) + " " + Frames(frames[tap])
	}
	return strings.Join(taps, "; ")
}

// Next is before what to do about a finding.
const Next = "Next: "

// WithNext returns the sentence of a finding, and what to do about it.
func WithNext(sentence, next string) string {
	if next == "" {
		return sentence
	}
	return sentence + " " + Next + next
}
