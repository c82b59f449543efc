// Package findings groups anomalies that say the same: where 2,000 connections end
// alike, that is one Finding. It takes records one by one and keeps none: what it
// remembers is bounded by MostFindings.
package findings

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// MostFindings is how many Findings there are. What would be one more is counted with
// those of its kind, and of no one service.
const MostFindings = 1000

// mostConns is how many connections a Finding names.
const mostConns = 10

// A Finding is anomalies of one kind and cause, as grave and as certain, at one
// service.
type Finding struct {
	Severity   anomaly.Severity
	Kind       string
	Cause      string
	Confidence anomaly.Confidence
	Many       bool           // over many connections
	At         netip.AddrPort // the server; with Many the host, whose port is 0 where it is about no one port; invalid: the whole capture
	Elsewhere  bool           // of services that have no Finding of their own

	Count int             // of connections, with Many of anomalies
	Conns []int           // the first of these
	Last  anomaly.Anomaly // the newest
}

// identity is what anomalies of one Finding have in common.
type identity struct {
	severity    anomaly.Severity
	kind, cause string
	confidence  anomaly.Confidence
	many        bool
	at          netip.AddrPort
	elsewhere   bool
}

// Counts groups anomalies. The zero Counts has none, and a nil one takes none.
type Counts struct {
	found      map[identity]*Finding
	severities [anomaly.Error + 1]int
}

// Connection takes the anomalies of a connection, each once however often it
// repeated, but for what others explain. It keeps nothing of r.
func (c *Counts) Connection(r *tracker.Record) {
	for i := range r.Anomalies {
		if a := &r.Anomalies[i]; !r.Explained(a) {
			c.add(a, r.Ends[tcp.Server].Addr)
		}
	}
}

// Anomaly takes an anomaly over many connections. It keeps nothing of a.
func (c *Counts) Anomaly(a *anomaly.Anomaly) {
	c.add(a, netip.AddrPortFrom(a.Addr, a.Port))
}

func (c *Counts) add(a *anomaly.Anomaly, at netip.AddrPort) {
	if c == nil {
		return
	}
	c.severities[a.Severity]++
	f := c.finding(identity{a.Severity, a.Kind, a.Cause, a.Confidence, a.Conn == 0, at, false})
	f.Count++
	if a.Conn > 0 && len(f.Conns) < mostConns {
		f.Conns = append(f.Conns, a.Conn)
	}
	f.newer(a)
}

// newer takes the anomaly for the newest, if it is.
func (f *Finding) newer(a *anomaly.Anomaly) {
	if f.Last.Kind != "" && newest(a) < newest(&f.Last) {
		return
	}
	f.Last = *a
	f.Last.Evidence, f.Last.Samples = slices.Clone(a.Evidence), slices.Clone(a.Samples)
}

// newest is when an anomaly was seen last.
func newest(a *anomaly.Anomaly) tcp.Time { return max(a.Time, a.Until) }

// Newest is when it was seen last.
func (f *Finding) Newest() tcp.Time { return newest(&f.Last) }

// finding returns the Finding to count in.
func (c *Counts) finding(id identity) *Finding {
	if c.found == nil {
		c.found = make(map[identity]*Finding)
	}
	f := c.found[id]
	if f == nil && len(c.found) >= MostFindings {
		id.at, id.elsewhere = netip.AddrPort{}, true
		f = c.found[id]
	}
	if f == nil {
		f = &Finding{Severity: id.severity, Kind: id.kind, Cause: id.cause, Confidence: id.confidence, Many: id.many, At: id.at, Elsewhere: id.elsewhere}
		c.found[id] = f
	}
	return f
}

// Clone returns a copy to count on in; a nil Counts gives one that has counted none.
func (c *Counts) Clone() *Counts {
	if c == nil {
		return new(Counts)
	}
	d := &Counts{found: make(map[identity]*Finding, len(c.found)), severities: c.severities}
	for id, f := range c.found {
		copied := *f
		copied.Conns = slices.Clone(f.Conns)
		d.found[id] = &copied
	}
	return d
}

// Of is how many anomalies there are of a severity.
func (c *Counts) Of(s anomaly.Severity) int {
	if c == nil {
		return 0
	}
	return c.severities[s]
}

// List returns the Findings: the gravest first, of these what is over many
// connections, which may explain the others, then what is most frequent.
func (c *Counts) List() []Finding {
	if c == nil {
		return nil
	}
	var list []Finding
	for _, f := range c.found {
		copied := *f
		copied.Conns = slices.Sorted(slices.Values(f.Conns))
		list = append(list, copied)
	}
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(b.Severity, a.Severity), number(b.Many)-number(a.Many), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Confidence, b.Confidence),
			number(a.Elsewhere)-number(b.Elsewhere), a.At.Compare(b.At))
	})
	return list
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
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
