// Package services counts connections by the service that they are to, which is a
// server's address and port, and by the host that called. It takes records one by
// one and keeps none: what it remembers is bounded by the number of services, and
// that by MostRows.
package services

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// MostRows is how many services, and how many client hosts, have a row each. When
// there are more, the half with the fewest connections, and of those with as many
// the ones that came first, goes into one row, of the others. One of these that is called again has a row anew, which lacks what went.
const MostRows = 1000

// A Row is what is known of the connections to one service, or of one client host.
// Pairs are by end of the connection.
type Row struct {
	Addr    netip.AddrPort // of the server; of a client the port is 0; not valid in the row of the others, or of a program
	Program string         // that has an end of the connections; "": the row is of no program
	Names   []string       // that it has in the connections, the first few
	Others  int            // in the row of the others, how many they are; else 0

	Connections     int
	Open            int           // nobody has closed them, and nothing has ended them
	CloseWait       [2]int        // ends in CLOSE_WAIT
	PeerClosed      [2]int        // ends whose peer closed first: those in CLOSE_WAIT, and those that have closed too
	OldestCloseWait time.Duration // how long the oldest of these has been there
	TimeWait        [2]int        // ends in TIME_WAIT
	Refused         int           // attempts ended by a RST or an ICMP error
	TimedOut        int
	ResetBy         [tcp.NumResetBy]int // connections that a RST ended, but for the refused
	ClosedBy        [2]int              // who sent the first FIN
	ClosedByBoth    int
	Segments        uint64 // of both ends
	Retransmits     uint64 // of these, those that carry only what was sent before
	Handshakes      Histogram
	Kinds           map[string]int         // anomalies
	Severities      [anomaly.Error + 1]int // those that no other anomaly explains
}

// Closes is how many connections were closed by a FIN.
func (r *Row) Closes() int { return r.ClosedBy[tcp.Client] + r.ClosedBy[tcp.Server] + r.ClosedByBoth }

// RetransmittedShare is which part of the segments was sent again; 0 without any.
func (r *Row) RetransmittedShare() float64 {
	return float64(r.Retransmits) / float64(max(r.Segments, 1))
}

// A By is what rows are of.
type By uint8

const (
	ByServer  By = iota // an address and port
	ByClient            // a host
	ByProcess           // a program, as far as it is known whose the ends are
)

// Counts counts connections in all ways. The zero Counts has counted none, and a nil
// one counts none.
type Counts struct {
	by [ByProcess + 1]counter
}

// A key is what a row is of: an address, or a program.
type key struct {
	addr    netip.AddrPort
	program string
}

func keyOf(r *Row) key { return key{r.Addr, r.Program} }

// Connection counts a connection. It keeps nothing of r.
func (c *Counts) Connection(r *tracker.Record) {
	if c == nil {
		return
	}
	client, server := &r.Ends[tcp.Client], &r.Ends[tcp.Server]
	c.by[ByServer].row(key{addr: server.Addr}).count(r, server.Name)
	c.by[ByClient].row(key{addr: netip.AddrPortFrom(client.Addr.Addr(), 0)}).count(r, client.Name)
	programs := [2]string{programOf(client), programOf(server)}
	for e, program := range programs {
		if program != "" && (e == 0 || program != programs[0]) {
			c.by[ByProcess].row(key{program: program}).count(r, "")
		}
	}
}

// programOf is the program that has the end; "": it is not known.
func programOf(e *tracker.EndRecord) string {
	if e.Socket == nil {
		return ""
	}
	return e.Socket.Owner.Program
}

// Anomaly counts an anomaly over many connections: with the service that it is
// about, or with the host.
func (c *Counts) Anomaly(a *anomaly.Anomaly) {
	if c == nil || !a.Addr.IsValid() {
		return
	}
	at := ByClient
	if a.Port != 0 {
		at = ByServer
	}
	c.by[at].odd(netip.AddrPortFrom(a.Addr, a.Port), a)
}

// Clone returns a copy to count on in; a nil Counts gives one that has counted
// none.
func (c *Counts) Clone() *Counts {
	if c == nil {
		return new(Counts)
	}
	d := new(Counts)
	for by := range c.by {
		d.by[by] = c.by[by].clone()
	}
	return d
}

// Rows returns the rows, the worst first: by errors, then by warnings, then by
// connections. What is unusual but harmless alone makes none worse. The last is that of
// the others, if there are any.
func (c *Counts) Rows(by By) []Row { return c.by[by].list() }

// A counter counts one way.
type counter struct {
	rows   map[key]*Row
	came   []*Row       // the same, in the order in which they came
	over   map[key]*Row // the anomalies over many connections: a row shows them once it has a connection
	others Row
	spare  []*Row // that were folded
}

// row returns the row to count in.
func (c *counter) row(at key) *Row {
	if r := c.rows[at]; r != nil {
		return r
	}
	if len(c.rows) == MostRows {
		c.fold()
	}
	var r *Row
	if last := len(c.spare) - 1; last >= 0 {
		r, c.spare = c.spare[last], c.spare[:last]
	} else {
		r = new(Row)
	}
	*r = Row{Addr: at.addr, Program: at.program}
	add(&c.rows, r)
	c.came = append(c.came, r)
	return r
}

// odd counts an anomaly over many connections. There are few, but of one kind
// somebody may make one for every address.
func (c *counter) odd(at netip.AddrPort, a *anomaly.Anomaly) {
	r := c.over[key{addr: at}]
	if r == nil {
		if len(c.over) == MostRows {
			return
		}
		r = &Row{Addr: at}
		add(&c.over, r)
	}
	r.anomaly(a)
}

// add adds a row to rows.
func add(rows *map[key]*Row, r *Row) {
	if *rows == nil {
		*rows = make(map[key]*Row)
	}
	(*rows)[keyOf(r)] = r
}

