package tracker_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// What Each tells at the end is what Close tells.
func TestEachTellsWhatIsKept(t *testing.T) {
	l, err := parseLadder("repeat: 3 client-ports +0.1\n 1. --> <SEQ=100><CTL=SYN> -->\n 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n")
	if err != nil {
		t.Fatal(err)
	}
	var each, over []*tracker.Record
	var last *tracker.Tracker
	l.run(t, func(e *tracker.Event) {
		if e.Kind == tracker.EventConnection {
			over = append(over, e.Record.Clone())
		}
	}, func(tk *tracker.Tracker, _, _ int) { last = tk })
	last.Each(func(r *tracker.Record) { each = append(each, r.Clone()) })
	last.Close()
	slices.SortFunc(each, func(a, b *tracker.Record) int { return a.Conn - b.Conn })
	if len(over) != 3 || !reflect.DeepEqual(each, over) {
		t.Errorf("Each tells of %+v, Close of %+v", each, over)
	}
}
