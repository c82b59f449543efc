package tracker_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

func TestAnomaliesOfKernels(t *testing.T) {
	stories(t, func(t *testing.T, dir string, tr truth) {
		flagged := map[string]map[string]*tracker.Anomaly{}
		for _, tap := range tr.Taps {
			flagged[tap] = map[string]*tracker.Anomaly{}
			for _, r := range replay(t, load(t, filepath.Join(dir, tap)), 0) {
				for i := range r.Anomalies {
					flagged[tap][r.Anomalies[i].Kind] = &r.Anomalies[i]
				}
			}
		}
		for _, kinds := range tr.Expect {
			taps := tr.Taps
			if at := tr.ExpectAt[strings.Join(kinds, "|")]; at != "" {
				taps = []string{at}
			}
			found := false
			for _, tap := range taps {
				for _, kind := range kinds {
					found = found || flagged[tap][kind] != nil
				}
			}
			if !found {
				t.Errorf("%v: none of %v is flagged", taps, kinds)
			}
		}
		for _, tap := range tr.Taps {
			for _, kind := range tr.Forbid {
				if a := flagged[tap][kind]; a != nil {
					t.Errorf("%s: %s is a false alarm: %s", tap, kind, a.Text)
				}
			}
			if len(tr.Expect) > 0 || len(tr.Connections) > 0 {
				continue
			}
			for kind, a := range flagged[tap] {
				if a.Severity > tracker.Notice {
					t.Errorf("%s: nothing is wrong here, but %s is flagged: %s", tap, kind, a.Text)
				}
			}
		}
	})
}
