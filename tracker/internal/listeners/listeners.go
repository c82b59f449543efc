package listeners

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
)

// A port listens from the first SYN that it accepts until it answers one with
// RST, whatever becomes of the connections meanwhile: so that is kept apart from
// them, for the ports that were used last.

// Max is how many ports are kept, and keptAnswers how many of the newest
// answers of each.
const (
	Max         = 1 << 14
	keptAnswers = 4
)

// A Table is the ports that listen.
type Table struct {
	places flow.Table[uint32] // of rows, by key
	seed   flow.Seed
	rows   []listener
	hand   int // where a row to be forgotten is looked for next

	Forgotten uint64 // ports, for others
}

type listener struct {
	key     flow.Key // the address and port as the lower end
	used    bool     // since the hand was last here
	answers [keptAnswers]Answer
	next    uint8 // where the next answer is put
}

// An Answer is one that a port gave to a SYN: it tells later why others get none.
type Answer struct {
	Key    flow.Key // of the connection
	Client netip.Addr
	At     int64 // in nanoseconds
	Packet int
	TSVal  uint32 // of the client; 0: none
}

func (l *listener) answered(a Answer) {
	l.answers[l.next] = a
	l.next = (l.next + 1) % keptAnswers
}

// New returns a table without ports.
func New() Table {
	return Table{places: flow.NewTable[uint32](), seed: flow.NewSeed()}
}

// place returns where the port is, or the free place where it would be, and its
// hash.
func (l *Table) place(key *flow.Key) (i, h uint32) {
	h = l.seed.Hash(key)
	i = l.places.First(h)
	for tag := l.places.Tags[i]; tag != 0 && (tag != h || !l.rows[l.places.Items[i]].key.Is(key)); tag = l.places.Tags[i] {
		i = l.places.Next(i)
	}
	return i, h
}

// portKey is the key of an address and port.
func portKey(a netip.AddrPort) (k flow.Key) {
	k.LoA, k.LoB = flow.Words(a.Addr())
	k.Ports = uint32(a.Port())
	return k
}

// Has reports whether the port listens.
func (l *Table) Has(a netip.AddrPort) bool {
	if l.places.N == 0 {
		return false
	}
	key := portKey(a)
	i, _ := l.place(&key)
	return l.places.Tags[i] != 0
}

// Answers returns the newest answers of the port, the newest first.
func (l *Table) Answers(a netip.AddrPort) (list []Answer) {
	key := portKey(a)
	i, _ := l.place(&key)
	if l.places.Tags[i] == 0 {
		return nil
	}
	r := &l.rows[l.places.Items[i]]
	for n := range uint8(keptAnswers) {
		if one := r.answers[(r.next+keptAnswers-1-n)%keptAnswers]; one.Packet != 0 {
			list = append(list, one)
		}
	}
	return list
}

// Add notes that the port listens, as its answer to a client shows.
func (l *Table) Add(a netip.AddrPort, client netip.Addr, of flow.Key, at int64, packet int, tsval uint32) {
	key, by := portKey(a), Answer{of, client, at, packet, tsval}
	i, h := l.place(&key)
	if l.places.Tags[i] != 0 {
		r := &l.rows[l.places.Items[i]]
		r.used = true
		r.answered(by)
		return
	}
	n := len(l.rows)
	if n < Max {
		l.rows = append(l.rows, listener{})
	} else {
		n = l.forget()
		l.Forgotten++
		i, h = l.place(&key) // others moved up
	}
	l.rows[n] = listener{key: key, used: true}
	l.rows[n].answered(by)
	l.places.Add(i, h, uint32(n))
}

// forget frees a row that was not used for long, as a clock's hand goes.
func (l *Table) forget() int {
	for {
		n := l.hand
		l.hand = (l.hand + 1) % len(l.rows)
		if r := &l.rows[n]; r.used {
			r.used = false
			continue
		}
		if i, _ := l.place(&l.rows[n].key); l.places.Tags[i] != 0 && l.places.Items[i] == uint32(n) {
			l.places.Remove(i)
		}
		return n
	}
}

// Remove notes that the port does not listen.
func (l *Table) Remove(a netip.AddrPort) {
	key := portKey(a)
	if i, _ := l.place(&key); l.places.Tags[i] != 0 {
		l.rows[l.places.Items[i]].used = false
		l.places.Remove(i)
	}
}
