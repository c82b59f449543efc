package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Trouble in an open connection shows over several segments: the same octets
// again and again, probes without an answer, a window that stays closed. What
// the checks must remember of that is noted here, from unusual segments alone,
// since the trail may have forgotten them when the outcome shows.

// trouble is what an end of a connection went through.
type trouble struct {
	data    repeats    // copies of the octets at SND.UNA
	probes  repeats    // keepalive probes
	shut    shutWindow // its own window, while it is closed
	beyond  overshoot  // what it sent beyond its peer's window
	icmp    icmpError
	wrapped lap
}

// repeats is what an end sent again and again.
type repeats struct {
	seq         tcp.Seq
	size        tcp.Size
	copies      int           // the first included
	first, last tcp.Time      // when the first and the last copy were captured
	gap         time.Duration // between the last two
	doublings   int           // how often in a row the gap has grown, or is as long as it gets
	heard       tcp.Time      // the peer's newest segment before the first
	frames      [2]int        // of the first and the last copy
	heardFrame  int           // 0: forgotten
}

const (
	// A gap between copies has grown if it is this many tenths of the one before.
	grownTenths = 15
	// longestRTO is where senders stop to double it: 64 s in 4.4BSD, 60 s as
	// RFC 6298 §2.5 allows, 120 s in Linux.
	longestRTO = 60 * time.Second
	// keepaliveRest is how long an end was silent before what is a keepalive
	// probe by its numbers. Nobody probes more often than once a second; an ACK
	// that the network held back comes sooner.
	keepaliveRest = 500 * time.Millisecond
	// lookBack bounds the search in the trail for an earlier segment.
	lookBack = 1 << 12
)

// again notes one more copy.
func (w *repeats) again(s *tcp.Segment, now tcp.Time) {
	gap := now.Sub(w.last)
	if w.gap != 0 && (gap*10 >= w.gap*grownTenths || gap >= longestRTO) {
		w.doublings++
	} else {
		w.doublings = 0
	}
	w.gap, w.last, w.frames[1] = gap, now, s.Packet
	w.copies++
}

// A shutWindow is a window of zero.
type shutWindow struct {
	since, until    tcp.Time // 0: never; still
	sinceFrame      int
	untilFrame      int
	probes          int
	asked, lastTime tcp.Time // the last probe but one, and the last
	gap             time.Duration
	frames          [2]int // of the first and the last probe
}

// An overshoot is data that was sent beyond the window, until the receiver's
// next segments show whether it took them.
type overshoot struct {
	at     tcp.Time // 0: none
	seq    tcp.Seq
	end    tcp.Seq
	edge   tcp.Seq
	acked  tcp.Seq
	frame  int
	answer int // the frame in which the receiver refused it; 0: not yet
}

// overshootMemory is how long an answer to an overshoot is waited for.
const overshootMemory = 3 * time.Second

// An icmpError is the newest ICMP error about segments of the end.
type icmpError struct {
	at    tcp.Time // 0: none
	frame int
	tcp.ICMP
}

// A lap is the end's way once round the sequence space.
type lap struct {
	since, at         tcp.Time // 0: not known
	sinceFrame, frame int
}

// trouble returns what is noted of the end, or nil.
func (o *oddments) troubleOf(e tcp.Endpoint) *trouble {
	if o == nil || o.trouble == nil {
		return nil
	}
	return &o.trouble[e]
}

// inTrouble is troubleOf for writing.
func (c *Conn) inTrouble(e tcp.Endpoint) *trouble {
	o := c.oddments()
	if o.trouble == nil {
		o.trouble = new([2]trouble)
	}
	return &o.trouble[e]
}

// keepTrouble notes what an unusual segment tells, before it is taken in.
func (t *Machine) keepTrouble(c *Conn, s *tcp.Segment, from tcp.Endpoint, r reading, on occasions) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if c.provisional() || r.foreign || !x.seen() || r.stale {
		return
	}
	if on&onWindow != 0 {
		t.keepWindow(c, s, from)
	}
	peer := c.odd.troubleOf(from.Peer())
	repeats := r.old && s.Data > 0 && s.Seq == x.una(y)
	switch {
	case peer != nil && y.wnd == 0 && peer.shut.since != 0:
		if r.keepalive || r.old && s.Data > 0 || on&onBeyond != 0 {
			peer.shut.probe(s, t.now)
		}
	case r.keepalive:
		if t.now.Sub(x.sentAt) >= keepaliveRest && (s.Data == 0 || s.Flags&tcp.PSH == 0) && y.wnd != 0 {
			t.keepProbe(c, s, from)
		}
	case repeats:
		t.keepCopy(c, s, from)
	}
	if on&onBeyond != 0 && s.Data > 1 && c.bits&watched == 0 {
		c.inTrouble(from).beyond = overshoot{at: t.now, seq: s.Seq, end: s.End(), edge: y.edge, acked: y.acked, frame: s.Packet}
		c.bits |= watched
	} else if on&onWatched != 0 {
		t.settleOvershoot(c, s, from)
	}
	if on&onWrap != 0 {
		t.keepLap(c, s, from)
	}
}

