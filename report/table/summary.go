package table

import (
	"bufio"
	"strconv"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// summary prints counts only, and keeps nothing else: the states of the ends,
// the most frequent first, and the anomalies by kind.
//
//	State        Client  Server  Total
//	ESTABLISHED       2       1      3
type summary struct {
	anomalies
	out *bufio.Writer
}

// NewSummary makes the format summary.
func NewSummary(out *bufio.Writer, o *record.Options, _ record.Order) record.Format {
	return &summary{anomalies: anomalies{opts: o}, out: out}
}

func (p *summary) Close(s *record.Summary, t *record.Tally) error {
	if t.Listed == 0 {
		text.WriteLine(p.out, record.Nothing(s, t, p.opts))
	} else if err := p.states(&t.States).Print(p.out); err != nil {
		return err
	}
	if g := p.kinds(); len(g.Rows) > 0 {
		text.WriteLine(p.out, "")
		if err := g.Print(p.out); err != nil {
			return err
		}
	}
	if g := p.passed(s); len(g.Rows) > 0 {
		text.WriteLine(p.out, "")
		if err := g.Print(p.out); err != nil {
			return err
		}
	}
	text.WriteLine(p.out, "")
	for _, note := range tapNotes(s, p.opts) {
		text.WriteWrapped(p.out, "", note, p.opts.Width, text.Plain)
	}
	return text.WriteLine(p.out, record.TotalsLine(s, t))
}

// passed lays out the packets that were passed over, by the header that was not
// opened.
func (p *summary) passed(s *record.Summary) *text.Grid {
	g := &text.Grid{NoHeader: p.opts.NoHeader, Color: p.opts.Color, Columns: []text.Column{
		{Title: "Header"}, {Title: "Passed over"}, {Title: "Packets", Right: true},
	}}
	for _, of := range s.Passed {
		g.Rows = append(g.Rows, []string{of.Header, of.Why, strconv.FormatUint(of.Packets, 10)})
	}
	return g
}

// states lays out how many ends are in each state.
func (p *summary) states(c *record.StateCounts) *text.Grid {
	g := &text.Grid{NoHeader: p.opts.NoHeader, Color: p.opts.Color, Columns: []text.Column{
		{Title: "State", Color: text.StateColor}, {Title: "Client", Right: true}, {Title: "Server", Right: true}, {Title: "Total", Right: true},
	}}
	for _, s := range c.Frequent() {
		g.Rows = append(g.Rows, []string{
			s.String(), strconv.Itoa(c[s][tcp.Client]), strconv.Itoa(c[s][tcp.Server]), strconv.Itoa(c.Total(s)),
		})
	}
	return g
}

// kinds lays out how many anomalies of each kind there are.
func (p *summary) kinds() *text.Grid {
	g := &text.Grid{NoHeader: p.opts.NoHeader, Color: p.opts.Color, Columns: []text.Column{
		{Title: "Severity", Color: text.SeverityCellColor}, {Title: "Anomaly"}, {Title: "Count", Right: true},
	}}
	for _, of := range p.found.Groups(0) {
		g.Rows = append(g.Rows, []string{of.Severity.String(), text.Escape(of.Kind), strconv.Itoa(of.Count)})
	}
	return g
}
