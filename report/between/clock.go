package between

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Unbounded is what a bound is where no packets bound it.
const Unbounded = time.Duration(math.MaxInt64)

// A Clock says how the clock of one tap runs against that of another.
type Clock struct {
	Pieces []Piece // none: nothing says it
	Pairs  [2]int  // the packets of each direction that say it: from the other tap, and to it
}

// A Piece is a stretch of time in which a clock ran evenly.
type Piece struct {
	From   tcp.Time      // when it begins, by the clock itself; no meaning in the first
	Offset time.Duration // by how much it is ahead then; below 0: behind
	Drift  float64       // how much faster it runs
	Within time.Duration // Offset is wrong by no more
	Step   time.Duration // by how much it was set ahead where the piece begins; below 0: back
}

// span writes a duration as exactly as it is known, in the unit of its size: 3.2013 s.
func span(d, within time.Duration) string {
	size := max(d, -d)
	unit, name, digits, most := time.Microsecond, "us", 0, 3
	switch {
	case size >= time.Second:
		unit, name, digits, most = time.Second, "s", 4, 9
	case size >= 100*time.Microsecond || within >= 100*time.Microsecond:
		unit, name, digits, most = time.Millisecond, "ms", 1, 6
	}
	if within > 0 && within != Unbounded {
		digits = min(max(int(math.Ceil(-math.Log10(float64(within)/float64(unit)))), 0), most)
	}
	if d == 0 {
		return "0 " + name
	}
	n := float64(d) / float64(unit)
	for digits < most && math.Abs(n)*math.Pow10(digits) < 0.5 { // a small difference is still one
		digits++
	}
	return strconv.FormatFloat(n, 'f', digits, 64) + " " + name
}

// Bound writes by how much something is wrong at most, in two digits, rounded up: 0.4 ms.
func Bound(d time.Duration) string {
	unit, name := time.Microsecond, "us"
	switch {
	case d >= time.Second:
		unit, name = time.Second, "s"
	case d >= 100*time.Microsecond:
		unit, name = time.Millisecond, "ms"
	}
	n := float64(d) / float64(unit)
	if n == 0 {
		return "0 us"
	}
	digits := max(1-int(math.Floor(math.Log10(n))), 0)
	scale := math.Pow10(digits)
	s := strconv.FormatFloat(math.Ceil(n*scale-1e-6)/scale, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s + " " + name
}

// ppm writes a drift.
func ppm(drift float64) string {
	n := drift * 1e6
	digits := 0
	if math.Abs(n) < 10 {
		digits = 1
	}
	s := strconv.FormatFloat(n, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		s = "0"
	}
	return s + " ppm"
}

// Lines say how the clock of a tap runs against that of another, by their labels, a line
// for each piece.
func (c *Clock) Lines(label, other string, style text.TimeStyle, first tcp.Time) (lines []string) {
	if len(c.Pieces) == 0 {
		return []string{fmt.Sprintf("How far the clock of %s is from that of %s is not known", label, other)}
	}
	for i := range c.Pieces {
		p := &c.Pieces[i]
		line := fmt.Sprintf("%s is %s; drift %s", label, p.ahead(), ppm(p.Drift))
		if p.Within == Unbounded {
			line = fmt.Sprintf("%s is about %s; nothing bounds that, as all that both captures have went the same way", label, p.ahead())
		}
		if i == 0 {
			lines = append(lines, line)
			continue
		}
		at := style.Format(p.From, first)
		switch {
		case p.Step > 0:
			lines = append(lines, fmt.Sprintf("%s was set forward by %s at %s: since then %s", label, span(p.Step, p.Within), at, line))
		case p.Step < 0:
			lines = append(lines, fmt.Sprintf("%s was set back by %s at %s: since then %s", label, span(-p.Step, p.Within), at, line))
		default:
			lines = append(lines, fmt.Sprintf("%s began to run at another speed at %s: since then %s", label, at, line))
		}
	}
	return lines
}

// ahead says by how much a clock is ahead, and how exact that is.
func (p *Piece) ahead() string {
	way, offset := "ahead", p.Offset
	if offset < 0 {
		way, offset = "behind", -offset
	}
	if p.Within == Unbounded {
		return span(offset, p.Within) + " " + way
	}
	return fmt.Sprintf("%s %s, within %s", span(offset, p.Within), way, Bound(p.Within))
}
