package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/policy"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Check judges every file for itself, as many at a time as there are cores, each
// worker with rules of its own. What they find is printed in the order of the
// files.
type Check struct {
	Reading
	Policy   string // a file; "": none
	Rules    []policy.Flag
	Baseline *policy.Baseline // nil: none
	Update   bool             // the Baseline is written anew
	Judging  policy.Options
	Chosen   record.Selection

	// Where returns a further condition of connections, or nil. Each worker asks
	// for one of its own.
	Where func() (*policy.Condition, error)

	Output string // format
	Out    io.Writer
	Shown  check.Options
	Page   record.Options // of the format html

	workers int
	bar     *sharedBar
	printer check.Printer
	spool   *watch.Spool
	saver   *saver
	drawn   bool   // the ladder of the first failure
	asked   []bool // by rule: it was about some connection
	outcome Outcome
	told    bool // that it was interrupted
}

// An Outcome is what a Check comes to, the worst of its files.
type Outcome uint8

const (
	Held     Outcome = iota // no rule is broken
	Violated                // a rule is broken
	Unread                  // a file could not be read
)

// A judged is what came of one file.
type judged struct {
	*check.Capture
	sum   watch.Summary
	shape func()
	notes *notes // on its packets
	fault error  // of the rules: the run ends
}

// Run checks the files.
func (k *Check) Run(ctx context.Context) (outcome Outcome, err error) {
	k.workers = min(runtime.GOMAXPROCS(0), len(k.Files))
	rules, err := policy.New(k.Policy, k.Rules, k.Baseline)
	if err != nil {
		return Held, err
	}
	k.Shown.Rules = rules.Rules()
	if k.printer, err = k.newPrinter(); err != nil {
		return Held, err
	}
	if k.saver, err = k.Save.open(&k.Reading); err != nil {
		return Held, err
	}
	defer func() { err = errors.Join(err, k.saver.close()) }()
	if k.spool, err = watch.NewSpool(k.Files, &k.Capture); err != nil {
		return Held, err
	}
	defer k.spool.Close()
	k.drawn, k.asked = k.Output != "text", make([]bool, len(k.Shown.Rules))
	k.bar = newSharedBar(k.Bar, k.Files)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := k.each(ctx); err != nil {
		return Held, err
	}
	if ctx.Err() != nil || k.told {
		if !k.told {
			k.warn(watch.Summary{Interrupted: true})
		}
		return Held, k.printer.Close()
	}
	return k.outcome, k.finish(ctx)
}

