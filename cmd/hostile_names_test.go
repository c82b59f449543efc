package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/check"
)

// obeyed returns a line of an output that steers a terminal or a workflow, besides
// those that begin with one of the given texts; "" if there is none.
func obeyed(out string, meant ...string) string {
	for line := range strings.Lines(out) {
		bare := strings.TrimSpace(line)
		for _, text := range meant {
			if strings.HasPrefix(line, text) {
				bare = strings.TrimPrefix(bare, text)
			}
		}
		if strings.ContainsAny(line, "\x1b\r\x07\u009b\u202e") || strings.HasPrefix(bare, "::error") || strings.Contains(line, "##[") {
			return line
		}
	}
	return ""
}

// The names of files are whatever somebody called them. On neither output do they
// steer the terminal, or the workflow that tcpwatch runs in.
func TestHostileNames(t *testing.T) {
	good, err := os.ReadFile("../pcaps/close-wait-leak.pcap")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	files := map[string][]byte{"whole": good, "cut": good[:len(good)-10], "none": []byte("no capture\x1b[2J"), "empty": nil}
	commands := [][]string{{"replay"}, {"explain"}, {"compare", "other"}, {"compare", "x=other"}, {"port", "7014"}, {"replay", "--strict"}, {"replay", "-w", "out"}, {"live", "--follow"}, {"check", "--baseline"}, {"check", "--policy"}}
	for _, format := range check.Formats() {
		commands = append(commands, []string{"check", "--strict", "--forbid", "server.state == CLOSE_WAIT", "-o", format})
	}
	for _, name := range []string{"\x1b[2J\u202e\u009bx", "a\n::error::x", "a\r::error::x", "::error::x", "  ::error title=a::x", "a\n  ::error::x", "##[error]x", "a\n##[error]x"} {
		for kind, data := range files {
			if err := os.WriteFile(name+kind, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for kind := range map[string]bool{"whole": true, "cut": true, "none": true, "empty": true, "missing": true} {
			for _, command := range commands {
				args := append(append([]string{}, command...), name+kind)
				if last := command[len(command)-1]; last == "--baseline" || last == "--policy" {
					args = append(args, "cut")
				}
				if command[0] == "live" {
					if kind == "whole" || kind == "cut" {
						continue // it does not end
					}
					args = append(args, "--user", "nobody such")
				}
				var stdout, stderr strings.Builder
				execute(t.Context(), args, &stdout, &stderr)
				if line := obeyed(stderr.String()); line != "" {
					t.Errorf("%q: standard error has %q", args, line)
				}
				if line := obeyed(stdout.String(), "::error file=", "::warning file=", "::notice title="); line != "" && command[len(command)-1] != "json" { // which is for programs
					t.Errorf("%q: standard output has %q", args, line)
				}
			}
		}
	}
	for _, args := range [][]string{{"\n::error::x"}, {"replay", "--\x1b[2J"}, {"live", "-i", "\n::error::x"}, {"live", "--follow", "x", "--listen", "\n::error::x"}, {"replay", "-f", "\x1b\n::error::x", "x"}, {"replay", "--where", "\x1b\n::error::x", "x"}, {"port", "\n::error::x", "x"}} {
		var stdout, stderr strings.Builder
		execute(t.Context(), args, &stdout, &stderr)
		if line := obeyed(stderr.String() + stdout.String()); line != "" {
			t.Errorf("%q: printed was %q", args, line)
		}
	}
}

// A link to a file that is no capture shows nothing of it.
func TestLinksShowNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	me := strconv.Itoa(os.Geteuid())
	if err := os.WriteFile("secret", []byte("the password is sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("secret", "link.pcap"); err != nil {
		t.Skip("SKIPPED: no links: ", err)
	}
	for _, args := range [][]string{{"replay", "link.pcap"}, {"check", "--policy", "link.pcap", "x"}, {"check", "--baseline", "link.pcap", "x"}, {"live", "--user", me, "--follow", "link.pcap"},
		{"live", "--user", me, "--follow", "link.pcap", "--listen", "127.0.0.1:0", "--token-file", "link.pcap", "--tls-cert", "link.pcap", "--tls-key", "link.pcap"}} {
		var stdout, stderr strings.Builder
		execute(t.Context(), args, &stdout, &stderr)
		if out := stdout.String() + stderr.String(); strings.Contains(out, "password") || strings.Contains(out, "sesame") {
			t.Errorf("%q: printed was %s", args, out)
		}
	}
}

// What people are told is written by text.Say alone.
func TestOneWriter(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob("run/*.go")
	if len(more) == 0 {
		t.Fatal("no files")
	}
	for _, path := range append(files, more...) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			name, _ := call.Fun.(*ast.SelectorExpr)
			if name == nil || !strings.HasPrefix(name.Sel.Name, "Fprint") {
				return true
			}
			to := ""
			switch w := call.Args[0].(type) {
			case *ast.Ident:
				to = w.Name
			case *ast.SelectorExpr:
				to = w.Sel.Name
			}
			if strings.EqualFold(to, "stderr") {
				t.Errorf("%s: writes to standard error by %s, not text.Say", path, name.Sel.Name)
			}
			return true
		})
	}
}
