package taps

import (
	"cmp"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What one tap has of a connection and what another has are known to be one by their
// addresses and ports, or, where these are changed on the way, by the first packet that
// both have.

// mayBeOne reports whether a packet and a record of different connections may be of one.
func (m *merger) mayBeOne(p *packet, r *record) bool {
	if p.conn.gone || r.flow.conn.gone || p.judged {
		return false
	}
	return r.segment.Flags&tcp.SYN != 0 || disjoint(p.conn, r.flow.conn)
}

// disjoint reports whether no tap has both connections.
func disjoint(a, b *conn) bool {
	for i := range a.flows {
		if a.flows[i] != nil && b.flows[i] != nil {
			return false
		}
	}
	return true
}

// unite makes the connection of a packet, and that of a record which turned out to be of
// it, one, and places the record. dir is what its flow takes its direction for.
func (m *merger) unite(p *packet, r *record, dir int) {
	c, old := p.conn, r.flow.conn
	if !disjoint(c, old) {
		m.renew(p, r, dir)
		return
	}
	turned := dir != p.dir
	if old.named && !c.named {
		c, old = old, c
	}
	var moved []*record
	if old.pending > 0 {
		moved = m.dissolve(func(o *record) bool { return o.packet.conn == old })
	}
	m.conns.join(c, old, turned)
	for _, o := range moved {
		m.place(o, o.dir())
	}
	m.place(r, r.dir())
	m.watch(c)
}

// dir returns the direction of a record in its connection.
func (r *record) dir() int {
	if r.low == r.flow.clientLow {
		return fromClient
	}
	return fromServer
}

// dissolve takes those records that wait out of their packets of which it is true, and
// returns them in the order of time. All of a packet are taken, or none.
func (m *merger) dissolve(of func(r *record) bool) (list []*record) {
	for i := range m.queues {
		for r := m.queues[i].head; r != m.queues[i].unread; r = r.next {
			if p := r.packet; p != nil && !p.judged && !p.isError && of(r) {
				list = append(list, r)
			}
		}
	}
	for _, r := range list {
		if p := r.packet; p.conn != nil && p.at[r.tap] == r {
			for i := range p.at {
				p.at[i] = nil
			}
			m.free(p)
		}
	}
	for _, r := range list {
		r.packet = nil
	}
	slices.SortStableFunc(list, func(a, b *record) int { return cmp.Compare(a.at, b.at) })
	return list
}

// watch watches those packets of a connection that waits whose alleged sender may show
// that it did not send them, as now there is a tap next to it.
func (m *merger) watch(c *conn) {
	if c.pending <= 1 {
		return
	}
	for i := range m.queues {
		for r := m.queues[i].head; r != m.queues[i].unread; r = r.next {
			if p := r.packet; p != nil && p.conn == c && p.n == 1 && !p.isError && !p.suspect && !p.judged {
				m.suspectAt(p, m.conns.placeOf(c, p.dir, i))
			}
		}
	}
}

// renew makes a SYN the first packet of a new connection, whose addresses and ports at
// some taps were another's before.
func (m *merger) renew(p *packet, r *record, dir int) {
	old := p.conn
	c := &conn{salt: old.salt, away: old.away, opened: true}
	m.conns.n++
	m.conns.use(c, r.at)
	for _, o := range p.at[:m.taps] {
		if o != nil {
			o.flow = c.renew(o.flow)
		}
	}
	if p.isOpen {
		old.removeOpen(p)
	}
	old.pending--
	c.pending++
	p.conn = c
	r.flow = c.renew(r.flow)
	if dir != p.dir {
		r.flow.turn()
	}
	m.place(r, p.dir)
}
