package catalogue

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestGoldens(t *testing.T) {
	golden.Test(t, []golden.Output{
		{Name: "kinds", Text: kindsOf("table", Options{})},
		{Name: "kinds-60", Text: kindsOf("table", Options{Width: 60, Color: true})},
		{Name: "kinds-json", Text: kindsOf("json", Options{})},
		{Name: "kind", Text: oneKind("table", Options{Width: 70, Color: true})},
		{Name: "kind-json", Text: oneKind("json", Options{})},
		{Name: "kind-markdown", Text: oneKind("markdown", Options{})},
		{Name: "states", Text: golden.Of(func(w io.Writer) error { return WriteStates(w, "table", false) })},
		{Name: "states-dot", Text: func(testing.TB) []byte { return StatesDot() }},
		{Name: "states-svg", Text: func(testing.TB) []byte { return StatesSVG() }},
	})
}

// aKind is an entry of a catalogue, with everything that can be printed.
var aKind = anomaly.Kind{
	Name: "last-word-lost", Severity: anomaly.Warning, Title: "The last word was lost", RFC: "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "{X} had the last word <after {t}>, and nobody heard it; this is a sentence that is long enough to be broken."},
		{Name: "muffled", Text: "{X} had the last word, {how}."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "whispered", In: "how", Text: "and whispered it"},
		{Name: "alone", Text: " It was alone."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "words, at most", Value: 3},
		{Name: "silence after it", Value: 1500 * time.Millisecond, Flag: "silence"},
	},
	Moves:      []anomaly.SeverityMove{{Name: "alone", To: anomaly.Info, When: "if it was alone"}},
	Supersedes: []string{"word-lost", "silence"},
}

// kindsOf prints a catalogue.
func kindsOf(format string, o Options) func(testing.TB) []byte {
	other := anomaly.Kind{Name: "silence", Severity: anomaly.Error, Title: "Nobody says a word", RFC: "RFC 9293", Causes: []anomaly.Cause{{Text: "{X} is silent."}}}
	return golden.Of(func(w io.Writer) error { return WriteKinds(w, format, []*anomaly.Kind{&aKind, &other}, o) })
}

// oneKind prints an entry of it.
func oneKind(format string, o Options) func(testing.TB) []byte {
	return golden.Of(func(w io.Writer) error { return WriteKind(w, format, &aKind, o) })
}

// Every picture of the machine has every state and every row: the table and
// Graphviz all, Mermaid and SVG those of opening and closing.
func TestPicturesOfStatesAreWhole(t *testing.T) {
	table := string(golden.Of(func(w io.Writer) error { return WriteStates(w, "table", false) })(t))
	dot, mermaid, svg := string(StatesDot()), string(StatesMermaid()), string(StatesSVG())
	for _, s := range tcp.States() {
		for name, picture := range map[string]string{"table": table, "dot": dot, "mermaid": mermaid, "svg": svg} {
			if !strings.Contains(picture, s.String()) {
				t.Errorf("%s has no state %v", name, s)
			}
		}
	}
	mermaidID := func(s tcp.State) string {
		for _, line := range strings.Split(mermaid, "\n") {
			if id, ok := strings.CutSuffix(strings.TrimSpace(line), " : "+s.String()); ok && !strings.Contains(id, "-->") {
				return id
			}
		}
		return ""
	}
	for _, row := range tcp.Transitions() {
		if !hasLine(table, row.From.String(), row.On.String(), row.To.String(), "§"+row.RFC) {
			t.Errorf("table has no row %v", row)
		}
		if !hasLine(dot, row.From.String()+" -> "+row.To.String(), `"`+row.On.String()+`"`, row.RFC) {
			t.Errorf("dot has no row %v", row)
		}
		if !orderly(row) {
			continue
		}
		if !strings.Contains(mermaid, mermaidID(row.From)+" --> "+mermaidID(row.To)+" : "+row.On.String()+"\n") {
			t.Errorf("mermaid has no row %v", row)
		}
		r, ok := routes[stateMove{row.From, row.To}]
		if !ok {
			t.Errorf("svg: nobody has laid out the arrow of %v", row)
		}
		if !hasLine(svg, onPath(r.from), onPath(r.to), "arrow") || !hasLine(svg, "label", ">"+row.On.String()+"<") {
			t.Errorf("svg has no row %v", row)
		}
	}
	for m := range routes {
		used := false
		for _, row := range tcp.Transitions() {
			used = used || orderly(row) && m == stateMove{row.From, row.To}
		}
		if !used {
			t.Errorf("svg: no row of the table takes the arrow from %v to %v", m.from, m.to)
		}
	}
	if !strings.Contains(svg, "Not shown") {
		t.Error("svg does not say what it leaves out")
	}
}

// onPath writes a point as a path does.
func onPath(p point) string { return fmt.Sprintf("%d %d", p.x, p.y) }

// hasLine reports whether a line of text has all the words.
func hasLine(text string, words ...string) bool {
next:
	for _, line := range strings.Split(text, "\n") {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		return true
	}
	return false
}

func TestSVGIsWellFormed(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(string(StatesSVG())))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "image" || e.Name.Local == "a") {
			t.Errorf("the picture has a %s element", e.Name.Local)
		}
	}
}

// The text says of every state what it is, and has every transition: with its
// state, or, if it cuts a connection short, by what it is on.
func TestStatesText(t *testing.T) {
	moves, short, ok := strings.Cut(StatesText(0), "\nAn aborted connection goes to CLOSED, by:\n")
	if !ok {
		t.Fatal("it does not say what is cut short")
	}
	of := map[string]string{}
	state := ""
	for line := range strings.Lines(moves) {
		if words := strings.Fields(line); !strings.HasPrefix(line, "   ") {
			state = words[0]
			if len(words) < 3 {
				t.Errorf("nothing is said of %s", state)
			}
			continue
		}
		of[state] += line
	}
	for _, row := range tcp.Transitions() {
		if !strings.Contains(of[row.From.String()], row.On.String()+" -> "+row.To.String()) && !(row.To == tcp.Closed && strings.Contains(short, row.On.String())) {
			t.Errorf("there is no move from %v to %v on %v", row.From, row.To, row.On)
		}
	}
}
