package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An End is what the capture tells of one end of a connection: the sequence
// variables of RFC 9293 §3.3.1 as a bystander can know them, and the two
// states. There are two of them in every Conn, so their size is most of what
// a connection costs; what ordinary connections do not need is in oddments.
type End struct {
	SentAt tcp.Time // its newest segment; 0: none captured yet
	Bytes  uint64   // payload octets, each number once

	ISS     tcp.Seq // its initial sequence number, with hasISS
	Nxt     tcp.Seq // after the highest octet captured of it (SND.NXT); while it is unseen, what its peer acknowledged
	Acked   tcp.Seq // the highest ACK it sent: RCV.NXT at least, with hasAcked
	Edge    tcp.Seq // the right edge of its window, the furthest it ever offered, with hasAcked
	FIN     tcp.Seq // the number of its FIN, with hasFIN
	Clean   tcp.Seq // its octets from here on were only ever sent along with an ACK of the peer's FIN
	probe   tcp.Seq // the response time is being measured by the ACK that covers this, with probing
	lastAck tcp.Seq // the ACK field of its newest segment

	TSVal     uint32 // its newest timestamp, with hasTS
	echo      uint32 // the newest timestamp of its peer that it echoed, and so has taken, with hasEcho
	tsUnclean uint32 // its newest timestamp on a segment that did not acknowledge the peer's FIN

	Clock   tick // when its running timer was last set: by a SYN, a FIN, or what restarted TIME-WAIT
	probeAt tick // when the octets before probe went toward it

	Packets uint32

	endStates

	MSS     uint16
	Wnd     uint16 // its newest window, before scaling
	maxWnd  uint16 // the widest, SYNs left aside
	ID      uint16 // the IP identification of its newest segment
	Bits    endBits
	Respond uint16 // the shortest response time measured, see responseUnit; 0: none yet
	gap     uint8  // between the last two copies of its SYN or FIN, see gapUnit
	Copies  uint8  // of its SYN or FIN, up to 255
	packed  uint8  // window scale it announced, plus one, and index of its stack: 4 bits each
	TTL     uint8  // of its newest segment that was not a RST
}

// endBits are the yes-or-no facts of an end.
type endBits uint16

const (
	HasISS   endBits = 1 << iota
	HasAcked         // it sent an ACK
	HasFIN           // its FIN was captured
	HasTS            // it sends timestamps
	SackOK           // its SYN permitted SACK
	SentSYN          // a SYN without ACK was captured of it
	SentSYNACK
	stillReads // it acknowledged data after its own FIN: the socket is not orphaned
	Lossy      // the capture misses octets of it
	answered   // its newest segment was answered by a RST in reply
	probing
	hasEcho    // it echoed a timestamp of its peer
	signs      // its SYN was signed
	goodSum    // a checksum of it was right: it does not leave them to the network card
	stackKnown // its SYN fits no other stack, or the caller named it
	ignoresSYN // it sent no SYN,ACK in time: it listens still, or waits for the answer to its own SYN
)

// agreed are what both SYNs can agree on that the gate asks of every segment.
const agreed = signs

const (
	maxShift   = 14 // RFC 7323 §2.3
	stackShift = 4
)

// The window scale and the stack have room in a byte, or this does not compile.
var (
	_ [1<<stackShift - 2 - maxShift]struct{}
	_ [1<<(8-stackShift) - tcp.NumStacks]struct{}
)

func (e *End) Has(b endBits) bool { return e.Bits&b != 0 }

// Stack returns the profile of the end.
func (e *End) Stack() *tcp.Stack { return e.stackID().Stack() }

func (e *End) stackID() tcp.StackID { return tcp.StackID(e.packed >> stackShift) }

// HasShift reports whether the end's SYN had a window scale.
func (e *End) HasShift() bool { return e.packed&(1<<stackShift-1) != 0 }

// Shift returns the window scale that the end announced, where it has one.
func (e *End) Shift() uint8 { return e.packed&(1<<stackShift-1) - 1 }

func (e *End) setShift(n uint8) {
	e.dropShift()
	e.packed |= min(n, maxShift) + 1
}

func (e *End) dropShift() { e.packed &^= 1<<stackShift - 1 }

func (e *End) setStack(id tcp.StackID) {
	e.packed = e.packed&(1<<stackShift-1) | uint8(id)<<stackShift
}

