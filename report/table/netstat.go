package table

import (
	"bufio"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The table of one host, line for line as Linux netstat -tan prints it, with
// states as BSD spells them and a "?" where one is assumed:
//
//	Active Internet connections (servers and established)
//	Proto Recv-Q Send-Q Local Address           Foreign Address         State
//	tcp        0      0 10.9.0.2:80             0.0.0.0:*               LISTEN
//	tcp        0    512 10.9.0.2:80             10.9.0.1:37520          ESTABLISHED
//
// An end is listed unless it is CLOSED, or back in LISTEN. Send-Q is what the
// host sent and nobody acknowledged yet. Recv-Q, what its application has not
// read, no packet tells: it is 0, unless the host's kernel was asked. A listening socket is one that
// accepted a SYN, until it answers one with RST; it is listed with the address
// that was called, though it may be bound to more.
//
// The listening sockets of all hosts have a table of their own:
//
//	Proto  Local Address  State   Handshakes
//	tcp    10.9.0.2:80    LISTEN          12

// sockets keeps the sockets that the connections show, for the formats of
// Options.On and Options.Listening.
type sockets struct {
	record.Quiet
	out       *bufio.Writer
	opts      *record.Options
	on        netip.Addr // of this host only; not valid: of all
	listening bool       // only those that listen
	by        record.Order
	ends      []socket
	listeners map[netip.AddrPort]listener
}

// A listener is a port to which a SYN came.
type listener struct {
	names    []string // that clients call it by
	accepted int      // connections
	answered tcp.Time // when the newest connection began that it answered; 0: none
	refused  tcp.Time // when it answered a SYN with RST last; 0: never
}

// A socket is one line of the table.
type socket struct {
	record.Key
	local    netip.AddrPort
	foreign  netip.AddrPort // not valid: any, of a listening socket
	names    []string       // of the local address
	peerName string
	state    string
	recvQ    uint32
	sendQ    uint64
	accepted int // connections that a listening socket accepted
}

func newSockets(out *bufio.Writer, o *record.Options, by record.Order) sockets {
	return sockets{out: out, opts: o, on: o.On, listening: o.Listening, by: by, listeners: make(map[netip.AddrPort]listener)}
}

// Connection takes the sockets of one connection.
func (k *sockets) Connection(r *tracker.Record) error {
	for i := range r.Ends {
		e := &r.Ends[i]
		if k.on.IsValid() && e.Addr.Addr().Unmap() != k.on.Unmap() {
			continue
		}
		if i == int(tcp.Server) {
			k.listener(r, e)
		}
		if k.listening || e.State == tcp.Closed || e.State == tcp.Listen {
			continue
		}
		peer := &r.Ends[tcp.Endpoint(i).Peer()]
		recvQ := uint32(0)
		if e.Socket != nil && e.Socket.State != tcp.Unknown {
			recvQ = e.Socket.RecvQueue
		}
		k.ends = append(k.ends, socket{
			recvQ:    recvQ,
			Key:      k.by.Key(r),
			local:    e.Addr,
			foreign:  peer.Addr,
			names:    services.AddName(nil, e.Name),
			peerName: peer.Name,
			state:    text.State(e),
			sendQ:    e.Unacked,
		})
	}
	return nil
}

// listener takes down what a connection tells of its server's port.
func (k *sockets) listener(r *tracker.Record, e *tracker.EndRecord) {
	refused := r.ClosedBy == tcp.ByRefusal
	if !e.Listener && !refused {
		return
	}
	n := k.listeners[e.Addr]
	n.names = services.AddName(n.names, e.Name)
	if e.Listener {
		n.answered = max(n.answered, r.Start)
		if accepted(e) {
			n.accepted++
		}
	}
	if refused {
		n.refused = max(n.refused, r.End)
	}
	k.listeners[e.Addr] = n
}

// accepted reports whether an end that answered a SYN came to be connected.
func accepted(e *tracker.EndRecord) bool {
	return slices.ContainsFunc(e.History, func(s tracker.Step) bool { return s.State >= tcp.Established })
}

// list returns the sockets in netstat's order: those of IPv4 first, and of each
// those that listen.
func (k *sockets) list() []socket {
	var list []socket
	for addr, n := range k.listeners {
		if n.answered > n.refused {
			list = append(list, socket{local: addr, names: n.names, state: tcp.Listen.String(), accepted: n.accepted})
		}
	}
	slices.SortFunc(list, func(a, b socket) int { return a.local.Compare(b.local) })
	slices.SortStableFunc(k.ends, func(a, b socket) int { return k.by.Compare(a.Key, b.Key) })
	list = append(list, k.ends...)
	slices.SortStableFunc(list, func(a, b socket) int {
		return cmp.Compare(text.Protocol(a.local), text.Protocol(b.local))
	})
	return list
}

// grid lays the sockets out; only the two-blank look of tables is not
// netstat's.
func (k *sockets) grid(o *record.Options) *text.Grid {
	g := &text.Grid{NoHeader: o.NoHeader, Color: o.Color, Columns: k.columns()}
	for _, s := range k.list() {
		g.Rows = append(g.Rows, k.cells(&s))
	}
	return g
}

// columns returns the columns of one host, or of the listening sockets of all.
func (k *sockets) columns() []text.Column {
	if k.on.IsValid() {
		return []text.Column{
			{Title: "Proto"}, {Title: "Recv-Q", Right: true}, {Title: "Send-Q", Right: true},
			{Title: "Local Address"}, {Title: "Foreign Address"}, {Title: "State", Color: text.StateColor},
		}
	}
	return []text.Column{
		{Title: "Proto"}, {Title: "Local Address"}, {Title: "State", Color: text.StateColor}, {Title: "Handshakes", Right: true},
	}
}

// cells returns the cells of a socket.
func (k *sockets) cells(s *socket) []string {
	local, peer := s.local.String(), s.peer()
	if k.on.IsValid() {
		local = netstatAddr(s.local)
	}
	if k.opts.Names {
		local, peer = text.Named(local, s.names...), text.Named(peer, s.peerName)
	}
	if k.on.IsValid() {
		return []string{text.Protocol(s.local), strconv.FormatUint(uint64(s.recvQ), 10), strconv.FormatUint(s.sendQ, 10), local, peer, s.state}
	}
	return []string{text.Protocol(s.local), local, s.state, strconv.Itoa(s.accepted)}
}

// peer returns the foreign address as netstat prints it.
func (s *socket) peer() string {
	switch {
	case s.foreign.IsValid():
		return netstatAddr(s.foreign)
	case s.local.Addr().Is4():
		return "0.0.0.0:*"
	}
	return ":::*"
}

// netstatAddr writes an address as netstat does, without the brackets that
// others put around IPv6.
func netstatAddr(a netip.AddrPort) string {
	return a.Addr().String() + ":" + strconv.Itoa(int(a.Port()))
}

// noListeners is what is said where nothing is known to listen.
const noListeners = "No listening socket: no host answered a SYN in this capture."

// netstat prints Options.On and Options.Listening.
type netstat struct{ sockets }

// NewSockets makes the formats table and wide of Options.On and Options.Listening.
func NewSockets(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &netstat{newSockets(out, o, by)}
}

func (p *netstat) Close(*record.Summary, *record.Tally) error {
	g := p.grid(p.opts)
	if !p.on.IsValid() {
		if len(g.Rows) == 0 {
			return text.WriteLine(p.out, noListeners)
		}
		return g.Print(p.out)
	}
	what := "servers and established"
	if p.listening {
		what = "only servers"
	}
	local, foreign := 23, 23 // netstat's widths, which addresses of IPv6 exceed
	for _, row := range g.Rows {
		local, foreign = max(local, len(row[3])), max(foreign, len(row[4]))
	}
	line := func(cells []string) error {
		_, err := fmt.Fprintf(p.out, "%-5s %6s %6s %-*s %-*s %s\n",
			cells[0], cells[1], cells[2], local, cells[3], foreign, cells[4], cells[5])
		return err
	}
	if !p.opts.NoHeader {
		text.WriteLine(p.out, "Active Internet connections ("+what+")")
		line(g.Titles())
	}
	for _, row := range g.Rows {
		row[5] = text.StateColor(row[5]).PaintIf(p.opts.Color, row[5])
		if err := line(row); err != nil {
			return err
		}
	}
	return nil
}

// socketSummary counts the sockets of Options.On and Options.Listening by
// state.
type socketSummary struct{ sockets }

// NewSocketSummary makes the format summary of Options.On and Options.Listening.
func NewSocketSummary(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &socketSummary{newSockets(out, o, by)}
}

func (p *socketSummary) Close(*record.Summary, *record.Tally) error {
	counts := make(map[string]int)
	for _, s := range p.list() {
		counts[strings.TrimSuffix(s.state, text.AssumedMark)]++
	}
	g := &text.Grid{NoHeader: p.opts.NoHeader, Color: p.opts.Color, Columns: []text.Column{
		{Title: "State", Color: text.StateColor}, {Title: "Sockets", Right: true},
	}}
	for state, n := range counts {
		g.Rows = append(g.Rows, []string{state, strconv.Itoa(n)})
	}
	slices.SortFunc(g.Rows, func(a, b []string) int {
		return cmp.Or(cmp.Compare(counts[b[0]], counts[a[0]]), cmp.Compare(a[0], b[0]))
	})
	if len(g.Rows) == 0 {
		return text.WriteLine(p.out, "No sockets.")
	}
	return g.Print(p.out)
}
