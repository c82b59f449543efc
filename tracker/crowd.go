package tracker

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Some anomalies are in no connection but in many: a scan, a flood, ports that
// run out. The Crowd stands behind the Tracker, watches its Events go by, and
// adds what it finds. It keeps nothing of single connections but what their
// events carry, and counts by host.
//
// What is counted is judged a little after the count has reached its
// threshold, when the connections had the time to show what they are; so one
// finding tells the size of the whole.

// A Crowd finds the anomalies over many connections. It is not safe for
// concurrent use.
type Crowd struct {
	emit func(*Event)
	now  Time

	scans    table[hostKey, sweep] // by who connects
	echoes   table[hostKey, sweep] // by who answers what was not asked
	floods   table[portKey, flood] // by listener
	waits    table[portKey, waits] // by listener
	ports    table[route, portUse] // by client and listener
	targets  int                   // in all sweeps together
	verdicts []verdict             // to be given
	next     Time                  // the earliest of them; 0: none
}

// A hostKey is an address, and a portKey one with a port, as flowKey has them:
// maps hash and compare them as plain memory, in half the time that those of
// netip take.
type hostKey struct{ a, b uint64 }

type portKey struct {
	host hostKey
	port uint64
}

func hostOf(a netip.Addr) (k hostKey) {
	k.a, k.b = words(a)
	return k
}

func portOf(a netip.AddrPort) portKey { return portKey{hostOf(a.Addr()), uint64(a.Port())} }

// A verdict is given when its time has come.
type verdict struct {
	at   Time
	give func()
}

// Bounds of what a Crowd keeps. Beyond them the keys not used for the longest
// time are forgotten.
const (
	maxHosts   = 1 << 14 // that are watched for scans, echoes and floods, each
	maxRoutes  = 1 << 16 // that are watched for ports in use and TIME-WAIT, each
	maxTargets = 1 << 18 // of all scans and echoes together
	maxSamples = 5       // connections that are named in a finding
)

// NewCrowd returns a Crowd that passes every Event on to emit, and its own
// findings among them.
func NewCrowd(emit func(*Event)) *Crowd {
	c := &Crowd{emit: emit}
	forget := func(s *sweep) (free bool) {
		c.targets -= len(s.tries)
		return !s.awaited
	}
	c.scans = newTable[hostKey](maxHosts, forget)
	c.echoes = newTable[hostKey](maxHosts, forget)
	c.floods = newTable[portKey](maxHosts, func(f *flood) bool { return !f.awaited })
	c.waits = newTable[portKey](maxRoutes, func(w *waits) bool { return !w.awaited })
	c.ports = newTable[route](maxRoutes, func(p *portUse) bool { return !p.awaited })
	return c
}

// Event takes the next of the Tracker's Events.
func (c *Crowd) Event(e *Event) {
	c.emit(e)
	c.now = max(c.now, e.Time)
	if c.next != 0 && c.next <= c.now {
		c.decide(c.now)
	}
	switch e.Kind {
	case Begun:
		c.begun(e)
	case Moved:
		c.sweptTo(e)
		c.floodedTo(e)
		c.waiting(e)
		c.using(e.Client, e.Server, e)
	case Over:
		c.over(e.Over)
	}
}

// Close gives all verdicts that are still to be given. It is called after the
// Tracker's Close.
func (c *Crowd) Close() {
	for len(c.verdicts) > 0 {
		c.decide(c.verdicts[0].at)
	}
}

// begun takes note of a connection that came into sight.
func (c *Crowd) begun(e *Event) {
	c.swept(e)
	if e.Flags&(SYN|ACK|RST) == SYN && e.Origin == FromSYN {
		c.flooded(e)
	}
}

// over takes a connection off what is counted.
func (c *Crowd) over(r *Record) {
	client, server := &r.Ends[Client], &r.Ends[Server]
	for e := range End(2) {
		if r.Ends[e].State == TimeWait {
			c.waited(server.Addr, e)
		}
	}
	if !holdsNoPort(client.State) {
		c.unused(route{hostOf(client.Addr.Addr()), portOf(server.Addr)})
	}
}

