package policy

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
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
// again. Their negation is answered the other way.
func FuzzExpression(f *testing.F) {
	for i := range 40 {
		f.Add(bytes.Repeat([]byte{byte(i), byte(3 * i), byte(7 * i)}, 8))
	}
	envs := []any{zeroEnv()}
	for _, r := range sample.Records() {
		envs = append(envs, record.EnvOf(&r).Interface())
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		const steps = 50_000
		text := (&grammar{left: choices}).expand('B')
		b := newBudget()
		x, err := compile(text, reportEnv, b)
		if err != nil {
			return
		}
		not, notErr := compile("!("+text+")", reportEnv, b) // it may have a node too many
		ask := func(x *Expr, env any) (bool, error) {
			b.steps = steps
			holds, err := x.holds(env)
			if b.made > maxMade+maxMadeOne && err == nil {
				t.Errorf("%s: made %d octets of text", text, b.made)
			}
			if b.steps < 0 && !errors.Is(err, errTooLong) {
				t.Errorf("%s: took %d steps and says %v", text, steps-b.steps, err)
			}
			return holds, err
		}
		for i, env := range envs {
			holds, err := ask(x, env)
			if again, err2 := ask(x, env); again != holds || fmt.Sprint(err2) != fmt.Sprint(err) {
				t.Errorf("%s of record %d: %t, %v, and then %t, %v", text, i, holds, err, again, err2)
			}
			if notErr != nil {
				continue
			}
			if denied, err2 := ask(not, env); err == nil && err2 == nil && denied == holds {
				t.Errorf("%s of record %d: %t, and so is its negation", text, i, holds)
			}
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
// it is read as the same. Connections are as in the baseline that is made of them, also
// once it was written and read, and others are not.
func FuzzBaseline(f *testing.F) {
	for _, text := range []string{"", "a\n  1 x\n", "a\n  2 x y, z; k x2\n  1 u?\nb\n", "# c\n\n  1 x\n", "a\r\n  1 x\r\n"} {
		f.Add(text, []byte{1, 2, 3, 4, 5, 16, 7, 8, 255, 7, 8, 8}, byte(len(text)))
	}
	f.Fuzz(func(t *testing.T, text string, plan []byte, other byte) {
		sameAsItself(t, plan, other)
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

// connectionsOf makes connections by a plan, of which some are alike: three octets make one.
func connectionsOf(plan []byte) (list []*tracker.Record) {
	states := []string{"ESTABLISHED", "CLOSED", "TIME_WAIT", "CLOSE_WAIT?", "FIN_WAIT_2!", "CLOSED|TIME_WAIT", "LAST_ACK|CLOSED|CLOSING", "UNKNOWN", "SYN_SENT"}
	kinds := []string{"rst-instead-of-ack", "connection-refused", "syn-retransmitted"}
	for ; len(plan) >= 3 && len(list) < 40; plan = plan[3:] {
		r := connection(len(list)+1, states[int(plan[0])%len(states)], states[int(plan[1])%len(states)])
		server := &r.Ends[tcp.Server]
		server.Addr = netip.AddrPortFrom(server.Addr.Addr(), 80+uint16(plan[2]&1))
		r.Origin, r.ClosedBy = tcp.Origin(plan[2]>>1%3), tcp.ClosedBy(plan[2]>>3%4)
		for i := range plan[2] >> 5 % 4 {
			odd(r, kinds[(plan[0]+i)%3], anomaly.Severity(i), anomaly.Confidence(plan[1]%3))
		}
		list = append(list, r)
	}
	return list
}

// judgeOf judges connections, and returns the verdict of each rule.
func judgeOf(t *testing.T, p *Policy, records []*tracker.Record) (*Judge, *check.Capture, error) {
	j := p.Judge(t.Context(), "x.pcap", Options{Captures: 1})
	for _, r := range records {
		j.Connection(r)
	}
	out, err := j.Close()
	return j, out, err
}

// sameAsItself fails where connections are not as in the baseline of themselves, or are
// as in it although one of them is another.
func sameAsItself(t *testing.T, plan []byte, other byte) {
	records := connectionsOf(plan)
	if len(records) == 0 {
		return
	}
	b := &Baseline{shapes: make(map[string]*Shape), update: true}
	p, err := New("", nil, b)
	if err != nil {
		t.Fatal(err)
	}
	j, _, _ := judgeOf(t, p, records)
	b.Set(j)
	read := &Baseline{shapes: make(map[string]*Shape)}
	if err := read.read(bytes.NewReader(b.text())); err != nil {
		t.Fatal(err)
	}
	p.baseline = read
	if _, out, err := judgeOf(t, p, records); err != nil || out.Verdicts[p.same] != check.Passed {
		t.Errorf("it differs from itself: %v, %v\n%s", out.Findings, err, b.text())
	}
	changed := connectionsOf(plan)
	x := changed[int(other)%len(changed)]
	x.ClosedBy = (x.ClosedBy + 1) % 4
	if _, out, err := judgeOf(t, p, changed); err != nil || out.Verdicts[p.same] != check.Failed {
		t.Errorf("connection %d ended otherwise, and that is not told: %v\n%s", x.Conn, err, b.text())
	}
	if _, out, err := judgeOf(t, p, records[1:]); err != nil || out.Verdicts[p.same] != check.Failed {
		t.Errorf("a connection is missing, and that is not told: %v\n%s", err, b.text())
	}
}

// A ruleMaker writes rules by the octets that it is given.
type ruleMaker struct{ grammar }

// rule writes one in YAML.
func (m *ruleMaker) rule(i int) string {
	m.depth = 25 // short expressions
	var b strings.Builder
	fmt.Fprintf(&b, "- name: r%d\n", i)
	if m.pick("", "match") != "" {
		fmt.Fprintf(&b, "  match: %q\n", m.expand('B'))
	}
	b.WriteString(m.pick("", "  port: 80\n", "  port: [80, 81]\n", "  tuple: 10.0.0.1:81-10.0.0.2:80\n"))
	switch ask := m.pick("require", "forbid", "count", "expect", "deny", "deny", "allow"); ask {
	case "require", "forbid":
		fmt.Fprintf(&b, "  %s: %q\n", ask, m.expand('B'))
	case "count":
		fmt.Fprintf(&b, "  count: %q\n", m.pick("len(connections) > 2", "any(connections, .client.state == TIME_WAIT)", "count(connections, .server.port == 80) < 3", "all(connections, len(.anomalies) == 0)"))
	case "expect":
		fmt.Fprintf(&b, "  expect: {client: %s, server: %s}\n", m.pick("CLOSED", "[CLOSED, TIME_WAIT]", "ESTABLISHED"), m.pick("CLOSED", "[LAST_ACK, CLOSED]", "CLOSE_WAIT"))
	default:
		fmt.Fprintf(&b, "  %s: %s\n", ask, m.pick("error", "warning", "notice", "[rst-instead-of-ack, error]", "connection-refused"))
	}
	return b.String()
}

// compiled compiles rules.
func compiled(rules []string) (*Policy, error) {
	p := &Policy{budget: newBudget()}
	if err := p.parse([]byte("rules:\n"+strings.Join(rules, "")), "p.yaml"); err != nil {
		return nil, err
	}
	p.whole = p.own("whole-capture", "")
	return p, nil
}

// ruleName finds the name of a rule in an error.
var ruleName = regexp.MustCompile(`\br[0-7]\b`)

// FuzzPolicy judges connections by policies whose rules are written by a grammar. The
// verdict on a rule is that of the rule alone, and does not depend on the order of the
// rules; an error names a rule.
func FuzzPolicy(f *testing.F) {
	for i := range 40 {
		f.Add(bytes.Repeat([]byte{byte(i), byte(3 * i), byte(5 * i), byte(7 * i)}, 8), []byte{byte(i), 3, 5, byte(2 * i), 8, 255, 1, 6, 34})
	}
	f.Add([]byte{0, 0, 4, 2, 0, 0, 6, 0}, []byte{1, 1, 0xe1, 1, 1, 0xe0}) // denies, and then allows
	f.Fuzz(func(t *testing.T, choices, plan []byte) {
		m := &ruleMaker{grammar{left: choices[:min(len(choices), 200)]}}
		var rules []string
		for len(rules) == 0 || len(m.left) > 0 && len(rules) < 8 {
			rules = append(rules, m.rule(len(rules)))
		}
		p, err := compiled(rules)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Errorf("%v in no line of\n%s", err, strings.Join(rules, ""))
			}
			return
		}
		records := connectionsOf(plan)
		_, all, err := judgeOf(t, p, records)
		if err != nil {
			if !ruleName.MatchString(err.Error()) || !errors.Is(err, errTooLong) {
				t.Errorf("%v of\n%s", err, strings.Join(rules, ""))
			}
			return
		}
		backwards := slices.Clone(rules)
		slices.Reverse(backwards)
		q, err := compiled(backwards)
		if err != nil {
			t.Fatal(err)
		}
		if _, again, err := judgeOf(t, q, records); err == nil {
			for i := range rules {
				if a, b := all.Verdicts[i], again.Verdicts[len(rules)-1-i]; a != b {
					t.Errorf("rule %d is %v, and %v where the rules are in reverse\n%s", i, a, b, strings.Join(rules, ""))
				}
			}
		}
		for i, rule := range rules {
			if p.rules[i].ask == askKinds {
				continue // what another allows is not denied
			}
			alone, err := compiled([]string{rule})
			if err != nil {
				t.Fatal(err)
			}
			if _, out, err := judgeOf(t, alone, records); err == nil && out.Verdicts[0] != all.Verdicts[i] {
				t.Errorf("rule %d is %v, and %v alone\n%s", i, all.Verdicts[i], out.Verdicts[0], rule)
			}
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
