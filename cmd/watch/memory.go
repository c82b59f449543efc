package watch

import (
	"fmt"
	"math"
	"runtime/debug"
)

const (
	// ConnMemory is what a connection is reckoned to cost, in octets. One that
	// is closed has 481 of heap with its history, a SYN that nobody answers takes
	// 375 of the process at its peak; the rest is for anomalies.
	ConnMemory = 1 << 10

	// OwnMemory is what a run takes before the first connection, and minMemory
	// the least that can be asked for.
	OwnMemory = 16 << 20
	minMemory = 2 * OwnMemory

	// boundedGC is how much garbage may lie about where memory is short, in
	// hundredths of what is used. A flood of SYNs that 100,000 connections are
	// kept of takes 96 MB, and 109 MB at 50; the time differs by less than the noise.
	boundedGC = 25
)

// SaveMemory has the garbage collector work more, for runs that are to be small.
func SaveMemory() { debug.SetGCPercent(boundedGC) }

// BoundMemory has the process keep to about so many octets of memory, and returns
// how many connections fit into them, see tracker.Config.
func BoundMemory(octets int64) (conns int, err error) {
	if octets < minMemory {
		return 0, fmt.Errorf("too small; a replay needs %d MiB", minMemory>>20)
	}
	debug.SetMemoryLimit(octets - OwnMemory)
	return int(min((octets-OwnMemory)/ConnMemory, math.MaxInt32)), nil
}
