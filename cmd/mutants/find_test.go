//go:build unix

package main

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// mutated is a file with every fault that there is.
const mutated = `package p

func (x *T) f(a, b int, s Seq) (n int) {
	if a < b && s.Before(x.s) {
		x.call()
		n += a + 1
	}
	switch {
	case x.ok:
		return n
	}
	return 0
}

var tables = []func(int) bool{func(a int) bool { return a == 0 }}
`

func TestFind(t *testing.T) {
	functions, err := find("p.go", "p", []byte(mutated), map[string]int{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all(map[string][]function{"p.go": functions}) {
		got = append(got, strings.TrimPrefix(m.name, "p."))
	}
	want := []string{
		"(*T).f: a < b && s.Before(x.s) -> false",
		"(*T).f: a < b -> true",
		"(*T).f: s.Before(x.s) -> true",
		"(*T).f: a < b -> <=",
		"(*T).f: s.Before(x.s) -> AtMost",
		"(*T).f: x.call() -> nothing",
		"(*T).f: n += a + 1 -> nothing",
		"(*T).f: n += a + 1 -> -=",
		"(*T).f: a + 1 -> -",
		"(*T).f: x.ok -> false",
		"(*T).f: return n -> zero",
		"tables: a == 0 -> true",
		"tables: return a == 0 -> zero",
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("no mutant %s", name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("a mutant that should not be: %s", name)
		}
	}
}

func TestTogether(t *testing.T) {
	functions, err := find("p.go", "p", []byte(mutated), map[string]int{})
	if err != nil {
		t.Fatal(err)
	}
	mutants := 0
	text := string(together([]byte(mutated), functions, func(*mutant) int { mutants++; return mutants }))
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0); err != nil {
		t.Errorf("%v:\n%s", err, text)
	}
	lines := strings.Split(text, "\n")
	for _, m := range all(map[string][]function{"p.go": functions}) {
		if body := strings.Join(lines[m.first-1:m.last], "\n"); m.text != "" && !strings.Contains(body, m.text) {
			t.Errorf("%s stands not in lines %d to %d:\n%s", m.name, m.first, m.last, text)
		}
	}
}
