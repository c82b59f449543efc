// Package findings groups anomalies that say the same: where 2,000 connections end
// alike, that is one Finding. It takes anomalies one by one and keeps no record:
// what it remembers is bounded by MostFindings, unless all is wanted.
package findings

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// MostFindings is how many Findings there are. What would be one more is counted with
// those of its kind, and of no one service.
const MostFindings = 1000

// How many connections and client hosts a Finding names.
const (
	mostConns = 10
	mostHosts = 3
)

// An Identity is what anomalies of one Finding have in common.
type Identity struct {
	Severity   anomaly.Severity
	Kind       string
	Cause      string
	Confidence anomaly.Confidence
	End        tcp.Endpoint
	Many       bool           // over many connections
	At         netip.AddrPort // the server; with Many the host, whose port is 0 where it is about no one port; invalid: the whole capture
	Elsewhere  bool           // of services that have no Finding of their own

	alone int // where each anomaly is a Finding, its number; else 0
}

// A Finding is anomalies of one kind and cause, as grave and as certain, of the same
// end at one service.
type Finding struct {
	Identity
	Count int             // of connections, with Many of anomalies
	Times int             // how often it happened in all of them
	Same  bool            // all say the same sentence
	First anomaly.Anomaly // the earliest
	Last  anomaly.Anomaly // the newest
	Hosts int             // how many client hosts; 0: they were not counted

	conns, hosts []sighting              // the first
	seen         map[netip.Addr]struct{} // all client hosts
}

// A sighting is an anomaly of a connection.
type sighting struct {
	at   tcp.Time
	conn int
	host netip.Addr // the client's
}

func (s sighting) compare(o sighting) int {
	return cmp.Or(cmp.Compare(s.at, o.at), cmp.Compare(s.conn, o.conn))
}

// insert puts s in its place, if it is one of the first.
func insert(list []sighting, s sighting, most int) []sighting {
	i, _ := slices.BinarySearchFunc(list, s, sighting.compare)
	list = slices.Insert(list, i, s)
	return list[:min(len(list), most)]
}

// Counts groups anomalies. The zero Counts has none, and a nil one takes none.
type Counts struct {
	Each bool // each anomaly is a Finding
	All  bool // there is no bound, each anomaly over many connections is a Finding, and client hosts are counted

	Memory int64 // with Each or All: octets beyond which both end, about; 0: any
	octets int64 // that are taken

	found      map[Identity]*Finding
	severities [anomaly.Error + 1]int
}

// Anomaly takes an anomaly of a connection, once however often it repeated; r is nil
// where it is over many connections. It keeps nothing of either.
func (c *Counts) Anomaly(a *anomaly.Anomaly, r *tracker.Record) {
	if c == nil {
		return
	}
	c.severities[a.Severity]++
	if c.Memory > 0 && c.octets > c.Memory && (c.Each || c.All) {
		c.few()
	}
	id := identityOf(a, r)
	if c.Each || c.All && id.Many {
		id.alone = len(c.found) + 1
	}
	f := c.finding(id)
	f.add(a)
	if r != nil {
		hosts := f.Hosts
		f.sighted(sighting{a.Time, a.Conn, r.Ends[tcp.Client].Addr.Addr()}, c.All)
		c.octets += int64(f.Hosts-hosts) * hostMemory
	}
}

// What a Finding takes without its texts, and a client host of it, in octets.
const (
	findingMemory = 2048
	hostMemory    = 64
)

// few has there be only as many Findings as are usual from now on, beside those that there are.
func (c *Counts) few() {
	c.Each, c.All = false, false
	for _, f := range c.found {
		f.Hosts, f.seen = 0, nil
	}
}

func identityOf(a *anomaly.Anomaly, r *tracker.Record) Identity {
	id := Identity{Severity: a.Severity, Kind: a.Kind, Cause: a.Cause, Confidence: a.Confidence, End: a.End, Many: a.Conn == 0, At: netip.AddrPortFrom(a.Addr, a.Port)}
	if r != nil {
		id.At = r.Ends[tcp.Server].Addr
	}
	return id
}

// One is the Finding of an anomaly alone, of a service that is not told.
func One(a *anomaly.Anomaly) *Finding {
	f := &Finding{Identity: identityOf(a, nil)}
	f.add(a)
	return f
}

// add counts an anomaly.
func (f *Finding) add(a *anomaly.Anomaly) {
	f.Same = f.Count == 0 || f.Same && a.Text == f.First.Text
	if f.Count == 0 || cmp.Or(cmp.Compare(a.Time, f.First.Time), cmp.Compare(a.Conn, f.First.Conn)) < 0 {
		f.First = clone(a)
	}
	if f.Count == 0 || newest(a) >= newest(&f.Last) {
		f.Last = clone(a)
	}
	f.Count++
	f.Times += a.Count
}