// fold puts the half of the rows with the fewest connections into that of the
// others. To sort the rows themselves took half the time of a flood of callers.
func (c *counter) fold() {
	const half = MostRows / 2
	sizes := make([]int, 0, MostRows)
	for _, r := range c.came {
		sizes = append(sizes, r.Connections)
	}
	slices.Sort(sizes)
	most := sizes[half-1]
	left := half - sort.SearchInts(sizes, most) // of those with as many
	c.came = slices.DeleteFunc(c.came, func(r *Row) bool {
		if r.Connections > most || r.Connections == most && left == 0 {
			return false
		}
		if r.Connections == most {
			left--
		}
		c.others.add(r)
		c.others.Others++
		delete(c.rows, keyOf(r))
		c.spare = append(c.spare, r)
		return true
	})
}

func (c *counter) clone() counter {
	d := counter{rows: make(map[key]*Row, len(c.rows)), over: make(map[key]*Row, len(c.over)), others: *c.others.clone()}
	for _, r := range c.came {
		r = r.clone()
		d.rows[keyOf(r)], d.came = r, append(d.came, r)
	}
	for at, r := range c.over {
		d.over[at] = r.clone()
	}
	return d
}

func (c *counter) list() []Row {
	var list []Row
	for at, r := range c.rows {
		r = r.clone()
		if odd := c.over[at]; odd != nil {
			r.add(odd)
		}
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Row) int { return compare(&a, &b) })
	if c.others.Others > 0 {
		list = append(list, *c.others.clone())
	}
	return list
}

// compare puts the worse of two rows first.
func compare(a, b *Row) int {
	return cmp.Or(
		cmp.Compare(b.Severities[anomaly.Error], a.Severities[anomaly.Error]),
		cmp.Compare(b.Severities[anomaly.Warning], a.Severities[anomaly.Warning]),
		cmp.Compare(b.Connections, a.Connections),
		a.Addr.Compare(b.Addr),
		cmp.Compare(a.Program, b.Program))
}

// count counts a connection, in which the service, or the host, has that name.
func (r *Row) count(c *tracker.Record, name string) {
	r.Connections++
	r.Names = AddName(r.Names, name)
	over := true
	for e := range c.Ends {
		x := &c.Ends[e]
		if x.PeerClosed() {
			r.PeerClosed[e]++
		}
		switch x.State {
		case tcp.CloseWait:
			r.CloseWait[e]++
			r.OldestCloseWait = max(r.OldestCloseWait, x.TimeInState)
		case tcp.TimeWait:
			r.TimeWait[e]++
		}
		over = over && (x.State == tcp.Closed || x.State == tcp.Listen || x.State == tcp.TimeWait)
		r.Segments += x.Packets
		r.Retransmits += x.Retransmits
	}
	reset := c.ResetBy
	switch c.ClosedBy {
	case tcp.NotClosed:
		if !over {
			r.Open++
		}
	case tcp.ByClient:
		r.ClosedBy[tcp.Client]++
	case tcp.ByServer:
		r.ClosedBy[tcp.Server]++
	case tcp.ByBoth:
		r.ClosedByBoth++
	case tcp.ByRefusal, tcp.ByUnreachable:
		r.Refused++
		reset = tcp.NotReset
	case tcp.ByTimeoutOfEnd:
		r.TimedOut++
	}
	r.ResetBy[reset]++
	if c.HandshakeRTT > 0 {
		r.Handshakes.Add(c.HandshakeRTT)
	}
	for i := range c.Anomalies {
		a := &c.Anomalies[i]
		r.anomaly(a)
		if c.Explained(a) {
			r.Severities[a.Severity]--
		}
	}
}

// mostNames is how many names AddName keeps.
const mostNames = 10

// AddName adds a name to those of a host or a service, of which it keeps a few.
func AddName(names []string, name string) []string {
	if name == "" || len(names) == mostNames || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// anomaly counts an anomaly, once however often it repeated.
func (r *Row) anomaly(a *anomaly.Anomaly) {
	if r.Kinds == nil {
		r.Kinds = make(map[string]int)
	}
	r.Kinds[a.Kind]++
	r.Severities[a.Severity]++
}

// add adds what another row has counted.
func (r *Row) add(o *Row) {
	r.Connections += o.Connections
	r.Open += o.Open
	for e := range r.CloseWait {
		r.CloseWait[e] += o.CloseWait[e]
		r.PeerClosed[e] += o.PeerClosed[e]
		r.TimeWait[e] += o.TimeWait[e]
		r.ClosedBy[e] += o.ClosedBy[e]
	}
	r.OldestCloseWait = max(r.OldestCloseWait, o.OldestCloseWait)
	r.Refused += o.Refused
	r.TimedOut += o.TimedOut
	for by := range r.ResetBy {
		r.ResetBy[by] += o.ResetBy[by]
	}
	r.ClosedByBoth += o.ClosedByBoth
	r.Segments += o.Segments
	r.Retransmits += o.Retransmits
	r.Handshakes.merge(&o.Handshakes)
	if r.Kinds == nil && len(o.Kinds) > 0 {
		r.Kinds = make(map[string]int)
	}
	for kind, n := range o.Kinds {
		r.Kinds[kind] += n
	}
	for s := range r.Severities {
		r.Severities[s] += o.Severities[s]
	}
}

func (r *Row) clone() *Row {
	c := *r
	c.Names = slices.Clip(r.Names) // what is appended goes elsewhere
	c.Kinds = maps.Clone(r.Kinds)
	c.Handshakes.few, c.Handshakes.buckets = slices.Clone(r.Handshakes.few), slices.Clone(r.Handshakes.buckets)
	return &c
}
