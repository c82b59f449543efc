package run

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress draws a bar on a terminal once a replay has taken a second.
type progress struct {
	w     io.Writer // nil: never
	what  string    // is going on
	begun time.Time
	bar   *progressbar.ProgressBar
	tell  func(read int64) // unless nil, told instead: this is a part of a larger run
}

func newProgress(w io.Writer, what string) *progress {
	return &progress{w: w, what: what, begun: time.Now()}
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

// A sharedBar is one progress bar of several workers.
type sharedBar struct {
	mu         sync.Mutex
	bar        *progress
	read, size int64
}

// newSharedBar returns the bar of a run over the files. Their size is not known
// if one of them is no file.
func newSharedBar(w io.Writer, files []string) *sharedBar {
	b := &sharedBar{bar: newProgress(w, "checking")}
	if w == nil {
		return b
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			b.size += info.Size()
		} else if path == "-" {
			b.size = 0
			break
		}
	}
	return b
}

// part returns what a worker tells how far it is in one file.
func (b *sharedBar) part() *progress {
	var before int64
	return &progress{tell: func(read int64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.read += read - before
		before = read
		b.bar.at(b.read, b.size)
	}}
}

// done takes the bar away.
func (b *sharedBar) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar.done()
}
