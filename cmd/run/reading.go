// Package run does what the commands are asked for, once their flags are read:
// it takes captures through package watch, and has package report print what
// comes of them.
//
//	reading.go  captures are read, once or twice
//	between.go  what happened between captures of several places, for reports
//	replay.go   every connection is printed
//	compare.go  captures of several places are compared
//	hosts.go    a host that was asked for is looked for
//	explain.go  connections are drawn segment by segment
//	port.go     who holds a port is printed
//	check.go    captures are judged by rules, several at a time
//	live.go     what is captured is shown while it goes on
//	save.go     the packets of connections are written
//
// What a user is told beside the output goes to standard error, prefixed
// "tcpwatch: ", one line a matter.
package run

import (
	"context"
	"io"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Reading is how captures are read.
type Reading struct {
	Files   []string   // "-" is standard input
	Taps    []taps.Tap // in the place of Files: captures of several places; with Hub: the sensors of these names
	AtEnds  bool       // these were made on the hosts of the ends
	Hub     *Hub       // in the place of Files: what a hub has of its sensors; nil: none
	Capture capture.Options
	Tracker tracker.Config
	Save    Save
	Stderr  io.Writer // what is not output
	Bar     io.Writer // the terminal on which a progress bar is drawn; nil: none
}

// pass takes the captures through tcpwatch once. What was interrupted before the
// first of them could be opened has read nothing.
func (r *Reading) pass(ctx context.Context, s watch.Sink) (watch.Summary, error) {
	w, sum, err := r.take(ctx, s.Segment != nil, func(*watch.Watch) watch.Sink { return s })
	if w != nil {
		w.Close()
	}
	return sum, err
}

// take is pass, of which the sink may ask the Watch, and which leaves it open; nil: there
// is none. The tracker tells of segments too, or not.
func (r *Reading) take(ctx context.Context, segments bool, sink func(*watch.Watch) watch.Sink) (*watch.Watch, watch.Summary, error) {
	c := r.Tracker
	c.Segments = segments
	w, err := r.open(ctx, c)
	if err != nil && ctx.Err() != nil {
		return nil, watch.Summary{Interrupted: true}, nil // a pipe that delivered nothing is not to blame
	}
	if err != nil {
		return nil, watch.Summary{}, err
	}
	bar := newProgress(r.Bar, "replaying")
	defer bar.done()
	s := sink(w)
	s.Progress = bar.at
	sum, err := w.Run(ctx, s)
	return w, sum, err
}

// open opens the captures.
func (r *Reading) open(ctx context.Context, c tracker.Config) (*watch.Watch, error) {
	switch {
	case r.Hub != nil && len(r.Taps) > 0:
		list, err := r.Hub.taps(ctx, r.Taps)
		if err != nil {
			return nil, err
		}
		return watch.Taps(list, taps.Options{AtEnds: r.AtEnds}, c)
	case r.Hub != nil:
		return r.Hub.open(ctx, c)
	case len(r.Taps) > 0:
		return watch.Taps(r.Taps, taps.Options{Capture: r.Capture, AtEnds: r.AtEnds}, c)
	}
	return watch.Files(r.Files, r.Capture, c)
}

// Connections takes the captures through tcpwatch, and calls f with the record of
// every connection, which is lent for the call.
func (r *Reading) Connections(ctx context.Context, f func(*tracker.Record)) (watch.Summary, error) {
	return r.connections(ctx, nil, f)
}

// connections is Connections; n is told of the packets, and f tells it of the
// connections.
func (r *Reading) connections(ctx context.Context, n *notes, f func(*tracker.Record)) (watch.Summary, error) {
	return r.pass(ctx, n.on(watch.Sink{Apart: true, Still: true, Event: func(e *tracker.Event) error {
		if e.Kind == tracker.EventConnection {
			f(e.Record)
		}
		return nil
	}}))
}

// draw takes the captures through tcpwatch once more, for ladders; over, unless it is
// nil, is told of every connection, as that of Connections is.
func (r *Reading) draw(ctx context.Context, l *ladder.Printer, over func(*tracker.Record)) (watch.Summary, error) {
	return r.pass(ctx, watch.Sink{Apart: true, Segment: l.Take, Event: func(e *tracker.Event) error {
		if l.Event(e); e.Kind == tracker.EventConnection && over != nil {
			over(e.Record)
		}
		return nil
	}})
}

// warn says what was not read, or is not there to be read.
func (r *Reading) warn(sum watch.Summary) {
	if sum.Interrupted {
		text.Say(r.Stderr, "interrupted: the rest was not read")
	} else {
		until := "at"
		if r.Capture.Ends {
			until = "until"
		}
		frames := sum.Capture.Packets + sum.Capture.Earlier + sum.Capture.Later
		for _, m := range []struct {
			flag   string
			packet int
		}{{"since", r.Capture.Since.Packet}, {until, r.Capture.Until.Packet}} {
			if m.packet > frames {
				text.Say(r.Stderr, "--%s #%d: the capture ends at frame %d", m.flag, m.packet, frames)
			}
		}
	}
	for _, w := range sum.Capture.Warnings {
		text.Say(r.Stderr, "%s", w)
	}
}

// gaveUp says how many connections were given up, and what keeps them.
func gaveUp(stderr io.Writer, s tracker.Stats) {
	for _, of := range []struct {
		evicted uint64
		bound   string
	}{{s.Evicted - s.ForMemory, "--max-connections"}, {s.ForMemory, "--max-memory"}} {
		what := "connections were"
		if of.evicted == 1 {
			what = "connection was"
		}
		if of.evicted > 0 {
			text.Say(stderr, "%d %s evicted to stay within %s; reported as far as seen", of.evicted, what, of.bound)
		}
	}
}

// summaryOf is what reports tell of a run.
func summaryOf(s watch.Summary) record.Summary {
	c := &s.Capture
	var passed []record.Passed
	for _, p := range c.Passed {
		passed = append(passed, record.Passed{Header: p.Header, Why: p.Why, Packets: uint64(p.Packets)})
	}
	var kernel *record.Compared
	if s.Witness != nil {
		kernel = &record.Compared{Compared: s.Witness.Compared, Differed: s.Witness.Differed}
	}
	return record.Summary{
		Kernel:  kernel,
		Between: betweenOf(&s),
		Packets: uint64(c.Packets), TCPPackets: uint64(c.Segments), Bytes: uint64(c.Bytes),
		Filtered: uint64(c.Filtered), Tagged: uint64(c.Tagged), Earlier: uint64(c.Earlier), Later: uint64(c.Later),
		First: c.First, Last: c.Last, Now: c.Until,
		Truncated: c.Truncated, Dropped: uint64(c.Dropped), Passed: passed, Undecodable: uint64(c.Undecodable), Misdated: uint64(c.Misdated), Sorted: uint64(c.Sorted), Evicted: s.Tracker.Evicted, Limits: limits(&s),
	}
}