// later has a verdict given after d.
func (c *Crowd) later(d time.Duration, give func()) {
	v := verdict{c.now.Add(d), give}
	at, _ := slices.BinarySearchFunc(c.verdicts, v.at+1, func(v verdict, at Time) int { return cmp.Compare(v.at, at) })
	c.verdicts = slices.Insert(c.verdicts, at, v)
	c.next = c.verdicts[0].at
}

// decide gives the verdicts that are due.
func (c *Crowd) decide(now Time) {
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
	at     Time
	conn   int
	packet int
}

// report tells of a finding.
func (c *Crowd) report(k *Kind, f finding, addr netip.Addr, port uint16, count int, until Time, samples []sighting) {
	for _, s := range samples {
		f.evidence = append(f.evidence, s.packet)
	}
	a := k.found(f)
	a.Addr, a.Port, a.Count = addr, port, count
	a.Time, a.Until = c.now, until
	for i, s := range samples {
		a.Samples = append(a.Samples, s.conn)
		if i == 0 || s.at < a.Time {
			a.Time, a.Packet = s.at, s.packet
		}
	}
	c.emit(&Event{Kind: Odd, Time: c.now, Packet: a.Packet, Anomaly: &a})
}

// sample keeps the first few of what it is given.
func sample(list []sighting, e *Event) []sighting {
	if len(list) < maxSamples {
		list = append(list, sighting{e.Time, e.Conn, e.Packet})
	}
	return list
}

// hasNoConnection reports whether a Moved event is that of an end that answers
// with RST because it has no connection.
func (e *Event) hasNoConnection() bool { return strings.Contains(e.On, NoTCB.String()) }

// addr returns the address and port of an end.
func (e *Event) addr(end End) netip.AddrPort {
	if end == Client {
		return e.Client
	}
	return e.Server
}

// A table is a map of bounded size that forgets what was not used for the
// longest time.
type table[K comparable, V any] struct {
	rows   map[K]*row[K, V]
	ends   *row[K, V] // its next is the newest row, its prev the oldest
	most   int
	forget func(*V) (free bool) // called before a row is forgotten; free: nobody else holds its value
	spare  *row[K, V]           // one to be used again, or nil: a flood would have a new one made for every SYN
}

type row[K comparable, V any] struct {
	key        K
	value      V
	prev, next *row[K, V]
}

func newTable[K comparable, V any](most int, forget func(*V) bool) table[K, V] {
	ends := new(row[K, V])
	ends.prev, ends.next = ends, ends
	return table[K, V]{rows: make(map[K]*row[K, V]), ends: ends, most: most, forget: forget}
}

// at returns the value of the key, which becomes the newest, and makes one if
// there is none.
func (t *table[K, V]) at(key K) *V {
	r := t.rows[key]
	if r == nil {
		if len(t.rows) >= t.most {
			t.dropOldest()
		}
		if r, t.spare = t.spare, nil; r == nil {
			r = new(row[K, V])
		}
		r.key = key
		t.rows[key] = r
	} else {
		r.prev.next, r.next.prev = r.next, r.prev
	}
	r.prev, r.next = t.ends, t.ends.next
	r.prev.next, r.next.prev = r, r
	return &r.value
}

// find returns the row of the key, or nil.
func (t *table[K, V]) find(key K) *row[K, V] {
	if len(t.rows) == 0 {
		return nil // as nearly always of echoes
	}
	return t.rows[key]
}

func (t *table[K, V]) drop(r *row[K, V]) {
	r.prev.next, r.next.prev = r.next, r.prev
	delete(t.rows, r.key)
	if t.forget(&r.value) {
		*r = row[K, V]{}
		t.spare = r
	}
}

func (t *table[K, V]) dropOldest() {
	if t.ends.prev != t.ends {
		t.drop(t.ends.prev)
	}
}
