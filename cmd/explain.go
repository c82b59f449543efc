package cmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// explainFlags are the flags of explain as they were typed.
type explainFlags struct {
	readFlags
	output        string
	conns         []int
	tuple         string
	absolute, all bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain FILE...",
		Short: "Draw connections segment by segment, with the states of both ends",
		Long: `explain draws connections as the figures of RFC 9293 do: one line for each
segment, the client on the left, the server on the right. Next to each segment
are the states of both ends after it, as tcpwatch knew them at that packet. A
cell with PROVED..ASSUMED shows two states: the one that the end's own segments
prove, and the one it is in if the captured segments arrived. One state means
that both are the same. The lines below a segment say which state it changed and
why, and list its anomalies.

Times are seconds from the connection's first packet. Frame numbers are those of
the capture. Sequence numbers are relative to each end's first. The default
window, 1,000, is omitted. In an open connection, segments that change nothing
are folded, except the first and the last few. A narrow terminal omits the
options of SYNs, then the windows, the times, the arrows on the right and the
proved states. If that is not enough, the server's states move below the
segments.

The output of --absolute --all is a test: save it in tracker/testdata/views, and
it runs with the tests of tcpwatch.`,
		Example: `  tcpwatch explain file.pcap
  tcpwatch explain --conn 3 file.pcap | less -S
  tcpwatch explain --anomaly time-wait-assassination *.pcap
  tcpwatch explain --tuple 10.0.0.1:40034-10.0.0.2:443 --at '#120' file.pcapng.gz
  tcpwatch explain -o html --conn 3 file.pcap > report.html
  tcpwatch explain --conn 3 -w conn3.pcapng file.pcap
  tcpwatch explain --absolute --all --conn 3 file.pcap > tracker/testdata/views/bug.txt`,
		Args: needsCapture,
		RunE: func(c *cobra.Command, files []string) error {
			return f.run(c.Context(), files, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "text", "output `format`: "+strings.Join(explainFormats, ", "))
	fl.IntSliceVar(&f.conns, "conn", nil, "only the connections with these `numbers`, as replay shows them")
	fl.StringVar(&f.tuple, "tuple", "", "only the connections between these `addresses` and ports, A:P-B:Q")
	f.selectionFlags(c)
	f.atFlag(c)
	f.windowFlags(c)
	f.trackingFlags(c)
	f.hubFlag(c)
	f.saveFlags(c)
	fl.BoolVar(&f.absolute, "absolute", false, "show absolute sequence numbers")
	fl.BoolVar(&f.all, "all", false, "show every segment, fold none")
	f.displayFlags(c)
	complete(c, "output", explainFormats)
	// The flag exists, so this cannot fail.
	_ = c.RegisterFlagCompletionFunc("conn", f.completeConn)
	return c
}

// drawnAtOnce is how many connections are drawn in one go.
const drawnAtOnce = 50_000

// explainFormats are the output formats of explain.
var explainFormats = []string{"text", "html"}

// run explains the files.
func (f *explainFlags) run(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	if !slices.Contains(explainFormats, f.output) {
		return fmt.Errorf("unknown output format %q (%s)", text.Escape(f.output), strings.Join(explainFormats, ", "))
	}
	wanted, err := f.wanted()
	if err != nil {
		return err
	}
	if f.output == "html" {
		return f.page(ctx, files, wanted, stdout, stderr)
	}
	co, err := f.captureOptions()
	if err != nil {
		return err
	}
	seen := 0
	x := run.Explain{
		Wanted: func(r *tracker.Record) bool {
			seen++
			return wanted(r)
		},
		Before: func() error { return f.numbered(seen) },
		Ladder: ladder.Options{Absolute: f.absolute, All: f.all, Width: width(stdout), Stack: f.stack, TwoMSL: f.twoMSL, LeakAfter: f.leakAfter},
		AtOnce: drawnAtOnce,
		Out:    stdout,
	}
	if x.Ladder.Color, err = colour(f.color, stdout); err != nil {
		return err
	}
	if x.Reading, err = f.reading(files, co, stderr); err != nil {
		return err
	}
	return f.done(x.Run(ctx))
}

// numbered checks the numbers of connections that were asked for.
func (f *explainFlags) numbered(seen int) error {
	for _, n := range f.conns {
		if n < 1 || n > seen {
			return run.WithHint(fmt.Errorf("--conn %d: no such connection; they are numbered from 1 to %d", n, seen), "tcpwatch replay lists them")
		}
	}
	return nil
}

// page prints the connections as a page for the browser.
func (f *explainFlags) page(ctx context.Context, files []string, wanted func(*tracker.Record) bool, stdout, stderr io.Writer) error {
	as := replayFlags{readFlags: f.readFlags, output: "html"}
	seen := 0
	o := record.Options{Name: html.Title(files), Absolute: f.absolute, All: f.all, Where: func(r *tracker.Record) bool {
		seen++
		return wanted(r)
	}}
	r, err := as.replay(files, o, stdout, stderr)
	if err != nil {
		return err
	}
	r.Selects = wanted
	r.Before = func() error { return f.numbered(seen) }
	return f.done(r.Run(ctx))
}

// wanted returns what tells whether a connection is to be drawn.
func (f *explainFlags) wanted() (func(*tracker.Record) bool, error) {
	filter, err := f.selection()
	if err != nil {
		return nil, err
	}
	where, err := f.condition()
	if err != nil {
		return nil, err
	}
	var tuple record.Tuple
	if f.tuple != "" {
		if tuple, err = record.ParseTuple(f.tuple); err != nil {
			return nil, run.WithHint(fmt.Errorf("--tuple %w", err),
				"--tuple 10.0.0.1:40034-10.0.0.2:443, or --tuple '[2001:db8::1]:40034-[2001:db8::2]:443'")
		}
	}
	return func(r *tracker.Record) bool {
		return (len(f.conns) == 0 || slices.Contains(f.conns, r.Conn)) &&
			tuple.Has(r) && filter.Has(r) && (where == nil || where(r))
	}, nil
}

// completeConn completes the number of a connection, with its addresses, where
// the captures are named already and are small.
func (f *explainFlags) completeConn(c *cobra.Command, files []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const small = 16 << 20
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > small {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	co, err := f.captureOptions()
	if err != nil || len(files) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []cobra.Completion
	r, _ := f.reading(files, co, io.Discard) // what cannot be read completes nothing
	_, _ = r.Connections(c.Context(), func(r *tracker.Record) {
		what := fmt.Sprintf("%v %v", r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr)
		list = append(list, cobra.CompletionWithDesc(fmt.Sprint(r.Conn), what))
	})
	return list, cobra.ShellCompDirectiveNoFileComp
}