func clone(a *anomaly.Anomaly) anomaly.Anomaly {
	c := *a
	c.Evidence, c.Samples = slices.Clone(a.Evidence), slices.Clone(a.Samples)
	return c
}

// sighted takes note of the connection and the client host, which is counted or not.
func (f *Finding) sighted(s sighting, count bool) {
	f.conns = insert(f.conns, s, mostConns)
	if i := slices.IndexFunc(f.hosts, func(o sighting) bool { return o.host == s.host }); i < 0 {
		f.hosts = insert(f.hosts, s, mostHosts)
	} else if s.compare(f.hosts[i]) < 0 {
		f.hosts = insert(slices.Delete(f.hosts, i, i+1), s, mostHosts)
	}
	if count {
		if f.seen == nil {
			f.seen = make(map[netip.Addr]struct{})
		}
		f.seen[s.host] = struct{}{}
		f.Hosts = len(f.seen)
	}
}

// newest is when an anomaly was seen last.
func newest(a *anomaly.Anomaly) tcp.Time { return max(a.Time, a.Until) }

// Newest is when it was seen last.
func (f *Finding) Newest() tcp.Time { return newest(&f.Last) }

// Conns are the first connections.
func (f *Finding) Conns() (list []int) {
	for _, s := range f.conns {
		list = append(list, s.conn)
	}
	return list
}

// FirstHosts are the first client hosts.
func (f *Finding) FirstHosts() (list []netip.Addr) {
	for _, s := range f.hosts {
		list = append(list, s.host)
	}
	return list
}

// finding returns the Finding to count in.
func (c *Counts) finding(id Identity) *Finding {
	if c.found == nil {
		c.found = make(map[Identity]*Finding)
	}
	f := c.found[id]
	if f == nil && len(c.found) >= MostFindings && !c.All {
		id.At, id.Elsewhere, id.alone = netip.AddrPort{}, true, 0
		f = c.found[id]
	}
	if f == nil {
		f = &Finding{Identity: id}
		c.found[id] = f
		c.octets += findingMemory
	}
	return f
}

// Clone returns a copy to count on in; a nil Counts gives one that has counted none.
func (c *Counts) Clone() *Counts {
	if c == nil {
		return new(Counts)
	}
	d := *c
	d.found = make(map[Identity]*Finding, len(c.found))
	for id, f := range c.found {
		copied := *f
		copied.conns, copied.hosts, copied.seen = slices.Clone(f.conns), slices.Clone(f.hosts), maps.Clone(f.seen)
		d.found[id] = &copied
	}
	return &d
}

// Of is how many anomalies there are of a severity.
func (c *Counts) Of(s anomaly.Severity) int {
	if c == nil {
		return 0
	}
	return c.severities[s]
}

// List returns the Findings, which are those of c: the gravest first, of these what is over many
// connections, which may explain the others, then what is most frequent.
func (c *Counts) List() []*Finding {
	if c == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(c.found), func(a, b *Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity), number(b.Many)-number(a.Many), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.First.Time, b.First.Time), cmp.Compare(a.First.Conn, b.First.Conn),
			cmp.Compare(a.alone, b.alone), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Confidence, b.Confidence),
			cmp.Compare(a.End, b.End), number(a.Elsewhere)-number(b.Elsewhere), a.At.Compare(b.At))
	})
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A Group is the Findings of one kind, in their order.
type Group struct {
	Severity anomaly.Severity
	Kind     string
	RFC      string
	List     []*Finding
	More     []*Finding // that are too many to be shown
	Count    int        // of anomalies
	weight   int        // of anomalies; with Many of connections
}

// Groups returns the Findings by kind, of each as many as are to be shown; 0: all. The
// gravest kinds come first, of these what is over many connections, then what is most
// frequent.
func (c *Counts) Groups(shown int) []*Group {
	type identity struct {
		severity anomaly.Severity
		kind     string
	}
	groups := make(map[identity]*Group)
	for _, f := range c.List() {
		id := identity{f.Severity, f.Kind}
		g := groups[id]
		if g == nil {
			g = &Group{Severity: f.Severity, Kind: f.Kind, RFC: f.First.RFC}
			groups[id] = g
		}
		g.Count += f.Count
		if f.Many {
			g.weight += f.Times
		} else {
			g.weight += f.Count
		}
		if shown > 0 && len(g.List) == shown {
			g.More = append(g.More, f)
		} else {
			g.List = append(g.List, f)
		}
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), number(b.List[0].Many)-number(a.List[0].Many), cmp.Compare(b.weight, a.weight), cmp.Compare(a.Kind, b.Kind))
	})
}

// Place names where it was found.
func (f *Finding) Place() string {
	switch {
	case f.Elsewhere:
		return "other services"
	case !f.At.IsValid():
		return "whole capture"
	case f.Many && f.At.Port() == 0:
		return f.At.Addr().String()
	}
	return f.At.String()
}
