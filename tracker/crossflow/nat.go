package crossflow

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/many"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What an address translation makes of one connection: two of them, with other
// addresses and the same numbers.

// begun is what is remembered of how a connection began.
type begun struct {
	sighting
	client, server netip.AddrPort
	iss            tcp.Seq // of the client
	id             uint16  // of its SYN, which a translation lets be
	pair           *pair   // that it is of; nil: none
}

// A memory remembers the newest connections that began, in a ring, and where each of them
// is, by the number that its client began with and by the client. A place that two of
// them want the newer one has.
type memory struct {
	seed     flow.Seed
	ring     []begun // of the newest
	next     uint32  // counts all that was kept, from 1
	byNumber []uint32
	byClient []uint32
}

func newMemory() memory { return memory{seed: flow.NewSeed()} }

// byNumberOf and byClientOf are where the place of a connection is told.
func (m *memory) byNumberOf(number tcp.Seq) uint32 {
	return uint32(flow.Mix(uint64(number)^m.seed[0], m.seed[1])) % (2 * maxBegun)
}

func (m *memory) byClientOf(client netip.AddrPort) uint32 {
	key := portOf(client)
	return m.seed.Hash(&key) % (2 * maxBegun)
}

// at returns what is remembered where places tell it, if it is as it is looked for, or nil.
func (m *memory) at(places []uint32, i uint32, is func(b *begun) bool) *begun {
	if places == nil || places[i] == 0 || m.next-places[i] >= maxBegun {
		return nil
	}
	if b := &m.ring[places[i]%maxBegun]; is(b) {
		return b
	}
	return nil
}

// with returns the newest whose client began with the number, or nil.
func (m *memory) with(number tcp.Seq) *begun {
	return m.at(m.byNumber, m.byNumberOf(number), func(b *begun) bool { return b.iss == number })
}

// of returns the newest of the client, or nil.
func (m *memory) of(client netip.AddrPort) *begun {
	return m.at(m.byClient, m.byClientOf(client), func(b *begun) bool { return b.client == client })
}

// keep remembers a connection.
func (m *memory) keep(b begun) {
	if m.ring == nil {
		m.ring, m.byNumber, m.byClient = make([]begun, maxBegun), make([]uint32, 2*maxBegun), make([]uint32, 2*maxBegun)
	}
	if m.next++; m.next == 0 {
		m.next++ // 0 is no place
	}
	m.ring[m.next%maxBegun] = b
	m.byNumber[m.byNumberOf(b.iss)], m.byClient[m.byClientOf(b.client)] = m.next, m.next
}

// A pair is of two connections that seem to be one.
type pair struct {
	void bool // many connections begin alike: some tools and devices draw no numbers
}

// A leg is a connection that is one of a pair, and what became of it.
type leg struct {
	begun
	answered  bool // its client got an answer to its SYN
	completed bool // its server got the ACK of its SYN+ACK
	refused   bool // its client answered with RST
	reset     bool // its client was reset
}

// translated looks whether the connection that came into sight is one that was
// seen with other addresses.
func (c *Detector) translated(e *tracker.Event) {
	now := begun{sighting{e.Time, e.Conn, e.Packet}, e.Client, e.Server, e.Seq, e.ID, nil}
	switch {
	case e.Origin == tcp.FromSYN && e.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN:
		if b := c.begun.with(e.Seq); b != nil && e.Time.Sub(b.at) <= many.TranslationTime && b.twinOf(&now) {
			if b.pair != nil {
				now.pair, b.pair.void = b.pair, true
			} else {
				now.pair = c.pair(*b, now, (*Detector).judgeSides)
			}
		}
		c.begun.keep(now)
	case e.Origin == tcp.FromSYNACK:
		b := c.begun.of(e.Client)
		if b != nil && e.Ack == b.iss+1 && e.Server != b.server && e.Time.Sub(b.at) <= many.TranslationPatience {
			c.pair(*b, now, (*Detector).judgeSides)
		}
	case e.Origin == tcp.FromMidstream && e.Flags&(tcp.ACK|tcp.RST) == tcp.ACK:
		to := e.End.Peer()
		client, other := addrOf(e, to), addrOf(e, e.End)
		now.client, now.server = client, other
		b := c.begun.of(client)
		if b != nil && other.Port() == b.server.Port() && other != b.server && e.Ack-b.iss-1 < many.EscapedOctets {
			c.pair(*b, now, (*Detector).judgeEscape)
		}
	}
}

// twinOf reports whether both may be one connection before and behind a
// translation of the address of one end, or of both.
func (b *begun) twinOf(o *begun) bool {
	switch client, server := b.client.Addr() != o.client.Addr(), b.server.Addr() != o.server.Addr(); {
	case b.id != o.id:
		return false
	case client && server:
		return b.client.Port() == o.client.Port() || b.server.Port() == o.server.Port()
	case client:
		return b.server == o.server
	case server:
		return b.client == o.client
	}
	return false
}