// each judges every file, and prints what came of it.
func (k *Check) each(ctx context.Context) error {
	defer k.bar.done()
	for r := range watch.Ordered(ctx, k.Files, k.workers, k.worker) {
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
func (k *Check) say(r *judged) {
	if r.Err != nil {
		text.SayError(k.Stderr, r.Err)
		TellHint(k.Stderr, r.Err)
		k.outcome = Unread
	}
	k.warn(r.sum)
	gaveUp(k.Stderr, r.sum.Tracker)
	k.told = r.sum.Interrupted
	if k.Judging.Strict && r.sum.Capture.Truncated && !k.told {
		text.Say(k.Stderr, "%s: the capture is cut off (--strict)", text.Escape(r.Path))
		k.outcome = Unread
	}
}

// print prints what was found in a file.
func (k *Check) print(ctx context.Context, r *judged) (err error) {
	for i := range r.Tallies {
		k.asked[i] = k.asked[i] || r.Tallies[i].Asked() > 0
	}
	if r.Verdict() == check.Failed {
		k.outcome = max(k.outcome, Violated)
	}
	if k.saver != nil && r.Err == nil {
		if err := k.save(ctx, r); err != nil {
			return err
		}
	}
	if !k.drawn {
		if k.drawn, err = k.drawFailure(ctx, r.Capture); err != nil {
			return err
		}
	}
	if r.shape != nil {
		r.shape()
	}
	return k.printer.Capture(r.Capture)
}

// save writes the packets of the connections that were judged.
func (k *Check) save(ctx context.Context, r *judged) error {
	reading := k.Reading
	reading.Files = []string{r.Path}
	return k.saver.write(ctx, &reading, k.spool, r.notes)
}

// finish ends a run that has judged all files.
func (k *Check) finish(ctx context.Context) error {
	for i, r := range k.Shown.Rules {
		if r.File != "" && !k.asked[i] {
			text.Say(k.Stderr, "%s:%d: rule %q matched no connection", text.Escape(r.File), r.Line, text.Escape(r.Name))
		}
	}
	if err := k.printer.Close(); err != nil {
		return err
	}
	if page, is := k.printer.(*html.Rulings); is && k.outcome != Unread {
		if err := k.page(ctx, page); err != nil {
			return err
		}
	}
	if k.Baseline != nil {
		return k.Baseline.Write()
	}
	return nil
}

// newPrinter returns what prints the findings.
func (k *Check) newPrinter() (check.Printer, error) {
	if k.Output != "html" {
		return check.New(k.Output, k.Out, k.Shown)
	}
	if len(k.Files) != 1 || k.Files[0] == "-" {
		return nil, WithHint(errors.New("-o html shows exactly one capture, which must be a file"), "tcpwatch check -o html FILE > report.html")
	}
	return &html.Rulings{Rules: k.Shown.Rules}, nil
}

// page writes the page of a capture, for which it is read once more.
func (k *Check) page(ctx context.Context, rulings *html.Rulings) error {
	p, err := report.New("html", k.Out, k.Page)
	if err != nil {
		return err
	}
	r := Replay{Reading: k.Reading, Printer: p, Ladders: true, Before: func() error {
		rulings.Tell(p)
		return nil
	}}
	r.Stderr, r.Bar, r.Save = io.Discard, nil, Save{}
	return r.Run(ctx)
}

// worker returns what judges one file after the other, with rules of its own.
func (k *Check) worker() func(ctx context.Context, path string) *judged {
	rules, err := policy.New(k.Policy, k.Rules, k.Baseline)
	var where *policy.Condition
	if err == nil {
		where, err = k.Where()
	}
	return func(ctx context.Context, path string) *judged {
		if err != nil {
			return &judged{fault: err} // the policy has changed in the meantime
		}
		return k.judge(ctx, path, rules, where)
	}
}

// judge judges one file.
func (k *Check) judge(ctx context.Context, path string, rules *policy.Policy, where *policy.Condition) *judged {
	o := k.Judging
	o.Captures = len(k.Files)
	o.Memory /= int64(k.workers)
	j := rules.Judge(ctx, path, o)
	out := new(judged)
	r := Reading{Files: []string{path}, Taps: k.Taps, AtEnds: k.AtEnds, Hub: k.Hub, Capture: k.Capture}
	out.notes = k.saver.notes(&r)
	take := func(e *tracker.Event) error {
		switch {
		case e.Kind == tracker.EventConnection:
			chosen := k.Chosen.Has(e.Record) && (where == nil || where.Holds(e.Record))
			if out.notes.connection(e.Record, chosen); chosen {
				j.Connection(e.Record)
			}
		case e.Kind == tracker.EventAnomaly && e.Conn == 0 && k.Chosen.HasAnomaly(e.Anomaly):
			j.Anomaly(e.Anomaly)
		}
		return nil
	}
	var err error
	out.sum, err = k.read(ctx, &r, j, out.notes.on(watch.Sink{Event: take}))
	out.Capture, out.fault = j.Close()
	if ctx.Err() != nil && errors.Is(out.fault, ctx.Err()) {
		out.fault, out.sum.Interrupted = nil, true
	}
	if where != nil && where.Err() != nil {
		out.fault = fmt.Errorf("--where: %w", where.Err())
	}
	out.Packets, out.Err = uint64(out.sum.Capture.Packets), err
	if err != nil {
		out.Findings, out.sum = nil, watch.Summary{Capture: capture.Stats{Truncated: out.sum.Capture.Truncated}}
	}
	if k.Baseline != nil && k.Update && err == nil {
		out.shape = func() { k.Baseline.Set(j) }
	}
	return out
}

// read takes a file through tcpwatch. The connections that may be kept are shared
// by the workers.
func (k *Check) read(ctx context.Context, r *Reading, j *policy.Judge, s watch.Sink) (watch.Summary, error) {
	c := k.Tracker
	c.Segments = s.Segment != nil
	if n := c.MaxConns; n > 0 {
		c.MaxConns = max(n/k.workers, 1)
	}
	c.MaxMemory /= int64(k.workers)
	w, err := r.open(ctx, c)
	if err != nil {
		return watch.Summary{}, err
	}
	defer w.Close()
	bar := k.bar.part()
	s.Progress = bar.at
	s.Tick = func(bool) error {
		j.Truncated = w.Summary().Capture.Truncated
		return nil
	}
	sum, err := w.Run(ctx, s)
	bar.at(sum.Capture.Read, sum.Capture.Size)
	return sum, err
}

// mostDrawn is how many rungs of the ladder around a failure are kept.
const mostDrawn = 10_000

// drawFailure draws the ladder around the first failure of the capture, if it is
// of a connection.
func (k *Check) drawFailure(ctx context.Context, c *check.Capture) (drawn bool, err error) {
	i := slices.IndexFunc(c.Findings, func(f check.Finding) bool { return f.Verdict == check.Failed && f.Conn > 0 })
	if i < 0 {
		return false, nil
	}
	found := &c.Findings[i]
	r := k.Reading
	r.Files, r.Stderr, r.Bar = []string{c.Path}, io.Discard, nil
	var known *tracker.Record
	if err := k.spool.Rewind(); err != nil {
		return true, err
	}
	_, err = r.Connections(ctx, func(lent *tracker.Record) {
		if lent.Conn == found.Conn {
			known = lent.Clone()
		}
	})
	if err != nil || known == nil {
		return true, err
	}
	if err := k.spool.Rewind(); err != nil {
		return true, err
	}
	var drawing strings.Builder
	ladders := ladder.New(&drawing, []*tracker.Record{known}, ladder.Options{Width: k.Shown.Width, Color: k.Shown.Color, Around: found.Packets, Most: mostDrawn})
	if _, err := r.draw(ctx, ladders, nil); err != nil {
		return true, err
	}
	err = ladders.Close()
	c.Ladder = drawing.String()
	return true, err
}
