package catalogue

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
)

// KindFormats returns the formats that WriteKinds and WriteKind take.
func KindFormats() []string { return []string{"table", "json", "markdown"} }

// Options say how the catalogue is printed.
type Options struct {
	Width int // columns of the terminal; 0: no limit
	Color bool
}

// unknownKindFormat is the error for a format that does not exist.
func unknownKindFormat(name string) error {
	return fmt.Errorf("unknown output format %q (%s)", text.Escape(name), strings.Join(KindFormats(), ", "))
}

// WriteKinds prints all kinds in the named format. A terminal that is too
// narrow for the table loses the RFCs first, then the titles.
func WriteKinds(w io.Writer, format string, kinds []*anomaly.Kind, o Options) error {
	out := bufio.NewWriter(w)
	switch format {
	case "table":
		g := &text.Grid{Width: o.Width, Color: o.Color, Columns: []text.Column{
			{Title: "Kind"},
			{Title: "Severity", Color: text.SeverityCellColor},
			{Title: "What It Is", Drop: 2},
			{Title: "RFC", Drop: 1},
		}}
		for _, k := range kinds {
			g.Rows = append(g.Rows, []string{k.Name, k.Severity.String(), k.Title, k.RFC})
		}
		if err := g.Print(out); err != nil {
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

// KindsMarkdown draws the catalogue of anomalies as a GitHub table.
func KindsMarkdown() []byte {
	var b bytes.Buffer
	b.WriteString("| kind | severity | what it is | causes | thresholds | RFC |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, k := range kinds.All() {
		var causes, thresholds []string
		for _, c := range k.Causes {
			if c.Name != "" {
				causes = append(causes, "`"+c.Name+"`")
			}
		}
		for _, t := range k.Thresholds {
			thresholds = append(thresholds, thresholdText(t))
		}
		fmt.Fprintf(&b, "| `%s` | %v | %s | %s | %s | %s |\n", k.Name, k.Severity, k.Title, strings.Join(causes, "<br>"), strings.Join(thresholds, "<br>"), k.RFC)
	}
	return b.Bytes()
}

// WriteKind prints one kind in full.
func WriteKind(w io.Writer, format string, k *anomaly.Kind, o Options) error {
	out := bufio.NewWriter(w)
	switch format {
	case "table":
		text.WriteLine(out, strings.Join([]string{
			text.Bold.PaintIf(o.Color, k.Name), text.SeverityColor(k.Severity).PaintIf(o.Color, k.Severity.String()), k.RFC}, text.Gap))
		text.WriteWrapped(out, "  ", k.Title, o.Width, text.Plain)
		for _, s := range kindSections(k) {
			text.WriteLine(out, "")
			text.WriteLine(out, s.title+":")
			for _, item := range s.items {
				text.WriteWrapped(out, "  ", item, o.Width, text.Plain)
			}
		}
	case "json":
		if err := writeJSON(out, kindAsJSON(k)); err != nil {
			return err
		}
	case "markdown":
		fmt.Fprintf(out, "## `%s`\n\n%s (%v, %s)\n", k.Name, k.Title, k.Severity, k.RFC)
		for _, s := range kindSections(k) {
			fmt.Fprintf(out, "\n%s:\n\n", s.title)
			for _, item := range s.items {
				fmt.Fprintf(out, "- %s\n", item)
			}
		}
	default:
		return unknownKindFormat(format)
	}
	return out.Flush()
}

// A kindSection is one list in an entry of the catalogue.
type kindSection struct {
	title string
	items []string
}

// kindSections are the lists of an entry that are not empty.
func kindSections(k *anomaly.Kind) []kindSection {
	list := []kindSection{{title: "Messages"}}
	add := func(title, item string) {
		if last := &list[len(list)-1]; last.title != title {
			list = append(list, kindSection{title: title})
		}
		last := &list[len(list)-1]
		last.items = append(last.items, item)
	}
	for _, c := range k.Causes {
		add("Messages", named(c.Name, c.Text))
	}
	if k.Next != "" {
		add("What to do next", k.Next)
	}
	for _, c := range k.Causes {
		if c.Next != "" {
			add("What to do next", named(c.Name, c.Next))
		}
	}
	for _, p := range k.Phrases {
		if p.In == "" {
			add("May be added", strings.TrimSpace(p.Text))
		}
	}
	for _, p := range k.Phrases {
		if p.In != "" {
			add("{"+p.In+"} can be", strings.TrimSpace(p.Text))
		}
	}
	for _, t := range k.Thresholds {
		add("Thresholds", thresholdText(t))
	}
	for _, m := range k.Moves {
		add("Severity changes", fmt.Sprintf("%v %s", m.To, m.When))
	}
	if len(k.Supersedes) > 0 {
		add("Supersedes", strings.Join(k.Supersedes, ", "))
	}
	return list
}

// thresholdText says what a threshold is of, its number, and the flag that sets it.
func thresholdText(t anomaly.Threshold) string {
	if t.Flag == "" {
		return named(t.Name, fmt.Sprint(t.Value))
	}
	return fmt.Sprintf("%s (--%s)", named(t.Name, fmt.Sprint(t.Value)), t.Flag)
}

// named puts the name of something before it.
func named(name, text string) string {
	if name == "" {
		return text
	}
	return name + ": " + text
}

// kindJSON is an entry of the catalogue in JSON. Its keys are never renamed.
type kindJSON struct {
	Kind       string          `json:"kind"`
	Severity   string          `json:"severity"`
	Title      string          `json:"title"`
	Reference  string          `json:"reference"`
	Text       string          `json:"text"`
	Next       string          `json:"next,omitempty"`
	Causes     []causeJSON     `json:"causes"`
	Phrases    []phraseJSON    `json:"phrases,omitempty"`
	Thresholds []thresholdJSON `json:"thresholds,omitempty"`
	Severities []moveJSON      `json:"severities,omitempty"`
	Supersedes []string        `json:"supersedes,omitempty"`
}

type causeJSON struct {
	Cause string `json:"cause,omitempty"`
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"` // instead of the kind's
}

// A phraseJSON fills the blank, or else follows the text of the cause.
type phraseJSON struct {
	Blank string `json:"blank,omitempty"`
	Text  string `json:"text"`
}

// A thresholdJSON has a number, or a time in seconds.
type thresholdJSON struct {
	Name    string  `json:"name"`
	Count   int     `json:"count,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Flag    string  `json:"flag,omitempty"`
}

type moveJSON struct {
	Severity string `json:"severity"`
	When     string `json:"when"`
}

func kindAsJSON(k *anomaly.Kind) kindJSON {
	j := kindJSON{Kind: k.Name, Severity: k.Severity.String(), Title: k.Title, Reference: k.RFC, Text: k.Causes[0].Text, Next: k.Next, Supersedes: k.Supersedes}
	for _, c := range k.Causes {
		j.Causes = append(j.Causes, causeJSON{c.Name, c.Text, c.Next})
	}
	for _, p := range k.Phrases {
		j.Phrases = append(j.Phrases, phraseJSON{p.In, p.Text})
	}
	for _, t := range k.Thresholds {
		count, _ := t.Value.(int)
		span, _ := t.Value.(time.Duration)
		j.Thresholds = append(j.Thresholds, thresholdJSON{t.Name, count, span.Seconds(), t.Flag})
	}
	for _, m := range k.Moves {
		j.Severities = append(j.Severities, moveJSON{m.To.String(), m.When})
	}
	return j
}

// writeJSON writes a value as indented JSON.
func writeJSON(out *bufio.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Severities returns all severities, the least first.
func Severities() (all []anomaly.Severity) {
	for s := anomaly.Info; s <= anomaly.Error; s++ {
		all = append(all, s)
	}
	return all
}
