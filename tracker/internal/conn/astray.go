package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Where the capture misses all that two ends sent for more than a window, what
// they send next lies beyond all that is known to be offered, and the gate refuses
// it. It would do so for ever. But the segments of two ends that go on bear each
// other out, and nothing in the old numbers comes between them; what is forged in
// one name is borne out by nobody.

// bearsOut is how often in a row the segments must have.
const bearsOut = 2

// An Astray is the newest segment of an end that no known window explains, with
// those that it follows in order.
type Astray struct {
	At            tcp.Time // 0: there is none
	Seq, End, Ack tcp.Seq
	Times         uint8 // that one bore out the one before it
}

// borneOut reports whether the segment of row why, which its alleged sender is not
// to have sent, and those before it bear each other out, and remembers it.
func (q *question) borneOut(why tcp.Skip) bool {
	s, c := q.s, q.c
	if why != tcp.OutsideWindow && why != tcp.AckOfUnsent && why != tcp.AckTooOld || s.Flags&tcp.ACK == 0 {
		return false
	}
	now, its := Astray{At: q.now, Seq: s.Seq, End: s.End(), Ack: s.Ack}, &c.RareState().Astray
	if own := its[q.from]; own.At > q.snd.SentAt && own.End == s.Seq {
		now.Seq = own.Seq
	}
	if c.bearsOutAstray(s, q.from) {
		now.Times = its[q.from.Peer()].Times + 1
	}
	its[q.from] = now
	return now.Times >= bearsOut
}

// bearsOutAstray reports whether s bears out the newest of its peer that no known
// window explains.
func (c *Conn) bearsOutAstray(s *tcp.Segment, from tcp.Endpoint) bool {
	last := c.Rare.Astray[from.Peer()]
	return last.At > max(c.Ends[from].SentAt, c.Ends[from.Peer()].SentAt) && last.Seq.AtMost(s.Ack) && s.Ack.AtMost(last.End) &&
		min(s.Seq-last.Ack, last.Ack-s.Seq) <= tcp.Seq(c.widest(from.Peer()))
}

// BehindFINs reports whether s has numbers behind the FINs of both ends, and more
// than a window behind one: it is of another connection, whose SYNs were not
// captured, or forged.
func (c *Conn) BehindFINs(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.RST|tcp.ACK) == tcp.ACK && snd.Has(endpoint.HasFIN) && rcv.Has(endpoint.HasFIN) &&
		snd.FIN.Add(1).Before(s.Seq) && rcv.FIN.Add(1).Before(s.Ack) && (c.reach(from.Peer()).Before(s.Seq) || c.reach(from).Before(s.Ack))
}
