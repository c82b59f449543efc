// Package check prints what judging captures found. A Printer is given one
// capture after the other. A format is a file of its own:
//
//	text.go    what failed, by rule; the ladder around the first failure; what passed
//	json.go    an object
//	junit.go   JUnit's XML: a capture is a test suite, a rule a test case
//	sarif.go   SARIF 2.1.0
//	github.go  annotations of a workflow of GitHub's
//
// The page for the browser is that of a replay, with the failures at its
// head: see html.Fail.
package check

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
)

// A Verdict is what became of a rule.
type Verdict uint8

const (
	Passed    Verdict = iota
	Undecided         // the capture cannot answer it
	Failed
)

func (v Verdict) String() string { return [...]string{"passed", "undecided", "failed"}[v] }

// A Rule is what captures are judged by.
type Rule struct {
	Name        string
	Description string // "" for none
	Asks        string // what it asks, on one line
	File        string // the policy; "": from the command line
	Line        int
	Whole       bool // asked once of a capture, not of every connection
}

// A Tally is how often a rule was asked of captures, by what came of it: of
// connections, and anomalies over many of these, or of captures, see Rule.Whole.
type Tally struct {
	Failed, Undecided, Passed int
	Assumed                   int // of Passed: another state that is possible breaks the rule
}

// Add counts a verdict n times.
func (t *Tally) Add(v Verdict, n int) {
	switch v {
	case Failed:
		t.Failed += n
	case Undecided:
		t.Undecided += n
	default:
		t.Passed += n
	}
}

// Asked is how often the rule was asked.
func (t *Tally) Asked() int { return t.Failed + t.Undecided + t.Passed }

// Verdict is the worst of them.
func (t *Tally) Verdict() Verdict {
	switch {
	case t.Failed > 0:
		return Failed
	case t.Undecided > 0:
		return Undecided
	}
	return Passed
}

// word is the verdict, or that there is none.
func (t *Tally) word() string {
	if t.Asked() == 0 {
		return "not asked"
	}
	return t.Verdict().String()
}

// Text says of a rule how often it did what: 1 failed, 22 passed.
func (t *Tally) Text(r *Rule) string {
	if t.Asked() == 0 {
		return "matched no connection"
	}
	var parts []string
	for _, v := range []struct {
		n    int
		name Verdict
	}{{t.Failed, Failed}, {t.Undecided, Undecided}, {t.Passed, Passed}} {
		if v.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", v.n, v.name))
		}
	}
	if t.Passed == t.Asked() {
		parts[0] = r.unit(t.Passed)
	}
	said := strings.Join(parts, ", ")
	if t.Assumed > 0 {
		said += fmt.Sprintf(" (%d by an assumed state)", t.Assumed)
	}
	return said
}

// unit writes how many connections or captures the rule was asked of.
func (r *Rule) unit(n int) string {
	if r.Whole {
		return text.Plural(uint64(n), "capture", "captures")
	}
	return text.Plural(uint64(n), "connection", "connections")
}

// where says where the rule stands.
func (r *Rule) where() string {
	if r.File == "" {
		return "command line"
	}
	return fmt.Sprintf("%s:%d", text.Escape(r.File), r.Line)
}

// A Finding is a rule that a capture breaks, or cannot answer.
type Finding struct {
	Rule           int // index of the rule
	Verdict        Verdict
	Conn           int // 0: of no one connection
	Client, Server netip.AddrPort
	Packets        []int  // frames that show it
	Kind           string // of an anomaly; "": none
	Text           string // what was found, in a sentence
}

// A Capture is what was found in one capture.
type Capture struct {
	Path     string
	Conns    int
	Packets  uint64
	Verdicts []Verdict // of every rule
	Findings []Finding
	More     []int   // how many findings of every rule are left out
	Tallies  []Tally // of every rule
	Ladder   string  // of the connection of the first failure; "": none
	Err      error   // it could not be read
}

