package record

import (
	"bufio"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// jsonLines prints the format jsonl: a line for each connection when it is
// over, with Options.Events one for each transition and anomaly as it happens,
// and the summary as the last. It keeps nothing, except with both Events and a
// selection: see eventLines.
type jsonLines struct {
	eventLog
	out *bufio.Writer
}

// An eventLog is what json and jsonl have in common: with Options.Events they
// tell of every transition and anomaly as it happens.
type eventLog struct {
	events *eventLines // nil: without events
	lines  skeletons
	buf    []byte
}

func (l *eventLog) Skip(conn int) error { return l.events.decide(conn, false) }

func (l *eventLog) Moved(e *tracker.Event) error {
	if e.Kind == tracker.EventRefused {
		l.buf = appendRefused(l.buf[:0], e)
	} else {
		l.buf = appendTransition(l.buf[:0], e)
	}
	return l.events.add(e.Conn, l.buf)
}

func (l *eventLog) Odd(a *anomaly.Anomaly) error {
	l.buf = appendAnomalyLine(l.buf[:0], a)
	return l.events.add(a.Conn, l.buf)
}

// NewJSONLines makes the format jsonl.
func NewJSONLines(out *bufio.Writer, o *Options, _ Order) Format {
	p := &jsonLines{out: out}
	if o.Events {
		p.events = newEventLines(o, p.write)
	}
	return p
}

func (p *jsonLines) Connection(r *tracker.Record) error {
	p.buf = p.lines.appendConnection(p.buf[:0], r)
	if p.events == nil {
		return p.write(p.buf)
	}
	if err := p.events.add(r.Conn, p.buf); err != nil {
		return err
	}
	return p.events.decide(r.Conn, true)
}

// Many has nothing to write: what is found is an event.
func (p *jsonLines) Many(*anomaly.Anomaly) error { return nil }

func (p *jsonLines) Close(s *Summary, t *Tally) error {
	if err := p.events.finish(); err != nil {
		return err
	}
	return p.write(appendSummary(p.buf[:0], s, t))
}

// write writes one line.
func (p *jsonLines) write(line []byte) error {
	p.out.Write(line)
	return p.out.WriteByte('\n')
}

// eventLines passes lines on in the order in which they came, those of
// selected connections only. Whether a connection is selected is not known
// before it is over; so with a selection a line waits for this, and all later
// lines behind it. A nil *eventLines has no lines.
type eventLines struct {
	selecting bool
	emit      func(line []byte) error // keeps nothing of the line
	waiting   []eventLine
	lines     map[int]int  // how many of these there are of each connection
	selected  map[int]bool // the connections of these that are decided
}

// An eventLine is a line that waits.
type eventLine struct {
	conn int // 0: of no one connection
	text []byte
}

func newEventLines(o *Options, emit func([]byte) error) *eventLines {
	return &eventLines{
		selecting: o.Filter.Active() || o.Where != nil,
		emit:      emit,
		lines:     make(map[int]int),
		selected:  make(map[int]bool),
	}
}

// add takes the next line.
func (l *eventLines) add(conn int, text []byte) error {
	if !l.selecting {
		return l.emit(text)
	}
	l.waiting = append(l.waiting, eventLine{conn, slices.Clone(text)})
	l.lines[conn]++
	return l.drain()
}

// decide says whether a connection is selected.
func (l *eventLines) decide(conn int, selected bool) error {
	if l == nil || !l.selecting || l.lines[conn] == 0 {
		return nil
	}
	l.selected[conn] = selected
	return l.drain()
}

// drain passes on the lines that wait for nothing more.
func (l *eventLines) drain() error {
	for len(l.waiting) > 0 {
		line := l.waiting[0]
		selected, known := l.selected[line.conn]
		if line.conn > 0 && !known {
			return nil
		}
		l.waiting[0] = eventLine{}
		l.waiting = l.waiting[1:]
		if l.lines[line.conn]--; l.lines[line.conn] == 0 {
			delete(l.lines, line.conn)
			delete(l.selected, line.conn)
		}
		if line.conn > 0 && !selected {
			continue
		}
		if err := l.emit(line.text); err != nil {
			return err
		}
	}
	return nil
}

// finish passes on what still waits, except the lines of connections that were
// never decided.
func (l *eventLines) finish() error {
	if l == nil {
		return nil
	}
	for _, line := range l.waiting {
		if line.conn > 0 && !l.selected[line.conn] {
			continue
		}
		if err := l.emit(line.text); err != nil {
			return err
		}
	}
	l.waiting = nil
	return nil
}
