package conn

import (
	"iter"

	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Before is what the checks want to know of the connection as it stood before
// the scene.
type Before struct {
	States   [2]tcp.StateSet
	Proved   [2]tcp.StateSet
	SentAt   [2]tcp.Time // the newest segment of each end; 0: none
	Acked    [2]tcp.Seq
	Nxt      [2]tcp.Seq
	Edge     [2]tcp.Seq
	Wnd      [2]uint16
	TSVal    [2]uint32
	RST      rst.Kind // what the RST is by its numbers
	Accepted bool     // its receiver acts on it
	Doubted  bool     // that is not known: stacks differ, or the capture does not tell
	Device   bool     // something between the ends made it
}

// A Scene is one segment, one timer, or the end of a connection, as the checks
// are shown it.
type Scene struct {
	*Conn // as it is after it
	recent.Reading
	gate.Verdict
	M         *Machine
	S         *tcp.Segment // nil: no segment
	From      tcp.Endpoint // the end that sent it, whose timer fired, or that is asked about
	Now       tcp.Time
	Before    Before
	On        triggers.Set
	Forged    int   // frame of a RST that the segment shows not to be its sender's, though that has it in its name; 0: none
	Unlearned bool  // a check was asked that may find more another time, or found something: see edge
	Impostor  *Conn // with OnImpostor: the connection that its SYN would have opened
}

// snapshot takes down the connection before something happens to it that the
// checks are told of. It is kept where tellChecks wants it: to copy it there,
// freshly written, cost 3 % of a short connection.
func (m *Machine) snapshot(c *Conn) *Before {
	b := &m.scene.Before
	for e := range tcp.Endpoint(2) {
		subject := &c.Ends[e]
		b.States[e], b.Proved[e], b.SentAt[e] = subject.Assumed, subject.Proved, subject.SentAt
		b.Acked[e], b.Nxt[e], b.Edge[e], b.Wnd[e], b.TSVal[e] = subject.Acked, subject.Nxt, subject.Edge, subject.Wnd, subject.TSVal
	}
	b.RST, b.Accepted, b.Doubted, b.Device = 0, false, false, false
	m.scene.Forged = 0
	return b
}

// tellChecks asks the checks about what happened to the connection by the segment,
// if it is not nil, or to its end from. Before it happened, and for
// no other connection since, a snapshot was made.
func (m *Machine) tellChecks(c *Conn, s *tcp.Segment, from tcp.Endpoint, r recent.Reading, on triggers.Set) {
	if !c.Provisional() {
		h := &m.scene
		h.Conn, h.S, h.From, h.On = c, s, from, on
		h.Fresh, h.Old, h.Stale, h.Keepalive, h.Foreign = r.Fresh, r.Old, r.Stale, r.Keepalive, r.Foreign
		h.M, h.Now, h.Unlearned = m, m.Now, false
		for e := range tcp.Endpoint(2) {
			if h.Before.States[e] != c.Ends[e].Assumed {
				h.On |= triggers.OnMove
			}
		}
		m.listener.Happened(h)
	}
}

// Back yields what is remembered of the connection's segments, the newest
// first, beginning with the one at hand.
func (h *Scene) Back() iter.Seq[*recent.Segment] { return h.M.Recent.Back(h.Conn) }