// Seen reports whether a segment of the end was captured.
func (e *End) Seen() bool { return e.SentAt != 0 }

// A tick is a Time in units of 1,024 ns, cut to 32 bits. Ages told from ticks
// hold up to 73 minutes, which is more than any timer here.
type tick uint32

func tickOf(t tcp.Time) tick { return tick(t >> 10) }

// Age returns how long ago k was.
func (k tick) Age(now tcp.Time) time.Duration { return time.Duration(tickOf(now)-k) << 10 }

const (
	responseUnit    = 1 << 16 // ns
	gapUnit         = 1 << 28 // ns, about a quarter of a second
	unknownResponse = 200 * time.Millisecond
	responseSlack   = 10 * time.Millisecond // stands for the variance, which is not measured
)

// Response is the end's response time seen from the tap: the shortest span
// from octets toward it to its ACK of them. Until one was measured it is
// 200 ms.
func (e *End) Response() time.Duration {
	if e.Respond == 0 {
		return unknownResponse
	}
	return time.Duration(e.Respond) * responseUnit
}

// InFlight is how long a segment captured toward the end may still be on its
// way, or the end's answer to it.
func (e *End) InFlight() time.Duration { return 2*e.Response() + responseSlack }

// clockGap is the span between the last two copies of the SYN or FIN.
func (e *End) clockGap() time.Duration { return time.Duration(e.gap) * gapUnit }

// setClock starts the end's timer. A further copy of a SYN or FIN tells the
// gap to the one before.
func (e *End) setClock(now tcp.Time, again bool) {
	if again {
		e.backOff(now)
		e.Copies += min(1, 255-e.Copies)
		return
	}
	e.gap, e.Copies, e.Clock = 0, 1, tickOf(now)
}

// backOff sets the end's timer again, after a pause that it doubles next time.
func (e *End) backOff(now tcp.Time) {
	if e.Clock != tickOf(now) { // else it was just set
		e.gap = uint8(min(e.Clock.Age(now)/gapUnit, 255))
		e.Clock = tickOf(now)
	}
}

// Window returns the newest advertised window in octets.
func (e *End) Window(peer *End) uint64 { return uint64(e.Wnd) << e.Scale(peer) }

// Scale is the shift of the end's windows: what its SYN announced, if the
// peer's announced one too (RFC 7323 §2.2).
func (e *End) Scale(peer *End) uint8 {
	if e.HasShift() && peer.HasShift() {
		return e.Shift()
	}
	return 0
}

// KnowsISS reports whether numbers before the end's initial one can be told
// from later ones. They no longer can once it has sent a good part of the
// sequence space (RFC 9293 §3.4).
func (e *End) KnowsISS() bool {
	const far = 1 << 30
	return e.Has(HasISS) && e.Bytes < far && e.Nxt.Minus(e.ISS) < far
}

// Una returns SND.UNA: what of the end's octets the peer has acknowledged.
func (e *End) Una(peer *End) tcp.Seq {
	if !peer.Has(HasAcked) {
		return e.ISS
	}
	if e.Nxt.Before(peer.Acked) {
		return e.Nxt
	}
	return peer.Acked
}

// HolesOf returns the stretches below nxt that were not captured of the end.
func (c *Conn) HolesOf(e tcp.Endpoint) holes.List {
	if c.Rare == nil {
		return nil
	}
	return c.Rare.holes[e]
}

// Contiguous returns how far the octets of the end are captured without a
// hole that its peer has not acknowledged: RCV.NXT of the peer if all that was
// captured arrived.
func (c *Conn) Contiguous(e tcp.Endpoint) tcp.Seq {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	lowest := subject.Nxt
	for _, h := range c.HolesOf(e) {
		if peer.Has(HasAcked) && h.To.AtMost(peer.Acked) {
			continue
		}
		if h.From.Before(lowest) {
			lowest = h.From
		}
	}
	if peer.Has(HasAcked) && lowest.Before(peer.Acked) && peer.Acked.AtMost(subject.Nxt) {
		lowest = peer.Acked
	}
	return lowest
}

