package check

import (
	"bufio"
	"net/url"
	"path/filepath"
	"strconv"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// sarifPrinter prints SARIF 2.1.0, as code scanning reads it: a rule of the policy
// is a reporting descriptor, a finding a result in the capture. A capture is
// binary and has no lines; the frames are in the message and in a property. What
// could not be decided is a warning that says so, what could not be read a
// notification of the tool. How often each rule passed is a property of the run:
// a result for it would be shown as an alert.
type sarifPrinter struct {
	out   *bufio.Writer
	o     *Options
	any   bool
	notes []any
	totals
}

type object = map[string]any

func newSARIF(out *bufio.Writer, o *Options) Printer {
	rules := []any{}
	for i, r := range o.Rules {
		says := r.Asks
		if r.Description != "" {
			says = r.Description
		}
		rules = append(rules, object{
			"id": ruleID(i), "name": text.Escape(r.Name),
			"shortDescription": object{"text": text.Escape(r.Name)},
			"fullDescription":  object{"text": text.Escape(says)},
			"help":             object{"text": text.Escape(r.Asks) + " (" + r.where() + ")"},
		})
	}
	driver := object{"name": "tcpwatch", "version": o.Version, "rules": rules}
	out.WriteString(`{"$schema":"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json","version":"2.1.0","runs":[{"tool":`)
	out.Write(compactJSON(object{"driver": driver}))
	out.WriteString(`,"columnKind":"utf16CodeUnits","results":[`)
	return &sarifPrinter{out: out, o: o}
}

// ruleID names a rule where its name may hold anything.
func ruleID(i int) string { return "rule-" + strconv.Itoa(i+1) }

func (p *sarifPrinter) Capture(c *Capture) error {
	p.add(c)
	location := object{"physicalLocation": object{"artifactLocation": object{"uri": uriOf(c.Path)}}}
	if c.Err != nil {
		p.notes = append(p.notes, object{"level": "error", "message": object{"text": text.Escape(c.Err.Error())}, "locations": []any{location}})
		return nil
	}
	result := func(i int, level, text string, properties object) error {
		if p.any {
			p.out.WriteByte(',')
		}
		p.any = true
		p.out.WriteByte('\n')
		_, err := p.out.Write(compactJSON(object{
			"ruleId": ruleID(i), "ruleIndex": i, "level": level, "message": object{"text": text},
			"locations": []any{location}, "properties": properties,
		}))
		return err
	}
	for i := range c.Findings {
		f := &c.Findings[i]
		level := "warning"
		if f.Verdict == Failed {
			level = "error"
		}
		properties := object{"verdict": f.Verdict.String(), "packets": append([]int{}, f.Packets...)}
		if f.Conn > 0 {
			properties["conn"], properties["client"], properties["server"] = f.Conn, f.Client.String(), f.Server.String()
		}
		if f.Kind != "" {
			properties["kind"] = f.Kind
		}
		if err := result(f.Rule, level, f.sentence(), properties); err != nil {
			return err
		}
	}
	for i, n := range c.More {
		if n > 0 {
			if err := result(i, "note", text.Plural(uint64(n), "more finding", "more findings"), object{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// uriOf returns a path as a URI reference.
func uriOf(path string) string {
	return (&url.URL{Path: filepath.ToSlash(path)}).String()
}

func (p *sarifPrinter) Close() error {
	invocation := object{"executionSuccessful": len(p.notes) == 0}
	if len(p.notes) > 0 {
		invocation["toolExecutionNotifications"] = p.notes
	}
	p.out.WriteString(`],"invocations":[`)
	p.out.Write(compactJSON(invocation))
	tallies := []any{}
	for i := range p.rules {
		t := tallyOf(&p.o.Rules[i], &p.rules[i])
		tallies = append(tallies, object{"id": ruleID(i), "verdict": t.Verdict, "failed": t.Failed, "undecided": t.Undecided, "passed": t.Passed, "assumed": t.Assumed})
	}
	p.out.WriteString(`],"properties":`)
	p.out.Write(compactJSON(object{"rules": tallies}))
	p.out.WriteString("}]}\n")
	return p.out.Flush()
}
