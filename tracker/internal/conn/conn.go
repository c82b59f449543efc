package conn

import (
	"iter"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/duplicates"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/learned"
	"github.com/tcpwatch/tcpwatch/tracker/internal/order"
	"github.com/tcpwatch/tcpwatch/tracker/internal/pool"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/stalls"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Conn is one connection: an incarnation of a pair of addresses and ports.
type Conn struct {
	// What every segment asks first fills one line of the cache.
	Key  flow.Key
	Rare *rareState // what only unusual connections need; nil until then
	ID   uint32     // 0 while provisional
	Bits connBits
	have uint8 // steps
	room uint8 // for steps

	Ends          [2]endpoint.End
	newest        [2]recent.Newest
	newestSegment uint32        // place of its newest segment in the ring; 0: none
	Place         order.Place   // in the order of eviction
	first         *history.Step // of its history, see steps: a slice is longer by 14 octets
	Start         tcp.Time
	alarm         tcp.Time // when it is to be looked at; 0: never
	Incarnation   uint32
	form          learned.ID
	Past          pastInputs // that ever were in steps; what is not spares the look, which cost 3 % of a short connection
}

// conns is where the connections lie.
type conns struct{ pool.Pool[Conn] }

// take returns a connection of which nothing is known.
func (p *conns) take() *Conn {
	c, used := p.Take()
	if used {
		*c = Conn{first: c.first, room: c.room}
	}
	return c
}

// giveBack takes a connection that was removed.
func (p *conns) giveBack(c *Conn) {
	c.Bits |= gone
	p.GiveBack(c)
}

// All yields every connection, as long as none is evicted in the order in which
// they began.
func (p *conns) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := range p.Pool.All() {
			if c.Bits&gone == 0 && !yield(c) {
				return
			}
		}
	}
}

// connBits are the yes-or-no properties of a connection, and in the top bits who
// closed it.
type connBits uint16

const (
	ClientIsLow   connBits = 1 << iota // the client is the end whose address sorts first
	isProvisional                      // its SYN may be forged or old: not told to anybody yet
	OriginSYNACK
	OriginMidstream
	gone       // no longer in the flow table
	amongStale // segments of an older connection fell among its own, or may: rareState.staleSegments
	challenged // rareState.challenge waits for what the alleged sender does next
	awaited    // a segment waits to be accepted or refused: stalls.Beyond
	copied     // its SYN is an old one, copied by the network: the client did not send it now
	holding    // a FIN is held: rareState.held
	skewed     // what answers was captured before what it answers: the two directions have clocks, or queues, of their own
	swapped    // the client is the server, as turned out: see Role

	closedByShift = 12
)

// Provisional reports whether its SYN may be forged or old, so that nobody was
// told of it yet.
func (c *Conn) Provisional() bool { return c.Bits&isProvisional != 0 }

// Origin is by what it came into sight.
func (c *Conn) Origin() tcp.Origin {
	switch {
	case c.Bits&OriginSYNACK != 0:
		return tcp.FromSYNACK
	case c.Bits&OriginMidstream != 0:
		return tcp.FromMidstream
	}
	return tcp.FromSYN
}

// ClosedBy is who closed it.
func (c *Conn) ClosedBy() tcp.ClosedBy { return tcp.ClosedBy(c.Bits >> closedByShift & 15) }

func (c *Conn) setClosedBy(by tcp.ClosedBy) {
	c.Bits = c.Bits&^(15<<closedByShift) | connBits(by)<<closedByShift
}

