package recent

import (
	"iter"
)

// Part yields the segments from one place in the list up to another.
func Part(list iter.Seq[*Segment], from, to int) iter.Seq[*Segment] {
	return func(yield func(*Segment) bool) {
		n := 0
		for g := range list {
			if n++; n > to || n > from && !yield(g) {
				return
			}
		}
	}
}
