// Package crossflow finds what is in no connection but in many: a scan, a flood,
// ports that run out. A Detector stands behind a Tracker, takes its Events,
// passes them on and adds what it finds. It keeps nothing of single connections
// but what their Events carry, and counts by host.
//
// A verdict is given a little after the count has reached its threshold, when
// the connections had the time to show what they are; so one finding tells the
// size of the whole.
//
//	crossflow.go  the Detector, its verdicts, and how it reports them
//	counting.go   how what happens comes to be counted, on another core if there is one
//	scan.go       by source: port scans and backscatter
//	listener.go   by listener: floods of SYNs, TIME-WAIT; by client: ports in use
//	nat.go        by tuples: one connection with two
//	table.go      rows by key, in bounded memory
//
// What is printed of these anomalies, and the numbers that decide, are in
// package anomaly with the others.
package crossflow

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Detector finds the anomalies over many connections. It is not safe for
// concurrent use.
type Detector struct {
	emit   func(*tracker.Event)
	queue  queue
	now    tcp.Time // of what is counted
	latest tcp.Time // of what was told

	scans       table[scan]    // by who connects
	seats       []seat         // of the newest connections, by their numbers, in scans
	backscatter table[scan]    // by who answers what was not asked
	floods      table[flood]   // by listener
	waits       table[waits]   // by listener
	ports       table[portUse] // by client and listener
	begun       memory         // whose twin behind a translation may follow
	sides       table[sides]   // by two addresses of which one is translated to the other
	legs        map[int]*leg   // by connection, of pairs that are to be judged
	seed        flow.Seed      // of their indexes
	targets     int            // in all scans together
	bounded     Bounded        // of what is not in a table
	verdicts    []verdict      // to be given
	next        tcp.Time       // the earliest of them; 0: none
}

// What is counted has a flowKey, of which a host fills one address, and a
// listener that and a port.

func hostOf(a netip.Addr) (k flow.Key) {
	k.LoA, k.LoB = flow.Words(a)
	return k
}

func portOf(a netip.AddrPort) (k flow.Key) {
	k.LoA, k.LoB = flow.Words(a.Addr())
	k.Ports = uint32(a.Port())
	return k
}

// routeOf names what a port of a client is used up for: with other hosts or
// services it can be used again.
func routeOf(client netip.Addr, server netip.AddrPort) flow.Key {
	k := portOf(server)
	k.HiA, k.HiB = flow.Words(client)
	return k
}

// A verdict is given when its time has come.
type verdict struct {
	at   tcp.Time
	give func()
}

// Bounds of what a Detector keeps, see table.
const (
	MaxHosts   = 1 << 14 // that are watched for scans, backscatter and floods, each
	MaxRoutes  = 1 << 16 // that are watched for ports in use and TIME-WAIT, each
	MaxTargets = 1 << 18 // of all scans and backscatter together
	maxSamples = 5       // connections that are named in a finding
	maxBegun   = 1 << 12 // connections whose twin behind a translation may follow, a power of two
	MaxLegs    = 1 << 15 // connections that are one of two sides, and to be judged
)

// New returns a Detector that passes every Event on to emit, and its own
// findings among them.
func New(emit func(*tracker.Event)) *Detector {
	c := &Detector{emit: emit, seed: flow.NewSeed(), begun: newMemory(), queue: newQueue()}
	forget := func(s *scan) {
		c.targets -= len(s.attempts)
		*s = scan{attempts: s.attempts[:0]}
		if cap(s.attempts) > indexed {
			s.attempts = nil
		}
	}
	awaited := func(s *scan) bool { return s.awaited }
	c.scans = newTable(MaxHosts, awaited, forget)
	c.backscatter = newTable(MaxHosts, awaited, forget)
	c.floods = newTable(MaxHosts, func(f *flood) bool { return f.awaited }, func(f *flood) { *f = flood{samples: f.samples[:0]} })
	c.waits = newTable(MaxRoutes, func(w *waits) bool { return w.awaited }, func(w *waits) { *w = waits{samples: w.samples[:0]} })
	c.ports = newTable(MaxRoutes, (*portUse).awaited, func(p *portUse) { *p = portUse{} })
	c.sides = newTable(MaxHosts, func(s *sides) bool { return s.awaited }, func(s *sides) { *s = sides{samples: s.samples[:0]} })
	c.legs = make(map[int]*leg)
	return c
}

// Counts reports whether anything is counted by a move of an end. Of other moves a
// Detector need not be told (tracker.Tracker.TellOnly).
func Counts(end tcp.Endpoint, from, to tcp.State) bool { return counted[end][from][to] != 0 }

// by are the ways in which a move is counted.
type by uint8

const (
	byScan by = 1 << iota
	byFlood
	byWait
	byPort
	byLeg
)

// counted has how each move is counted. To ask each way in turn cost twice as much.
var counted = func() (list [2][tcp.NumStates][tcp.NumStates]by) {
	for from := range tcp.NumStates {
		for to := range tcp.NumStates {
			for e := range tcp.Endpoint(2) {
				in := &list[e][from][to]
				if to == tcp.Closed || to == tcp.Established || from == tcp.Established {
					*in |= byScan
				}
				if e == tcp.Server && from == tcp.SynReceived {
					*in |= byFlood
				}
				if from == tcp.TimeWait || to == tcp.TimeWait {
					*in |= byWait
				}
				if e == tcp.Client && holdsNoPort(from) != holdsNoPort(to) {
					*in |= byPort
				}
				if to == tcp.Closed || to == tcp.Listen || to == tcp.Established || from == tcp.SynSent {
					*in |= byLeg
				}
			}
		}
	}
	return list
}()

