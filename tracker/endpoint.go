package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An end is what the capture tells of one end of a connection: the sequence
// variables of RFC 9293 §3.3.1 as a bystander can know them, and the two
// states. There are two of them in every Conn, so their size is most of what
// a connection costs; what ordinary connections do not need is in oddments.
type end struct {
	sentAt tcp.Time // its newest segment; 0: none captured yet
	bytes  uint64   // payload octets, each number once

	iss     tcp.Seq // its initial sequence number, with hasISS
	nxt     tcp.Seq // after the highest octet captured of it (SND.NXT); while it is unseen, what its peer acknowledged
	acked   tcp.Seq // the highest ACK it sent: RCV.NXT at least, with hasAcked
	edge    tcp.Seq // the right edge of its window, the furthest it ever offered, with hasAcked
	fin     tcp.Seq // the number of its FIN, with hasFIN
	clean   tcp.Seq // its octets from here on were only ever sent along with an ACK of the peer's FIN
	probe   tcp.Seq // the response time is being measured by the ACK that covers this, with probing
	lastAck tcp.Seq // the ACK field of its newest segment

	tsval     uint32 // its newest timestamp, with hasTS
	tsUnclean uint32 // its newest timestamp on a segment that did not acknowledge the peer's FIN

	clock   tick // when its running timer was last set: by a SYN, a FIN, or what restarted TIME-WAIT
	probeAt tick // when the octets before probe went toward it

	packets uint32

	endStates

	mss     uint16
	wnd     uint16 // its newest window, before scaling
	id      uint16 // the IP identification of its newest segment
	bits    endBits
	respond uint16 // the shortest response time measured, see responseUnit; 0: none yet
	gap     uint8  // between the last two copies of its SYN or FIN, see gapUnit
	copies  uint8  // of its SYN or FIN, up to 255
	packed  uint8  // window scale it announced, with hasShift, and index of its stack: 4 bits each
	ttl     uint8  // of its newest segment that was not a RST
}

// endBits are the yes-or-no facts of an end.
type endBits uint16

const (
	hasISS   endBits = 1 << iota
	hasAcked         // it sent an ACK
	hasFIN           // its FIN was captured
	hasTS            // it sends timestamps
	hasShift         // its SYN had a window scale
	sackOK           // its SYN permitted SACK
	sentSYN          // a SYN without ACK was captured of it
	sentSYNACK
	stillReads // it acknowledged data after its own FIN: the socket is not orphaned
	lossy      // the capture misses octets of it
	answered   // its newest segment was answered by a RST in reply
	probing
	goodSum // a checksum of it was right: it does not leave them to the network card
)

const (
	maxShift   = 14 // RFC 7323 §2.3
	stackShift = 4
)

// The window scale and the stack have room in a byte, or this does not compile.
var (
	_ [1<<stackShift - 1 - maxShift]struct{}
	_ [1<<(8-stackShift) - tcp.NumStacks]struct{}
)

func (e *end) has(b endBits) bool { return e.bits&b != 0 }

// stack returns the profile of the end.
func (e *end) stack() *tcp.Stack { return tcp.StackID(e.packed >> stackShift).Stack() }

// shift returns the window scale that the end announced, with hasShift.
func (e *end) shift() uint8 { return e.packed & (1<<stackShift - 1) }

func (e *end) setShift(n uint8) { e.packed = e.packed&^(1<<stackShift-1) | min(n, maxShift) }

func (e *end) setStack(id tcp.StackID) {
	e.packed = e.packed&(1<<stackShift-1) | uint8(id)<<stackShift
}

// seen reports whether a segment of the end was captured.
func (e *end) seen() bool { return e.sentAt != 0 }

// A tick is a Time in units of 1,024 ns, cut to 32 bits. Ages told from ticks
// hold up to 73 minutes, which is more than any timer here.
type tick uint32

func tickOf(t tcp.Time) tick { return tick(t >> 10) }

// age returns how long ago k was.
func (k tick) age(now tcp.Time) time.Duration { return time.Duration(tickOf(now)-k) << 10 }