// keepWindow notes that the end's window closed, or opened.
func (t *Machine) keepWindow(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	if s.Flags&(tcp.SYN|tcp.FIN) != 0 {
		return // those of a SYN are not scaled, those of a FIN often without a meaning
	}
	old := c.odd.troubleOf(from)
	switch {
	case s.Wnd == 0 && (old == nil || old.shut.since == 0 || old.shut.until != 0):
		c.inTrouble(from).shut = shutWindow{since: t.now, sinceFrame: s.Packet}
	case s.Wnd != 0 && old != nil && old.shut.since != 0 && old.shut.until == 0:
		old.shut.until, old.shut.untilFrame = t.now, s.Packet
	}
}

// probe notes a probe of the window.
func (w *shutWindow) probe(s *tcp.Segment, now tcp.Time) {
	if w.probes > 0 {
		w.gap = now.Sub(w.lastTime)
	} else {
		w.frames[0] = s.Packet
	}
	w.probes++
	w.asked, w.lastTime, w.frames[1] = w.lastTime, now, s.Packet
}

// keepProbe notes a keepalive probe.
func (t *Machine) keepProbe(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	p := &c.inTrouble(from).probes
	if p.copies > 0 && y.sentAt <= p.last && x.sentAt == p.last {
		p.again(s, t.now)
		return
	}
	*p = repeats{
		seq: s.Seq, copies: 1, first: t.now, last: t.now,
		heard: y.sentAt, frames: [2]int{s.Packet, s.Packet}, heardFrame: t.newestFrame(c, from.Peer()),
	}
}

// keepCopy notes that the octets at SND.UNA were sent again.
func (t *Machine) keepCopy(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	y := &c.ends[from.Peer()]
	w := &c.inTrouble(from).data
	if w.copies > 0 && w.seq == s.Seq {
		w.again(s, t.now)
		return
	}
	*w = repeats{seq: s.Seq, size: s.Data, heard: y.sentAt, heardFrame: t.newestFrame(c, from.Peer())}
	n := 0
	for g := range t.trail.back(c) {
		if n++; n > lookBack {
			break
		}
		if g.from == from && g.data > 0 && g.seq.AtMost(s.Seq) && s.Seq.Before(g.end()) {
			w.copies, w.first, w.last, w.frames = 1, g.at, g.at, [2]int{g.packet, g.packet}
			w.again(s, t.now)
			return
		}
	}
	w.copies, w.first, w.last, w.frames = 1, t.now, t.now, [2]int{s.Packet, s.Packet}
}

// newestFrame returns the frame of the end's newest segment, or 0.
func (t *Machine) newestFrame(c *Conn, e tcp.Endpoint) int {
	n := 0
	for g := range t.trail.back(c) {
		if n++; g.from == e {
			return g.packet
		}
		if n > lookBack {
			break
		}
	}
	return 0
}

// settleOvershoot looks at what the receiver of an overshoot says. A segment
// that left it before the overshoot can have arrived says nothing.
func (t *Machine) settleOvershoot(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	tr := c.odd.troubleOf(from.Peer())
	if tr == nil || tr.beyond.at == 0 {
		if mine := c.odd.troubleOf(from); mine != nil && t.now.Sub(mine.beyond.at) > overshootMemory {
			mine.beyond, c.bits = overshoot{}, c.bits&^watched
		}
		return
	}
	b, took := &tr.beyond, t.now.Sub(tr.beyond.at)
	edge := s.Ack.Add(tcp.Size(s.Wnd) << x.scale(y))
	switch {
	case b.answer != 0, took > overshootMemory, b.seq.Before(s.Ack), b.seq.Before(edge):
		*b, c.bits = overshoot{}, c.bits&^watched
	case s.PureAck() && (x.respond == 0 || took >= x.response()):
		b.answer = s.Packet
	}
}

// keepLap notes that the end's numbers came round to where they began.
func (t *Machine) keepLap(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x := &c.ends[from]
	l := &c.inTrouble(from).wrapped
	if l.at == 0 && x.has(hasISS) {
		l.at = c.start
		if syn, ok := c.find(from, tcp.SndSYN); ok {
			l.at, l.frame = syn.at, syn.packet()
		}
	}
	l.since, l.sinceFrame, l.at, l.frame = l.at, l.frame, t.now, s.Packet
}

// keepICMP notes an ICMP error about octets of the end that are outstanding.
// One about others was not caused by the connection (RFC 5927 §4.1).
func (c *Conn) keepICMP(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if c.provisional() || !x.seen() || !s.ICMP.Unreachable() || s.Seq.Before(x.una(y)) || x.nxt.AtMost(s.Seq) {
		return
	}
	c.inTrouble(from).icmp = icmpError{at: now, frame: s.Packet, ICMP: s.ICMP}
}
