package policy

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// A grammar writes expressions by the octets that it is given, so that most of what a
// fuzzer makes is one.
type grammar struct {
	left  []byte
	depth int
}

// pick returns one of the texts.
func (g *grammar) pick(texts ...string) string {
	if len(g.left) == 0 {
		return texts[0]
	}
	i := int(g.left[0]) % len(texts)
	g.left = g.left[1:]
	return texts[i]
}

// expand writes a text of the grammar: B a condition, N a number, S a text, L a list
// of numbers, A a list of anything.
func (g *grammar) expand(kind byte) string {
	ends := map[byte][]string{
		'B': {"true", "client.state == TIME_WAIT", "(client.sack ?? false)"},
		'N': {"1", "client.port", "900", "(handshake_rtt ?? 0)", "-1", "0x7fffffffffffffff", "1e300"},
		'S': {`"a"`, "client.addr", `"' || \\x1b"`, "stack"},
		'L': {"[1]", "1..9", "1..1000"},
		'A': {"anomalies", "client.history", `["a"]`},
	}
	more := map[byte][]string{
		'B': {"B && B", "!(B)", "N < N", "S == S", "L == L", "any(L, # > N)", "all(A, B)", "N in L", `S matches "(a|b){1,90}$"`, "S contains S", "len(A) > N", "(A == A)", "one(L, B)"},
		'N': {"(N + N)", "(N * N)", "(N % 7)", "(N ** N)", "sum(L)", "min(L)", "len(S)", "count(L, B)", "median(L)", "(B ? N : N)", "len(A)", "first(L)", "int(S)"},
		'S': {"(S + S)", "lower(S)", "(B ? S : S)", "S[1:]", "string(N)"},
		'L': {"map(L, # + N)", "filter(L, B)", "[N, N]", "N..N", "L[1:]"},
		'A': {"map(L, L)", "map(A, [#, #])", "filter(A, B)", "[A, A]", "map(A, # + #)", "map(L, A)", "[S, N, B]"},
	}
	if g.depth++; g.depth > 40 || len(g.left) == 0 {
		return g.pick(ends[kind]...)
	}
	var b strings.Builder
	for _, c := range []byte(g.pick(append(more[kind], ends[kind]...)...)) {
		if more[c] != nil {
			b.WriteString(g.expand(c))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// FuzzExpression compiles and evaluates expressions, as policies and --where do: they
// come to an end within their budget, and are answered the same when they are asked
// again.
func FuzzExpression(f *testing.F) {
	for i := range 40 {
		f.Add(bytes.Repeat([]byte{byte(i), byte(3 * i), byte(7 * i)}, 8))
	}
	env := zeroEnv()
	f.Fuzz(func(t *testing.T, choices []byte) {
		const steps = 50_000
		text := (&grammar{left: choices}).expand('B')
		b := newBudget()
		x, err := compile(text, reportEnv, b)
		if err != nil {
			return
		}
		var answers [2]string
		for i := range answers {
			b.steps = steps
			holds, err := x.holds(env)
			if b.made > maxMade+maxMadeOne && err == nil {
				t.Errorf("%s: made %d octets of text", text, b.made)
			}
			if b.steps < 0 && !errors.Is(err, errTooLong) {
				t.Errorf("%s: took %d steps and says %v", text, steps-b.steps, err)
			}
			answers[i] = fmt.Sprint(holds, err)
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: %s, and then %s", text, answers[0], answers[1])
		}
	})
}

// FuzzLoad reads anything, and what is put together of the parts of rules, as if it
// were a policy.
func FuzzLoad(f *testing.F) {
	parts := []string{"rules:\n", "- name: a\n", "  name: b\n", "  port: ", "  match: ", "  forbid: ", "  count: ", "  expect: ", "  deny: ", "  allow: ", "  tuple: ", "  description: ",
		"error\n", "[80, 81]\n", "{client: CLOSED}\n", "client.state == CLOSED\n", "|\n    server.state == CLOSED\n", "len(connections) > 1\n", "10.0.0.1:1-10.0.0.2:2\n", "&a [*a]\n", "*a\n", "!!int x\n", "---\n", "? "}
	f.Add([]byte{0, 1, 8, 12}, "")
	f.Add([]byte{0, 1, 5, 16, 1, 6, 17}, "")
	f.Add([]byte{0, 1, 3, 13, 7, 14}, "")
	f.Add([]byte{}, "a: &a [*a]")
	f.Add([]byte{0, 1, 5}, "all(client.history, true)")
	f.Fuzz(func(t *testing.T, choices []byte, end string) {
		var b strings.Builder
		for _, c := range choices {
			b.WriteString(parts[int(c)%len(parts)])
		}
		text := b.String() + end
		p := &Policy{budget: newBudget()}
		err := p.parse([]byte(text), "p.yaml")
		var e *Error
		if err == nil && len(p.rules) == 0 {
			t.Errorf("%q: no rules and no error", text)
		}
		if errors.As(err, &e) && (e.Line < 0 || e.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+2) {
			t.Errorf("%q: the error is in line %d: %v", text, e.Line, err)
		}
	})
}

// FuzzBaseline reads anything as if it were a baseline. What is read is written so that
// it is read as the same.
func FuzzBaseline(f *testing.F) {
	for _, text := range []string{"", "a\n  1 x\n", "a\n  2 x y, z; k x2\n  1 u?\nb\n", "# c\n\n  1 x\n", "a\r\n  1 x\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := &Baseline{shapes: make(map[string]*Shape)}
		if b.read(strings.NewReader(baselineHead+"\n"+text)) != nil {
			return
		}
		again := &Baseline{shapes: make(map[string]*Shape)}
		if err := again.read(bytes.NewReader(b.text())); err != nil || !reflect.DeepEqual(b.shapes, again.shapes) {
			t.Errorf("%q: %v: got %q, want %q", text, err, again.text(), b.text())
		}
	})
}

// The name of a capture is no comment in a baseline.
func TestNamesInBaselines(t *testing.T) {
	for _, path := range []string{"#x.pcap", "dir/# x", " x ", "::error::x", "a\nb"} {
		b := &Baseline{shapes: map[string]*Shape{nameOf(path): newShape()}}
		again := &Baseline{shapes: make(map[string]*Shape)}
		if err := again.read(bytes.NewReader(b.text())); err != nil || again.of(path) == nil {
			t.Errorf("%q: %v in %s", path, err, b.text())
		}
	}
}
