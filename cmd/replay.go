package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// replayFlags are the flags of replay as they were typed.
type replayFlags struct {
	readFlags
	output, sort, times, on             string
	listening, events, noHeader, strict bool
}

func newReplay() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay FILE...",
		Short: "Read captures to the end and print both ends of every connection",
		Long: `replay reads captures (pcap or pcapng, plain, gzip or zstd; - is standard input)
and prints, for every TCP connection, the state of both ends: of each end the
state it is in if what was seen on the wire arrived. A "?" marks what is no more
than that; without it the end's own segments show the state, or nothing has
contradicted it for longer than a retransmission would have taken.

Several files are one capture: ordered by their first packet, read one after the
other, frame numbers counting on.`,
		Example: `  tcpwatch replay file.pcap
  tcpwatch replay -o wide -f 'host 10.0.0.1 and port 443' file.pcapng.gz
  tcpwatch replay --on 10.0.0.1 --at +12.5s file.pcap
  tcpwatch replay -o json file.pcap | jq '.connections[] | select(.closed_by == "refused")'`,
		Args: needsCapture,
		RunE: func(c *cobra.Command, files []string) error {
			return f.run(c.Context(), files, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "table", "output `format`: "+strings.Join(report.Formats(), ", "))
	f.selectionFlags(c)
	fl.StringVar(&f.on, "on", "", "what netstat -tan would have shown on that `host` (an address)")
	fl.BoolVarP(&f.listening, "listening", "l", false, "the listening sockets that the traffic gives away")
	f.atFlag(c)
	f.trackingFlags(c)
	fl.BoolVar(&f.events, "events", false, "every transition and anomaly too (json, jsonl)")
	fl.StringVar(&f.sort, "sort", "", "sort by that `field` of the records, -field the other way round")
	fl.BoolVar(&f.noHeader, "no-header", false, "no column titles")
	fl.StringVar(&f.times, "time", "utc", "times in tables: utc, local, relative")
	f.displayFlags(c)
	fl.BoolVar(&f.strict, "strict", false, "a capture that is cut off is an error")
	complete(c, "output", report.Formats())
	complete(c, "time", []string{"utc", "local", "relative"})
	complete(c, "sort", record.SortFields())
	return c
}

// reportOptions reads the flags that say what is printed, and how.
func (f *replayFlags) reportOptions(stdout io.Writer) (o record.Options, err error) {
	if o.Filter, err = f.selection(); err != nil {
		return o, err
	}
	if o.Where, err = f.condition(); err != nil {
		return o, err
	}
	if f.on != "" {
		if o.On, err = netip.ParseAddr(f.on); err != nil {
			return o, withHint(fmt.Errorf("--on %q is no address", f.on), "names are not looked up; give the host's address")
		}
	}
	if o.Time, err = text.ParseTimeStyle(f.times); err != nil {
		return o, fmt.Errorf("--time: %w", err)
	}
	if o.Color, err = colour(f.color, stdout); err != nil {
		return o, err
	}
	o.Listening, o.Events, o.Sort, o.NoHeader = f.listening, f.events, f.sort, f.noHeader
	o.Existing = f.at != ""
	o.Width = width(stdout)
	return o, nil
}

// run replays the files.
func (f *replayFlags) run(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	o, err := f.reportOptions(stdout)
	if err != nil {
		return err
	}
	o.Name = titleOf(files)
	return f.replay(ctx, files, o, stdout, stderr, func(record.Printer) error { return nil })
}

// titleOf names captures, without their directories.
func titleOf(files []string) string {
	const shown = 3
	var names []string
	for _, file := range files[:min(len(files), shown)] {
		if file == "-" {
			file = "standard input"
		}
		names = append(names, filepath.Base(file))
	}
	if more := len(files) - shown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// replay prints the files; check is given the printer before anything is printed.
// For a page with ladders the files are read twice.
func (f *replayFlags) replay(ctx context.Context, files []string, o record.Options, stdout, stderr io.Writer, check func(record.Printer) error) error {
	co, err := f.captureOptions()
	if err != nil {
		return err
	}
	printer, err := report.New(f.output, stdout, o)
	if err != nil {
		return err
	}
	reread, done := func() error { return nil }, func() {}
	if f.output == "html" {
		if reread, done, err = spool(files, &co); err != nil {
			return err
		}
	}
	defer done()
	sum, err := f.read(ctx, files, co, false, stderr, watch.Sink{Event: printer.Event})
	if err != nil {
		return err
	}
	if sum.Interrupted && sum.Capture.Read == 0 {
		warn(stderr, sum, co.Until)
		return nil
	}
	if err := check(printer); err != nil {
		return err
	}
	warn(stderr, sum, co.Until)
	f.gaveUp(stderr, sum.Tracker.Evicted)
	if f.output == "html" && !sum.Interrupted {
		if err := reread(); err != nil {
			return err
		}
		if _, err := f.read(ctx, files, co, true, stderr, draws(html.LaddersOf(printer))); err != nil {
			return err
		}
	}
	if err := printer.Close(summary(sum)); err != nil {
		return err
	}
	if f.strict && sum.Capture.Truncated {
		return errors.New("the capture is cut off (--strict)")
	}
	return nil
}

// draws is the sink of ladders.
func draws(l *ladder.Printer) watch.Sink {
	return watch.Sink{Apart: true, Segment: l.Take, Event: func(e *tracker.Event) error {
		l.Event(e)
		return nil
	}}
}

// warn says what was not read, or is not there to be read.
func warn(stderr io.Writer, sum watch.Summary, until capture.Until) {
	if sum.Interrupted {
		fmt.Fprintln(stderr, "tcpwatch: interrupted: the rest was not read")
	} else if until.Packet > sum.Capture.Packets {
		fmt.Fprintf(stderr, "tcpwatch: --at #%d: the capture ends with frame %d\n", until.Packet, sum.Capture.Packets)
	}
	for _, w := range sum.Capture.Warnings {
		fmt.Fprintf(stderr, "tcpwatch: %s\n", w)
	}
}

// summary is what reports tell of a run.
func summary(s watch.Summary) record.Summary {
	c := &s.Capture
	return record.Summary{
		Packets: uint64(c.Packets), TCPPackets: uint64(c.Segments), Bytes: uint64(c.Bytes),
		Filtered: uint64(c.Filtered), Later: uint64(c.Later),
		First: c.First, Last: c.Last, Now: c.Until,
		Truncated: c.Truncated, Dropped: uint64(c.Dropped), Undecodable: uint64(c.Undecodable), Evicted: s.Tracker.Evicted,
	}
}

// errNoCommand says that there is no such command.
func errNoCommand(name string) error { return fmt.Errorf("%q is no command of tcpwatch", name) }
