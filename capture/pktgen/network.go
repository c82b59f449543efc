package pktgen

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Traffic comes from hosts that are simulated, in the time of the capture. A
// path between two of them delays what it carries, always by the same time; the
// capture is taken somewhere on it. So what is captured is in an order, at
// times, and with timestamps that hosts could have given it.

const (
	servicePort = 5001 // is no port of a protocol that peers would look into
	lowPort     = 32768
	ports       = 28232 // from lowPort on, as Linux takes them
	mss         = 1460
	payload     = mss - 12 // beside timestamps
	shift       = 7
	maxInFlight = 64 // segments
)

// A network holds what is under way.
type network struct {
	kind     TrafficKind
	rnd      *rand.Rand
	yield    func(*Packet) bool
	now      tcp.Time
	events   queue
	packet   Packet
	stopped  bool // the caller wants no more
	left     int  // packets still to be sent
	begun    int  // connections
	announce int  // connections still to begin
}

// What an event is.
type action uint8

const (
	begin  action = iota // the next connection begins
	act                  // the application of the side does the next thing
	tapped               // the segment that the side sent passes the capture
	arrive               // and arrives
)

// A flight is a segment on its way.
type flight struct {
	seq, ack, val, echo uint32
	flags               tcp.Flags
	data, id            uint16
}

// newNetwork returns the network in which the traffic is made.
func newNetwork(t Traffic, yield func(*Packet) bool) *network {
	n := &network{kind: t.Kind, rnd: t.random(), yield: yield, now: trafficStart, left: t.Packets}
	switch t.Kind {
	case ShortConnections:
		n.announce = t.Packets / 10
	case Mixed:
		n.announce = t.Packets / 34 // what connections have on average, with the noise
	default:
		n.announce = t.Flows
		if t.Flows == 0 {
			n.announce = 16
		}
		n.left -= 9 * n.announce // what they have besides the data
	}
	return n
}

// run runs the network until nothing is left to do.
func (n *network) run() {
	n.later(0, event{what: begin})
	for len(n.events) > 0 && !n.stopped {
		e := &n.events[0]
		n.now = e.at
		if e.what == tapped { // which is most of them: the event goes on
			n.capture(e.c, int(e.side), &e.flight)
			e.what, e.at = arrive, e.at.Add(e.c.ends[1-e.side].way)
			n.events.fix()
			continue
		}
		done := n.events.pop()
		switch done.what {
		case begin:
			n.begin()
		case act:
			n.act(done.c, int(done.side))
		case arrive:
			n.receive(done.c, 1-int(done.side), &done.flight)
		}
	}
}

// later schedules an event.
func (n *network) later(d time.Duration, e event) {
	e.at = n.now.Add(d)
	n.events.push(e)
}

// A link is a connection and the path between its ends.
type link struct {
	ends      [2]host // the client, then the server
	vlan      uint16
	exchanges int  // questions still to be asked
	bulk      bool // instead of answers, one end sends as much as it can
	sender    int  // of the bulk
	closer    int  // who closes first
	aborts    bool // with RST
	answer    int  // octets
}

// A host is one end of a connection.
type host struct {
	addr     netip.AddrPort
	way      time.Duration // to the capture
	una, nxt uint32        // of what it sends
	rcv      uint32        // next octet that it expects
	acked    uint32        // the last ACK that it sent
	recent   uint32        // TS.Recent (RFC 7323 §4.3)
	clock    uint32        // of its timestamps, at time 0
	free     tcp.Time      // when its network card has sent what it was given
	wnd      uint16
	id       uint16
	ttl      uint8
	unacked  uint8 // data segments that it has not acknowledged
	finished bool  // it has sent FIN
	window   int   // segments that it may have in flight
}

// begin begins a connection and schedules the next one.
func (n *network) begin() {
	if n.announce == 0 {
		return
	}
	n.announce--
	c := n.dial(n.begun)
	n.begun++
	n.send(c, 0, tcp.SYN, 0)
	gap := 100 * time.Microsecond // 10,000 a second
	if n.kind != ShortConnections {
		gap = 2 * time.Millisecond
	}
	n.later(time.Duration(n.rnd.ExpFloat64()*float64(gap)), event{what: begin})
}

// Of each connection, how far apart its ends are, and where between them the
// capture is taken.
var (
	roundTrips = [...]time.Duration{400 * time.Microsecond, 2 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 80 * time.Millisecond}
	places     = [...]float64{0.02, 0.5, 0.98}
)

