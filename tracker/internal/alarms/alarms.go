// Package alarms wakes connections in the order in which they want to be looked
// at.
package alarms

import (
	"math"
	"math/bits"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Member is a connection.
type Member interface {
	Alarm() *tcp.Time // when its alarm rings; 0: none is set
	Number() uint32   // of two at the same time the lower one rings first
}

// A Clock has the alarms of all connections, of each one at most: a timing wheel. Time
// is cut into ticks. What rings in a tick to come lies in a slot of the wheel, unsorted,
// the farther away the coarser; when its tick comes it moves into a heap, which stays
// small. A heap of all took a fifth of the time of a flood of SYNs, most of it waiting
// for memory. An alarm that is taken away, or set anew, stays where it is until then, or
// until the wheel has twice as many as the last time that those were looked for: the
// connection tells that it does not count. The zero Clock has none.
type Clock[C Member] struct {
	near    heap[C]                                // what rings by the end of the tick
	wheel   [wheelLevels][1 << levelBits]*chunk[C] // a slot of level n+1 is as long as all of level n
	far     [wheelLevels]int                       // alarms in a level
	wheeled int                                    // alarms in all levels
	most    int                                    // of these before those are looked for that do not count
	tick    int64                                  // up to which the time has come
	rung    tcp.Time                               // when the last one rang
	last    uint32                                 // and whose it was
	rings   int                                    // that may ring then besides
	spare   *chunk[C]
	spares  int
}

const (
	tickBits    = 24 // 17 ms
	levelBits   = 8
	mostSpares  = 64      // chunks that are kept for reuse
	mostNear    = 1 << 14 // alarms that the heap keeps room for when it is empty
	leastSwept  = 1 << 14 // alarms in the wheel among which none is looked for that does not count
	mostRings   = 8       // times that one may ring at one time, on the average
	wheelLevels = 4       // the last slot is two years away; what is later goes round again
)

// An alarm is when a connection wants to be looked at.
type alarm[C Member] struct {
	at   tcp.Time
	conn C
}

func (a *alarm[C]) counts() bool { return *a.conn.Alarm() == a.at }

// A chunk is a part of a slot.
type chunk[C Member] struct {
	list [126]alarm[C]
	n    int
	next *chunk[C]
}

// Set makes the connection's alarm ring at the given time, instead of when it was set to.
func (q *Clock[C]) Set(c C, at tcp.Time) {
	*c.Alarm() = at
	q.put(alarm[C]{at, c})
}

// Drop takes the connection's alarm away.
func (q *Clock[C]) Drop(c C) { *c.Alarm() = 0 }

// Quiet reports whether none is due by now, for sure.
func (q *Clock[C]) Quiet(now tcp.Time) bool {
	return int64(now)>>tickBits == q.tick && (len(q.near) == 0 || q.near[0].at > now)
}

// Due takes the earliest alarm off that is set to a time by now, and returns whose it is,
// and the time; at is 0 if there is none. The time must not go back.
func (q *Clock[C]) Due(now tcp.Time) (c C, at tcp.Time) {
	if t := int64(now) >> tickBits; t > q.tick {
		q.turn(t)
	}
	for len(q.near) > 0 && q.near[0].at <= now {
		if a := q.near.pop(); a.counts() {
			*a.conn.Alarm() = 0
			if q.may(&a) {
				return a.conn, a.at
			}
		}
	}
	if len(q.near) == 0 && cap(q.near) > mostNear {
		q.near = nil
	}
	return c, 0
}

// may reports whether the alarm may ring. One that is set anew for the time at which it
// rings, for ever, must not stop the time for all: it is dropped.
func (q *Clock[C]) may(a *alarm[C]) bool {
	if a.at != q.rung {
		q.rung, q.rings = a.at, mostRings*(q.wheeled+len(q.near)+1)
	}
	again := a.conn.Number() == q.last
	q.last = a.conn.Number()
	q.rings--
	return q.rings >= 0 || !again
}

// put puts an alarm where it belongs.
func (q *Clock[C]) put(a alarm[C]) {
	t := int64(a.at) >> tickBits
	if t <= q.tick {
		q.near.push(a)
		return
	}
	level := min((bits.Len64(uint64(t^q.tick))-1)/levelBits, wheelLevels-1)
	slot := &q.wheel[level][t>>(level*levelBits)&(1<<levelBits-1)]
	if *slot == nil || (*slot).n == len((*slot).list) {
		k := q.spare
		if k == nil {
			k = new(chunk[C])
		} else {
			q.spare = k.next
			q.spares--
		}
		k.next, *slot = *slot, k
	}
	k := *slot
	k.list[k.n] = a
	k.n++
	q.far[level]++
	if q.wheeled++; q.wheeled > max(q.most, leastSwept) {
		q.sweep()
	}
}

// sweep leaves in the wheel what counts.
func (q *Clock[C]) sweep() {
	q.most = math.MaxInt
	for level := range q.wheel {
		for slot := range q.wheel[level] {
			q.empty(level, slot)
		}
	}
	q.most = 2 * q.wheeled
}

// turn turns the wheel until the time has come to tick t.
func (q *Clock[C]) turn(t int64) {
	for q.tick < t {
		level := 0
		for level < wheelLevels && q.far[level] == 0 {
			level++
		}
		if level == wheelLevels {
			q.tick = t
			return
		}
		// Below the level there is nothing: go to where its next slot begins.
		q.tick = min(t, (q.tick>>(level*levelBits)+1)<<(level*levelBits))
		for level := wheelLevels - 1; level >= 0; level-- {
			if q.tick&(1<<(level*levelBits)-1) == 0 {
				q.empty(level, int(q.tick>>(level*levelBits)&(1<<levelBits-1)))
			}
		}
	}
}

// empty puts the alarms of a slot where they belong now.
func (q *Clock[C]) empty(level, slot int) {
	k := q.wheel[level][slot]
	q.wheel[level][slot] = nil
	for k != nil {
		q.far[level] -= k.n
		q.wheeled -= k.n
		for i := range k.list[:k.n] {
			if a := &k.list[i]; a.counts() {
				q.put(*a)
			}
		}
		next := k.next
		if q.spares < mostSpares {
			clear(k.list[:k.n])
			k.n, k.next, q.spare = 0, q.spare, k
			q.spares++
		}
		k = next
	}
}

// A heap has the earliest alarm first.
type heap[C Member] []alarm[C]

func (a *alarm[C]) before(b *alarm[C]) bool {
	return a.at < b.at || a.at == b.at && a.conn.Number() < b.conn.Number()
}

func (h *heap[C]) push(a alarm[C]) {
	*h = append(*h, a)
	list, i := *h, len(*h)-1
	for ; i > 0 && a.before(&list[(i-1)/2]); i = (i - 1) / 2 {
		list[i] = list[(i-1)/2]
	}
	list[i] = a
}

func (h *heap[C]) pop() (first alarm[C]) {
	list := *h
	last := len(list) - 1
	first, moved := list[0], list[last]
	list[last] = alarm[C]{}
	*h, list = list[:last], list[:last]
	if last == 0 {
		return first
	}
	i := 0
	for child := 1; child < last; child = 2*i + 1 {
		if child+1 < last && list[child+1].before(&list[child]) {
			child++
		}
		if !list[child].before(&moved) {
			break
		}
		list[i], i = list[child], child
	}
	list[i] = moved
	return first
}