const (
	responseUnit    = 1 << 16 // ns
	gapUnit         = 1 << 28 // ns, about a quarter of a second
	unknownResponse = 200 * time.Millisecond
	responseSlack   = 10 * time.Millisecond // stands for the variance, which is not measured
)

// response is the end's response time seen from the tap: the shortest span
// from octets toward it to its ACK of them. Until one was measured it is
// 200 ms.
func (e *end) response() time.Duration {
	if e.respond == 0 {
		return unknownResponse
	}
	return time.Duration(e.respond) * responseUnit
}

// inFlight is how long a segment captured toward the end may still be on its
// way, or the end's answer to it.
func (e *end) inFlight() time.Duration { return 2*e.response() + responseSlack }

// clockGap is the span between the last two copies of the SYN or FIN.
func (e *end) clockGap() time.Duration { return time.Duration(e.gap) * gapUnit }

// setClock starts the end's timer. A further copy of a SYN or FIN tells the
// gap to the one before.
func (e *end) setClock(now tcp.Time, again bool) {
	if again {
		e.backOff(now)
		e.copies += min(1, 255-e.copies)
		return
	}
	e.gap, e.copies, e.clock = 0, 1, tickOf(now)
}

// backOff sets the end's timer again, after a pause that it doubles next time.
func (e *end) backOff(now tcp.Time) {
	if e.clock != tickOf(now) { // else it was just set
		e.gap = uint8(min(e.clock.age(now)/gapUnit, 255))
		e.clock = tickOf(now)
	}
}

// window returns the newest advertised window in octets.
func (e *end) window(peer *end) uint64 { return uint64(e.wnd) << e.scale(peer) }

// scale is the shift of the end's windows: what its SYN announced, if the
// peer's announced one too (RFC 7323 §2.2).
func (e *end) scale(peer *end) uint8 {
	if e.has(hasShift) && peer.has(hasShift) {
		return e.shift()
	}
	return 0
}

// knowsISS reports whether numbers before the end's initial one can be told
// from later ones. They no longer can once it has sent a good part of the
// sequence space (RFC 9293 §3.4).
func (e *end) knowsISS() bool {
	const far = 1 << 30
	return e.has(hasISS) && e.bytes < far && e.nxt.Minus(e.iss) < far
}

// una returns SND.UNA: what of the end's octets the peer has acknowledged.
func (e *end) una(peer *end) tcp.Seq {
	if !peer.has(hasAcked) {
		return e.iss
	}
	if e.nxt.Before(peer.acked) {
		return e.nxt
	}
	return peer.acked
}

// A hole is a stretch [from, to) of an end's octets that was passed over: not
// captured, or not yet.
type hole struct {
	from, to tcp.Seq
	ack      tcp.Seq // what the end had acknowledged before; with hasAck
	hasAck   bool
}

// maxHoles bounds the memory of octets that the capture missed or that came
// late. The oldest is forgotten first.
const maxHoles = 32

// holesOf returns the stretches below nxt that were not captured of the end.
func (c *Conn) holesOf(e tcp.Endpoint) []hole {
	if c.odd == nil {
		return nil
	}
	return c.odd.holes[e]
}

// contiguous returns how far the octets of the end are captured without a
// hole that its peer has not acknowledged: RCV.NXT of the peer if all that was
// captured arrived.
func (c *Conn) contiguous(e tcp.Endpoint) tcp.Seq {
	x, y := &c.ends[e], &c.ends[e.Peer()]
	lowest := x.nxt
	for _, h := range c.holesOf(e) {
		if y.has(hasAcked) && h.to.AtMost(y.acked) {
			continue
		}
		if h.from.Before(lowest) {
			lowest = h.from
		}
	}
	if y.has(hasAcked) && lowest.Before(y.acked) && y.acked.AtMost(x.nxt) {
		lowest = y.acked
	}
	return lowest
}

// A reading is what a segment is in the light of what its sender sent before.
type reading struct {
	fresh     tcp.Size // payload octets that were not captured before
	old       bool     // occupies sequence space, none of it new
	stale     bool     // sent before something already captured, or a copy made by the network: no news of its sender
	keepalive bool     // RFC 9293 §3.8.4
	foreign   bool     // its numbers fit neither window
}

