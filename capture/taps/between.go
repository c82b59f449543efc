package taps

import (
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// maxWorst is how many connections between two taps are told of one by one, and
	// maxRewritings how many of their changes of addresses.
	maxWorst      = 64
	maxRewritings = 64
)

// Between is what happened between the taps.
type Between struct {
	Order []int // the taps, by their places in the list, as they lie on the path from most clients to most servers
	Pairs []Pair

	Forgotten int // connections that were forgotten for others, beyond MaxConns
	Hurried   int // packets that were judged early, as more than MaxWaiting waited
}

// A Pair is what happened between two neighbours in Between.Order.
type Pair struct {
	Near, Far int // the taps, by their places in the list
	Clock     Clock
	Passages  [2]Passage // away from the beginning of the path, from Near to Far; and back

	Connections int          // that either of them has
	Worst       []Connection // those that lost the most, the worst first: at most 64
	Rewritten   int          // connections whose addresses or ports are others at Far
	Rewritings  []Rewriting  // the first 64 of them
}

// A Passage is what happened to the packets of one direction between two taps. A packet
// that one of them captured twice counts as two.
type Passage struct {
	Sent       int // packets that came by the tap that they come by first
	Arrived    int // that came by the other
	Lost       int // of Sent, those that did not arrive
	Copied     int // of Arrived, those beyond what was sent
	Forged     int // of Arrived, those that were not sent
	Reordered  int // of Arrived, those that were overtaken by some that were sent later
	MissedSent int // that the capture of the tap that they come by first lacks, though they came by
	Missed     int // that the capture of the other lacks, though they arrived
	Unknown    int // that one of them has, and of which the other cannot tell
	Changed    int // of Arrived, those of which something was changed, apart from addresses, ports and TTL
	Changes    Changes
	Delays     Delays
}

// Changes counts packets by what was changed in them. One may have several.
type Changes struct {
	MSS           int // the maximum segment size that a SYN announces
	WindowScale   int // or that it was removed or added
	SACKPermitted int
	Timestamps    int
	Options       int // of others, that they are there, or the order
	Window        int
	Numbers       int // sequence or acknowledgment numbers
	ECN           int // flags
	ID            int // IP identification
	DontFragment  int
	Payload       int // only if payloads are hashed
	Hops          int // of the newest packet: by how much its TTL was decreased
}

// A Connection is what happened to its packets between two taps.
type Connection struct {
	Client, Server netip.AddrPort // as in the segments
	Passages       [2]Passage     // from the client, and from the server; Changes are not told apart
}

// A Rewriting is a connection as two taps have it: its client and its server.
type Rewriting struct{ Near, Far [2]netip.AddrPort }

// counts are those of a Passage, for a connection.
type counts struct {
	sent, arrived, lost, copied, forged, reordered, missedSent, missed, unknown, changed uint32
}

// A connWay is what happened to a connection's packets between two neighbours.
type connWay struct {
	counts [2]counts // by direction
	delays [2]histogram
	noted  bool // that its addresses are rewritten
}

// A tally is a Pair that is being counted.
type tally struct {
	pair   Pair
	delays [2]histogram
}

// A worst is the connections that lost the most, by pair.
type worst struct{ rows [][]Connection }

// between is Source.Between.
func (m *merger) between() *Between {
	b := &Between{Order: slices.Clone(m.survey.order), Forgotten: m.conns.dropped, Hurried: m.hurried}
	rows := make([][]Connection, len(m.tallies))
	for i := range rows {
		if i < len(m.worst.rows) {
			rows[i] = slices.Clone(m.worst.rows[i])
		}
	}
	for c := m.conns.newest; c != nil; c = c.older {
		m.rank(c, rows)
	}
	for i := range m.tallies {
		t := &m.tallies[i]
		p := t.pair
		p.Near, p.Far, p.Clock = m.survey.links[i].near, m.survey.links[i].far, m.survey.links[i].clock
		p.Rewritings = slices.Clone(p.Rewritings)
		for way := range t.delays {
			p.Passages[way].Delays = t.delays[way].delays()
		}
		p.Worst = rows[i]
		b.Pairs = append(b.Pairs, p)
	}
	return b
}

// forgot keeps what is to be told of a connection that is forgotten.
func (m *merger) forgot(c *conn) {
	if m.worst.rows == nil {
		m.worst.rows = make([][]Connection, len(m.tallies))
	}
	m.rank(c, m.worst.rows)
}

// rank puts a connection among the worst of each pair, if it is one of them.
func (m *merger) rank(c *conn, rows [][]Connection) {
	if !c.named {
		return
	}
	for i := range c.ways {
		w, list := &c.ways[i], rows[i]
		lost := int(w.counts[0].lost + w.counts[1].lost)
		if lost == 0 || len(list) == maxWorst && lost <= list[maxWorst-1].lost() {
			continue
		}
		row := Connection{Client: c.names[0], Server: c.names[1]}
		for dir := range w.counts {
			row.Passages[dir] = w.counts[dir].passage()
			row.Passages[dir].Delays = w.delays[dir].delays()
		}
		at, _ := slices.BinarySearchFunc(list, lost, func(o Connection, lost int) int {
			if o.lost() >= lost {
				return -1
			}
			return 1
		})
		if list = slices.Insert(list, at, row); len(list) > maxWorst {
			list = list[:maxWorst]
		}
		rows[i] = list
	}
}

// lost returns how many packets of a connection were lost.
func (c *Connection) lost() int { return c.Passages[0].Lost + c.Passages[1].Lost }

func (k *counts) passage() Passage {
	return Passage{Sent: int(k.sent), Arrived: int(k.arrived), Lost: int(k.lost), Copied: int(k.copied), Forged: int(k.forged), Reordered: int(k.reordered),
		MissedSent: int(k.missedSent), Missed: int(k.missed), Unknown: int(k.unknown), Changed: int(k.changed)}
}

