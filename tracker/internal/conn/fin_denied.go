package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What follows a FIN tells whether its alleged sender sent it. Behind its FIN an
// end sends no other octet with that number, no new ACK with a number before it,
// and no other FIN before it. Who received the FIN may have taken it all the same,
// and then stays in CLOSE-WAIT.

// A deniedFIN is one that its alleged sender does not seem to have sent.
type deniedFIN struct {
	packet int // 0: there is none
	by     int // the frame that denies it
	seq    tcp.Seq
	sure   bool // more than one segment says so
}

// DeniedFIN returns the frame of the FIN, alleged to be of the end, that the end
// does not seem to have sent, and of what denies it; 0 if there is none.
func (c *Conn) DeniedFIN(e tcp.Endpoint) (fin, by int) {
	if c.Rare == nil || c.Rare.denied == nil {
		return 0, 0
	}
	d := &c.Rare.denied[e]
	return d.packet, d.by
}

// probesAfter is how long an end must have heard nothing at least to send a
// keepalive. That has the number of the FIN, too.
const probesAfter = time.Second

// finInputs are the inputs by which its own FIN moves an end.
const finInputs = tcp.InputSet(1<<tcp.SndFIN | 1<<tcp.RcvAckOfFIN | 1<<tcp.Timeout2MSL | 1<<tcp.GiveUp)

// weighFINs looks what s tells of FINs that are believed, not believed any more, or
// held, and reports whether that may change what s itself is.
func (m *Machine) weighFINs(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, v gate.Verdict) bool {
	anew := m.weighFIN(c, s, from, r, v)
	if c.Bits&holding == 0 || v.Unsent {
		return anew
	}
	m.settleHeld(c, s, from, r)
	return true
}

// weighFIN looks what s tells of the FINs of both ends, and reports whether one is
// believed no longer, or again.
func (m *Machine) weighFIN(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, v gate.Verdict) bool {
	if s.Flags&(tcp.SYN|tcp.RST|tcp.ACK) != tcp.ACK || r.Foreign || v.Is == gate.Refused || c.StaleOf(from).Packet == s.Packet {
		return false
	}
	if c.Rare != nil && c.Rare.denied != nil {
		m.tookDenied(c, s, from)
	}
	if v.Is != gate.Accepted {
		return false
	}
	if c.Rare != nil && c.Rare.denied != nil && m.returnsToFIN(c, s, from, r) {
		return true
	}
	snd, peer := &c.Ends[from], from.Peer()
	switch {
	case snd.Has(endpoint.HasFIN) && c.deniesFIN(s, from, r, m.Now) && !m.wentOn(c, from):
		m.denyFIN(c, s, from, false)
		m.takeLaterFIN(c, from)
	case c.Ends[peer].Has(endpoint.HasFIN) && c.Ends[peer].FIN.Add(1).Before(s.Ack) && s.Ack.AtMost(c.Ends[peer].Nxt):
		m.denyFIN(c, s, peer, true) // octets behind it were sent, and taken
		m.tookDenied(c, s, from)
		m.takeLaterFIN(c, peer)
	default:
		return false
	}
	return true
}

// takeLaterFIN has the newest FIN that was captured of the end count, behind the one
// that is denied, which it was taken for a copy of.
func (m *Machine) takeLaterFIN(c *Conn, e tcp.Endpoint) {
	for g := range m.Recent.Back(c) {
		if g.From == e && g.Flags&tcp.FIN != 0 && g.Is&recent.WasForeign == 0 && c.Rare.denied[e].seq.Before(g.End()-1) && g.End() == c.Ends[e].Nxt {
			fin := g.Sent(m.Now)
			m.takeLate(c, &fin, e)
			return
		}
	}
}

