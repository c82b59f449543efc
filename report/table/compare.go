package table

import (
	"bufio"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// What happened between captures of several places. What is wrong comes first, for
// somebody who sees one screen of it: what was lost or forged, which packets, how the
// clocks run, and the gravest anomalies of any kind. The tables follow.
//
//	12 of 3,400 segments (0.4 %) from client to server were lost between client.pcap and server.pcap; none the other way.
//	Lost from client to server: 12 with 1,448 bytes of data; frames 9,10,.. of client.pcap, ...
//	server.pcap is 3.2013 s ahead, within 0.4 ms; drift 80 ppm
//
//	error  pmtu-black-hole  RFC 2923 §2.1
//	  ...
//
//	Direction         Sent   Arrived  Lost        Missed by client.pcap  ...

const (
	// gravestFindings is how many findings of severity warning and error stand above the
	// tables; shownConnections how many of the worst connections are listed, and
	// shownRewritings how many translations of addresses.
	gravestFindings  = 2
	shownConnections = 10
	shownRewritings  = 10
)

// compare prints the report of captures of several places.
type compare struct {
	anomalies
	out      *bufio.Writer
	markdown bool

	s *record.Summary
	r *between.Report
}

// NewCompare makes the report for a terminal.
func NewCompare(out *bufio.Writer, o *record.Options, _ record.Order) record.Format {
	return &compare{anomalies: anomalies{opts: o, found: findings.Counts{All: true}}, out: out}
}

// NewCompareMarkdown makes the report as GitHub's Markdown has it.
func NewCompareMarkdown(out *bufio.Writer, o *record.Options, _ record.Order) record.Format {
	return &compare{anomalies: anomalies{opts: o, found: findings.Counts{All: true}}, out: out, markdown: true}
}

func (c *compare) Close(s *record.Summary, t *record.Tally) error {
	c.s, c.r = s, s.Between
	if c.r == nil {
		c.r = new(between.Report) // interrupted before the captures were open
	}
	for _, line := range c.r.Verdict() {
		c.paragraph(line, text.Bold)
	}
	for _, line := range c.which() {
		c.paragraph(line, text.Plain)
	}
	for _, line := range c.r.Clocks(c.opts.Time, s.First) {
		c.paragraph(line, text.Plain)
	}
	gravest, others := c.split()
	c.findings(gravest)
	for i := range c.r.Pairs {
		if err := c.pair(&c.r.Pairs[i]); err != nil {
			return err
		}
	}
	c.findings(others)
	if legend := legendOf(slices.Concat(gravest, others)); legend != "" {
		c.blank()
		c.paragraph(legend, text.Plain)
	}
	c.blank()
	if n := c.left(); n > 0 {
		c.paragraph(fmt.Sprintf("%s not about the path: tcpwatch replay --tap lists all", text.Plural(uint64(n), "other finding is", "other findings are")), text.Plain)
	}
	c.paragraph(record.TotalsLine(s, t), text.Plain)
	return nil
}

// blank writes a blank line; in Markdown paragraphs have theirs.
func (c *compare) blank() {
	if !c.markdown {
		text.WriteLine(c.out, "")
	}
}

// paragraph writes a line of text.
func (c *compare) paragraph(line string, color text.Color) {
	if c.markdown {
		text.WriteLine(c.out, text.EscapeMarkdown(line)+"\n")
		return
	}
	text.WriteWrapped(c.out, "", line, c.opts.Width, color.When(c.opts.Color))
}

// grid writes a table.
func (c *compare) grid(g *text.Grid) error {
	if c.markdown {
		if err := g.PrintMarkdown(c.out); err != nil {
			return err
		}
		return text.WriteLine(c.out, "")
	}
	c.blank()
	return g.Print(c.out)
}

// which says which packets were lost and forged.
func (c *compare) which() (lines []string) {
	for i := range c.r.Pairs {
		p := &c.r.Pairs[i]
		for way := range p.Ways {
			for _, of := range []struct {
				what  string
				which *between.Which
			}{{"Lost", &p.Ways[way].WhichLost}, {"Forged", &p.Ways[way].WhichForged}} {
				if is := of.which.Sentence(c.r, c.opts.Time, c.s.First); is != "" {
					lines = append(lines, fmt.Sprintf("%s from %s: %s", of.what, c.r.Direction(p, way), is))
				}
			}
		}
	}
	return lines
}

// ofPath reports whether a kind is about what happened between captures.
func ofPath(kind string) bool {
	return strings.HasSuffix(kind, "-between") || kind == "nat-rewritten"
}

// split divides the findings into the gravest, of any kind, and what else is to be told:
// other errors and warnings, and what happened on the way.
func (c *compare) split() (gravest, others []*findings.Group) {
	shown := 0
	groups := c.groups(false)
	slices.SortStableFunc(groups, func(a, b *findings.Group) int { // what two captures show is surer than what one does
		switch on, off := ofPath(a.Kind), ofPath(b.Kind); {
		case a.Severity != b.Severity || on == off:
			return cmp.Compare(b.Severity, a.Severity)
		case on:
			return -1
		}
		return 1
	})
	for _, g := range groups {
		grave := g.Severity >= anomaly.Warning
		switch {
		case grave && shown < gravestFindings:
			top, rest := *g, *g
			n := min(gravestFindings-shown, len(g.List))
			top.List, rest.List = g.List[:n], g.List[n:]
			shown += n
			if len(rest.List) > 0 {
				top.More = nil
				others = append(others, &rest)
			}
			gravest = append(gravest, &top)
		case grave || ofPath(g.Kind):
			others = append(others, g)
		}
	}
	return gravest, others
}

// left counts the findings that are not listed.
func (c *compare) left() (n int) {
	for _, g := range c.groups(false) {
		if g.Severity < anomaly.Warning && !ofPath(g.Kind) {
			n += len(g.List) + len(g.More)
		}
	}
	return n
}

// findings writes findings as tables have them, with the frames of each capture.
func (c *compare) findings(groups []*findings.Group) {
	for _, g := range groups {
		severity := text.SeverityColor(g.Severity).PaintIf(c.opts.Color && !c.markdown, g.Severity.String())
		head := []string{severity, text.Bold.PaintIf(c.opts.Color && !c.markdown, text.Escape(g.Kind))}
		if g.RFC != "" {
			head = append(head, text.Escape(g.RFC))
		}
		if c.markdown {
			line := fmt.Sprintf("**%s: %s**", g.Severity, text.EscapeMarkdown(g.Kind))
			if g.RFC != "" {
				line += " (" + text.EscapeMarkdown(g.RFC) + ")"
			}
			text.WriteLine(c.out, line+"\n")
		} else {
			c.blank()
			text.WriteLine(c.out, strings.Join(head, text.Gap))
		}
		for _, f := range g.List {
			c.finding(f)
		}
		more := ""
		if len(g.More) > 0 {
			more = hidden(g.More)
		}
		switch {
		case c.markdown && more != "":
			text.WriteLine(c.out, "- "+more+"\n")
		case c.markdown:
			text.WriteLine(c.out, "")
		case more != "":
			text.WriteLine(c.out, "  "+more)
		}
	}
}

// finding writes one.
func (c *compare) finding(f *findings.Finding) {
	list := factsBy(f, c.opts.Time, c.s.First, c.framesOf)
	says := c.inCaptures(sentence(f, c.opts.Time, c.s.First))
	if c.markdown {
		text.WriteLine(c.out, "- "+text.EscapeMarkdown(strings.Join(list, ", ")+": "+text.WithNext(says, f.First.Next)))
		return
	}
	text.WriteParts(c.out, "  ", list, c.opts.Width)
	text.WriteWrapped(c.out, "    ", says, c.opts.Width, text.Plain)
	if f.First.Next != "" {
		text.WriteWrapped(c.out, "    ", text.Next+text.Escape(f.First.Next), c.opts.Width, text.Plain)
	}
}

// framesOf writes the frames that show an anomaly, for each capture.
func (c *compare) framesOf(a *anomaly.Anomaly) (list []string) {
	if c.r.Frames == nil {
		return frames(a)
	}
	in := make([][]int, len(c.r.Taps))
	for _, packet := range evidence(a) {
		of := c.r.Frames(packet)
		if of == nil {
			return frames(a)
		}
		for i, frame := range of {
			if frame > 0 {
				in[i] = append(in[i], frame)
			}
		}
	}
	for i := range in {
		if len(in[i]) > 0 {
			list = append(list, c.r.Label(i)+" "+text.Frames(in[i]))
		}
	}
	return list
}

// frameInText is a packet in the sentence of an anomaly.
var frameInText = regexp.MustCompile(`#[0-9]+`)

// inCaptures replaces the numbers of packets by those of frames in one of the captures
// that have them.
func (c *compare) inCaptures(sentence string) string {
	if c.r.Frames == nil {
		return sentence
	}
	return frameInText.ReplaceAllStringFunc(sentence, func(number string) string {
		n, err := strconv.Atoi(number[1:])
		if err != nil {
			return number
		}
		for i, frame := range c.r.Frames(n) {
			if frame > 0 {
				return fmt.Sprintf("%s #%d", c.r.Label(i), frame)
			}
		}
		return number
	})
}

// pair writes what happened between two neighbours.
func (c *compare) pair(p *between.Pair) error {
	for _, g := range BetweenGrids(c.r, p) {
		g.NoHeader, g.Color, g.Width = c.opts.NoHeader, c.opts.Color && !c.markdown, c.opts.Width
		title := g.Columns[0].Title
		if !c.markdown && (title == directionTitle || title == delayTitle) && !fits(g.Grid) {
			g.Grid = transposed(g.Grid)
		}
		if err := c.grid(g.Grid); err != nil {
			return err
		}
		if g.Note != "" {
			c.paragraph(g.Note, text.Plain)
		}
	}
	return nil
}

// transposed is a table whose rows are the columns of another.
func transposed(g *text.Grid) *text.Grid {
	t := &text.Grid{Columns: []text.Column{{Title: g.Columns[0].Title}}, NoHeader: g.NoHeader, Color: g.Color, Width: g.Width}
	for _, row := range g.Rows {
		t.Columns = append(t.Columns, text.Column{Title: row[0], Right: true})
	}
	for i, c := range g.Columns[1:] {
		cells := []string{c.Title}
		for _, row := range g.Rows {
			cells = append(cells, row[i+1])
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// fits reports whether a table is not wider than the terminal.
func fits(g *text.Grid) bool {
	if g.Width == 0 {
		return true
	}
	_, widths := g.Lines(nil)
	total := -len(text.Gap)
	for _, w := range widths {
		total += w + len(text.Gap)
	}
	return total <= g.Width
}
