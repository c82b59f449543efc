package tracker

import (
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// occasions is a set of reasons to ask a check.
type occasions uint32

const (
	onSYN       occasions = 1 << iota // a SYN without ACK
	onSYNACK                          // a SYN+ACK
	onFIN                             // a FIN
	onRST                             // a RST
	onICMP                            // an ICMP error about the connection
	onTimer                           // a timer of the end h.from fired, or it was to be watched; h.s is nil
	onEnd                             // the capture, or the connection, is over; asked for each end; h.s is nil
	onMove                            // an end changed its state
	onRepeat                          // octets that were sent before
	onKeepalive                       // a keepalive probe
	onStale                           // older than what its sender sent before, or a copy made by the network
	onForeign                         // numbers that fit neither window
	onWindow                          // a window of zero, one that reopens, or one that shrank
	onGap                             // an ACK of what was not captured, or numbers passed over
	onFlags                           // flags or an urgent pointer that do not fit together
	onQuality                         // cut headers, fragments, checksums, more octets than a segment has
	onUnsettled                       // any segment while an end is not in ESTABLISHED, or not proved to be
	onBelow                           // it begins below what its receiver had acknowledged
	onBeyond                          // data that begins at or behind the right edge of its receiver's window
	onWrap                            // the numbers of its sender came round to where they began
	onWatched                         // any segment while one sent before waits to be accepted or refused
	onImpostor                        // a SYN was found not to be its alleged sender's: h.impostor
	onHaunted                         // any segment of a connection among whose segments those of an older one fell, or may
	onCorrupt                         // a checksum is wrong of an end whose checksums were right; the segment is dropped
	onDoubt                           // the answer to, or what follows, a segment that its receiver has reason to doubt
)

// A sight is what the checks want to know of the connection as it stood before
// the happening.
type sight struct {
	states   [2]tcp.StateSet
	proved   [2]tcp.StateSet
	sentAt   [2]tcp.Time // the newest segment of each end; 0: none
	acked    [2]tcp.Seq
	nxt      [2]tcp.Seq
	edge     [2]tcp.Seq
	wnd      [2]uint16
	tsval    [2]uint32
	rst      resetKind // what the RST is by its numbers
	accepted bool      // its receiver acts on it
}

// A scene is one segment, one timer, or the end of a connection, as the checks
// are shown it.
type scene struct {
	*Conn // as it is after it
	reading
	m        *Machine
	s        *tcp.Segment // nil: no segment
	from     tcp.Endpoint // the end that sent it, whose timer fired, or that is asked about
	now      tcp.Time
	before   sight
	on       occasions
	impostor *Conn // with onImpostor: the connection that its SYN would have opened
}

// look takes in the connection before a happening that is to be judged. It is
// kept where judge wants it: to copy it there, freshly written, cost 3 % of a
// short connection.
func (t *Machine) look(c *Conn) *sight {
	b := &t.scene.before
	for e := range tcp.Endpoint(2) {
		x := &c.ends[e]
		b.states[e], b.proved[e], b.sentAt[e] = x.assumed, x.proved, x.sentAt
		b.acked[e], b.nxt[e], b.edge[e], b.wnd[e], b.tsval[e] = x.acked, x.nxt, x.edge, x.wnd, x.tsval
	}
	b.rst, b.accepted = 0, false
	return b
}

// judge asks the checks about what happened to the connection by the segment,
// if it is not nil, or to its end from. Before it happened there was a look at
// the connection, and at no other since.
func (t *Machine) judge(c *Conn, s *tcp.Segment, from tcp.Endpoint, r reading, on occasions) {
	if !c.provisional() {
		h := &t.scene
		h.Conn, h.s, h.from, h.on = c, s, from, on
		h.fresh, h.old, h.stale, h.keepalive, h.foreign = r.fresh, r.old, r.stale, r.keepalive, r.foreign
		h.m, h.now = t, t.now
		for e := range tcp.Endpoint(2) {
			if h.before.states[e] != c.ends[e].assumed {
				h.on |= onMove
			}
		}
		t.listener.Happened(h)
	}
}
