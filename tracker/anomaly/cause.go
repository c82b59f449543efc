package anomaly

import (
	"fmt"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/strict"
)

// What is printed of an anomaly is put together from the templates of its Kind
// and stated nowhere else: a check names the cause, the phrases that apply and
// the values, and writes no prose. So the catalogue cannot say one thing and a
// report another.
//
// Braces in a template are blanks. {X} is the end that the anomaly is about and
// {Y} its peer, {X.ip} and {X.port} parts of them. Any other blank is filled
// with the phrases that go in there, or with the finding's value of that name.
// {n bytes} is a value that counts: 1 byte, 2 bytes.

// A Cause is one way in which an anomaly comes about.
type Cause struct {
	Name string // as Anomaly.Cause has it; empty: none
	Text string // a template
}

// A Phrase is what some findings of a kind say besides.
type Phrase struct {
	Name string
	In   string // the blank that it fills, which stays empty without one; "": it follows what was said
	Text string // a template
}

// A Threshold is a number by which a check decides.
type Threshold struct {
	Name  string
	Value any    // an int, or a time.Duration
	Flag  string // what sets it on the command line, the value then being the default; "": nothing does
}

// A SeverityMove says when an anomaly has another severity than its Kind.
type SeverityMove struct {
	Name string
	To   Severity
	When string // "if its window was closed"
}

// Lossy is what follows every text that rests on what was not captured, where
// the capture is known to have lost packets.
const Lossy = " The capture lost packets meanwhile, perhaps some of this connection: what seems to be missing, or sent again, may only not have been captured."

// undeclared is what to print instead of what a Kind does not declare.
func (k *Kind) undeclared(what, name string) string {
	if strict.On {
		panic(fmt.Sprintf("%s: no %s %q", k.Name, what, name))
	}
	return ""
}

// Values are those of the blanks, by name.
type Values map[string]any

// Say adds phrases to the finding, in the order in which they are to be read.
func (f *Finding) Say(phrases ...string) { f.phrases = append(f.phrases, phrases...) }

// A rendering puts the text of a finding together.
type rendering struct {
	kind *Kind
	conn *conn.Conn // nil: the anomaly is of no one connection
	*Finding
}

// textOf renders a finding.
func (k *Kind) textOf(c *conn.Conn, f *Finding) string {
	r := rendering{k, c, f}
	text := f.earlier
	if text == "" {
		text = r.fill(k.template(f.Cause))
	}
	for _, name := range f.phrases {
		if p := k.phrase(name); p.In == "" {
			text += r.fill(p.Text)
		}
	}
	if f.lossy {
		text += Lossy
	}
	return text
}

// template returns that of the cause.
func (k *Kind) template(cause string) string {
	for _, c := range k.Causes {
		if c.Name == cause {
			return c.Text
		}
	}
	return k.undeclared("cause", cause)
}

// phrase returns the phrase of that name.
func (k *Kind) phrase(name string) Phrase {
	for _, p := range k.Phrases {
		if p.Name == name {
			return p
		}
	}
	return Phrase{Text: k.undeclared("phrase", name)}
}

// fill fills the blanks of a template.
func (r rendering) fill(template string) string {
	var b strings.Builder
	for {
		before, rest, more := strings.Cut(template, "{")
		b.WriteString(before)
		if !more {
			return b.String()
		}
		var blank string
		blank, template, _ = strings.Cut(rest, "}")
		b.WriteString(r.blank(blank))
	}
}

// blank returns what a blank is filled with.
func (r rendering) blank(blank string) string {
	name, unit, counts := strings.Cut(blank, " ")
	if v, ok := r.Values[name]; ok {
		text := valueText(v)
		switch {
		case !counts:
			return text
		case text == "1":
			unit = strings.TrimSuffix(unit, "s")
		}
		return text + " " + unit
	}
	if phrases, ok := r.phrasesIn(name); ok {
		return strings.Join(phrases, ", and ")
	}
	if r.conn != nil {
		x, y := r.conn.Addr(r.end), r.conn.Addr(r.end.Peer())
		switch name {
		case "X":
			return x.String()
		case "Y":
			return y.String()
		case "X.ip":
			return x.Addr().String()
		case "Y.ip":
			return y.Addr().String()
		case "X.port":
			return valueText(x.Port())
		case "Y.port":
			return valueText(y.Port())
		}
	}
	return r.kind.undeclared("value for", name)
}

// phrasesIn returns the phrases of the finding that fill the blank, and whether
// the kind has any that do.
func (r rendering) phrasesIn(blank string) (list []string, ok bool) {
	for _, p := range r.kind.Phrases {
		ok = ok || p.In == blank
	}
	for _, name := range r.phrases {
		if p := r.kind.phrase(name); ok && p.In == blank {
			list = append(list, r.fill(p.Text))
		}
	}
	return list, ok
}

// valueText prints a value.
func valueText(v any) string {
	if d, ok := v.(time.Duration); ok {
		return spanText(d)
	}
	return fmt.Sprint(v)
}

// soon is how long something took to follow.
type soon time.Duration

func (d soon) String() string {
	if time.Duration(d) < time.Millisecond {
		return "within a millisecond"
	}
	return "after " + spanText(time.Duration(d))
}

// hold is how long TIME-WAIT is to be held.
type hold time.Duration

func (d hold) String() string {
	if d := time.Duration(d); d%time.Second != 0 {
		return spanText(d)
	}
	return fmt.Sprintf("%d s", time.Duration(d)/time.Second)
}

// spanText prints a duration as people say it: "12 ms", "1.5 s", "2 min 5 s".
func spanText(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
