// Package policy judges captures by rules.
//
// Rules come from a policy, a YAML file (load.go; schema.go has its JSON
// Schema, made from the same list of keys), or from the command line. Their
// expressions see the record of jsonl (expr.go) and are bounded (budget.go). A Judge is given what the
// tracker tells of one capture, and says which rules it breaks, and which it
// cannot answer (judge.go, readings.go). A baseline compares a capture with an
// older one of the same test (baseline.go).
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/catalogue"
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Policy is a list of rules, compiled. It is for one goroutine.
type Policy struct {
	rules  []*rule
	budget *budget

	baseline *Baseline // nil: none
	whole    int       // index of the rule that a capture can be judged
	same     int       // index of the rule that it is as in the baseline
}

// Options say how a Policy judges.
type Options struct {
	Strict    bool // a state that is assumed counts as it stands
	Captures  int  // how many are judged in this run; they share what expressions may take
	Undecided Undecided
	Memory    int64 // octets that a capture may take for rules that count, and for a baseline; 0: any
}

// Undecided says what becomes of a rule that a capture cannot answer.
type Undecided uint8

const (
	Warn   Undecided = iota // it is told
	Fail                    // it fails
	Ignore                  // it passes
)

// undecided are the names of these.
var undecided = []string{"warn", "fail", "ignore"}

// UndecidedNames returns what ParseUndecided reads.
func UndecidedNames() []string { return slices.Clone(undecided) }

// ParseUndecided reads the name.
func ParseUndecided(name string) (Undecided, error) {
	i := slices.Index(undecided, name)
	if i < 0 {
		return 0, fmt.Errorf("%q is not one of %s", text.Escape(name), strings.Join(undecided, ", "))
	}
	return Undecided(i), nil
}

// ask is what a rule asks.
type ask uint8

const (
	askNothing ask = iota
	askRequire     // an expression is true of every connection
	askForbid      // of none
	askCount       // of the set
	askExpect      // the states at the end
	askKinds       // no anomaly that is denied and not allowed
)

// A rule is one of a policy.
type rule struct {
	check.Rule
	ask    ask
	match  *Expr
	ports  []uint16 // of the server; none: any
	tuple  record.Tuple
	expr   *Expr          // of askRequire, askForbid, askCount
	expect [2][]tcp.State // of askExpect, by end; none: any
	deny   []grade
	allow  []grade
	spent  int // steps that it took of the capture at hand
}

// A grade is a kind of anomaly, or a severity.
type grade struct {
	kind     string // "": the severity
	severity anomaly.Severity
}

// parseGrade reads a kind or a severity.
func parseGrade(name string) (grade, error) {
	for _, s := range catalogue.Severities() {
		if s.String() == name {
			return grade{severity: s}, nil
		}
	}
	if _, err := kinds.Parse(name); err != nil {
		return grade{}, fmt.Errorf("%q is not a severity (%s) or a kind of anomaly (tcpwatch anomalies lists them)",
			text.Escape(name), strings.Join(Severities(), ", "))
	}
	return grade{kind: name}, nil
}

// denies reports whether the grade, denied, covers an anomaly: a severity means
// it and above.
func (g grade) denies(a *anomaly.Anomaly) bool {
	return g.kind == a.Kind || g.kind == "" && a.Severity >= g.severity
}

// allows reports whether the grade, allowed, covers an anomaly: a severity
// means it and below.
func (g grade) allows(a *anomaly.Anomaly) bool {
	return g.kind == a.Kind || g.kind == "" && a.Severity <= g.severity
}

// Severities returns the names of the severities, the least first.
func Severities() (names []string) {
	for _, s := range catalogue.Severities() {
		names = append(names, s.String())
	}
	return names
}

// A Flag is a rule as it was typed.
type Flag struct {
	Key  string // deny, allow, require, forbid
	Text string
}

// New returns the Policy of a file, unless path is "", of the flags, and of the
// baseline, unless nil. Without a file no error may occur: --deny error.
func New(path string, flags []Flag, b *Baseline) (*Policy, error) {
	p := &Policy{baseline: b, budget: newBudget()}
	if path == "" {
		flags = append([]Flag{{"deny", anomaly.Error.String()}}, flags...)
	} else if err := p.load(path); err != nil {
		return nil, err
	}
	for _, f := range flags {
		if err := p.add(f); err != nil {
			return nil, fmt.Errorf("--%s: %w", f.Key, err)
		}
	}
	p.whole = p.own("whole-capture", "the capture has a connection and is not cut off")
	if b != nil {
		p.same = p.own("baseline", "the capture matches the baseline")
	}
	return p, nil
}

// add adds the rule of a flag.
func (p *Policy) add(f Flag) (err error) {
	r := &rule{Rule: check.Rule{Name: "--" + f.Key + " " + f.Text, Asks: f.Key + " " + f.Text}}
	if slices.ContainsFunc(p.rules, func(o *rule) bool { return o.Name == r.Name }) {
		return nil
	}
	var g grade
	switch f.Key {
	case "deny", "allow":
		if g, err = parseGrade(f.Text); err != nil {
			return err
		}
		r.ask = askKinds
		if f.Key == "deny" {
			r.deny = []grade{g}
		} else {
			r.allow = []grade{g}
		}
	case "require", "forbid":
		if r.ask = askRequire; f.Key == "forbid" {
			r.ask = askForbid
		}
		r.expr, err = compile(f.Text, record.EnvType(), p.budget)
	}
	p.rules = append(p.rules, r)
	return err
}

// own adds a rule of our own, which no expression asks.
func (p *Policy) own(name, asks string) int {
	p.rules = append(p.rules, &rule{Rule: check.Rule{Name: name, Asks: asks, Whole: true}})
	return len(p.rules) - 1
}

// Rules returns the rules as reports name them.
func (p *Policy) Rules() (list []check.Rule) {
	for _, r := range p.rules {
		list = append(list, r.Rule)
	}
	return list
}

// about reports whether the rule is about the connection, its match aside.
func (r *rule) about(c *tracker.Record) bool {
	if len(r.ports) > 0 && !slices.Contains(r.ports, c.Ends[tcp.Server].Addr.Port()) {
		return false
	}
	return r.tuple.Has(c)
}

// everything reports whether the rule is about all connections, and so about
// what is in none alone.
func (r *rule) everything() bool {
	return r.match == nil && len(r.ports) == 0 && r.tuple == (record.Tuple{})
}
