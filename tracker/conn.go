package tracker

import (
	"iter"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Conn is one connection: an incarnation of a pair of addresses and ports.
type Conn struct {
	// What every segment asks first fills one line of the cache.
	key         flow.Key
	odd         *oddments // what only unusual connections need; nil until then
	id          uint32    // 0 while provisional
	incarnation uint16
	bits        connBits

	ends  [2]end
	first *step // of its history, see steps: a slice is longer by 14 octets
	start tcp.Time
	slot  uint32     // of its alarm, from 1; 0: none is set
	trail uint32     // place of its newest segment in the trail; 0: none
	place uint32     // in the order of eviction, see order; 0: there is none
	have  uint8      // steps
	room  uint8      // for steps
	past  pastInputs // that ever were in steps; what is not spares the look, which cost 3 % of a short connection
}

// chunkConns is how many connections are made at once, 16 KiB: one by one each
// would take 288 octets.
const chunkConns = 16 << 10 / int(unsafe.Sizeof(Conn{}))

// A pool is where connections lie.
type pool struct {
	chunks []*[chunkConns]Conn
	fresh  int     // of the last chunk, never used
	spare  []*Conn // that were removed, to be used again, so that a flood leaves no garbage
}

// take returns a connection of which nothing is known.
func (p *pool) take() (c *Conn) {
	if last := len(p.spare) - 1; last >= 0 {
		c, p.spare = p.spare[last], p.spare[:last]
		*c = Conn{first: c.first, room: c.room}
		return c
	}
	if p.fresh == 0 {
		p.chunks, p.fresh = append(p.chunks, new([chunkConns]Conn)), chunkConns
	}
	c = &p.chunks[len(p.chunks)-1][chunkConns-p.fresh]
	p.fresh--
	return c
}

// giveBack takes a connection that was removed.
func (p *pool) giveBack(c *Conn) {
	c.bits |= gone
	p.spare = append(p.spare, c)
}

// all yields every connection, as long as none is evicted in the order in which
// they began.
func (p *pool) all() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for i, chunk := range p.chunks {
			used := chunk[:]
			if i == len(p.chunks)-1 {
				used = chunk[:chunkConns-p.fresh]
			}
			for j := range used {
				if c := &used[j]; c.bits&gone == 0 && !yield(c) {
					return
				}
			}
		}
	}
}

// connBits are the yes-or-no facts of a connection, and in the top bits who
// closed it.
type connBits uint16

const (
	clientIsLow   connBits = 1 << iota // the client is the end whose address sorts first
	isProvisional                      // its SYN may be forged or old: not told to anybody yet
	originSYNACK
	originMidstream
	gone     // no longer in the flow table
	haunted  // segments of an older connection fell among its own, or may: oddments.haunts
	doubtful // oddments.doubt waits for what the alleged sender does next
	watched  // a segment waits to be accepted or refused: trouble.beyond
	copied   // its SYN is an old one, copied by the network: the client did not send it now

	closedByShift = 12
)

func (c *Conn) provisional() bool { return c.bits&isProvisional != 0 }

func (c *Conn) origin() tcp.Origin {
	switch {
	case c.bits&originSYNACK != 0:
		return tcp.FromSYNACK
	case c.bits&originMidstream != 0:
		return tcp.FromMidstream
	}
	return tcp.FromSYN
}

func (c *Conn) closedBy() tcp.ClosedBy { return tcp.ClosedBy(c.bits >> closedByShift & 15) }

func (c *Conn) setClosedBy(by tcp.ClosedBy) {
	c.bits = c.bits&^(15<<closedByShift) | connBits(by)<<closedByShift
}

// oddments are what only some connections need.
type oddments struct {
	older              *Conn // the incarnation before it
	holes              [2][]hole
	retransmits        [2]uint64
	retransmittedBytes [2]uint64
	synData            [2]tcp.Size // octets that rode on the SYN (RFC 7413)
	sackEdge           [2]tcp.Seq  // the highest edge that the end reported by SACK
	hasSACK            [2]bool
	echo               [2]uint32 // the timestamp that the end echoed last: the newest that it has taken
	hasEcho            [2]bool
	refuted            [2]tcp.InputSet // inputs that were taken back once
	filled             [2]tcp.Seq      // the end of what completed the octets before the peer's FIN, from the end's view
	hasFilled          [2]bool
	lacks              [2]tcp.Seq // what the end still waits for, as it shows, although a copy was captured before the peer's FIN
	isLacking          [2]bool
	closing            [2]closing
	repeatedSYN        bool      // a SYN, with or without ACK, was sent again
	haunts             *[2]haunt // by the end that the segment claims to be of; nil until there is one
	gaps               [2]gap    // what is missing of the end's octets
	doubt              doubt
	trouble            *[2]trouble
}

