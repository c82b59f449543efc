package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// Where the capture misses all that two ends sent for more than a window, what
// they send next lies beyond all that is known to be offered, and the gate refuses
// it. It would do so for ever. But the segments of two ends that go on bear each
// other out, and nothing in the old numbers comes between them; what is forged in
// one name is borne out by nobody.

// bearsOut is how often in a row the segments must have.
const bearsOut = 2

// An astray is the newest segment of an end that no known window explains, with
// those that it follows in order.
type astray struct {
	at            tcp.Time // 0: there is none
	seq, end, ack tcp.Seq
	times         uint8 // that one bore out the one before it
}

// borneOut reports whether the segment of row why, which its alleged sender is not
// to have sent, and those before it bear each other out, and remembers it.
func (q *question) borneOut(why tcp.Skip) bool {
	s, c := q.s, q.c
	if why != tcp.OutsideWindow && why != tcp.AckOfUnsent && why != tcp.AckTooOld || s.Flags&tcp.ACK == 0 {
		return false
	}
	now, its := astray{at: q.now, seq: s.Seq, end: s.End(), ack: s.Ack}, &c.RareState().astray
	if own := its[q.from]; own.at > q.snd.SentAt && own.end == s.Seq {
		now.seq = own.seq
	}
	last := its[q.from.Peer()]
	if last.at > max(q.snd.SentAt, q.rcv.SentAt) && last.seq.AtMost(s.Ack) && s.Ack.AtMost(last.end) &&
		min(s.Seq-last.ack, last.ack-s.Seq) <= tcp.Seq(c.widest(q.from.Peer())) {
		now.times = last.times + 1
	}
	its[q.from] = now
	return now.times >= bearsOut
}

// Astray returns the number with which the newest segments of the end begin that no
// known window explains, what they acknowledge, when the last was captured, and how
// often one of these and those of its peer in turn bore out the one before it.
func (c *Conn) Astray(e tcp.Endpoint) (seq, ack tcp.Seq, at tcp.Time, times int) {
	if c.Rare == nil {
		return 0, 0, 0, 0
	}
	a := &c.Rare.astray[e]
	return a.seq, a.ack, a.at, int(a.times)
}
