package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/policy"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// check judges every file for itself, as many at a time as there are cores, each
// worker with rules of its own. What they find is printed in the order of the
// files; a worker waits when it is far ahead of what is printed, so that the
// memory does not grow with the number of files.

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

What is proved or settled can break a rule. What is only assumed is undecided, and
told, but fails nothing without --strict; so is what the capture cannot answer,
since it is cut off, shows one direction, or lacks packets (see --undecided).
expect alone compares the states as they stand, assumed or not.

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
		Example: `  tcpwatch check test.pcap
  tcpwatch check --policy tcpwatch.yaml -o junit captures/*.pcap > junit.xml
  tcpwatch check --deny warning --allow connection-refused test.pcap
  tcpwatch check --forbid 'server.state == CLOSE_WAIT' test.pcap
  tcpwatch check --baseline tcpwatch.baseline --update test.pcap`,
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
	fl.StringVar(&f.baseline, "baseline", "", "each capture must show what that `file` says it showed: states and anomalies, counted, without times and ports")
	fl.BoolVar(&f.update, "update", false, "write the --baseline anew instead")
	fl.BoolVar(&f.strict, "strict", false, "what is only assumed fails, too, and a capture that is cut off is an error")
	fl.StringVar(&f.undecided, "undecided", "warn", "what a capture cannot answer: "+strings.Join(policy.UndecidedNames(), ", "))
	f.selectionFlags(c)
	f.trackingFlags(c)
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

func (f *ruleFlag) String() string { return "" }
func (f *ruleFlag) Type() string   { return f.typ }
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

// A judged is what came of one file.
type judged struct {
	*check.Capture
	sum   watch.Summary
	shape func()
	fault error // of the rules: the run ends
}

// A checker is one run of check.
type checker struct {
	*checkFlags
	files   []string
	capture capture.Options
	tracker tracker.Config
	options policy.Options
	base    *policy.Baseline
	chosen  record.Selection
	workers int
	bar     *sharedBar

	stderr  io.Writer
	shown   check.Options
	printer check.Printer
	reread  func() error // see spool
	drawn   bool         // the ladder of the first failure
	asked   []bool       // by rule: it was about some connection
	status  exitStatus
	told    bool // that it was interrupted
}

