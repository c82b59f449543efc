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
	"runtime"
	"strings"
	"syscall"
)

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
		if o.On.IsValid() || o.Listening {
			return newPrinter(w, o, by, f.table, f.sockets), nil
		}
		return newPrinter(w, o, by, f.table, f.make), nil
	}
	return nil, fmt.Errorf("unknown output format %q (%s)", Escape(name), strings.Join(Formats(), ", "))
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
