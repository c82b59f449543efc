package anomaly

import (
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/strict"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
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
	Next string // what to do about it, a template, instead of the Kind's
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
const Lossy = " The capture lost packets in this time, perhaps some of this connection. What seems to be missing or retransmitted may only not have been captured."

// Unseen is what follows every text that rests on what would have come after the
// end of the capture.
const Unseen = " This is true only if nothing came after the end of the capture."

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
func (f *Finding) Say(phrases ...string) { f.Phrases = append(f.Phrases, phrases...) }

// Either is the name of one of two phrases.
func Either(first bool, one, other string) string {
	if first {
		return one
	}
	return other
}

// A rendering puts the text of a finding together.
type rendering struct {
	kind *Kind
	conn *conn.Conn // nil: the anomaly is of no one connection
	*Finding
}

// textOf renders a finding.
func (k *Kind) textOf(c *conn.Conn, f *Finding) string {
	r := rendering{k, c, f}
	text := f.Earlier
	if text == "" {
		text = r.fill(k.template(f.Cause))
	}
	for _, name := range f.Phrases {
		if p := k.phrase(name); p.In == "" {
			text += r.fill(p.Text)
		}
	}
	if f.lossy {
		text += Lossy
	}
	if f.unseen {
		text += Unseen
	}
	return text
}

// nextOf renders what to do about a finding.
func (k *Kind) nextOf(c *conn.Conn, f *Finding) string {
	next := k.Next
	for i := range k.Causes {
		if k.Causes[i].Name == f.Cause && k.Causes[i].Next != "" {
			next = k.Causes[i].Next
		}
	}
	return rendering{k, c, f}.fill(next)
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
func (r rendering) fill(text string) string { return template.Fill(text, r.value) }

// value returns what the blank of that name is filled with.
func (r rendering) value(name string) any {
	if v, ok := r.Values[name]; ok {
		return v
	}
	if phrases, ok := r.phrasesIn(name); ok {
		return strings.Join(phrases, ", and ")
	}
	if r.conn != nil {
		if v, ok := template.End(name, r.conn.Addr(r.End), r.conn.Addr(r.End.Peer())); ok {
			return v
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
	for _, name := range r.Phrases {
		if p := r.kind.phrase(name); ok && p.In == blank {
			list = append(list, r.fill(p.Text))
		}
	}
	return list, ok
}