// run checks the files.
func (f *checkFlags) run(ctx context.Context, files []string, stdout, stderr io.Writer) error {
	k := &checker{checkFlags: f, files: files, workers: min(runtime.GOMAXPROCS(0), len(files)), stderr: stderr}
	if err := k.prepare(); err != nil {
		return err
	}
	rules, err := policy.New(f.policy, f.rules, k.base)
	if err != nil {
		return err
	}
	k.shown = check.Options{Rules: rules.Rules(), Version: version(), Width: width(stdout)}
	if k.shown.Color, err = colour(f.color, stdout); err != nil {
		return err
	}
	if k.printer, err = f.printer(files, stdout, k.shown); err != nil {
		return err
	}
	reread, done, err := spool(files, &k.capture)
	if err != nil {
		return err
	}
	defer done()
	k.reread, k.drawn, k.asked = reread, f.output != "text", make([]bool, len(k.shown.Rules))
	k.bar = newSharedBar(f.progress(stderr), files)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := k.each(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil || k.told {
		if !k.told {
			warn(stderr, watch.Summary{Interrupted: true}, k.capture.Until)
		}
		return k.printer.Close()
	}
	return k.finish(ctx, stdout)
}

// each judges every file, and prints what came of it.
func (k *checker) each(ctx context.Context) error {
	defer k.bar.done()
	for r := range k.results(ctx) {
		if r.fault != nil {
			return r.fault
		}
		if k.say(r); k.told {
			return nil
		}
		if err := k.print(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// say says what is to be known of the reading of a file.
func (k *checker) say(r *judged) {
	if r.Err != nil {
		fmt.Fprintf(k.stderr, "tcpwatch: %v\n", r.Err)
		hint(k.stderr, r.Err)
		k.status = exitUsage
	}
	warn(k.stderr, r.sum, k.capture.Until)
	k.gaveUp(k.stderr, r.sum.Tracker.Evicted)
	k.told = r.sum.Interrupted
	if k.strict && r.sum.Capture.Truncated && !k.told {
		fmt.Fprintf(k.stderr, "tcpwatch: %s: the capture is cut off (--strict)\n", text.Escape(r.Path))
		k.status = exitUsage
	}
}

// print prints what was found in a file.
func (k *checker) print(ctx context.Context, r *judged) (err error) {
	for i, yes := range r.Asked {
		k.asked[i] = k.asked[i] || yes
	}
	if r.Verdict() == check.Failed {
		k.status = max(k.status, exitViolation)
	}
	if !k.drawn {
		if k.drawn, err = k.draw(ctx, r.Capture); err != nil {
			return err
		}
	}
	if r.shape != nil {
		r.shape()
	}
	return k.printer.Capture(r.Capture)
}

// finish ends a run that has judged all files. Its error is the exit status, if
// there is no other.
func (k *checker) finish(ctx context.Context, stdout io.Writer) error {
	for i, r := range k.shown.Rules {
		if r.File != "" && !k.asked[i] {
			fmt.Fprintf(k.stderr, "tcpwatch: %s:%d: rule %q was about no connection\n", text.Escape(r.File), r.Line, text.Escape(r.Name))
		}
	}
	if err := k.printer.Close(); err != nil {
		return err
	}
	if page, is := k.printer.(*checkPage); is && k.status != exitUsage {
		if err := k.page(ctx, k.files, page.failures, stdout); err != nil {
			return err
		}
	}
	if k.base != nil {
		if err := k.base.Write(); err != nil {
			return err
		}
	}
	if k.status != exitDone {
		return k.status
	}
	return nil
}

// checkPage gathers what the page of a capture tells of its check.
type checkPage struct {
	rules    []check.Rule
	failures []html.Failure
}

func (p *checkPage) Capture(c *check.Capture) error {
	for _, found := range c.Findings {
		if found.Verdict != check.Failed {
			continue
		}
		failure := html.Failure{Rule: p.rules[found.Rule].Name, Text: found.Text, Conn: found.Conn}
		if len(found.Packets) > 0 {
			failure.Packet = found.Packets[0]
		}
		p.failures = append(p.failures, failure)
	}
	return nil
}

func (p *checkPage) Close() error { return nil }

// printer returns what prints the findings.
func (f *checkFlags) printer(files []string, stdout io.Writer, o check.Options) (check.Printer, error) {
	if f.output != "html" {
		return check.New(f.output, stdout, o)
	}
	if len(files) != 1 || files[0] == "-" {
		return nil, withHint(errors.New("-o html shows one capture, a file"), "tcpwatch check -o html FILE > report.html")
	}
	return &checkPage{rules: o.Rules}, nil
}

// page writes the page of a capture, for which it is read once more.
func (f *checkFlags) page(ctx context.Context, files []string, failures []html.Failure, stdout io.Writer) error {
	r := replayFlags{readFlags: f.readFlags, output: "html", times: "utc"}
	o, err := r.reportOptions(stdout)
	if err != nil {
		return err
	}
	o.Name = titleOf(files)
	return r.replay(ctx, files, o, stdout, io.Discard, func(p record.Printer) error {
		html.Fail(p, failures)
		return nil
	})
}

// prepare reads the flags.
func (k *checker) prepare() (err error) {
	f := k.checkFlags
	if k.options.Undecided, err = policy.ParseUndecided(f.undecided); err != nil {
		return fmt.Errorf("--undecided: %w", err)
	}
	k.options.Strict = f.strict
	if f.update && f.baseline == "" {
		return withHint(errors.New("--update writes a baseline, and none is named"), "--baseline tcpwatch.baseline --update")
	}
	if n := len(slices.DeleteFunc(slices.Clone(k.files), func(f string) bool { return f != "-" })); n > 1 {
		return errors.New("- is given more than once: standard input is one capture")
	}
	if f.baseline != "" {
		if k.base, err = policy.OpenBaseline(f.baseline, f.update, k.files); err != nil {
			return err
		}
	}
	if k.capture, err = f.captureOptions(); err != nil {
		return err
	}
	if k.chosen, err = f.selection(); err != nil {
		return err
	}
	if _, err = f.condition(); err != nil {
		return err
	}
	if k.tracker, err = f.config(); err != nil {
		return err
	}
	if n := k.tracker.MaxConns; n > 0 {
		k.tracker.MaxConns = max(n/k.workers, 1)
	}
	return nil
}

// results judges the files, and hands out what came of them in their order. It
// is to be read to its end, or ctx cancelled.
func (k *checker) results(ctx context.Context) <-chan *judged {
	type job struct {
		path   string
		answer chan *judged
	}
	const ahead = 16 // files that a worker may be ahead of what is printed
	jobs := make(chan job)
	pending := make(chan chan *judged, ahead*k.workers)
	for range k.workers {
		go func() {
			w := k.worker()
			for j := range jobs {
				j.answer <- w(ctx, j.path)
			}
		}()
	}
	go func() {
		defer close(pending)
		defer close(jobs)
		for _, path := range k.files {
			answer := make(chan *judged, 1)
			select {
			case pending <- answer:
			case <-ctx.Done():
				return
			}
			jobs <- job{path, answer}
		}
	}()
	results := make(chan *judged)
	go func() {
		defer close(results)
		for answer := range pending {
			select {
			case results <- <-answer:
			case <-ctx.Done():
				return
			}
		}
	}()
	return results
}

// worker returns what judges one file after the other, with rules of its own.
func (k *checker) worker() func(ctx context.Context, path string) *judged {
	rules, err := policy.New(k.policy, k.rules, k.base)
	var where func(*tracker.Record) bool
	if err == nil {
		where, err = k.condition()
	}
	return func(ctx context.Context, path string) *judged {
		if err != nil {
			return &judged{fault: err} // the policy has changed in the meantime
		}
		return k.judge(ctx, path, rules, where)
	}
}

// judge judges one file.
func (k *checker) judge(ctx context.Context, path string, rules *policy.Policy, where func(*tracker.Record) bool) *judged {
	j := rules.Judge(path, k.options)
	take := func(e *tracker.Event) error {
		switch {
		case e.Kind == tracker.EventConnection && k.chosen.Has(e.Record) && (where == nil || where(e.Record)):
			j.Connection(e.Record)
		case e.Kind == tracker.EventAnomaly && e.Conn == 0 && k.chosen.HasAnomaly(e.Anomaly):
			j.Anomaly(e.Anomaly)
		}
		return nil
	}
	out := new(judged)
	var err error
	out.sum, err = k.read(ctx, path, j, take)
	out.Capture, out.fault = j.Close()
	out.Packets, out.Err = uint64(out.sum.Capture.Packets), err
	if err != nil {
		out.Findings, out.sum = nil, watch.Summary{Capture: capture.Stats{Truncated: out.sum.Capture.Truncated}}
	}
	if k.base != nil && k.update && err == nil {
		out.shape = func() { k.base.Set(j) }
	}
	return out
}

// read takes a file through tcpwatch.
func (k *checker) read(ctx context.Context, path string, j *policy.Judge, take func(*tracker.Event) error) (watch.Summary, error) {
	w, err := watch.Files([]string{path}, k.capture, k.tracker)
	if err != nil {
		return watch.Summary{}, err
	}
	defer w.Close()
	bar := k.bar.part()
	sum, err := w.Run(ctx, watch.Sink{Event: take, Progress: bar.at, Tick: func(bool) error {
		j.Truncated = w.Summary().Capture.Truncated
		return nil
	}})
	bar.at(sum.Capture.Read, sum.Capture.Size)
	return sum, err
}

// draw draws the ladder around the first failure of the capture, if it is of a
// connection.
func (k *checker) draw(ctx context.Context, c *check.Capture) (drawn bool, err error) {
	i := slices.IndexFunc(c.Findings, func(f check.Finding) bool { return f.Verdict == check.Failed && f.Conn > 0 })
	if i < 0 {
		return false, nil
	}
	found := &c.Findings[i]
	f := explainFlags{readFlags: k.readFlags}
	f.quiet = true
	var record *tracker.Record
	if err := k.reread(); err != nil {
		return true, err
	}
	_, err = f.read(ctx, []string{c.Path}, k.capture, false, io.Discard, watch.Sink{Apart: true, Event: func(e *tracker.Event) error {
		if e.Kind == tracker.EventConnection && e.Record.Conn == found.Conn {
			record = e.Record.Clone()
		}
		return nil
	}})
	if err != nil || record == nil {
		return true, err
	}
	if err := k.reread(); err != nil {
		return true, err
	}
	var text strings.Builder
	ladders := ladder.New(&text, []*tracker.Record{record}, ladder.Options{Width: k.shown.Width, Color: k.shown.Color, Around: found.Packets})
	if _, err := f.read(ctx, []string{c.Path}, k.capture, true, io.Discard, draws(ladders)); err != nil {
		return true, err
	}
	err = ladders.Close()
	c.Ladder = text.String()
	return true, err
}

// A sharedBar is one progress bar of several workers.
type sharedBar struct {
	mu         sync.Mutex
	bar        *progress
	read, size int64
}

// newSharedBar returns the bar of a run over the files. Their size is not known
// if one of them is no file.
func newSharedBar(bar *progress, files []string) *sharedBar {
	b := &sharedBar{bar: bar}
	bar.what = "checking"
	if bar.w == nil {
		return b
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			b.size += info.Size()
		} else if path == "-" {
			b.size = 0
			break
		}
	}
	return b
}

// part returns what a worker tells how far it is in one file.
func (b *sharedBar) part() *progress {
	var before int64
	return &progress{tell: func(read int64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.read += read - before
		before = read
		b.bar.at(b.read, b.size)
	}}
}

// done takes the bar away.
func (b *sharedBar) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar.done()
}
