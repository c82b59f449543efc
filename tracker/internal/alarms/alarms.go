// Package alarms wakes connections in the order in which they want to be looked
// at.
package alarms

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// An Alarm is when a connection wants to be looked at.
type Alarm[C Member] struct {
	At   tcp.Time
	Conn C
}

// A Heap has the earliest alarm first, in chunks: one that grows as a slice
// left a flood of SYNs a fifth of all memory as garbage. Every connection has
// at most one alarm, and keeps its place.
type Heap[C Member] struct {
	chunks []*[chunkAlarms]Alarm[C]
	n      int
}

// A Member is a connection. It keeps the place of its alarm, counted from 1; 0:
// none is set.
type Member interface{ Slot() *uint32 }

const chunkAlarms = 1 << 12

func (h *Heap[C]) at(i int) *Alarm[C] { return &h.chunks[i/chunkAlarms][i%chunkAlarms] }

// Set makes the connection's alarm ring at the given time, which is not later
// than it was set to.
func (h *Heap[C]) Set(c C, at tcp.Time) {
	if *c.Slot() == 0 {
		if h.n == len(h.chunks)*chunkAlarms {
			h.chunks = append(h.chunks, new([chunkAlarms]Alarm[C]))
		}
		h.n++
		*c.Slot() = uint32(h.n)
	}
	i := int(*c.Slot()) - 1
	for i > 0 && h.at((i-1)/2).At > at {
		h.put(i, *h.at((i - 1) / 2))
		i = (i - 1) / 2
	}
	h.put(i, Alarm[C]{at, c})
}

// Due reports whether the earliest is set to a time by now.
func (h *Heap[C]) Due(now tcp.Time) bool { return h.n > 0 && h.at(0).At <= now }

// First returns the earliest. There must be one.
func (h *Heap[C]) First() Alarm[C] { return *h.at(0) }

// At returns when the connection's alarm, which is set, rings.
func (h *Heap[C]) At(c C) tcp.Time { return h.at(int(*c.Slot()) - 1).At }

// put puts an alarm into place i.
func (h *Heap[C]) put(i int, a Alarm[C]) {
	*h.at(i) = a
	*a.Conn.Slot() = uint32(i + 1)
}

// Drop takes the connection's alarm away.
func (h *Heap[C]) Drop(c C) {
	if *c.Slot() == 0 {
		return
	}
	i, last := int(*c.Slot())-1, h.at(h.n-1)
	moved := *last
	*last = Alarm[C]{}
	*c.Slot() = 0
	if h.n--; i < h.n {
		h.sink(i, moved)
		h.Set(moved.Conn, moved.At) // up, if it belongs there
	}
}

// sink puts an alarm into place i, or below it where it belongs.
func (h *Heap[C]) sink(i int, a Alarm[C]) {
	for child := 2*i + 1; child < h.n; child = 2*i + 1 {
		if child+1 < h.n && h.at(child+1).At < h.at(child).At {
			child++
		}
		if h.at(child).At >= a.At {
			break
		}
		h.put(i, *h.at(child))
		i = child
	}
	h.put(i, a)
}
