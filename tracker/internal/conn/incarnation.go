package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// One pair of addresses and ports may see many connections. The newest is
// called from the flow table and knows the one before it. A closed one is
// remembered for as long as its segments may still wander in the network.

// remembered is how long after its end a connection's late segments are still
// told from those of another: twice the maximum segment lifetime of RFC 9293
// §3.4.2.
const remembered = 240 * tcp.Second

// MaxProvisional bounds the SYNs that wait, on one pair of addresses and
// ports, for a sign that they are real.
const MaxProvisional = 4

// maxIncarnations bounds the connections, dead ones too, that are remembered on
// one pair of addresses and ports.
const maxIncarnations = 8

// choose finds the connection that the segment belongs to, or opens one.
// newest is the newest on its addresses and ports, or nil.
func (m *Machine) choose(newest *Conn, s *tcp.Segment, low bool) (c *Conn, from tcp.Endpoint) {
	if s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN {
		c = m.chooseForSYN(newest, s, low)
	} else {
		c = m.chooseByNumbers(newest, s, low)
	}
	if c == nil {
		c = m.open(newest, low, s)
	}
	return c, c.EndOf(low)
}

// chooseForSYN returns the connection that a SYN without ACK is part of, or
// nil if it opens one. A SYN on a connection that its sender still has may be
// forged, or old, or the sender has lost its memory: it opens a connection that
// is provisional until an answer tells.
func (m *Machine) chooseForSYN(newest *Conn, s *tcp.Segment, low bool) *Conn {
	for c := newest; c != nil; c = c.Older() {
		from := c.EndOf(low)
		snd := &c.Ends[from]
		if snd.Has(endpoint.HasISS) && snd.ISS == s.Seq {
			over := snd.Closed() && c.Ends[from.Peer()].Closed() && c.Ends[from.Peer()].Has(endpoint.SentSYNACK)
			if c == newest && !over || !snd.Closed() {
				return c
			}
			break // an old SYN, which the peer may take for a new one
		}
		if from == tcp.Server && !snd.Seen() && c.Ends[tcp.Client].Assumed == tcp.SynSent.Set() {
			return c // simultaneous open: the other end's SYN
		}
	}
	return nil
}

// fits says how well a segment's numbers agree with a connection.
type fits uint8

const (
	fitsNot   fits = iota
	fitsLoose      // near enough, if the capture missed packets
	fitsWell
)

// chooseByNumbers returns the newest connection that the segment fits, or nil
// if there is none on its addresses and ports.
func (m *Machine) chooseByNumbers(newest *Conn, s *tcp.Segment, low bool) *Conn {
	if newest == nil {
		return nil
	}
	if newest.Rare != nil && newest.Rare.second != nil {
		m.chooseAnswer(newest, s, newest.EndOf(low))
	}
	from := newest.EndOf(low)
	if newest.Rare != nil && newest.BehindFINs(s, from) && newest.bearsOutAstray(s, from) {
		for e := range tcp.Endpoint(2) { // they go on in another, whose SYNs were not captured
			m.reuse(newest, e, m.cause(s, tcp.ByAssumption))
		}
		return nil
	}
	best, fit := newest, newest.fit(s, from)
	for c := newest.Older(); c != nil && (fit != fitsWell || best.Provisional()); c = c.Older() {
		f := c.fit(s, c.EndOf(low))
		if f > fit || f == fit && f != fitsNot && best.Provisional() && s.Flags&tcp.SYN == 0 { // a SYN that waits for its answer opens nothing yet
			best, fit = c, f
		}
	}
	if fit == fitsNot && s.Flags&tcp.RST == 0 && (s.Len() > 0) && newest.Ends[tcp.Client].Closed() && newest.Ends[tcp.Server].Closed() {
		return nil // a connection whose SYN was not captured
	}
	if fit == fitsNot && s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN|tcp.ACK && newest.oneWay(newest.EndOf(low)) {
		return nil
	}
	return best
}

