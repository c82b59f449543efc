package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// replayFlags are the flags of replay as they were typed.
type replayFlags struct {
	output, filter, sort, times, color string
	states, kinds                      []string
	on, at                             string
	listening, events, noHeader        bool
	stack                              string
	twoMSL                             time.Duration
	outer, verify, strict              bool
	quiet, noProgress                  bool
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
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return withHint(errors.New("replay needs a capture to read"), "tcpwatch replay file.pcap, or - for standard input")
			}
			return nil
		},
		RunE: func(c *cobra.Command, files []string) error {
			return f.run(c.Context(), files, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "table", "output `format`: "+strings.Join(report.Formats(), ", "))
	fl.StringVarP(&f.filter, "filter", "f", "", "tcpdump filter, applied before tracking")
	fl.StringSliceVar(&f.states, "state", nil, "only connections with an end in one of these `states` (any usual spelling)")
	fl.StringSliceVar(&f.kinds, "anomaly", nil, "only connections flagged with one of these `kinds`")
	fl.StringVar(&f.on, "on", "", "what netstat -tan would have shown on that `host` (an address)")
	fl.BoolVarP(&f.listening, "listening", "l", false, "the listening sockets that the traffic gives away")
	fl.StringVar(&f.at, "at", "", "what tcpwatch would have said at that `time`: RFC 3339, +12.5s from the first packet, or #1234 after that frame")
	fl.StringVar(&f.stack, "stack", "linux", "timers and choices of the endpoints: "+strings.Join(tracker.Stacks(), ", "))
	fl.DurationVar(&f.twoMSL, "2msl", 0, "how long TIME_WAIT is held; 0 leaves it to the stack")
	fl.BoolVar(&f.events, "events", false, "every transition and anomaly too (json, jsonl)")
	fl.BoolVar(&f.outer, "outer", false, "leave tunnels closed: follow the outermost TCP")
	fl.BoolVar(&f.verify, "verify-checksums", false, "check every TCP checksum, not only those of SYN, FIN and RST")
	fl.StringVar(&f.sort, "sort", "", "sort by that `field` of the records, -field the other way round")
	fl.BoolVar(&f.noHeader, "no-header", false, "no column titles")
	fl.StringVar(&f.times, "time", "utc", "times in tables: utc, local, relative")
	fl.StringVar(&f.color, "color", "auto", "auto, always, never")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress bar")
	fl.BoolVar(&f.noProgress, "no-progress", false, "no progress bar")
	fl.BoolVar(&f.strict, "strict", false, "a capture that is cut off is an error")
	complete := func(flag string, words []string) {
		// The flag exists, so this cannot fail.
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	complete("output", report.Formats())
	complete("stack", tracker.Stacks())
	complete("color", []string{"auto", "always", "never"})
	complete("time", []string{"utc", "local", "relative"})
	complete("sort", report.SortFields())
	complete("state", stateNames())
	complete("anomaly", kindNames())
	return c
}

func stateNames() (names []string) {
	for _, s := range tracker.States() {
		names = append(names, s.String())
	}
	return names
}

func kindNames() (names []string) {
	for _, k := range tracker.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// reportOptions reads the flags that say what is printed, and how.
func (f *replayFlags) reportOptions(stdout io.Writer) (o report.Options, err error) {
	for _, name := range f.states {
		s, err := tracker.ParseState(name)
		if err != nil {
			return o, fmt.Errorf("--state: %w", err)
		}
		o.Filter.States = append(o.Filter.States, s)
	}
	for _, name := range f.kinds {
		if _, err := tracker.ParseKind(name); err != nil {
			return o, fmt.Errorf("--anomaly: %w (%s)", err, strings.Join(kindNames(), ", "))
		}
		o.Filter.Kinds = append(o.Filter.Kinds, name)
	}
	if f.on != "" {
		if o.On, err = netip.ParseAddr(f.on); err != nil {
			return o, withHint(fmt.Errorf("--on %q is no address", f.on), "names are not looked up; give the host's address")
		}
	}
	if o.Time, err = report.ParseTimeStyle(f.times); err != nil {
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

// captureOptions reads the flags that say how the captures are read.
func (f *replayFlags) captureOptions() (o capture.Options, err error) {
	if f.filter != "" {
		if o.Filter, err = capture.ParseFilter(f.filter); err != nil {
			return o, err
		}
	}
	if o.Until, err = parseAt(f.at); err != nil {
		return o, err
	}
	o.Outer, o.VerifyChecksums = f.outer, f.verify
	return o, nil
}

// run replays the files.
func (f *replayFlags) run(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	ro, err := f.reportOptions(stdout)
	if err != nil {
		return err
	}
	co, err := f.captureOptions()
	if err != nil {
		return err
	}
	printer, err := report.New(f.output, stdout, ro)
	if err != nil {
		return err
	}
	var printed error
	crowd := tracker.NewCrowd(func(e tracker.Event) {
		if printed == nil {
			printed = printer.Event(e)
		}
	})
	tk, err := tracker.New(tracker.Config{Stack: f.stack, TwoMSL: f.twoMSL}, crowd.Event)
	if err != nil {
		return fmt.Errorf("--stack: %w", err)
	}
	src, err := capture.Open(files, co)
	if err != nil {
		return err
	}
	defer src.Close()

	bar := newProgress(stderr, !f.quiet && !f.noProgress)
	err = pump(ctx, src, tk, bar, &printed)
	bar.done()
	if err != nil {
		return err
	}
	if printed != nil {
		return printed
	}
	stats := src.Stats()
	tk.Advance(stats.Until)
	tk.Close()
	crowd.Close()
	if printed != nil {
		return printed
	}
	for _, w := range stats.Warnings {
		fmt.Fprintf(stderr, "tcpwatch: %s\n", w)
	}
	if err := printer.Close(summary(stats, tk.Stats())); err != nil {
		return err
	}
	if f.strict && stats.Truncated {
		return errors.New("the capture is cut off (--strict)")
	}
	return nil
}

// pump hands the segments of the source to the tracker until there are no
// more, the user interrupts, or what is printed meets an error.
func pump(ctx context.Context, src *capture.Source, tk *tracker.Tracker, bar *progress, printed *error) error {
	const often = 1 << 12
	n := 0
	for s, err := range src.Segments() {
		if err != nil {
			return err
		}
		tk.Observe(s)
		if n++; n%often == 0 {
			stats := src.Stats()
			bar.at(stats.Read, stats.Size)
			if ctx.Err() != nil {
				return nil
			}
		}
		if *printed != nil {
			return nil
		}
	}
	return nil
}

// summary joins what the capture and the tracker counted.
func summary(c capture.Stats, t tracker.Stats) report.Summary {
	return report.Summary{
		Packets: uint64(c.Packets), TCPPackets: uint64(c.Segments), Bytes: uint64(c.Bytes),
		First: c.First, Last: c.Last,
		Truncated: c.Truncated, Dropped: uint64(c.Dropped), Undecodable: uint64(c.Undecodable), Evicted: t.Evicted,
	}
}

// errNoCommand says that there is no such command.
func errNoCommand(name string) error { return fmt.Errorf("%q is no command of tcpwatch", name) }
