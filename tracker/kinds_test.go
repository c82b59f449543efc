package tracker_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
)

// Every kind has a ladder in which it is flagged, testdata/anomaly/KIND.txt or
// KIND-*.txt, and one in which its innocent neighbour is not, KIND-not-*.txt.
func TestEveryKindHasItsLadders(t *testing.T) {
	flagged := func(file, kind string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if odd, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok && slices.Contains(strings.Fields(odd), kind) {
				return true
			}
		}
		return false
	}
	for _, k := range kinds.All() {
		files, err := filepath.Glob("testdata/anomaly/" + k.Name + "*.txt")
		if err != nil {
			t.Fatal(err)
		}
		guilty, innocent := false, false
		for _, file := range files {
			if strings.HasPrefix(filepath.Base(file), k.Name+"-not-") {
				innocent = true
				if flagged(file, k.Name) {
					t.Errorf("%s: %s is flagged, and should not be", file, k.Name)
				}
				continue
			}
			guilty = guilty || flagged(file, k.Name)
		}
		if !guilty {
			t.Errorf("no ladder in testdata/anomaly flags %s", k.Name)
		}
		if !innocent {
			t.Errorf("no ladder testdata/anomaly/%s-not-*.txt shows its innocent neighbour", k.Name)
		}
		if k.Title == "" || k.RFC == "" || len(k.Causes) == 0 {
			t.Errorf("%s lacks a title, a source or a cause", k.Name)
		}
		for _, threshold := range k.Thresholds {
			count, isCount := threshold.Value.(int)
			span, isSpan := threshold.Value.(time.Duration)
			if threshold.Name == "" || isCount == isSpan || count <= 0 && span <= 0 {
				t.Errorf("%s has a threshold %+v, which has no name, or is neither a number nor a time", k.Name, threshold)
			}
		}
		for _, m := range k.Moves {
			if m.Name == "" || m.When == "" || m.To == k.Severity {
				t.Errorf("%s has a move %+v, which has no name or reason, or leads nowhere", k.Name, m)
			}
		}
	}
}
