package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/policy"
)

// checkFlags are the flags of check as they were typed.
type checkFlags struct {
	readFlags
	output, policy, baseline, undecided string
	rules                               []policy.Flag
	update, strict, schema              bool
}

func newCheck() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Judge captures by rules, for CI",
		Long: `check judges captures and exits 1 if one breaks a rule, 2 if one cannot be read.
Each file is a capture of its own. Without a policy the rule is that no anomaly of
severity error occurs.

A capture fails a rule by what it shows: anomalies that are proved or assumed, and
states. Undecided is only: an anomaly that is ambiguous; a state that is assumed,
where another that is possible keeps the rule (--strict takes it as it stands); and
what the capture cannot answer, because it is cut off, shows one direction or lacks
packets. What is undecided is printed and fails nothing (see --undecided).

A policy is a YAML file of rules:

  rules:
    - name: no leaked sockets
      match: server.port == 8080
      forbid: server.state == CLOSE_WAIT
    - name: the client closes first
      port: 8080
      expect: {client: TIME_WAIT, server: CLOSED}
    - name: few connections
      count: count(connections, .client.retransmits > 0) <= 2
    - name: nothing serious
      deny: [warning, time-wait-reuse-safe]
      allow: [connection-refused]

Expressions are those of github.com/expr-lang/expr over the fields of the jsonl
record; states (TIME_WAIT) and kinds (connection_refused) are words in them. What
a record lacks is nil: (handshake_rtt ?? 0) < 0.1.`,
		Example: `  tcpwatch check test.pcap                                        # no error may occur
  tcpwatch check --deny warning --allow connection-refused test.pcap
  tcpwatch check --forbid 'server.state == CLOSE_WAIT' test.pcap  # no leaked socket
  tcpwatch check --require '(handshake_rtt ?? 0) < 0.1' --where 'server.port == 443' test.pcap
  tcpwatch check --policy tcpwatch.yaml -o junit captures/*.pcap > junit.xml
  tcpwatch check --anomaly time-wait-assassination -w odd.pcapng captures/*.pcap
  tcpwatch check --baseline tcpwatch.baseline --update test.pcap  # write down what it shows
  tcpwatch check --baseline tcpwatch.baseline test.pcap           # later: it must show the same`,
		Args: func(c *cobra.Command, args []string) error {
			if f.schema {
				return cobra.NoArgs(c, args)
			}
			return needsCapture(c, args)
		},
		RunE: func(c *cobra.Command, files []string) error {
			if f.schema {
				_, err := c.OutOrStdout().Write(policy.Schema())
				return err
			}
			return f.run(c.Context(), files, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "text", "output `format`: "+strings.Join(check.Formats(), ", "))
	fl.StringVar(&f.policy, "policy", "", "judge by the rules of that `file`")
	fl.Var(&ruleFlag{&f.rules, "deny", "kind|severity", true}, "deny", "no such anomaly may occur; a severity means it and above")
	fl.Var(&ruleFlag{&f.rules, "allow", "kind|severity", true}, "allow", "such an anomaly may occur all the same; a severity means it and below")
	fl.Var(&ruleFlag{&f.rules, "require", "expr", false}, "require", "this expression must be true of every connection")
	fl.Var(&ruleFlag{&f.rules, "forbid", "expr", false}, "forbid", "this expression may be true of no connection")
	fl.StringVar(&f.baseline, "baseline", "", "each capture must show what that `file` says it showed: states and anomalies, counted, without times and the client's ports")
	fl.BoolVar(&f.update, "update", false, "write the --baseline anew instead")
	fl.BoolVar(&f.strict, "strict", false, "take states that are assumed as they stand; a capture that is cut off is an error")
	fl.StringVar(&f.undecided, "undecided", "warn", "what a capture cannot answer: "+strings.Join(policy.UndecidedNames(), ", "))
	f.selectionFlags(c)
	f.windowFlags(c)
	f.trackingFlags(c)
	f.saveFlags(c)
	f.displayFlags(c)
	fl.BoolVar(&f.schema, "schema", false, "print the JSON Schema of a policy, and do nothing else")
	complete(c, "output", check.Formats())
	complete(c, "deny", slices.Concat(policy.Severities(), kindNames()))
	complete(c, "allow", slices.Concat(policy.Severities(), kindNames()))
	complete(c, "undecided", policy.UndecidedNames())
	// The flag exists, so this cannot fail.
	_ = c.MarkFlagFilename("policy", "yaml", "yml")
	return c
}

// ruleFlag collects the rules that are typed, in their order.
type ruleFlag struct {
	rules *[]policy.Flag
	key   string
	typ   string
	list  bool // several with commas between them
}

// String returns what was typed.
func (f *ruleFlag) String() string {
	var typed []string
	for _, rule := range *f.rules {
		if rule.Key == f.key {
			typed = append(typed, rule.Text)
		}
	}
	return strings.Join(typed, ",")
}

func (f *ruleFlag) Type() string { return f.typ }
func (f *ruleFlag) Set(text string) error {
	parts := []string{text}
	if f.list {
		parts = strings.Split(text, ",")
	}
	for _, part := range parts {
		*f.rules = append(*f.rules, policy.Flag{Key: f.key, Text: strings.TrimSpace(part)})
	}
	return nil
}

// run checks the files.
func (f *checkFlags) run(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	k, err := f.prepare(files, stderr)
	if err != nil {
		return err
	}
	k.Out, k.Shown = stdout, check.Options{Version: version(), Width: width(stdout)}
	if k.Shown.Color, err = colour(f.color, stdout); err != nil {
		return err
	}
	if f.output == "html" {
		page := replayFlags{readFlags: f.readFlags, by: "server", times: "utc"}
		if k.Page, err = page.reportOptions(stdout); err != nil {
			return err
		}
		k.Page.Name = html.Title(files)
	}
	outcome, err := k.Run(ctx)
	switch {
	case err != nil:
		return err
	case outcome == run.Violated:
		return exitStatus(exitViolation)
	case outcome == run.Unread:
		return exitStatus(exitUsage)
	}
	return nil
}

// prepare reads the flags that say what is checked.
func (f *checkFlags) prepare(files []string, stderr io.Writer) (k *run.Check, err error) {
	k = &run.Check{Policy: f.policy, Rules: f.rules, Update: f.update, Where: f.condition, Output: f.output}
	if k.Judging.Undecided, err = policy.ParseUndecided(f.undecided); err != nil {
		return nil, fmt.Errorf("--undecided: %w", err)
	}
	k.Judging.Strict = f.strict
	if f.update && f.baseline == "" {
		return nil, run.WithHint(errors.New("--update writes a baseline, and none is named"), "--baseline tcpwatch.baseline --update")
	}
	if n := len(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f != "-" })); n > 1 {
		return nil, errors.New("- is given more than once: standard input is one capture")
	}
	if f.baseline != "" {
		if k.Baseline, err = policy.OpenBaseline(f.baseline, f.update, files); err != nil {
			return nil, err
		}
	}
	co, err := f.captureOptions()
	if err != nil {
		return nil, err
	}
	if k.Chosen, err = f.selection(); err != nil {
		return nil, err
	}
	if _, err = f.condition(); err != nil {
		return nil, err
	}
	k.Reading, err = f.reading(files, co, stderr)
	return k, err
}
