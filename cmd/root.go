// Package cmd is the command line: flags, help, and one call. A command is a
// file. Package run, below, does what it asks for; package watch has the way of a
// capture through it all.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// The rules of what goes where. Standard output carries data only. Everything
// else goes to standard error, prefixed "tcpwatch: ", one line a matter, without
// a period; where there is a way out, "tcpwatch: hint: " names it. The exit
// status is 0 when done, also after Ctrl-C or when the reader of a pipe has
// gone, 1 where check found a violation, and 2 for wrong usage and for files that
// cannot be read.

const (
	exitDone      = 0
	exitViolation = 1
	exitUsage     = 2
)

// exitStatus is an error of which everything was said already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// confined is set where the process is ours, so that live may give up what it does
// not need.
var confined bool

// Main runs the command line of the process and returns its exit status.
func Main() int {
	confined = true
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error of the write, and then no error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { // a second Ctrl-C ends the process at once
		time.Sleep(100 * time.Millisecond) // timeout(1) sends two together
		stop()
	})
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// execute executes the arguments.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	c, err := root.ExecuteContextC(ctx)
	if err == nil || report.IsBrokenPipe(err) {
		return exitDone
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	err = misspelt(c, err)
	text.SayError(stderr, err)
	run.TellHint(stderr, err)
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tcpwatch",
		Short: "Watch TCP from outside: the states of both ends of every connection",
		Long: `tcpwatch works out from packets alone which of the 11 states of RFC 9293 both
ends of every TCP connection are in. It says how sure each state is, and names
what went wrong. It reads the captures that tcpdump and Wireshark write.`,
		Example: `  tcpwatch replay file.pcap
  tcpwatch replay -o wide --state time-wait,close-wait *.pcap
  tcpdump -w - tcp | tcpwatch replay -o jsonl --events -`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("tcpwatch {{.Version}}\n")
	root.SetHelpTemplate(helpTemplate)
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(flagError)
	root.DisableSuggestions = true // cobra's take lines; ours are a hint
	root.PersistentFlags().SortFlags = false
	root.AddCommand(newReplay(), newLive(), newExplain(), newCheck(), newCompare(), newPort(), newHub(), newSensors(), newAnomalies(), newStates(), newInterfaces(), newVersion(), newMan(), newAnswer())
	profiles(root)
	return root
}
