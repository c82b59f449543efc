package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// maxFindings is how many findings of one rule in one capture are told in
	// full; the rest are counted.
	maxFindings = 100

	// MaxSet is how many connections of one capture a rule can count over.
	MaxSet = 100_000
)

// What is kept of a capture until its end takes about so many octets: a connection that a
// rule counts over, each of its steps and of its anomalies, beside their texts, and a line of a
// baseline beside its text.
const (
	memberMemory  = 1200
	stepMemory    = 200
	anomalyMemory = 500
	lineMemory    = 150
)

// A Judge judges one capture.
type Judge struct {
	Truncated bool // the capture is cut off; to be set before the connections that are left are told

	p     *Policy
	o     Options
	out   *check.Capture
	set   []*member
	kept  int64           // octets of the set and of the shape
	shape *Shape          // nil: not wanted
	err   error           // the rules cannot be asked, or the context is done
	envs  map[reading]any // of the connection at hand, those that were made
	worst check.Verdict   // of the rule and the connection at hand
	told  map[told]int
}

// told is what findings are counted by.
type told struct {
	rule    int
	verdict check.Verdict
}

// Judge returns what judges the capture of that path, until the context is done.
// The Policy serves one Judge after the other.
func (p *Policy) Judge(ctx context.Context, path string, o Options) *Judge {
	p.budget.begin(ctx, o.Captures)
	for _, r := range p.rules {
		r.spent = 0
	}
	j := &Judge{p: p, o: o, envs: make(map[reading]any), told: make(map[told]int), out: &check.Capture{
		Path: path, Verdicts: make([]check.Verdict, len(p.rules)), More: make([]int, len(p.rules)), Tallies: make([]check.Tally, len(p.rules)),
	}}
	if p.baseline != nil {
		j.shape = newShape()
	}
	return j
}

// Connection takes a connection that is over, or left at the end. It keeps
// nothing of it.
func (j *Judge) Connection(c *tracker.Record) {
	if j.err = cmp.Or(j.err, j.p.budget.ctx.Err()); j.err != nil {
		return
	}
	j.out.Conns++
	clear(j.envs)
	j.p.budget.more()
	if j.shape != nil {
		line := j.shape.add(c, [2][]tcp.State{j.otherStates(c, tcp.Client), j.otherStates(c, tcp.Server)})
		j.keeps(line, "different connections for a baseline")
	}
	allowed := j.allowed(c)
	for i, r := range j.p.rules {
		if j.err != nil {
			return
		}
		if r.ask == askNothing {
			continue // one of our own
		}
		j.worst = check.Passed
		switch applies, err := j.applies(r, c); {
		case err != nil:
			j.found(i, check.Undecided, c, nil, fmt.Sprintf("cannot evaluate match %s: %v", r.match.text, err))
		case !applies:
			continue
		case r.ask == askCount:
			j.keep(i, c)
			continue // it is asked once, of all
		default:
			j.ask(i, r, c, allowed)
		}
		j.out.Tallies[i].Add(j.worst, 1)
	}
}

// keeps counts octets that are kept until the end of the capture. Where there are too
// many, that is an error: what is asked cannot be answered by a part.
func (j *Judge) keeps(octets int64, what string) {
	if j.kept += octets; j.o.Memory > 0 && j.kept > j.o.Memory {
		j.err = cmp.Or(j.err, fmt.Errorf("%s has too many %s (--max-memory)", text.Escape(j.out.Path), what))
	}
}

// memoryOf is how many octets a connection takes that a rule counts over.
func memoryOf(c *tracker.Record) int64 {
	n := int64(memberMemory)
	for e := range c.Ends {
		n += stepMemory * int64(len(c.Ends[e].History))
	}
	for i := range c.Anomalies {
		a := &c.Anomalies[i]
		n += anomalyMemory + int64(2*len(a.Text)+2*len(a.Next)+16*len(a.Evidence))
	}
	return n
}

// ask asks rule i of a connection that it is about, of which some anomalies are
// allowed.
func (j *Judge) ask(i int, r *rule, c *tracker.Record, allowed []grade) {
	switch r.ask {
	case askRequire, askForbid:
		j.judge(i, r, c)
	case askExpect:
		j.expect(i, r, c)
	case askKinds:
		for k := range c.Anomalies {
			if a := &c.Anomalies[k]; slices.ContainsFunc(r.deny, func(g grade) bool { return g.denies(a) }) && !slices.ContainsFunc(allowed, func(g grade) bool { return g.allows(a) }) {
				j.denied(i, a, c)
			}
		}
	}
}

