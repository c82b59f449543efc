// Package screen shows on a terminal, full screen, what the tracker sees.
//
// The tracker's goroutine pushes: Take and Event as segments and events come,
// Refresh once an interval. Nothing of that waits for the terminal: a Snapshot
// that was not drawn before the next comes is passed over. The terminal has a
// goroutine of its own, in Run, which is all that draws:
//
//	screen.go  the Display: what passes between the two
//	model.go   what is shown, and what a key changes of it
//	view.go    how it looks
//
// What the tables hold, and in which order, is the report package's.
package screen

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Options say what a Display shows, and where.
type Options struct {
	// Report says what is shown, and how: Filter, Where, Existing, On,
	// Listening (which view comes first), Sort, Time and Color. The rest has
	// no meaning here.
	Report record.Options

	In  io.Reader // the keys; nil: standard input
	Out io.Writer // the terminal; nil: standard output
}

// A Display shows Snapshots on a terminal. Take, Event and Refresh are for one
// goroutine, that of the tracker; the other methods are for any.
type Display struct {
	program   *tea.Program
	refreshes chan *record.Snapshot // holds the newest, until it is drawn
	started   atomic.Bool
	ended     chan struct{} // Run has returned

	mu     sync.Mutex // the tracker adds to ladders while the screen draws one
	recent *ladder.Recent
	ladder *ladder.Live // the one that is open, or nil
}

// A watched connection is the one whose ladder is open.
type watched struct {
	d      *Display
	ladder *ladder.Live
	last   *tracker.Record // what was known of the connection last
}

// New returns a Display. The error tells a field to sort by that does not exist.
func New(o Options) (*Display, error) {
	d := &Display{refreshes: make(chan *record.Snapshot, 1), ended: make(chan struct{}), recent: ladder.NewRecent(o.Report.Memory / ladder.RecentShare)}
	m, err := newModel(o.Report, d.next, d.watch)
	if err != nil {
		return nil, err
	}
	options := []tea.ProgramOption{tea.WithoutSignalHandler()}
	if o.Report.Color {
		options = append(options, tea.WithColorProfile(colorprofile.ANSI)) // it was decided by who asks for it
	}
	if o.In != nil {
		options = append(options, tea.WithInput(o.In))
	}
	if o.Out != nil {
		options = append(options, tea.WithOutput(o.Out))
	}
	d.program = tea.NewProgram(m, options...)
	return d, nil
}

// Run shows what there is, until the user quits, the context ends, or Close is
// called; none of these is an error. When it returns, the terminal is as it was.
// It is called once.
func (d *Display) Run(ctx context.Context) error {
	d.started.Store(true)
	defer close(d.ended)
	stop := context.AfterFunc(ctx, d.program.Quit)
	defer stop()
	_, err := d.program.Run()
	if errors.Is(err, tea.ErrProgramKilled) && !errors.Is(err, tea.ErrProgramPanic) {
		return nil
	}
	return err
}

// Close ends Run, if that has begun, and returns when the terminal is as it was.
// It is for a defer where a panic would leave the terminal full screen: in the
// tracker's goroutine. It is not for the goroutine of Run.
func (d *Display) Close() {
	if d.started.Load() {
		d.program.Quit()
		<-d.ended
	}
}

// Take takes the segment that the tracker will observe next. It is read until
// the next call.
func (d *Display) Take(s *tcp.Segment) {
	d.mu.Lock()
	defer d.mu.Unlock() // also on a panic, for Close to have a screen to end
	d.recent.Take(s)
	if d.ladder != nil {
		d.ladder.Take(s)
	}
}

// Event takes the next of the tracker's Events, which asked for EventSegments. It
// keeps nothing of it.
func (d *Display) Event(e *tracker.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent.Event(e)
	if d.ladder != nil {
		d.ladder.Event(e)
	}
}

// Refresh shows a Snapshot. It keeps it, and changes nothing in it.
func (d *Display) Refresh(s *record.Snapshot) {
	select {
	case <-d.refreshes:
	default:
	}
	d.refreshes <- s // there is room: nobody else sends
}

// next waits for the next refresh.
func (d *Display) next() tea.Msg {
	select {
	case r := <-d.refreshes:
		return r
	case <-d.ended:
		return nil
	}
}

// watch opens the ladder of a connection; nil: none.
func (d *Display) watch(r *tracker.Record) *watched {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ladder = nil; r == nil {
		return nil
	}
	d.ladder = d.recent.Open(r)
	return &watched{d, d.ladder, r}
}

// lines draws the ladder, and below it the states that the ends went through. What
// the ladder begins with, who they are and how they stand, is apart. r is what is now
// known of the connection; nil: nothing new.
func (w *watched) lines(r *tracker.Record, s *record.Snapshot, o record.Options) (heading string, lines []string) {
	if r != nil {
		w.last = r
	}
	w.d.mu.Lock()
	lines = w.ladder.Lines(w.last, ladder.Options{Width: o.Width, Color: o.Color})
	w.d.mu.Unlock()
	heading, lines = lines[0], lines[2:]
	g := ladder.History(w.last)
	g.Color = o.Color
	history, _ := g.Lines(nil)
	lines = append(append(lines, ""), history...)
	return heading, append(lines, "Times are relative to "+o.Time.Format(w.last.Start, s.Summary.First)+".")
}
