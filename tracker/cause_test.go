package tracker_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/internal/strict"
)

func init() { strict.On = true }

// valueForm is what a value looks like: an address, a number, a time, flags.
const valueForm = `(?:(?:after )?\S+(?: (?:ms|s|UTC))?|within a millisecond)`

// A textForm is what can be printed of a cause of a kind: its template, and any
// of the kind's phrases behind it.
type textForm struct {
	kind   *anomaly.Kind
	form   *regexp.Regexp
	groups []string // the templates of the form's groups: "cause NAME", "phrase NAME"
}

// formOf makes the pattern of a cause of the kind.
func formOf(k *anomaly.Kind, c anomaly.Cause) *textForm {
	f := &textForm{kind: k}
	group := func(name, template string) string {
		f.groups = append(f.groups, name)
		return "(" + f.pattern(template) + ")"
	}
	text := group("cause "+c.Name, c.Text)
	var more []string
	for _, p := range k.Phrases {
		if p.In == "" {
			more = append(more, group("phrase "+p.Name, p.Text))
		}
	}
	f.form = regexp.MustCompile("^" + text + "(?:" + strings.Join(more, "|") + ")*(?:" + regexp.QuoteMeta(anomaly.Lossy) + ")?(?:" + regexp.QuoteMeta(anomaly.Unseen) + ")?$")
	if f.form.NumSubexp() != len(f.groups) {
		panic("a group of the pattern has no name")
	}
	return f
}

// pattern is what a template looks like with its blanks filled.
func (f *textForm) pattern(template string) string {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(template, "{")
		b.WriteString(regexp.QuoteMeta(before))
		if !more {
			return b.String()
		}
		var blank string
		blank, template, _ = strings.Cut(rest, "}")
		b.WriteString(f.blank(blank))
	}
}

func (f *textForm) blank(blank string) string {
	if _, unit, ok := strings.Cut(blank, " "); ok {
		one := strings.TrimSuffix(unit, "s")
		return `(?:1 ` + one + `|(?:0|[2-9]|\d\d+) ` + unit + `)`
	}
	var in []string
	for _, p := range f.kind.Phrases {
		if p.In == blank {
			f.groups = append(f.groups, "phrase "+p.Name)
			in = append(in, "("+f.pattern(p.Text)+")")
		}
	}
	if in == nil {
		return valueForm
	}
	return "(?:(?:, and )?(?:" + strings.Join(in, "|") + "))*"
}

// match reports whether the text can have been printed of the cause, and notes
// the templates that it is made of.
func (f *textForm) match(text string, seen map[string]bool) bool {
	m := f.form.FindStringSubmatch(text)
	for i, name := range f.groups {
		if m != nil && m[i+1] != "" {
			seen[f.kind.Name+": "+name] = true
		}
	}
	return m != nil
}

// Every text comes from the templates of its kind. Every template is printed by
// a ladder of the anomalies, and every severity that is declared is had there.
func TestTextsComeFromTheCatalogue(t *testing.T) {
	forms := make(map[string]*textForm) // by kind and cause
	for _, k := range kinds.All() {
		for _, c := range k.Causes {
			key := k.Name + " " + c.Name
			if forms[key] != nil {
				t.Errorf("%s has two causes %q", k.Name, c.Name)
			}
			forms[key] = formOf(k, c)
		}
	}
	seen := make(map[string]bool)
	for _, dir := range append([]string{"explained"}, ladderDirs...) {
		here := make(map[string]bool)
		ladders(t, dir, func(t *testing.T, file string, l ladder) {
			check := func(a *anomaly.Anomaly) {
				f := forms[a.Kind+" "+a.Cause]
				here[a.Kind+" "+a.Severity.String()] = true
				if f == nil || !f.match(a.Text, here) {
					t.Errorf("%s: %s, cause %q, prints what the catalogue does not say: %s", file, a.Kind, a.Cause, a.Text)
				}
			}
			l.run(t, func(e *tracker.Event) {
				if e.Kind == tracker.EventAnomaly {
					check(e.Anomaly)
				}
			}, func(tk *tracker.Tracker, n, i int) {
				if n < l.times-1 || i < len(l.rungs)-1 {
					return
				}
				key, _ := l.key() // what came to light after the event is told at the end
				for c := tk.Machine().NewestOf(key); c != nil; c = c.Older() {
					for _, a := range tk.Book().Of(c) {
						check(&a)
					}
				}
			})
		})
		if dir == "anomaly" {
			seen = here
		}
	}
	for _, k := range kinds.All() {
		for _, c := range k.Causes {
			if !seen[fmt.Sprintf("%s: cause %s", k.Name, c.Name)] {
				t.Errorf("no ladder in testdata/anomaly prints %s, cause %q", k.Name, c.Name)
			}
		}
		for _, p := range k.Phrases {
			if !seen[fmt.Sprintf("%s: phrase %s", k.Name, p.Name)] {
				t.Errorf("no ladder in testdata/anomaly prints %s, phrase %q", k.Name, p.Name)
			}
		}
		for _, m := range k.Moves {
			if !seen[k.Name+" "+m.To.String()] {
				t.Errorf("no ladder in testdata/anomaly makes %s %v", k.Name, m.To)
			}
		}
	}
}