// oneWay reports whether only that end of the connection is captured, and has
// sent more than what opens one. Of it, a SYN with other numbers opens another
// connection: there is nobody to tell whether it was challenged.
func (c *Conn) oneWay(e tcp.Endpoint) bool {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	if !subject.Seen() || peer.Seen() {
		return false
	}
	return !subject.Has(endpoint.SentSYN|endpoint.SentSYNACK) || subject.ISS+1 != subject.Nxt || subject.Has(endpoint.HasAcked) && (subject.Has(endpoint.SentSYN) || subject.Acked != peer.ISS+1)
}

// fit tells whether the segment's numbers lie in the windows of the connection.
func (c *Conn) fit(s *tcp.Segment, from tcp.Endpoint) fits {
	const far = 1 << 30
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	fit := fitsWell
	if s.Flags&tcp.ACK != 0 {
		switch {
		case s.Flags&tcp.SYN != 0 && rcv.Has(endpoint.HasISS):
			if !(rcv.ISS.Before(s.Ack) && s.Ack.AtMost(rcv.Nxt)) {
				return fitsNot
			}
		case rcv.KnowsISS() && !rcv.ISS.Before(s.Ack):
			return fitsNot
		case !rcv.Seen() && !rcv.Has(endpoint.HasISS) && !snd.Has(endpoint.HasAcked):
			// nothing known to measure by
		case c.waits(from.Peer()) && rcv.Nxt.Before(s.Ack):
			return fitsNot
		default:
			switch d := int32(s.Ack - rcv.Nxt); {
			case d > far || d < -far:
				return fitsNot
			case d > 0:
				fit = fitsLoose
			}
		}
	}
	if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && (!snd.Seen() || rcv.Assumed == tcp.SynSent.Set()) || s.Flags&(tcp.RST|tcp.ACK) == tcp.RST|tcp.ACK && s.Seq == 0 {
		return fit // the ACK field alone tells
	}
	if !snd.Seen() && !snd.Has(endpoint.HasISS) && !rcv.Has(endpoint.HasAcked) {
		if s.Flags&tcp.RST != 0 || snd.Assumed == tcp.Closed.Set() {
			return fitsNot
		}
		return fit
	}
	d := int32(s.Seq - snd.Nxt)
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && !snd.Has(endpoint.HasISS) && !snd.Precedes(s):
		return fitsNot
	case snd.KnowsISS() && s.Seq.Before(snd.ISS), d > far, d < -far:
		return fitsNot
	case c.waits(from) && (s.Seq.Before(snd.ISS) || d > 0):
		return fitsNot
	case d > 0 && !(rcv.Has(endpoint.HasAcked) && s.Seq.AtMost(rcv.Edge)):
		return min(fit, fitsLoose)
	}
	return fit
}

// NewestOf returns the newest connection on the addresses and ports, or nil.
func (m *Machine) NewestOf(k flow.Key) *Conn { return m.flows.find(m.flows.hash(&k), &k) }

// open begins a connection with the segment.
func (m *Machine) open(newest *Conn, low bool, s *tcp.Segment) *Conn {
	c := m.Pool.take()
	c.Key, c.Start = m.key, m.Now
	c.setOlder(newest)
	m.flows.set(m.hash, c)
	m.newest = c
	m.Live++
	fromClient := true
	switch {
	case s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN:
	case s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN|tcp.ACK:
		fromClient, c.Bits = false, OriginSYNACK
	default:
		fromClient, c.Bits = m.clientFirst(s, low, newest), OriginMidstream
	}
	if low == fromClient {
		c.Bits |= ClientIsLow
	}
	for e := range tcp.Endpoint(2) {
		c.Ends[e].SetStack(m.stack)
		if !m.guess {
			c.Ends[e].Bits |= endpoint.StackKnown
		}
	}
	old := c.Older()
	for old != nil && old.Provisional() {
		old = old.Older() // a SYN that may be forged tells nothing of the ends
	}
	c.Incarnation = 1
	if old != nil {
		c.Incarnation = old.Incarnation + 1
	}
	m.begin(c, s, old)
	m.boundIncarnations(c)
	return c
}

// boundIncarnations forgets the oldest of too many incarnations.
func (m *Machine) boundIncarnations(c *Conn) {
	n := 0
	for o := c; o != nil; o = o.Older() {
		if o.Provisional() {
			continue
		}
		if n++; n > maxIncarnations {
			m.over(o)
			m.remove(o)
			return
		}
	}
}

