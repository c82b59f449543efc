package report

import (
	"fmt"
	"time"

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
// Only the first is drawn as lost. The second has a question mark.

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

// fates returns what became of each row, and the gaps, by the row that they
// stand before. The capture ends at last.
func (d *ladder) fates(last tcp.Time) ([]arrival, map[int]*hole) {
	fates, gaps := make([]arrival, len(d.rows)), make(map[int]*hole)
	var sides [2]sender
	for i := range sides {
		sides[i] = sender{ackedBy: make(map[tcp.Seq]int), endAt: make(map[tcp.Seq]int), holes: make(map[tcp.Seq]int)}
	}
	set := func(i int, f fate, by int, why string) {
		if fates[i].fate == arrived || f == missed && fates[i].fate == unanswered {
			fates[i].fate, fates[i].by, fates[i].why = f, by, why
		}
	}
	for i := range d.rows {
		r := d.rows[i].rung
		if r == nil { // what is folded is not known
			for k := range sides {
				sides[k].open, sides[k].known, sides[k].probe = nil, false, 0
				clear(sides[k].ackedBy)
				clear(sides[k].endAt)
			}
			continue
		}
		d.refute(i, set)
		s := r.segment
		if s == nil || s.ICMP.Type != 0 || r.remark != "" {
			continue
		}
		own, peer := &sides[r.side], &sides[1-r.side]
		peer.probe = 0
		if s.Flags&tcp.ACK != 0 {
			d.answer(i, peer, set)
		}
		if s.Flags&tcp.RST != 0 {
			if own.probe > 0 {
				set(own.probe-1, unanswered, r.packet, fmt.Sprintf("nothing came in return before #%d", r.packet))
			}
			own.open, peer.open, own.probe = nil, nil, 0
			continue
		}
		probe := s.Flags&^(tcp.PSH) == tcp.ACK && s.Data <= 1 && own.known && s.Seq+1 == own.nxt
		if probe {
			if own.probe > 0 {
				set(own.probe-1, unanswered, r.packet, fmt.Sprintf("nothing came in return before #%d", r.packet))
			}
			own.probe = i + 1
			continue
		}
		if s.Len() == 0 {
			continue
		}
		fates[i].again = d.resent(i, own, set)
		if own.known && own.nxt.Before(s.Seq) && s.Flags&tcp.SYN == 0 {
			own.holes[own.nxt] = i
			gaps[i] = &hole{text: plural(uint64(s.Seq.Minus(own.nxt)), "octet", "octets") + " not captured before this"}
		}
		if at, hole := own.holes[s.Seq]; hole && at != i {
			gaps[at].by = r.packet
			delete(own.holes, s.Seq)
		}
		if !own.known || own.nxt.Before(s.End()) {
			own.nxt, own.known = s.End(), true
		}
		own.open, own.endAt[s.End()] = append(own.open, i), i
	}
	for k := range sides {
		for _, i := range append(sides[k].open, sides[k].probe-1) {
			if i >= 0 && last.Sub(d.rows[i].at) >= patience {
				set(i, unanswered, 0, "no answer until the capture ends")
			}
		}
	}
	return fates, gaps
}

// refute looks for the segments whose arrival the tracker takes back at row i.
func (d *ladder) refute(i int, set func(int, fate, int, string)) {
	r := d.rows[i].rung
	for k := range r.events {
		e := &r.events[k]
		if e.Kind != tracker.EventTransition || !e.Refuted || e.Packet == 0 || !e.Inputs.First().Received() || e.Inputs.Has(tcp.RcvRST) || e.Inputs.Has(tcp.RcvRSTPassive) {
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if d.rows[j].rung != nil && d.rows[j].moved(e.Conn, e.End, e.Inputs) {
				set(j, missed, e.Packet, fmt.Sprintf("had not arrived by #%d", e.Packet))
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
func (d *ladder) answer(i int, peer *sender, set func(int, fate, int, string)) {
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
				set(j, missed, d.rows[i].packet, fmt.Sprintf("#%d acknowledges what was sent later", d.rows[i].packet))
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
func (d *ladder) resent(i int, own *sender, set func(int, fate, int, string)) bool {
	s, packet := d.rows[i].segment, d.rows[i].packet
	again := false
	still := own.open[:0]
	for _, j := range own.open {
		o := d.rows[j].segment
		if s.Seq.AtMost(o.Seq) && o.End().AtMost(s.End()) {
			set(j, unanswered, packet, fmt.Sprintf("sent again as #%d before an answer was seen", packet))
			again = true
			continue
		}
		still = append(still, j)
	}
	own.open = still
	if j, acked := own.ackedBy[s.Seq]; acked && !again {
		again = true
		if d.rows[i].at.Sub(d.rows[j].at) > d.records[0].HandshakeRTT {
			set(j, unanswered, packet, fmt.Sprintf("#%d was sent again although this acknowledges it", packet))
		}
	}
	return again
}