// Read tells what s is, before it is noted.
func (c *Conn) Read(s *tcp.Segment, from tcp.Endpoint) (r recent.Reading) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !snd.Seen() {
		r.Fresh = s.Data
		return r
	}
	const acks = tcp.SYN | tcp.RST | tcp.ACK
	if s.Seq == snd.Nxt && s.Flags&tcp.SYN == 0 && (s.Len() > 0 || s.Flags&acks == tcp.ACK && rcv.Nxt-s.Ack < 1<<30) {
		r.Fresh = s.Data // in its turn, as nearly always
	} else {
		r.Foreign = c.fit(s, from) == fitsNot || c.answersTwice(s, from) || c.answersAgain(s, from)
		r.Keepalive = s.Data <= 1 && s.Flags&(tcp.SYN|tcp.FIN) == 0 && s.Seq.Add(1) == snd.Nxt && rcv.Has(HasAcked) && snd.Nxt.AtMost(rcv.Acked)
		if !r.Foreign {
			r.Fresh = c.freshOctets(s, from)
		}
		r.Old = s.Len() > 0 && r.Fresh == 0 && s.End().AtMost(snd.Nxt) && !(s.Flags&tcp.SYN != 0 && (!snd.Has(SentSYN|SentSYNACK) || s.Seq != snd.ISS))
	}
	r.Stale = snd.stale(s)
	return r
}

// stale reports whether s left the end before something that was already
// captured of it, or is a copy of its newest segment: a true retransmission
// has a newer timestamp or a new IP identification. One that is far below the
// newest is of a stack that draws them at random, and tells no order. An ACK
// that takes back what another acknowledged left before that.
func (x *End) stale(s *tcp.Segment) bool {
	if s.PureAck() && x.Has(HasAcked) && s.Ack.Before(x.Acked) {
		return true
	}
	if s.Options.HasTS && x.Has(HasTS) {
		if d := int32(s.Options.TSVal - x.TSVal); d != 0 {
			return d < 0
		}
		return s.ID == x.ID && s.Len() > 0
	}
	return s.ID != 0 && x.ID-s.ID < recent.MaxIDStep
}

// freshOctets counts the payload octets of s that were not captured before.
func (c *Conn) freshOctets(s *tcp.Segment, from tcp.Endpoint) tcp.Size {
	snd := &c.Ends[from]
	first := s.Seq
	if s.Flags&tcp.SYN != 0 {
		first++
	}
	last := first.Add(s.Data)
	if snd.Nxt.AtMost(first) {
		return s.Data
	}
	var fresh tcp.Size
	if snd.Nxt.Before(last) {
		fresh = last.Minus(snd.Nxt)
	}
	for _, h := range c.HolesOf(from) {
		lo, hi := tcp.Later(h.From, first), h.To
		if last.Before(hi) {
			hi = last
		}
		if lo.Before(hi) {
			fresh += hi.Minus(lo)
		}
	}
	return min(fresh, s.Data)
}

// note takes down the sequence numbers, the window and the options of s.
func (c *Conn) note(s *tcp.Segment, from tcp.Endpoint, r recent.Reading, now tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	snd.Packets++
	if r.Foreign {
		c.RareState().RetransmittedBytes[from] += uint64(s.Data)
		return
	}
	if s.Lawless() && (snd.Bits|rcv.Bits)&(HasISS|HasAcked) != 0 {
		return // whoever gets it drops it; without a connection its numbers are those of the answer
	}
	snd.Bytes += uint64(r.Fresh)
	if r.Fresh != s.Data || r.Old {
		c.noteRepeat(s, from, r)
	}
	first := !snd.Seen()
	if s.Flags&(tcp.SYN|tcp.FIN) != 0 || first {
		c.noteControls(s, from, first)
	}
	ackBefore := snd.Acked
	if s.Flags&tcp.ACK != 0 {
		c.noteAck(s, from, now)
	}
	c.noteOctets(s, from, first, ackBefore)
	if s.Len() > 0 && !r.Old && !rcv.Has(probing) {
		rcv.ask(s.End(), now)
	} else if r.Old {
		rcv.Bits &^= probing // Karn: an answer may be to either copy
	}
	c.newest[from].Take(s, snd.ID, r.Fresh > 0)
	if !r.Stale || first {
		snd.noteHeader(s)
	}
	snd.noteNewest(s, now)
}

// noteHeader takes down what the header of the end's newest segment has.
func (x *End) noteHeader(s *tcp.Segment) {
	x.Wnd, x.ID, x.TTL = s.Wnd, s.ID, s.TTL
	if s.Flags&tcp.SYN == 0 {
		x.maxWnd = max(x.maxWnd, s.Wnd)
	}
	if s.Options.HasTS {
		x.Bits |= HasTS
		x.TSVal = s.Options.TSVal
	}
}

