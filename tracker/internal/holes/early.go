package holes

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// An Early is an ACK of an end that covers octets which the capture does not have of
// its peer: it missed them, or has them late, or somebody else sent the ACK. One alone
// does not decide that, and proves nothing, until something bears it out. Nor does
// what came with it, which stays doubtful for longer. The zero Early is none.
type Early struct {
	Waits         bool
	Denied        bool // its peer shows that it had not sent the octets: to be taken back
	Back          bool // it was; only Ack is known, for what it may have proved if it was true after all
	Ack           tcp.Seq
	Before, Offer tcp.Seq // what its alleged sender had acknowledged, and offered, before
	From, To      tcp.Seq // the octets that came with it
	Again         bool    // another segment has those octets too
}

// Keep has the ACK of s wait, behind what its alleged sender had acknowledged and
// offered before.
func (e *Early) Keep(s *tcp.Segment, before, offer tcp.Seq) {
	*e = Early{Waits: true, Ack: s.Ack, Before: before, Offer: offer, From: s.Seq, To: s.End()}
}

// Doubt has only what came with s be doubtful.
func (e *Early) Doubt(s *tcp.Segment) { *e = Early{From: s.Seq, To: s.End()} }

// Another takes in another segment of the end, with what it offers. It bears the ACK
// that waits out if it acknowledges as much; if not, and its ACK is of what the peer
// sent, as sent says, it counts, and bears the octets out if it has them too.
func (e *Early) Another(s *tcp.Segment, offer tcp.Seq, sent bool) {
	if e.Waits = s.Ack.Before(e.Ack); !e.Waits || !sent {
		return
	}
	e.Before, e.Offer = tcp.Later(e.Before, s.Ack), tcp.Later(e.Offer, offer)
	e.Again = e.Again || s.Seq.AtMost(e.From) && e.To.AtMost(s.End())
}

// BearOut forgets the ACK if the peer goes on behind it.
func (e *Early) BearOut(seq tcp.Seq) {
	if e.Waits && e.Ack.AtMost(seq) {
		*e = Early{}
	}
}

// Doubtful reports whether the octet came with the ACK alone.
func (e *Early) Doubtful(seq tcp.Seq) bool { return !e.Again && e.From != e.To && seq.In(e.From, e.To) }