// dial returns the i-th connection, not yet begun.
func (n *network) dial(i int) *link {
	const clients = 4096
	c := &link{exchanges: 1, answer: 1 + n.rnd.IntN(payload)}
	client, server := clientAt(i%clients), netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + n.rnd.IntN(100))})
	switch n.kind {
	case LongFlows, FullPayloads:
		c.bulk, c.sender = true, i%2
		c.closer = c.sender
	case ShortConnections:
		if n.rnd.IntN(3) == 0 {
			c.closer = 1
		}
	case Mixed:
		c.exchanges, c.answer = 1+n.rnd.IntN(4), 1+n.rnd.IntN(10*payload)
		c.aborts = n.rnd.IntN(50) == 0
		if n.rnd.IntN(2) == 0 {
			client, server = toIPv6(client), toIPv6(server)
		}
		if n.rnd.IntN(3) == 0 {
			c.vlan = uint16(100 + n.rnd.IntN(3))
		}
	}
	port := uint16(lowPort + i/clients%ports)
	there := roundTrips[n.rnd.IntN(len(roundTrips))] / 2
	near := time.Duration(float64(there) * places[n.rnd.IntN(len(places))])
	c.ends[0] = n.host(netip.AddrPortFrom(client, port), near)
	c.ends[1] = n.host(netip.AddrPortFrom(server, servicePort), there-near)
	pair := sum(append(client.AsSlice(), server.AsSlice()...)) * 0x9e3779b1
	c.ends[0].clock, c.ends[1].clock = uint32(pair), uint32(pair>>16) // one for each pair of hosts, as Linux has it
	return c
}

func (n *network) host(addr netip.AddrPort, way time.Duration) host {
	iss := n.rnd.Uint32()
	return host{addr: addr, way: way, una: iss, nxt: iss, id: uint16(n.rnd.Uint32()), wnd: 502,
		ttl: uint8(64 - way/(5*time.Millisecond)), window: 10}
}

// toIPv6 returns the IPv6 address of a host that has the IPv4 address, too.
func toIPv6(a netip.Addr) netip.Addr {
	octets := [16]byte{0x20, 1, 0xd, 0xb8}
	four := a.As4()
	copy(octets[12:], four[:])
	return netip.AddrFrom16(octets)
}

// send sends a segment with so many octets of data.
func (n *network) send(c *link, side int, flags tcp.Flags, data int) {
	h := &c.ends[side]
	const reaction = 10 * time.Microsecond
	at := max(n.now.Add(reaction+time.Duration(n.rnd.Uint32()&0x1fff)), h.free)
	h.free = at.Add(time.Duration(600 + 8*data)) // a gigabit a second
	f := flight{seq: h.nxt, flags: flags, data: uint16(data), val: h.clock + uint32(at/1e6), echo: h.recent, id: h.id}
	if flags.Any(tcp.ACK) {
		f.ack, h.acked, h.unacked = h.rcv, h.rcv, 0
	}
	if flags == tcp.SYN|tcp.ACK {
		f.id = 0 // as from Linux, which has no socket yet
	} else {
		h.id++
	}
	h.nxt += uint32(data)
	if flags.Any(tcp.SYN | tcp.FIN) {
		h.nxt++
	}
	h.finished = h.finished || flags.Any(tcp.FIN)
	n.left--
	n.later(at.Sub(n.now)+h.way, event{what: tapped, c: c, side: uint8(side), flight: f})
}

// receive has an end take in a segment. Everything arrives in order.
func (n *network) receive(c *link, side int, f *flight) {
	h := &c.ends[side]
	if int32(f.seq-h.acked) <= 0 || f.flags.Any(tcp.SYN) {
		h.recent = f.val
	}
	if f.flags.Any(tcp.ACK) {
		h.una = f.ack
	}
	switch {
	case f.flags.Any(tcp.RST):
	case f.flags.All(tcp.SYN | tcp.ACK):
		h.rcv = f.seq + 1
		n.send(c, side, tcp.ACK, 0)
		n.think(c, side)
	case f.flags.Any(tcp.SYN):
		h.rcv = f.seq + 1
		n.send(c, side, tcp.SYN|tcp.ACK, 0)
	case f.flags.Any(tcp.FIN):
		h.rcv += uint32(f.data) + 1
		if h.finished {
			n.send(c, side, tcp.ACK, 0)
		} else {
			n.send(c, side, tcp.FIN|tcp.ACK, 0)
		}
	case f.data > 0:
		h.rcv += uint32(f.data)
		h.unacked++
		if f.flags.Any(tcp.PSH) {
			n.send(c, side, tcp.ACK, 0)
			n.think(c, side)
		} else if h.unacked == 2 {
			n.send(c, side, tcp.ACK, 0)
		}
	case c.bulk && side == c.sender && h.nxt != h.una:
		h.window = min(h.window+2, maxInFlight)
		n.pour(c)
	}
}

