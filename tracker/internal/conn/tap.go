package conn

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A capture that was made on the host of an end shows what came in there, and what
// that end sent. Nothing is lost between the tap and the end: what is only assumed of
// others is observed of this one, where its stack must take what came in.

// OnHost reports whether the capture was made on the host of the end.
func (m *Machine) OnHost(c *Conn, e tcp.Endpoint) bool {
	switch on := &m.TapOn; {
	case on.Nowhere:
		return false
	case on.Ends != [2]bool{}:
		return on.Ends[m.Role(c, e)]
	}
	addr := c.Addr(e).Addr()
	return addr.IsLoopback() || slices.Contains(m.TapOn.Hosts, addr) || endpoint.RecordedAt(&c.Ends[e], &c.Ends[e.Peer()])
}

// observed reports whether all that happened to the end since its own segments last
// showed its one state came of what was seen to come in on its host, and had to be taken
// there. A RST that answers in its name may be of a firewall of that host; where one was,
// that may drop what comes in, too.
func (m *Machine) observed(c *Conn, e tcp.Endpoint) bool {
	if c.Rare != nil && c.Rare.refuted[e]&(tcp.SndRST.Set()|tcp.NoTCB.Set()) != 0 {
		return false
	}
	is := false
	for _, st := range c.Steps() {
		if st.End() != e {
			continue
		}
		switch st.Basis() {
		case tcp.BySending, tcp.ByProof:
			is = !st.Inputs().Has(tcp.NoTCB)
		case tcp.ByTimer:
			is = false
		default:
			is = is && m.taken(c, e, st.Inputs(), st.At, st.Sure())
		}
	}
	return is && c.Ends[e].Proved.Len() == 1 && m.OnHost(c, e) && !c.overdue(e, m.Now)
}

// ignoredSYN reports whether a SYN came in on the host of the end, and no SYN+ACK left: it
// listens still.
func (m *Machine) ignoredSYN(c *Conn, e tcp.Endpoint) bool {
	return c.Ends[e].Assumed == tcp.Listen.Set() && c.Ends[e].Has(endpoint.IgnoresSYN) && m.OnHost(c, e)
}

// BasisOf returns why a step was taken.
func (m *Machine) BasisOf(c *Conn, st history.Step) tcp.Basis {
	return m.basisOf(c, st.End(), st.Inputs(), st.At, st.Sure(), st.Basis())
}

// BasisOfMove is BasisOf for a move, as it is made.
func (m *Machine) BasisOfMove(c *Conn, mv *Move) tcp.Basis {
	return m.basisOf(c, mv.End, mv.Inputs, mv.At, mv.Sure, mv.Basis)
}

func (m *Machine) basisOf(c *Conn, e tcp.Endpoint, ins tcp.InputSet, at tcp.Time, sure bool, b tcp.Basis) tcp.Basis {
	if b == tcp.ByAssumption && m.taken(c, e, ins, at, sure) && m.OnHost(c, e) {
		return tcp.ByArrival
	}
	return b
}

// taken reports whether the end had to take the inputs, if what had them came in on its
// host. A SYN and a FIN it answers at once: that shows whether it has. A listener may drop
// the ACK of its SYN+ACK, if its queue is full, or it defers accepting.
func (m *Machine) taken(c *Conn, e tcp.Endpoint, ins tcp.InputSet, at tcp.Time, sure bool) bool {
	unsure := tcp.RcvSYN.Set() | tcp.RcvFIN.Set()
	if !c.Ends[e].Has(endpoint.SentSYN) {
		unsure |= tcp.RcvAckOfSYN.Set()
	}
	return sure && m.Lost < at && ins&unsure == 0
}
