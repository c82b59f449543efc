package anomaly

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Book holds what was found so far, by connection.
type Book struct {
	// Thorough asks every check, whatever the guards are; for tests.
	Thorough bool

	tell    func(c *conn.Conn, a *Anomaly) // c is nil where it was told of before, or is of no one connection
	found   map[uint32][]Anomaly           // by the connection's number
	tallies map[tallyKey]int               // how many connections some rare kinds were found in
	scene   checkInput                     // lent to the checks
}

// NewBook returns an empty Book, which tells what it finds. The connection is
// nil where the anomaly is of no one connection, or was told of before and is
// graver now.
func NewBook(tell func(c *conn.Conn, a *Anomaly)) *Book {
	b := &Book{tell: tell, found: make(map[uint32][]Anomaly), tallies: make(map[tallyKey]int)}
	b.scene.book = b
	return b
}

// Examine asks the checks about what happened.
func (b *Book) Examine(s *conn.Scene) {
	b.scene.Scene = s
	b.ask(&b.scene)
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
		k, err := ParseKind(a.Kind)
		if err != nil || !denied(k, &a) {
			return false
		}
		gone = append(gone, a)
		return true
	})
	for _, a := range gone {
		a.Withdrawn, a.Until = true, now
		b.tell(c, &a)
	}
}

// Forget drops what was found in a connection that is over.
func (b *Book) Forget(c *conn.Conn) { delete(b.found, c.ID) }

// flagged returns the anomaly of the kind that was found at the end before, or
// nil.
func (h *checkInput) flagged(kind string, e tcp.Endpoint) *Anomaly {
	list := h.book.found[h.ID]
	for i := range list {
		if a := &list[i]; a.Kind == kind && a.End == e {
			return a
		}
	}
	return nil
}

// reported tells whether an anomaly of the kind was found in the connection, at
// either end.
func (h *checkInput) reported(c *conn.Conn, kind string) bool {
	return slices.ContainsFunc(h.book.found[c.ID], func(a Anomaly) bool { return a.Kind == kind })
}
