package report

import (
	"bufio"
	"fmt"
	"strings"
	"unicode/utf8"
)

// writeMarkdown writes the grid as a table in Markdown. Its header stays even
// without column titles, because there is no table without one.
func (g *grid) writeMarkdown(out *bufio.Writer) error {
	widths := make([]int, len(g.columns))
	lines := [][]string{g.titles()}
	if g.noHeader {
		lines[0] = make([]string, len(g.columns))
	}
	for _, row := range g.rows {
		var line []string
		for _, cell := range row {
			line = append(line, escapeMarkdown(cell))
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
			if g.columns[i].right {
				cell, pad = pad, cell
			}
			out.WriteString("| ")
			out.WriteString(cell)
			out.WriteString(pad)
			out.WriteByte(' ')
		}
		writeLine(out, "|")
		if n > 0 {
			continue
		}
		for i, c := range g.columns {
			rule := strings.Repeat("-", widths[i])
			if c.right {
				rule = rule[1:] + ":"
			}
			fmt.Fprintf(out, "| %s ", rule)
		}
		writeLine(out, "|")
	}
	return nil
}

// markdownMarks are what Markdown would take for more than text, HTML included.
// An underscore inside a word is text to GitHub.
var markdownMarks = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "|", `\|`, "<", "&lt;", "&", "&amp;", "](", `]\(`)

// escapeMarkdown returns text that Markdown shows as it stands.
func escapeMarkdown(text string) string {
	text = Escape(text)
	if !strings.ContainsAny(text, "\\`*|<&]") {
		return text
	}
	return markdownMarks.Replace(text)
}
