package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Trouble in an open connection shows over several segments: the same octets
// again and again, probes without an answer, a window that stays closed. What
// the checks must remember of that is noted here, from unusual segments alone,
// since they may be forgotten when the outcome shows.

// stalls is what an end of a connection went through.
type stalls struct {
	Data    repeats    // copies of the octets at SND.UNA
	Probes  repeats    // keepalive probes
	Shut    shutWindow // its own window, while it is closed
	Beyond  overshoot  // what it sent beyond its peer's window
	ICMP    icmpError
	Wrapped lap
}

// repeats is what an end sent again and again.
type repeats struct {
	Seq         tcp.Seq
	Size        tcp.Size
	Copies      int           // the first included
	First, Last tcp.Time      // when the first and the last copy were captured
	Gap         time.Duration // between the last two
	Doublings   int           // how often in a row the gap has grown, or is as long as it gets
	Heard       tcp.Time      // the peer's newest segment before the first
	Frames      [2]int        // of the first and the last copy
	HeardFrame  int           // 0: forgotten
}

const (
	// A gap between copies has grown if it is this many tenths of the one before.
	GrownTenths = 15
	// LongestRTO is where senders stop to double it: 64 s in 4.4BSD, 60 s as
	// RFC 6298 §2.5 allows, 120 s in Linux.
	LongestRTO = 60 * time.Second
	// KeepaliveRest is how long an end was silent before what is a keepalive
	// probe by its numbers. Nobody probes more often than once a second; an ACK
	// that the network held back comes sooner.
	KeepaliveRest = 500 * time.Millisecond
)

// again notes one more copy.
func (w *repeats) again(s *tcp.Segment, now tcp.Time) {
	gap := now.Sub(w.Last)
	if w.Gap != 0 && (gap*10 >= w.Gap*GrownTenths || gap >= LongestRTO) {
		w.Doublings++
	} else {
		w.Doublings = 0
	}
	w.Gap, w.Last, w.Frames[1] = gap, now, s.Packet
	w.Copies++
}

// A shutWindow is a window of zero.
type shutWindow struct {
	Since, Until    tcp.Time // 0: never; still
	SinceFrame      int
	UntilFrame      int
	Probes          int
	Asked, LastTime tcp.Time // the last probe but one, and the last
	Gap             time.Duration
	Frames          [2]int // of the first and the last probe
}

// An overshoot is data that was sent beyond the window, until the receiver's
// next segments show whether it took them.
type overshoot struct {
	At     tcp.Time // 0: none
	Seq    tcp.Seq
	End    tcp.Seq
	Edge   tcp.Seq
	Acked  tcp.Seq
	Frame  int
	Answer int // the frame in which the receiver refused it; 0: not yet
}

// OvershootMemory is how long an answer to an overshoot is waited for.
const OvershootMemory = 3 * time.Second

// An icmpError is the newest ICMP error about segments of the end.
type icmpError struct {
	At    tcp.Time // 0: none
	Frame int
	tcp.ICMP
}

// A lap is the end's way once round the sequence space.
type lap struct {
	Since, At         tcp.Time // 0: not known
	SinceFrame, Frame int
}

// StallsOf returns what is noted of the end, or nil.
func (o *rareState) StallsOf(e tcp.Endpoint) *stalls {
	if o == nil || o.stalls == nil {
		return nil
	}
	return &o.stalls[e]
}

// stallsFor is StallsOf for writing.
func (c *Conn) stallsFor(e tcp.Endpoint) *stalls {
	o := c.RareState()
	if o.stalls == nil {
		o.stalls = new([2]stalls)
	}
	return &o.stalls[e]
}

// keepStalls notes what an unusual segment tells, before it is taken in.
func (m *Machine) keepStalls(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading, on Triggers) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	if c.Provisional() || r.Foreign || !x.Seen() || r.Stale {
		return
	}
	if on&OnWindow != 0 {
		m.keepWindow(c, s, from)
	}
	peer := c.Rare.StallsOf(from.Peer())
	repeats := r.Old && s.Data > 0 && s.Seq == x.Una(y)
	switch {
	case peer != nil && y.Wnd == 0 && peer.Shut.Since != 0:
		if r.Keepalive || r.Old && s.Data > 0 || on&OnBeyond != 0 {
			peer.Shut.probe(s, m.Now)
		}
	case r.Keepalive:
		if m.Now.Sub(x.SentAt) >= KeepaliveRest && (s.Data == 0 || s.Flags&tcp.PSH == 0) && y.Wnd != 0 {
			m.keepProbe(c, s, from, r)
		}
	case repeats:
		m.keepCopy(c, s, from)
	case m.mayProbe(c, s, from):
		m.keepProbe(c, s, from, r)
	}
	if on&OnBeyond != 0 && s.Data > 1 && c.Bits&awaited == 0 {
		c.stallsFor(from).Beyond = overshoot{At: m.Now, Seq: s.Seq, End: s.End(), Edge: y.Edge, Acked: y.Acked, Frame: s.Packet}
		c.Bits |= awaited
	} else if on&OnAwaited != 0 {
		m.settleOvershoot(c, s, from)
	}
	if on&OnWrap != 0 {
		m.keepLap(c, s, from)
	}
}

