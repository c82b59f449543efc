package tracker

import (
	"reflect"
	"slices"
	"testing"
)

// What Each tells at the end is what Close tells.
func TestEachTellsWhatIsKept(t *testing.T) {
	l, err := parseLadder("repeat: 3 client-ports +0.1\n 1. --> <SEQ=100><CTL=SYN> -->\n 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n")
	if err != nil {
		t.Fatal(err)
	}
	var each, over []*Record
	var last *Tracker
	l.run(t, func(e *Event) {
		if e.Kind == EventConnection {
			over = append(over, e.Record.Clone())
		}
	}, func(tk *Tracker, _, _ int) { last = tk })
	last.Each(func(r *Record) { each = append(each, r.Clone()) })
	last.Close()
	slices.SortFunc(each, func(a, b *Record) int { return a.Conn - b.Conn })
	if len(over) != 3 || !reflect.DeepEqual(each, over) {
		t.Errorf("Each tells of %+v, Close of %+v", each, over)
	}
}
