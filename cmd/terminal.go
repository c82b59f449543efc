package cmd

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// terminal returns the file behind w if it is a terminal.
func terminal(w io.Writer) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// width returns how many columns w has: COLUMNS, or what the terminal says; 0
// if it is no terminal.
func width(w io.Writer) int {
	columns, _ := size(w)
	return columns
}

// height returns how many lines w has: LINES, or what the terminal says; 0 if it
// is no terminal.
func height(w io.Writer) int {
	_, lines := size(w)
	return lines
}

func size(w io.Writer) (columns, lines int) {
	f, ok := terminal(w)
	if !ok {
		return 0, 0
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	if err != nil {
		columns, lines = 0, 0
	}
	given := func(name string, size *int) {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
			*size = n
		}
	}
	given("COLUMNS", &columns)
	given("LINES", &lines)
	return columns, lines
}

// colour decides about colour by --color, NO_COLOR (no-color.org) and what w is.
func colour(when string, w io.Writer) (bool, error) {
	switch when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		_, tty := terminal(w)
		return tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", nil
	}
	return false, fmt.Errorf("--color %q: must be auto, always or never", when)
}
