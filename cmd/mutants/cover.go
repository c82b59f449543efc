//go:build unix

package main

import (
	"fmt"
	"go/token"
	"os"
	"os/exec"
	"path"
	"strings"
)

// coverage is what some tests reach. None at all, nil, reaches everything.
type coverage struct{ blocks []block }

type block struct {
	file                         string
	fromLine, fromCol, line, col int
	times                        int
}

// measure adds what the tests reach of the package that is mutated.
func (c *coverage) measure(t target, some tests, profile string) error {
	cmd := exec.Command("go", "test", "-short", "-coverpkg=./"+t.dir, "-coverprofile="+profile, "./"+some.dir, strings.Replace(some.which, "-test.", "-", 1))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		file, rest, _ := strings.Cut(line, ":")
		b := block{file: path.Base(file)}
		var statements int
		if n, _ := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.fromLine, &b.fromCol, &b.line, &b.col, &statements, &b.times); n == 6 {
			c.blocks = append(c.blocks, b)
		}
	}
	return nil
}

// has reports whether the tests reach the position. What is in no block, as the
// conditions of a switch, is taken to be reached.
func (c *coverage) has(at token.Position) bool {
	if c == nil {
		return true
	}
	known := false
	for _, b := range c.blocks {
		after := at.Line > b.fromLine || at.Line == b.fromLine && at.Column >= b.fromCol
		before := at.Line < b.line || at.Line == b.line && at.Column < b.col
		if b.file == path.Base(at.Filename) && after && before {
			if known = true; b.times > 0 {
				return true
			}
		}
	}
	return !known
}