// closing is what the close of a connection left for the anomalies to cite.
type closing struct {
	finCopy    int      // frame of the newest repetition of the end's FIN; 0: none
	finCopyAt  tcp.Time // when it was captured
	crossed    bool     // that copy left before the ACK of an earlier one can have arrived
	unanswered bool     // the peer has not acknowledged that copy yet
	acks       []int    // frames by which the end acknowledged the peer's FIN, the newest few
	strayInto  int      // frame of the newest segment that reached the end in TIME-WAIT
	strayFlags tcp.Flags
}

func (k *closing) keepACK(packet int) {
	if len(k.acks) < maxAcksKept && packet != 0 {
		k.acks = append(k.acks, packet)
	}
}

// maxAcksKept bounds closing.acks.
const maxAcksKept = 8

func (c *Conn) oddments() *oddments {
	if c.odd == nil {
		c.odd = new(oddments)
	}
	return c.odd
}

// older returns the incarnation before it, or nil.
func (c *Conn) older() *Conn {
	if c.odd == nil {
		return nil
	}
	return c.odd.older
}

func (c *Conn) setOlder(old *Conn) {
	if old != nil || c.odd != nil {
		c.oddments().older = old
	}
}

// last returns the time of the connection's newest packet.
func (c *Conn) last() tcp.Time {
	return max(c.ends[tcp.Client].sentAt, c.ends[tcp.Server].sentAt, c.start)
}

// closed reports whether nothing more is expected of an end.
func (x *end) closed() bool {
	return x.assumed&^(tcp.Closed.Set()|tcp.Listen.Set()|tcp.Unknown.Set()) == 0
}

// quiet is how long nothing must contradict an assumed arrival before it
// counts as settled: longer than either end would have waited to repeat
// something.
func (c *Conn) quiet() time.Duration {
	rto := 2*c.ends[tcp.Client].response() + 2*c.ends[tcp.Server].response() + 200*time.Millisecond
	return max(3*time.Second, 4*rto, c.ends[tcp.Client].nextCopy(), c.ends[tcp.Server].nextCopy())
}

// nextCopy is how long an end waits that has to repeat something, if it had to
// repeat its SYN or FIN: twice as long as the last time (RFC 6298 §5.5). 0: it
// repeated neither, or what it sent last is no copy.
func (x *end) nextCopy() time.Duration {
	if x.copies < 2 {
		return 0
	}
	return 2*x.clockGap() + 2*gapUnit + time.Second
}

// certainty tells how sure the assumed state of an end is at the given time.
func (c *Conn) certainty(e tcp.Endpoint, now tcp.Time) tcp.Certainty {
	x, peer := &c.ends[e], &c.ends[e.Peer()]
	if x.assumed == x.proved && x.assumed.Len() == 1 {
		return tcp.Proved
	}
	if x.assumed.Len() > 1 {
		return tcp.Assumed
	}
	var newest, before step
	for _, st := range c.steps() {
		if st.end() == e {
			before, newest = newest, st
		}
	}
	ins, rested := newest.inputs(), now.Sub(newest.at) >= c.quiet()
	switch {
	case newest.bits == 0:
		if x.assumed.Only() == tcp.Closed { // erased: it answered with RST from the first
			return tcp.Settled
		}
	case newest.basis() == tcp.ByTimer && before.state() == tcp.FinWait2 && !peer.has(answered):
		return tcp.Assumed // the timer is that of orphans, and no packet tells whether this is one
	case ins.Has(tcp.NoTCB) || ins.Has(tcp.Reopened) && newest.basis() != tcp.ByAssumption || newest.basis() == tcp.ByTimer:
		return tcp.Settled
	case ins.Has(tcp.RcvAckOfSYN) && int32(peer.clock-tickOf(newest.at)) > 0:
		return tcp.Assumed // the peer sent its SYN again: it got no answer
	case ins&(tcp.RcvAckOfSYN.Set()|tcp.RcvAckOfFIN.Set()|tcp.Unreachable.Set()|tcp.SndRST.Set()) != 0 && rested && !peer.has(lossy):
		return tcp.Settled // it would have repeated its SYN or FIN by now, or gone on
	case ins&(tcp.RcvRST.Set()|tcp.RcvRSTPassive.Set()) != 0 && rested && x.una(peer).Before(x.nxt):
		return tcp.Settled // it would have repeated what was outstanding
	}
	return tcp.Assumed
}

