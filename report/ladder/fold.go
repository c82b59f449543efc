package ladder

import (
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A stretch is a run of segments in an open connection that moved nothing and
// raised nothing. Its first and last few are drawn, the rest is told in one
// line:
//
//	... 1204 segments, 1.6 MB, 3 retransmitted/late ...

const (
	stretchFirst = 3 // are drawn at its beginning
	stretchLast  = 2 // and at its end
	stretchLeast = 4 // fewer than that are not worth a fold
)

// stretch is the run that a ladder is in.
type stretch struct {
	n    int         // segments, folded or not
	tail []ladderRow // its newest, not drawn yet
	fold *folded
	nxt  [2]tcp.Seq // after the highest octet seen of either side
	have [2]bool
}

// folded is what a fold tells of what it hides.
type folded struct {
	segments, repeated, unread int // unread: ignored
	octets                     uint64
}

// A ladderRow is a line of a ladder: a rung, or a fold.
type ladderRow struct {
	*rung
	repeat bool // it ends no further than what was seen before
	fold   *folded
}

// add puts a rung on the ladder. With all nothing is folded.
func (d *ladder) add(r *rung, all bool) {
	w := ladderRow{rung: r}
	if s := r.segment; s != nil {
		w.repeat = d.repeats(r)
		d.sight(r.side, s.Seq)
		if s.Flags&tcp.ACK != 0 {
			d.sight(1-r.side, s.Ack)
		}
	}
	folds := !all && d.folds(r)
	d.last = lastRung{r, r.cells}
	if !folds {
		d.unfold()
		d.rows = append(d.rows, w)
		return
	}
	k := &d.run
	k.n++
	if k.n <= stretchFirst {
		d.rows = append(d.rows, w)
		return
	}
	k.tail = append(k.tail, w)
	switch {
	case k.fold != nil:
		k.hide(1)
	case len(k.tail) == stretchLast+stretchLeast:
		k.fold = new(folded)
		k.hide(stretchLeast)
	}
}

// sight notes a sequence number of a side; the first is what the others are
// relative to, where no SYN told.
func (d *ladder) sight(side int, seq tcp.Seq) {
	if !d.based[side] {
		d.base[side], d.based[side] = seq, true
	}
}

// repeats reports whether a segment ends no further than what was seen before:
// it was sent again, or overtaken on the way.
func (d *ladder) repeats(r *rung) bool {
	s, k := r.segment, &d.run
	if s.Len() == 0 || s.ICMP.Type != 0 || r.skipped != tcp.NotSkipped {
		return false
	}
	old := k.have[r.side] && s.End().AtMost(k.nxt[r.side])
	if !old {
		k.have[r.side], k.nxt[r.side] = true, s.End()
	}
	return old && !(s.Data <= 1 && s.End() == k.nxt[r.side]) // that would be a keepalive
}

// folds reports whether a rung may be folded.
func (d *ladder) folds(r *rung) bool {
	s := r.segment
	if s == nil || s.ICMP.Type != 0 || s.Flags&(tcp.SYN|tcp.FIN|tcp.RST) != 0 || len(r.events) > 0 {
		return false
	}
	if d.count+len(d.rows) == 0 || d.last.cells != r.cells {
		return false
	}
	return r.cells[0].State >= tcp.Established && r.cells[1].State >= tcp.Established
}

// hide moves the oldest of the tail into the fold.
func (k *stretch) hide(n int) {
	for _, w := range k.tail[:n] {
		k.fold.add(w)
	}
	k.tail = append(k.tail[:0], k.tail[n:]...)
}

// add hides one more row, which may be a fold itself.
func (f *folded) add(w ladderRow) {
	switch {
	case w.fold == f:
	case w.fold != nil:
		f.segments, f.repeated = f.segments+w.fold.segments, f.repeated+w.fold.repeated
		f.unread, f.octets = f.unread+w.fold.unread, f.octets+w.fold.octets
	case w.segment == nil: // a timer
	case w.skipped != tcp.NotSkipped:
		f.segments, f.unread = f.segments+1, f.unread+1
	default:
		f.segments++
		if w.repeat {
			f.repeated++
		}
		f.octets += uint64(w.segment.Data)
	}
}

// unfold ends the stretch that the ladder is in.
func (d *ladder) unfold() {
	k := &d.run
	if k.fold != nil {
		d.rows = append(d.rows, ladderRow{fold: k.fold})
	}
	d.rows = append(d.rows, k.tail...)
	k.n, k.tail, k.fold = 0, nil, nil
}

// String tells what is folded.
func (f *folded) String() string {
	parts := []string{text.Thousands(uint64(f.segments)) + " segments"}
	if f.segments == 1 {
		parts[0] = "1 segment"
	}
	if f.octets > 0 {
		parts = append(parts, text.Octets(f.octets))
	}
	if f.repeated > 0 {
		parts = append(parts, text.Thousands(uint64(f.repeated))+" retransmitted/late")
	}
	if f.unread > 0 {
		parts = append(parts, text.Thousands(uint64(f.unread))+" ignored")
	}
	return "... " + strings.Join(parts, ", ") + " ..."
}

// nearBefore and nearAfter are how many rows before and after a frame are near.
const (
	nearBefore = 8
	nearAfter  = 4
)

// crop folds what is not near one of the frames, of the rows before until. Of the
// rest nothing is known yet.
func (d *ladder) crop(frames []int, until int) {
	if len(frames) == 0 {
		return
	}
	keep := make([]bool, len(d.rows))
	for i, w := range d.rows {
		if w.rung == nil || w.segment == nil || !slices.Contains(frames, w.packet) {
			continue
		}
		d.cropped = true
		for k := max(i-nearBefore, 0); k <= min(i+nearAfter, len(d.rows)-1); k++ {
			keep[k] = true
		}
	}
	if !d.cropped && until == len(d.rows) {
		return
	}
	var rows []ladderRow
	var fold *folded
	for i, w := range d.rows[:until] {
		if keep[i] {
			rows, fold = append(rows, w), nil
			continue
		}
		if fold == nil {
			fold = new(folded)
			rows = append(rows, ladderRow{fold: fold})
		}
		fold.add(w)
	}
	d.rows = append(rows, d.rows[until:]...)
}

// shorten folds rows where there are too many to be kept as they came.
func (d *ladder) shorten(o *Options) {
	n := len(d.rows)
	switch {
	case o.Most == 0 || n < o.Most:
	case len(o.Around) > 0:
		d.crop(o.Around, n-o.Most/2)
	default:
		d.foldBetween(n/4, 3*n/4)
	}
}

// foldBetween folds some of the rows.
func (d *ladder) foldBetween(from, until int) {
	fold := new(folded)
	for _, w := range d.rows[from:until] {
		fold.add(w)
	}
	d.rows = slices.Replace(d.rows, from, until, ladderRow{fold: fold})
}
