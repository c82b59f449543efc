package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// nested writes text around itself, often.
func nested(often int, format, text string) string {
	for range often {
		text = fmt.Sprintf(format, text)
	}
	return text
}

var boundedTexts = map[string]string{
	"predicates in predicates":         `all(1..1000, all(1..1000, all(1..1000, all(1..1000, true))))`,
	"a long one":                       `all(1..999, any(1..999, any(1..999, false)) == false)`,
	"a long range":                     `len(1..5000000) > 1`,
	"a list of ranges":                 `len(map(1..1100, 1..1100)) > 1`,
	"a long predicate":                 `any(1..9999, len([` + strings.Repeat("1,", 400) + `1]) == 1) or any(1..99999, len([` + strings.Repeat("1,", 400) + `1]) == 1)`,
	"ranges that are not kept":         `any(1..9999, len(1..9999) == 1)`,
	"a text that doubles":              `len(first(` + nested(40, `map(%s, # + #)`, `["aaaaaaaaaaaaaaaa"]`) + `)) == 1`,
	"many texts":                       `len(map(1..9999, lower("` + strings.Repeat("A", 1000) + `"))) == 1`,
	"a list of itself":                 `min(` + nested(40, `map(%s, [#, #])`, `1..10`) + `) == 1`,
	"a list of itself, compared":       `first([` + nested(40, `map(%s, [#, #])`, `1..10`) + `, 1]) == first([` + nested(40, `map(%s, [#, #])`, `1..10`) + `, 1])`,
	"searching":                        `all(1..9000, -# in 1..9000 || true)`,
	"a list summed over and over":      `all(map(1..900, 1..1000), all(1..1000, sum(1..1000) > 0))`,
	"dates":                            `all(1..999999, date("2026-01-01") < start || true)`,
	"a regular expression, many times": `all(1..999999, "` + strings.Repeat("x", 2000) + `" matches "(x|y|xy){300}$" || true)`,
}

// What would take for ever, or all memory, is cut short.
func TestExpressionsAreBounded(t *testing.T) {
	for name, text := range boundedTexts {
		x, err := compile(text, reportEnv, newBudget())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = x.holds(zeroEnv())
		runtime.ReadMemStats(&after)
		if err != errTooLong {
			t.Errorf("%s: got %v, want that it takes too long", name, err)
		}
		if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > 2000 {
			t.Errorf("%s: it has made %d MiB", name, made)
		}
	}
}

