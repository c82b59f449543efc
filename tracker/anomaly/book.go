package anomaly

import (
	"math/bits"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/halfclosed"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Book holds what was found so far, by connection.
type Book struct {
	// Thorough asks every check, whatever the guards are; for tests.
	Thorough bool

	Octets int64 // what is held of connections takes, about

	tell    func(c *conn.Conn, a *Anomaly)         // c is nil where it was told of before, or is of no one connection
	kinds   []*Kind                                // what is looked for
	on      [32]triggers.Kinds                     // the kinds to be asked on each trigger; to look through the list for them cost 5 % of a short connection
	where   [triggers.NumGuards + 1]triggers.Kinds // those to be asked where a guard is true, and, last of all, those that need none
	last    [256]asked                             // as they were put together last
	found   map[uint32][]Anomaly                   // by the connection's number
	waiting halfclosed.Table                       // the ends whose peer has closed
	scene   Case                                   // lent to the checks
}

// asked are the kinds to be asked on some triggers where some guards are true.
type asked struct {
	on    triggers.Set
	is    triggers.Guards
	kinds triggers.Kinds
}

// NewBook returns an empty Book, which looks for the kinds and tells what it
// finds. The connection is nil where the anomaly is of no one connection, or was
// told of before and is graver now.
func NewBook(kinds []*Kind, tell func(c *conn.Conn, a *Anomaly)) *Book {
	b := &Book{kinds: kinds, tell: tell, found: make(map[uint32][]Anomaly), waiting: halfclosed.New()}
	b.scene.book = b
	for i, k := range kinds {
		word, bit := i/64, uint64(1)<<(i%64)
		for on := k.On; on != 0; on &= on - 1 {
			b.on[bits.TrailingZeros32(uint32(on))][word] |= bit
		}
		for only := uint32(k.Only); only != 0; only &= only - 1 {
			b.where[bits.TrailingZeros32(only)][word] |= bit
		}
		if k.Only == 0 {
			b.where[triggers.NumGuards][word] |= bit
		}
	}
	return b
}

// Examine asks the checks about what happened.
func (b *Book) Examine(s *conn.Scene) {
	b.scene.Scene = s
	b.ask(&b.scene)
}

// Report takes down a finding about the capture itself.
func (b *Book) Report(k *Kind, f Finding, packet int, now tcp.Time) {
	a := k.Found(nil, f)
	a.Time, a.Packet = now, packet
	b.tell(nil, &a)
}

// Of returns what was found in the connection. It is the Book's own.
func (b *Book) Of(c *conn.Conn) []Anomaly { return b.found[c.ID] }

// TakeBack withdraws what was found by RSTs, given by their frames, that the end
// they name turns out not to have sent, or their target not to have taken.
func (b *Book) TakeBack(c *conn.Conn, sent, taken []int, now tcp.Time) {
	b.withdraw(c, now, func(k *Kind, a *Anomaly) bool {
		return k.RestsOn == ResetSent && slices.Contains(sent, a.Packet) || k.RestsOn == ResetTaken && slices.Contains(taken, a.Packet)
	})
}

// TakeBackFIN withdraws what was found by the FIN of that frame, which the end
// that it names turns out not to have sent.
func (b *Book) TakeBackFIN(c *conn.Conn, fin int, now tcp.Time) {
	b.withdraw(c, now, func(k *Kind, a *Anomaly) bool { return k.RestsOn == FINSent && slices.Contains(a.Evidence, fin) })
}

// withdraw withdraws what was found in the connection and is denied.
func (b *Book) withdraw(c *conn.Conn, now tcp.Time, denied func(k *Kind, a *Anomaly) bool) {
	var gone []Anomaly
	b.found[c.ID] = slices.DeleteFunc(b.found[c.ID], func(a Anomaly) bool {
		i := slices.IndexFunc(b.kinds, func(k *Kind) bool { return k.Name == a.Kind })
		if i < 0 || !denied(b.kinds[i], &a) {
			return false
		}
		gone = append(gone, a)
		b.Octets -= a.memory()
		return true
	})
	for _, a := range gone {
		a.Withdrawn, a.Until = true, now
		b.tell(c, &a)
	}
}

// Heeds reports whether Moved counts such a move.
func Heeds(m *conn.Move) bool {
	const closed = 1<<tcp.CloseWait | 1<<tcp.LastAck
	return (1<<m.From|1<<m.To)&closed != 0
}

// Moved takes in that an end, which has the role, changed its state.
func (b *Book) Moved(c *conn.Conn, role tcp.Endpoint, m *conn.Move) {
	if !Heeds(m) {
		return
	}
	service, since := c.Addr(m.End), m.At
	if role == tcp.Client {
		service = netip.AddrPortFrom(service.Addr(), 0)
	}
	for _, st := range c.Steps() {
		if st.End() == m.End && st.State() == tcp.CloseWait {
			since = st.At
		}
	}
	b.waiting.Moved(halfclosed.IDOf(c.ID, m.End), service, m.From, m.To, m.Inputs, m.Refuted, since)
}

// Forget drops what was found in a connection that is over.
func (b *Book) Forget(c *conn.Conn, now tcp.Time) {
	for e := range tcp.Endpoint(2) {
		b.waiting.Gone(halfclosed.IDOf(c.ID, e), now)
	}
	for i := range b.found[c.ID] {
		b.Octets -= b.found[c.ID][i].memory()
	}
	delete(b.found, c.ID)
}

// memory returns how many octets the anomaly takes in a Book, about.
func (a *Anomaly) memory() int64 {
	const itself = 512 // with its share of the map, and the room for a second one
	return int64(itself + len(a.Text) + len(a.Next) + 8*cap(a.Evidence))
}

// PeerClosed counts, in the service that the end is of, the connections that the
// peer closed. The service is the address and port of a server, the host of a
// client. The end must be in CLOSE-WAIT.
func (h *Case) PeerClosed(e tcp.Endpoint) (service any, n halfclosed.Count) {
	service = h.Addr(e)
	if h.M.Role(h.Conn, e) == tcp.Client {
		service = h.Addr(e).Addr()
	}
	at := h.M.Heard()
	if h.unseen {
		at = h.Now
	}
	return service, h.book.waiting.Of(halfclosed.IDOf(h.ID, e), at)
}

// Flagged returns the anomaly of the kind that was found at the end before, or
// nil.
func (h *Case) Flagged(kind string, e tcp.Endpoint) *Anomaly {
	list := h.book.found[h.ID]
	for i := range list {
		if a := &list[i]; a.Kind == kind && a.End == e {
			return a
		}
	}
	return nil
}

// Reported tells whether an anomaly of the kind was found in the connection, at
// either end.
func (h *Case) Reported(c *conn.Conn, kind string) bool {
	return slices.ContainsFunc(h.book.found[c.ID], func(a Anomaly) bool { return a.Kind == kind })
}

// Explained reports whether another check has found what the RST is.
func (h *Case) Explained() bool {
	return slices.ContainsFunc(h.book.found[h.ID], func(a Anomaly) bool { return slices.Contains(a.Evidence, h.S.Packet) })
}
