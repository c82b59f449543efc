package report

import (
	"bufio"
	"io"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// liveRungs is how many rows of a LiveLadder are kept; half of them go when it
// is reached.
const liveRungs = 1000

// A LiveLadder draws one connection while it goes on: its newest segments, from
// the moment when the LiveLadder was made. It is given what Ladders are given,
// and is not safe for concurrent use.
type LiveLadder struct {
	ladders *Ladders
	ladder  *ladder
}

// NewLiveLadder returns a LiveLadder of the connection. It keeps the Record and
// changes nothing in it.
func NewLiveLadder(r *tracker.Record) *LiveLadder {
	l := NewLadders(io.Discard, []*tracker.Record{r}, LadderOptions{})
	return &LiveLadder{l, l.ladders[0]}
}

// Take takes the segment that the tracker will observe next. It is read until
// the next call.
func (l *LiveLadder) Take(s *tcp.Segment) { l.ladders.Take(s) }

// Event takes the tracker's next event, among them EventSegments.
func (l *LiveLadder) Event(e *tracker.Event) {
	l.ladders.Event(e)
	l.forget()
}

// forget folds the oldest rows where there are too many.
func (l *LiveLadder) forget() {
	d := l.ladder
	if len(d.rows) < liveRungs {
		return
	}
	earlier := d.rows[0].fold
	if earlier == nil {
		earlier = new(folded)
	}
	for _, w := range d.rows[:liveRungs/2] {
		earlier.add(w)
	}
	d.rows = slices.Replace(d.rows, 0, liveRungs/2, ladderRow{fold: earlier})
}

// Lines returns the lines of the ladder, drawn as LadderOptions say. r is what
// is now known of the connection.
func (l *LiveLadder) Lines(r *tracker.Record, o LadderOptions) []string {
	d := *l.ladder
	d.records = []*tracker.Record{r}
	d.rows, d.run.tail = slices.Clone(d.rows), slices.Clone(d.run.tail)
	d.unfold()
	return linesOf(func(out *bufio.Writer) { d.draw(out, &o) })
}
