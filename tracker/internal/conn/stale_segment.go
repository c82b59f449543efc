package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What old segments do. One that fits no connection that is alive belongs to
// the dead one whose numbers it has, and is observed there. One whose numbers
// also lie in the windows of a new connection is taken for that connection's by
// its receiver, and so by the tracker; that it is old shows only because the
// very same segment was captured before, in the old connection. Such a new
// connection has a stale segment among its own: its further ones tell whether harm was done
// (RFC 1337 §2). One whose numbers overlap the old ones is watched from the
// start, since an old segment may fit it exactly.

const (
	// Wanders is how long ago a segment must have been sent to be called a
	// wandering duplicate; closer copies are made by captures, links and
	// switches.
	Wanders = 50 * time.Millisecond
	// fingerprints bounds how many of the old connection's segments a segment
	// is compared with.
	fingerprints = 256
)

// mayBeOlder are the triggers by which a segment in a connection that follows
// another may be one of that.
const mayBeOlder = triggers.OnRepeat | triggers.OnStale | triggers.OnForeign | triggers.OnGap | triggers.OnAmongStale

// keepStale looks whether the segment, which is out of turn in its connection,
// is one of the connection before, and takes that down.
func (m *Machine) keepStale(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	old := m.FormerOf(c)
	if old == nil || s.Flags&(tcp.SYN|tcp.RST) != 0 || c.Provisional() {
		return false
	}
	then := c.EndIn(old, from)
	if subject := &old.Ends[then]; !subject.Closed() || !(subject.ISS.AtMost(s.Seq) && s.End().AtMost(subject.Nxt)) {
		return false
	}
	g := m.SameAs(old, s, then, 0)
	if g == nil || s.Time.Sub(g.At) < Wanders {
		return false
	}
	o := c.RareState()
	if o.staleSegments == nil {
		o.staleSegments = new([2]recent.Stale)
	}
	o.staleSegments[from] = recent.Stale{
		Packet: s.Packet, Original: g.Packet, Age: s.Time.Sub(g.At), Ended: old.Steps().Newest(),
		Seq: s.Seq, End: s.End(), Nxt: c.Ends[from].Nxt,
	}
	return true
}

// StaleOf returns the old segment that fell among those of the end, the newest
// if there are several; without a packet if there is none.
func (c *Conn) StaleOf(e tcp.Endpoint) recent.Stale {
	if c.Rare == nil || c.Rare.staleSegments == nil {
		return recent.Stale{}
	}
	return c.Rare.staleSegments[e]
}

// SameAs returns the segment of the connection of which s is a copy: all that
// a copy shares is the same, and there is a mark, an IP identification or a
// timestamp, that a retransmission would not share. skip is the frame of s.
func (m *Machine) SameAs(c *Conn, s *tcp.Segment, from tcp.Endpoint, skip int) *recent.Segment {
	if s.ID == 0 && !s.Options.HasTS {
		return nil
	}
	n := 0
	for g := range m.Recent.Back(c) {
		if n++; n > fingerprints {
			break
		}
		if g.From == from && g.Packet != skip && g.Seq == s.Seq && g.Ack == s.Ack && g.Data == s.Data && g.Flags == s.Flags &&
			g.ID == s.ID && g.TSVal == s.Options.TSVal {
			return g
		}
	}
	return nil
}
