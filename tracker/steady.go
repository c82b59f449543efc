package tracker

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// Nearly every segment is the next one of its sender, in an open connection in
// which nothing else is going on: it moves no state and raises no anomaly, and
// all that it tells is how far the numbers have come. Such a segment is taken
// in here, with everything asked at once that choose, read, occasionsOf and
// watchGaps ask for one after the other. What is taken in here leaves the
// connection as Tracker.pass would, which a test holds it to; what is not quite
// as simple is left to that. A long flow takes 0.7 of the time for it.

// steady takes the segment in, if it is such a one of the connection, which is
// the newest on its addresses and ports, and reports whether it did.
func (t *Machine) steady(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	const plain = hasAcked | hasFIN
	const odd = isProvisional | haunted | doubtful | watched
	switch {
	case s.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK|tcp.URG) != tcp.ACK, s.Urg != 0, s.Options.NumSACK != 0,
		s.Cut == tcp.CutOptions, s.Cut == tcp.CutPayload && !t.tape.cut, s.Fragment,
		s.Sum > tcp.SumGood, s.Sum == tcp.SumGood && t.tape.sums != nil:
		return false // the segment is not as usual
	case x.assumed != up, y.assumed != up, x.proved != up, y.proved != up, c.bits&odd != 0,
		x.bits&plain != hasAcked, y.bits&plain != hasAcked, !x.seen(), !y.seen(), t.waiting != 0, c.odd != nil && !c.odd.whole():
		return false // the connection is not
	case s.Seq != x.nxt, s.Seq.Before(y.acked), y.nxt-s.Ack >= 1<<30, y.nxt-y.iss < 1<<30 && !y.iss.Before(s.Ack), x.stale(s):
		return false // out of turn
	}
	end, edge := s.Seq.Add(s.Data), s.Ack.Add(tcp.Size(s.Wnd)<<x.scale(y))
	switch {
	case s.Wnd == 0, x.wnd == 0, edge.Before(x.edge), y.edge.AtMost(s.Seq) && s.Data > 0 && c.scaleKnown(), s.Data > c.largest(from),
		end.Before(s.Seq), end.Minus(x.iss) < s.Seq.Minus(x.iss):
		return false // a window to look at
	}
	x.packets++
	x.bytes += uint64(s.Data)
	x.acked, x.edge = tcp.Later(x.acked, s.Ack), edge
	x.answer(s.Ack, t.now)
	x.clean, x.nxt = tcp.Later(x.clean, end), end
	if s.Data > 0 && !y.has(probing) {
		y.ask(end, t.now)
	}
	if s.Options.HasTS && int32(s.Options.TSVal-x.tsUnclean) > 0 {
		x.tsUnclean = s.Options.TSVal
	}
	if c.odd != nil {
		c.odd.noteEcho(s, from)
	}
	x.noteHeader(s)
	x.noteNewest(s, t.now)
	t.trail.put(c, s, from, 0, t.now)
	return true
}

// whole reports whether none of the octets of either end is missing.
func (o *oddments) whole() bool {
	return len(o.holes[tcp.Client])+len(o.holes[tcp.Server]) == 0 && o.gaps[tcp.Client].is == gapNone && o.gaps[tcp.Server].is == gapNone
}