// applies reports whether a rule is about the connection. The error says why
// its match is neither true nor false.
func (j *Judge) applies(r *rule, c *tracker.Record) (bool, error) {
	if !r.about(c) || r.match == nil {
		return r.about(c), nil
	}
	return j.holds(r, r.match, j.envOf(c, asItStands))
}

// holds evaluates an expression of the rule.
func (j *Judge) holds(r *rule, x *Expr, env any) (bool, error) {
	before := j.p.budget.steps
	holds, err := x.holds(env)
	r.spent += before - j.p.budget.steps
	if err != nil {
		j.failing(r, err)
	}
	return holds, err
}

// A reading is what differs from one reading of a connection to another.
type reading struct {
	client, server tcp.State
	sure           bool // without the anomalies that are not
}

// asItStands is the reading of a connection as the record has it.
var asItStands = reading{client: tcp.NumStates, server: tcp.NumStates}

// envOf returns the connection at hand, in a reading, as expressions see it.
func (j *Judge) envOf(c *tracker.Record, as reading) any {
	if j.envs[as] == nil {
		j.envs[as] = record.EnvOf(c).Interface()
	}
	return j.envs[as]
}

// allowed returns what the rules allow of the connection.
func (j *Judge) allowed(c *tracker.Record) (list []grade) {
	for _, r := range j.p.rules {
		if len(r.allow) == 0 || len(c.Anomalies) == 0 {
			continue
		}
		if applies, _ := j.applies(r, c); applies {
			list = append(list, r.allow...)
		}
	}
	return list
}

// failing notes that a rule takes too long, which is an error of the policy, or
// that the context is done. Where the steps of all are used up, the rule that took
// most of them is to blame.
func (j *Judge) failing(r *rule, err error) {
	switch {
	case j.err != nil:
	case errors.Is(err, errTooLong):
		if j.p.budget.steps < 0 {
			r = slices.MaxFunc(j.p.rules, func(a, b *rule) int { return a.spent - b.spent })
		}
		j.err = r.fault(err)
	case j.p.budget.ctx.Err() != nil:
		j.err = err
	}
}

// fault is an error of the rule.
func (r *rule) fault(err error) error {
	err = fmt.Errorf("rule %q: %w", text.Escape(r.Name), err)
	if r.File == "" {
		return err
	}
	return &Error{File: text.Escape(r.File), Line: r.Line, Err: err}
}

// Anomaly takes an anomaly over many connections.
func (j *Judge) Anomaly(a *anomaly.Anomaly) {
	if j.shape != nil {
		j.shape.many(a)
	}
	var allowed []grade
	for _, r := range j.p.rules {
		if r.everything() {
			allowed = append(allowed, r.allow...)
		}
	}
	if slices.ContainsFunc(allowed, func(g grade) bool { return g.allows(a) }) {
		return
	}
	for i, r := range j.p.rules {
		if r.everything() && slices.ContainsFunc(r.deny, func(g grade) bool { return g.denies(a) }) {
			j.worst = check.Passed
			j.denied(i, a, nil)
			j.out.Tallies[i].Add(j.worst, 1)
		}
	}
}

// denied tells of an anomaly that rule i denies.
func (j *Judge) denied(i int, a *anomaly.Anomaly, c *tracker.Record) {
	verdict, text := check.Failed, a.Kind
	if !counts(a) {
		verdict, text = check.Undecided, fmt.Sprintf("%s, but it is %v", a.Kind, a.Confidence)
	}
	if f := j.found(i, verdict, c, a.Evidence, text+": "+a.Text); f != nil {
		f.Kind = a.Kind
	}
}

// counts reports whether an anomaly is sure enough to fail a rule.
func counts(a *anomaly.Anomaly) bool { return a.Confidence != anomaly.ConfidenceAmbiguous }

// expect compares the states at the end.
func (j *Judge) expect(i int, r *rule, c *tracker.Record) {
	assumed := false
	for e, want := range r.expect {
		x := &c.Ends[e]
		if len(want) == 0 {
			continue
		}
		wanted := func(s tcp.State) bool { return slices.Contains(want, s) }
		others := j.otherStates(c, tcp.Endpoint(e))
		if wanted(x.State) {
			assumed = assumed || !all(others, wanted)
			continue
		}
		text := fmt.Sprintf("the %s is in %s, not %s", tcp.Endpoint(e), describe(x), stateList(want))
		verdict := check.Failed
		if possible := slices.IndexFunc(others, wanted); possible >= 0 {
			verdict = check.Undecided
			text += fmt.Sprintf(", but the %s", mayBe(x, tcp.Endpoint(e), others[possible]))
		} else if j.cut(c) {
			verdict = check.Undecided
			text += ", but the capture is cut off"
		}
		j.found(i, verdict, c, lastPackets(x), text)
	}
	j.assumed(i, assumed)
}

