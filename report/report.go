// Package report turns what the tracker says into what people and programs
// read.
//
// A Printer is given the tracker's Events in the order in which they come, and
// writes one of the Formats. What all formats share is done once, here: which
// connections are selected, and what is counted. A format is a file of its own
// and sees only what it is to print:
//
//	table.go     two ends a line, netstat's look; wide is the same with more columns
//	netstat.go   the table of one host, and the listening sockets
//	markdown.go  the table for GitHub
//	json.go      the records, as one object
//	jsonl.go     the records, one a line, as they happen
//	csv.go       the records, one a line
//	summary.go   counts only
//	html.go      a page for the browser, with pictures
//	timewait.go  below tables: who is left in TIME_WAIT, and for how long
//
// Ladders (ladder.go) are no format: they draw connections segment by segment,
// and are given the segments, too. states.go, states_svg.go and kinds.go print
// the tracker's table and catalogue. live.go and ladder_live.go have what is
// shown of a capture while it goes on.
//
// What a record holds is one list, in fields.go: JSON, CSV, the sort keys, the
// columns of tables and expressions (env.go) read it. grid.go lays out text
// tables.
//
// What check found has printers of its own (check.go); package policy, below,
// judges.
//
// Rules of the output. Nothing that came from a packet or a file name reaches
// the output unescaped (Escape). Colour is added after the layout, and never
// says what the text does not say. Times in records are UTC. An end whose state
// is only assumed carries a "?" in every table.
package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"syscall"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Options say what a Printer prints, and how. The zero Options print every
// connection, in UTC, without colour, as wide as it comes.
type Options struct {
	Filter Selection
	Where  func(*tracker.Record) bool // a further condition; nil: none. It keeps nothing of its argument

	// Two tables of their own, of formats table, wide, markdown and summary.
	On        netip.Addr // if valid: what netstat -tan would have shown on that host
	Listening bool       // only the listening sockets that the traffic gives away

	// Existing leaves out of tables the connections that are over (both ends
	// CLOSED, or back in LISTEN). Records always list them.
	Existing bool

	Events   bool   // json and jsonl: every transition and anomaly too
	Sort     string // path of a field (SortFields), after a "-" to turn the order round; "" is by conn
	NoHeader bool   // no column titles
	Time     TimeStyle
	Color    bool
	Width    int // columns of the terminal; table leaves columns out to fit it. 0: no limit

	// Of html.
	Name          string // what was read
	Absolute, All bool   // as in LadderOptions
}

// A Summary is what the capture and the tracker know of the whole, given to a
// Printer at the end.
type Summary struct {
	Packets     uint64   // in the capture
	TCPPackets  uint64   // of these, TCP
	Filtered    uint64   // of Packets, those that a filter left out
	Later       uint64   // beyond Packets, those after the moment that was asked for
	Bytes       uint64   // what the packets measured on the wire
	First, Last tcp.Time // of the first and the last packet; no meaning without Packets
	Now         tcp.Time // the moment at which the records were taken; 0: Last
	Truncated   bool     // the capture is cut off in mid-packet
	Dropped     uint64   // packets that the capture lost, as far as it says
	Undecodable uint64   // packets whose headers could not be read
	Evicted     uint64   // connections forgotten for want of memory
}

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
	many(a *anomaly.Anomaly) error // an anomaly over many connections
	moved(e *tracker.Event) error  // with Options.Events
	odd(a *anomaly.Anomaly) error  // with Options.Events, as it happens
	close(s *Summary, t *tally) error
}

// quiet is a format that prints nothing: others embed it and say what they do.
type quiet struct{}

func (quiet) connection(*tracker.Record) error { return nil }
func (quiet) skip(int) error                   { return nil }
func (quiet) many(*anomaly.Anomaly) error      { return nil }
func (quiet) moved(*tracker.Event) error       { return nil }
func (quiet) odd(*anomaly.Anomaly) error       { return nil }

