package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// RFC 5961 has an end doubt what a stranger could have guessed: a RST in its
// window that is not exactly the next number (§3), a SYN in an open connection
// (§4), an ACK of what it never sent (§5). It asks the alleged sender, by a
// challenge ACK. A true sender confirms with a RST; one who knows nothing of
// the doubted segment goes on as before. That takes up to three segments, the
// last of which may be long in coming, so a connection remembers one doubt.

// doubted says what kind of segment is doubted.
type doubted uint8

const (
	nothingDoubted doubted = iota
	doubtedRST
	doubtedAbort // a RST with the next number of its sender, ahead of octets that its receiver misses
	doubtedSYN
	doubtedAck
)

// A doubt is a segment that the end it went to has reason not to believe.
type doubt struct {
	what      doubted
	into      tcp.Endpoint // who got it
	spoken    bool         // that end has sent something since
	ttl       uint8        // of the segment
	guesses   uint8        // RSTs with other numbers that were not taken, up to 255
	number    tcp.Seq      // its SEQ; of an ACK, its ACK field
	next      tcp.Seq      // what its receiver expected then, and the edge of its window
	edge      tcp.Seq
	guess     tcp.Seq // the newest of the guesses
	packet    int
	at        tcp.Time
	challenge int // frame of the challenge ACK, 0: none
}

// pending returns the doubt that awaits its outcome, or nil.
func (c *Conn) pending() *doubt {
	if c.bits&doubtful == 0 {
		return nil
	}
	return &c.odd.doubt
}

// settledBy reports whether s shows what its sender thinks of the doubted
// segment. What comes shortly after that, and the same way, may have been sent
// before it.
func (d *doubt) settledBy(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) bool {
	return from != d.into && (s.Flags&tcp.RST != 0 || now.Sub(d.at) > outlived || !sameWay(d.ttl, s.TTL))
}

// wonder begins a doubt about s, which went to the end into.
func (c *Conn) wonder(what doubted, s *tcp.Segment, into tcp.Endpoint, number tcp.Seq, now tcp.Time) {
	d := &c.oddments().doubt
	*d = doubt{
		what: what, into: into, ttl: s.TTL, number: number, next: c.contiguous(into.Peer()), edge: c.ends[into].edge,
		packet: s.Packet, at: now, guesses: d.guesses, guess: d.guess,
	}
	c.bits |= doubtful
}

// doubtSYN is called for a SYN of the end from, when it has still to be shown
// that this end has left the connection.
func (c *Conn) doubtSYN(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	if into := from.Peer(); synchronized(c.ends[into].assumed) {
		c.wonder(doubtedSYN, s, into, s.Seq, now)
	}
}

// weigh settles the doubt about an earlier segment, once the checks were asked,
// and begins one about s. before is what was known without s.
func (c *Conn) weigh(s *tcp.Segment, from tcp.Endpoint, before *sight, now tcp.Time) {
	if d := c.pending(); d != nil && d.into == from {
		if d.challenge == 0 && !d.spoken && c.challenges(s, d, before, now) {
			d.challenge = s.Packet
		}
		d.spoken = true
	} else if d != nil && d.settledBy(s, from, now) {
		c.bits &^= doubtful
	}
	into := from.Peer()
	y := &c.ends[into]
	if before.sentAt[from] == 0 || before.sentAt[into] == 0 || !synchronized(before.states[into]) {
		return
	}
	switch {
	case s.Flags&tcp.RST != 0 && !before.accepted && before.rst != resetReply:
		c.countGuess(s)
		if !c.inWindow(s.Seq, into) || !c.scaleKnown() {
			return
		}
		what := doubtedRST
		if before.rst == resetAbort {
			what = doubtedAbort
		}
		c.wonder(what, s, into, s.Seq, now)
	case s.Flags&(tcp.SYN|tcp.RST|tcp.ACK) == tcp.ACK && y.nxt.Before(s.Ack) && c.pending() == nil:
		c.wonder(doubtedAck, s, into, s.Ack, now)
	}
}

// countGuess counts a RST that was not taken, if its number is a new one.
func (c *Conn) countGuess(s *tcp.Segment) {
	d := &c.oddments().doubt
	if d.guesses == 0 || d.guess != s.Seq {
		d.guesses += min(1, 255-d.guesses)
		d.guess = s.Seq
	}
}

// challenges reports whether s may be the challenge ACK that the doubt drew: it
// comes at once and says nothing new.
func (c *Conn) challenges(s *tcp.Segment, d *doubt, before *sight, now tcp.Time) bool {
	const soon = 100 * time.Millisecond
	x := d.into
	return s.PureAck() && s.Seq == before.nxt[x] && s.Ack == before.acked[x] && s.Wnd == before.wnd[x] &&
		now.Sub(d.at) <= max(3*c.ends[x].response(), soon)
}

// synchronized reports whether the end is known to be in a state in which both
// ends know each other's numbers, and not in TIME-WAIT.
func synchronized(set tcp.StateSet) bool {
	one := set.Only()
	return one >= tcp.Established && one != tcp.TimeWait
}

// inWindow reports whether the number lies in the receive window of the end,
// behind what it expects next.
func (c *Conn) inWindow(seq tcp.Seq, into tcp.Endpoint) bool {
	y := &c.ends[into]
	next := c.contiguous(into.Peer())
	return y.has(hasAcked) && next.Before(seq) && seq.Before(y.edge)
}

// scaleKnown reports whether the windows are known in octets: both SYNs, which
// carry the scales, were captured.
func (c *Conn) scaleKnown() bool {
	return c.origin() == tcp.FromSYN && c.ends[tcp.Server].has(sentSYN|sentSYNACK)
}
