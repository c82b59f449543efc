package cmd

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture/filter"
	"github.com/tcpwatch/tcpwatch/report/policy"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// How many lines a topic may have: one screen or two. The fields are a list to look into.
const (
	mostTopic  = 50
	mostFields = 120
)

// A topic is a page for a terminal; the help of tcpwatch and its manual page list it.
func TestTopics(t *testing.T) {
	overview, _ := replayed(t, "help")
	manual, _ := replayed(t, "man")
	for _, topic := range topics {
		page, stderr := replayed(t, "help", topic.name)
		if stderr != "" {
			t.Errorf("%s: standard error has %q", topic.name, stderr)
		}
		lines, most := strings.Split(string(page), "\n"), mostTopic
		if topic.name == "fields" {
			most = mostFields
		}
		if len(lines) > most || len(lines) < 10 {
			t.Errorf("%s has %d lines, want 10 to %d", topic.name, len(lines), most)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > topicWidth {
				t.Errorf("%s has a line of more than %d columns: %s", topic.name, topicWidth, line)
			}
		}
		if line := "tcpwatch help " + topic.name; !strings.Contains(string(overview), "\n  "+line+" ") || !strings.Contains(strings.ReplaceAll(string(manual), `\-`, "-"), `\fB`+line+`\fP`) {
			t.Errorf("the help of tcpwatch, or its manual page, does not list %s", topic.name)
		}
		own, _ := replayed(t, "man", "help", topic.name)
		plain := strings.NewReplacer(`\-`, "-", `\&`, "", `\\`, `\`).Replace(string(own))
		if !strings.Contains(plain, lines[0]+"\n") || !strings.Contains(plain, lines[len(lines)-2]+"\n") {
			t.Errorf("the manual page of %s lacks its text", topic.name)
		}
		if out, _ := replayed(t, "__complete", "help", topic.name[:3]); !strings.Contains(string(out), topic.name+"\t") {
			t.Errorf("help %s<Tab> does not offer %s:\n%s", topic.name[:3], topic.name, out)
		}
	}
}

// What topics say is what the program does: every state, word, field and function
// is named, and every example is understood.
func TestTopicsAreTrue(t *testing.T) {
	says := func(topic string, words ...string) {
		page, _ := replayed(t, "help", topic)
		parts := strings.FieldsFunc(string(page), func(r rune) bool { return r == ' ' || r == '\n' || r == ',' })
		for _, w := range words {
			if !slices.Contains(parts, w) {
				t.Errorf("tcpwatch help %s does not name %s", topic, w)
			}
		}
	}
	for _, s := range tcp.States() {
		says("states", s.String())
	}
	for _, w := range slices.Concat(record.Certainties, record.Confidences) {
		says("certainty", w.Name)
	}
	says("expressions", policy.Functions()...)
	says("expressions", allNames(record.EnvType())...)
	for _, e := range filterExamples {
		if _, err := filter.Parse(e.Name); err != nil {
			t.Errorf("filters: %v", err)
		}
	}
	for _, e := range whereExamples {
		if _, err := policy.Where(e); err != nil {
			t.Errorf("expressions: %v", err)
		}
	}
	if len(filterExamples) < 5 || len(whereExamples) < 5 {
		t.Error("there are few examples")
	}
}

// allNames returns the names of the fields of a struct of expressions, and of all
// in it.
func allNames(t reflect.Type) []string {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	names := record.EnvNames(t)
	for i := range record.EnvNames(t) {
		names = append(names, allNames(t.Field(i).Type)...)
	}
	return names
}

// The help of a command shows examples first, and its flags last. help, --help
// and the topic of another name say the same of it.
func TestHelpBeginsWithExamples(t *testing.T) {
	commands(newRoot(), func(c *cobra.Command) {
		args := strings.Fields(c.CommandPath())[1:]
		page, _ := replayed(t, append(args, "--help")...)
		text := string(page)
		if c.Name() != "version" && !strings.HasPrefix(text, c.Short+":\n\n  tcpwatch ") && !strings.HasPrefix(text, c.Short+":\n\n  sudo tcpwatch ") {
			t.Errorf("the help of %s does not begin with an example:\n%s", c.CommandPath(), text)
		}
		if flags := strings.Index(text, "\nFlags:\n"); flags < strings.Index(text, "\nUsage:\n") || !strings.Contains(text[flags:], "--help") {
			t.Errorf("the help of %s does not end with its flags:\n%s", c.CommandPath(), text)
		}
		if c.Name() == "states" {
			return // a topic, too
		}
		if other, _ := replayed(t, append([]string{"help"}, args...)...); string(other) != text {
			t.Errorf("tcpwatch help %s prints\n%s\nand --help\n%s", strings.Join(args, " "), other, text)
		}
	})
}

// The help of completion has a line for each shell that has completions, and a
// shell has its own.
func TestCompletionSaysHowToInstall(t *testing.T) {
	page, _ := replayed(t, "completion", "--help")
	root := newRoot()
	addCompletion(root)
	c, _, err := root.Find([]string{"completion"})
	if err != nil || len(c.Commands()) < 4 {
		t.Fatalf("%d shells: %v", len(c.Commands()), err)
	}
	for _, sub := range c.Commands() {
		own, _ := replayed(t, "completion", sub.Name(), "--help")
		line := "tcpwatch completion " + sub.Name()
		found := false
		for l := range strings.Lines(string(page)) {
			name, command, _ := strings.Cut(strings.TrimSpace(l), " ")
			if command = strings.TrimSpace(command); name == sub.Name() && strings.Contains(command, line) {
				found = strings.Contains(string(own), command)
			}
		}
		if !found {
			t.Errorf("completion --help and completion %s --help have no line in common that installs it:\n%s\n%s", sub.Name(), page, own)
		}
	}
}
