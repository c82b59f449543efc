package conn

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/learned"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Nearly every segment is the next one of its sender, in a connection that opens, goes
// on or closes as millions do. What the rules do then follows from the form of the
// connection and the class of the segment alone. So they are run once for each of these
// pairs: what they do is written down as an edge, which leads to another form, and is
// followed from then on. No rule is stated here. A short connection takes half the time
// for it.

// known is what was learned.
type known struct {
	learned.Table[form, follows, edge]
	fresh [tcp.NumStacks]learned.ID // the form of a connection of which nothing but the client's stack is known
}

// follows is what follows from a form.
type follows struct {
	wakes
	open  bool             // no timer runs, whatever comes: see Conn.steady
	stays [tcp.Neared]bool // by its leg: there is an edge to itself, for the next segment of either end, which does nothing but take down numbers
}

// An edge is what the rules do to a connection of one form for a segment of one class.
type edge struct {
	to      learned.ID
	arms    bool    // the alarm is to be set
	disarms bool    // after it was taken away
	accepts bool    // the server turns out to have accepted the SYN
	clocks  [2]bool // the timers of the ends begin anew
	moves   []Move  // to be told; without time and frame
	early   int     // so many of them before the numbers are noted
}

// Learned returns what was learned, and what it spared.
func (m *Machine) Learned() learned.Counts { return m.known.Counts() }

// LearnFrom has the machine know what another has learned; for tests.
func (m *Machine) LearnFrom(o *Machine) {
	m.known = known{Table: o.known.Clone(), fresh: o.known.fresh}
}

// know finds the form of the connection.
func (m *Machine) know(c *Conn) {
	c.form = 0
	if f, ok := formOf(c); ok {
		c.form = m.known.ID(f, func() follows { return follows{wakes: m.wakesOf(c), open: c.steady()} })
	}
}

// along takes the segment in by an edge, if there is one, and reports whether it did.
// If there could be one, it is learned. The connection must be the newest on its
// addresses and ports.
func (m *Machine) along(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	if c.form == 0 || m.NoEdges {
		return false
	}
	f := m.known.At(c.form)
	var class uint32
	if f.Follows.open && s.Flags&moving == tcp.ACK { // as nearly always in a long flow
		if !c.steady() || c.hasLegs() != f.Form.legs || !m.inTurn(c, s, from) || s.Twin != nil && c.betweenOf(s, from) != 0 {
			return false
		}
		if f.Follows.stays[s.Leg] {
			m.stay(c, s, from)
			return true
		}
		class = openClass(s.Leg)
	} else {
		var ok bool
		if s.Leg != tcp.Passing || f.Form.legs || !f.Form.is(c) {
			return false
		}
		if class, ok = m.classOf(c, s, from); !ok {
			return false
		}
	}
	if s.Flags&tcp.SYN != 0 {
		if m.recognise(c, s, from); !f.Form.is(c) {
			if m.know(c); c.form == 0 {
				return false
			}
			f = m.known.At(c.form)
		}
	}
	if e, ok := f.Edge(class); ok {
		if e == nil {
			return false
		}
		m.follow(c, s, from, e)
		return true
	}
	if m.known.Full() || c.Ends[0].Clock == endpoint.TickOf(m.Now) || c.Ends[1].Clock == endpoint.TickOf(m.Now) {
		return false // in the last cases it would not show whether they are set
	}
	m.learn(c, s, from, class)
	return true
}

// openClass is the class of a segment that comes as expected, with that leg, in a
// connection that is open.
func openClass(leg tcp.Leg) uint32 { return uint32(leg) << 31 }

// begins is along for the first segment of the first connection on its addresses and
// ports.
func (m *Machine) begins(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	if s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) != tcp.SYN {
		return false
	}
	m.recognise(c, s, from)
	fresh := &m.known.fresh[c.Ends[tcp.Client].StackID()]
	if *fresh == 0 {
		m.know(c)
		*fresh = c.form
	}
	c.form = *fresh
	return m.along(c, s, from)
}

// follow does to the connection what the rules would do.
func (m *Machine) follow(c *Conn, s *tcp.Segment, from tcp.Endpoint, e *edge) {
	m.known.Followed++
	for i := range e.moves[:e.early] {
		m.tellAgain(c, s, &e.moves[i])
	}
	if s.Flags&tcp.SYN != 0 {
		c.note(s, from, recent.Reading{Fresh: s.Data}, m.Now)
	} else {
		c.noteNext(s, from, m.Now)
	}
	m.Recent.put(c, s, from, 0, m.Now)
	if c.form != e.to {
		m.become(c, s, e)
	}
	if e.accepts {
		m.accepted(c, s)
	}
	for i := range e.moves[e.early:] {
		m.tellAgain(c, s, &e.moves[e.early+i])
	}
	if e.disarms {
		m.alarms.Drop(c)
	}
	if f := &m.known.At(e.to).Follows; e.arms || c.alarm == 0 && !f.open {
		m.armFor(c, m.due(c, &f.wakes))
	}
	m.saw(c, from, s.Packet, tcp.NotSkipped)
}

