// Package template fills the blanks of a sentence, and prints values as people
// say them.
package template

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Fill fills the blanks of a template, which stand in braces, with the values
// of their names. {n bytes} is a value that counts: 1 byte, 2 bytes.
func Fill(template string, value func(name string) any) string {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(template, "{")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		var blank string
		blank, template, _ = strings.Cut(rest, "}")
		name, unit, counts := strings.Cut(blank, " ")
		text := textOf(value(name))
		b.WriteString(text)
		if !counts {
			continue
		}
		if text == "1" {
			unit = strings.TrimSuffix(unit, "s")
		}
		b.WriteString(" " + unit)
	}
}

// End returns the value of a blank about an end of a connection: X is the one,
// Y the other, X.ip and X.port are parts of it.
func End(name string, x, y netip.AddrPort) (v any, ok bool) {
	end, part, _ := strings.Cut(name, ".")
	addr := x
	switch end {
	case "X":
	case "Y":
		addr = y
	default:
		return nil, false
	}
	switch part {
	case "":
		return addr, true
	case "ip":
		return addr.Addr(), true
	case "port":
		return addr.Port(), true
	}
	return nil, false
}

func textOf(v any) string {
	if d, ok := v.(time.Duration); ok {
		return span(d)
	}
	return fmt.Sprint(v)
}

// Soon is how long something took to follow.
type Soon time.Duration

func (d Soon) String() string {
	if time.Duration(d) < time.Millisecond {
		return "within a millisecond"
	}
	return "after " + span(time.Duration(d))
}

// Hold is how long TIME-WAIT is to be held.
type Hold time.Duration

func (d Hold) String() string {
	if d := time.Duration(d); d%time.Second != 0 {
		return span(d)
	}
	return fmt.Sprintf("%d s", time.Duration(d)/time.Second)
}

// span prints a duration as people say it: "12 ms", "1.5 s", "2m5s".
func span(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
