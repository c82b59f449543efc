package pcap

import (
	"container/heap"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Packets of several interfaces, queues or machines can be written in another order
// than they were captured in. Where a stamp goes back by microseconds nobody knows
// whether it is the order or the stamp that is wrong, and the tracker looks at what
// the segments say. Where it goes back by more, the order is wrong, unless the clock
// was set; and reading on from there would make of every answer one that came before
// its question.
//
// Whether they are out of order, and by how much, the stamps of the whole file tell: a
// file is looked at first, for these alone, unless who reads it can begin anew. If they
// are, it is read with a Sort: packets wait until none can come any more that belongs
// before them, which the look has found out. A file in order is read without.

const (
	// LateBy is by how much a stamp goes back, at least, of a packet that is out of order.
	LateBy = 5 * time.Millisecond

	// lateReach is by how much at most. A stamp that goes back by more is of a clock that was
	// set, or of another capture that was appended.
	lateReach = time.Second

	// clockSteps is how many times a clock is set back in a capture, at most. More
	// such places are of packets that are out of order.
	clockSteps = 2

	// MaxWaiting is how many octets wait to be put in order at once.
	MaxWaiting = 64 << 20
)

// A Disorder is what the stamps of a capture say of its order. The zero Disorder has
// seen none.
type Disorder struct {
	Late int           // packets that are stamped before one in front of them
	By   time.Duration // the most that one is late by

	newest tcp.Time
	late   bool          // the last was late
	back   time.Duration // of late: the first of a row of them went back by this
	last   tcp.Time      // of late: the latest of the row
	places int           // rows
	jumped bool          // behind one, stamps jumped forward again
}

// Stamp takes the stamp of the next packet; 0 is none.
//
// A clock that was set back goes on from there: it comes to the time of the newest
// packet without a jump. Behind packets that are out of order stamps jump to where
// they were.
func (d *Disorder) Stamp(t tcp.Time) {
	switch by := d.newest.Sub(t); {
	case t == 0:
	case by < LateBy:
		if d.late {
			d.jumped = d.jumped || t.Sub(d.last) >= d.back/2
			d.late = false
		}
		d.newest = max(d.newest, t)
	case by > lateReach:
		d.newest, d.late = t, false
	default:
		if d.Late++; !d.late {
			d.places++
			d.late, d.back, d.last = true, by, t
		}
		d.last = max(d.last, t)
		d.By = max(d.By, by)
	}
}

// Found reports whether packets are out of order, and not the clock was set.
func (d *Disorder) Found() bool { return d.jumped || d.places > clockSteps }

// Look reads a capture to its end, and returns what its stamps say of its order.
func (in *Reader) Look() (d Disorder) {
	in.Place()
	var r Record
	for in.Next(&r) == nil {
		d.Stamp(r.Time)
	}
	return d
}

// A sort puts records in order.
type sort struct {
	within  time.Duration // none is later
	most    int           // octets wait
	waiting waiting
	octets  int
	epoch   int // of the clock
	newest  tcp.Time
	read    int      // records
	out     *waiter  // that is lent
	key     tcp.Time // of that, or of a later one before
	last    int      // the epoch of that
	free    []*waiter
	moved   int
	left    int   // out of order
	err     error // behind the records
}

// A waiter is a record that waits.
type waiter struct {
	Record
	epoch int
	key   tcp.Time // which place it belongs at
}

// waiting is a heap.
type waiting []*waiter

func (w waiting) Len() int      { return len(w) }
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)   { *w = append(*w, x.(*waiter)) }
func (w waiting) Less(i, j int) bool {
	a, b := w[i], w[j]
	switch {
	case a.epoch != b.epoch:
		return a.epoch < b.epoch
	case a.key != b.key:
		return a.key < b.key
	}
	return a.Number < b.Number
}

func (w *waiting) Pop() any {
	last := len(*w) - 1
	x := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return x
}

// Sort has Next return the records that are late, by no more than the Disorder says,
// where they belong, and number all. Those that are not stay in the order that they
// have. It keeps no more than 64 MiB.
func (in *Reader) Sort(d Disorder) { in.sort = &sort{within: d.By, most: MaxWaiting} }

// Sorted is how many records were returned in another place than they are at.
func (in *Reader) Sorted() int {
	if in.sort == nil {
		return 0
	}
	return in.sort.moved
}

// Unsorted is how many late records could not be put in order: too many octets waited.
func (in *Reader) Unsorted() int {
	if in.sort == nil {
		return 0
	}
	return in.sort.left
}

// next returns the next record in order.
func (s *sort) next(in *Reader, r *Record) error {
	if s.out != nil {
		s.free = append(s.free, s.out)
		s.out = nil
	}
	for s.err == nil && !s.ready() {
		s.take(in)
	}
	if len(s.waiting) == 0 {
		return s.err
	}
	w := heap.Pop(&s.waiting).(*waiter)
	s.octets -= cap(w.Data)
	if w.epoch > s.last {
		s.last, s.key = w.epoch, 0
	}
	s.key = max(s.key, w.key)
	s.out, *r = w, w.Record
	return nil
}

// ready reports whether nothing can come any more that belongs before what is first.
func (s *sort) ready() bool {
	if len(s.waiting) == 0 {
		return false
	}
	first := s.waiting[0]
	return first.epoch < s.epoch || s.newest.Sub(first.key) > s.within || s.octets > s.most
}

// take reads a record, and has it wait.
func (s *sort) take(in *Reader) {
	var r Record
	if s.err = in.read(&r); s.err != nil {
		return
	}
	s.read++
	var w *waiter
	if n := len(s.free) - 1; n >= 0 {
		w, s.free = s.free[n], s.free[:n]
	} else {
		w = new(waiter)
	}
	data := append(w.Data[:0], r.Data...)
	w.Record, w.Data = r, data
	w.Number = s.read
	by := s.newest.Sub(r.Time)
	switch {
	case r.Time == 0, by < LateBy:
		s.newest = max(s.newest, r.Time)
		w.key = s.newest
	case by > lateReach:
		s.epoch++
		s.newest, w.key = r.Time, r.Time
	default:
		if w.key = r.Time; s.last < s.epoch || s.key <= w.key {
			s.moved++
		} else {
			s.left++ // what belongs behind it could not wait
		}
	}
	w.epoch = s.epoch
	s.octets += cap(w.Data)
	heap.Push(&s.waiting, w)
}