// deniesFIN reports whether s, of the end that a FIN is alleged to be of, is none
// that it would send behind that.
func (c *Conn) deniesFIN(s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	heard := now.Sub(rcv.SentAt) < probesAfter
	switch {
	case s.Data > 0 && snd.FIN.In(s.Seq, s.Seq.Add(s.Data)):
		return heard || !r.Keepalive
	case s.Flags&tcp.FIN != 0:
		return (c.HolesOf(from).Has(s.End()-1) || c.doubtful(from, s.End()-1)) && s.End().AtMost(snd.FIN) && !snd.FIN.Before(rcv.Acked)
	case s.Seq == snd.FIN && rcv.Has(endpoint.HasFIN):
		return false // some stacks do not count their FIN in the last ACK
	case s.Data > 0 || snd.FIN.Before(s.Seq) || s.Seq.Before(rcv.Acked) && s.Seq != snd.FIN || s.Ack.Before(snd.Acked) || rcv.Nxt.Before(s.Ack):
		return false
	case snd.Acked.Before(s.Ack):
		return snd.FIN.AtMost(rcv.Edge) && rcv.Wnd != 0 // with a window that was withdrawn, Linux sends from the edge of that
	}
	// It acknowledges nothing new: it must have been sent later, and no keepalive.
	fin, ok := c.Find(from, tcp.SndFIN)
	return ok && s.Seq == snd.FIN && heard && !r.Stale && (s.ID != 0 || s.Options.HasTS) && now.Sub(fin.At) > snd.InFlight()
}

// wentOn reports whether the end sent its FIN again, or what follows it: then it
// is the other segment that somebody else sent.
func (m *Machine) wentOn(c *Conn, e tcp.Endpoint) bool {
	fin, _ := c.Find(e, tcp.SndFIN)
	next, n := c.Ends[e].FIN.Add(1), 0
	for g := range m.Recent.Back(c) {
		if n++; n > MaxLookBack || g.Packet <= fin.Packet() {
			break
		}
		own := g.From == e && g.Flags&(tcp.SYN|tcp.RST) == 0 && g.Is&recent.WasForeign == 0
		if own && (g.Seq == next || g.Flags&tcp.FIN != 0 && g.End() == next) {
			return true
		}
	}
	return false
}

// denyFIN takes the end's FIN back, with all that followed from it at that end.
func (m *Machine) denyFIN(c *Conn, s *tcp.Segment, e tcp.Endpoint, sure bool) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	o := c.RareState()
	if o.denied == nil {
		o.denied = new([2]deniedFIN)
	}
	fin, _ := c.Find(e, tcp.SndFIN)
	o.denied[e] = deniedFIN{packet: fin.Packet(), by: s.Packet, seq: subject.FIN, sure: sure}
	m.unlearn(c, e, finInputs, m.cause(s, tcp.ByCorrection))
	c.forgetOctets(e, m.remembered(c, fin.Packet()))
	subject.Bits &^= endpoint.HasFIN | endpoint.StillReads
	o.Closing[e] = recent.Closing{}
	switch by := tcp.ByClient + tcp.ClosedBy(e); {
	case c.ClosedBy() == tcp.ByBoth || c.ClosedBy() == by && peer.Has(endpoint.HasFIN):
		c.setClosedBy(tcp.ByClient + tcp.ClosedBy(e.Peer()))
	case c.ClosedBy() == by || c.ClosedBy() == tcp.ByTimeoutOfEnd:
		c.setClosedBy(tcp.NotClosed)
	}
	c.showOpen(e)
	m.listener.TookBackFIN(c, fin.Packet())
}

// showOpen takes down where the end's own segments show it that denied its FIN.
func (c *Conn) showOpen(e tcp.Endpoint) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	up := tcp.Established.Set()
	if peer.Has(endpoint.HasFIN) && subject.Has(endpoint.HasAcked) && peer.FIN.Before(subject.Acked) {
		up = tcp.CloseWait.Set()
	}
	if !c.Rare.denied[e].sure {
		up |= subject.Proved
	}
	subject.Show(up)
}

// forgetOctets takes the FIN, and what came with it, out of what was captured of
// the end.
func (c *Conn) forgetOctets(e tcp.Endpoint, fin *recent.Segment) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	next := subject.FIN
	if subject.Nxt != next+1 {
		return
	}
	if fin != nil && fin.Flags&tcp.FIN != 0 && fin.End() == subject.Nxt {
		next = fin.Seq
	}
	next = c.Rare.holes[e].CutOff(next)
	subject.Nxt = next
	if next.Before(subject.Clean) {
		subject.Clean = next
	}
	peer.Bits &^= endpoint.Probing
}

