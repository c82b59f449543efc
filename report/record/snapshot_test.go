package record

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// What another anomaly explains better is found only where it is asked for.
func TestFindingsOfSnapshot(t *testing.T) {
	r := tracker.Record{Conn: 1}
	r.Anomalies = []anomaly.Anomaly{
		{Kind: "rst-unmatched", Conn: 1},
		{Kind: "rst-instead-of-ack", Conn: 1, Supersedes: []string{"rst-unmatched"}},
	}
	s := &Snapshot{Records: []*tracker.Record{&r}}
	for want, o := range map[int]Options{1: {}, 2: {Filter: Selection{Kinds: []string{"rst-unmatched"}}}, 0: {Filter: Selection{Kinds: []string{"ack-loop"}}}} {
		if got := len(s.Findings(&o).List()); got != want {
			t.Errorf("%d findings with %v, want %d", got, o.Filter.Kinds, want)
		}
	}
}