// read tells what s is, before it is noted.
func (c *Conn) read(s *tcp.Segment, from tcp.Endpoint) (r reading) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if !x.seen() {
		r.fresh = s.Data
		return r
	}
	const acks = tcp.SYN | tcp.RST | tcp.ACK
	if s.Seq == x.nxt && (s.Len() > 0 || s.Flags&acks == tcp.ACK && y.nxt-s.Ack < 1<<30) {
		r.fresh = s.Data // in its turn, as nearly always
	} else {
		r.foreign = c.fit(s, from) == fitsNot
		r.keepalive = s.Data <= 1 && s.Flags&(tcp.SYN|tcp.FIN) == 0 && s.Seq.Add(1) == x.nxt && y.has(hasAcked) && x.nxt.AtMost(y.acked)
		if !r.foreign {
			r.fresh = c.freshOctets(s, from)
		}
		r.old = s.Len() > 0 && r.fresh == 0 && s.End().AtMost(x.nxt) && !(s.Flags&tcp.SYN != 0 && (!x.has(sentSYN|sentSYNACK) || s.Seq != x.iss))
	}
	r.stale = x.stale(s)
	return r
}

// stale reports whether s left the end before something that was already
// captured of it, or is a copy of its newest segment: a true retransmission
// has a newer timestamp or a new IP identification. One that is far below the
// newest is of a stack that draws them at random, and tells no order. An ACK
// that takes back what another acknowledged left before that.
func (x *end) stale(s *tcp.Segment) bool {
	if s.PureAck() && x.has(hasAcked) && s.Ack.Before(x.acked) {
		return true
	}
	if s.Options.HasTS && x.has(hasTS) {
		if d := int32(s.Options.TSVal - x.tsval); d != 0 {
			return d < 0
		}
		return s.ID == x.id && s.Len() > 0
	}
	return s.ID != 0 && x.id-s.ID < maxIDStep
}

