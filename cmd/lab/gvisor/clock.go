package gvisor

import (
	"container/heap"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// A clock is virtual time, with the timers of both stacks. Only the lab moves it.
type clock struct {
	mu     sync.Mutex // a stack sets timers from goroutines of its own
	now    time.Time
	timers timers
	number int
}

// epoch is when every conversation begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A timer waits for its time while it is in the clock's list.
type timer struct {
	clock  *clock
	at     time.Time
	number int // of timers due at one time the one set first goes first
	place  int // in the list; -1: not there
	f      func()
}

type timers []*timer

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	return t[i].at.Before(t[j].at) || t[i].at.Equal(t[j].at) && t[i].number < t[j].number
}
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}
func (t *timers) Push(x any) {
	x.(*timer).place = len(*t)
	*t = append(*t, x.(*timer))
}
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	last.place = -1
	*t = (*t)[:len(*t)-1]
	return last
}

// Now returns the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// NowMonotonic returns the time since the stacks were turned on, not long ago.
func (c *clock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.Now().Sub(epoch) + time.Hour)
}

// AfterFunc has f called once, d from now.
func (c *clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &timer{clock: c, place: -1, f: f}
	t.Reset(d)
	return t
}

// Stop takes the timer off the list.
func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	if t.place < 0 {
		return false
	}
	heap.Remove(&t.clock.timers, t.place)
	return true
}

// Reset sets the timer.
func (t *timer) Reset(d time.Duration) {
	t.Stop()
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.clock.number++
	t.at, t.number = t.clock.now.Add(max(d, 0)), t.clock.number
	heap.Push(&t.clock.timers, t)
}

// next returns when the next timer is due. It is not ok if there is none.
func (c *clock) next() (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return time.Time{}, false
	}
	return c.timers[0].at, true
}

// set moves time on.
func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// fire calls the function of the first timer that is due. It is not ok if none is.
func (c *clock) fire() (ok bool) {
	c.mu.Lock()
	if len(c.timers) == 0 || c.timers[0].at.After(c.now) {
		c.mu.Unlock()
		return false
	}
	t := heap.Pop(&c.timers).(*timer)
	c.mu.Unlock()
	t.f()
	return true
}
