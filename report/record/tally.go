package record

import (
	"cmp"
	"net/netip"
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
	Left   int // of these, those that there was no room for in a table; its format says so
	States StateCounts
	Kinds  map[string]int // anomalies

	TapOn    netip.Addr // the first host on which the capture was made, as far as it is known
	TapOnOne bool       // and there is no other

	Due tcp.Time // when the last timer fires that runs in one of the selected; 0: none does

	Services *services.Counts // of the selected, those that a table does not show too; nil: the format tells of none
}

// StateCounts counts ends by their assumed state and by which end they are.
type StateCounts [16][2]int

// NewTally returns a Tally of nothing.
func NewTally() *Tally { return &Tally{Kinds: make(map[string]int)} }

// Connection counts a selected connection.
func (t *Tally) Connection(r *tracker.Record) {
	t.Listed++
	for i := range r.Ends {
		t.end(&r.Ends[i], i)
	}
	t.anomalies(r)
}

// end counts an end.
func (t *Tally) end(e *tracker.EndRecord, i int) {
	t.States[e.State][i]++
	switch host := e.Addr.Addr(); {
	case !e.OnHost:
	case !t.TapOn.IsValid():
		t.TapOn, t.TapOnOne = host, true
	default:
		t.TapOnOne = t.TapOnOne && host == t.TapOn
	}
}

// anomalies counts those of a connection.
func (t *Tally) anomalies(r *tracker.Record) {
	for i := range r.Anomalies {
		t.anomaly(&r.Anomalies[i])
	}
}

// anomaly counts an anomaly, once however often it repeated.
func (t *Tally) anomaly(a *anomaly.Anomaly) {
	t.Kinds[a.Kind]++
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
