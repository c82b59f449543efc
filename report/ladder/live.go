package ladder

import (
	"bufio"
	"io"
	"slices"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// liveRungs is how many rows of a Live are kept; half of them go when it
// is reached.
const liveRungs = 1000

// A Live draws one connection while it goes on: its newest segments, from
// the moment when it was made, or before (Recent). It is given what a Printer is given,
// and is not safe for concurrent use.
type Live struct {
	ladders *Printer
	ladder  *ladder
	before  int // segments that are not kept, before the first that is
}

// NewLive returns a Live of the connection. It keeps the Record and
// changes nothing in it.
func NewLive(r *tracker.Record) *Live {
	l := New(io.Discard, []*tracker.Record{r}, Options{Most: 2 * liveRungs}) // forget comes first
	return &Live{ladders: l, ladder: l.ladders[0]}
}

// Take takes the segment that the tracker will observe next. It is read until
// the next call.
func (l *Live) Take(s *tcp.Segment) { l.ladders.Take(s) }

// Event takes the tracker's next event, among them EventSegments.
func (l *Live) Event(e *tracker.Event) {
	l.ladders.Event(e)
	l.forget()
}

// forget folds the oldest rows where there are too many.
func (l *Live) forget() {
	d := l.ladder
	if len(d.rows) < liveRungs {
		return
	}
	d.foldBetween(0, liveRungs/2)
	d.rows[0].fold.segments += l.before
	l.before = 0
}

// Lines returns the lines of the ladder, drawn as Options say. r is what
// is now known of the connection.
func (l *Live) Lines(r *tracker.Record, o Options) []string {
	d := *l.ladder
	d.records = []*tracker.Record{r}
	d.rows, d.run.tail = slices.Clone(d.rows), slices.Clone(d.run.tail)
	d.unfold()
	if l.before > 0 {
		d.rows = slices.Insert(d.rows, 0, ladderRow{fold: &folded{segments: l.before}})
	}
	return text.Lines(func(out *bufio.Writer) { d.draw(out, &o) })
}