// tookDenied looks what s, of the end that a denied FIN went to, tells of whether
// that was taken.
func (m *Machine) tookDenied(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	d := &c.Rare.denied[from.Peer()]
	switch next := d.seq + 1; {
	case d.packet == 0 || rcv.Has(endpoint.HasFIN) && rcv.FIN.Before(s.Ack):
	case s.Ack == next && rcv.Nxt == d.seq && !c.Happened(from, tcp.RcvFIN):
		snd.Show(snd.Proved.After(tcp.RcvFIN.Set()))
		m.apply(c, from, tcp.RcvFIN.Set(), m.cause(s, tcp.ByProof))
	case next.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt) && m.refute(c, from, tcp.RcvFIN.Set(), m.cause(s, tcp.ByCorrection)):
		snd.Show(snd.Proved.WithoutFIN())
	}
}

// returnsToFIN looks what s tells of a denied FIN of its sender: it has the number
// behind it, or one up to it once more.
func (m *Machine) returnsToFIN(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) bool {
	snd, d := &c.Ends[from], &c.Rare.denied[from]
	if d.packet == 0 || d.sure || snd.Has(endpoint.HasFIN) || r.Stale {
		return false
	}
	if s.Seq == d.seq+1 && snd.Nxt == d.seq {
		fin := tcp.Segment{
			Time: m.Now, Packet: d.packet, Seq: d.seq, Ack: snd.Acked, Flags: tcp.FIN | tcp.ACK, Wnd: snd.Wnd, TTL: snd.TTL, ID: snd.ID,
		}
		d.packet = 0
		m.takeLate(c, &fin, from)
		snd.Show(snd.Proved &^ openStates)
		return true
	}
	if s.Seq.AtMost(d.seq) && !r.Old && !r.Keepalive || s.Seq.AtMost(d.seq+1) && s.Data > 0 {
		d.sure = true
		c.showOpen(from)
	}
	return false
}

// supportFIN takes a FIN that is behind octets that the capture lacked for its
// sender's, once they are there, or acknowledged, or the sender goes on behind it.
func (m *Machine) supportFIN(c *Conn, s *tcp.Segment, from tcp.Endpoint, first bool) {
	for e := range tcp.Endpoint(2) {
		subject := &c.Ends[e]
		if !subject.Has(endpoint.HasFIN) || subject.Proved&openStates == 0 {
			continue
		}
		doubtful := c.doubtful(e, subject.FIN)
		again := from == e && !first && (s.Seq == subject.FIN+1 || s.Flags&tcp.FIN != 0 && s.End() == subject.FIN+1)
		taken := from != e && s.Flags&tcp.ACK != 0 && s.Ack == subject.FIN+1
		left := subject.Proved &^ openStates
		if doubtful && s.Flags&tcp.FIN != 0 {
			left |= (subject.Proved & openStates).After(tcp.SndFIN.Set()) // this may be the first
		}
		if left != 0 && (subject.FIN.AtMost(c.Contiguous(e)) && !doubtful || taken || again) {
			subject.Show(left)
		}
	}
}

// openStates are those of an end that has not closed.
const openStates = tcp.StateSet(1<<tcp.SynReceived | 1<<tcp.Established | 1<<tcp.CloseWait)

// acksDenied reports whether an ACK of that number covers a FIN of the end that it
// denies, and nothing that it sent.
func (c *Conn) acksDenied(e tcp.Endpoint, ack tcp.Seq) bool {
	return c.coversDenied(e, ack) && c.Ends[e].Nxt+1 == ack && !c.Ends[e].Has(endpoint.HasFIN)
}

// coversDenied reports whether an ACK of that number covers just the FIN of the end
// that it denies: whoever sends it has taken that, and sees no octet behind it.
func (c *Conn) coversDenied(e tcp.Endpoint, ack tcp.Seq) bool {
	fin, _ := c.DeniedFIN(e)
	return fin != 0 && ack == c.Rare.denied[e].seq+1
}

// DoubtsFIN reports whether it is not sure whether the end has closed.
func (c *Conn) DoubtsFIN(e tcp.Endpoint) bool {
	fin, _ := c.DeniedFIN(e)
	return fin != 0 && !c.Rare.denied[e].sure && !c.Ends[e].Has(endpoint.HasFIN)
}
