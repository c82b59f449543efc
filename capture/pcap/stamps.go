package pcap

import (
	"bytes"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A packet from the future, or from long ago, among others that are in order, has
// a wrong stamp: by a card that stamps packets itself, or by a program that made
// the file. Who goes by it has the clock of the capture run off, and never come
// back. It is told by the packets behind it, which are stamped as those before it.
// Where these are many, the clock was set, and that is no business of a reader.

const (
	// Misdates is by how much a stamp must differ from those before and behind it
	// to be wrong.
	Misdates = 10 * time.Second

	// So many packets in a row may be stamped wrong. Of more, the clock was set.
	misdatedRun = 2
)

// Misdated are the packets that were stamped wrong.
type Misdated struct {
	N     int
	First int           // the number of the first of them among the records
	By    time.Duration // by how much that is later than where it was placed
}

// Place has Next place packets that are stamped wrong beside their neighbours. For
// that it reads on where a packet comes long after the one before, or is the first.
func (in *Reader) Place() { in.places = true }

// Misdated returns which those were, so far.
func (in *Reader) Misdated() Misdated { return in.misdated }

// far reports whether the stamp of the next record is far from the one before, or
// there is none.
func (in *Reader) far(r *Record) bool {
	return uint64(r.Time-in.newest+tcp.Time(Misdates)) > uint64(2*Misdates)
}

// stamped looks at the stamp of the next record, if there was one.
func (in *Reader) stamped(r *Record, err error) error {
	if err != nil || !in.places {
		return err
	}
	in.records++
	if in.far(r) {
		in.place(r)
	}
	if r.Time != 0 {
		in.newest = r.Time
	}
	return nil
}

// place gives a record a time beside its neighbours if its stamp, which is far
// from the one before, is far from those behind it as well. Where nothing is before
// it, most of those behind it must agree.
func (in *Reader) place(r *Record) {
	if r.Time == 0 {
		return // it has no stamp
	}
	first := in.newest == 0
	to, wrong := in.newest, 0
	n := misdatedRun
	if first {
		n++
	}
	next := in.peek(r, n)
	for i := range next {
		at := next[i].Time
		ahead, back := r.Time.Sub(at) > Misdates, at.Sub(r.Time) > Misdates && r.Time < in.newest
		switch {
		case at == 0:
		case first && ahead:
			if wrong++; to == 0 {
				to = at
			}
		case !first && (ahead || back) && at.Sub(in.newest) >= -Misdates:
			wrong = len(next)
		}
	}
	if 2*wrong <= len(next) {
		return
	}
	if in.misdated.N++; in.misdated.N == 1 {
		in.misdated.First, in.misdated.By = in.records, r.Time.Sub(to)
	}
	r.Time = to
}

// early are records that were read before their turn.
type early struct {
	returned Record // by Unread: it is in the window still, because nothing was read since
	again    bool   // that is the next
	records  []Record
	err      error // behind them; nil: there may be more
}

// peek returns the n records behind r, or fewer if the capture ends before, and
// leaves them to be read. It keeps r.
func (in *Reader) peek(r *Record, n int) []Record {
	if in.early == nil {
		in.early = new(early)
	}
	e := in.early
	r.Data = bytes.Clone(r.Data)
	for len(e.records) < n && e.err == nil {
		var next Record
		if e.err = in.format.next(&next); e.err == nil {
			next.Data = bytes.Clone(next.Data)
			e.records = append(e.records, next)
		}
	}
	return e.records[:min(n, len(e.records))]
}

// nextEarly is Next where something was read before its turn.
func (in *Reader) nextEarly(r *Record) error {
	e := in.early
	switch {
	case e.again:
		*r, e.again = e.returned, false
		return nil
	case len(e.records) > 0:
		*r, e.records = e.records[0], e.records[1:]
	case e.err != nil:
		return e.err
	default:
		in.early = nil
		return in.read(r)
	}
	return in.stamped(r, nil)
}