// think gives the application of an end some time until it acts.
func (n *network) think(c *link, side int) {
	n.later(200*time.Microsecond+time.Duration(n.rnd.ExpFloat64()*float64(5*time.Millisecond)), event{what: act, c: c, side: uint8(side)})
}

// act has the application of an end do what is next: the client asks when it is
// connected and has its answer, the server answers, and one of them closes.
func (n *network) act(c *link, side int) {
	h := &c.ends[side]
	switch {
	case h.finished:
	case c.bulk && side == c.sender:
		c.ends[1-side].wnd = 2048
		n.pour(c)
	case side == 0 && c.exchanges > 0:
		c.exchanges--
		n.send(c, side, tcp.PSH|tcp.ACK, 100+n.rnd.IntN(300))
	case side == 1 && c.answer > 0:
		for left := c.answer; left > 0; left -= payload {
			flags := tcp.ACK
			if left <= payload {
				flags |= tcp.PSH
			}
			n.send(c, side, flags, min(left, payload))
		}
		if c.exchanges == 0 {
			c.answer = 0
			n.think(c, side)
		}
	case side == c.closer && c.exchanges == 0:
		if c.aborts {
			h.finished = true
			n.send(c, side, tcp.RST|tcp.ACK, 0)
			return
		}
		n.send(c, side, tcp.FIN|tcp.ACK, 0)
	}
}

// pour sends as much as may be in flight, until all packets of the traffic are
// sent; then it closes.
func (n *network) pour(c *link) {
	h := &c.ends[c.sender]
	for !h.finished && n.left > 0 && int(h.nxt-h.una) < h.window*payload {
		n.send(c, c.sender, tcp.ACK, payload)
	}
	if n.left <= 0 && !h.finished {
		n.send(c, c.sender, tcp.FIN|tcp.ACK, 0)
	}
}

// capture hands out a segment that passes the capture.
func (n *network) capture(c *link, from int, f *flight) {
	h := &c.ends[from]
	n.packet = Packet{VLAN: c.vlan}
	s := &n.packet.Segment
	s.Time, s.Src, s.Dst = n.now, h.addr, c.ends[1-from].addr
	s.Seq, s.Ack, s.Flags, s.Data = tcp.Seq(f.seq), tcp.Seq(f.ack), f.flags, tcp.Size(f.data)
	s.Wnd, s.TTL = h.wnd, h.ttl
	if h.addr.Addr().Is4() {
		s.ID = f.id
	}
	o := &s.Options
	o.HasTS, o.TSVal, o.TSEcr = true, f.val, f.echo
	if f.flags.Any(tcp.SYN) {
		s.Wnd = 64240
		o.MSS, o.SACKOK, o.HasShift, o.Shift = mss, true, true, shift
	}
	if n.kind == Mixed {
		n.mix()
		return
	}
	n.stopped = n.stopped || !n.yield(&n.packet)
}

// An event happens at a time.
type event struct {
	at    tcp.Time
	order uint64 // of those of one time
	c     *link
	what  action
	side  uint8
	flight
}

// A queue is a heap of events, the next one first.
type queue []event

func (e *event) before(f *event) bool { return e.at < f.at || e.at == f.at && e.order < f.order }

func (q *queue) push(e event) {
	*q = append(*q, e)
	i := len(*q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&(*q)[parent]) {
			break
		}
		(*q)[i] = (*q)[parent]
		i = parent
	}
	(*q)[i] = e
}

func (q *queue) pop() event {
	first, last := (*q)[0], len(*q)-1
	(*q)[0] = (*q)[last]
	(*q)[last] = event{}
	if *q = (*q)[:last]; last > 0 {
		q.fix()
	}
	return first
}

// fix puts the first event where it belongs after its time was changed.
func (q queue) fix() {
	e := q[0]
	i := 0
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if right := child + 1; right < len(q) && q[right].before(&q[child]) {
			child = right
		}
		if !q[child].before(&e) {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = e
}
