package conn

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is remembered of the newest segments of a connection, for the anomalies to
// look back at and to cite, lies in three places:
//
// A connection in which something odd happened has a memory of its own, so that
// what is said of it does not depend on what else is captured.
//
// One in which nothing did knows by itself what its steps and its two ends tell:
// the segments that opened and closed it, and the newest of each end. With these
// the memory of its own begins, should something happen.
//
// All those share one ring for their other segments, of a fixed size. What other
// traffic overwrites there is forgotten, and cited no more.

// So many connections at least have a memory of their own, and one in so many of all
// that are kept at most.
const leastOwners, ownersShare = 1 << 12, 8

// recentSegments is what is remembered of all connections.
type recentSegments struct {
	recent.Ring
	packet int // the newest of all
	owners int // connections with a memory of their own
	most   int // of them
}

// put remembers a segment of the connection.
func (tr *recentSegments) put(c *Conn, s *tcp.Segment, from tcp.Endpoint, is recent.Bits, now tcp.Time) {
	var g *recent.Segment
	if c.Rare.hasOwn() {
		g = c.Rare.own.Place()
	} else {
		g = tr.Ring.Put(c.ID, &c.newestSegment)
	}
	g.Take(s, from, is, now)
	tr.packet = s.Packet
}

// keepOwn gives the connection a memory of its own, before a segment is noted
// that is odd in it.
func (tr *recentSegments) keepOwn(c *Conn) {
	if c.Rare.hasOwn() || tr.owners >= tr.most {
		return
	}
	seed := make([]recent.Segment, 0, recent.OwnLeast) // the newest first
	for g := range tr.Back(c) {
		seed = append(seed, *g)
	}
	c.RareState().own.Begin(seed)
	tr.owners++
	c.newestSegment = 0
}

// hasOwn reports whether the connection has a memory of its own.
func (o *rareState) hasOwn() bool { return o != nil && o.own.Begun() }

// forget takes from the connection what it has of its own.
func (tr *recentSegments) forget(c *Conn) {
	if c.Rare.hasOwn() {
		c.Rare.own = recent.Own{}
		tr.owners--
	}
}

// Back yields the segments of the connection that are remembered, the newest
// first.
func (tr *recentSegments) Back(c *Conn) iter.Seq[*recent.Segment] {
	return func(yield func(*recent.Segment) bool) {
		if c.Rare.hasOwn() {
			c.Rare.own.Back(yield)
			return
		}
		before, more, stopped := tr.Ring.Back(c.ID, c.newestSegment, math.MaxInt, yield)
		if stopped || !more {
			return // that was all
		}
		known := tr.known(c)
		for i := range known {
			if g := &known[len(known)-1-i]; g.Packet < before && !yield(g) {
				return
			}
		}
	}
}

// known returns what the connection knows by itself of its segments, the oldest
// first: those that moved an end, and the newest of each end.
func (tr *recentSegments) known(c *Conn) []recent.Segment {
	list := make([]recent.Segment, 0, len(c.Steps())+len(c.Ends))
	for _, st := range c.Steps() {
		g := c.segmentOf(st)
		if g.Packet == 0 {
			continue
		}
		i := slices.IndexFunc(list, func(k recent.Segment) bool { return k.Packet == g.Packet })
		if i < 0 {
			i, list = len(list), append(list, g)
		}
		if list[i].Flags |= g.Flags; g.Flags != tcp.ACK {
			list[i].Seq, list[i].Ack = g.Seq, g.Ack
		}
	}
	for e := range tcp.Endpoint(2) {
		if c.newest[e].Frame == 0 {
			continue
		}
		g := c.newestOf(e, tr.packet)
		if i := slices.IndexFunc(list, func(k recent.Segment) bool { return k.Packet == g.Packet }); i >= 0 {
			list[i] = g
		} else {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b recent.Segment) int { return cmp.Compare(a.Packet, b.Packet) })
	return list
}

// segmentOf returns the segment behind a step: the SYN, FIN or RST of its end, or
// what its peer sent to it; without a packet if there is none.
func (c *Conn) segmentOf(st history.Step) (g recent.Segment) {
	e, ins := st.End(), st.Inputs()
	const sends = 1<<tcp.SndSYN | 1<<tcp.SndSYNACK | 1<<tcp.SndFIN | 1<<tcp.SndRST | 1<<tcp.NoTCB
	sent := ins&sends != 0 && st.Basis() == tcp.BySending
	if !sent {
		if st.Basis() != tcp.ByAssumption && st.Basis() != tcp.ByProof || uint32(st.Packet()) == c.newest[e].Frame {
			return g
		}
		e = e.Peer()
	}
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	g = recent.Segment{At: st.At, Packet: st.Packet(), From: e, Flags: tcp.ACK, Seq: subject.ISS + 1, Ack: peer.ISS + 1, TTL: subject.TTL, Is: recent.IsRecalled}
	switch {
	case ins.Has(tcp.SndSYN):
		g.Flags, g.Seq, g.Ack = tcp.SYN, subject.ISS, 0
	case ins.Has(tcp.SndSYNACK), ins.Has(tcp.RcvSYN) && ins.Has(tcp.RcvAckOfSYN) && subject.Has(endpoint.SentSYNACK):
		g.Flags, g.Seq = tcp.SYN|tcp.ACK, subject.ISS
	case ins.Has(tcp.SndFIN):
		g.Flags, g.Seq, g.Ack = tcp.FIN|tcp.ACK, subject.FIN, subject.LastAck
	case ins&(tcp.SndRST.Set()|tcp.NoTCB.Set()|tcp.RcvRST.Set()|tcp.RcvRSTPassive.Set()) != 0:
		g.Flags, g.Seq, g.Ack = tcp.RST, subject.Nxt, 0
		if peer.Has(endpoint.Answered) {
			g.Seq, g.Is = peer.LastAck, recent.IsRecalled|recent.WasReply
		}
	case ins.Has(tcp.RcvAckOfFIN):
		g.Seq, g.Ack = subject.Nxt, peer.FIN+1
	case !ins.Has(tcp.RcvAckOfSYN): // its own step tells of a SYN or a FIN
		g.Packet = 0
	}
	return g
}

// SentData returns how many segments with new data the end sent, up to 15.
func (c *Conn) SentData(e tcp.Endpoint) int {
	if !c.Ends[e].Seen() {
		return 0
	}
	return c.newest[e].Count()
}

// AcksToUnseen returns how many different ACKs were sent to an end of which
// nothing is captured, up to 15.
func (c *Conn) AcksToUnseen(e tcp.Endpoint) int {
	if c.Ends[e].Seen() {
		return 0
	}
	return c.newest[e].Count()
}

// CountsIDs reports whether the IP identifications of the end's segments, RSTs
// aside, count up: all of the newest few do.
func (c *Conn) CountsIDs(e tcp.Endpoint) bool { return c.newest[e].CountsIDs() }

// newestOf returns the newest segment of the end. packet is the newest of all.
func (c *Conn) newestOf(e tcp.Endpoint, packet int) recent.Segment {
	subject, n := &c.Ends[e], c.newest[e]
	g := recent.Segment{
		At: subject.SentAt, Packet: packet - int(uint32(packet)-n.Frame), From: e, Flags: tcp.Flags(n.Flags),
		Ack: subject.LastAck, Data: tcp.Size(n.Data), TSVal: subject.TSVal, Wnd: subject.Wnd, ID: subject.ID, TTL: subject.TTL,
	}
	g.Seq = subject.Nxt - (g.End() - g.Seq)
	return g
}
