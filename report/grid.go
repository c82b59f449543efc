package report

import (
	"bufio"
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// A grid is a table of text in the look of netstat: no lines, two blanks
// between columns, numbers to the right, columns as wide as what they hold, and
// nothing cut.
//
// tablewriter draws it, at 40 us and 7 KB a row. A grid of more than
// tablewriterRows is drawn by drawPlain, which gives the same bytes at a
// fifteenth of that (a test holds them to each other). Colour and the trimming
// of trailing blanks come after the drawing, so that neither disturbs it.
type grid struct {
	columns []gridColumn
	rows    [][]string // cells in a line: escaped, without line breaks

	noHeader bool
	width    int  // of the terminal; 0: no limit
	color    bool // use the columns' colours
}

// A gridColumn is one column of a grid.
type gridColumn struct {
	title string
	right bool               // aligned to the right
	drop  int                // rank at which a narrow terminal loses it: 1 goes first; 0 stays
	color func(string) color // of a cell by its text; nil: none
}

// tablewriterRows is the number of rows up to which tablewriter draws: a tenth
// of a second.
const tablewriterRows = 2000

// gap stands between two columns.
const gap = "  "

// writeTo writes the grid, with columns left out until it fits its width.
func (g *grid) writeTo(out *bufio.Writer) error {
	fit := g.fit()
	widths := fit.widths()
	var drawn bytes.Buffer
	if len(fit.rows) > tablewriterRows {
		fit.drawPlain(&drawn, widths)
	} else if err := fit.drawTablewriter(&drawn); err != nil {
		return err
	}
	return fit.finish(out, drawn.Bytes(), widths)
}

// fit returns the grid without the columns that do not fit. What may not be
// left out makes lines longer than the terminal.
func (g *grid) fit() *grid {
	if g.width <= 0 {
		return g
	}
	widths := g.widths()
	keep := make([]bool, len(g.columns))
	total, last := -len(gap), 0
	for i, c := range g.columns {
		keep[i] = true
		total += widths[i] + len(gap)
		last = max(last, c.drop)
	}
	for rank := 1; rank <= last && total > g.width; rank++ {
		for i, c := range g.columns {
			if c.drop == rank {
				keep[i] = false
				total -= widths[i] + len(gap)
			}
		}
	}
	if !slices.Contains(keep, false) {
		return g
	}
	fit := &grid{columns: kept(g.columns, keep), noHeader: g.noHeader, width: g.width, color: g.color}
	fit.rows = make([][]string, len(g.rows))
	for i, row := range g.rows {
		fit.rows[i] = kept(row, keep)
	}
	return fit
}

// kept returns the items that are to be kept.
func kept[T any](items []T, keep []bool) []T {
	var list []T
	for i, item := range items {
		if keep[i] {
			list = append(list, item)
		}
	}
	return list
}

// widths returns how wide each column is.
func (g *grid) widths() []int {
	widths := make([]int, len(g.columns))
	for i, c := range g.columns {
		if !g.noHeader {
			widths[i] = utf8.RuneCountInString(c.title)
		}
	}
	for _, row := range g.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// titles returns the header line.
func (g *grid) titles() []string {
	var titles []string
	for _, c := range g.columns {
		titles = append(titles, c.title)
	}
	return titles
}

// drawTablewriter draws the grid with tablewriter.
func (g *grid) drawTablewriter(out *bytes.Buffer) error {
	align := make([]tw.Align, len(g.columns))
	for i, c := range g.columns {
		align[i] = tw.AlignLeft
		if c.right {
			align[i] = tw.AlignRight
		}
	}
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft, PerColumn: align},
		Padding:    tw.CellPadding{Global: tw.Padding{Right: gap, Overwrite: true}},
	}
	table := tablewriter.NewTable(out,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithConfig(tablewriter.Config{
			Header:   cells,
			Row:      cells,
			Behavior: tw.Behavior{TrimSpace: tw.Off},
		}))
	if !g.noHeader {
		table.Header(g.titles())
	}
	for _, row := range g.rows {
		if err := table.Append(row); err != nil {
			return err
		}
	}
	return table.Render()
}

// drawPlain draws the grid as drawTablewriter does.
func (g *grid) drawPlain(out *bytes.Buffer, widths []int) {
	line := len("\n")
	for _, w := range widths {
		line += w + len(gap)
	}
	out.Grow((len(g.rows) + 1) * line)
	draw := func(row []string) {
		for i, cell := range row {
			pad := widths[i] - utf8.RuneCountInString(cell)
			if g.columns[i].right {
				writeBlanks(out, pad)
			}
			out.WriteString(cell)
			if !g.columns[i].right {
				writeBlanks(out, pad)
			}
			out.WriteString(gap)
		}
		out.WriteByte('\n')
	}
	if !g.noHeader {
		draw(g.titles())
	}
	for _, row := range g.rows {
		draw(row)
	}
}

// lines returns the grid's lines, with columns at least as wide as widths says,
// and how wide they are.
func (g *grid) lines(widths []int) (lines []string, grown []int) {
	grown = g.widths()
	for i := range min(len(widths), len(grown)) {
		grown[i] = max(grown[i], widths[i])
	}
	var drawn bytes.Buffer
	g.drawPlain(&drawn, grown)
	return linesOf(func(out *bufio.Writer) { g.finish(out, drawn.Bytes(), grown) }), grown
}

// writeBlanks writes n blanks.
func writeBlanks(out *bytes.Buffer, n int) {
	const blanks = "                                "
	for ; n > len(blanks); n -= len(blanks) {
		out.WriteString(blanks)
	}
	out.WriteString(blanks[:max(n, 0)])
}

// finish writes the drawn lines without their trailing blanks, in colour if
// that is wanted.
func (g *grid) finish(out *bufio.Writer, drawn []byte, widths []int) error {
	header := !g.noHeader
	row := 0
	for line := range bytes.Lines(drawn) {
		text := bytes.TrimRight(line, " \n")
		switch {
		case !g.color:
			out.Write(text)
		case header:
			out.WriteString(bold.paint(string(text)))
			header = false
		default:
			out.WriteString(g.paintRow(string(text), g.rows[row], widths))
			row++
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// paintRow puts colours around the cells of a drawn row.
func (g *grid) paintRow(line string, row []string, widths []int) string {
	var b strings.Builder
	done, column := 0, 0 // bytes of line written; where the column starts
	for i, cell := range row {
		pad := widths[i] - utf8.RuneCountInString(cell)
		start := column
		if g.columns[i].right {
			start += pad
		}
		if c := g.columns[i].color; c != nil && cell != "" {
			b.WriteString(line[done:start])
			b.WriteString(c(cell).paint(cell))
			done = start + len(cell)
		}
		column += len(cell) + pad + len(gap)
	}
	b.WriteString(line[done:])
	return b.String()
}