// pair has two connections judged a little later, when both have shown what they
// are.
func (c *Detector) pair(one, two begun, judge func(c *Detector, one, two *leg)) *pair {
	if c.legs[one.conn] != nil {
		return nil
	}
	if len(c.legs) >= MaxLegs {
		c.bounded.Pairs++
		return nil
	}
	p := new(pair)
	first, second := &leg{begun: one}, &leg{begun: two}
	c.legs[one.conn], c.legs[two.conn] = first, second
	c.later(many.TranslationPatience, func() {
		delete(c.legs, one.conn)
		delete(c.legs, two.conn)
		if !p.void {
			judge(c, first, second)
		}
	})
	return p
}

// legMoved takes note of what becomes of a leg.
func (c *Detector) legMoved(e *tracker.Event) {
	l := c.legs[e.Conn]
	if l == nil || e.Refuted {
		return
	}
	client := addrOf(e, e.End) == l.client
	switch {
	case client && e.Inputs&(tcp.NoTCB.Set()|tcp.SndRST.Set()) != 0:
		l.refused = true
	case client && e.Inputs.Has(tcp.RcvRST):
		l.reset = true
	case client && e.From == tcp.SynSent:
		l.answered = true
	case !client && e.To == tcp.Established:
		l.completed = true
	}
}

// judgeSides tells what two connections with one initial sequence number are.
func (c *Detector) judgeSides(one, two *leg) {
	if one.answered && !two.answered {
		one, two = two, one
	}
	switch {
	case one.answered && two.answered || two.completed:
		c.bothSides(one, two)
	case one.answered || one.reset || two.reset:
	case two.refused:
		c.mismatch("answer-from-inside", one, two, anomaly.Finding{})
	case two.answered:
		c.mismatch("answer-lost", one, two, anomaly.Finding{})
	}
}

// judgeEscape tells of a segment that belongs to another connection by its
// numbers.
func (c *Detector) judgeEscape(one, two *leg) {
	if !two.refused {
		return
	}
	var f anomaly.Finding
	if one.reset {
		f.Say("reset")
	}
	c.mismatch("escaped", one, two, f)
}

// mismatch tells of two connections that are one, and of how many more are as
// they are.
func (c *Detector) mismatch(cause string, one, two *leg, f anomaly.Finding) {
	f.Cause, f.Certain = cause, anomaly.ConfidenceAssumed
	f.Values = anomaly.Values{
		"client": one.client, "server": one.server, "one": one.conn, "client2": two.client, "server2": two.server, "two": two.conn,
		"frame": two.packet, "ip": two.client.Addr(),
	}
	key := portOf(one.server)
	key.HiA, key.HiB = flow.Words(two.server.Addr())
	c.tally(key, one, two, func(s *sides) {
		if s.n > 1 {
			f.Values["more"], f.Values["span"] = s.n-1, s.last.Sub(s.first)
			f.Say("more")
		}
		c.report(&many.NATMismatch, f, one.server.Addr(), one.server.Port(), s.n, s.last, s.samples)
	})
}

// bothSides counts a connection that was captured before and behind a
// translation.
func (c *Detector) bothSides(one, two *leg) {
	side, cause := [2]netip.Addr{one.server.Addr(), two.server.Addr()}, "destination"
	if side[0] == side[1] {
		side, cause = [2]netip.Addr{one.client.Addr(), two.client.Addr()}, "source"
	}
	key := hostOf(side[0])
	key.HiA, key.HiB = flow.Words(side[1])
	c.tally(key, one, two, func(s *sides) {
		c.report(&many.NATBothSides, anomaly.Finding{
			Cause:   cause,
			Certain: anomaly.ConfidenceAssumed,
			Values:  anomaly.Values{"n": s.n, "span": s.last.Sub(s.first), "side": side[0], "other": side[1]},
		}, side[0], 0, s.n, s.last, s.samples)
	})
}

// sides counts the connections that were seen with two tuples, by these.
type sides struct {
	n           int
	first, last tcp.Time
	samples     []sighting
	awaited     bool
	told        bool
}

// tally counts two connections that are one, and has that told a little later.
func (c *Detector) tally(key flow.Key, one, two *leg, tell func(s *sides)) {
	s := c.sides.at(key)
	if s.told {
		return
	}
	if s.n++; s.n == 1 {
		s.first = one.at
	}
	s.last = two.at
	if len(s.samples)+1 < maxSamples {
		s.samples = append(s.samples, one.sighting, two.sighting)
	}
	if s.awaited {
		return
	}
	s.awaited = true
	c.later(many.TranslationCount, func() {
		s.awaited, s.told = false, true
		tell(s)
	})
}
