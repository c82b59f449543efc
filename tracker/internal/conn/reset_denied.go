package conn

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What follows a RST tells whether its alleged sender sent it, and whether its
// target took it. An end that is closed sends nothing but RSTs: what it sends
// later shows that it is not, if it cannot have been on its way already.

// resetInputs are the inputs by which a RST moves its sender and its target.
const (
	resetSent  = tcp.InputSet(1<<tcp.SndRST | 1<<tcp.NoTCB)
	resetTaken = tcp.InputSet(1<<tcp.RcvRST | 1<<tcp.RcvRSTPassive)
)

const (
	// SentAfter is how much later a segment must be captured at least, if the
	// response time is not longer, to have been sent after a RST of its sender.
	SentAfter = 5 * time.Millisecond

	// sparedAfter is the same of the target of a RST, which may have had much
	// on its way when the RST reached it.
	sparedAfter = time.Second

	// answersToRST is how many times in a row the target must have answered a
	// RST by the same ACK to show that it does not take them.
	answersToRST = 3
)

// deniedReset returns which RSTs in the history of its sender the segment shows
// not to have been sent, or not to have been taken, by that end, and the frame
// of one in its name that it did not send.
func (m *Machine) deniedReset(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) (ins tcp.InputSet, forged int) {
	if s.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || r.Stale || c.Past&Past(resetSent|resetTaken) == 0 {
		return 0, 0
	}
	was := c.Ends[from].Initial.Only()
	for _, st := range c.Steps() {
		if st.End() != from {
			if _, sure := m.neverSent(c, s, from, r, st); sure && st.Inputs()&resetTaken != 0 {
				forged = st.Packet()
			}
			continue
		}
		if never, _ := m.neverSent(c, s, from, r, st); never && st.Inputs()&resetSent != 0 {
			ins |= st.Inputs() & resetSent
		}
		if st.Inputs()&resetTaken != 0 && m.neverTook(c, s, from, st, was) {
			ins |= st.Inputs() & resetTaken
		}
		was = st.State()
	}
	return ins, forged
}

// neverSent reports whether s shows that its sender did not send the RST of the
// step: it acknowledges more than the RST did, has octets that the RST should
// have followed, or comes too late. It is not sure of a RST in reply that has
// nothing to tell its place among the segments of its host: that may have
// overtaken what is not much later.
func (m *Machine) neverSent(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, st history.Step) (never, sure bool) {
	if st.Inputs()&(resetSent|resetTaken) == 0 {
		return false, false
	}
	snd, since := &c.Ends[from], m.Now.Sub(st.At)
	rst := m.remembered(c, st.Packet())
	switch {
	case rst == nil || rst.Flags&tcp.RST == 0:
		return since > snd.InFlight(), false // a SYN showed that it had left the connection
	case overtook(rst, s, since):
		return false, false
	}
	acked := snd.Acked
	if rst.Flags&tcp.ACK != 0 {
		acked = tcp.Later(acked, rst.Ack)
	}
	if acked.Before(s.Ack) {
		return true, true
	}
	never = since > max(SentAfter, snd.Response()) || r.Fresh > 0 && rst.Seq.Before(s.End())
	return never, never && (rst.Is&recent.WasReply == 0 || rst.ID != 0 || since > sparedAfter)
}

// overtook reports whether the IP identification or the timestamp shows that s
// left before the RST.
func overtook(rst *recent.Segment, s *tcp.Segment, since time.Duration) bool {
	byID := s.ID != 0 && rst.ID-s.ID-1 < recent.MaxIDStep && endpoint.SameWay(rst.TTL, s.TTL) && since < time.Second
	return byID || s.Options.HasTS && rst.TSVal != 0 && int32(s.Options.TSVal-rst.TSVal) < 0
}

// neverTook reports whether s shows that its sender, which was in the given
// state, did not take the RST of the step: it acknowledges or echoes what was
// captured after the RST, comes too late, doubts it, or is the answer to yet
// another RST.
func (m *Machine) neverTook(c *Conn, s *tcp.Segment, from tcp.Endpoint, st history.Step, was tcp.State) bool {
	snd, since := &c.Ends[from], m.Now.Sub(st.At)
	switch {
	case since > max(rst.AnswerTimes*snd.Response(), sparedAfter), was == tcp.TimeWait && since > snd.InFlight(),
		m.knowsLater(c, s, from, st), c.asksAbout(st.Packet(), s, from, &m.scene.Before, m.Now):
		return true
	}
	return since > snd.InFlight() && m.answersRSTs(c, s, from, st) >= answersToRST
}

// knowsLater reports whether s acknowledges octets of the peer, or echoes a
// timestamp, that were captured after the RST of the step.
func (m *Machine) knowsLater(c *Conn, s *tcp.Segment, from tcp.Endpoint, st history.Step) bool {
	n, newer, isNewer := 0, uint32(0), false
	for g := range m.Recent.Back(c) {
		if n++; n > MaxLookBack {
			return false
		}
		after := g.Packet != st.Packet() && g.At >= st.At
		switch {
		case g.From == from || g.Flags&tcp.RST != 0 || g.Is&(recent.WasStale|recent.WasForeign) != 0:
		case !after:
			return isNewer && int32(newer-g.TSVal) > 0
		case g.Data > 0 && g.Is&recent.WasOld == 0 && g.End().AtMost(s.Ack):
			return true
		case g.TSVal != 0 && s.Options.HasTS && int32(s.Options.TSEcr-g.TSVal) >= 0:
			newer, isNewer = g.TSVal, true
		}
	}
	return false
}