// begin gives both ends the states that they are in before the segment.
func (m *Machine) begin(c *Conn, s *tcp.Segment, old *Conn) {
	switch c.Origin() {
	case tcp.FromSYN:
		c.Ends[tcp.Client].Begin(tcp.Closed.Set())
		c.Ends[tcp.Server].Begin(tcp.Listen.Set())
		if old != nil {
			m.succeed(c, old, s)
		}
	case tcp.FromSYNACK:
		// Its SYN was not captured, but is what this answers.
		if old != nil {
			m.leave(old, s)
		}
		c.Ends[tcp.Client].Begin(tcp.Closed.Set())
		c.Ends[tcp.Server].Begin(tcp.Listen.Set())
		subject := &c.Ends[tcp.Client]
		subject.ISS = s.Ack - 1
		subject.Nxt = s.Ack
		subject.Bits |= endpoint.HasISS | endpoint.SentSYN
		subject.Show(tcp.SynSent.Set())
		if old != nil {
			old.called(c)
		}
		m.number(c, s)
		m.apply(c, tcp.Client, tcp.SndSYN.Set(), m.cause(s, tcp.ByAssumption))
		return
	case tcp.FromMidstream:
		c.Ends[tcp.Client].Begin(tcp.AnyState)
		c.Ends[tcp.Server].Begin(tcp.AnyState)
	}
	if !c.Provisional() {
		if old != nil {
			old.called(c)
		}
		m.number(c, s)
	}
}

// number makes a connection known to the caller. first is its first segment;
// nil stands for the SYN of one that was provisional.
func (m *Machine) number(c *Conn, first *tcp.Segment) {
	m.given++
	c.ID = uint32(m.given)
	o := Opening{Flags: tcp.SYN, Seq: c.Ends[tcp.Client].ISS}
	if first != nil {
		_, low := flow.KeyOf(first)
		o = Opening{first.Packet, c.EndOf(low), first.Flags, first.Seq, first.Ack, first.ID}
	}
	m.listener.Opened(c, o)
}

// succeed decides what a SYN on the addresses and ports of an older
// connection means for that one.
func (m *Machine) succeed(c *Conn, old *Conn, s *tcp.Segment) {
	low := c.EndOf(true) == tcp.Client
	from := old.EndOf(low)
	snd, rcv := &old.Ends[from], &old.Ends[from.Peer()]
	server := &c.Ends[tcp.Server]
	replay := snd.Has(endpoint.HasISS) && snd.ISS == s.Seq
	switch {
	case !replay && old.rejected(from, m.Now):
		// The end answered the SYN+ACK to that one with RST: the SYN was never its own.
		m.erase(old, from, tcp.Closed, m.cause(s, tcp.ByCorrection))
	case !replay && (snd.Closed() || snd.Assumed == tcp.TimeWait.Set()) && rcv.Closed():
		m.reuse(old, from, m.cause(s, tcp.BySending))
	case !replay && snd.Assumed == tcp.TimeWait.Set() && rcv.Assumed == tcp.TimeWait.Set() && yields(rcv, snd, s):
		m.reuse(old, from, m.cause(s, tcp.BySending))
		m.reuse(old, from.Peer(), m.cause(s, tcp.ByAssumption))
	case !replay && snd.Assumed == tcp.SynSent.Set() && !rcv.Seen():
		m.snapshot(old)
		m.apply(old, from, tcp.NoTCB.Set(), m.cause(s, tcp.BySending))                       // a new attempt
		m.erase(old, from.Peer(), m.unknown(old, from.Peer()), m.cause(s, tcp.ByCorrection)) // nothing is known of it
		old.setClosedBy(tcp.ByTimeoutOfEnd)
		m.tellChecks(old, nil, from, recent.Reading{}, triggers.OnTimer) // its timer had run out
	case !replay && old.oneWay(from):
		m.leave(old, s)
	case !replay && snd.Closed():
		if rcv.Assumed == tcp.TimeWait.Set() && yields(rcv, snd, s) {
			m.reuse(old, from.Peer(), m.cause(s, tcp.ByAssumption))
			return
		}
		old.challengeSYN(s, from, m.Now)
		// The peer still holds the old connection, and will not open this one.
		server.Begin(tcp.Closed.Set())
	default:
		c.Bits |= isProvisional
		if replay && snd.Stale(s) {
			c.Bits |= copied
		} else {
			old.RareState().called[from] = m.Now
		}
		m.Waiting++
		old.challengeSYN(s, from, m.Now)
		server.Begin(tcp.Closed.Set())
		m.boundProvisional(c)
	}
}

