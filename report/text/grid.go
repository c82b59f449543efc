package text

import (
	"bufio"
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// A Grid is a table of text in the look of netstat: no lines, two blanks
// between columns, numbers to the right, columns as wide as what they hold, and
// nothing cut.
//
// tablewriter draws it, at 40 us and 7 KB a row. A grid of more than
// tablewriterRows is drawn by drawPlain, which gives the same bytes at a
// fifteenth of that (a test holds them to each other). Colour and the trimming
// of trailing blanks come after the drawing, so that neither disturbs it.
type Grid struct {
	Columns []Column
	Rows    [][]string // cells in a line: escaped, without line breaks

	NoHeader bool
	Width    int    // of the terminal; 0: no limit
	Else     string // what shows the columns that do not fit; "": a wider terminal
	Color    bool   // use the columns' colours
}

// A Column is one column of a grid.
type Column struct {
	Title string
	Right bool               // aligned to the right
	Drop  int                // rank at which a narrow terminal loses it: 1 goes first; 0 stays
	Color func(string) Color // of a cell by its text; nil: none
}

// tablewriterRows is the number of rows up to which tablewriter draws: a tenth
// of a second.
const tablewriterRows = 2000

// Gap stands between two columns.
const Gap = "  "

// Print writes the grid, with columns left out until it fits its width, and a line
// that says which these are.
func (g *Grid) Print(out *bufio.Writer) error {
	if err := g.print(out); err != nil {
		return err
	}
	if dropped := g.dropped(); len(dropped) > 0 {
		WriteWrapped(out, "", "Columns left out: "+strings.Join(dropped, ", ")+" ("+cmp.Or(g.Else, "a wider terminal, or a pipe, shows them")+")", g.Width, Plain)
	}
	return nil
}

// print writes the grid as far as it fits.
func (g *Grid) print(out *bufio.Writer) error {
	fit := g.fit()
	widths := fit.widths()
	var drawn bytes.Buffer
	if len(fit.Rows) > tablewriterRows {
		fit.drawPlain(&drawn, widths)
	} else if err := fit.drawTablewriter(&drawn); err != nil {
		return err
	}
	return fit.finish(out, drawn.Bytes(), widths)
}

// fit returns the grid without the columns that do not fit. What may not be
// left out makes lines longer than the terminal.
func (g *Grid) fit() *Grid {
	keep := g.fitting()
	if !slices.Contains(keep, false) {
		return g
	}
	fit := &Grid{Columns: kept(g.Columns, keep), NoHeader: g.NoHeader, Width: g.Width, Color: g.Color}
	fit.Rows = make([][]string, len(g.Rows))
	for i, row := range g.Rows {
		fit.Rows[i] = kept(row, keep)
	}
	return fit
}

// dropped returns the titles of the columns that do not fit.
func (g *Grid) dropped() (titles []string) {
	for i, fits := range g.fitting() {
		if !fits {
			titles = append(titles, g.Columns[i].Title)
		}
	}
	return titles
}

// fitting says of each column whether it is printed.
func (g *Grid) fitting() []bool {
	widths := g.widths()
	keep := make([]bool, len(g.Columns))
	total, last := -len(Gap), 0
	for i, c := range g.Columns {
		keep[i] = true
		total += widths[i] + len(Gap)
		last = max(last, c.Drop)
	}
	for rank := 1; rank <= last && total > g.Width && g.Width > 0; rank++ {
		for i, c := range g.Columns {
			if c.Drop == rank {
				keep[i] = false
				total -= widths[i] + len(Gap)
			}
		}
	}
	return keep
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
func (g *Grid) widths() []int {
	widths := make([]int, len(g.Columns))
	for i, c := range g.Columns {
		if !g.NoHeader {
			widths[i] = utf8.RuneCountInString(c.Title)
		}
	}
	for _, row := range g.Rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// Titles returns the header line.
func (g *Grid) Titles() []string {
	var titles []string
	for _, c := range g.Columns {
		titles = append(titles, c.Title)
	}
	return titles
}

// drawTablewriter draws the grid with tablewriter.
func (g *Grid) drawTablewriter(out *bytes.Buffer) error {
	align := make([]tw.Align, len(g.Columns))
	for i, c := range g.Columns {
		align[i] = tw.AlignLeft
		if c.Right {
			align[i] = tw.AlignRight
		}
	}
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft, PerColumn: align},
		Padding:    tw.CellPadding{Global: tw.Padding{Right: Gap, Overwrite: true}},
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
	if !g.NoHeader {
		table.Header(g.Titles())
	}
	for _, row := range g.Rows {
		if err := table.Append(row); err != nil {
			return err
		}
	}
	return table.Render()
}

// drawPlain draws the grid as drawTablewriter does.
func (g *Grid) drawPlain(out *bytes.Buffer, widths []int) {
	line := len("\n")
	for _, w := range widths {
		line += w + len(Gap)
	}
	out.Grow((len(g.Rows) + 1) * line)
	draw := func(row []string) {
		for i, cell := range row {
			pad := widths[i] - utf8.RuneCountInString(cell)
			if g.Columns[i].Right {
				writeBlanks(out, pad)
			}
			out.WriteString(cell)
			if !g.Columns[i].Right {
				writeBlanks(out, pad)
			}
			out.WriteString(Gap)
		}
		out.WriteByte('\n')
	}
	if !g.NoHeader {
		draw(g.Titles())
	}
	for _, row := range g.Rows {
		draw(row)
	}
}

// Lines returns the grid's lines, with columns at least as wide as widths says,
// and how wide they are.
func (g *Grid) Lines(widths []int) (lines []string, grown []int) {
	grown = g.widths()
	for i := range min(len(widths), len(grown)) {
		grown[i] = max(grown[i], widths[i])
	}
	var drawn bytes.Buffer
	g.drawPlain(&drawn, grown)
	return Lines(func(out *bufio.Writer) { g.finish(out, drawn.Bytes(), grown) }), grown
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
func (g *Grid) finish(out *bufio.Writer, drawn []byte, widths []int) error {
	header := !g.NoHeader
	row := 0
	for line := range bytes.Lines(drawn) {
		text := bytes.TrimRight(line, " \n")
		switch {
		case !g.Color:
			out.Write(text)
		case header:
			out.WriteString(Bold.Paint(string(text)))
			header = false
		default:
			out.WriteString(g.paintRow(string(text), g.Rows[row], widths))
			row++
		}
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// paintRow puts colours around the cells of a drawn row.
func (g *Grid) paintRow(line string, row []string, widths []int) string {
	var b strings.Builder
	done, column := 0, 0 // bytes of line written; where the column starts
	for i, cell := range row {
		pad := widths[i] - utf8.RuneCountInString(cell)
		start := column
		if g.Columns[i].Right {
			start += pad
		}
		if c := g.Columns[i].Color; c != nil && cell != "" {
			b.WriteString(line[done:start])
			b.WriteString(c(cell).Paint(cell))
			done = start + len(cell)
		}
		column += len(cell) + pad + len(Gap)
	}
	b.WriteString(line[done:])
	return b.String()
}
