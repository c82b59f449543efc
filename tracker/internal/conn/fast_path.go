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
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	const plain = HasAcked | HasFIN
	const odd = isProvisional | amongStale | challenged | awaited | holding
	switch {
	case s.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK|tcp.URG) != tcp.ACK, s.Urg != 0, s.Options.NumSACK != 0,
		s.Cut == tcp.CutOptions, s.Cut == tcp.CutPayload && !m.health.Cut, s.Fragment,
		s.Sum > tcp.SumGood, s.Sum == tcp.SumGood && m.health.WatchesSums():
		return false // the segment is not as usual
	case snd.Assumed != Up, rcv.Assumed != Up, snd.Proved != Up, rcv.Proved != Up, c.Bits&odd != 0,
		snd.Bits&plain != HasAcked, snd.Has(agreed), rcv.Bits&plain != HasAcked, !snd.Seen(), !rcv.Seen(), m.Waiting != 0, c.Rare != nil && !c.Rare.whole():
		return false // the connection is not
	case s.Seq != snd.Nxt, s.Seq.Before(rcv.Acked), rcv.Nxt-s.Ack >= 1<<30, rcv.Nxt-rcv.ISS < 1<<30 && !rcv.ISS.Before(s.Ack), snd.stale(s), s.Ack.Before(snd.Acked):
		return false // out of turn
	}
	end, edge := s.Seq.Add(s.Data), s.Ack.Add(tcp.Size(s.Wnd)<<snd.Scale(rcv))
	switch {
	case s.Wnd == 0, snd.Wnd == 0, edge.Before(snd.Edge), rcv.Edge.AtMost(s.Seq) && s.Data > 0 && c.ScaleKnown(), s.Data > c.Largest(from),
		end.Before(s.Seq), end.Minus(snd.ISS) < s.Seq.Minus(snd.ISS):
		return false // a window to look at
	}
	snd.Packets++
	snd.Bytes += uint64(s.Data)
	snd.Acked, snd.Edge = tcp.Later(snd.Acked, s.Ack), edge
	snd.answer(s.Ack, m.Now)
	snd.Clean, snd.Nxt = tcp.Later(snd.Clean, end), end
	if s.Data > 0 && !rcv.Has(probing) {
		rcv.ask(end, m.Now)
	}
	if s.Options.HasTS && int32(s.Options.TSVal-snd.tsUnclean) > 0 {
		snd.tsUnclean = s.Options.TSVal
	}
	snd.noteEcho(s, rcv)
	c.newest[from].Take(s, snd.ID, s.Data > 0)
	snd.noteHeader(s)
	snd.noteNewest(s, m.Now)
	m.Recent.put(c, s, from, 0, m.Now)
	return true
}

// whole reports whether none of the octets of either end is missing.
func (o *rareState) whole() bool {
	return !o.early[tcp.Client].Waits && !o.early[tcp.Server].Waits && len(o.holes[tcp.Client])+len(o.holes[tcp.Server]) == 0 && o.Gaps[tcp.Client].Is == holes.GapNone && o.Gaps[tcp.Server].Is == holes.GapNone
}
