// Package report turns what the tracker says into what people and programs
// read. It knows the formats; each is printed in a room of its own, which sees
// only what it is to print:
//
//	between    what happened between captures of several places, in words
//	services   connections counted by service
//	findings   anomalies, those that say the same as one
//	record     what is known of a connection, selected and counted; json, jsonl, csv
//	table      tables for people, and what displays show of them
//	html       a page for the browser, with pictures
//	ladder     connections segment by segment
//	check      what judging captures found; package policy judges
//	catalogue  the table of transitions, and the kinds of anomalies
//	text       escapes, times, numbers, colours, and the layout of tables
//
// Packages screen and serve are displays, in the terminal and for the browser.
package report

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"

	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// formats lists the output formats. What one does not understand is refused
// rather than ignored.
var formats = []struct {
	name    string
	make    record.Maker
	sockets record.Maker // for On and Listening; nil: refused
	table   bool         // Options.Existing applies
	events  bool         // Options.Events is understood
	sorts   bool         // Options.Sort is understood

	streams  bool // it writes as it goes on
	services bool // it tells of services
	rows     bool // in rows, of which Options.By says what they are of
	packets  bool // of packets, not of connections: it needs Options.Taps, and cannot select
}{
	{name: "table", make: table.New, sockets: table.NewSockets, table: true, sorts: true, services: true, rows: true},
	{name: "wide", make: table.NewWide, sockets: table.NewSockets, table: true, sorts: true, services: true, rows: true},
	{name: "json", make: record.NewJSON, events: true, sorts: true, services: true},
	{name: "jsonl", make: record.NewJSONLines, events: true, streams: true, services: true},
	{name: "csv", make: record.NewCSV, sorts: true, streams: true},
	{name: "markdown", make: table.NewMarkdown, sockets: table.NewMarkdownSockets, table: true, sorts: true},
	{name: "html", make: html.New, sorts: true, services: true, rows: true},
	{name: "summary", make: table.NewSummary, sockets: table.NewSocketSummary, table: true},
	{name: "services", make: table.NewServices, services: true, rows: true},
	{name: "packets", make: record.NewPackets, streams: true, packets: true},
}

// Formats returns the names that New takes, except those that need captures of several
// places.
func Formats() []string {
	var names []string
	for _, f := range formats {
		if !f.packets {
			names = append(names, f.name)
		}
	}
	return names
}

// ReplayFormats returns all names that New takes.
func ReplayFormats() []string { return append(Formats(), "packets") }

// Streams reports whether a format writes as it goes on: a Printer of another has written
// nothing before it is closed.
func Streams(name string) bool {
	for _, f := range formats {
		if f.name == name {
			return f.streams
		}
	}
	return false
}

// New returns a Printer of the named format that writes to w. Errors tell a
// format that does not exist, options that it does not understand, and a sort
// field that does not exist.
func New(name string, w io.Writer, o record.Options) (record.Printer, error) {
	for _, f := range formats {
		if f.name != name {
			continue
		}
		by, err := record.ParseOrder(o.Sort)
		switch {
		case err != nil:
			return nil, err
		case o.Sort != "" && !f.sorts:
			return nil, fmt.Errorf("%s cannot be sorted", name)
		case o.Events && !f.events:
			return nil, fmt.Errorf("%s prints no events; use json or jsonl", name)
		case o.By != 0 && !f.rows:
			return nil, fmt.Errorf("%s has no rows of services for --by; use services, table, wide or html", name)
		case f.packets && len(o.Taps) == 0:
			return nil, fmt.Errorf("%s needs captures of two places: --tap client=a.pcap --tap server=b.pcap", name)
		case f.packets && (o.Where != nil || o.Filter.Active()):
			return nil, fmt.Errorf("%s cannot be selected by connection: use -f, --since and --until", name)
		case o.On.IsValid() && f.sockets == nil:
			return nil, fmt.Errorf("%s has no --on view: use table, wide, markdown or summary", name)
		case o.Listening && f.sockets == nil:
			return nil, fmt.Errorf("%s has no --listening view: use table, wide, markdown or summary", name)
		}
		if o.On.IsValid() || o.Listening {
			return record.NewPrinter(w, o, by, f.table, false, f.sockets), nil
		}
		return record.NewPrinter(w, o, by, f.table, f.services, f.make), nil
	}
	return nil, fmt.Errorf("unknown output format %q (%s)", text.Escape(name), strings.Join(ReplayFormats(), ", "))
}

// compareFormats are those of the report of what happened between captures.
var compareFormats = []struct {
	name     string
	make     record.Maker
	services bool // it tells of services
}{{"text", table.NewCompare, false}, {"json", record.NewCompareJSON, true}, {"markdown", table.NewCompareMarkdown, false}}

// CompareFormats returns the names that NewCompare takes.
func CompareFormats() (names []string) {
	for _, f := range compareFormats {
		names = append(names, f.name)
	}
	return names
}

// NewCompare is New for the report of what happened between captures of several places.
func NewCompare(name string, w io.Writer, o record.Options) (record.Printer, error) {
	for _, f := range compareFormats {
		if f.name == name {
			return record.NewPrinter(w, o, record.Order{}, false, f.services, f.make), nil
		}
	}
	return nil, fmt.Errorf("unknown output format %q (%s)", text.Escape(name), strings.Join(CompareFormats(), ", "))
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