// leave ends an old connection at both ends, where only one of them is captured
// and a SYN of it, with or without ACK, opens a new one.
func (m *Machine) leave(old *Conn, s *tcp.Segment) {
	for e := range tcp.Endpoint(2) {
		why := m.cause(s, tcp.ByAssumption)
		if old.Addr(e) == s.Src {
			why.basis = tcp.BySending
		}
		if !old.Ends[e].Closed() {
			m.reuse(old, e, why)
		}
	}
}

// reuse ends an old connection at an end that opens a new one in its place.
// TIME-WAIT is left for the new connection directly (RFC 9293 §3.6.1), with no
// state between; every other state is found gone.
func (m *Machine) reuse(old *Conn, e tcp.Endpoint, why cause) {
	if old.Ends[e].Assumed == tcp.TimeWait.Set() {
		m.apply(old, e, tcp.Reopened.Set(), why)
		return
	}
	if !old.Ends[e].Closed() && old.ClosedBy() == tcp.NotClosed {
		old.setClosedBy(tcp.BySuperseded)
	}
	m.apply(old, e, tcp.NoTCB.Set(), why)
}

// rejected reports whether the end, of which only a SYN was seen, answered the
// SYN+ACK with RST not long ago. A SYN with another number then shows that the
// first was an old duplicate (RFC 9293 §3.5, figure 8).
func (c *Conn) rejected(e tcp.Endpoint, now tcp.Time) bool {
	const soon = 5 * tcp.Second
	subject := &c.Ends[e]
	st, ok := c.Find(e, tcp.NoTCB)
	return ok && !subject.Has(endpoint.HasAcked) && subject.Has(endpoint.SentSYN) && subject.Bytes == 0 && now-st.At < soon
}

// yields reports whether an end in TIME-WAIT opens a new connection for the
// SYN, by the rule of its stack.
func yields(y, x *endpoint.End, syn *tcp.Segment) bool {
	newerSeq := x.Nxt.Before(syn.Seq)
	hasBoth := syn.Options.HasTS && x.Has(endpoint.HasTS)
	newerTS := hasBoth && int32(syn.Options.TSVal-x.TSVal) > 0
	olderTS := hasBoth && int32(syn.Options.TSVal-x.TSVal) < 0
	return y.Stack().TimeWaitReuse.Yields(newerSeq, newerTS, olderTS)
}

// boundProvisional drops the oldest of too many provisional connections.
func (m *Machine) boundProvisional(c *Conn) {
	n := 0
	for o := c.Older(); o != nil; o = o.Older() {
		if o.Provisional() {
			if n++; n >= MaxProvisional {
				m.remove(o)
				return
			}
		}
	}
}

// settleProvisional looks at what a segment tells of SYNs that wait for a sign
// of being real.
func (m *Machine) settleProvisional(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	if c.Provisional() {
		switch {
		case s.Flags&tcp.ACK != 0 && s.Flags&(tcp.SYN|tcp.RST) != 0 && from == tcp.Server:
			m.promote(c, s, tcp.ByProof)
		case m.insists(c, s, from):
			m.promote(c, s, tcp.ByAssumption)
		}
		return
	}
	for p := m.NewestOf(c.Key); p != nil && p != c; {
		next := p.Older()
		if p.Provisional() {
			mine := p.Addr(tcp.Client) == c.Addr(from)
			switch {
			case mine && s.Flags&tcp.RST != 0 && rst.RepliesTo(s, &c.Ends[from], &c.Ends[from.Peer()], m.Now) && m.challengedSince(c, from.Peer(), p.Start):
				m.promote(p, s, tcp.ByProof) // it does not know the old connection, which the SYN had speak: that was its own
			case mine && s.Flags&tcp.RST == 0 && !c.Ends[from].Stale(s):
				// It goes on as before: the SYN was not its own.
				m.snapshot(c)
				m.scene.Impostor = p
				m.tellChecks(c, s, from, recent.Reading{}, triggers.OnImpostor)
				m.scene.Impostor = nil
				m.remove(p)
			}
		}
		p = next
	}
}

