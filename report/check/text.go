package check

import (
	"bufio"
	"cmp"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// shownFindings is how many findings of a rule are told before they are only
// counted; the other formats have all.
const shownFindings = 100

// textPrinter prints what people read: by rule what failed and what could not be
// decided, the ladder around the first failure, what passed and how often, and the
// totals.
type textPrinter struct {
	out    *bufio.Writer
	o      *Options
	rules  []ruleFindings
	ladder string
	first  string // the connection of the first failure, which the ladder is of
	others bool   // others failed, too
	totals totals
}

// ruleFindings are what was found by one rule.
type ruleFindings struct {
	list   []foundIn
	hidden int
}

// foundIn is a finding, and the capture that has it.
type foundIn struct {
	path string
	Finding
}

func newText(out *bufio.Writer, o *Options) Printer {
	return &textPrinter{out: out, o: o, rules: make([]ruleFindings, len(o.Rules))}
}

func (p *textPrinter) Capture(c *Capture) error {
	p.totals.add(c)
	if p.ladder == "" {
		p.ladder = c.Ladder
	}
	for _, f := range c.Findings {
		if at := c.Path + " " + f.Subject(); f.Verdict == Failed && f.Conn > 0 {
			p.others = p.others || p.first != "" && p.first != at
			p.first = cmp.Or(p.first, at)
		}
		r := &p.rules[f.Rule]
		if len(r.list) >= shownFindings {
			r.hidden++
			continue
		}
		r.list = append(r.list, foundIn{c.Path, f})
	}
	for i, n := range c.More {
		p.rules[i].hidden += n
	}
	return nil
}

func (p *textPrinter) Close() error {
	for _, v := range []Verdict{Failed, Undecided} {
		for i := range p.totals.rules {
			if p.totals.rules[i].Verdict() == v {
				p.rule(i, v)
			}
		}
	}
	if p.ladder != "" {
		text.WriteLine(p.out, p.ladder)
		if p.others {
			text.WriteWrapped(p.out, "", "To draw another ladder: tcpwatch explain --conn N CAPTURE (with the same -f, if any)", p.o.Width, text.Plain)
			text.WriteLine(p.out, "")
		}
	}
	p.passed()
	text.WriteLine(p.out, p.totals.String())
	return p.out.Flush()
}

// rule prints what was found by rule i: a line for the rule, and below it the
// findings, those of one connection together.
func (p *textPrinter) rule(i int, v Verdict) {
	r, found := &p.o.Rules[i], &p.rules[i]
	p.head(i)
	for _, more := range []string{r.Description, r.asks()} {
		if more != "" {
			text.WriteWrapped(p.out, "  ", cell(more), p.o.Width, text.Plain)
		}
	}
	subject := ""
	for k := range found.list {
		f := &found.list[k]
		at := text.Escape(f.path)
		if f.Conn > 0 {
			at += "  " + f.Subject()
		}
		if at != subject {
			text.WriteWrapped(p.out, "  ", at, p.o.Width, text.Plain)
			subject = at
		}
		said := cell(f.Text)
		if len(f.Packets) > 0 {
			said = f.frames() + ": " + said
		}
		if f.Verdict != v {
			said = f.Verdict.String() + ": " + said
		}
		text.WriteWrapped(p.out, "    ", said, p.o.Width, text.Plain)
	}
	if found.hidden > 0 {
		text.WriteLine(p.out, "  and "+text.Plural(uint64(found.hidden), "more finding", "more findings"))
	}
	text.WriteLine(p.out, "")
}

// asks is what the rule asks, where its name does not say it.
func (r *Rule) asks() string {
	if r.File == "" && !r.Whole {
		return ""
	}
	return r.Asks
}

// passed lists the rules that passed, and those that were asked of nothing.
func (p *textPrinter) passed() {
	any := false
	for i := range p.totals.rules {
		if p.totals.rules[i].Verdict() == Passed {
			p.head(i)
			any = true
		}
	}
	if any {
		text.WriteLine(p.out, "")
	}
}

// head prints the line of a rule: what became of it, and how often.
func (p *textPrinter) head(i int) {
	r, t := &p.o.Rules[i], &p.totals.rules[i]
	name := cell(r.Name)
	if r.File != "" {
		name += " (" + r.where() + ")"
	}
	text.WriteLine(p.out, verdictColor(t.Verdict()).PaintIf(p.o.Color, t.word())+"  "+text.Bold.PaintIf(p.o.Color, name)+": "+t.Text(r))
}

// maxCell is how many characters of a name or a sentence are printed; the other
// formats have all.
const maxCell = 600

// cell returns text that fits a line.
func cell(s string) string {
	s = text.Escape(s)
	if runes := []rune(s); len(runes) > maxCell {
		return string(runes[:maxCell-3]) + "..."
	}
	return s
}

// verdictColor is the color of the name of a verdict.
func verdictColor(v Verdict) text.Color {
	switch v {
	case Failed:
		return text.BoldRed
	case Undecided:
		return text.Yellow
	}
	return text.Plain
}
