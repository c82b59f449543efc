package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// compareFlags are the flags of compare as they were typed.
type compareFlags struct {
	readFlags
	output, times string
	noHeader      bool
}

func newCompare() *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare [NAME=]FILE [NAME=]FILE...",
		Short: "Compare captures of the same traffic, made at two places or more",
		Long: `compare says what happened to packets between the places where they were
captured: what was lost, copied, reordered, changed or forged there, and how long
packets took. It finds out by itself which capture is nearer to which host, and
how far the clocks are apart. What is wrong comes first, then the tables.

A packet that a capture lacks was lost only if its receiver did not acknowledge
it. Otherwise the capture missed it.

A one-way delay is as exact as the clocks are known, which the column Bound
says. The sum of both ways does not depend on the clocks.

Several files of one place have the same NAME. Frame numbers are those of each
capture. "replay --tap" shows the connections of the same captures, "explain
--tap" draws them, and "replay --tap -o packets" lists the packets. With --hub the
arguments are names of its sensors.`,
		Example: `  tcpwatch compare client.pcap server.pcap
  tcpwatch compare client=a.pcap firewall=b.pcap server=c.pcap
  tcpwatch compare -f 'host 10.0.0.1' --at-ends client.pcap server.pcap
  tcpwatch compare --hub nats://127.0.0.1:4222 client server
  tcpwatch compare -o json client.pcap server.pcap | jq '.summary.taps[1].forward.lost'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return run.WithHint(fmt.Errorf("%s needs captures of two places or more", c.Name()), c.CommandPath()+" client.pcap server.pcap")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "text", "output `format`: "+strings.Join(report.CompareFormats(), ", "))
	f.filterFlags(c)
	f.windowFlags(c)
	f.trackingFlags(c)
	f.hubFlag(c)
	_ = fl.MarkHidden(tapsKey) // the arguments are the taps; the flag exists
	fl.BoolVar(&f.noHeader, "no-header", false, "no column titles")
	fl.StringVar(&f.times, "time", "utc", "times: utc, local, relative")
	f.displayFlags(c)
	complete(c, "output", report.CompareFormats())
	complete(c, "time", []string{"utc", "local", "relative"})
	return c
}

// run compares the files.
func (f *compareFlags) run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o := record.Options{NoHeader: f.noHeader, Width: width(stdout)}
	if o.Time, err = text.ParseTimeStyle(f.times); err != nil {
		return fmt.Errorf("--time: %w", err)
	}
	if o.Color, err = colour(f.color, stdout); err != nil {
		return err
	}
	co, err := f.captureOptions()
	if err != nil {
		return err
	}
	if len(f.taps) > 0 {
		return run.WithHint(fmt.Errorf("--tap %q: compare takes captures as arguments", f.taps[0]), "tcpwatch compare "+strings.Join(append(f.taps, args...), " "))
	}
	if f.hub != "" {
		f.taps = args
	} else if f.given, err = tapsOf(args); err != nil {
		return err
	}
	var c run.Compare
	if c.Printer, err = report.NewCompare(f.output, stdout, o); err != nil {
		return err
	}
	if c.Reading, err = f.reading(nil, co, stderr); err != nil {
		return err
	}
	return c.Run(ctx)
}

// tapsOf reads arguments FILE and NAME=FILE. Files that are named alike are of one place;
// those without a name are of different ones.
func tapsOf(args []string) (list []taps.Tap, err error) {
	named := make(map[string]int) // places in list
	taken := make(map[string]bool)
	for _, arg := range args {
		if name, file, ok := cutName(arg); ok {
			if file == "" {
				return nil, fmt.Errorf("%q: must be FILE or NAME=FILE, such as client=a.pcap", arg)
			}
			if i, known := named[name]; known {
				list[i].Files = append(list[i].Files, file)
				continue
			}
			named[name], taken[name] = len(list), true
			list = append(list, taps.Tap{Name: name, Files: []string{file}})
			continue
		}
		list = append(list, taps.Tap{Files: []string{arg}})
	}
	for i := range list {
		if list[i].Name != "" {
			continue
		}
		stem := between.Stem(list[i].Files[0])
		name := stem
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s-%d", stem, n)
		}
		list[i].Name, taken[name] = name, true
	}
	for _, t := range list {
		for _, file := range t.Files {
			if file == "-" {
				return nil, run.WithHint(fmt.Errorf("%q: must be a file, as it is read twice", file), "write standard input to a file first")
			}
		}
	}
	if len(list) < 2 {
		return nil, run.WithHint(fmt.Errorf("all files are of %q; compare needs captures of two places or more", list[0].Name), "tcpwatch compare client=a.pcap server=b.pcap")
	}
	return list, nil
}

// cutName cuts an argument NAME=FILE. A name has no slash in it: ./a=b.pcap is a file.
func cutName(arg string) (name, file string, ok bool) {
	name, file, ok = strings.Cut(arg, "=")
	if !ok || name == "" || strings.ContainsAny(name, `/\`) {
		return "", arg, false
	}
	return name, file, true
}
