package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// RFC 5961 has an end doubt what a stranger could have guessed: a RST in its
// window that is not exactly the next number (§3), a SYN in an open connection
// (§4), an ACK of what it never sent (§5). It asks the alleged sender, by a
// challenge ACK. A true sender confirms with a RST; one who knows nothing of
// the doubted segment goes on as before. That takes up to three segments, the
// last of which may be long in coming, so a connection remembers one challenge.

// challengeKind says what kind of segment is doubted.
type challengeKind uint8

const (
	notChallenged challengeKind = iota
	ChallengedRST
	ChallengedAbort // a RST with the next number of its sender, ahead of octets that its receiver misses
	ChallengedSYN
	ChallengedAck
)

// A Challenge is a segment that the end it went to has reason not to believe.
type Challenge struct {
	What    challengeKind
	Into    tcp.Endpoint // who got it
	spoken  bool         // that end has sent something since
	over    bool         // it has its outcome, or nobody is to be told of one
	may     bool         // that end may have taken the RST, or not, and has sent nothing since
	TTL     uint8        // of the segment
	Guesses uint8        // RSTs with other numbers that were not taken, up to 255
	Number  tcp.Seq      // its SEQ; of an ACK, its ACK field
	Next    tcp.Seq      // what its receiver expected then, and the edge of its window
	Edge    tcp.Seq
	guess   tcp.Seq // the newest of the guesses
	Packet  int
	at      tcp.Time
	Answer  int // frame of the challenge ACK, 0: none
}

// Pending returns the challenge that awaits its outcome, or nil.
func (c *Conn) Pending() *Challenge {
	if c.Bits&challenged == 0 || c.Rare.challenge.over {
		return nil
	}
	return &c.Rare.challenge
}

// mayBeReset reports whether the end may have taken a RST, or not, of which its
// next segment tells.
func (c *Conn) mayBeReset(e tcp.Endpoint) bool {
	return c.Bits&challenged != 0 && c.Rare.challenge.may && c.Rare.challenge.Into == e
}

// asksAbout reports whether s is the challenge ACK of the RST of that frame, which
// its sender was taken to have accepted.
func (c *Conn) asksAbout(packet int, s *tcp.Segment, from tcp.Endpoint, before *Before, now tcp.Time) bool {
	return c.mayBeReset(from) && c.Rare.challenge.Packet == packet && c.isChallengeACK(s, &c.Rare.challenge, before, now)
}

// Outlived is how long after a RST its alleged sender's next segment must come
// at least to show that it is still there. What is captured sooner may have
// been sent before the RST, and been overtaken.
const Outlived = 100 * time.Millisecond

// SettledBy reports whether s shows what its sender thinks of the doubted
// segment. What comes shortly after that, and the same way, may have been sent
// before it.
func (d *Challenge) SettledBy(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) bool {
	return from != d.Into && (s.Flags&tcp.RST != 0 || now.Sub(d.at) > Outlived || !endpoint.SameWay(d.TTL, s.TTL))
}

// beginChallenge begins a challenge of s, which went to the end into.
func (c *Conn) beginChallenge(what challengeKind, s *tcp.Segment, into tcp.Endpoint, number tcp.Seq, now tcp.Time) {
	d := &c.RareState().challenge
	*d = Challenge{
		What: what, Into: into, TTL: s.TTL, Number: number, Next: c.rcvNxt(into), Edge: c.Ends[into].Edge,
		Packet: s.Packet, at: now, Guesses: d.Guesses, guess: d.guess,
	}
	c.Bits |= challenged
}

// challengeSYN is called for a SYN of the end from, when it has still to be shown
// that this end has left the connection.
func (c *Conn) challengeSYN(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	if into := from.Peer(); Synchronized(c.Ends[into].Assumed) {
		c.beginChallenge(ChallengedSYN, s, into, s.Seq, now)
	}
}

