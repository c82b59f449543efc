package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/stalls"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Trouble in an open connection shows over several segments: the same octets
// again and again, probes without an answer, a window that stays closed. What
// the checks must remember of that is noted here, from unusual segments alone,
// since they may be forgotten when the outcome shows.

// StallsOf returns what is noted of the end, or nil.
func (o *rareState) StallsOf(e tcp.Endpoint) *stalls.OfEnd {
	if o == nil || o.stalls == nil {
		return nil
	}
	return &o.stalls[e]
}

// stallsFor is StallsOf for writing.
func (c *Conn) stallsFor(e tcp.Endpoint) *stalls.OfEnd {
	o := c.RareState()
	if o.stalls == nil {
		o.stalls = new([2]stalls.OfEnd)
	}
	return &o.stalls[e]
}

// keepStalls notes what an unusual segment tells, before it is taken in.
func (m *Machine) keepStalls(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, on triggers.Set) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if c.Provisional() || r.Foreign || !snd.Seen() || r.Stale {
		return
	}
	if on&triggers.OnWindow != 0 {
		m.keepWindow(c, s, from)
	}
	peer := c.Rare.StallsOf(from.Peer())
	repeats := r.Old && s.Data > 0 && s.Seq == snd.Una(rcv)
	switch {
	case peer != nil && rcv.Wnd == 0 && peer.Shut.Since != 0:
		if r.Keepalive || r.Old && s.Data > 0 || on&triggers.OnBeyond != 0 {
			peer.Shut.Probe(s, m.Now)
		}
	case r.Keepalive:
		if m.Now.Sub(snd.SentAt) >= stalls.KeepaliveRest && (s.Data == 0 || s.Flags&tcp.PSH == 0) && rcv.Wnd != 0 {
			m.keepProbe(c, s, from, r)
		}
	case repeats:
		m.keepCopy(c, s, from)
	case m.mayProbe(c, s, from):
		m.keepProbe(c, s, from, r)
	}
	if on&triggers.OnBeyond != 0 && s.Data > 1 && c.Bits&awaited == 0 {
		c.stallsFor(from).Beyond = stalls.Overshoot{At: m.Now, Seq: s.Seq, End: s.End(), Edge: rcv.Edge, Acked: rcv.Acked, Frame: s.Packet}
		c.Bits |= awaited
	} else if on&triggers.OnAwaited != 0 {
		m.settleOvershoot(c, s, from)
	}
	if on&triggers.OnWrap != 0 {
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
		c.stallsFor(from).Shut.Close(s, m.Now)
	case s.Wnd != 0 && old != nil && old.Shut.Since != 0 && old.Shut.Until == 0:
		old.Shut.Until, old.Shut.UntilFrame = m.Now, s.Packet
	}
}

// mayProbe reports whether s, in a connection picked up in the middle, of whose
// other end nothing was captured, is a keepalive or the answer to one: the very
// ACK that its sender sent last, after a rest. A RST with the number behind it
// then tells.
func (m *Machine) mayProbe(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return c.Origin() == tcp.FromMidstream && !rcv.Seen() && snd.Bytes == 0 && s.PureAck() &&
		s.Seq == snd.Nxt && s.Ack == snd.LastAck && s.Wnd == snd.Wnd && m.Now.Sub(snd.SentAt) >= stalls.KeepaliveRest
}

// keepProbe notes a keepalive probe.
func (m *Machine) keepProbe(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	p := &c.stallsFor(from).Probes
	if p.Copies > 0 && rcv.SentAt <= p.Last && snd.SentAt == p.Last {
		p.Again(s, m.Now)
		return
	}
	*p = stalls.Repeats{
		Seq: s.Seq, Copies: 1, First: m.Now, Last: m.Now,
		Heard: rcv.SentAt, Frames: [2]int{s.Packet, s.Packet}, HeardFrame: m.newestFrame(c, from.Peer()),
	}
	if !r.Keepalive { // the ACK before, which is the same, was the first
		p.First, p.Last, p.Frames = snd.SentAt, snd.SentAt, [2]int{m.newestFrame(c, from)}
		p.Again(s, m.Now)
	}
}

// keepCopy notes that the octets at SND.UNA were sent again.
func (m *Machine) keepCopy(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	rcv := &c.Ends[from.Peer()]
	w := &c.stallsFor(from).Data
	if w.Copies > 0 && w.Seq == s.Seq {
		w.Again(s, m.Now)
		return
	}
	*w = stalls.Repeats{Seq: s.Seq, Size: s.Data, Heard: rcv.SentAt, HeardFrame: m.newestFrame(c, from.Peer())}
	n := 0
	for g := range m.Recent.Back(c) {
		if n++; n > recent.LookBack {
			break
		}
		if g.From == from && g.Data > 0 && g.Seq.AtMost(s.Seq) && s.Seq.Before(g.End()) {
			w.Copies, w.First, w.Last, w.Frames = 1, g.At, g.At, [2]int{g.Packet, g.Packet}
			w.Again(s, m.Now)
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
		if n > recent.LookBack {
			break
		}
	}
	return 0
}

// settleOvershoot looks at what the receiver of an overshoot says. A segment
// that left it before the overshoot can have arrived says nothing.
func (m *Machine) settleOvershoot(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	tr := c.Rare.StallsOf(from.Peer())
	if tr == nil || tr.Beyond.At == 0 {
		if mine := c.Rare.StallsOf(from); mine != nil && m.Now.Sub(mine.Beyond.At) > stalls.OvershootMemory {
			mine.Beyond, c.Bits = stalls.Overshoot{}, c.Bits&^awaited
		}
		return
	}
	b, took := &tr.Beyond, m.Now.Sub(tr.Beyond.At)
	edge := s.Ack.Add(tcp.Size(s.Wnd) << snd.Scale(rcv))
	switch {
	case b.Answer != 0, took > stalls.OvershootMemory, b.Seq.Before(s.Ack), b.Seq.Before(edge):
		*b, c.Bits = stalls.Overshoot{}, c.Bits&^awaited
	case s.PureAck() && (snd.Respond == 0 || took >= snd.Response()):
		b.Answer = s.Packet
	}
}

// keepLap notes that the end's numbers came round to where they began.
func (m *Machine) keepLap(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd := &c.Ends[from]
	l := &c.stallsFor(from).Wrapped
	if l.At == 0 && snd.Has(endpoint.HasISS) {
		l.At = c.Start
		if syn, ok := c.Find(from, tcp.SndSYN); ok {
			l.At, l.Frame = syn.At, syn.Packet()
		}
	}
	l.Since, l.SinceFrame, l.At, l.Frame = l.At, l.Frame, m.Now, s.Packet
}

// keepICMP notes an ICMP error about octets of the end that are outstanding.
func (c *Conn) keepICMP(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	if !c.Provisional() && c.Ends[from].Seen() && s.Seq.Before(c.Ends[from].Nxt) {
		c.stallsFor(from).Quote(s, now)
	}
}