// possible returns all states that the end may be in, where there are more
// than one: those of the assumed set, or else every state from the last that
// its own segments show up to the assumed one.
func (c *Conn) possible(e tcp.Endpoint, certainty tcp.Certainty) tcp.StateSet {
	x := &c.ends[e]
	if x.assumed.Len() > 1 {
		return x.assumed
	}
	if certainty != tcp.Assumed {
		return 0
	}
	var set, newest tcp.StateSet
	for _, st := range c.steps() {
		if st.end() != e {
			continue
		}
		switch {
		case st.basis() == tcp.BySending, st.basis() == tcp.ByProof, st.inputs() == 0:
			set = 0
		case st.basis() == tcp.ByTimer:
			set = newest // it had settled there
		}
		newest = st.state().Set()
		set |= newest
	}
	if set.Len() < 2 {
		set |= x.proved
	}
	if set.Len() < 2 || set.Has(tcp.Unknown) {
		return 0
	}
	return set
}

// addr returns the address and port of an end.
func (c *Conn) addr(e tcp.Endpoint) netip.AddrPort {
	return c.key.Addr((e == tcp.Client) == (c.bits&clientIsLow != 0))
}

// endOf returns which end sends the segments that come from the lower, or the
// higher, address of the key.
func (c *Conn) endOf(low bool) tcp.Endpoint {
	var lower tcp.Endpoint
	if low {
		lower = 1
	}
	return lower ^ tcp.Endpoint(c.bits&clientIsLow) // without a branch, as keyOf
}

// largest is the most data that one segment of the end may carry on the wire.
func (c *Conn) largest(e tcp.Endpoint) tcp.Size {
	if mss := c.ends[e.Peer()].mss; mss != 0 {
		return tcp.Size(mss)
	}
	return jumboSegment
}

// endOn returns the client, or the server.
func (c *Conn) endOn(client bool) *end {
	if client {
		return &c.ends[tcp.Client]
	}
	return &c.ends[tcp.Server]
}

// self reports whether both ends of the connection are the same.
func (c *Conn) self() bool { return c.key.Self() }

// wasOpen reports whether the end was in ESTABLISHED once.
func (c *Conn) wasOpen(e tcp.Endpoint) bool {
	if c.origin() == tcp.FromMidstream {
		return true
	}
	for _, st := range c.steps() {
		if st.end() == e && st.state() == tcp.Established {
			return true
		}
	}
	return false
}

// endIn returns which end of the other connection, on the same addresses and
// ports, is the host that is the end e of c.
func (c *Conn) endIn(other *Conn, e tcp.Endpoint) tcp.Endpoint {
	return other.endOf(c.endOf(true) == e)
}

// formerOf returns the real connection before c on the same addresses and
// ports, or nil.
func (t *Machine) formerOf(c *Conn) *Conn {
	for o := c.older(); o != nil; o = o.older() {
		if !o.provisional() {
			return o
		}
	}
	return nil
}

// intoTimeWait returns the step by which the end came to the TIME-WAIT in which
// its steps leave it, or which a new connection ended.
func (c *Conn) intoTimeWait(e tcp.Endpoint) (began step, ok bool) {
	for _, st := range slices.Backward(c.steps()) {
		if st.end() == e && !st.reopens() {
			return st, st.state() == tcp.TimeWait
		}
	}
	return step{}, false
}

// passed reports whether the end went through the state.
func (c *Conn) passed(e tcp.Endpoint, through tcp.State) bool {
	return slices.ContainsFunc(c.steps(), func(st step) bool { return st.end() == e && st.state() == through })
}

// openedOnce reports whether no part of the handshake was repeated or taken
// back: an answer may else be to either copy (Karn, RFC 6298 §3).
func (o *oddments) openedOnce() bool {
	return o == nil || !o.repeatedSYN && (o.refuted[tcp.Client]|o.refuted[tcp.Server])&(tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set()) == 0
}
