package report

import (
	"bufio"
	"strconv"
)

// shownFindings is how many findings the table has before it only counts them;
// the other formats have all.
const shownFindings = 100

// checkText prints what people read: a table of what failed and what could not
// be decided, the ladder around the first failure, and the totals.
type checkText struct {
	out    *bufio.Writer
	o      *CheckOptions
	rows   [][]string
	hidden int
	ladder string
	totals checkTotals
}

func newCheckText(out *bufio.Writer, o *CheckOptions) CheckPrinter { return &checkText{out: out, o: o} }

func (p *checkText) Capture(c *CheckedCapture) error {
	p.totals.add(c)
	if p.ladder == "" {
		p.ladder = c.Ladder
	}
	for i := range c.Findings {
		f := &c.Findings[i]
		if len(p.rows) >= shownFindings {
			p.hidden++
			continue
		}
		conn := ""
		if f.Conn > 0 {
			conn = strconv.Itoa(f.Conn)
		}
		p.rows = append(p.rows, []string{
			f.Verdict.String(), Escape(c.Path), cell(p.o.Rules[f.Rule].Name), conn, frameList(f.Packets), cell(f.Short),
		})
	}
	for _, n := range c.More {
		p.hidden += n
	}
	return nil
}

func (p *checkText) Close() error {
	if len(p.rows) > 0 {
		g := &grid{color: p.o.Color, rows: p.rows, columns: []gridColumn{
			{title: "Verdict", color: verdictColor}, {title: "Capture"}, {title: "Rule"}, {title: "Conn", right: true}, {title: "Frames"}, {title: "What"},
		}}
		if err := g.writeTo(p.out); err != nil {
			return err
		}
		if p.hidden > 0 {
			writeLine(p.out, "and "+plural(uint64(p.hidden), "finding", "findings")+" more")
		}
		writeLine(p.out, "")
	}
	if p.ladder != "" {
		writeLine(p.out, p.ladder)
	}
	writeLine(p.out, p.totals.String())
	return p.out.Flush()
}

// maxCell is how many characters of a name or a text the table has; the other
// formats have all.
const maxCell = 200

// cell returns text as a cell of the table.
func cell(text string) string {
	text = Escape(text)
	if runes := []rune(text); len(runes) > maxCell {
		return string(runes[:maxCell-3]) + "..."
	}
	return text
}

// verdictColor is the color of the name of a verdict.
func verdictColor(cell string) color {
	switch cell {
	case Failed.String():
		return boldRed
	case Undecided.String():
		return yellow
	}
	return plain
}
