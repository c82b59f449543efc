package check

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// githubPrinter prints what the runner of GitHub Actions turns into annotations:
// an error for what failed, a warning for what could not be decided, and the
// totals, and what came of every rule, as a notice. GitHub shows the first ten of each; the log has all.
type githubPrinter struct {
	out    *bufio.Writer
	o      *Options
	totals totals
}

func newGitHub(out *bufio.Writer, o *Options) Printer {
	return &githubPrinter{out: out, o: o}
}

// What a command's message, and the values before it, may not hold as such.
var (
	githubMessage = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubValue   = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotate writes one annotation.
func (p *githubPrinter) annotate(level, path, title, message string) error {
	p.out.WriteString("::" + level)
	separator := " "
	for _, v := range []struct{ key, value string }{{"file", path}, {"title", title}} {
		if v.value != "" {
			p.out.WriteString(separator + v.key + "=" + githubValue.Replace(text.Escape(v.value)))
			separator = ","
		}
	}
	return text.WriteLine(p.out, "::"+githubMessage.Replace(message))
}

func (p *githubPrinter) Capture(c *Capture) error {
	p.totals.add(c)
	if c.Err != nil {
		return p.annotate("error", c.Path, "not read", text.Escape(c.Err.Error()))
	}
	for i := range c.Findings {
		f := &c.Findings[i]
		level := "warning"
		if f.Verdict == Failed {
			level = "error"
		}
		if err := p.annotate(level, c.Path, p.o.Rules[f.Rule].Name, f.sentence()); err != nil {
			return err
		}
	}
	for i, n := range c.More {
		if n > 0 {
			p.annotate("warning", c.Path, p.o.Rules[i].Name, text.Plural(uint64(n), "more finding", "more findings"))
		}
	}
	return nil
}

func (p *githubPrinter) Close() error {
	said := p.totals.String()
	for i := range p.totals.rules {
		t, r := &p.totals.rules[i], &p.o.Rules[i]
		said += fmt.Sprintf("\n%s %s: %s", t.word(), text.Escape(r.Name), t.Text(r))
	}
	p.annotate("notice", "", "tcpwatch check", said)
	return p.out.Flush()
}
