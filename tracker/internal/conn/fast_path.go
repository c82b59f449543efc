package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Nearly every segment is the next one of its sender, in an open connection in
// which nothing else is going on: it moves no state and raises no anomaly, and
// all that it tells is how far the numbers have come. Such a segment is taken
// in here, with everything asked at once that choose, read, occasionsOf and
// watchGaps ask for one after the other. What is taken in here leaves the
// connection as Tracker.pass would, which a test holds it to; what is not quite
// as simple is left to that. A long flow takes 0.7 of the time for it.

// FastPath takes the segment in, if it is such a one of the connection, which is
// the newest on its addresses and ports, and reports whether it did.
func (m *Machine) FastPath(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	const plain = HasAcked | HasFIN
	const odd = isProvisional | amongStale | challenged | awaited | holding
	switch {
	case s.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK|tcp.URG) != tcp.ACK, s.Urg != 0, s.Options.NumSACK != 0,
		s.Cut == tcp.CutOptions, s.Cut == tcp.CutPayload && !m.health.Cut, s.Fragment,
		s.Sum > tcp.SumGood, s.Sum == tcp.SumGood && m.health.WatchesSums():
		return false // the segment is not as usual
	case x.Assumed != Up, y.Assumed != Up, x.Proved != Up, y.Proved != Up, c.Bits&odd != 0,
		x.Bits&plain != HasAcked, x.Has(agreed), y.Bits&plain != HasAcked, !x.Seen(), !y.Seen(), m.Waiting != 0, c.Rare != nil && !c.Rare.whole():
		return false // the connection is not
	case s.Seq != x.Nxt, s.Seq.Before(y.Acked), y.Nxt-s.Ack >= 1<<30, y.Nxt-y.ISS < 1<<30 && !y.ISS.Before(s.Ack), x.stale(s), s.Ack.Before(x.Acked):
		return false // out of turn
	}
	end, edge := s.Seq.Add(s.Data), s.Ack.Add(tcp.Size(s.Wnd)<<x.Scale(y))
	switch {
	case s.Wnd == 0, x.Wnd == 0, edge.Before(x.Edge), y.Edge.AtMost(s.Seq) && s.Data > 0 && c.ScaleKnown(), s.Data > c.Largest(from),
		end.Before(s.Seq), end.Minus(x.ISS) < s.Seq.Minus(x.ISS):
		return false // a window to look at
	}
	x.Packets++
	x.Bytes += uint64(s.Data)
	x.Acked, x.Edge = tcp.Later(x.Acked, s.Ack), edge
	x.answer(s.Ack, m.Now)
	x.Clean, x.Nxt = tcp.Later(x.Clean, end), end
	if s.Data > 0 && !y.Has(probing) {
		y.ask(end, m.Now)
	}
	if s.Options.HasTS && int32(s.Options.TSVal-x.tsUnclean) > 0 {
		x.tsUnclean = s.Options.TSVal
	}
	x.noteEcho(s, y)
	c.newest[from].Take(s, x.ID, s.Data > 0)
	x.noteHeader(s)
	x.noteNewest(s, m.Now)
	m.Recent.put(c, s, from, 0, m.Now)
	return true
}

// whole reports whether none of the octets of either end is missing.
func (o *rareState) whole() bool {
	return len(o.holes[tcp.Client])+len(o.holes[tcp.Server]) == 0 && o.Gaps[tcp.Client].Is == holes.GapNone && o.Gaps[tcp.Server].Is == holes.GapNone
}
