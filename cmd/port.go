package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// portFlags are the flags of port as they were typed.
type portFlags struct {
	readFlags
	times string
}

func newPort() *cobra.Command {
	var f portFlags
	c := &cobra.Command{
		Use:   "port [HOST:]PORT FILE...",
		Short: "Show who holds a port, and when it can be bound again",
		Long: `port explains "address already in use". It reads captures to the end, as replay
does, and prints the endpoints that hold the port, by address and state. For
each it shows how long the oldest is in that state, and when TIME_WAIT ends.
Below, it says when the port can be bound again, and whose connections were
refused.

bind(2) fails while a socket on the port is not CLOSED; TIME_WAIT counts too.
With SO_REUSEADDR on the old sockets and the new one, it fails only while
another socket listens. A capture shows only sockets that sent or received
packets in it.`,
		Example: `  tcpwatch port 8080 file.pcap
  tcpwatch port 10.0.0.1:8080 --at +90s file.pcap
  tcpwatch port '[2001:db8::1]:443' *.pcap.gz`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return run.WithHint(errors.New("port needs a port and a capture to read"), c.CommandPath()+" 8080 file.pcap")
			}
			if _, _, err := parsePort(args[0]); err != nil {
				return err
			}
			if len(args) == 1 {
				return run.WithHint(errors.New("port needs a capture to read"), fmt.Sprintf("%s %s file.pcap, or - for standard input", c.CommandPath(), args[0]))
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp // a port is no file
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), args[0], args[1:], c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	f.selectionFlags(c)
	namesFlag(c, &f.names)
	f.atFlag(c)
	f.windowFlags(c)
	f.trackingFlags(c)
	fl.StringVar(&f.times, "time", "utc", "times: utc, local, relative")
	f.displayFlags(c)
	complete(c, "time", []string{"utc", "local", "relative"})
	return c
}

// parsePort reads a port, or the address of a host with it.
func parsePort(name string) (port uint16, host netip.Addr, err error) {
	if !strings.Contains(name, ":") {
		n, err := strconv.ParseUint(name, 10, 16)
		if err == nil && n > 0 {
			return uint16(n), host, nil
		}
	} else if at, err := netip.ParseAddrPort(name); err == nil && at.Port() > 0 {
		return at.Port(), at.Addr().Unmap(), nil
	}
	return 0, host, run.WithHint(fmt.Errorf("%q: not a valid port", text.Escape(name)), "tcpwatch port 8080 file.pcap, or with an address: 10.0.0.1:8080, '[2001:db8::1]:8080'")
}

// run reads the files.
func (f *portFlags) run(ctx context.Context, name string, files []string, stdout, stderr io.Writer) error {
	port, host, err := parsePort(name)
	if err != nil {
		return err
	}
	p := run.Port{Holders: table.NewPort(port, host), Out: stdout, Options: record.Options{Width: width(stdout), Names: f.names}}
	if p.Options.Filter, err = f.selection(); err != nil {
		return err
	}
	if p.Options.Where, err = f.condition(); err != nil {
		return err
	}
	if p.Options.Time, err = text.ParseTimeStyle(f.times); err != nil {
		return fmt.Errorf("--time: %w", err)
	}
	if p.Options.Color, err = colour(f.color, stdout); err != nil {
		return err
	}
	co, err := f.captureOptions()
	if err != nil {
		return err
	}
	if p.Reading, err = f.reading(files, co, stderr); err != nil {
		return err
	}
	return f.done(p.Run(ctx))
}