// stay follows the edge of a steady connection to itself.
func (m *Machine) stay(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	m.known.Followed++
	c.noteNext(s, from, m.Now)
	m.Recent.put(c, s, from, 0, m.Now)
	m.saw(c, from, s.Packet, tcp.NotSkipped)
}

// become gives the connection the form that the edge leads to.
func (m *Machine) become(c *Conn, s *tcp.Segment, e *edge) {
	f := &m.known.At(e.to).Form
	c.Bits = c.Bits&ClientIsLow | f.bits
	for k := range c.Ends {
		x, to := &c.Ends[k], &f.ends[k]
		x.Become(to)
		if e.clocks[k] {
			x.Clock, x.Copies = endpoint.TickOf(m.Now), to.Copies
		}
	}
	steps := c.Steps()
	for i := range steps {
		steps[i] = history.Of(f.steps[i], steps[i].At, steps[i].Packet())
	}
	for _, kind := range f.steps[len(steps):f.have] {
		m.keep(c, history.Of(kind, m.Now, s.Packet))
	}
	c.Past, c.form = f.past, e.to
}

// tellAgain tells of a move that the edge makes.
func (m *Machine) tellAgain(c *Conn, s *tcp.Segment, of *Move) {
	m.moving = *of
	m.moving.At, m.moving.Packet = m.Now, s.Packet
	m.listener.Moved(c, &m.moving)
}

// learn has the rules take the segment in, and writes down what they do.
func (m *Machine) learn(c *Conn, s *tcp.Segment, from tcp.Endpoint, class uint32) {
	at, before, accepted := c.form, *c, c.Accepted()
	steps := slices.Clone(c.Steps())
	w := &witness{Listener: m.listener, c: c, s: s, now: m.Now, packets: c.Ends[from].Packets + 1, from: from}
	m.listener, m.disarmed = w, false
	m.byRules(c, s, from, false)
	m.listener = w.Listener

	kept := w.edge // w holds on to the segment
	e := &kept
	e.to, e.arms, e.disarms, e.accepts = c.form, m.unset, m.disarmed, !accepted && c.Accepted()
	after := c.Steps()
	dead := w.more || e.to == 0 || len(after) < len(steps) || m.known.At(e.to).Form.steady != m.known.At(at).Form.steady // it has lost its form
	for i := range after {
		then := history.Of(0, m.Now, s.Packet)
		if i < len(steps) {
			then = steps[i]
		}
		dead = dead || after[i].At != then.At || after[i].Packet() != then.Packet()
	}
	for k := range c.Ends {
		x, was := &c.Ends[k], &before.Ends[k]
		e.clocks[k] = x.Clock == endpoint.TickOf(m.Now)
		dead = dead || !e.clocks[k] && (x.Clock != was.Clock || x.Copies != was.Copies)
	}
	if dead {
		e = nil
	} else if class == openClass(s.Leg) {
		m.known.At(at).Follows.stays[s.Leg] = e.to == at && !e.arms && !e.disarms && !e.accepts && len(e.moves) == 0
	}
	m.known.Add(at, class, e)
}

// A witness hears what the rules tell while an edge is learned, and passes it on. Where
// they told more than that an end moved, the edge would say too little. What is not heard
// here comes of no connection that has a form.
type witness struct {
	Listener
	c       *Conn
	s       *tcp.Segment
	from    tcp.Endpoint
	now     tcp.Time
	packets uint32 // of the sender, once the segment is noted
	edge    edge
	more    bool // than an edge can say
}

func (w *witness) Moved(c *Conn, m *Move) {
	e := &w.edge
	w.more = w.more || c != w.c || m.At != w.now || m.Packet != w.s.Packet || m.Refuted
	if w.Heeds(m.End, m) {
		e.moves = append(e.moves, Move{End: m.End, From: m.From, To: m.To, Inputs: m.Inputs, Basis: m.Basis, Sure: m.Sure})
		if c.Ends[w.from].Packets != w.packets {
			e.early = len(e.moves)
		}
	}
	w.Listener.Moved(c, m)
}

func (w *witness) Happened(s *Scene) {
	w.Listener.Happened(s)
	w.more = w.more || s.Unlearned
}

func (w *witness) Refused(c *Conn, from tcp.Endpoint, packet int, why tcp.Skip) {
	w.more = true
	w.Listener.Refused(c, from, packet, why)
}
