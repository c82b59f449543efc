package cmd

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// What is misspelt exits 2 and is told in two lines: what is wrong, and a hint
// that begins with what was probably meant.
func TestMisspelt(t *testing.T) {
	const sample = "../pcaps/refused.pcap"
	for _, test := range []struct{ line, want string }{
		{"replay --stat TIME_WAIT " + sample, "--state?"},
		{"replay -state TIME_WAIT " + sample, "--state?"},
		{"replay --max-conn 3 " + sample, "--max-connections?"},
		{"replay -o jsno " + sample, "json?"},
		{"replay --state ESTAB,TIMEWAI " + sample, "TIME_WAIT?"},
		{"replay --state FIN_WAIT " + sample, "FIN_WAIT_1 or FIN_WAIT_2?"},
		{"replay --stack linx " + sample, "linux?"},
		{"replay --sort client.byte " + sample, "client.bytes?"},
		{"replay --sort -client.byte " + sample, "client.bytes?"},
		{"replay --color allways " + sample, "always?"},
		{"replay --time lokal " + sample, "local?"},
		{"replay --by servr " + sample, "server?"},
		{"replay --anomaly rst-insted-of-ack " + sample, "rst-instead-of-ack,"},
		{"compare -o markdwn " + sample + " other", "markdown?"},
		{"check --deny erorr " + sample, "error?"},
		{"check --deny warning --allow port-scam " + sample, "port-scan?"},
		{"check --undecided worn " + sample, "warn?"},
		{"states -o tabel", "table?"},
		{"repaly --where x", "replay?"},
		{"completion bsh", "bash or zsh?"},
		{"man exlain", "explain?"},
		{"help exlain", "explain?"},
		{"help expresions", "expressions?"},
	} {
		if hint := lastLine(t, test.line); !strings.HasPrefix(hint, "tcpwatch: hint: did you mean "+test.want) {
			t.Errorf("tcpwatch %s: the last line is %q, want it to ask for %s", test.line, hint, test.want)
		}
	}
	for _, line := range []string{"xyzzy", "replay --xyzzy " + sample, "replay -Z " + sample, "replay -o xyzzy " + sample, "help xyzzy"} {
		if hint := lastLine(t, line); strings.Contains(hint, "did you mean") {
			t.Errorf("tcpwatch %s: nothing is near, but the last line is %q", line, hint)
		}
	}
}

// lastLine returns the last line that a wrong command line is told of, which may
// be two at most.
func lastLine(t *testing.T, line string) string {
	var stdout, stderr bytes.Buffer
	status := execute(t.Context(), strings.Fields(line), &stdout, &stderr)
	if status != exitUsage || stdout.Len() > 0 {
		t.Errorf("tcpwatch %s: exit status %d, want %d; standard output has %q", line, status, exitUsage, stdout.String())
	}
	lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
	if len(lines) > 2 {
		t.Errorf("tcpwatch %s: %d lines, want at most 2:\n%s", line, len(lines), stderr.String())
	}
	return lines[len(lines)-1]
}

// What is right has no hint.
func TestNotMisspelt(t *testing.T) {
	var stderr bytes.Buffer
	if status := execute(t.Context(), strings.Fields("replay -q -o json --state ESTAB,time-wait ../pcaps/refused.pcap"), io.Discard, &stderr); status != exitDone || stderr.Len() > 0 {
		t.Errorf("exit status %d, standard error %q", status, stderr.String())
	}
}
