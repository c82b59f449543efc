package table

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// One port: who holds it, and when it can be bound again.
//
//	Address      As      State       Ends  Oldest  Peers                        Held Until                   Left
//	10.9.0.2:80  server  CLOSE_WAIT     1   1m05s  10.9.0.1:37524               -                            -
//	10.9.0.2:80  server  TIME_WAIT      2   30.0s  10.9.0.1:37520 and 1 more    2026-01-02T03:01:04.000000Z  30 s left
//
//	10.9.0.2:80 can be bound after its connection that is not in TIME_WAIT is closed, but not before 2026-01-02T03:01:04.000000Z (30 s left); ...
//
// A row is of the ends on one address and port that are in one state. What is
// CLOSED, or back in LISTEN, holds nothing.

// A Port keeps who holds one port. It is given records one by one, and keeps a row
// for each address, role and state.
type Port struct {
	port      uint16
	host      netip.Addr // not valid: any
	holders   map[holderKey]*holder
	refusals  map[netip.AddrPort]*refusal
	listening sockets
	seen      int
}

type holderKey struct {
	addr  netip.AddrPort
	as    tcp.Endpoint
	state string // with the mark of what is only assumed
}

// A holder is a row.
type holder struct {
	holderKey
	timeWait bool
	ends     int
	oldest   time.Duration
	left     time.Duration  // the longest TIME_WAIT
	peer     netip.AddrPort // of the first
	peerName string
	names    []string // of the address
}

// A refusal is what came of attempts that an address answered with RST.
type refusal struct {
	n       int
	clients []netip.Addr // the first few
	last    tcp.Time
}

// shownClients is how many clients are named that were refused.
const shownClients = 3

// NewPort returns the Port of that number, on that host; one that is not valid
// stands for all.
func NewPort(port uint16, host netip.Addr) *Port {
	return &Port{
		port: port, host: host, holders: make(map[holderKey]*holder), refusals: make(map[netip.AddrPort]*refusal),
		listening: newSockets(nil, &record.Options{}, record.Order{}),
	}
}

// Connection takes a connection. It keeps nothing of r.
func (p *Port) Connection(r *tracker.Record) {
	p.seen++
	for i := range r.Ends {
		e := &r.Ends[i]
		if e.Addr.Port() != p.port || p.host.IsValid() && e.Addr.Addr() != p.host {
			continue
		}
		peer := &r.Ends[tcp.Endpoint(i).Peer()]
		if tcp.Endpoint(i) == tcp.Server {
			p.listening.listener(r, e)
			if r.ClosedBy == tcp.ByRefusal {
				p.refused(e.Addr, peer.Addr.Addr(), r.End)
			}
		}
		if e.State != tcp.Closed && e.State != tcp.Listen {
			p.held(e, tcp.Endpoint(i), peer)
		}
	}
}

// held takes down that an end holds the port.
func (p *Port) held(e *tracker.EndRecord, as tcp.Endpoint, peer *tracker.EndRecord) {
	key := holderKey{e.Addr, as, text.State(e)}
	h := p.holders[key]
	if h == nil {
		h = &holder{holderKey: key, timeWait: e.State == tcp.TimeWait, peer: peer.Addr, peerName: peer.Name}
		p.holders[key] = h
	}
	h.ends++
	h.names = services.AddName(h.names, e.Name)
	h.oldest = max(h.oldest, e.TimeInState)
	if h.timeWait {
		h.left = max(h.left, e.Timer.Remaining)
	}
}

// refused takes down that an attempt was refused.
func (p *Port) refused(by netip.AddrPort, client netip.Addr, at tcp.Time) {
	f := p.refusals[by]
	if f == nil {
		f = new(refusal)
		p.refusals[by] = f
	}
	f.n++
	f.last = max(f.last, at)
	if len(f.clients) <= shownClients && !slices.Contains(f.clients, client) {
		f.clients = append(f.clients, client)
	}
}

