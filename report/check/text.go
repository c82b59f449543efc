package check

import (
	"bufio"
	"strconv"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// shownFindings is how many findings the table has before it only counts them;
// the other formats have all.
const shownFindings = 100

// textPrinter prints what people read: a table of what failed and what could not
// be decided, the ladder around the first failure, and the totals.
type textPrinter struct {
	out    *bufio.Writer
	o      *Options
	rows   [][]string
	hidden int
	ladder string
	totals totals
}

func newText(out *bufio.Writer, o *Options) Printer { return &textPrinter{out: out, o: o} }

func (p *textPrinter) Capture(c *Capture) error {
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
			f.Verdict.String(), text.Escape(c.Path), cell(p.o.Rules[f.Rule].Name), conn, text.Frames(f.Packets), cell(f.Short),
		})
	}
	for _, n := range c.More {
		p.hidden += n
	}
	return nil
}

func (p *textPrinter) Close() error {
	if len(p.rows) > 0 {
		g := &text.Grid{Color: p.o.Color, Rows: p.rows, Columns: []text.Column{
			{Title: "Verdict", Color: verdictColor}, {Title: "Capture"}, {Title: "Rule"}, {Title: "Conn", Right: true}, {Title: "Frames"}, {Title: "What"},
		}}
		if err := g.Print(p.out); err != nil {
			return err
		}
		if p.hidden > 0 {
			text.WriteLine(p.out, "and "+text.Plural(uint64(p.hidden), "finding", "findings")+" more")
		}
		text.WriteLine(p.out, "")
	}
	if p.ladder != "" {
		text.WriteLine(p.out, p.ladder)
	}
	text.WriteLine(p.out, p.totals.String())
	return p.out.Flush()
}

// maxCell is how many characters of a name or a text the table has; the other
// formats have all.
const maxCell = 200

// cell returns text as a cell of the table.
func cell(s string) string {
	s = text.Escape(s)
	if runes := []rune(s); len(runes) > maxCell {
		return string(runes[:maxCell-3]) + "..."
	}
	return s
}

// verdictColor is the color of the name of a verdict.
func verdictColor(cell string) text.Color {
	switch cell {
	case Failed.String():
		return text.BoldRed
	case Undecided.String():
		return text.Yellow
	}
	return text.Plain
}
