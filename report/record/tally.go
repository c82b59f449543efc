package record

import (
	"cmp"
	"slices"

	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Tally counts what every format tells at its end.
type Tally struct {
	Seen   int // connections that ended
	Listed int // of these, those selected
	States StateCounts
	Kinds  map[KindOf]int

	Due tcp.Time // when the last timer fires that runs in one of the selected; 0: none does

	Services *services.Counts // of the selected, those that a table does not show too; nil: the format tells of none
}

// StateCounts counts ends by their assumed state and by which end they are.
type StateCounts [16][2]int

// KindOf is what anomalies are counted by. The severity is a part of it only to
// be told: a kind whose causes differ in it is counted apart.
type KindOf struct {
	Kind     string
	Severity anomaly.Severity
}

// NewTally returns a Tally of nothing.
func NewTally() *Tally { return &Tally{Kinds: make(map[KindOf]int)} }

// Connection counts a selected connection.
func (t *Tally) Connection(r *tracker.Record) {
	t.Listed++
	for i, e := range r.Ends {
		t.States[e.State][i]++
	}
	t.anomalies(r)
}

// anomalies counts those of a connection.
func (t *Tally) anomalies(r *tracker.Record) {
	for i := range r.Anomalies {
		t.anomaly(&r.Anomalies[i])
	}
}

// anomaly counts an anomaly, once however often it repeated.
func (t *Tally) anomaly(a *anomaly.Anomaly) {
	t.Kinds[KindOf{a.Kind, a.Severity}]++
}

// present returns the states that were counted, in the order of RFC 9293, with
// UNKNOWN at the end.
func (c *StateCounts) present() []tcp.State {
	var present []tcp.State
	for _, s := range append(tcp.States(), tcp.Unknown) {
		if c.Total(s) > 0 {
			present = append(present, s)
		}
	}
	return present
}

// Frequent returns the states that were counted, the most frequent first.
func (c *StateCounts) Frequent() []tcp.State {
	states := c.present()
	slices.SortStableFunc(states, func(a, b tcp.State) int { return cmp.Compare(c.Total(b), c.Total(a)) })
	return states
}

// Total returns how many ends are in state s.
func (c *StateCounts) Total(s tcp.State) int {
	return c[s][tcp.Client] + c[s][tcp.Server]
}

// Worst returns what anomalies were counted, the worst first, then by name.
func (t *Tally) Worst() []KindOf {
	var kinds []KindOf
	for k := range t.Kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b KindOf) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Kind, b.Kind))
	})
	return kinds
}

// A kindCount is how many anomalies there are of one kind.
type kindCount struct {
	kind string
	n    int
}

// byName returns what anomalies were counted, by name, whatever their severity.
func (t *Tally) byName() []kindCount {
	sum := make(map[string]int)
	for k, n := range t.Kinds {
		sum[k.Kind] += n
	}
	var counts []kindCount
	for kind, n := range sum {
		counts = append(counts, kindCount{kind, n})
	}
	slices.SortFunc(counts, func(a, b kindCount) int { return cmp.Compare(a.kind, b.kind) })
	return counts
}
