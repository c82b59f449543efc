package cmd

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// replayFlags are the flags of replay as they were typed.
type replayFlags struct {
	readFlags
	output, by, sort, times, on         string
	listening, events, noHeader, strict bool
	allAnomalies, learned               bool
}

func newReplay() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay FILE...",
		Short: "Read captures to the end and print both ends of every connection",
		Long: `replay reads captures (pcap, pcapng, snoop, ERF or Network Monitor, also
compressed; - is standard input) and prints the state of both ends of every TCP
connection. This is the state of the end if the captured segments arrived. A "?"
means that it is only assumed. Without "?", the end's own segments show the state,
or nothing has contradicted it for longer than a retransmission would have taken.

Several files are read as one capture, in the order of their first packets.
Frame numbers continue from file to file.

-w writes the packets of the selected connections to a pcapng file. Each packet
has a comment, which Wireshark shows: its number in the capture, its state
changes, why it was refused, and its anomalies.`,
		Example: `  tcpwatch replay file.pcap
  tcpwatch replay -o wide -f 'host 10.0.0.1 and port 443' file.pcapng.gz
  tcpwatch replay -o services file.pcap
  tcpwatch replay --names file.pcap
  tcpwatch replay --on 10.0.0.1 --at +12.5s file.pcap
  tcpwatch replay --anomaly forged-rst -w forged.pcapng *.pcap.gz
  tcpwatch replay -o json file.pcap | jq '.connections[] | select(.closed_by == "refused")'`,
		Args: needsCapture,
		RunE: func(c *cobra.Command, files []string) error {
			return f.run(c.Context(), files, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "table", "output `format`: "+strings.Join(report.ReplayFormats(), ", "))
	byFlag(c, &f.by)
	f.selectionFlags(c)
	fl.StringVar(&f.on, "on", "", "show what netstat -tan would have shown on this `host` (an address)")
	fl.BoolVarP(&f.listening, "listening", "l", false, "show the listening sockets that the traffic reveals")
	namesFlag(c, &f.names)
	f.atFlag(c)
	f.windowFlags(c)
	f.trackingFlags(c)
	f.hubFlag(c)
	f.sensorFlags.add(c)
	f.saveFlags(c)
	fl.BoolVar(&f.events, "events", false, "also print every transition and anomaly (json, jsonl)")
	fl.StringVar(&f.sort, "sort", "", "sort by this `field` of the records; -field reverses the order")
	f.tableFlags(c)
	f.displayFlags(c)
	fl.BoolVar(&f.strict, "strict", false, "treat a capture that is cut off as an error")
	fl.BoolVar(&f.learned, "learned", false, "say what was learned of ordinary connections")
	_ = fl.MarkHidden("learned") // the flag exists, so this cannot fail
	complete(c, "output", report.ReplayFormats())
	complete(c, "sort", record.SortFields())
	return c
}

// tableFlags adds the flags that say how tables look.
func (f *replayFlags) tableFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.BoolVar(&f.noHeader, "no-header", false, "no column titles")
	fl.BoolVar(&f.allAnomalies, "all-anomalies", false, "list every anomaly in tables, also equal ones and those that another one explains")
	fl.StringVar(&f.times, "time", "utc", "times in tables: utc, local, relative")
	complete(c, "time", []string{"utc", "local", "relative"})
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
			return o, run.WithHint(fmt.Errorf("--on %q: not an IP address", f.on), "names are not looked up; give the host's address")
		}
	}
	if o.Time, err = text.ParseTimeStyle(f.times); err != nil {
		return o, fmt.Errorf("--time: %w", err)
	}
	if o.Color, err = colour(f.color, stdout); err != nil {
		return o, err
	}
	o.Names = f.names
	o.Listening, o.Events, o.Sort, o.NoHeader = f.listening, f.events, f.sort, f.noHeader
	o.AllAnomalies = f.allAnomalies
	o.Existing = f.at != ""
	o.Width, o.Height = width(stdout), height(stdout)
	o.By, err = record.ParseServiceRows(f.by)
	return o, err
}

// run replays the files.
func (f *replayFlags) run(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	if s, err := f.sends(stderr); s != nil || err != nil {
		if err != nil {
			return err
		}
		return f.send(ctx, s, files)
	}
	o, err := f.reportOptions(stdout)
	if err != nil {
		return err
	}
	o.Name = html.Title(files)
	o.LeakAfter = f.leakAfter
	o.Whole = f.at == "" && f.until == "" && f.since == ""
	r, err := f.replay(files, o, stdout, stderr)
	if err != nil {
		return err
	}
	return f.done(r.Run(ctx))
}

// replay reads the flags that say what is replayed.
func (f *replayFlags) replay(files []string, o record.Options, stdout, stderr io.Writer) (*run.Replay, error) {
	r := &run.Replay{On: o.On, Ladders: f.output == "html", Still: !o.Events, Learned: f.learned, Strict: f.strict, Selects: func(c *tracker.Record) bool { return o.Selects(c, false) }}
	co, err := f.captureOptions()
	if err != nil {
		return nil, err
	}
	list, _, err := f.tapList()
	if err != nil {
		return nil, err
	}
	for i := range list {
		o.Taps = append(o.Taps, list[i].Name)
	}
	if r.Reading, err = f.reading(files, co, stderr); err != nil {
		return nil, err
	}
	o.Memory = f.rows
	printer := func() (record.Printer, error) { return report.New(f.output, stdout, o) }
	if !report.Streams(f.output) && r.Save.Path == "" && len(r.Taps) == 0 {
		r.Again = printer
	}
	r.Printer, err = printer()
	return r, err
}

// errNoCommand says that there is no such command.
func errNoCommand(name string) error { return fmt.Errorf("unknown command %q", name) }
