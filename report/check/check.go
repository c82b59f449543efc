// Package check prints what judging captures found. A Printer is given one
// capture after the other. A format is a file of its own:
//
//	text.go    a table of what failed, the ladder around the first failure
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
	Short          string // the same for a table
}

// A Capture is what was found in one capture.
type Capture struct {
	Path     string
	Conns    int
	Packets  uint64
	Verdicts []Verdict // of every rule
	Findings []Finding
	More     []int  // how many findings of every rule are left out
	Asked    []bool // whether every rule was asked of anything
	Ladder   string // of the connection of the first failure; "": none
	Err      error  // it could not be read
}

// Verdict is the worst of all rules.
func (c *Capture) Verdict() (worst Verdict) {
	for _, v := range c.Verdicts {
		worst = max(worst, v)
	}
	return worst
}

// subject names what the finding is about.
func (f *Finding) subject() string {
	if f.Conn == 0 {
		return ""
	}
	return fmt.Sprintf("conn %d, %v to %v", f.Conn, f.Client, f.Server)
}

// sentence is all that the finding says, on one line.
func (f *Finding) sentence() string {
	said := text.Escape(f.Text)
	if f.Conn > 0 {
		said = f.subject() + ": " + said
	}
	if len(f.Packets) > 0 {
		said += " (frames " + text.Frames(f.Packets) + ")"
	}
	return said
}

// totals are what a run comes to.
type totals struct {
	captures, failed, undecided, unread int
	conns                               int
}

func (t *totals) add(c *Capture) {
	t.captures++
	t.conns += c.Conns
	switch {
	case c.Err != nil:
		t.unread++
	case c.Verdict() == Failed:
		t.failed++
	case c.Verdict() == Undecided:
		t.undecided++
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
