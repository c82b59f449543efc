package tracker

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Book holds what was found so far, by connection.
type Book struct {
	// Thorough asks every check, whatever the facts are; for tests.
	Thorough bool

	tell    func(c *Conn, a *Anomaly) // c is nil where it was told of before, or is of no one connection
	found   map[uint32][]Anomaly      // by the connection's number
	tallies map[tallyKey]int          // how many connections some rare kinds were found in
	scene   happening                 // lent to the checks
}

// NewBook returns an empty Book, which tells what it finds. The connection is
// nil where the anomaly is of no one connection, or was told of before and is
// graver now.
func NewBook(tell func(c *Conn, a *Anomaly)) *Book {
	b := &Book{tell: tell, found: make(map[uint32][]Anomaly), tallies: make(map[tallyKey]int)}
	b.scene.book = b
	return b
}

// Examine asks the checks about what happened.
func (b *Book) Examine(s *scene) {
	b.scene.scene = s
	b.ask(&b.scene)
}

// Of returns what was found in the connection. It is the Book's own.
func (b *Book) Of(c *Conn) []Anomaly { return b.found[c.id] }

// Forget drops what was found in a connection that is over.
func (b *Book) Forget(c *Conn) { delete(b.found, c.id) }

// flagged returns the anomaly of the kind that was found at the end before, or
// nil.
func (h *happening) flagged(kind string, e tcp.Endpoint) *Anomaly {
	list := h.book.found[h.id]
	for i := range list {
		if a := &list[i]; a.Kind == kind && a.End == e {
			return a
		}
	}
	return nil
}

// reported tells whether an anomaly of the kind was found in the connection, at
// either end.
func (h *happening) reported(c *Conn, kind string) bool {
	return slices.ContainsFunc(h.book.found[c.id], func(a Anomaly) bool { return a.Kind == kind })
}
