package html

import (
	"fmt"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/record"
)

// Rulings gather what the page of a capture tells of its check. They are a
// check.Printer that prints nothing.
type Rulings struct {
	Rules []check.Rule // of the check
	list  []Ruling
}

// Capture takes what was found in the capture, rule by rule: what failed, what is
// undecided, or how often it passed.
func (r *Rulings) Capture(c *check.Capture) error {
	for i := range c.Tallies {
		rule, t := &r.Rules[i], &c.Tallies[i]
		for k := range c.Findings {
			if f := &c.Findings[k]; f.Rule == i {
				r.list = append(r.list, rulingOf(rule, f))
			}
		}
		if n := c.More[i]; n > 0 {
			r.list = append(r.list, Ruling{Verdict: t.Verdict(), Rule: rule.Name, Text: fmt.Sprintf("and %d more", n)})
		}
		if t.Verdict() == check.Passed {
			r.list = append(r.list, Ruling{Verdict: check.Passed, Rule: rule.Name, Text: t.Text(rule)})
		}
	}
	return nil
}

func rulingOf(rule *check.Rule, f *check.Finding) Ruling {
	r := Ruling{Verdict: f.Verdict, Rule: rule.Name, Text: f.Text, Conn: f.Conn}
	if f.Conn > 0 {
		r.Ends = fmt.Sprintf("client %v, server %v", f.Client, f.Server)
	}
	if len(f.Packets) > 0 {
		r.Packet = f.Packets[0]
	}
	return r
}

// Close has nothing to write.
func (r *Rulings) Close() error { return nil }

// Tell puts them at the head of the page that p prints, see Judge.
func (r *Rulings) Tell(p record.Printer) { Judge(p, r.list) }
