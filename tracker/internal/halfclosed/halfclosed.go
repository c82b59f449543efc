// Package halfclosed counts, by service, the connections that the peer has closed:
// those that were closed in turn, and those that still wait for that.
package halfclosed

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// maxServices is how many services are remembered in which no end waits.
const maxServices = 1 << 14

// An ID names an end of a connection.
type ID uint64

// IDOf names the end of the connection of that number.
func IDOf(conn uint32, e tcp.Endpoint) ID { return ID(conn)<<1 | ID(e) }

// A Count is what is known of a service: of the connections that the peer closed,
// and of which it is known whether they were closed in turn.
type Count struct {
	PeerClosed int           // all of them
	Waiting    int           // of these, those in CLOSE-WAIT
	Stuck      int           // of these, those that were found to leak
	Oldest     time.Duration // how long the oldest of those in CLOSE-WAIT has been there
}

// A service is what is counted by. What waits in it is a list, the oldest first.
type service struct {
	at         netip.AddrPort
	peerClosed int
	waiting    int
	stuck      int
	goneFor    time.Duration // how long the oldest of those had waited whose connections are not kept any more
	first      *end
	last       *end
}

// An end is one in CLOSE-WAIT.
type end struct {
	of          *service
	since       tcp.Time
	stuck       bool
	older, next *end
}

// A Table counts. Its memory is bounded by the connections that are kept, and by
// maxServices.
type Table struct {
	services map[netip.AddrPort]*service
	ends     map[ID]*end
	newest   *service // that was looked for last
	most     int      // services, before those in which no end waits are forgotten
	free     *end
}

// New returns a table that has counted nothing.
func New() Table {
	return Table{services: make(map[netip.AddrPort]*service), ends: make(map[ID]*end), most: maxServices}
}

// Change returns by how much a move of an end changes how many connections its
// peer closed. One that is over before the end closed it is none of them: nobody
// knows whether it would have.
func Change(from, to tcp.State, ins tcp.InputSet) int {
	was, is := closedByPeer(from), closedByPeer(to)
	switch {
	case !was && is:
		return 1
	case was && !is && from == tcp.CloseWait && ins&tcp.SndRST.Set() == 0:
		return -1
	}
	return 0
}

func closedByPeer(s tcp.State) bool { return s == tcp.CloseWait || s == tcp.LastAck }

// Moved takes in a move of an end. Since is when its peer closed, where that is
// known.
func (t *Table) Moved(id ID, at netip.AddrPort, from, to tcp.State, ins tcp.InputSet, refuted bool, since tcp.Time) {
	change := Change(from, to, ins)
	if refuted {
		change = -Change(to, from, ins)
	}
	if change == 0 && from != tcp.CloseWait && to != tcp.CloseWait {
		return
	}
	s := t.service(at)
	if x := t.ends[id]; x != nil {
		s = x.of
		if to != tcp.CloseWait {
			t.leave(id, x)
		}
	} else if to == tcp.CloseWait {
		t.enter(id, s, since)
	}
	s.peerClosed = max(s.peerClosed+change, s.waiting)
}

// Gone takes in that a connection is not kept any more.
func (t *Table) Gone(id ID, now tcp.Time) {
	x := t.ends[id]
	if x == nil {
		return
	}
	s := x.of
	waiting, stuck := s.waiting, s.stuck
	s.goneFor = max(s.goneFor, now.Sub(x.since))
	t.leave(id, x)
	s.waiting, s.stuck = waiting, stuck // for ever
}

// Leaks takes in that an end was found to leak.
func (t *Table) Leaks(id ID) {
	if x := t.ends[id]; x != nil && !x.stuck {
		x.stuck = true
		x.of.stuck++
	}
}

// Of returns the count of the service that an end which waits is in.
func (t *Table) Of(id ID, now tcp.Time) (c Count) {
	x := t.ends[id]
	if x == nil {
		return c
	}
	s := x.of
	return Count{PeerClosed: s.peerClosed, Waiting: s.waiting, Stuck: s.stuck, Oldest: max(s.goneFor, now.Sub(s.first.since))}
}

// service returns that of the address and port.
func (t *Table) service(at netip.AddrPort) *service {
	if t.newest != nil && t.newest.at == at {
		return t.newest
	}
	s := t.services[at]
	if s == nil {
		if len(t.services) >= t.most {
			t.forget()
		}
		s = &service{at: at}
		t.services[at] = s
	}
	t.newest = s
	return s
}

// forget drops the services in which no end waits.
func (t *Table) forget() {
	for at, s := range t.services {
		if s.first == nil {
			delete(t.services, at)
		}
	}
	t.most = max(maxServices, 2*len(t.services))
}

func (t *Table) enter(id ID, s *service, since tcp.Time) {
	x := t.free
	if x == nil {
		x = new(end)
	} else {
		t.free = x.next
	}
	*x = end{of: s, since: since, older: s.last}
	for x.older != nil && x.older.since > since { // its FIN was taken back meanwhile
		x.next, x.older = x.older, x.older.older
	}
	if x.older != nil {
		x.older.next = x
	} else {
		s.first = x
	}
	if x.next != nil {
		x.next.older = x
	} else {
		s.last = x
	}
	s.waiting++
	t.ends[id] = x
}

func (t *Table) leave(id ID, x *end) {
	s := x.of
	if x.older != nil {
		x.older.next = x.next
	} else {
		s.first = x.next
	}
	if x.next != nil {
		x.next.older = x.older
	} else {
		s.last = x.older
	}
	s.waiting--
	if x.stuck {
		s.stuck--
	}
	delete(t.ends, id)
	*x = end{next: t.free}
	t.free = x
}
