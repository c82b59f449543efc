package conn

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A port listens from the first SYN that it accepts until it answers one with
// RST, whatever becomes of the connections meanwhile: so that is kept apart from
// them, for the ports that were used last.

// maxListeners is how many ports are kept.
const maxListeners = 1 << 14

// listeners are the ports that listen.
type listeners struct {
	places flow.Table[uint32] // of rows, by key
	seed   flow.Seed
	rows   []listener
	hand   int // where a row to be forgotten is looked for next
}

type listener struct {
	key  flow.Key // the address and port as the lower end
	used bool     // since the hand was last here
}

func newListeners() listeners {
	return listeners{places: flow.NewTable[uint32](), seed: flow.NewSeed()}
}

// place returns where the port is, or the free place where it would be, and its
// hash.
func (l *listeners) place(key *flow.Key) (i, h uint32) {
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

// has reports whether the port listens.
func (l *listeners) has(a netip.AddrPort) bool {
	if l.places.N == 0 {
		return false
	}
	key := portKey(a)
	i, _ := l.place(&key)
	return l.places.Tags[i] != 0
}

// add notes that the port listens.
func (l *listeners) add(a netip.AddrPort) {
	key := portKey(a)
	i, h := l.place(&key)
	if l.places.Tags[i] != 0 {
		l.rows[l.places.Items[i]].used = true
		return
	}
	n := len(l.rows)
	if n < maxListeners {
		l.rows = append(l.rows, listener{})
	} else {
		n = l.forget()
		i, h = l.place(&key) // others moved up
	}
	l.rows[n] = listener{key: key, used: true}
	l.places.Add(i, h, uint32(n))
}

// forget frees a row that was not used for long, as a clock's hand goes.
func (l *listeners) forget() int {
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

// remove notes that the port does not listen.
func (l *listeners) remove(a netip.AddrPort) {
	key := portKey(a)
	if i, _ := l.place(&key); l.places.Tags[i] != 0 {
		l.rows[l.places.Items[i]].used = false
		l.places.Remove(i)
	}
}

// Listens reports whether the port of the end listens, as far as it is known.
func (t *Machine) Listens(c *Conn, e tcp.Endpoint) bool { return t.listeners.has(c.Addr(e)) }

// Accepted reports whether the server accepted the SYN: it answered one that was
// captured, or what it or the client sent since shows that it did. An end that
// sends a SYN of its own does not listen, and a SYN+ACK alone may answer what
// nobody sent.
func (c *Conn) Accepted() bool {
	client, server := &c.Ends[tcp.Client], &c.Ends[tcp.Server]
	switch {
	case c.Provisional(), c.Origin() == tcp.FromMidstream, server.Has(SentSYN):
		return false
	case c.Origin() == tcp.FromSYN && server.Has(SentSYNACK):
		return true
	}
	return client.Has(HasAcked) || server.Bytes > 0
}

// unknown returns the state of an end of which nothing is known but its port.
func (t *Machine) unknown(c *Conn, e tcp.Endpoint) tcp.State {
	if t.Listens(c, e) {
		return tcp.Listen
	}
	return tcp.Unknown
}