// assumed counts that the rule at hand passes only by a state that is assumed.
func (j *Judge) assumed(i int, yes bool) {
	if yes && j.worst == check.Passed {
		j.out.Tallies[i].Assumed++
	}
}

func all(states []tcp.State, f func(tcp.State) bool) bool {
	return !slices.ContainsFunc(states, func(s tcp.State) bool { return !f(s) })
}

// describe names the state of an end, and how sure it is.
func describe(x *tracker.EndRecord) string { return fmt.Sprintf("%v (%v)", x.State, x.Certainty) }

func stateList(list []tcp.State) string {
	var names []string
	for _, s := range list {
		names = append(names, s.String())
	}
	return strings.Join(names, " or ")
}

// cut reports whether the connection was not over where the capture is cut off.
func (j *Judge) cut(c *tracker.Record) bool {
	over := func(x tracker.EndRecord) bool { return x.State == tcp.Closed }
	return j.Truncated && !(over(c.Ends[0]) && over(c.Ends[1]))
}

// lastPackets returns the frame that moved the end last.
func lastPackets(x *tracker.EndRecord) []int {
	for _, s := range slices.Backward(x.History) {
		if s.Packet > 0 {
			return []int{s.Packet}
		}
	}
	return nil
}

// found notes a finding of rule i, and returns it; nil if it is only counted.
func (j *Judge) found(i int, v check.Verdict, c *tracker.Record, packets []int, text string) *check.Finding {
	j.out.Verdicts[i] = max(j.out.Verdicts[i], v)
	j.worst = max(j.worst, v)
	if j.told[told{i, v}]++; j.told[told{i, v}] > maxFindings {
		j.out.More[i]++
		return nil
	}
	f := check.Finding{Rule: i, Verdict: v, Packets: slices.Clone(packets), Text: text}
	if c != nil {
		f.Conn, f.Client, f.Server = c.Conn, c.Ends[tcp.Client].Addr, c.Ends[tcp.Server].Addr
	}
	j.out.Findings = append(j.out.Findings, f)
	return &j.out.Findings[len(j.out.Findings)-1]
}

// Close judges what spans the capture, and returns what was found. The error
// says that a rule cannot be asked of a capture as large, or is the context's.
func (j *Judge) Close() (*check.Capture, error) {
	if j.err == nil {
		j.countAll()
	}
	j.worst = check.Passed
	if j.out.Conns == 0 {
		j.found(j.p.whole, check.Undecided, nil, nil, "the capture has no TCP connection to check")
	}
	if j.Truncated {
		j.found(j.p.whole, check.Undecided, nil, nil, "the capture is cut off; the rest is not checked")
	}
	j.out.Tallies[j.p.whole].Add(j.worst, 1)
	if j.shape != nil && j.err == nil {
		j.compare()
	}
	j.settle()
	slices.SortStableFunc(j.out.Findings, func(a, b check.Finding) int {
		return cmp.Or(int(b.Verdict)-int(a.Verdict), a.Rule-b.Rule)
	})
	return j.out, j.err
}

// settle makes of what is undecided what Options.Undecided says.
func (j *Judge) settle() {
	if j.o.Undecided == Warn {
		return
	}
	becomes := check.Passed
	if j.o.Undecided == Fail {
		becomes = check.Failed
	}
	for i, v := range j.out.Verdicts {
		t := &j.out.Tallies[i]
		t.Add(becomes, t.Undecided)
		t.Undecided = 0
		if v == check.Undecided {
			j.out.Verdicts[i] = becomes
			if becomes == check.Passed {
				j.out.More[i] = 0
			}
		}
	}
	undecided := func(f check.Finding) bool { return f.Verdict == check.Undecided }
	if j.o.Undecided == Ignore {
		j.out.Findings = slices.DeleteFunc(j.out.Findings, undecided)
		return
	}
	for i := range j.out.Findings {
		if f := &j.out.Findings[i]; undecided(*f) {
			f.Verdict, f.Text = check.Failed, "undecided: "+f.Text
		}
	}
}
