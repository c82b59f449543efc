package report

import (
	"bufio"
	"io"

	"github.com/tcpwatch/tcpwatch/tracker"
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

// A format is what one output format does with what is selected. The Record
// and the Anomaly that it is given are the caller's; it copies what it keeps.
type format interface {
	connection(r *tracker.Record) error
	skip(conn int) error           // connection conn is not selected
	many(a *tracker.Anomaly) error // an anomaly over many connections
	moved(e *tracker.Event) error  // with Options.Events
	odd(a *tracker.Anomaly) error  // with Options.Events, as it happens
	close(s *Summary, t *tally) error
}

// quiet is a format that prints nothing: others embed it and say what they do.
type quiet struct{}

func (quiet) connection(*tracker.Record) error { return nil }
func (quiet) skip(int) error                   { return nil }
func (quiet) many(*tracker.Anomaly) error      { return nil }
func (quiet) moved(*tracker.Event) error       { return nil }
func (quiet) odd(*tracker.Anomaly) error       { return nil }

// printer is the Printer of every format: it selects and counts.
type printer struct {
	format format
	opts   Options
	out    *bufio.Writer // keeps the first error, as Printer promises
	table  bool
	tally  *tally
}

// newPrinter returns the Printer of the format that make makes, which writes to
// w. The format is one of tables, to which Options.Existing applies, or not.
func newPrinter(w io.Writer, o Options, by order, table bool, make func(*bufio.Writer, *Options, order) format) Printer {
	p := &printer{opts: o, out: bufio.NewWriterSize(w, 1<<16), table: table, tally: newTally()}
	p.format = make(p.out, &p.opts, by)
	return p
}

// formatOf returns the format that p prints; nil if newPrinter did not make p.
func formatOf(p Printer) format {
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
	case tracker.EventTransition:
		if p.opts.Events {
			return p.format.moved(e)
		}
	}
	return nil
}

func (p *printer) Record(r *tracker.Record) error {
	p.tally.seen++
	if !p.opts.selects(r, p.table) {
		return p.format.skip(r.Conn)
	}
	p.tally.connection(r)
	return p.format.connection(r)
}

// odd takes an anomaly at the moment when it is found. The anomalies of a
// connection are counted and listed from its Record, which has the last word;
// of those over many connections this is the only word.
func (p *printer) odd(a *tracker.Anomaly) error {
	if a.Conn == 0 {
		if !p.opts.Filter.HasAnomaly(a) {
			return nil
		}
		p.tally.anomaly(a)
		if err := p.format.many(a); err != nil {
			return err
		}
	}
	if p.opts.Events {
		return p.format.odd(a)
	}
	return nil
}

func (p *printer) Flush() error { return p.out.Flush() }

func (p *printer) Close(s Summary) error {
	if err := p.format.close(&s, p.tally); err != nil {
		return err
	}
	return p.out.Flush()
}
