package report

import (
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A color is the parameter of a terminal's SGR sequence; "" leaves text as it is.
type color string

const (
	plain   color = ""
	bold    color = "1"
	faint   color = "2"
	boldRed color = "1;31"
	red     color = "31"
	green   color = "32"
	yellow  color = "33"
	magenta color = "35"
	cyan    color = "36"
)

// paint returns text in that color.
func (c color) paint(text string) string {
	if c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// when returns c where colours are wanted, else plain.
func (c color) when(wanted bool) color {
	if !wanted {
		return plain
	}
	return c
}

// paintIf is paint where colours are wanted.
func (c color) paintIf(wanted bool, text string) string {
	return c.when(wanted).paint(text)
}

// stateColor returns the color of a cell that begins with the name of a state.
// Opening is cyan, open is green, closing is yellow, over is faint; CLOSE_WAIT,
// where an application is asked to close, and what nobody knows, stand out.
func stateColor(cell string) color {
	name, _, _ := strings.Cut(cell, "{")
	s, err := tcp.ParseState(strings.TrimSuffix(name, assumedMark))
	if err != nil {
		return plain
	}
	switch s {
	case tcp.Established:
		return green
	case tcp.Listen, tcp.SynSent, tcp.SynReceived:
		return cyan
	case tcp.CloseWait:
		return red
	case tcp.FinWait1, tcp.FinWait2, tcp.Closing, tcp.LastAck, tcp.TimeWait:
		return yellow
	case tcp.Unknown:
		return magenta
	}
	return faint
}

// severityColor returns the color of a severity.
func severityColor(s tracker.Severity) color {
	return [...]color{faint, cyan, yellow, boldRed}[s]
}

// severityCellColor is the color of the name of a severity.
func severityCellColor(cell string) color {
	for s := tracker.Info; s <= tracker.Error; s++ {
		if s.String() == cell {
			return severityColor(s)
		}
	}
	return plain
}