// freshOctets counts the payload octets of s that were not captured before.
func (c *Conn) freshOctets(s *tcp.Segment, from tcp.Endpoint) tcp.Size {
	x := &c.ends[from]
	first := s.Seq
	if s.Flags&tcp.SYN != 0 {
		first++
	}
	last := first.Add(s.Data)
	if x.nxt.AtMost(first) {
		return s.Data
	}
	var fresh tcp.Size
	if x.nxt.Before(last) {
		fresh = last.Minus(x.nxt)
	}
	for _, h := range c.holesOf(from) {
		lo, hi := tcp.Later(h.from, first), h.to
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
func (c *Conn) note(s *tcp.Segment, from tcp.Endpoint, r reading, now tcp.Time) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	x.packets++
	if r.foreign {
		c.oddments().retransmittedBytes[from] += uint64(s.Data)
		return
	}
	if s.Lawless() && (x.bits|y.bits)&(hasISS|hasAcked) != 0 {
		return // whoever gets it drops it; without a connection its numbers are those of the answer
	}
	x.bytes += uint64(r.fresh)
	if r.fresh != s.Data || r.old {
		c.noteRepeat(s, from, r)
	}
	first := !x.seen()
	if s.Flags&(tcp.SYN|tcp.FIN) != 0 || first {
		c.noteControls(s, from, first)
	}
	ackBefore := x.acked
	if s.Flags&tcp.ACK != 0 {
		c.noteAck(s, from, now)
	}
	c.noteOctets(s, from, first, ackBefore)
	if s.Len() > 0 && !r.old && !y.has(probing) {
		y.ask(s.End(), now)
	} else if r.old {
		y.bits &^= probing // Karn: an answer may be to either copy
	}
	if !r.stale || first {
		x.noteHeader(s)
	}
	x.noteNewest(s, now)
}

// noteHeader takes down what the header of the end's newest segment has.
func (x *end) noteHeader(s *tcp.Segment) {
	x.wnd, x.id, x.ttl = s.Wnd, s.ID, s.TTL
	if s.Options.HasTS {
		x.bits |= hasTS
		x.tsval = s.Options.TSVal
	}
}

// noteNewest takes down what every segment leaves behind, stale ones too.
func (x *end) noteNewest(s *tcp.Segment, now tcp.Time) {
	if s.Sum == tcp.SumGood {
		x.bits |= goodSum
	}
	x.lastAck = s.Ack
	x.bits &^= answered
	x.sentAt = now
}

// ask begins to measure the end's response time, by octets sent toward it
// that its ACK of the given number will cover.
func (x *end) ask(until tcp.Seq, now tcp.Time) {
	x.bits |= probing
	x.probe, x.probeAt = until, tickOf(now)
}

// answer takes the response time, if the end's ACK covers what is waited for.
func (x *end) answer(ack tcp.Seq, now tcp.Time) {
	if x.has(probing) && x.probe.AtMost(ack) {
		x.bits &^= probing
		took := min(x.probeAt.age(now)/responseUnit+1, 1<<16-1)
		if x.respond == 0 || uint16(took) < x.respond {
			x.respond = uint16(took)
		}
	}
}

// noteRepeat counts what was sent again.
func (c *Conn) noteRepeat(s *tcp.Segment, from tcp.Endpoint, r reading) {
	o := c.oddments()
	o.retransmittedBytes[from] += uint64(s.Data - r.fresh)
	answers := s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && !c.ends[from].has(sentSYNACK) // the other SYN, in a simultaneous open
	if r.old && !r.keepalive && !answers {
		o.retransmits[from]++
		o.repeatedSYN = o.repeatedSYN || s.Flags&tcp.SYN != 0
	}
}

// noteControls takes down what SYN and FIN carry, and where the end's numbers
// begin in a capture that starts in the middle.
func (c *Conn) noteControls(s *tcp.Segment, from tcp.Endpoint, first bool) {
	x := &c.ends[from]
	switch {
	case s.Flags&tcp.SYN != 0:
		if first || !x.has(hasISS) || c.answersAnew(s, from) {
			x.iss, x.nxt = s.Seq, s.Seq
		}
		x.bits |= hasISS
		if s.Flags&tcp.ACK != 0 {
			x.bits |= sentSYNACK
		} else {
			x.bits |= sentSYN
		}
		x.mss = s.Options.MSS
		if s.Options.SACKOK {
			x.bits |= sackOK
		}
		if s.Options.HasShift {
			x.bits |= hasShift
			x.setShift(s.Options.Shift)
		}
		if s.Data > 0 {
			c.oddments().synData[from] = s.Data
		}
	case first && !x.has(hasISS):
		x.nxt = s.Seq
	}
	if s.Flags&(tcp.FIN|tcp.ACK|tcp.SYN) == tcp.FIN|tcp.ACK && !x.has(hasFIN) {
		x.fin = s.Seq.Add(s.Len() - 1)
		x.bits |= hasFIN
	}
}

// answersAnew reports whether s is a SYN+ACK with other numbers than the end's
// last, toward an end that still waits for one: the peer refused that, or did
// not receive it, and nothing holds the numbers.
func (c *Conn) answersAnew(s *tcp.Segment, from tcp.Endpoint) bool {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	return s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && x.has(sentSYNACK) && s.Seq != x.iss &&
		y.assumed == tcp.SynSent.Set() && !y.has(hasAcked) && y.iss.Before(s.Ack) && s.Ack.AtMost(y.nxt)
}

// noteAck takes down the ACK field and the window.
func (c *Conn) noteAck(s *tcp.Segment, from tcp.Endpoint, now tcp.Time) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	scaled := tcp.Size(s.Wnd)
	if s.Flags&tcp.SYN == 0 {
		scaled <<= x.scale(y)
	}
	edge := s.Ack.Add(scaled)
	if s.Flags&tcp.SYN != 0 && y.has(hasISS) && !y.has(hasAcked) && s.Ack == y.iss.Add(1) && s.Ack.Add(1) == y.nxt && (c.odd == nil || c.odd.synData[from.Peer()] == 0) {
		y.nxt = s.Ack // a FIN on the SYN was not taken
	}
	if !y.seen() {
		// Nothing was captured of the peer; what is acknowledged, it sent.
		if !x.has(hasAcked) && x.has(sentSYN) {
			y.iss = s.Ack - 1
			y.bits |= hasISS
		}
		if !x.has(hasAcked) || y.nxt.Before(s.Ack) {
			y.nxt = s.Ack
		}
	}
	if !x.has(hasAcked) {
		x.bits |= hasAcked
		x.acked, x.edge = s.Ack, edge
	} else {
		if x.acked.Before(s.Ack) && x.has(hasFIN) && !(y.has(hasFIN) && s.Ack == y.fin+1 && x.acked == y.fin) {
			x.bits |= stillReads
		}
		x.acked, x.edge = tcp.Later(x.acked, s.Ack), tcp.Later(x.edge, edge)
	}
	x.answer(s.Ack, now)
	if s.Options.NumSACK > 0 {
		c.noteSACK(s, from)
	}
	if c.odd != nil {
		c.odd.noteEcho(s, from)
	}
}

