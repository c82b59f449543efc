package cmd

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands calls visit for every command that has a page of its own.
func commands(c *cobra.Command, visit func(*cobra.Command)) {
	if c.Hidden || c.Name() == "help" {
		return
	}
	visit(c)
	for _, sub := range c.Commands() {
		commands(sub, visit)
	}
}

// Every command has a manual page, with its flags and its examples.
func TestManPages(t *testing.T) {
	pages := 0
	commands(newRoot(), func(c *cobra.Command) {
		pages++
		path := strings.Fields(c.CommandPath())
		page, stderr := replayed(t, append([]string{"man"}, path[1:]...)...)
		if stderr != "" {
			t.Errorf("%s: standard error has %q", c.CommandPath(), stderr)
		}
		text := strings.ReplaceAll(string(page), `\-`, "-")
		want := []string{`.TH "` + strings.ToUpper(strings.Join(path, "-")) + `" "1"`, ".SH NAME", ".SH SYNOPSIS", c.Short}
		if c.Example != "" {
			want = append(want, ".SH EXAMPLE")
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" {
				want = append(want, "--"+f.Name)
			}
		})
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("tcpwatch man %s has no %q", strings.Join(path[1:], " "), w)
			}
		}
	})
	if pages < 6 {
		t.Errorf("%d manual pages, want at least 6", pages)
	}
}

// Every shell gets a completion script, and every flag that takes one of a few
// words completes them.
func TestCompletions(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script, _ := replayed(t, "completion", shell); !strings.Contains(string(script), "tcpwatch") || len(script) < 1000 {
			t.Errorf("completion %s is\n%s", shell, script)
		}
	}
	for _, test := range []struct{ line, want string }{
		{"replay -o ", "html"},
		{"replay --output ", "jsonl"},
		{"replay --state TIME", "TIME_WAIT"},
		{"replay --anomaly rst", "rst-instead-of-ack"},
		{"replay --stack ", "rfc9293"},
		{"replay --sort client.", "client.state"},
		{"replay --time ", "relative"},
		{"replay --color ", "never"},
		{"replay -o pack", "packets"},
		{"explain -o ", "html"},
		{"compare -o ", "markdown"},
		{"explain --anomaly time-wait", "time-wait-reuse-safe"},
		{"states -o ", "svg"},
		{"anomalies ", "port-scan"},
		{"exp", "explain"},
	} {
		args := strings.Split("__complete "+test.line, " ")
		out, _ := replayed(t, args...)
		found := false
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			found = found || word == test.want
		}
		if !found {
			t.Errorf("tcpwatch %s<Tab> does not offer %s:\n%s", test.line, test.want, out)
		}
	}
}
