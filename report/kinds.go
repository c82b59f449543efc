package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// The catalogue of anomalies, printed from the values that the tracker runs
// on. KindsMarkdown is in states.go.

// KindFormats returns the formats that WriteKinds and WriteKind take.
func KindFormats() []string { return []string{"table", "json", "markdown"} }

// KindOptions say how the catalogue is printed.
type KindOptions struct {
	Width int // columns of the terminal; 0: no limit
	Color bool
}

// unknownKindFormat is the error for a format that does not exist.
func unknownKindFormat(name string) error {
	return fmt.Errorf("unknown output format %q (%s)", Escape(name), strings.Join(KindFormats(), ", "))
}

// WriteKinds prints all kinds in the named format. A terminal that is too
// narrow for the table loses the RFCs first, then the titles.
func WriteKinds(w io.Writer, format string, kinds []*tracker.Kind, o KindOptions) error {
	out := bufio.NewWriter(w)
	switch format {
	case "table":
		g := &grid{width: o.Width, color: o.Color, columns: []gridColumn{
			{title: "Kind"},
			{title: "Severity", color: severityCellColor},
			{title: "What It Is", drop: 2},
			{title: "RFC", drop: 1},
		}}
		for _, k := range kinds {
			g.rows = append(g.rows, []string{k.Name, k.Severity.String(), k.Title, k.RFC})
		}
		if err := g.writeTo(out); err != nil {
			return err
		}
	case "json":
		list := []kindJSON{}
		for _, k := range kinds {
			list = append(list, kindAsJSON(k))
		}
		if err := writeJSON(out, list); err != nil {
			return err
		}
	case "markdown":
		out.Write(KindsMarkdown())
	default:
		return unknownKindFormat(format)
	}
	return out.Flush()
}

// WriteKind prints one kind in full.
func WriteKind(w io.Writer, format string, k *tracker.Kind, o KindOptions) error {
	out := bufio.NewWriter(w)
	switch format {
	case "table":
		writeLine(out, strings.Join([]string{
			bold.paintIf(o.Color, k.Name), severityColor(k.Severity).paintIf(o.Color, k.Severity.String()), k.RFC}, gap))
		lo := &LadderOptions{Width: o.Width, Color: o.Color}
		writeWrapped(out, "  ", k.Title, lo, plain)
		writeLine(out, "")
		writeLine(out, "What is printed:")
		writeWrapped(out, "  ", k.Sentence, lo, plain)
		if len(k.Supersedes) > 0 {
			writeLine(out, "")
			writeLine(out, "It says more than:")
			writeWrapped(out, "  ", strings.Join(k.Supersedes, ", "), lo, plain)
		}
	case "json":
		if err := writeJSON(out, kindAsJSON(k)); err != nil {
			return err
		}
	case "markdown":
		fmt.Fprintf(out, "## `%s`\n\n%s (%v, %s)\n\n> %s\n", k.Name, k.Title, k.Severity, k.RFC, k.Sentence)
		if len(k.Supersedes) > 0 {
			fmt.Fprintf(out, "\nIt says more than `%s`.\n", strings.Join(k.Supersedes, "`, `"))
		}
	default:
		return unknownKindFormat(format)
	}
	return out.Flush()
}

// kindJSON is an entry of the catalogue in JSON. Its keys are never renamed.
type kindJSON struct {
	Kind       string   `json:"kind"`
	Severity   string   `json:"severity"`
	Title      string   `json:"title"`
	Reference  string   `json:"reference"`
	Text       string   `json:"text"`
	Supersedes []string `json:"supersedes,omitempty"`
}

func kindAsJSON(k *tracker.Kind) kindJSON {
	return kindJSON{k.Name, k.Severity.String(), k.Title, k.RFC, k.Sentence, k.Supersedes}
}

// writeJSON writes a value as indented JSON.
func writeJSON(out *bufio.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Severities returns all severities, the least first.
func Severities() (all []tracker.Severity) {
	for s := tracker.Info; s <= tracker.Error; s++ {
		all = append(all, s)
	}
	return all
}

// severityCellColor is the color of the name of a severity.
func severityCellColor(cell string) color {
	for _, s := range Severities() {
		if s.String() == cell {
			return severityColor(s)
		}
	}
	return plain
}
