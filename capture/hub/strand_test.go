//go:build !nohub

package hub

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/wire"
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
