package tracker_test

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Every row of the table is used by a ladder: one that none reaches is a claim
// that nothing checks.
func TestEveryRowHasAWitness(t *testing.T) {
	used := map[tcp.Transition]bool{}
	for _, dir := range ladderDirs {
		ladders(t, dir, func(t *testing.T, _ string, l ladder) {
			l.play(t, func(tk *tracker.Tracker, _ int, _ []string) {
				k, _ := l.key()
				for c := tk.Machine().NewestOf(k); c != nil; c = c.Older() {
					for e := range tcp.Endpoint(2) {
						walk(c, e, used)
					}
				}
			})
		})
	}
	for _, row := range tcp.Transitions() {
		if !used[row] {
			t.Errorf("no ladder takes %v on %q to %v", row.From, row.On, row.To)
		}
	}
}

// walk marks the rows that the steps of an end took.
func walk(c *conn.Conn, e tcp.Endpoint, used map[tcp.Transition]bool) {
	set := c.Ends[e].Initial
	for _, st := range c.Steps() {
		if st.End() != e {
			continue
		}
		for in := range tcp.NumInputs {
			if !st.Inputs().Has(in) {
				continue
			}
			for _, row := range tcp.Transitions() {
				if row.On == in && set.Has(row.From) {
					used[row] = true
				}
			}
			set = set.After(1 << in)
		}
	}
}
