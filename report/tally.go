package report

import (
	"cmp"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A tally counts what every format tells at its end.
type tally struct {
	seen   int // connections that ended
	listed int // of these, those selected
	states stateCounts
	kinds  map[kindOf]int
}

// stateCounts counts ends by their assumed state and by which end they are.
type stateCounts [16][2]int

// kindOf is what anomalies are counted by. The severity is a part of it only to
// be told: a kind whose causes differ in it is counted apart.
type kindOf struct {
	kind     string
	severity anomaly.Severity
}

func newTally() *tally { return &tally{kinds: make(map[kindOf]int)} }

// connection counts a selected connection.
func (t *tally) connection(r *tracker.Record) {
	t.listed++
	for i, e := range r.Ends {
		t.states[e.State][i]++
	}
	for i := range r.Anomalies {
		t.anomaly(&r.Anomalies[i])
	}
}

// anomaly counts an anomaly, once however often it repeated.
func (t *tally) anomaly(a *anomaly.Anomaly) {
	t.kinds[kindOf{a.Kind, a.Severity}]++
}

// present returns the states that were counted, in the order of RFC 9293, with
// UNKNOWN at the end.
func (c *stateCounts) present() []tcp.State {
	var present []tcp.State
	for _, s := range append(tcp.States(), tcp.Unknown) {
		if c.total(s) > 0 {
			present = append(present, s)
		}
	}
	return present
}

// frequent returns the states that were counted, the most frequent first.
func (c *stateCounts) frequent() []tcp.State {
	states := c.present()
	slices.SortStableFunc(states, func(a, b tcp.State) int { return cmp.Compare(c.total(b), c.total(a)) })
	return states
}

// total returns how many ends are in state s.
func (c *stateCounts) total(s tcp.State) int {
	return c[s][tcp.Client] + c[s][tcp.Server]
}

// worst returns what anomalies were counted, the worst first, then by name.
func (t *tally) worst() []kindOf {
	var kinds []kindOf
	for k := range t.kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b kindOf) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), cmp.Compare(a.kind, b.kind))
	})
	return kinds
}

// A kindCount is how many anomalies there are of one kind.
type kindCount struct {
	kind string
	n    int
}

// byName returns what anomalies were counted, by name, whatever their severity.
func (t *tally) byName() []kindCount {
	sum := make(map[string]int)
	for k, n := range t.kinds {
		sum[k.kind] += n
	}
	var counts []kindCount
	for kind, n := range sum {
		counts = append(counts, kindCount{kind, n})
	}
	slices.SortFunc(counts, func(a, b kindCount) int { return cmp.Compare(a.kind, b.kind) })
	return counts
}
