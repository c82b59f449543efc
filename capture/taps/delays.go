package taps

import (
	"math/bits"
	"slices"
	"time"
)

const (
	// maxExact is how many delays are kept as they are. Beyond it they are counted by
	// their size.
	maxExact = 8

	// leastBits and mostBits are those of the shortest and longest delays that are told
	// apart: 1 µs and 137 s.
	leastBits = 10
	mostBits  = 37
)

// Delays are how long packets were on their way from one tap to the next. Beyond a few
// packets the middle ones are rounded: those of a whole capture by 3 %, of a connection
// by 12 % at most.
type Delays struct {
	N                          int // packets; 0: the others say nothing
	Min, Median, P90, P99, Max time.Duration
	Within                     time.Duration // each of them is wrong by no more, as far as the clocks are; Unbounded: nothing bounds that
}

// A histogram counts delays.
type histogram struct {
	n        int
	min, max time.Duration
	within   time.Duration
	exact    [maxExact]time.Duration // the first
	buckets  []uint32                // nil: those are all
	fine     uint8                   // into how many parts each power of two is divided, in bits
}

// add adds a delay.
func (h *histogram) add(d, within time.Duration) {
	if h.n == 0 || d < h.min {
		h.min = d
	}
	if h.n == 0 || d > h.max {
		h.max = d
	}
	h.within = max(h.within, within)
	if h.n++; h.n <= maxExact {
		h.exact[h.n-1] = d
		return
	}
	if h.buckets == nil {
		h.buckets = make([]uint32, (mostBits-leastBits+1)<<h.fine)
		for _, e := range h.exact {
			h.buckets[h.bucket(e)]++
		}
	}
	h.buckets[h.bucket(d)]++
}

// bucket returns in which bucket a delay is counted.
func (h *histogram) bucket(d time.Duration) int {
	v := max(uint64(max(d, 0)), 1<<leastBits)
	n := uint(bits.Len64(v)) - 1
	if n >= mostBits {
		return len(h.buckets) - 1
	}
	return int(n-leastBits)<<h.fine | int(v>>(n-uint(h.fine)))&(1<<h.fine-1)
}

// middle returns a delay in the middle of a bucket.
func (h *histogram) middle(bucket int) time.Duration {
	n := uint(bucket>>h.fine) + leastBits
	part := uint64(bucket&(1<<h.fine-1))<<1 + 1
	return time.Duration(1<<n + part<<(n-uint(h.fine)-1))
}

// delays returns what was counted.
func (h *histogram) delays() Delays {
	if h.n == 0 {
		return Delays{}
	}
	d := Delays{N: h.n, Min: h.min, Max: h.max, Within: h.within}
	exact := h.exact
	slices.Sort(exact[:min(h.n, maxExact)])
	at := func(percent int) time.Duration {
		rank := (h.n*percent + 99) / 100
		if h.buckets == nil {
			return exact[max(rank, 1)-1]
		}
		for i, n := range h.buckets {
			if rank -= int(n); rank <= 0 {
				return min(max(h.middle(i), h.min), h.max)
			}
		}
		return h.max
	}
	d.Median, d.P90, d.P99 = at(50), at(90), at(99)
	return d
}