// policyOf writes and reads a policy of a rule for each text.
func policyOf(t testing.TB, key string, texts ...string) *Policy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.yaml")
	var rules strings.Builder
	for i, text := range texts {
		fmt.Fprintf(&rules, "- name: rule %d\n  %s: '%s'\n", i, key, text)
	}
	if err := os.WriteFile(path, []byte("rules:\n"+rules.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := New(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Who is to blame is the rule that took the steps, not the one for which none
// were left.
func TestTheExpensiveRuleIsNamed(t *testing.T) {
	var texts []string
	for range 100 {
		texts = append(texts, `all(1..3000, true)`)
	}
	for _, test := range []struct {
		rule int
		text string
	}{
		{10, `all(1..800, all(1..1000, true))`},
		{99, `all(1..999, all(1..9000, true))`},
		{60, `len(1..5000000) > 1`},
	} {
		dear := slices.Clone(texts)
		dear[test.rule] = test.text
		j := policyOf(t, "require", dear...).Judge(t.Context(), "x.pcap", Options{Captures: 7})
		j.Connection(connection(1, "CLOSED", "CLOSED"))
		_, err := j.Close()
		if want := fmt.Sprintf("rule %q: %v", fmt.Sprint("rule ", test.rule), errTooLong); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", test.text, err, want)
		}
	}
}

// However many rules there are, they share the steps of the run.
func TestRulesShareTheSteps(t *testing.T) {
	var texts []string
	for range MaxRules {
		texts = append(texts, `all(1..9000, # > 0)`)
	}
	j := policyOf(t, "require", texts...).Judge(t.Context(), "x.pcap", Options{})
	j.Connection(connection(1, "CLOSED", "CLOSED"))
	if _, err := j.Close(); err == nil {
		t.Errorf("%d rules took 9,000 steps and more each", MaxRules)
	}
}

// A thousand rules that are about one end cost as much for a connection of which
// no packet tells the other.
func TestOnlyReadingsThatMatterAreTried(t *testing.T) {
	p := policyOf(t, "require", `client.state == CLOSED || client.port > 0`)
	j := p.Judge(t.Context(), "x.pcap", Options{})
	r := connection(1, "CLOSED", "CLOSED")
	r.Ends[0].State, r.Ends[1].State = 0, 0
	before := p.budget.steps
	j.Connection(r)
	if took, most := before-p.budget.steps, 30*p.rules[0].expr.nodes; took > most {
		t.Errorf("a rule about the client alone took %d steps, want %d at most", took, most)
	}
}

// Judging ends with its context, in the middle of an expression too.
func TestJudgingHeedsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	j := policyOf(t, "require", `all(1..999, all(1..1000, true))`).Judge(ctx, "x.pcap", Options{})
	cancel()
	if _, err := j.p.rules[0].expr.holds(zeroEnv()); !errors.Is(err, context.Canceled) {
		t.Errorf("an expression: got %v, want %v", err, context.Canceled)
	}
	j.Connection(connection(1, "CLOSED", "CLOSED"))
	if _, err := j.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("a capture: got %v, want %v", err, context.Canceled)
	}
}

// A condition that takes too long is an error, not false.
func TestAConditionThatTakesTooLong(t *testing.T) {
	c, err := Where(`all(1..1000, all(1..1000, all(1..1000, true)))`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Holds(connection(1, "CLOSED", "CLOSED")) || !errors.Is(c.Err(), errTooLong) {
		t.Errorf("got %v, want %v", c.Err(), errTooLong)
	}
}

// Rules that count keep to the memory: they are not asked of a part of the connections,
// but an error that names the rule and the capture. So does a baseline.
func TestWhatIsKeptOfACaptureKeepsToMemory(t *testing.T) {
	const memory, most = 4 << 20, 30_000
	records := func(yield func(*tracker.Record) bool) {
		for i := range most {
			r := odd(connection(1, "CLOSED", "TIME_WAIT?"), "rst-instead-of-ack", 0, 0)
			r.Conn, r.Ends[1].Addr = i+1, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)
			if !yield(r) {
				return
			}
		}
	}
	baseline, err := New("", nil, &Baseline{shapes: make(map[string]*Shape), update: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		p      *Policy
		memory int64
		want   string // "": no error
	}{
		{"count", policyOf(t, "count", "len(connections) > 2"), 0, ""},
		{"count", policyOf(t, "count", "len(connections) > 2"), memory, `rule "rule 0": x.pcap has too many connections to count over (--max-memory)`},
		{"baseline", baseline, 0, ""},
		{"baseline", baseline, memory, "x.pcap has too many different connections for a baseline (--max-memory)"},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		j, n := c.p.Judge(t.Context(), "x.pcap", Options{Captures: 1, Memory: c.memory}), 0
		for r := range records {
			if j.Connection(r); j.err != nil {
				break
			}
			n++
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		_, err := j.Close()
		switch {
		case c.want == "" && (err != nil || n != most):
			t.Errorf("%s: %v after %d connections, with any memory", c.name, err, n)
		case c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want) || n < most/100 || n > most*3/4):
			t.Errorf("%s: got %v after %d connections, want %s", c.name, err, n, c.want)
		case c.want != "" && (used > memory*5/4 || used < memory/3):
			t.Errorf("%s: %d octets are kept, want about %d", c.name, used, memory)
		}
		t.Logf("%s, %d octets: %d connections take %d", c.name, c.memory, n, used)
		runtime.KeepAlive(j)
	}
}
