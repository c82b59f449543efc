package report

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Selection names the connections to print. The zero Selection is all; with
// both States and Kinds, a connection must satisfy both.
type Selection struct {
	States []tracker.State // an end is in one of these, in the assumed view
	Kinds  []string        // flagged with one of these anomalies
}

// active reports whether the Selection leaves anything out.
func (s *Selection) active() bool { return len(s.States)+len(s.Kinds) > 0 }

// connection reports whether r is in the Selection.
func (s *Selection) connection(r *tracker.Record) bool {
	inState := func(e tracker.EndRecord) bool { return slices.Contains(s.States, e.State) }
	if len(s.States) > 0 && !slices.ContainsFunc(r.Ends[:], inState) {
		return false
	}
	flagged := func(a tracker.Anomaly) bool { return slices.Contains(s.Kinds, a.Kind) }
	return len(s.Kinds) == 0 || slices.ContainsFunc(r.Anomalies, flagged)
}

// anomaly reports whether an anomaly over many connections is in the
// Selection. No state speaks for or against it.
func (s *Selection) anomaly(a *tracker.Anomaly) bool {
	return len(s.Kinds) == 0 || slices.Contains(s.Kinds, a.Kind)
}

// Has reports whether r is in the Selection.
func (s *Selection) Has(r *tracker.Record) bool { return s.connection(r) }

// HasAnomaly reports whether an anomaly over many connections is in the
// Selection.
func (s *Selection) HasAnomaly(a *tracker.Anomaly) bool { return s.anomaly(a) }