// keepWindow notes that the end's window closed, or opened.
func (m *Machine) keepWindow(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	if s.Flags&(tcp.SYN|tcp.FIN) != 0 {
		return // those of a SYN are not scaled, those of a FIN often without a meaning
	}
	old := c.Rare.StallsOf(from)
	switch {
	case s.Wnd == 0 && (old == nil || old.Shut.Since == 0 || old.Shut.Until != 0):
		c.stallsFor(from).Shut = shutWindow{Since: m.Now, SinceFrame: s.Packet}
	case s.Wnd != 0 && old != nil && old.Shut.Since != 0 && old.Shut.Until == 0:
		old.Shut.Until, old.Shut.UntilFrame = m.Now, s.Packet
	}
}

// probe notes a probe of the window.
func (w *shutWindow) probe(s *tcp.Segment, now tcp.Time) {
	if w.Probes > 0 {
		w.Gap = now.Sub(w.LastTime)
	} else {
		w.Frames[0] = s.Packet
	}
	w.Probes++
	w.Asked, w.LastTime, w.Frames[1] = w.LastTime, now, s.Packet
}

// keepProbe notes a keepalive probe.
func (m *Machine) keepProbe(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	p := &c.stallsFor(from).Probes
	if p.Copies > 0 && y.SentAt <= p.Last && x.SentAt == p.Last {
		p.again(s, m.Now)
		return
	}
	*p = repeats{
		Seq: s.Seq, Copies: 1, First: m.Now, Last: m.Now,
		Heard: y.SentAt, Frames: [2]int{s.Packet, s.Packet}, HeardFrame: m.newestFrame(c, from.Peer()),
	}
	if !r.Keepalive { // the ACK before, which is the same, was the first
		p.First, p.Last, p.Frames = x.SentAt, x.SentAt, [2]int{m.newestFrame(c, from)}
		p.again(s, m.Now)
	}
}

// keepCopy notes that the octets at SND.UNA were sent again.
func (m *Machine) keepCopy(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	y := &c.Ends[from.Peer()]
	w := &c.stallsFor(from).Data
	if w.Copies > 0 && w.Seq == s.Seq {
		w.again(s, m.Now)
		return
	}
	*w = repeats{Seq: s.Seq, Size: s.Data, Heard: y.SentAt, HeardFrame: m.newestFrame(c, from.Peer())}
	n := 0
	for g := range m.Recent.Back(c) {
		if n++; n > LookBack {
			break
		}
		if g.From == from && g.Data > 0 && g.Seq.AtMost(s.Seq) && s.Seq.Before(g.End()) {
			w.Copies, w.First, w.Last, w.Frames = 1, g.At, g.At, [2]int{g.Packet, g.Packet}
			w.again(s, m.Now)
			return
		}
	}
	w.Copies, w.First, w.Last, w.Frames = 1, m.Now, m.Now, [2]int{s.Packet, s.Packet}
}

// newestFrame returns the frame of the end's newest segment, or 0.
func (m *Machine) newestFrame(c *Conn, e tcp.Endpoint) int {
	n := 0
	for g := range m.Recent.Back(c) {
		if n++; g.From == e {
			return g.Packet
		}
		if n > LookBack {
			break
		}
	}
	return 0
}

// settleOvershoot looks at what the receiver of an overshoot says. A segment
// that left it before the overshoot can have arrived says nothing.
func (m *Machine) settleOvershoot(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	tr := c.Rare.StallsOf(from.Peer())
	if tr == nil || tr.Beyond.At == 0 {
		if mine := c.Rare.StallsOf(from); mine != nil && m.Now.Sub(mine.Beyond.At) > OvershootMemory {
			mine.Beyond, c.Bits = overshoot{}, c.Bits&^awaited
		}
		return
	}
	b, took := &tr.Beyond, m.Now.Sub(tr.Beyond.At)
	edge := s.Ack.Add(tcp.Size(s.Wnd) << x.Scale(y))
	switch {
	case b.Answer != 0, took > OvershootMemory, b.Seq.Before(s.Ack), b.Seq.Before(edge):
		*b, c.Bits = overshoot{}, c.Bits&^awaited
	case s.PureAck() && (x.Respond == 0 || took >= x.Response()):
		b.Answer = s.Packet
	}
}

// keepLap notes that the end's numbers came round to where they began.
func (m *Machine) keepLap(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x := &c.Ends[from]
	l := &c.stallsFor(from).Wrapped
	if l.At == 0 && x.Has(HasISS) {
		l.At = c.Start
		if syn, ok := c.Find(from, tcp.SndSYN); ok {
			l.At, l.Frame = syn.At, syn.Packet()
		}
	}
	l.Since, l.SinceFrame, l.At, l.Frame = l.At, l.Frame, m.Now, s.Packet
}

// keepICMP notes an ICMP error about octets of the end that are outstanding. That
// a segment is too large does not displace that nobody can be reached.
func (c *Conn) keepICMP(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	if c.Provisional() || !c.Ends[from].Seen() || c.Ends[from].Nxt.AtMost(s.Seq) {
		return
	}
	if k := c.stallsFor(from); k.ICMP.At == 0 || s.ICMP.Unreachable() {
		k.ICMP = icmpError{At: now, Frame: s.Packet, ICMP: s.ICMP}
	}
}