// noteEcho remembers the timestamp that s echoes.
func (o *oddments) noteEcho(s *tcp.Segment, from tcp.Endpoint) {
	if s.Options.HasTS && (!o.hasEcho[from] || int32(s.Options.TSEcr-o.echo[from]) > 0) {
		o.echo[from], o.hasEcho[from] = s.Options.TSEcr, true
	}
}

// noteSACK remembers the highest edge of the octets reported by SACK.
func (c *Conn) noteSACK(s *tcp.Segment, from tcp.Endpoint) {
	o := c.oddments()
	for _, b := range s.Options.SACK[:s.Options.NumSACK] {
		if s.Ack.Before(b.Right) && (!o.hasSACK[from] || o.sackEdge[from].Before(b.Right)) {
			o.sackEdge[from], o.hasSACK[from] = b.Right, true
		}
	}
}

// noteOctets moves nxt, and keeps the holes below it.
// ackBefore is what the end had acknowledged before this segment.
func (c *Conn) noteOctets(s *tcp.Segment, from tcp.Endpoint, first bool, ackBefore tcp.Seq) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	end := s.End()
	if first {
		x.clean, x.tsUnclean = s.Seq, s.Options.TSVal-1
	}
	if !(s.Flags&tcp.ACK != 0 && y.has(hasFIN) && y.fin.Before(s.Ack)) {
		x.clean = tcp.Later(x.clean, end)
		if s.Options.HasTS && int32(s.Options.TSVal-x.tsUnclean) > 0 {
			x.tsUnclean = s.Options.TSVal
		}
	}
	if x.nxt.Before(s.Seq) {
		o := c.oddments()
		// An ACK of the peer's first FIN was asked for by that alone. One of a
		// repeated FIN tells nothing of when the first was received.
		repeated := y.has(hasFIN) && y.copies > 1 && y.fin.Before(s.Ack)
		o.holes[from] = append(o.holes[from], hole{x.nxt, s.Seq, ackBefore, x.has(hasAcked) && !repeated})
		if y.has(hasAcked) && x.nxt.Before(y.acked) {
			x.bits |= lossy
		}
		if len(o.holes[from]) > maxHoles {
			o.holes[from] = o.holes[from][1:]
		}
		x.nxt = s.Seq
	} else if s.Len() > 0 && c.odd != nil && len(c.odd.holes[from]) > 0 {
		left := fill(c.odd.holes[from], s.Seq, end)
		c.odd.holes[from] = left[max(0, len(left)-maxHoles):]
	}
	x.nxt = tcp.Later(x.nxt, end)
}

// fill takes [from, to) out of the holes.
func fill(holes []hole, from, to tcp.Seq) []hole {
	var left []hole
	for _, h := range holes {
		if to.AtMost(h.from) || h.to.AtMost(from) {
			left = append(left, h)
			continue
		}
		if h.from.Before(from) {
			left = append(left, hole{h.from, from, h.ack, h.hasAck})
		}
		if to.Before(h.to) {
			left = append(left, hole{to, h.to, h.ack, h.hasAck})
		}
	}
	return left
}
