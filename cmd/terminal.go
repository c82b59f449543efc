package cmd

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
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
	f, ok := terminal(w)
	if !ok {
		return 0
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
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
	return false, fmt.Errorf("--color is auto, always or never, not %q", when)
}

// progress draws a bar on a terminal once a replay has taken a second.
type progress struct {
	w     io.Writer // nil: never
	what  string    // is going on
	begun time.Time
	bar   *progressbar.ProgressBar
	tell  func(read int64) // unless nil, told instead: this is a part of a larger run
}

func newProgress(w io.Writer, wanted bool) *progress {
	p := &progress{begun: time.Now(), what: "replaying"}
	if _, tty := terminal(w); tty && wanted {
		p.w = w
	}
	return p
}

// at tells how much was read, in octets, of how much; 0: not known.
func (p *progress) at(read, size int64) {
	if p.tell != nil {
		p.tell(read)
		return
	}
	if p.w == nil || p.bar == nil && time.Since(p.begun) < time.Second {
		return
	}
	if p.bar == nil {
		if size == 0 {
			size = -1
		}
		p.bar = progressbar.NewOptions64(size,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionSetDescription(p.what),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	p.bar.Set64(read) // an error of the bar is none of the replay
}

// done takes the bar away.
func (p *progress) done() {
	if p.bar != nil {
		p.bar.Finish()
	}
}
