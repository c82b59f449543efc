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
	Asked   int           `xml:"assertions,attr"`
	Status  string        `xml:"status,attr"`
	Skipped *string       `xml:"skipped"`
	Error   *junitProblem `xml:"error"`
	Failure *junitProblem `xml:"failure"`
	Tally   string        `xml:"system-out,omitempty"` // what came of the rule
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
		s.Cases = []junitCase{{Class: path, Name: "read", Status: "error", Error: &junitProblem{"unreadable", message, message}}}
	}
	for i := range p.o.Rules {
		if c.Err != nil {
			break
		}
		r, n := &p.o.Rules[i], &c.Tallies[i]
		t := junitCase{Class: path, Name: text.Escape(r.Name), Asked: n.Asked(), Status: n.word(), Tally: n.word() + ": " + n.Text(r)}
		texts := p.texts(c, i)
		switch c.Verdicts[i] {
		case Failed:
			s.Failures++
			t.Failure = &junitProblem{"failed", texts[0], strings.Join(append(texts, "rule: "+r.where()), "\n")}
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

// texts are the findings of rule i, each on a line.
func (p *junitPrinter) texts(c *Capture, i int) (texts []string) {
	for k := range c.Findings {
		f := &c.Findings[k]
		if f.Rule == i {
			texts = append(texts, f.sentence())
		}
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
