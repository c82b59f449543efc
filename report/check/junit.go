package check

import (
	"bufio"
	"encoding/xml"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// junitPrinter prints the XML that JUnit's task for Ant once wrote and every CI
// reads: a capture is a test suite and a rule a test case. A rule that cannot be
// decided is skipped, and a capture that cannot be read is an error.
type junitPrinter struct {
	out *bufio.Writer
	o   *Options
	enc *xml.Encoder
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Skipped *string       `xml:"skipped"`
	Error   *junitProblem `xml:"error"`
	Failure *junitProblem `xml:"failure"`
}

type junitProblem struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func newJUnit(out *bufio.Writer, o *Options) Printer {
	out.WriteString(xml.Header + "<testsuites name=\"tcpwatch check\">\n")
	p := &junitPrinter{out: out, o: o, enc: xml.NewEncoder(out)}
	p.enc.Indent("  ", "  ")
	return p
}

func (p *junitPrinter) Capture(c *Capture) error {
	path := text.Escape(c.Path)
	s := junitSuite{Name: path}
	if c.Err != nil {
		message := text.Escape(c.Err.Error())
		s.Errors = 1
		s.Cases = []junitCase{{Class: path, Name: "read", Error: &junitProblem{"unreadable", message, message}}}
	}
	for i := range p.o.Rules {
		if c.Err != nil {
			break
		}
		t := junitCase{Class: path, Name: text.Escape(p.o.Rules[i].Name)}
		texts := p.texts(c, i)
		switch c.Verdicts[i] {
		case Failed:
			s.Failures++
			t.Failure = &junitProblem{"failed", texts[0], strings.Join(append(texts, "rule: "+p.o.Rules[i].where()), "\n")}
		case Undecided:
			s.Skipped++
			text := strings.Join(texts, "\n")
			t.Skipped = &text
		}
		s.Cases = append(s.Cases, t)
	}
	s.Tests = len(s.Cases)
	if err := p.enc.Encode(s); err != nil {
		return err
	}
	return p.out.WriteByte('\n')
}

// texts are the findings of rule i, each on a line, with its verdict where they
// differ from that of the rule.
func (p *junitPrinter) texts(c *Capture, i int) (texts []string) {
	for k := range c.Findings {
		f := &c.Findings[k]
		if f.Rule != i {
			continue
		}
		text := f.sentence()
		if f.Verdict != c.Verdicts[i] {
			text = f.Verdict.String() + ": " + text
		}
		texts = append(texts, text)
	}
	if n := c.More[i]; n > 0 {
		texts = append(texts, "and "+strconv.Itoa(n)+" more")
	}
	return texts
}

func (p *junitPrinter) Close() error {
	p.out.WriteString("</testsuites>\n")
	return p.out.Flush()
}
