package services

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// A Histogram counts spans of time in buckets that do not depend on them, so that
// it takes 872 octets however many it counts: eight between a span and its
// double, from 1 us to 137 s. What it tells is at most 6 % off; the least and the
// most that were counted are exact.
type Histogram struct {
	few         []uint8  // the buckets of those counted, in order, while they are few: most are of hosts that are seen once
	buckets     []uint32 // then how many there are in each
	n           int
	least, most time.Duration
}

const (
	perDouble = 8
	firstBit  = 10 // below 1,024 ns all is one bucket
	lastBit   = 37 // and from 137 s on
	buckets   = (lastBit-firstBit)*perDouble + 2
	fewest    = 32 // that buckets are counted of
)

// The number of a bucket fits into an octet, or this does not compile.
var _ [1<<8 - buckets]struct{}

// N is how many were counted.
func (h *Histogram) N() int { return h.n }

// Add counts a span, which is not negative.
func (h *Histogram) Add(d time.Duration) {
	if h.n == 0 {
		h.least = d
	}
	h.count(bucketOf(d), 1)
	h.least, h.most = min(h.least, d), max(h.most, d)
}

// count counts n spans of a bucket.
func (h *Histogram) count(bucket int, n uint32) {
	if h.n += int(n); h.n < fewest {
		at, _ := slices.BinarySearch(h.few, uint8(bucket))
		for range n {
			h.few = slices.Insert(h.few, at, uint8(bucket))
		}
		return
	}
	if h.buckets == nil {
		h.buckets = make([]uint32, buckets)
		for _, b := range h.few {
			h.buckets[b]++
		}
		h.few = nil
	}
	h.buckets[bucket] += n
}

// each yields how many there are in each bucket that has any, from the first on.
func (h *Histogram) each(yield func(bucket int, n uint32) bool) {
	for _, b := range h.few {
		if !yield(int(b), 1) {
			return
		}
	}
	for b, n := range h.buckets {
		if n > 0 && !yield(b, n) {
			return
		}
	}
}

// bucketOf returns the bucket of a span: the first for the least.
func bucketOf(d time.Duration) int {
	ns := uint64(max(d, 0))
	double := bits.Len64(ns) - 1
	switch {
	case double < firstBit:
		return 0
	case double >= lastBit:
		return buckets - 1
	}
	return 1 + (double-firstBit)*perDouble + int(ns>>(double-3)&(perDouble-1))
}

// middle returns the middle of a bucket, other than the first and the last.
func middle(bucket int) time.Duration {
	double, part := (bucket-1)/perDouble+firstBit, (bucket-1)%perDouble
	width := time.Duration(1) << double / perDouble
	return time.Duration(1)<<double + time.Duration(part)*width + width/2
}

// Quantile returns the span that the given part of those counted do not exceed; 0
// if there is none.
func (h *Histogram) Quantile(part float64) time.Duration {
	rank := int(math.Ceil(part * float64(h.n)))
	switch {
	case rank <= 1:
		return h.least
	case rank >= h.n:
		return h.most
	}
	for i, n := range h.each {
		if rank -= int(n); rank > 0 {
			continue
		}
		switch i {
		case 0:
			return h.least
		case buckets - 1:
			return h.most
		}
		return min(max(middle(i), h.least), h.most)
	}
	panic("services: a histogram that lacks what it has counted")
}

// merge counts what another has counted.
func (h *Histogram) merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	if h.n == 0 {
		h.least = o.least
	}
	for bucket, n := range o.each {
		h.count(bucket, n)
	}
	h.least, h.most = min(h.least, o.least), max(h.most, o.most)
}