// answersRSTs counts how many times since the RST of the step, the last time by
// s, its sender answered a RST by the same empty ACK.
func (m *Machine) answersRSTs(c *Conn, s *tcp.Segment, from tcp.Endpoint, st history.Step) (times int) {
	snd := &c.Ends[from]
	if !s.PureAck() || s.Seq != snd.Nxt || s.Ack != snd.Acked {
		return 0
	}
	n, asks := 0, true
	for g := range m.Recent.Back(c) {
		if n++; n > MaxLookBack {
			break
		}
		switch isRST := g.From != from && g.Flags&tcp.RST != 0; {
		case asks && !isRST, !asks && (g.From != from || !g.Pure() || g.Ack != s.Ack):
			return times
		case isRST:
			times++
		}
		if g.Packet == st.Packet() {
			break
		}
		asks = !asks
	}
	return times
}

// remembered returns the connection's segment of that frame, or nil if it is
// forgotten, or of another connection.
func (m *Machine) remembered(c *Conn, packet int) *recent.Segment {
	n := 0
	for g := range m.Recent.Back(c) {
		if n++; n > MaxLookBack {
			break
		}
		if g.Packet == packet {
			return g
		}
	}
	return nil
}

// A sparing is that an end did not take an exact RST.
type sparing struct {
	in    tcp.State // 0: it never was shown
	next  tcp.Seq   // what it expected then
	times uint8
	sure  bool // it lies in its policy, not in what was lost on the way
}

// keepSpared remembers that the end did not take a RST, which lies in its policy
// if it was in TIME-WAIT (RFC 1337 §3), if it answered the RST, or if it is not
// the first: then the end takes the next of that kind in that state no more than
// that one.
func (c *Conn) keepSpared(e tcp.Endpoint, answered bool) {
	k := &c.RareState().spared[e]
	now := sparing{in: c.Ends[e].Assumed.Only(), next: c.rcvNxt(e)}
	if k.in == now.in && (k.next == now.next || k.in == tcp.TimeWait) {
		now.times, now.sure = k.times, k.sure
	}
	now.times += min(1, 255-now.times)
	now.sure = now.sure || answered || now.in == tcp.TimeWait || now.times > 1
	*k = now
}

// Spares reports whether the end was shown not to take an exact RST in its state.
func (c *Conn) Spares(e tcp.Endpoint) bool {
	if c.Rare == nil {
		return false
	}
	k, subject := &c.Rare.spared[e], &c.Ends[e]
	return k.sure && k.in == subject.Assumed.Only() && (k.in == tcp.TimeWait || k.next == c.rcvNxt(e))
}

// SpokenFor reports whether the newest segment in the end's name is a RST that
// something between the ends made, or a SYN that opens nothing yet, so that its state
// is not known.
func (c *Conn) SpokenFor(e tcp.Endpoint) bool {
	if c.Rare == nil {
		return false
	}
	return c.Rare.inName[e] != 0 && c.Rare.inName[e] == c.Ends[e].SentAt || c.Rare.called[e] > c.Ends[e].SentAt
}

// denied has what later segments tell of earlier RSTs.
func (m *Machine) denied(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	ins, forged := m.deniedReset(c, s, from, r)
	m.scene.Forged = forged
	if ins != 0 {
		m.denyReset(c, s, from, ins)
	}
	if forged != 0 && c.ClosedBy() == tcp.ByClientReset+tcp.ClosedBy(from) {
		c.closedAnew()
	}
}

// denyReset takes RSTs back out of the history of the end that sent s, with all
// that followed from them.
func (m *Machine) denyReset(c *Conn, s *tcp.Segment, from tcp.Endpoint, ins tcp.InputSet) {
	answered := false
	var sent, taken []int
	for _, st := range c.Steps() {
		if st.End() != from {
			continue
		}
		if st.Inputs()&ins&resetSent != 0 {
			sent = append(sent, st.Packet())
		}
		if st.Inputs()&ins&resetTaken != 0 {
			taken = append(taken, st.Packet())
			answered = answered || m.answersRSTs(c, s, from, st) > 1
		}
	}
	m.refute(c, from, ins, m.cause(s, tcp.ByCorrection))
	if len(taken) > 0 {
		c.keepSpared(from, answered)
	}
	c.closedAnew()
	m.listener.TookBack(c, sent, taken)
}

// closedAnew tells who closed the connection, once a RST that was to have closed it is
// found not to have been sent, or not to have been taken: by the first that is
// left.
func (c *Conn) closedAnew() {
	if by := c.ClosedBy(); by != tcp.ByClientReset && by != tcp.ByServerReset && by != tcp.ByMiddlebox && by != tcp.BySuperseded {
		return
	}
	c.setClosedBy(tcp.NotClosed)
	i := slices.IndexFunc(c.Steps(), func(st history.Step) bool { return st.Inputs()&(resetSent|resetTaken) != 0 })
	if i < 0 {
		return
	}
	if st := c.Steps()[i]; st.Inputs()&resetSent != 0 {
		c.setClosedBy(tcp.ByClientReset + tcp.ClosedBy(st.End()))
	} else {
		c.setClosedBy(tcp.ByMiddlebox)
	}
}

// wasReset reports whether a RST is in the end's history.
func (c *Conn) wasReset(e tcp.Endpoint) bool {
	return slices.ContainsFunc(c.Steps(), func(st history.Step) bool { return st.End() == e && st.Inputs()&(resetSent|resetTaken) != 0 })
}