// Verdict is the worst of all rules.
func (c *Capture) Verdict() (worst Verdict) {
	for _, v := range c.Verdicts {
		worst = max(worst, v)
	}
	return worst
}

// Subject names both ends of the connection that the finding is about; "" for no
// one connection.
func (f *Finding) Subject() string {
	if f.Conn == 0 {
		return ""
	}
	return fmt.Sprintf("conn %d, client %v, server %v", f.Conn, f.Client, f.Server)
}

// sentence is all that the finding says, on one line.
func (f *Finding) sentence() string {
	said := text.Escape(f.Text)
	if f.Conn > 0 {
		said = f.Subject() + ": " + said
	}
	if len(f.Packets) > 0 {
		said += " (" + f.frames() + ")"
	}
	if f.Verdict == Undecided {
		said = Undecided.String() + ": " + said
	}
	return said
}

// frames names the frames that show it.
func (f *Finding) frames() string {
	if len(f.Packets) == 1 {
		return "frame " + text.Frames(f.Packets)
	}
	return "frames " + text.Frames(f.Packets)
}

// totals are what a run comes to.
type totals struct {
	captures, failed, undecided, unread int
	conns                               int
	rules                               []Tally // of the captures that were read
}

func (t *totals) add(c *Capture) {
	t.captures++
	t.conns += c.Conns
	if t.rules == nil {
		t.rules = make([]Tally, len(c.Tallies))
	}
	switch {
	case c.Err != nil:
		t.unread++
		return
	case c.Verdict() == Failed:
		t.failed++
	case c.Verdict() == Undecided:
		t.undecided++
	}
	for i, n := range c.Tallies {
		all := &t.rules[i]
		all.Failed, all.Undecided, all.Passed, all.Assumed = all.Failed+n.Failed, all.Undecided+n.Undecided, all.Passed+n.Passed, all.Assumed+n.Assumed
	}
}

func (t *totals) passed() int { return t.captures - t.failed - t.undecided - t.unread }

// String is the line that ends a run.
func (t *totals) String() string {
	parts := []string{fmt.Sprintf("%d failed", t.failed)}
	if t.undecided > 0 {
		parts = append(parts, fmt.Sprintf("%d undecided", t.undecided))
	}
	if t.unread > 0 {
		parts = append(parts, fmt.Sprintf("%d not read", t.unread))
	}
	parts = append(parts, fmt.Sprintf("%d passed", t.passed()))
	return fmt.Sprintf("%s, %s: %s", text.Plural(uint64(t.captures), "capture", "captures"), text.Plural(uint64(t.conns), "connection", "connections"), strings.Join(parts, ", "))
}

// A Printer writes one format. Its errors are those of its writer.
type Printer interface {
	Capture(*Capture) error
	Close() error
}

// Options say what a Printer prints, and how.
type Options struct {
	Rules   []Rule
	Version string // of tcpwatch
	Width   int    // columns of the terminal; 0: no limit
	Color   bool
}

// formats lists the formats of check.
var formats = []struct {
	name string
	make func(*bufio.Writer, *Options) Printer
}{
	{"text", newText},
	{"json", newJSON},
	{"junit", newJUnit},
	{"sarif", newSARIF},
	{"github", newGitHub},
}

// Formats returns the names that New takes, and last html, which is the
// page of a replay: see html.Fail.
func Formats() (names []string) {
	for _, f := range formats {
		names = append(names, f.name)
	}
	return append(names, "html")
}

// New returns a Printer of the named format that writes to w.
func New(name string, w io.Writer, o Options) (Printer, error) {
	for _, f := range formats {
		if f.name == name {
			return f.make(bufio.NewWriterSize(w, 1<<16), &o), nil
		}
	}
	return nil, fmt.Errorf("unknown output format %q (%s)", text.Escape(name), strings.Join(Formats(), ", "))
}