// noteNewest takes down what every segment leaves behind, stale ones too.
func (x *End) noteNewest(s *tcp.Segment, now tcp.Time) {
	if s.Sum == tcp.SumGood {
		x.Bits |= goodSum
	}
	x.lastAck = s.Ack
	x.Bits &^= answered
	x.SentAt = now
}

// ask begins to measure the end's response time, by octets sent toward it
// that its ACK of the given number will cover.
func (x *End) ask(until tcp.Seq, now tcp.Time) {
	x.Bits |= probing
	x.probe, x.probeAt = until, tickOf(now)
}

// answer takes the response time, if the end's ACK covers what is waited for.
func (x *End) answer(ack tcp.Seq, now tcp.Time) {
	if x.Has(probing) && x.probe.AtMost(ack) {
		x.Bits &^= probing
		took := min(x.probeAt.Age(now)/responseUnit+1, 1<<16-1)
		if x.Respond == 0 || uint16(took) < x.Respond {
			x.Respond = uint16(took)
		}
	}
}

// noteRepeat counts what was sent again.
func (c *Conn) noteRepeat(s *tcp.Segment, from tcp.Endpoint, r recent.Reading) {
	if c.Ends[from.Peer()].probesWindow(s) {
		return
	}
	o := c.RareState()
	o.RetransmittedBytes[from] += uint64(s.Data - r.Fresh)
	answers := s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && !c.Ends[from].Has(SentSYNACK) // the other SYN, in a simultaneous open
	if r.Old && !r.Keepalive && !answers {
		o.Retransmits[from]++
		o.repeatedSYN = o.repeatedSYN || s.Flags&tcp.SYN != 0
	}
}

// noteControls takes down what SYN and FIN carry, and where the end's numbers
// begin in a capture that starts in the middle.
func (c *Conn) noteControls(s *tcp.Segment, from tcp.Endpoint, first bool) {
	snd := &c.Ends[from]
	switch {
	case s.Flags&tcp.SYN != 0:
		if first || !snd.Has(HasISS) || c.answersAnew(s, from) {
			snd.ISS, snd.Nxt = s.Seq, s.Seq
		}
		snd.Bits |= HasISS
		if s.Flags&tcp.ACK != 0 {
			snd.Bits |= SentSYNACK
		} else {
			snd.Bits |= SentSYN
		}
		snd.MSS = s.Options.MSS
		if s.Options.Signed {
			snd.Bits |= signs
		}
		if s.Options.SACKOK {
			snd.Bits |= SackOK
		}
		if s.Options.HasShift {
			snd.setShift(s.Options.Shift)
		}
		if s.Data > 0 {
			c.RareState().SYNData[from] = s.Data
		}
	case first && !snd.Has(HasISS):
		snd.Nxt = s.Seq
	}
	if s.Flags&(tcp.FIN|tcp.ACK|tcp.SYN) == tcp.FIN|tcp.ACK && !snd.Has(HasFIN) {
		snd.FIN = s.Seq.Add(s.Len() - 1)
		snd.Bits |= HasFIN
	}
}

// answersAnew reports whether s is a SYN+ACK with other numbers than the end's
// last, toward an end that still waits for one: the peer refused that, or did
// not receive it, and nothing holds the numbers.
func (c *Conn) answersAnew(s *tcp.Segment, from tcp.Endpoint) bool {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && snd.Has(SentSYNACK) && s.Seq != snd.ISS &&
		rcv.Assumed == tcp.SynSent.Set() && !rcv.Has(HasAcked) && rcv.ISS.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt)
}

