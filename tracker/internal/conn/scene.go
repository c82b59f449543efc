package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Triggers is a set of reasons to ask a check.
type Triggers uint32

const (
	OnSYN        Triggers = 1 << iota // a SYN without ACK
	OnSYNACK                          // a SYN+ACK
	OnFIN                             // a FIN
	OnRST                             // a RST
	onICMP                            // an ICMP error about the connection
	OnTimer                           // a timer of the end Scene.From fired, or it was to be looked at; Scene.S is nil
	OnEnd                             // the capture, or the connection, is over; asked for each end; Scene.S is nil
	OnMove                            // an end changed its state
	OnRepeat                          // octets that were sent before
	OnKeepalive                       // a keepalive probe
	OnStale                           // older than what its sender sent before, or a copy made by the network
	OnForeign                         // numbers that fit neither window
	OnWindow                          // a window of zero, one that reopens, or one that shrank
	OnGap                             // an ACK of what was not captured, or numbers passed over
	OnFlags                           // flags or an urgent pointer that do not fit together
	OnQuality                         // cut headers, fragments, checksums, more octets than a segment has
	OnUnsettled                       // any segment while an end is not in ESTABLISHED, or not proved to be
	OnBelow                           // it begins below what its receiver had acknowledged
	OnBeyond                          // data that begins at or behind the right edge of its receiver's window
	OnWrap                            // the numbers of its sender came round to where they began
	OnAwaited                         // any segment while one sent before waits to be accepted or refused
	OnImpostor                        // a SYN was found not to be its alleged sender's: Scene.Impostor
	OnAmongStale                      // any segment of a connection among whose segments those of an older one fell, or may
	OnCorrupt                         // a checksum is wrong of an end whose checksums were right; the segment is dropped
	OnRefused                         // its receiver refuses the segment
	OnChallenge                       // the answer to, or what follows, a segment that its receiver has reason to doubt
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
	RST      resetKind // what the RST is by its numbers
	Accepted bool      // its receiver acts on it
	Doubted  bool      // that is not known: stacks differ, or the capture does not tell
	Device   bool      // something between the ends made it
}

// A Scene is one segment, one timer, or the end of a connection, as the checks
// are shown it.
type Scene struct {
	*Conn // as it is after it
	Reading
	Verdict
	M        *Machine
	S        *tcp.Segment // nil: no segment
	From     tcp.Endpoint // the end that sent it, whose timer fired, or that is asked about
	Now      tcp.Time
	Before   Before
	On       Triggers
	Forged   int   // frame of a RST that the segment shows not to be its sender's, though that has it in its name; 0: none
	Impostor *Conn // with OnImpostor: the connection that its SYN would have opened
}

// snapshot takes down the connection before something happens to it that the
// checks are told of. It is kept where tellChecks wants it: to copy it there,
// freshly written, cost 3 % of a short connection.
func (m *Machine) snapshot(c *Conn) *Before {
	b := &m.scene.Before
	for e := range tcp.Endpoint(2) {
		x := &c.Ends[e]
		b.States[e], b.Proved[e], b.SentAt[e] = x.Assumed, x.Proved, x.SentAt
		b.Acked[e], b.Nxt[e], b.Edge[e], b.Wnd[e], b.TSVal[e] = x.Acked, x.Nxt, x.Edge, x.Wnd, x.TSVal
	}
	b.RST, b.Accepted, b.Doubted, b.Device = 0, false, false, false
	m.scene.Forged = 0
	return b
}

// tellChecks asks the checks about what happened to the connection by the segment,
// if it is not nil, or to its end from. Before it happened, and for
// no other connection since, a snapshot was made.
func (m *Machine) tellChecks(c *Conn, s *tcp.Segment, from tcp.Endpoint, r Reading, on Triggers) {
	if !c.Provisional() {
		h := &m.scene
		h.Conn, h.S, h.From, h.On = c, s, from, on
		h.Fresh, h.Old, h.Stale, h.Keepalive, h.Foreign = r.Fresh, r.Old, r.Stale, r.Keepalive, r.Foreign
		h.M, h.Now = m, m.Now
		for e := range tcp.Endpoint(2) {
			if h.Before.States[e] != c.Ends[e].Assumed {
				h.On |= OnMove
			}
		}
		m.listener.Happened(h)
	}
}
