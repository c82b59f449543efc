package ladder

import (
	"fmt"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which segments did not arrive, as far as a ladder tells. A capture shows a
// segment pass, not arrive. Two things speak against it:
//
//   - its receiver shows that it had not got it: the tracker took a move back,
//     or a SACK acknowledges what came after it. Then it was lost, or was late.
//   - it was sent again, or nothing came in return. Then it was lost, or was
//     late, or its answer was.
//
// Only the first is drawn as lost. The second has a question mark. Captures of several
// places show themselves what came.

// fate is what became of a segment.
type fate int

const (
	arrived    fate = iota // nothing speaks against it
	missed                 // its receiver shows that it had not got it
	unanswered             // sent again, or without an answer
)

// An arrival is the fate of a rung.
type arrival struct {
	fate  fate
	by    int // the frame that tells; 0: the end of the capture
	why   string
	again bool // it was sent before
}

// A hole is octets that were not captured before those after them.
type hole struct {
	text string
	by   int // the frame that brings them; 0: none
}

// patience is after what time without an answer a segment is taken for
// unanswered when the capture ends: the first timeout of RFC 6298.
const patience = time.Second

// A sender is what fates knows of one side.
type sender struct {
	open    []int           // rungs that nothing has acknowledged
	ackedBy map[tcp.Seq]int // the rung that acknowledged the segment with that number
	endAt   map[tcp.Seq]int // the newest rung that ends there
	probe   int             // the rung of a keepalive without an answer, plus 1
	nxt     tcp.Seq         // after the highest octet seen
	known   bool            // nxt is
	holes   map[tcp.Seq]int // where gaps begin, with the rung that they stand before
}

// fates is what became of the rows of a ladder, as far as it is known yet.
type fates struct {
	ladder   *ladder
	arrivals []arrival     // of each row
	gaps     map[int]*hole // by the row that they stand before
	sides    [2]sender
}

// fates returns what became of the rows. The capture ends at last.
func (d *ladder) fates(last tcp.Time) *fates {
	f := &fates{ladder: d, arrivals: make([]arrival, len(d.rows)), gaps: make(map[int]*hole)}
	for i := range f.sides {
		f.sides[i] = sender{ackedBy: make(map[tcp.Seq]int), endAt: make(map[tcp.Seq]int), holes: make(map[tcp.Seq]int)}
	}
	for i := range d.rows {
		r := d.rows[i].rung
		if r == nil {
			f.forget()
			continue
		}
		f.refute(i)
		switch s := r.segment; {
		case s == nil || s.ICMP.Type != 0 || r.skipped != tcp.NotSkipped:
		case s.Leg == tcp.Passing:
			f.segment(i)
		case s.Twin != nil && s.Twin.Fate == tcp.FateLost:
			f.set(i, missed, 0, "lost between the captures")
		}
	}
	for k := range f.sides {
		for _, i := range append(f.sides[k].open, f.sides[k].probe-1) {
			if i >= 0 && last.Sub(d.rows[i].at) >= patience {
				f.set(i, unanswered, 0, "no answer before the capture ends")
			}
		}
	}
	return f
}

// set says what became of row i. What is known of it already stays, unless it
// was less certain.
func (f *fates) set(i int, to fate, by int, why string) {
	if a := &f.arrivals[i]; a.fate == arrived || to == missed && a.fate == unanswered {
		a.fate, a.by, a.why = to, by, why
	}
}

// forget takes what is folded here for unknown.
func (f *fates) forget() {
	for k := range f.sides {
		s := &f.sides[k]
		s.open, s.known, s.probe = nil, false, 0
		clear(s.ackedBy)
		clear(s.endAt)
	}
}

// segment takes row i, a segment.
func (f *fates) segment(i int) {
	r := f.ladder.rows[i].rung
	s, own, peer := r.segment, &f.sides[r.side], &f.sides[1-r.side]
	peer.probe = 0
	if s.Flags&tcp.ACK != 0 {
		f.answer(i, peer)
	}
	switch {
	case s.Flags&tcp.RST != 0:
		f.unheard(own, r.packet)
		own.open, peer.open, own.probe = nil, nil, 0
	case own.probes(s):
		f.unheard(own, r.packet)
		own.probe = i + 1
	case s.Len() > 0:
		f.sent(i, own)
	}
}

// probes reports whether a segment is a keepalive.
func (o *sender) probes(s *tcp.Segment) bool {
	return s.Flags&^tcp.PSH == tcp.ACK && s.Data <= 1 && o.known && s.Seq+1 == o.nxt
}

// unheard takes the keepalive of a side, if there is one, for unanswered, since
// the side sends that frame.
func (f *fates) unheard(own *sender, packet int) {
	if own.probe > 0 {
		f.set(own.probe-1, unanswered, packet, fmt.Sprintf("no answer before #%d", packet))
	}
}

// sent takes row i, which has sequence numbers, as sent.
func (f *fates) sent(i int, own *sender) {
	s, packet := f.ladder.rows[i].segment, f.ladder.rows[i].packet
	f.arrivals[i].again = f.resent(i, own)
	if own.known && own.nxt.Before(s.Seq) && s.Flags&tcp.SYN == 0 {
		own.holes[own.nxt] = i
		f.gaps[i] = &hole{text: text.Plural(uint64(s.Seq.Minus(own.nxt)), "byte", "bytes") + " before this not captured"}
	}
	if at, hole := own.holes[s.Seq]; hole && at != i {
		f.gaps[at].by = packet
		delete(own.holes, s.Seq)
	}
	if !own.known || own.nxt.Before(s.End()) {
		own.nxt, own.known = s.End(), true
	}
	own.open, own.endAt[s.End()] = append(own.open, i), i
}

// refute looks for the segments whose arrival the tracker takes back at row i.
func (f *fates) refute(i int) {
	d := f.ladder
	r := d.rows[i].rung
	for k := range r.events {
		e := &r.events[k]
		if e.Kind != tracker.EventTransition || !e.Refuted || e.Packet == 0 || !e.Inputs.First().Received() || e.Inputs.Has(tcp.RcvRST) || e.Inputs.Has(tcp.RcvRSTPassive) {
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if d.rows[j].rung != nil && d.rows[j].moved(e.Conn, e.End, e.Inputs) {
				f.set(j, missed, e.Packet, fmt.Sprintf("had not arrived by #%d", e.Packet))
				break
			}
		}
	}
}

// moved reports whether that is how the rung moved that end.
func (r *rung) moved(conn int, end tcp.Endpoint, ins tcp.InputSet) bool {
	for k := range r.events {
		if e := &r.events[k]; e.Kind == tracker.EventTransition && e.Conn == conn && e.End == end && e.Inputs == ins && !e.Refuted {
			return true
		}
	}
	return false
}

// answer takes row i as an ACK of what the peer of its sender sent.
func (f *fates) answer(i int, peer *sender) {
	d := f.ladder
	s := d.rows[i].segment
	still := peer.open[:0]
	for _, j := range peer.open {
		o := d.rows[j].segment
		acked := o.End().AtMost(s.Ack)
		for _, b := range s.Options.SACK[:s.Options.NumSACK] {
			if b.Left.AtMost(s.Ack) {
				continue // it tells of what arrived twice (RFC 2883)
			}
			if b.Left.AtMost(o.Seq) && o.End().AtMost(b.Right) {
				acked = true
			} else if o.End().AtMost(b.Left) && s.Ack.AtMost(o.Seq) && peer.endAt[b.Right] > j { // what was sent later is there
				f.set(j, missed, d.rows[i].packet, fmt.Sprintf("#%d acknowledges later data", d.rows[i].packet))
			}
		}
		if acked {
			peer.ackedBy[o.Seq] = i
			continue
		}
		still = append(still, j)
	}
	peer.open = still
}

// resent reports whether row i was sent before, and what that says of the
// segment, or of its ACK.
func (f *fates) resent(i int, own *sender) bool {
	d := f.ladder
	s, packet := d.rows[i].segment, d.rows[i].packet
	again := false
	still := own.open[:0]
	for _, j := range own.open {
		o := d.rows[j].segment
		if s.Seq.AtMost(o.Seq) && o.End().AtMost(s.End()) {
			f.set(j, unanswered, packet, fmt.Sprintf("retransmitted as #%d before an answer was seen", packet))
			again = true
			continue
		}
		still = append(still, j)
	}
	own.open = still
	if j, acked := own.ackedBy[s.Seq]; acked && !again {
		again = true
		if d.rows[i].at.Sub(d.rows[j].at) > d.records[0].HandshakeRTT {
			f.set(j, unanswered, packet, fmt.Sprintf("#%d was retransmitted although this acknowledges it", packet))
		}
	}
	return again
}
