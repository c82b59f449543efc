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
		Short: "Check captures against rules, for CI",
		Long: `check checks captures against rules. It exits with 1 if a capture breaks a rule,
with 2 if a capture cannot be read. Each file is a separate capture. Without a
policy there is one rule: no anomaly of severity error.

Proved and assumed anomalies, and states, can fail a rule. A rule is undecided
only if:
  - the anomaly is ambiguous
  - the state is assumed, and another possible state keeps the rule (--strict
    accepts only the assumed state)
  - the capture cannot answer: it is cut off, shows one direction only, or lacks
    packets
Undecided rules are printed but do not fail the check (see --undecided).

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

Expressions use the language of github.com/expr-lang/expr and the fields of the
jsonl record. States (TIME_WAIT) and kinds of anomalies (connection_refused) are
constants. A field that a record lacks is nil: (handshake_rtt ?? 0) < 0.1.`,
		Example: `  tcpwatch check test.pcap                                        # no error may occur
  tcpwatch check --deny warning --allow connection-refused test.pcap
  tcpwatch check --forbid 'server.state == CLOSE_WAIT' test.pcap  # no leaked socket
  tcpwatch check --require '(handshake_rtt ?? 0) < 0.1' --where 'server.port == 443' test.pcap
  tcpwatch check --policy tcpwatch.yaml -o junit captures/*.pcap > junit.xml
  tcpwatch check --anomaly time-wait-assassination -w odd.pcapng captures/*.pcap
  tcpwatch check --baseline tcpwatch.baseline --update test.pcap  # record what it shows
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
	fl.StringVar(&f.policy, "policy", "", "check the rules in this `file`")
	fl.Var(&ruleFlag{&f.rules, "deny", "kind|severity", true}, "deny", "forbid anomalies of this kind, or of this severity and above")
	fl.Var(&ruleFlag{&f.rules, "allow", "kind|severity", true}, "allow", "allow anomalies of this kind, or of this severity and below, although a rule denies them")
	fl.Var(&ruleFlag{&f.rules, "require", "expr", false}, "require", "this expression must be true for every connection")
	fl.Var(&ruleFlag{&f.rules, "forbid", "expr", false}, "forbid", "this expression must not be true for any connection")
	fl.StringVar(&f.baseline, "baseline", "", "each capture must show the same states and anomalies, counted, as recorded in this `file`; times and client ports are ignored")
	fl.BoolVar(&f.update, "update", false, "update the --baseline file instead of comparing with it")
	fl.BoolVar(&f.strict, "strict", false, "treat assumed states as certain; a capture that is cut off is an error")
	fl.StringVar(&f.undecided, "undecided", "warn", "what to do with undecided rules: "+strings.Join(policy.UndecidedNames(), ", "))
	f.selectionFlags(c)
	f.windowFlags(c)
	f.trackingFlags(c)
	f.hubFlag(c)
	f.saveFlags(c)
	f.displayFlags(c)
	fl.BoolVar(&f.schema, "schema", false, "print the JSON Schema of a policy and exit")
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
	k = &run.Check{Policy: f.policy, Rules: f.rules, Update: f.update, Where: f.newCondition, Output: f.output}
	if k.Judging.Undecided, err = policy.ParseUndecided(f.undecided); err != nil {
		return nil, fmt.Errorf("--undecided: %w", err)
	}
	k.Judging.Strict = f.strict
	if f.update && f.baseline == "" {
		return nil, run.WithHint(errors.New("--update needs --baseline"), "--baseline tcpwatch.baseline --update")
	}
	if n := len(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f != "-" })); n > 1 {
		return nil, errors.New("- is given more than once; standard input can be read only once")
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
	if _, err = f.newCondition(); err != nil {
		return nil, err
	}
	k.Reading, err = f.reading(files, co, stderr)
	k.Judging.Memory = f.rows
	return k, err
}
