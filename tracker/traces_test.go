package tracker_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

// The stories in testdata/traces were played on two real hosts: Linux kernels,
// and gVisor's and lwIP's stacks (gv, lx and lw in a name). Their states were read
// from the hosts themselves and stand in truth.json.

// compareAll compares every story with its kernels. Misses that the packets
// decide are errors, unless faults has so many of them in that story. excused
// says how often each excuse is used.
func compareAll(t *testing.T, what string, excused map[oracle.Excuse]int, compare func(c *oracle.Case) (compared int, misses []oracle.Miss)) {
	files, err := filepath.Glob("testdata/traces/*/truth.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	known, used := oracle.NewExceptions(faults[what]), map[oracle.Excuse]int{}
	played, compared, missed := 0, 0, 0
	for _, file := range files {
		c, err := oracle.Load(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) {
			played++
			all, misses := compare(c)
			compared += all
			var wrong []oracle.Miss
			for _, m := range misses {
				if m.Excuse == "" {
					wrong = append(wrong, m)
				} else {
					used[m.Excuse]++
				}
			}
			if len(wrong) == 0 {
				return
			}
			missed += len(wrong)
			report := t.Error
			if why := known.Reason(fmt.Sprintf("%s: %d", c.Name, len(wrong))); why != "" {
				t.Logf("known: %s", why)
				report = t.Log
			}
			for i := range wrong {
				report(&wrong[i])
			}
		})
	}
	t.Logf("%s: %d compared, %d wrong; excused: %v", what, compared, missed, used)
	if compared < 100 {
		t.Errorf("only %d %s compared", compared, what)
	}
	if played < len(files) {
		return // some were picked by -run
	}
	for _, stale := range known.Stale() {
		t.Errorf("the fault %q of %s is stale: it says %q", stale, what, faults[what][stale])
	}
	for excuse := range used {
		if _, known := excused[excuse]; !known {
			t.Errorf("%s: excused %d times that %q, want never", what, used[excuse], excuse)
		}
	}
	for excuse, n := range excused {
		if used[excuse] != n {
			t.Errorf("%s: excused %d times that %q, want %d", what, used[excuse], excuse, n)
		}
	}
}

func TestStatesEqualKernels(t *testing.T) {
	excused := map[oracle.Excuse]int{oracle.PassedBy: 1}
	compareAll(t, "states", excused, (*oracle.Case).States)
}

func TestFirmStatesAreTheKernels(t *testing.T) {
	proved := 0
	excused := map[oracle.Excuse]int{oracle.FINWaited: 3, oracle.KeepsNoRequest: 4, oracle.AsConfigured: 1}
	compareAll(t, "firm states", excused, func(c *oracle.Case) (int, []oracle.Miss) {
		all, ofThese, misses := c.Firm()
		proved += ofThese
		return all, misses
	})
	t.Logf("%d of them proved", proved)
}

// TestOwnEndsAreKnown holds what is said of the ends on whose hosts the captures were
// made: that they were made there is found out, never wrongly, and the state of few of
// these ends is only assumed then; of five times as many where nobody may say it.
func TestOwnEndsAreKnown(t *testing.T) {
	for _, test := range []struct {
		tap             oracle.TapOn
		assumed, missed int // at most
	}{{oracle.Found, 93, 35}, {oracle.Named, 59, 0}, {oracle.Nowhere, 490, 213}} {
		var all oracle.Own
		compareAll(t, "hosts", nil, func(c *oracle.Case) (int, []oracle.Miss) {
			c.TapOn = test.tap
			o, misses := c.Own()
			all.Compared, all.Assumed, all.Captures, all.Known = all.Compared+o.Compared, all.Assumed+o.Assumed, all.Captures+o.Captures, all.Known+o.Known
			return o.Compared, misses
		})
		t.Logf("%d of %d ends on the tap's host are only assumed; %d of %d captures are known to be made there", all.Assumed, all.Compared, all.Known, all.Captures)
		if all.Assumed > test.assumed || all.Captures-all.Known > test.missed {
			t.Errorf("at most %d are to be assumed, and at most %d captures not to be known", test.assumed, test.missed)
		}
	}
}

func TestHistoriesEqualKernels(t *testing.T) {
	excused := map[oracle.Excuse]int{oracle.PassedBy: 2, oracle.OtherOrder: 2, oracle.MovedSilently: 1}
	compareAll(t, "histories", excused, (*oracle.Case).Histories)
}

// lostData are stories that were played for something else, and in which data met a
// socket that was closed: their truth, which says what was played, does not name it.
var lostData = map[string]string{
	"lx-orphan-fw2": "data-after-close-reset", // 10 octets, 40 s after FIN_WAIT_2 ended
	"lxr-0037":      "data-after-close-reset", // 1,243 octets, across the FIN
}

func TestAnomaliesOfKernels(t *testing.T) {
	compareAll(t, "anomalies", nil, func(c *oracle.Case) (int, []oracle.Miss) {
		if kind := lostData[c.Name]; kind != "" {
			c.Expect = append(c.Expect, []string{kind})
		}
		return c.Anomalies()
	})
}
