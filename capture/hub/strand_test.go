//go:build !nohub

package hub

import (
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Each message counts once, in the order of the numbers, however often and in whatever
// order they come; of partitions none gets ahead of another.
func TestStrandOrdersMessages(t *testing.T) {
	message := func(n uint64, after int, end bool, nths ...int) []byte {
		var w wire.Writer
		for _, nth := range nths {
			w.Add(segmentAt(1000, nth), nth)
		}
		m, err := w.Message(wire.Head{Run: 1, N: n, After: after, End: end})
		must(t, err)
		return m
	}
	s := newStrand(runID{"a", 1}, 2)
	var r wire.Reader
	var got []int
	drain := func() {
		for g := s.next(); g != nil; g = s.next() {
			got = append(got, g.Nth)
			s.pass()
		}
	}
	take := func(partition int, m []byte, want ...int) {
		t.Helper()
		must(t, s.take(&r, partition, m, 0))
		if drain(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	first := message(1, 5, false, 1, 2, 5)
	take(0, first)
	take(1, message(1, 5, false, 3, 4), 1, 2, 3, 4, 5)
	take(0, first, 1, 2, 3, 4, 5)
	take(0, message(3, 9, false, 9), 1, 2, 3, 4, 5)
	if !s.torn() {
		t.Error("a message is missing, and nobody knows")
	}
	take(0, message(2, 8, false, 6, 8), 1, 2, 3, 4, 5)
	take(0, message(3, 9, true, 9), 1, 2, 3, 4, 5)
	take(1, message(2, 7, false, 7), 1, 2, 3, 4, 5, 6, 7)
	if s.torn() || s.ended() {
		t.Errorf("torn %t, ended %t", s.torn(), s.ended())
	}
	take(1, message(3, 9, true), 1, 2, 3, 4, 5, 6, 7, 8, 9)
	if !s.ended() || !s.empty() {
		t.Errorf("ended %t, empty %t", s.ended(), s.empty())
	}
	if err := s.take(&r, 2, first, 0); err == nil {
		t.Error("there is no third partition")
	}
}

// The clock of a sensor that is read with others is put right by that of the hub, that of
// one which is read alone is left as it is: whoever reads it so fits the clocks.
func TestStrandClocks(t *testing.T) {
	for _, asIs := range []bool{false, true} {
		s := newStrand(runID{"a", 1}, 1)
		s.asIs = asIs
		var w wire.Writer
		w.Add(segmentAt(1000, 1), 1)
		m, err := w.Message(wire.Head{Run: 1, N: 1, After: 1, Sent: 1000})
		must(t, err)
		var r wire.Reader
		must(t, s.take(&r, 0, m, tcp.Time(1000).Add(time.Hour)))
		want := tcp.Time(1000)
		if !asIs {
			want = want.Add(time.Hour)
		}
		if g := s.next(); g == nil || g.Time != want {
			t.Errorf("as it is %t: %+v, want one at %v", asIs, g, want)
		}
	}
}
