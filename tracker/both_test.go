package tracker_test

import (
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/taps/skew"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

// mostUndecided is the share of ends at checkpoints, in a hundred, that may be told
// wrong where both captures are followed: what moved without a packet.
const mostUndecided = 2

// injects are the stories in which the wire made a segment, and which do not say so, or
// name what one capture shows of it.
var injects = map[string]bool{
	"lab-forged-fin-beyond-window": true, "lab-md5-forged-rst": true, "lab-refused-fin-future-ack": true,
}

// Both captures of a story, followed as one, tell the kernels' states, with clocks that
// differ and a firewall between; nothing is called proved or observed that is not so, and
// every anomaly of the story is found, none beside.
func TestBothCapturesTellTheKernels(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*/truth.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	for i := range skew.Changes {
		change := &skew.Changes[i]
		t.Run(change.Name, func(t *testing.T) {
			t.Parallel()
			compared, missed, firm := 0, 0, 0
			for _, file := range files {
				c, err := oracle.Load(filepath.Dir(file))
				if err != nil {
					t.Fatal(err)
				}
				b, err := c.Both(change)
				if err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
				if b == nil {
					continue
				}
				n, misses := b.States()
				compared, missed = compared+n, missed+len(misses)
				for i := range misses {
					t.Logf("%v", &misses[i])
				}
				n, misses = b.Sure()
				firm += n
				for i := range misses {
					t.Errorf("%v", &misses[i])
				}
				if kind := lostData[c.Name]; kind != "" {
					b.Expect = append(b.Expect, []string{kind})
				}
				if injects[c.Name] || len(b.Expect) == 0 && c.Injected() {
					b.Expect = [][]string{{"forged-between", "copied-between", "answered-between"}}
				}
				_, misses = b.Anomalies()
				for i := range misses {
					t.Errorf("%v", &misses[i])
				}
			}
			t.Logf("%d of %d states are the kernels'; %d of them called proved or observed", compared-missed, compared, firm)
			if compared < 1000 || firm < 900 || missed*100 > mostUndecided*compared {
				t.Errorf("at least 1000 are to be compared, 900 called so, and at most %d %% wrong", mostUndecided)
			}
		})
	}
}
