package report

import (
	"bufio"
	"strconv"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// summary prints counts only, and keeps nothing else: the states of the ends,
// the most frequent first, and the anomalies by kind.
//
//	State        Client  Server  Total
//	ESTABLISHED       2       1      3
type summary struct {
	quiet
	out  *bufio.Writer
	opts *Options
}

func newSummary(out *bufio.Writer, o *Options, _ order) format {
	return &summary{out: out, opts: o}
}

func (p *summary) close(s *Summary, t *tally) error {
	if t.listed == 0 {
		writeLine(p.out, nothing(s, t, p.opts))
	} else if err := p.states(&t.states).writeTo(p.out); err != nil {
		return err
	}
	if len(t.kinds) > 0 {
		writeLine(p.out, "")
		if err := p.anomalies(t).writeTo(p.out); err != nil {
			return err
		}
	}
	writeLine(p.out, "")
	return writeLine(p.out, totalsLine(s, t))
}

// states lays out how many ends are in each state.
func (p *summary) states(c *stateCounts) *grid {
	g := &grid{noHeader: p.opts.NoHeader, color: p.opts.Color, columns: []gridColumn{
		{title: "State", color: stateColor}, {title: "Client", right: true}, {title: "Server", right: true}, {title: "Total", right: true},
	}}
	for _, s := range c.frequent() {
		g.rows = append(g.rows, []string{
			s.String(), strconv.Itoa(c[s][tcp.Client]), strconv.Itoa(c[s][tcp.Server]), strconv.Itoa(c.total(s)),
		})
	}
	return g
}

// anomalies lays out how many anomalies of each kind there are.
func (p *summary) anomalies(t *tally) *grid {
	g := &grid{noHeader: p.opts.NoHeader, color: p.opts.Color, columns: []gridColumn{
		{title: "Severity", color: severityCellColor}, {title: "Anomaly"}, {title: "Count", right: true},
	}}
	for _, k := range t.worst() {
		g.rows = append(g.rows, []string{k.severity.String(), Escape(k.kind), strconv.Itoa(t.kinds[k])})
	}
	return g
}
