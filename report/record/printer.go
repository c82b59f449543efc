// Package record has what is known of connections, and prints it for programs.
//
// What a record holds is one list, in fields.go: JSON, CSV, the sort keys, the
// columns of tables and expressions (env.go) read it. What all formats share is
// here, too: which connections are selected (options.go, selection.go), what is
// counted (tally.go), what is told of the whole (totals.go), and the Printer,
// which does the first two for every Format.
//
//	json.go   the records, as one object
//	jsonl.go  the records, one a line, as they happen
//	csv.go    the records, one a line
//	packets.go  the packets of captures of several places, one a line
//
// Times in records are UTC.
package record

import (
	"bufio"
	"cmp"
	"io"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// A Printer writes one format. Its errors are those of its writer: after the
// first, every call that writes returns it, and nothing more is written.
type Printer interface {
	// Event takes the next of the tracker's Events. It keeps nothing of it.
	Event(*tracker.Event) error

	// Record takes a connection as an EventConnection does. A display that shows
	// connections still open gives them to a new Printer this way.
	Record(*tracker.Record) error

	// Flush writes what waits in the buffer of a format that streams (jsonl,
	// csv); others have nothing to write before Close.
	Flush() error

	// Close writes what is left and flushes. It is called once.
	Close(Summary) error
}

// A Format is what one output format does with what is selected. The Record
// and the Anomaly that it is given are the caller's; it copies what it keeps.
type Format interface {
	Connection(r *tracker.Record) error
	Skip(conn int) error           // connection conn is not selected
	Many(a *anomaly.Anomaly) error // an anomaly over many connections
	Moved(e *tracker.Event) error  // with Options.Events: a transition, or a segment that is refused
	Odd(a *anomaly.Anomaly) error  // with Options.Events, as it happens
	Close(s *Summary, t *Tally) error
}

// An Overseer is a Format of tables that is told also of the selected connections
// that it does not list, since they are over.
type Overseer interface {
	Over(r *tracker.Record) error
}

// A Maker makes a Format that writes to out. The Format keeps the Options, which
// are not changed; by is their order.
type Maker func(out *bufio.Writer, o *Options, by Order) Format

// Quiet is a format that prints nothing: others embed it and say what they do.
type Quiet struct{}

func (Quiet) Connection(*tracker.Record) error { return nil }
func (Quiet) Skip(int) error                   { return nil }
func (Quiet) Many(*anomaly.Anomaly) error      { return nil }
func (Quiet) Moved(*tracker.Event) error       { return nil }
func (Quiet) Odd(*anomaly.Anomaly) error       { return nil }

// printer is the Printer of every format: it selects and counts.
type printer struct {
	format Format
	opts   Options
	out    *bufio.Writer // keeps the first error, as Printer promises
	table  bool
	tally  *Tally
}

// NewPrinter returns the Printer of the format that make makes, which writes to
// w. The format is one of tables, to which Options.Existing applies, or not; and it
// tells of services, for which the Tally counts them then, or not.
func NewPrinter(w io.Writer, o Options, by Order, table, services bool, make Maker) Printer {
	p := &printer{opts: o, out: bufio.NewWriterSize(w, 1<<16), table: table, tally: NewTally()}
	if services {
		p.tally.Services = o.Ended.Clone()
	}
	p.format = make(p.out, &p.opts, by)
	return p
}

// FormatOf returns the format that p prints; nil if newPrinter did not make p.
func FormatOf(p Printer) Format {
	if p, ok := p.(*printer); ok {
		return p.format
	}
	return nil
}

func (p *printer) Event(e *tracker.Event) error {
	switch e.Kind {
	case tracker.EventConnection:
		return p.Record(e.Record)
	case tracker.EventAnomaly:
		return p.odd(e.Anomaly)
	case tracker.EventTransition, tracker.EventRefused:
		if p.opts.Events {
			return p.format.Moved(e)
		}
	}
	return nil
}

func (p *printer) Record(r *tracker.Record) error {
	p.tally.Seen++
	if !p.opts.Selects(r, false) {
		return p.format.Skip(r.Conn)
	}
	p.tally.Services.Connection(r)
	p.tally.pending(r, cmp.Or(p.opts.LeakAfter, tracker.DefaultLeakAfter))
	if p.table && !p.opts.Shows(r) {
		p.tally.anomalies(r)
		if f, ok := p.format.(Overseer); ok {
			return f.Over(r)
		}
		return nil
	}
	p.tally.Connection(r)
	return p.format.Connection(r)
}

// odd takes an anomaly at the moment when it is found. The anomalies of a
// connection are counted and listed from its Record, which has the last word;
// of those over many connections this is the only word.
func (p *printer) odd(a *anomaly.Anomaly) error {
	if a.Conn == 0 {
		if !p.opts.Filter.HasAnomaly(a) {
			return nil
		}
		p.tally.anomaly(a)
		if p.opts.Ended == nil { // else it is in there
			p.tally.Services.Anomaly(a)
		}
		if err := p.format.Many(a); err != nil {
			return err
		}
	}
	if p.opts.Events {
		return p.format.Odd(a)
	}
	return nil
}

func (p *printer) Flush() error { return p.out.Flush() }

func (p *printer) Close(s Summary) error {
	if err := p.format.Close(&s, p.tally); err != nil {
		return err
	}
	return p.out.Flush()
}
