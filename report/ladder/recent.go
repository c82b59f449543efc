package ladder

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	RecentRungs = 8      // that are kept of a connection
	RecentConns = 10_000 // of which any are kept
	RecentShare = 2      // which part of the memory of a report they may take

	recentMemory = RecentRungs * 450 // octets that a connection takes
)

// A Recent keeps the newest segments of connections, for a Live to begin with: who
// opens the ladder of an idle connection wants to see what was last. It is given
// what a Printer is given, and is not safe for concurrent use.
type Recent struct {
	most    int
	conns   map[int]*recentConn
	segment *tcp.Segment    // the one being observed; nil: none
	pending []tracker.Event // that no EventSegment followed yet
}

// A recentConn is the newest of one connection, the oldest of it at next.
type recentConn struct {
	rungs []recentRung
	next  int
	seen  int // segments, kept or not
}

// A recentRung is a segment, or a timer, with what came of it.
type recentRung struct {
	segment tcp.Segment
	events  []tracker.Event // its EventSegment is the last
}

// NewRecent returns a Recent that keeps nothing yet, and never more than about so many
// octets; 0: what it usually does.
func NewRecent(octets int64) *Recent {
	r := &Recent{most: RecentConns, conns: make(map[int]*recentConn)}
	if octets > 0 {
		r.most = int(min(octets/recentMemory, RecentConns))
	}
	return r
}

// Take takes the segment that the tracker will observe next. It is read until the
// next call.
func (r *Recent) Take(s *tcp.Segment) { r.segment = s }

// Event takes the tracker's next event, among them EventSegments.
func (r *Recent) Event(e *tracker.Event) {
	switch e.Kind {
	case tracker.EventConnection:
		delete(r.conns, e.Conn)
	case tracker.EventTransition, tracker.EventAnomaly:
		if e.Conn != 0 {
			r.pending = append(r.pending, *e)
			if e.Anomaly != nil {
				a := *e.Anomaly
				r.pending[len(r.pending)-1].Anomaly = &a
			}
		}
	case tracker.EventSegment:
		r.keep(e)
		if e.Packet != 0 {
			r.segment = nil
		}
	}
}

// keep keeps a segment or a timer, and what came of it.
func (r *Recent) keep(e *tracker.Event) {
	c := r.conns[e.Conn]
	if c == nil && e.Conn != 0 && len(r.conns) < r.most {
		c = new(recentConn)
		r.conns[e.Conn] = c
	}
	var rung *recentRung
	if c != nil {
		rung = c.add()
		if e.Packet != 0 && r.segment != nil {
			rung.segment = *r.segment
			c.seen++
		}
	}
	r.pending = slices.DeleteFunc(r.pending, func(p tracker.Event) bool {
		mine := e.Packet != 0 && p.Packet != 0 || e.Packet == 0 && p.Packet == 0 && p.Conn == e.Conn
		if mine && rung != nil {
			rung.events = append(rung.events, p)
		}
		return mine
	})
	if rung != nil {
		rung.events = append(rung.events, *e)
	}
}

// add returns the rung to write into.
func (c *recentConn) add() *recentRung {
	if len(c.rungs) < RecentRungs {
		c.rungs = append(c.rungs, recentRung{})
		return &c.rungs[len(c.rungs)-1]
	}
	rung := &c.rungs[c.next]
	rung.events = rung.events[:0]
	c.next = (c.next + 1) % RecentRungs
	return rung
}

// Open returns a Live of the connection that begins with what is kept of it. It
// keeps the Record and changes nothing in it.
func (r *Recent) Open(of *tracker.Record) *Live {
	l := NewLive(of)
	c := r.conns[of.Conn]
	if c == nil {
		l.before = int(of.Ends[tcp.Client].Packets + of.Ends[tcp.Server].Packets)
	} else {
		for i := range c.rungs {
			rung := &c.rungs[(c.next+i)%len(c.rungs)]
			l.Take(&rung.segment)
			for k := range rung.events {
				l.Event(&rung.events[k])
			}
			if rung.events[len(rung.events)-1].Packet != 0 {
				l.before--
			}
		}
		l.before += c.seen
	}
	if r.segment != nil { // the tracker is looking at it
		l.Take(r.segment)
		for k := range r.pending {
			l.Event(&r.pending[k])
		}
	}
	return l
}
