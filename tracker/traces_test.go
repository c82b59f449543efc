package tracker_test

import (
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/judge"
)

// The stories in testdata/traces were played on two real hosts: Linux kernels,
// and gVisor's and lwIP's stacks (gv, lx and lw in a name). Their states were read
// from the hosts themselves and stand in truth.json.

// stories calls f with every story.
func stories(t *testing.T, f func(t *testing.T, c *judge.Case)) {
	dirs, err := filepath.Glob("testdata/traces/*/truth.json")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	for _, file := range dirs {
		c, err := judge.Load(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) { f(t, c) })
	}
}

func TestStatesEqualKernels(t *testing.T) {
	right, all, silent := 0, 0, 0
	stories(t, func(t *testing.T, c *judge.Case) {
		compared, misses := c.States()
		all += compared
		right += compared - len(misses)
		silent += c.Silent()
		for _, m := range misses {
			complain(t, c.Name, "states", &m)
		}
	})
	t.Logf("%d of %d states at checkpoints equal the kernel's; %d ends moved without sending, and are not compared", right, all, silent)
	if all < 100 {
		t.Errorf("only %d states compared", all)
	}
}

func TestProvedIsNeverAheadOfKernels(t *testing.T) {
	all := 0
	stories(t, func(t *testing.T, c *judge.Case) {
		compared, misses := c.Proved()
		all += compared
		for _, m := range misses {
			complain(t, c.Name, "proved", &m)
		}
	})
	t.Logf("%d proved states compared", all)
	if all < 100 {
		t.Errorf("only %d states compared", all)
	}
}

// unseen are histories that a capture cannot hold, with the reason.
var unseen = map[string]string{
	"old-dup-syn-listen client.pcap 10.9.0.2:7066": "the SYN that the server answers first was put on the wire behind this tap",
}

func TestHistoriesEqualKernels(t *testing.T) {
	right, all := 0, 0
	stories(t, func(t *testing.T, c *judge.Case) {
		compared, misses := c.Histories()
		all += compared
		right += compared - len(misses)
		for _, m := range misses {
			if unseen[m.Story+" "+m.Tap+" "+m.Addr.String()] == "" {
				complain(t, c.Name, "histories", &m)
			}
		}
	})
	t.Logf("%d of %d histories equal the kernel's", right, all)
	if all < 100 {
		t.Errorf("only %d histories compared", all)
	}
}

func TestAnomaliesOfKernels(t *testing.T) {
	stories(t, func(t *testing.T, c *judge.Case) {
		for _, miss := range c.Anomalies() {
			complain(t, c.Name, "anomalies", miss)
		}
	})
}
