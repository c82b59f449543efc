package table

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Equal anomalies are one finding: 2,000 connections that a server leaves in
// CLOSE_WAIT are one fault of one service.

// shownOfKind is how many findings of one kind a table shows before it only
// counts them; wide, and a Selection of kinds, show all.
const shownOfKind = 5

// How many connections and hosts of a finding are named.
const (
	shownConns = 4
	shownHosts = 3
)

// A Finding is anomalies that are equal: the same of the same service, at the same
// end, equally sure. Its Anomaly is the first of them.
type Finding struct {
	*anomaly.Anomaly
	N       int            // how many
	Service netip.AddrPort // of the server; not valid: over many connections, or no record of its connection is left
	Conns   []int          // the first connections
	Hosts   []netip.Addr   // the first client hosts

	hosts int  // all client hosts
	times int  // how often it happened in all of them
	same  bool // all have the same sentence
}

// A findingKey is what anomalies of one finding have in common.
type findingKey struct {
	kind, cause string
	severity    anomaly.Severity
	confidence  anomaly.Confidence
	end         tcp.Endpoint
	service     netip.AddrPort
	alone       int // where each anomaly is a finding, its number; else 0
}

// A Group is the findings of one kind, the most frequent first.
type Group struct {
	Kind     string
	Severity anomaly.Severity
	RFC      string
	List     []*Finding
	Hidden   int // how many more anomalies there are

	order int // 0: over many connections; 1: of connections
	n     int // how many anomalies; connections where they are over many
}

// Groups returns the anomalies that were kept: of each kind the most frequent
// findings, as many as shown says; 0: all. With each, every anomaly is a finding
// of its own. The worst kinds come first, of those the ones over many connections,
// as a port scan explains what follows, and then the most frequent.
func (c *Connections) Groups(o *record.Options, each bool, shown int) []*Group {
	type groupKey struct {
		kind, rfc string
		severity  anomaly.Severity
		order     int
	}
	groups := make(map[groupKey]*Group)
	var list []*Group
	for _, f := range c.findings(o, each) {
		k := groupKey{f.Kind, f.RFC, f.Severity, min(f.Conn, 1)}
		g := groups[k]
		if g == nil {
			g = &Group{Kind: f.Kind, Severity: f.Severity, RFC: f.RFC, order: k.order}
			groups[k] = g
			list = append(list, g)
		}
		g.List = append(g.List, f)
		if g.n += f.N; g.order == 0 {
			g.n += f.Count - f.N
		}
	}
	slices.SortFunc(list, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.order, b.order), cmp.Compare(b.n, a.n), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.RFC, b.RFC))
	})
	for _, g := range list {
		slices.SortStableFunc(g.List, func(a, b *Finding) int {
			return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Conn, b.Conn))
		})
		if shown > 0 && len(g.List) > shown {
			for _, f := range g.List[shown:] {
				g.Hidden += f.N
			}
			g.List = g.List[:shown]
		}
	}
	return list
}

// findings returns the anomalies that were kept, equal ones as one unless each is
// to be one.
func (c *Connections) findings(o *record.Options, each bool) []*Finding {
	var list []*Finding
	found := make(map[findingKey]*Finding)
	hosts := make(map[*Finding]map[netip.Addr]bool)
	take := func(a *anomaly.Anomaly, r *tracker.Record) {
		k := findingKey{kind: a.Kind, cause: a.Cause, severity: a.Severity, confidence: a.Confidence, end: a.End}
		if each || r == nil {
			k.alone = len(list) + 1
		} else {
			k.service = r.Ends[tcp.Server].Addr
		}
		f := found[k]
		if f == nil {
			f = &Finding{Anomaly: a, Service: k.service, same: true}
			found[k] = f
			list = append(list, f)
			hosts[f] = make(map[netip.Addr]bool)
		}
		f.N++
		f.times += a.Count
		f.same = f.same && a.Text == f.Text
		if r == nil {
			return
		}
		if len(f.Conns) < shownConns {
			f.Conns = append(f.Conns, a.Conn)
		}
		if host := r.Ends[tcp.Client].Addr.Addr(); !hosts[f][host] {
			hosts[f][host] = true
			if f.hosts++; len(f.Hosts) < shownHosts {
				f.Hosts = append(f.Hosts, host)
			}
		}
	}
	for i := range c.over {
		take(&c.over[i], nil)
	}
	for _, of := range c.inOrder(o) {
		take(of.anomaly, of.record)
	}
	return list
}

// An anomalyOf is an anomaly of a connection.
type anomalyOf struct {
	anomaly *anomaly.Anomaly
	record  *tracker.Record
}

// inOrder returns the anomalies of the connections by their times.
func (c *Connections) inOrder(o *record.Options) []anomalyOf {
	var list []anomalyOf
	take := func(r *tracker.Record) {
		for a := range o.Anomalies(r) {
			list = append(list, anomalyOf{a, r})
		}
	}
	for _, row := range c.Rows {
		take(row.Record)
	}
	for _, r := range c.gone {
		take(r)
	}
	slices.SortStableFunc(list, func(a, b anomalyOf) int {
		return cmp.Or(cmp.Compare(a.anomaly.Time, b.anomaly.Time), cmp.Compare(a.anomaly.Conn, b.anomaly.Conn))
	})
	return list
}

// Sentence is what a finding says. What it says with the values of one connection
// is an example for the others.
func (f *Finding) Sentence(style text.TimeStyle, first tcp.Time) string {
	if f.same {
		return text.Escape(f.Text)
	}
	from := append([]string{"conn " + text.Thousands(uint64(f.Conn))}, frames(f.Anomaly)...)
	return "For example, " + strings.Join(append(from, style.Format(f.Time, first)), ", ") + ": " + text.Escape(f.Text)
}