// noteAck takes down the ACK field and the window.
func (c *Conn) noteAck(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	scaled := tcp.Size(s.Wnd)
	if s.Flags&tcp.SYN == 0 {
		scaled <<= snd.Scale(rcv)
	}
	edge := s.Ack.Add(scaled)
	if c.probedAt(rcv, s.Ack) {
		rcv.Nxt = s.Ack
	}
	if s.Flags&tcp.SYN != 0 && rcv.Has(HasISS) && !rcv.Has(HasAcked) && s.Ack == rcv.ISS.Add(1) && s.Ack.Add(1) == rcv.Nxt && (c.Rare == nil || c.Rare.SYNData[from.Peer()] == 0) {
		rcv.Nxt = s.Ack // a FIN on the SYN was not taken
	}
	if !rcv.Seen() {
		// Nothing was captured of the peer; what is acknowledged, it sent.
		if !snd.Has(HasAcked) && snd.Has(SentSYN) {
			rcv.ISS = s.Ack - 1
			rcv.Bits |= HasISS
		}
		if !snd.Has(HasAcked) || rcv.Nxt.Before(s.Ack) {
			c.newest[from.Peer()].CountUp()
			rcv.Nxt = s.Ack
		}
	}
	c.keepEarly(s, from, edge)
	if !snd.Has(HasAcked) {
		snd.Bits |= HasAcked
		snd.Acked, snd.Edge = s.Ack, edge
	} else {
		if snd.Acked.Before(s.Ack) && snd.Has(HasFIN) && !(rcv.Has(HasFIN) && s.Ack == rcv.FIN+1 && snd.Acked == rcv.FIN) {
			snd.Bits |= stillReads
		}
		snd.Acked, snd.Edge = tcp.Later(snd.Acked, s.Ack), tcp.Later(snd.Edge, edge)
	}
	snd.answer(s.Ack, now)
	if s.Options.NumSACK > 0 {
		c.noteSACK(s, from)
	}
	snd.noteEcho(s, rcv)
}

// noteEcho remembers the timestamp that s echoes, if the peer sent it: who
// forges one that is not there yet must not have all that follows refused.
func (x *End) noteEcho(s *tcp.Segment, peer *End) {
	if !s.Options.HasTS || !peer.Has(HasTS) || int32(s.Options.TSEcr-peer.TSVal) > 0 {
		return
	}
	if !x.Has(hasEcho) || int32(s.Options.TSEcr-x.echo) > 0 {
		x.echo = s.Options.TSEcr
		x.Bits |= hasEcho
	}
}

// Echoed returns the newest timestamp of its peer that the end has echoed.
func (x *End) Echoed() uint32 { return x.echo }

// noteSACK remembers the highest octets reported by SACK.
func (c *Conn) noteSACK(s *tcp.Segment, from tcp.Endpoint) {
	o := c.RareState()
	for _, b := range s.Options.SACK[:s.Options.NumSACK] {
		if last := &o.SACKed[from]; s.Ack.Before(b.Right) && (*last == tcp.Block{} || last.Right.AtMost(b.Right)) {
			*last = b
		}
	}
}

// HasBeyond reports whether the end reported octets by SACK that lie behind a hole.
func (c *Conn) HasBeyond(e tcp.Endpoint) bool {
	return c.Rare != nil && c.Rare.SACKed[e] != tcp.Block{} && c.Ends[e].Acked.Before(c.Rare.SACKed[e].Right)
}

// noteOctets moves nxt, and keeps the holes below it.
// ackBefore is what the end had acknowledged before this segment.
func (c *Conn) noteOctets(s *tcp.Segment, from tcp.Endpoint, first bool, ackBefore tcp.Seq) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	end := s.End()
	if first {
		snd.Clean, snd.tsUnclean = s.Seq, s.Options.TSVal-1
	}
	if !(s.Flags&tcp.ACK != 0 && rcv.Has(HasFIN) && rcv.FIN.Before(s.Ack)) {
		snd.Clean = tcp.Later(snd.Clean, end)
		if s.Options.HasTS && int32(s.Options.TSVal-snd.tsUnclean) > 0 {
			snd.tsUnclean = s.Options.TSVal
		}
	}
	if snd.Nxt.Before(s.Seq) {
		o := c.RareState()
		o.early[from.Peer()].BearOut(s.Seq)
		// An ACK of the peer's first FIN was asked for by that alone. One of a
		// repeated FIN tells nothing of when the first was received.
		repeated := rcv.Has(HasFIN) && rcv.Copies > 1 && rcv.FIN.Before(s.Ack)
		o.holes[from].Add(holes.Hole{From: snd.Nxt, To: s.Seq, Ack: ackBefore, HasAck: snd.Has(HasAcked) && !repeated})
		if rcv.Has(HasAcked) && snd.Nxt.Before(rcv.Acked) {
			snd.Bits |= Lossy
		}
		snd.Nxt = s.Seq
	} else if s.Len() > 0 && c.Rare != nil && len(c.Rare.holes[from]) > 0 {
		c.Rare.holes[from].Fill(s.Seq, end)
	}
	snd.Nxt = tcp.Later(snd.Nxt, end)
}