// challengedSince reports whether the newest segment of the end was captured since
// then, and may be a challenge ACK: it acknowledges no more than the one before it.
func (m *Machine) challengedSince(c *Conn, e tcp.Endpoint, since tcp.Time) bool {
	var newest *recent.Segment
	for g := range m.Recent.Back(c) {
		switch {
		case g.From != e:
		case newest != nil:
			return !g.Ack.Before(newest.Ack)
		case g.At < since || !g.Pure():
			return false
		default:
			newest = g
		}
	}
	return newest != nil
}

// soonestTimer is how long an end waits at least before it repeats a SYN by its
// timer (RFC 6298 §2.1 asks for a second).
const soonestTimer = 800 * time.Millisecond

// insists reports whether s repeats the SYN of a provisional connection by a
// timer, while its client sends nothing on the older one: then it has left that,
// though the server, which still holds it, answers with nothing but challenge ACKs
// (RFC 5961 §4).
func (m *Machine) insists(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	subject := &c.Ends[tcp.Client]
	if from != tcp.Client || s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) != tcp.SYN || !subject.Has(endpoint.SentSYN) || c.Bits&copied != 0 ||
		subject.Stale(s) || m.Now.Sub(subject.SentAt) < soonestTimer {
		return false
	}
	old := m.FormerOf(c)
	return old != nil && old.Ends[c.EndIn(old, tcp.Client)].SentAt < c.Start
}

// notItsOwn takes back what an end that insisted on the newest of two connections
// was taken to have sent there, as s shows, by which it goes on in the older: the
// SYN was somebody else's.
func (m *Machine) notItsOwn(newest, older *Conn, s *tcp.Segment, from tcp.Endpoint) {
	e := older.EndIn(newest, from)
	left, ok := older.Find(from, tcp.NoTCB)
	if newest.Provisional() || e != tcp.Client || newest.Ends[e].Assumed != tcp.SynSent.Set() ||
		!ok || left.Basis() != tcp.ByAssumption || older.Ends[from].Stale(s) {
		return
	}
	m.scene.Impostor = newest
	m.tellChecks(older, s, from, recent.Reading{}, triggers.OnImpostor)
	m.scene.Impostor = nil
	newest.Ends[e].Show(tcp.Closed.Set())
	m.erase(newest, e, tcp.Closed, m.cause(s, tcp.ByCorrection))
}

// promote makes a provisional connection a real one. Its client has left the
// older connection; where the server answers, it has too.
func (m *Machine) promote(c *Conn, s *tcp.Segment, basis tcp.Basis) {
	c.Bits &^= isProvisional
	m.Waiting--
	c.Older().called(c)
	m.number(c, nil)
	was := [2]tcp.State{c.Ends[tcp.Client].Initial.Shown(), c.Ends[tcp.Server].Initial.Shown()}
	for _, st := range c.Steps() { // told only now
		e := st.End()
		m.moving = Move{At: m.Now, Packet: st.Packet(), End: e, From: was[e], To: st.State(), Inputs: st.Inputs(), Basis: st.Basis()}
		m.listener.Moved(c, &m.moving)
		was[e] = st.State()
	}
	for o := c.Older(); o != nil; o = o.Older() {
		if o.Provisional() {
			continue
		}
		from := o.EndOf(c.EndOf(true) == tcp.Client)
		m.reuse(o, from, m.cause(s, basis))
		rcv := &o.Ends[from.Peer()]
		orphan := rcv.Assumed == tcp.FinWait2.Set() && !rcv.Has(endpoint.StillReads) // it answers a SYN by a RST, and is gone
		if s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK || orphan && s.Flags&tcp.RST != 0 {
			m.reuse(o, from.Peer(), m.cause(s, basis))
		}
		return
	}
}
