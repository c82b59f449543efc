package crossflow

import (
	"math"
	"runtime"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/many"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What happens is counted in turn, but not at once. With a second core it is counted
// there, batch by batch, while the tracker goes on: of short connections that is a quarter
// of the work. Verdicts are given where the events come in, and no earlier or later than
// if each was counted as it came: none is due sooner after what it is about than patience.

// A happening is an Event that is to be counted, without what it points to.
type happening struct {
	tracker.Event
	now  tcp.Time     // the latest of all Events so far
	left [2]tcp.State // of an EventConnection: of its ends
}

const (
	// batchSize is how many are counted at once: so many that what it takes to hand them
	// over does not matter, so few that they stay in the cache.
	batchSize = 1 << 10

	// patience is the shortest that a verdict waits for.
	patience = min(many.ScanPatience, many.FloodPatience, many.WaitsPatience, many.PortsPatience, many.TranslationPatience, many.TranslationCount)

	never tcp.Time = math.MaxInt64
)

// A queue is what is to be counted.
type queue struct {
	size    int // of a batch
	filling []happening
	spare   []happening
	counted chan struct{} // is sent to when the batch under way is counted
	busy    bool          // there is one
	due     tcp.Time      // no verdict is due before
}

func newQueue() queue { return queue{size: batchSize, counted: make(chan struct{}, 1), due: never} }

// enqueue has an Event counted, if anything is counted by it.
func (c *Detector) enqueue(e *tracker.Event) {
	var left [2]tcp.State
	switch e.Kind {
	case tracker.EventOpen:
	case tracker.EventTransition:
		if !Counts(e.End, e.From, e.To) {
			return
		}
	case tracker.EventConnection:
		if left = [2]tcp.State{e.Record.Ends[tcp.Client].State, e.Record.Ends[tcp.Server].State}; holdsNoPort(left[tcp.Client]) && left[tcp.Server] != tcp.TimeWait {
			return
		}
	default:
		return
	}
	q := &c.queue
	n := len(q.filling)
	if n == 0 {
		q.due = min(q.due, c.latest.Add(patience))
		q.filling = slices.Grow(q.filling, q.size)
	}
	q.filling = q.filling[:n+1]
	h := &q.filling[n] // in its place: to append it copied it twice
	h.Event, h.now, h.left = *e, c.latest, left
	if e.Record != nil {
		h.Client, h.Server, h.Record = e.Record.Ends[tcp.Client].Addr, e.Record.Ends[tcp.Server].Addr, nil
	}
	if len(q.filling) >= q.size {
		c.handOver()
	}
}

// handOver has the batch counted beside what follows, once the one before is.
func (c *Detector) handOver() {
	if runtime.GOMAXPROCS(0) == 1 {
		c.catchUp()
		return
	}
	c.await()
	q := &c.queue
	batch := q.filling
	q.filling, q.spare, q.busy = q.spare[:0], batch, true
	go func() {
		c.count(batch)
		q.counted <- struct{}{}
	}()
}

// await waits for the batch that is being counted.
func (c *Detector) await() {
	if c.queue.busy {
		<-c.queue.counted
		c.queue.busy = false
	}
}

// catchUp counts all that is still to be counted.
func (c *Detector) catchUp() {
	c.await()
	c.count(c.queue.filling)
	c.queue.filling = c.queue.filling[:0]
}

// count counts a batch.
func (c *Detector) count(batch []happening) {
	for i := range batch {
		h := &batch[i]
		c.now = h.now
		switch h.Kind {
		case tracker.EventOpen:
			c.opened(&h.Event)
		case tracker.EventTransition:
			c.moved(&h.Event)
		case tracker.EventConnection:
			c.over(h)
		}
	}
}