// Print prints who holds the port.
func (p *Port) Print(w io.Writer, o *record.Options, s *record.Summary) error {
	out := bufio.NewWriter(w)
	l := newLook(o, s)
	if s.Packets > 0 {
		text.WriteLine(out, fmt.Sprintf("Port %d at %s", p.port, l.time.Format(l.now, l.first)))
	}
	holders := slices.SortedFunc(maps.Values(p.holders), func(a, b *holder) int {
		return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.as, b.as), cmp.Compare(a.state, b.state))
	})
	if len(holders) > 0 {
		text.WriteLine(out, "")
		if err := portGrid(holders, o, l).Print(out); err != nil {
			return err
		}
	}
	addrs := p.addrs(holders)
	if len(addrs) == 0 {
		text.WriteLine(out, fmt.Sprintf("No endpoint holds it, and no connection to it was refused, among %s.", text.Plural(uint64(p.seen), "connection", "connections")))
	}
	for _, addr := range addrs {
		text.WriteLine(out, "")
		text.WriteWrapped(out, "", p.say(addr, holders, l), o.Width, text.Plain)
	}
	return out.Flush()
}

// addrs returns the addresses of which there is anything to be said.
func (p *Port) addrs(holders []*holder) []netip.AddrPort {
	var list []netip.AddrPort
	for _, h := range holders {
		list = append(list, h.addr)
	}
	list = slices.AppendSeq(list, maps.Keys(p.refusals))
	list = slices.AppendSeq(list, maps.Keys(p.listening.listeners))
	slices.SortFunc(list, netip.AddrPort.Compare)
	return slices.Compact(list)
}

// portGrid lays the rows out.
func portGrid(holders []*holder, o *record.Options, l *look) *text.Grid {
	g := &text.Grid{NoHeader: o.NoHeader, Width: o.Width, Color: o.Color, Columns: []text.Column{
		{Title: "Address"}, {Title: "As"}, {Title: "State", Color: text.StateColor}, {Title: "Ends", Right: true}, {Title: "Oldest", Right: true, Drop: 3},
		{Title: "Peers", Drop: 1}, {Title: "Held Until", Drop: 2}, {Title: "Left"},
	}}
	for _, h := range holders {
		addr, peers, until, left := h.addr.String(), h.peer.String(), "-", "-"
		if o.Names {
			addr, peers = text.Named(addr, h.names...), text.Named(peers, h.peerName)
		}
		if h.ends > 1 {
			peers += fmt.Sprintf(" and %d more", h.ends-1)
		}
		if h.timeWait {
			until, left = l.time.Format(l.now.Add(h.left), l.first), text.Left(h.left)
		}
		g.Rows = append(g.Rows, []string{addr, h.as.String(), h.state, fmt.Sprint(h.ends), text.Human(h.oldest), peers, until, left})
	}
	return g
}

// say says of an address when it can be bound again, and who was refused.
func (p *Port) say(addr netip.AddrPort, holders []*holder, l *look) string {
	open, waiting, left := 0, 0, time.Duration(0)
	for _, h := range holders {
		switch {
		case h.addr != addr:
		case h.timeWait:
			waiting += h.ends
			left = max(left, h.left)
		default:
			open += h.ends
		}
	}
	listener := p.listening.listeners[addr]
	can := addr.String() + " can be bound"
	if listener.answered > listener.refused {
		can = fmt.Sprintf("%v listens (%s). After the listener stops, the port can be bound", addr, text.Plural(uint64(listener.accepted), "handshake", "handshakes"))
	}
	const reuse = "; with SO_REUSEADDR on the old sockets and the new one, immediately"
	until := fmt.Sprintf("%s (%s)", l.time.Format(l.now.Add(left), l.first), text.Left(left))
	parts := []string{can}
	switch {
	case open+waiting == 0:
		parts = append(parts, " immediately")
	case open == 0:
		parts = append(parts, " from "+until, reuse)
	default:
		its, are, rest := " after its connection", " is closed", ""
		if open > 1 {
			its, are = fmt.Sprintf(" after its %d connections", open), " are closed"
		}
		if waiting > 0 {
			its, rest = its+" not in TIME_WAIT", ", but not before "+until
		}
		parts = append(parts, its, are, rest, reuse)
	}
	parts = append(parts, ".")
	if f := p.refusals[addr]; f != nil {
		var who []string
		for _, c := range f.clients[:min(len(f.clients), shownClients)] {
			who = append(who, c.String())
		}
		if len(f.clients) > shownClients {
			who = append(who, "others")
		}
		parts = append(parts, fmt.Sprintf(" It refused %s from %s, the last at %s; nothing was listening there then.",
			text.Plural(uint64(f.n), "attempt", "attempts"), strings.Join(who, ", "), l.time.Format(f.last, l.first)))
	}
	return strings.Join(parts, "")
}