// Event takes the next of the Tracker's Events.
func (c *Detector) Event(e *tracker.Event) {
	c.emit(e)
	c.latest = max(c.latest, e.Time)
	if c.latest >= c.queue.due {
		c.catchUp()
		c.decide(c.latest)
		c.queue.due = cmp.Or(c.next, never)
	}
	c.enqueue(e)
}

// moved counts a move.
func (c *Detector) moved(e *tracker.Event) {
	is := counted[e.End][e.From][e.To]
	if is&byScan != 0 {
		c.scanMoved(e)
	}
	if is&byFlood != 0 {
		c.floodMoved(e)
	}
	if is&byWait != 0 {
		c.waiting(e)
	}
	if is&byPort != 0 {
		c.using(e.Client, e.Server, e)
	}
	if is&byLeg != 0 && len(c.legs) > 0 {
		c.legMoved(e)
	}
}

// Close gives all verdicts that are still to be given. It is called after the
// Tracker's Close.
func (c *Detector) Close() {
	c.catchUp()
	for len(c.verdicts) > 0 {
		c.decide(c.verdicts[0].at)
	}
}

// Bounded counts what a Detector left out to stay within its bounds.
type Bounded struct {
	Hosts   uint64 // that are no longer watched for scans, backscatter and floods
	Routes  uint64 // that are no longer watched for TIME-WAIT and ports in use
	Targets uint64 // of scans and backscatter that are no longer counted
	Pairs   uint64 // of connections that may be one, and were not compared
}

// Bounded returns what was left out.
func (c *Detector) Bounded() Bounded {
	c.catchUp()
	b := c.bounded
	b.Hosts = c.scans.dropped + c.backscatter.dropped + c.floods.dropped + c.sides.dropped
	b.Routes = c.waits.dropped + c.ports.dropped
	return b
}

// Counted returns how many listeners have connections in TIME-WAIT, at either
// end, and how many pairs of a client and a listener have ports in use.
func (c *Detector) Counted() (listeners, clients int) {
	c.catchUp()
	return int(c.waits.N), int(c.ports.N)
}

// opened takes note of a connection that came into sight.
func (c *Detector) opened(e *tracker.Event) {
	c.scanned(e)
	c.translated(e)
	if e.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN && e.Origin == tcp.FromSYN {
		c.floodBegun(e)
	}
}

// over takes a connection off what is counted.
func (c *Detector) over(h *happening) {
	for e, state := range h.left {
		if state == tcp.TimeWait {
			c.waited(h.Server, tcp.Endpoint(e))
		}
	}
	if !holdsNoPort(h.left[tcp.Client]) {
		c.unused(routeOf(h.Client.Addr(), h.Server))
	}
}

// later has a verdict given after d.
func (c *Detector) later(d time.Duration, give func()) {
	v := verdict{c.now.Add(d), give}
	at, _ := slices.BinarySearchFunc(c.verdicts, v.at+1, func(v verdict, at tcp.Time) int { return cmp.Compare(v.at, at) })
	c.verdicts = slices.Insert(c.verdicts, at, v)
	c.next = c.verdicts[0].at
}

// decide gives the verdicts that are due.
func (c *Detector) decide(now tcp.Time) {
	c.now = max(c.now, c.latest)
	for len(c.verdicts) > 0 && c.verdicts[0].at <= now {
		v := c.verdicts[0]
		c.verdicts = c.verdicts[1:]
		v.give()
	}
	c.next = 0
	if len(c.verdicts) > 0 {
		c.next = c.verdicts[0].at
	}
}

// A sighting is what is kept of one connection as a sample.
type sighting struct {
	at     tcp.Time
	conn   int
	packet int
}

// report tells of a finding.
func (c *Detector) report(k *anomaly.Kind, f anomaly.Finding, addr netip.Addr, port uint16, count int, until tcp.Time, samples []sighting) {
	for _, s := range samples {
		f.Evidence = append(f.Evidence, s.packet)
	}
	a := k.Found(nil, f)
	a.Addr, a.Port, a.Count = addr, port, count
	a.Time, a.Until = c.now, until
	for i, s := range samples {
		a.Samples = append(a.Samples, s.conn)
		if i == 0 || s.at < a.Time {
			a.Time, a.Packet = s.at, s.packet
		}
	}
	c.emit(&tracker.Event{Kind: tracker.EventAnomaly, Time: c.now, Packet: a.Packet, Anomaly: &a})
}

// sample keeps the first few of what it is given.
func sample(list []sighting, e *tracker.Event) []sighting {
	if len(list) < maxSamples {
		list = append(list, sighting{e.Time, e.Conn, e.Packet})
	}
	return list
}

// hasNoConnection reports whether an EventTransition is that of an end that answers
// with RST because it has no connection.
func hasNoConnection(e *tracker.Event) bool { return e.Inputs.Has(tcp.NoTCB) }

// addrOf returns the address and port of an end.
func addrOf(e *tracker.Event, end tcp.Endpoint) netip.AddrPort {
	if end == tcp.Client {
		return e.Client
	}
	return e.Server
}
