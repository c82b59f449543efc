package watch

import (
	"fmt"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// A Memory is how many octets a run may take, and how they are shared out. This is the
// only place that says so: who keeps much is given its share. What is kept otherwise
// has a bound of its own, a few MiB at most, and lies in what is left.
type Memory struct {
	Conns int64 // the connections that are tracked, with all that was found in them: half of what is not the program's own, nor besides
	Rows  int64 // what reports keep of connections to print it at the end: a quarter
}

// namesShare is which part of Conns the names of hosts take that the capture tells, beside
// them.
const namesShare = 4

const (
	// OwnMemory is what a run takes before the first connection: the program, of which
	// 23 MiB lie in its file, and what it needs to read a capture.
	OwnMemory = 36 << 20

	// outside is what of that the garbage collector does not see.
	outside = 30 << 20

	// besides is what has bounds of its own where all of them are reached, half of it at
	// the least: hosts and ports that are watched, fragments. Where it was not counted, a
	// flood of flags took 98 MB of 64 MiB, and the garbage collector ran without end.
	besides = 14 << 20

	// MinMemory is the least that can be asked for.
	MinMemory = 44 << 20

	// boundedGC is how much garbage may lie about where memory is short, in
	// hundredths of what is used. A flood of SYNs that 100,000 connections are
	// kept of takes 96 MB, and 109 MB at 50; the time differs by less than the noise.
	boundedGC = 25

	// usualShare is which part of the memory of the machine, or of the control group that
	// the process is in, a run takes where nobody says.
	usualShare = 2
)

// SaveMemory has the garbage collector work more, for runs that are to be small.
func SaveMemory() { debug.SetGCPercent(boundedGC) }

// ShareMemory has the process keep to about so many octets of memory, and shares them
// out.
func ShareMemory(octets int64) (m Memory, err error) {
	if octets < MinMemory {
		return m, fmt.Errorf("too small; a replay needs %d MiB", MinMemory>>20)
	}
	debug.SetMemoryLimit(octets - outside)
	rest := octets - OwnMemory
	rest -= min(besides, rest/2)
	return Memory{Conns: rest / 2, Rows: rest / 4}, nil
}

// UsualMemory is how many octets a run takes at most where nobody says: half of what the
// machine has, or the control group; 0 where that is not known.
func UsualMemory() int64 {
	octets, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		return 0
	}
	return max(int64(min(octets, 1<<62)/usualShare), MinMemory)
}