// formats lists the output formats. What one does not understand is refused
// rather than ignored.
var formats = []struct {
	name    string
	make    func(out *bufio.Writer, o *Options, by order) format
	sockets func(out *bufio.Writer, o *Options, by order) format // for On and Listening; nil: refused
	table   bool                                                 // Options.Existing applies
	events  bool                                                 // Options.Events is understood
	sorts   bool                                                 // Options.Sort is understood
}{
	{name: "table", make: newTable, sockets: newNetstat, table: true, sorts: true},
	{name: "wide", make: newWide, sockets: newNetstat, table: true, sorts: true},
	{name: "json", make: newJSON, events: true, sorts: true},
	{name: "jsonl", make: newJSONLines, events: true},
	{name: "csv", make: newCSV, sorts: true},
	{name: "markdown", make: newMarkdown, sockets: newMarkdownSockets, table: true, sorts: true},
	{name: "html", make: newHTML, sorts: true},
	{name: "summary", make: newSummary, sockets: newSocketSummary, table: true},
}

// Formats returns the names that New takes.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// New returns a Printer of the named format that writes to w. Errors tell a
// format that does not exist, options that it does not understand, and a sort
// field that does not exist.
func New(name string, w io.Writer, o Options) (Printer, error) {
	for _, f := range formats {
		if f.name != name {
			continue
		}
		by, err := parseOrder(o.Sort)
		switch {
		case err != nil:
			return nil, err
		case o.Sort != "" && !f.sorts:
			return nil, fmt.Errorf("%s cannot be sorted", name)
		case o.Events && !f.events:
			return nil, fmt.Errorf("%s prints no events (json and jsonl do)", name)
		case o.On.IsValid() && f.sockets == nil:
			return nil, fmt.Errorf("%s has no --on view: use table, wide, markdown or summary", name)
		case o.Listening && f.sockets == nil:
			return nil, fmt.Errorf("%s has no --listening view: use table, wide, markdown or summary", name)
		}
		p := &printer{opts: o, out: bufio.NewWriterSize(w, 1<<16), table: f.table, tally: newTally()}
		if o.socketsOnly() {
			p.format = f.sockets(p.out, &p.opts, by)
		} else {
			p.format = f.make(p.out, &p.opts, by)
		}
		return p, nil
	}
	return nil, fmt.Errorf("unknown output format %q (%s)", Escape(name), strings.Join(Formats(), ", "))
}

// socketsOnly reports whether the table asked for is one of sockets.
func (o *Options) socketsOnly() bool { return o.On.IsValid() || o.Listening }

// printer is the Printer of every format: it selects and counts.
type printer struct {
	format format
	opts   Options
	out    *bufio.Writer // keeps the first error, as Printer promises
	table  bool
	tally  *tally
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

// selects reports whether r is one of the connections to print, in a table or
// not.
func (o *Options) selects(r *tracker.Record, table bool) bool {
	if table && o.Existing && !exists(r) {
		return false
	}
	return o.Filter.connection(r) && (o.Where == nil || o.Where(r))
}

// exists reports whether an end of r is anything but CLOSED or back in LISTEN.
func exists(r *tracker.Record) bool {
	for _, e := range r.Ends {
		if e.State != tcp.Closed && e.State != tcp.Listen {
			return true
		}
	}
	return false
}

// odd takes an anomaly at the moment when it is found. The anomalies of a
// connection are counted and listed from its Record, which has the last word;
// of those over many connections this is the only word.
func (p *printer) odd(a *anomaly.Anomaly) error {
	if a.Conn == 0 {
		if !p.opts.Filter.anomaly(a) {
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

// IsBrokenPipe reports whether err says that the reader of a pipe has gone, as
// head goes when it has seen enough: no failure, only the end.
func IsBrokenPipe(err error) bool {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return true
	}
	var errno syscall.Errno
	// ERROR_BROKEN_PIPE and ERROR_NO_DATA.
	return runtime.GOOS == "windows" && errors.As(err, &errno) && (errno == 109 || errno == 232)
}
