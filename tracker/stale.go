package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What old segments do. One that fits no connection that is alive belongs to
// the dead one whose numbers it has, and is observed there. One whose numbers
// also lie in the windows of a new connection is taken for that connection's by
// its receiver, and so by the tracker; that it is old shows only because the
// very same segment was captured before, in the old connection. Such a new
// connection is haunted: its further segments tell whether harm was done
// (RFC 1337 §2). One whose numbers overlap the old ones is watched from the
// start, since an old segment may fit it exactly.

const (
	// wanders is how long ago a segment must have been sent to be called a
	// wandering duplicate; closer copies are made by captures, links and
	// switches.
	wanders = 50 * time.Millisecond
	// fingerprints bounds how many of the old connection's segments a segment
	// is compared with.
	fingerprints = 256
)

// mayBeOlder are the occasions on which a segment in a connection that follows
// another may be one of that.
const mayBeOlder = onRepeat | onStale | onForeign | onGap | onHaunted

// A haunt is a segment of an older connection that fell among those of a new
// one.
type haunt struct {
	packet   int // 0: none
	original int // the frame in which it was captured first
	age      time.Duration
	ended    tcp.Time // when the older connection ended
	seq, end tcp.Seq
	nxt      tcp.Seq // what follows the sender's own octets up to then
}

// keepHaunt looks whether the segment, which is out of turn in its connection,
// is one of the connection before, and takes that down.
func (t *Machine) keepHaunt(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	old := t.formerOf(c)
	if old == nil || s.Flags&(tcp.SYN|tcp.RST) != 0 || c.provisional() {
		return false
	}
	then := c.endIn(old, from)
	if x := &old.ends[then]; !x.closed() || !(x.iss.AtMost(s.Seq) && s.End().AtMost(x.nxt)) {
		return false
	}
	g := t.sameAs(old, s, then, 0)
	if g == nil || s.Time.Sub(g.at) < wanders {
		return false
	}
	o := c.oddments()
	if o.haunts == nil {
		o.haunts = new([2]haunt)
	}
	o.haunts[from] = haunt{
		packet: s.Packet, original: g.packet, age: s.Time.Sub(g.at), ended: old.newestMove(),
		seq: s.Seq, end: s.End(), nxt: c.ends[from].nxt,
	}
	return true
}

// hauntOf returns the old segment that fell among those of the end, the newest
// if there are several; without a packet if there is none.
func (c *Conn) hauntOf(e tcp.Endpoint) haunt {
	if c.odd == nil || c.odd.haunts == nil {
		return haunt{}
	}
	return c.odd.haunts[e]
}

// sameAs returns the segment of the connection of which s is a copy: all that
// a copy shares is the same, and there is a mark, an IP identification or a
// timestamp, that a retransmission would not share. skip is the frame of s.
func (t *Machine) sameAs(c *Conn, s *tcp.Segment, from tcp.Endpoint, skip int) *glimpse {
	if s.ID == 0 && !s.Options.HasTS {
		return nil
	}
	n := 0
	for g := range t.trail.back(c) {
		if n++; n > fingerprints {
			break
		}
		if g.from == from && g.packet != skip && g.seq == s.Seq && g.ack == s.Ack && g.data == s.Data && g.flags == s.Flags &&
			g.id == s.ID && g.tsval == s.Options.TSVal {
			return g
		}
	}
	return nil
}
