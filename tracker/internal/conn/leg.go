package conn

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Where captures of two places are followed as one, what leaves an end moves that end
// alone, and what comes near its peer moves that alone: nothing is taken for received
// that was not seen to come. What comes near and never left is of somebody else, and
// moves no sender.

// leaving returns the verdict on a segment that has left: it is its sender's, where the
// capture was made on its host.
func (m *Machine) leaving(c *Conn, from tcp.Endpoint, v gate.Verdict) gate.Verdict {
	c.RareState().arrived = cmp.Or(c.Rare.arrived, new([2]holes.Arrived))
	if m.OnHost(c, from) && v.Why != tcp.BadChecksum {
		v.Unsent, v.Held = false, false
	}
	return v
}

// nears takes in a segment that came near its receiver, and reports whether that is
// all there is to it: one that opens what nobody began is taken as if it passed.
func (m *Machine) nears(s *tcp.Segment) bool {
	k, low := flow.KeyOf(s)
	c := m.NewestOf(k)
	if c != nil && m.nearsInTurn(c, s, c.EndOf(low)) {
		return true
	}
	for ; c != nil && !c.suits(s, c.EndOf(low)); c = c.Older() {
	}
	if c == nil {
		return false
	}
	from := c.EndOf(low)
	if s.Twin != nil {
		m.counts.Segments++
	}
	m.key, m.newest = k, m.NewestOf(k)
	m.passing, m.unset, m.disarmed = c, false, false
	v := m.arrive(c, s, from)
	if m.passing = nil; m.unset || c.alarm == 0 {
		m.arm(c)
	}
	m.saw(c, from, s.Packet, v.Shown())
	m.know(c)
	return true
}

// nearsInTurn is nears for nearly all that comes: the next octets, or none, of a
// connection that is open, in which they move nothing.
func (m *Machine) nearsInTurn(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	if m.NoEdges || s.Twin != nil || s.Flags&moving != tcp.ACK || !c.hasLegs() || !c.Rare.arrived[from].InTurn(s) {
		return false
	}
	if !c.steady() || !m.health.Plain(s) || !c.suits(s, from) || m.accept(c, s, from) != (gate.Verdict{}) {
		return false
	}
	c.Rare.arrived[from].Take(s)
	m.saw(c, from, s.Packet, tcp.NotSkipped)
	return true
}

// hasLegs reports whether captures of two places have the connection.
func (c *Conn) hasLegs() bool { return c.Rare != nil && c.Rare.arrived != nil }

// Unreached reports whether nothing that was sent to the end came near it, nor anything
// from it: nobody can know what it is in.
func (c *Conn) Unreached(e tcp.Endpoint) bool {
	return c.Rare != nil && c.Rare.arrived != nil && !c.Ends[e].Seen() && !c.Rare.arrived[e.Peer()].Any()
}

// suits reports whether a segment that comes near its receiver can be one of the
// connection.
func (c *Conn) suits(s *tcp.Segment, from tcp.Endpoint) bool {
	snd := &c.Ends[from]
	if s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN {
		return snd.Has(endpoint.HasISS) && snd.ISS == s.Seq
	}
	return c.fit(s, from) != fitsNot
}

// arrive has a segment come to its receiver.
func (m *Machine) arrive(c *Conn, s *tcp.Segment, from tcp.Endpoint) gate.Verdict {
	c.RareState().arrived = cmp.Or(c.Rare.arrived, new([2]holes.Arrived))
	v := m.gate(c, s, from)
	if s.Twin != nil && s.Flags&tcp.SYN == 0 { // it never left, or no second time
		if s.Flags&tcp.RST != 0 {
			return m.observeRST(c, s, from, v)
		}
		told := v
		told.Unsent, told.Held = true, false
		m.observe(c, s, from, c.Read(s, from), told)
	}
	m.snapshot(c)
	switch {
	case s.Flags&tcp.RST != 0:
		v = m.resetArrives(c, s, from, v)
	case v.Is == gate.Refused, v.Unsent, v.Held && s.Twin != nil:
		m.restart(c, s, from.Peer())
	default:
		c.keepReached(s, from)
		c.Rare.arrived[from].Take(s)
		if s.Twin != nil && s.Flags&tcp.FIN != 0 && !c.Ends[from].Has(endpoint.HasFIN) && s.End().AtMost(c.Contiguous(from)) {
			m.apply(c, from.Peer(), tcp.RcvFIN.Set(), m.cause(s, tcp.ByAssumption))
		}
		m.deliver(c, s, from, v)
	}
	on := triggers.Set(0)
	if s.Flags&tcp.SYN != 0 {
		on = c.betweenOf(s, from) // of others observe has told
	}
	m.tellChecks(c, s, from, recent.Reading{}, on)
	return v
}

// resetArrives is arrive for a RST that its sender sent.
func (m *Machine) resetArrives(c *Conn, s *tcp.Segment, from tcp.Endpoint, v gate.Verdict) gate.Verdict {
	kind := rst.KindOf(s, &c.Ends[from], &c.Ends[from.Peer()], c.rcvNxt(from), m.Now)
	if v.Is != gate.Refused {
		v = c.acceptsRST(s, from, m.Now)
	}
	if v.Is != gate.Refused && !v.Held {
		m.resetReceiver(c, s, from, v, kind, false)
	}
	return v
}

// LateOnTheWay is by how much longer than the quickest of its direction a segment must
// be under way to be called late: that is the least time after which Linux sends again.
const LateOnTheWay = 200 * time.Millisecond

// LateBy is by how much longer than the quickest of its direction s was under way.
func (c *Conn) LateBy(s *tcp.Segment, from tcp.Endpoint) time.Duration {
	if s.Twin.Fate != tcp.FatePassed || c.Rare == nil {
		return 0
	}
	return s.Twin.Delay - c.Rare.quickest[from]
}

// betweenOf returns OnBetween where something happened to the segment on its way.
func (c *Conn) betweenOf(s *tcp.Segment, from tcp.Endpoint) triggers.Set {
	t := s.Twin
	switch {
	case t == nil:
		return 0
	case t.Fate == tcp.FatePassed:
		o := c.RareState()
		if o.quickest[from] == 0 || t.Delay < o.quickest[from] {
			o.quickest[from] = max(t.Delay, 1)
		}
		if t.Overtaken == 0 && c.LateBy(s, from) < LateOnTheWay && (t.Other == nil || s.Changes(t.Other) == 0 && s.Src == t.Other.Src && s.Dst == t.Other.Dst) {
			return 0
		}
		return triggers.OnBetween
	case t.Fate >= tcp.FateLost && t.Fate != tcp.FateMissed:
		return triggers.OnBetween
	}
	return 0
}
