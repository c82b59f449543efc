package text

import (
	"bufio"
	"fmt"
	"strings"
	"unicode/utf8"
)

// PrintMarkdown writes the grid as a table in Markdown. Its header stays even
// without column titles, because there is no table without one.
func (g *Grid) PrintMarkdown(out *bufio.Writer) error {
	widths := make([]int, len(g.Columns))
	lines := [][]string{g.Titles()}
	if g.NoHeader {
		lines[0] = make([]string, len(g.Columns))
	}
	for _, row := range g.Rows {
		var line []string
		for _, cell := range row {
			line = append(line, EscapeMarkdown(cell))
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), len("--:"))
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if g.Columns[i].Right {
				cell, pad = pad, cell
			}
			out.WriteString("| ")
			out.WriteString(cell)
			out.WriteString(pad)
			out.WriteByte(' ')
		}
		WriteLine(out, "|")
		if n > 0 {
			continue
		}
		for i, c := range g.Columns {
			rule := strings.Repeat("-", widths[i])
			if c.Right {
				rule = rule[1:] + ":"
			}
			fmt.Fprintf(out, "| %s ", rule)
		}
		WriteLine(out, "|")
	}
	return nil
}

// markdownMarks are what Markdown would take for more than text, HTML included.
// An underscore inside a word is text to GitHub.
var markdownMarks = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "|", `\|`, "<", "&lt;", "&", "&amp;", "](", `]\(`)

// EscapeMarkdown returns text that Markdown shows as it stands.
func EscapeMarkdown(text string) string {
	text = Escape(text)
	if !strings.ContainsAny(text, "\\`*|<&]") {
		return text
	}
	return markdownMarks.Replace(text)
}