// add adds what happened to one packet.
func (p *Passage) add(k *counts) {
	p.Sent += int(k.sent)
	p.Arrived += int(k.arrived)
	p.Lost += int(k.lost)
	p.Copied += int(k.copied)
	p.Forged += int(k.forged)
	p.Reordered += int(k.reordered)
	p.MissedSent += int(k.missedSent)
	p.Missed += int(k.missed)
	p.Unknown += int(k.unknown)
	p.Changed += int(k.changed)
}

func (k *counts) add(o *counts) {
	k.sent += o.sent
	k.arrived += o.arrived
	k.lost += o.lost
	k.copied += o.copied
	k.forged += o.forged
	k.reordered += o.reordered
	k.missedSent += o.missedSent
	k.missed += o.missed
	k.unknown += o.unknown
	k.changed += o.changed
}

// account counts what became of a packet between each pair of neighbours. The first and
// the last place on its way are those at which a capture has it.
func (m *merger) account(p *packet, first, last int) {
	c := p.conn
	if c.ways == nil {
		if c.ways = c.way[:]; len(m.tallies) > 1 {
			c.ways = make([]connWay, len(m.tallies))
		}
		for i := range m.tallies {
			m.tallies[i].pair.Connections++
		}
	}
	if m.taps > 2 && p.neared != nil {
		p.within = within(p.sent, p.neared)
	}
	for place := range m.taps - 1 {
		if place < first-1 || place > last {
			continue
		}
		link, way := place, 0
		if c.away != (p.dir == fromClient) {
			link, way = m.taps-2-place, 1
		}
		near, far := p.at[m.conns.tapAt(c, p.dir, place)], p.at[m.conns.tapAt(c, p.dir, place+1)]
		k := m.countOf(p, near, far)
		t, w := &m.tallies[link], &c.ways[link]
		if near != nil && far != nil {
			m.compare(p, near, far, link, way, &k)
		}
		t.pair.Passages[way].add(&k)
		w.counts[p.dir].add(&k)
	}
}

// countOf returns how a packet counts between two neighbours, of which each may have a
// record of it.
func (m *merger) countOf(p *packet, near, far *record) counts {
	switch fate := p.fate; {
	case near != nil && far != nil:
		k := counts{sent: 1, arrived: 1}
		if p.overtaken > 0 {
			k.reordered = 1
		}
		return k
	case near != nil && fate == tcp.FateLost && near.tap == int(p.between[0]):
		return counts{sent: 1, lost: 1}
	case near != nil && (fate == tcp.FateMissed || fate == tcp.FatePassed):
		return counts{sent: 1, arrived: 1, missed: 1}
	case near != nil:
		return counts{sent: 1, unknown: 1}
	case fate == tcp.FateCopied:
		return counts{arrived: 1, copied: 1}
	case fate == tcp.FateForged:
		return counts{arrived: 1, forged: 1}
	case fate == tcp.FateMissed || fate == tcp.FatePassed:
		return counts{sent: 1, arrived: 1, missedSent: 1}
	}
	return counts{arrived: 1, unknown: 1}
}

// compare takes in how long a packet was on its way between two neighbours, and what was
// changed there.
func (m *merger) compare(p *packet, near, far *record, link, way int, k *counts) {
	t, w := &m.tallies[link], &p.conn.ways[link]
	wrong := within(near, far)
	if p.within == 0 {
		p.within = wrong
	}
	delay := far.at.Sub(near.at)
	t.delays[way].fine = 5
	t.delays[way].add(max(delay, 0), wrong)
	w.delays[p.dir].fine = 2
	w.delays[p.dir].add(max(delay, 0), wrong)
	if !w.noted && near.flow.ends != far.flow.ends {
		w.noted = true
		if t.pair.Rewritten++; len(t.pair.Rewritings) < maxRewritings {
			r := Rewriting{near.flow.ends, far.flow.ends}
			if way == 1 {
				r.Near, r.Far = r.Far, r.Near
			}
			t.pair.Rewritings = append(t.pair.Rewritings, r)
		}
	}
	if t.pair.Passages[way].Changes.add(&near.segment, &far.segment) {
		k.changed = 1
	}
}

// add counts what was changed between two records of a packet. It reports whether
// anything was.
func (c *Changes) add(x, y *tcp.Segment) (changed bool) {
	note := func(n *int, is bool) {
		if is {
			*n++
			changed = true
		}
	}
	c.Hops = int(x.TTL) - int(y.TTL)
	if a, b := &x.Options, &y.Options; x.Flags&tcp.SYN != 0 || a.HasTS || b.HasTS || a.NumSACK != b.NumSACK {
		note(&c.MSS, a.MSS != b.MSS)
		note(&c.WindowScale, a.HasShift != b.HasShift || a.Shift != b.Shift)
		note(&c.SACKPermitted, a.SACKOK != b.SACKOK)
		note(&c.Timestamps, a.HasTS != b.HasTS || a.TSVal != b.TSVal || a.TSEcr != b.TSEcr)
		note(&c.Options, a.FastOpen != b.FastOpen || a.Signed != b.Signed || a.NumSACK != b.NumSACK)
	}
	note(&c.Window, x.Wnd != y.Wnd)
	note(&c.Numbers, x.Seq != y.Seq || x.Flags&tcp.ACK != 0 && x.Ack != y.Ack)
	note(&c.ECN, (x.Flags^y.Flags)&^unchanged != 0)
	note(&c.ID, x.ID != y.ID)
	note(&c.DontFragment, x.NoDF != y.NoDF)
	note(&c.Payload, x.Payload != y.Payload && x.Payload != 0 && y.Payload != 0)
	return changed
}
