package text

import (
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Color is the parameter of a terminal's SGR sequence; "" leaves text as it is.
type Color string

const (
	Plain   Color = ""
	Bold    Color = "1"
	faint   Color = "2"
	BoldRed Color = "1;31"
	red     Color = "31"
	green   Color = "32"
	Yellow  Color = "33"
	magenta Color = "35"
	cyan    Color = "36"
)

// Paint returns text in that color.
func (c Color) Paint(text string) string {
	if c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// When returns c where colours are wanted, else plain.
func (c Color) When(wanted bool) Color {
	if !wanted {
		return Plain
	}
	return c
}

// PaintIf is paint where colours are wanted.
func (c Color) PaintIf(wanted bool, text string) string {
	return c.When(wanted).Paint(text)
}

// StateColor returns the color of a cell that begins with the name of a state.
// Opening is cyan, open is green, closing is yellow, over is faint; CLOSE_WAIT,
// where an application is asked to close, and what nobody knows, stand out.
func StateColor(cell string) Color {
	name, _, _ := strings.Cut(cell, "{")
	s, err := tcp.ParseState(strings.TrimSuffix(name, AssumedMark))
	if err != nil {
		return Plain
	}
	switch s {
	case tcp.Established:
		return green
	case tcp.Listen, tcp.SynSent, tcp.SynReceived:
		return cyan
	case tcp.CloseWait:
		return red
	case tcp.FinWait1, tcp.FinWait2, tcp.Closing, tcp.LastAck, tcp.TimeWait:
		return Yellow
	case tcp.Unknown:
		return magenta
	}
	return faint
}

// SeverityColor returns the color of a severity.
func SeverityColor(s anomaly.Severity) Color {
	return [...]Color{faint, cyan, Yellow, BoldRed}[s]
}

// SeverityCellColor is the color of the name of a severity.
func SeverityCellColor(cell string) Color {
	for s := anomaly.Info; s <= anomaly.Error; s++ {
		if s.String() == cell {
			return SeverityColor(s)
		}
	}
	return Plain
}