// rareState are what only some connections need.
type rareState struct {
	older              *Conn // the incarnation before it
	holes              [2]holes.List
	Retransmits        [2]uint64
	RetransmittedBytes [2]uint64
	SYNData            [2]tcp.Size  // octets that rode on the SYN (RFC 7413)
	SACKed             [2]tcp.Block // the highest octets that the end reported by SACK
	Astray             [2]Astray
	early              [2]holes.Early
	refuted            [2]tcp.InputSet // inputs that were taken back once
	filled             [2]tcp.Seq      // the end of what completed the octets before the peer's FIN, from the end's view
	hasFilled          [2]bool
	lacks              [2]tcp.Seq // what the end still waits for, as it shows, although a copy was captured before the peer's FIN
	isLacking          [2]bool
	Closing            [2]recent.Closing
	RepeatedSYN        bool             // a SYN, with or without ACK, was sent again
	staleSegments      *[2]recent.Stale // by the end that the segment claims to be of; nil until there is one
	held               *[2]heldFIN      // by the end that it claims to be of; nil until there is one
	denied             *[2]deniedFIN    // the same
	Gaps               [2]holes.Gap     // what is missing of the end's octets
	challenge          Challenge
	spared             [2]sparing  // exact RSTs that the end did not take
	called             [2]tcp.Time // when a SYN in the end's name was captured, which opens nothing yet
	inName             [2]tcp.Time // of the newest RST in the end's name that something between the ends made
	stalls             *[2]stalls.OfEnd
	second             *secondAnswer // to the SYN; nil: there is none, or it is known which counts
	own                recent.Own
	late               [2]duplicates.Late
	silences           [2]silence
	quickest           [2]time.Duration  // that a segment of the end was under way, by captures of several places; 0: unknown
	arrived            *[2]holes.Arrived // of the end's octets, what came near its peer; nil: one capture has both
	weighed            uint32            // the octets of all this that were counted
	behindACK          uint8             // how often octets came behind their ACK, in turn: see outOfStep
}

// RareState returns what only some connections need, and makes it where there is
// none.
func (c *Conn) RareState() *rareState {
	if c.Rare == nil {
		c.Rare = new(rareState)
	}
	return c.Rare
}

// Older returns the incarnation before it, or nil.
func (c *Conn) Older() *Conn {
	if c.Rare == nil {
		return nil
	}
	return c.Rare.older
}

func (c *Conn) setOlder(old *Conn) {
	if old != nil || c.Rare != nil {
		c.RareState().older = old
	}
}

// Last returns the time of the connection's newest packet.
func (c *Conn) Last() tcp.Time {
	return max(c.Ends[tcp.Client].SentAt, c.Ends[tcp.Server].SentAt, c.Start)
}

// Addr returns the address and port of an end.
func (c *Conn) Addr(e tcp.Endpoint) netip.AddrPort {
	return c.Key.Addr((e == tcp.Client) == (c.Bits&ClientIsLow != 0))
}

// EndOf returns which end sends the segments that come from the lower, or the
// higher, address of the key.
func (c *Conn) EndOf(low bool) tcp.Endpoint {
	var lower tcp.Endpoint
	if low {
		lower = 1
	}
	return lower ^ tcp.Endpoint(c.Bits&ClientIsLow) // without a branch, as keyOf
}

// EndOn returns the client, or the server.
func (c *Conn) EndOn(client bool) *endpoint.End {
	if client {
		return &c.Ends[tcp.Client]
	}
	return &c.Ends[tcp.Server]
}

// Self reports whether both ends of the connection are the same.
func (c *Conn) Self() bool { return c.Key.Self() }

// EndIn returns which end of the other connection, on the same addresses and
// ports, is the host that is the end e of c.
func (c *Conn) EndIn(other *Conn, e tcp.Endpoint) tcp.Endpoint {
	return other.EndOf(c.EndOf(true) == e)
}

// FormerOf returns the real connection before c on the same addresses and
// ports, or nil.
func (m *Machine) FormerOf(c *Conn) *Conn {
	for o := c.Older(); o != nil; o = o.Older() {
		if !o.Provisional() {
			return o
		}
	}
	return nil
}

// OpenedOnce reports whether no part of the handshake was repeated or taken
// back: an answer may else be to either copy (Karn, RFC 6298 §3).
func (o *rareState) OpenedOnce() bool {
	return o == nil || !o.RepeatedSYN && (o.refuted[tcp.Client]|o.refuted[tcp.Server])&(tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set()) == 0
}
