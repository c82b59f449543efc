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
		"every end is ESTABLISHED, proved", "record.go",
		"r.Possible = certain.Possible(c, e, r.Certainty, t.machine.Now)",
		"r.State, r.Proved, r.Certainty = tcp.Established, tcp.Established, tcp.Proved",
		"TestFirmStatesAreTheKernels",
	},
	{
		"the proved view is the assumed one", "record.go",
		"Proved: subject.Proved.Only()}", "Proved: subject.Assumed.Only()}",
		"TestFirmStatesAreTheKernels",
	},
	{
		"a server that has closed is in SYN_RCVD, proved", "record.go", // which no excuse may cover
		"r.Possible = certain.Possible(c, e, r.Certainty, t.machine.Now)",
		"if e == tcp.Server && subject.Assumed == tcp.Closed.Set() && subject.Has(endpoint.SentSYNACK) {\n\t\tr.Proved = tcp.SynReceived\n\t}",
		"TestFirmStatesAreTheKernels",
	},
	{
		"the history forgets CLOSE_WAIT", "record.go",
		"if st.End() == e {\n\t\t\tr.History", "if st.End() == e && st.State() != tcp.CloseWait {\n\t\t\tr.History",
		"TestHistoriesEqualKernels",
	},
	{
		"what is assumed is settled at once", "internal/certain/certain.go",
		"now.Sub(newest.At) >= quiet(c)", "true",
		"TestFirmStatesAreTheKernels",
	},
	{
		"TIME_WAIT is forgotten", "tcp/transitions.go",
		`{FinWait2, RcvFIN, TimeWait, "3.10.7.4"}`, `{FinWait2, RcvFIN, Closed, "3.10.7.4"}`,
		"TestStatesEqualKernels",
	},
	{
		"an anomaly is dropped", "anomaly/kinds/kinds.go",
		"\t&timewait.TimeWaitAssassination,\n", "",
		"TestAnomaliesOfKernels",
	},
	{
		"an anomaly is invented", "anomaly/anomaly.go",
		"f := k.Check(h)\n", "f := k.Check(h)\n\t\t\tif f == nil && k.Name == \"data-after-fin\" {\n\t\t\t\tf = &Finding{End: h.From}\n\t\t\t}\n",
		"TestOrdinaryTrafficRaisesNothing",
	},
	{
		"an anomaly is blamed on the other end", "anomaly/anomaly.go",
		"\tc := cmp.Or(f.Of, h.Conn)\n\tseverity", "\tf.End = f.End.Peer()\n\tc := cmp.Or(f.Of, h.Conn)\n\tseverity",
		"TestLadders",
	},
	{
		"a RST is not believed", "internal/conn/reset.go",
		"\taccepted := v.Is != gate.Refused && !v.Held\n", "\taccepted := v.Is != gate.Refused && !v.Held && m == nil\n",
		"TestStatesEqualKernels",
	},
	{
		"copies that the capture made are not dropped", "internal/duplicates/duplicate_filter.go",
		"\tif !same || now", "\tif same || now",
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