// settleChallenge settles the challenge of an earlier segment, once the checks were asked,
// and begins one of s. before is what was known without s.
func (c *Conn) settleChallenge(s *tcp.Segment, from tcp.Endpoint, before *Before, now tcp.Time) {
	if c.Bits&challenged != 0 {
		c.heardOfChallenge(s, from, before, now)
	}
	into := from.Peer()
	if before.SentAt[from] == 0 || before.SentAt[into] == 0 {
		return
	}
	knows := Synchronized(before.States[into])
	switch {
	case s.Flags&tcp.RST != 0:
		tells := knows && before.RST != rst.Reply
		if tells && !before.Accepted {
			c.countGuess(s)
		}
		tells = tells && c.InWindow(s.Seq, into) && c.ScaleKnown()
		if !before.Doubted && (!tells || before.Accepted) {
			return
		}
		what := ChallengedRST
		if before.RST == rst.Abort {
			what = ChallengedAbort
		}
		c.beginChallenge(what, s, into, s.Seq, now)
		c.Rare.challenge.over, c.Rare.challenge.may = !tells, before.Doubted
	case knows && s.Flags&(tcp.SYN|tcp.ACK) == tcp.ACK && c.Ends[into].Nxt.Before(s.Ack) && c.Pending() == nil:
		c.beginChallenge(ChallengedAck, s, into, s.Ack, now)
	}
}

// heardOfChallenge takes down what s tells of the challenge.
func (c *Conn) heardOfChallenge(s *tcp.Segment, from tcp.Endpoint, before *Before, now tcp.Time) {
	switch d, snd := &c.Rare.challenge, &c.Ends[from]; {
	case d.Into == from:
		if !d.spoken && c.isChallengeACK(s, d, before, now) {
			d.Answer = s.Packet
			if d.may && snd.Assumed == tcp.FinWait2.Set() {
				snd.Bits |= endpoint.StillReads // an orphan takes such a RST
			}
		}
		d.spoken, d.may = true, false
	case d.SettledBy(s, from, now):
		d.over = true
	}
	if d := &c.Rare.challenge; d.over && !d.may {
		c.Bits &^= challenged
	}
}

// countGuess counts a RST that was not taken, if its number is a new one.
func (c *Conn) countGuess(s *tcp.Segment) {
	d := &c.RareState().challenge
	if d.Guesses == 0 || d.guess != s.Seq {
		d.Guesses += min(1, 255-d.Guesses)
		d.guess = s.Seq
	}
}

// isChallengeACK reports whether s may be the ACK that the challenge drew: it
// comes at once and says nothing new.
func (c *Conn) isChallengeACK(s *tcp.Segment, d *Challenge, before *Before, now tcp.Time) bool {
	const soon = 100 * time.Millisecond
	x := d.Into
	return s.PureAck() && s.Seq == before.Nxt[x] && s.Ack == before.Acked[x] && s.Wnd == before.Wnd[x] &&
		now.Sub(d.at) <= max(3*c.Ends[x].Response(), soon)
}

// Synchronized reports whether the end is known to be in a state in which both
// ends know each other's numbers, and not in TIME-WAIT.
func Synchronized(set tcp.StateSet) bool {
	one := set.Only()
	return one >= tcp.Established && one != tcp.TimeWait
}

// InWindow reports whether the number lies in the receive window of the end,
// behind what it expects next.
func (c *Conn) InWindow(seq tcp.Seq, into tcp.Endpoint) bool {
	subject := &c.Ends[into]
	next := c.rcvNxt(into)
	return subject.Has(endpoint.HasAcked) && next.Before(seq) && seq.Before(subject.Edge)
}

// ScaleKnown reports whether the windows are known in octets: both SYNs, which
// carry the scales, were captured.
func (c *Conn) ScaleKnown() bool {
	return c.Origin() == tcp.FromSYN && c.Ends[tcp.Server].Has(endpoint.SentSYN|endpoint.SentSYNACK)
}
