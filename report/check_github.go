package report

import (
	"bufio"
	"strings"
)

// checkGitHub prints what the runner of GitHub Actions turns into annotations:
// an error for what failed, a warning for what could not be decided, and the
// totals as a notice. GitHub shows the first ten of each; the log has all.
type checkGitHub struct {
	out    *bufio.Writer
	o      *CheckOptions
	totals checkTotals
}

func newCheckGitHub(out *bufio.Writer, o *CheckOptions) CheckPrinter {
	return &checkGitHub{out: out, o: o}
}

// What a command's message, and the values before it, may not hold as such.
var (
	githubMessage = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubValue   = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotate writes one annotation.
func (p *checkGitHub) annotate(level, path, title, message string) error {
	p.out.WriteString("::" + level)
	separator := " "
	for _, v := range []struct{ key, value string }{{"file", path}, {"title", title}} {
		if v.value != "" {
			p.out.WriteString(separator + v.key + "=" + githubValue.Replace(Escape(v.value)))
			separator = ","
		}
	}
	return writeLine(p.out, "::"+githubMessage.Replace(message))
}

func (p *checkGitHub) Capture(c *CheckedCapture) error {
	p.totals.add(c)
	if c.Err != nil {
		return p.annotate("error", c.Path, "not read", Escape(c.Err.Error()))
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
			p.annotate("warning", c.Path, p.o.Rules[i].Name, plural(uint64(n), "finding", "findings")+" more")
		}
	}
	return nil
}

func (p *checkGitHub) Close() error {
	p.annotate("notice", "", "tcpwatch check", p.totals.String())
	return p.out.Flush()
}
