//go:build mutants

package tracker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A test that cannot fail tests nothing. Here the tracker is made to lie, one
// lie at a time, and the test that must see it has to fail:
//
//	go test -tags mutants ./tracker -run TestMutantsAreCaught
//
// A lie is built from a source in which one text is replaced; if that is not
// there any more, once, the entry is stale.
var mutants = []struct {
	lie      string
	file     string
	old, new string
	caughtBy string // a test of this package, which runs without the tag
}{
	{
		"every end is ESTABLISHED, proved", "conn.go",
		"r.Possible = c.possible(e, r.Certainty)",
		"r.State, r.Proved, r.Certainty = tcp.Established, tcp.Established, Proved",
		"TestFirmStatesAreTheKernels",
	},
	{
		"the proved view is the assumed one", "conn.go",
		"x.proved.Only(),", "x.assumed.Only(),",
		"TestFirmStatesAreTheKernels",
	},
	{
		"a server that has closed is in SYN_RCVD, proved", "conn.go", // which no excuse may cover
		"r.Possible = c.possible(e, r.Certainty)",
		"if e == Server && x.assumed == tcp.Closed.Set() && x.has(sentSYNACK) {\n\t\tr.Proved = tcp.SynReceived\n\t}",
		"TestFirmStatesAreTheKernels",
	},
	{
		"the history forgets CLOSE_WAIT", "conn.go",
		"if st.end() == e {\n\t\t\tr.History", "if st.end() == e && st.state() != tcp.CloseWait {\n\t\t\tr.History",
		"TestHistoriesEqualKernels",
	},
	{
		"what is assumed is settled at once", "conn.go",
		"now.Sub(newest.at) >= c.quiet()", "true",
		"TestFirmStatesAreTheKernels",
	},
	{
		"TIME_WAIT is forgotten", "tcp/transitions.go",
		`{FinWait2, RcvFIN, TimeWait, "3.10.7.4"}`, `{FinWait2, RcvFIN, Closed, "3.10.7.4"}`,
		"TestStatesEqualKernels",
	},
	{
		"an anomaly is dropped", "anomaly.go",
		"\t&timeWaitAssassination,\n", "",
		"TestAnomaliesOfKernels",
	},
	{
		"an anomaly is invented", "anomaly.go",
		"if f := k.check(h); f != nil {", "f := k.check(h)\n\t\t\tif f == nil && k.Name == \"data-after-fin\" {\n\t\t\t\tf = &finding{end: h.from}\n\t\t\t}\n\t\t\tif f != nil {",
		"TestOrdinaryTrafficRaisesNothing",
	},
	{
		"an anomaly is blamed on the other end", "anomaly.go",
		"\to := c.oddments()\n\tseverity := k.severityOf(&f)", "\tf.end = f.end.Peer()\n\to := c.oddments()\n\tseverity := k.severityOf(&f)",
		"TestLadders",
	},
	{
		"a RST is not believed", "reset.go",
		"accepted := c.acceptsRST(s, from, t.now)", "accepted := c.acceptsRST(s, from, t.now) && t == nil",
		"TestStatesEqualKernels",
	},
	{
		"copies that the capture made are not dropped", "duplicate.go",
		"\tif now.Sub(r.first.at) > within {", "\tif within > 0 {",
		"TestLadders",
	},
}

func TestMutantsAreCaught(t *testing.T) {
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.lie, " ", "-"), func(t *testing.T) {
			source, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.old); n != 1 {
				t.Fatalf("stale: %s has %q %d times, want once", m.file, m.old, n)
			}
			dir := t.TempDir()
			lying, overlay := filepath.Join(dir, "lying.go"), filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(lying, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
			list, err := json.Marshal(map[string]any{"Replace": map[string]string{source: lying}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, list, 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("go", "test", "-overlay", overlay, "-run", "^"+m.caughtBy+"$", ".").CombinedOutput()
			if err == nil || !strings.Contains(string(out), fmt.Sprintf("--- FAIL: %s ", m.caughtBy)) {
				t.Errorf("%s does not see it: %v\n%s", m.caughtBy, err, tail(out))
			}
		})
	}
}

// tail returns the end of what a program printed.
func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }
