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
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
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

// keptAnomalies is how many anomalies are kept of connections that are gone,
// and over many connections.
const keptAnomalies = 1000

// A Display shows Snapshots on a terminal. Take, Event and Refresh are for one
// goroutine, that of the tracker; the other methods are for any.
type Display struct {
	program   *tea.Program
	refreshes chan *refresh // holds the newest, until it is drawn
	ladder    atomic.Pointer[watched]
	anomalies []anomaly.Anomaly // the newest, see keptAnomalies
	started   atomic.Bool
	ended     chan struct{} // Run has returned
}

// A refresh is all that is new.
type refresh struct {
	*record.Snapshot
	anomalies []anomaly.Anomaly
}

// A watched connection is the one whose ladder is open. The tracker adds to the
// ladder while the screen draws it.
type watched struct {
	mu     sync.Mutex
	ladder *ladder.Live
	last   *tracker.Record // what was known of the connection last
}

// New returns a Display. The error tells a field to sort by that does not exist.
func New(o Options) (*Display, error) {
	d := &Display{refreshes: make(chan *refresh, 1), ended: make(chan struct{})}
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
	if w := d.ladder.Load(); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock() // also on a panic, for Close to have a screen to end
		w.ladder.Take(s)
	}
}

// Event takes the next of the tracker's Events, which asked for EventSegments. It
// keeps nothing of it.
func (d *Display) Event(e *tracker.Event) {
	switch e.Kind {
	case tracker.EventAnomaly:
		if e.Conn == 0 {
			d.keep(*e.Anomaly)
		}
	case tracker.EventConnection:
		for i := range e.Record.Anomalies {
			d.keep(e.Record.Anomalies[i])
		}
	}
	if w := d.ladder.Load(); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ladder.Event(e)
	}
}

// keep keeps an anomaly of which no Record will tell.
func (d *Display) keep(a anomaly.Anomaly) {
	a.Evidence = append([]int(nil), a.Evidence...)
	if len(d.anomalies) == 2*keptAnomalies {
		// A new array: a screen may be reading the old one.
		d.anomalies = append(make([]anomaly.Anomaly, 0, 2*keptAnomalies), d.anomalies[keptAnomalies:]...)
	}
	d.anomalies = append(d.anomalies, a)
}

// Refresh shows a Snapshot. It keeps it, and changes nothing in it.
func (d *Display) Refresh(s *record.Snapshot) {
	newest := d.anomalies[max(len(d.anomalies)-keptAnomalies, 0):]
	select {
	case <-d.refreshes:
	default:
	}
	d.refreshes <- &refresh{s, newest} // there is room: nobody else sends
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

// watch has the ladder of a connection kept from now on; nil: of none.
func (d *Display) watch(r *tracker.Record) *watched {
	var w *watched
	if r != nil {
		w = &watched{ladder: ladder.NewLive(r), last: r}
	}
	d.ladder.Store(w)
	return w
}

// lines draws the ladder. r is what is now known of the connection; nil: nothing
// new.
func (w *watched) lines(r *tracker.Record, o ladder.Options) []string {
	if r != nil {
		w.last = r
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ladder.Lines(w.last, o)
}
