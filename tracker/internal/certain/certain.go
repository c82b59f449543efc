// Package certain says how sure the assumed state of an end is, in which others it may
// be, and why each of its steps was taken. It is asked where connections are printed, and
// moves nothing.
package certain

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Of tells how sure the assumed state of an end is at the present time.
func Of(m *conn.Machine, c *conn.Conn, e tcp.Endpoint) tcp.Certainty {
	subject, now := &c.Ends[e], m.Now
	switch {
	case ignoredSYN(m, c, e):
		return tcp.Observed
	case subject.Assumed.Len() > 1, c.Otherwise(e) != 0, c.SpokenFor(e), c.HidesFIN(now), c.DoubtsFIN(e):
	case subject.Assumed == subject.Proved:
		if !c.Overdue(e, now) && !c.Unreached(e) {
			return tcp.Proved
		}
	case observed(m, c, e):
		return tcp.Observed
	case settled(c, e, now):
		return tcp.Settled
	}
	return tcp.Assumed
}

// settled reports whether a timer, or that nothing contradicts it, tells that the
// end is in the state that is assumed.
func settled(c *conn.Conn, e tcp.Endpoint, now tcp.Time) bool {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	var newest, before history.Step
	for _, st := range c.Steps() {
		if st.End() == e {
			before, newest = newest, st
		}
	}
	ins, rested := newest.Inputs(), now.Sub(newest.At) >= quiet(c)
	switch {
	case newest == history.Step{}:
		return subject.Assumed.Only() == tcp.Closed // erased: it answered with RST from the first
	case newest.Basis() == tcp.ByTimer:
		return settledByTimer(newest, before, subject)
	case unordered(newest, subject):
		return false
	case ins&(tcp.NoTCB.Set()|tcp.Reopened.Set()) != 0 && newest.Basis() != tcp.ByAssumption:
		return true
	case ins.Has(tcp.RcvAckOfSYN) && !subject.Has(endpoint.SentSYN):
		return false // it may have been dropped, and a deferred accept repeats no SYN,ACK for a minute
	case ins.Has(tcp.RcvAckOfSYN) && int32(peer.Clock-endpoint.TickOf(newest.At)) > 0:
		return false // the peer sent its SYN again: it got no answer
	case ins&(tcp.RcvAckOfSYN.Set()|tcp.RcvAckOfFIN.Set()|tcp.Unreachable.Set()|tcp.SndRST.Set()) != 0 && rested && !peer.Has(endpoint.Lossy):
		return true // it would have repeated its SYN or FIN by now, or gone on
	case ins&(tcp.RcvRST.Set()|tcp.RcvRSTPassive.Set()) != 0 && rested && subject.Una(peer).Before(subject.Nxt):
		return true // it would have repeated what was outstanding
	}
	return false
}

// settledByTimer is settled for an end whose newest step is by a timer. That of
// FIN-WAIT-2 is of orphans, and no packet tells whether this is one; how long an
// open connection is tried is up to the application.
func settledByTimer(newest, before history.Step, x *endpoint.End) bool {
	const undecided = tcp.StateSet(1<<tcp.FinWait2 | 1<<tcp.Established | 1<<tcp.CloseWait)
	return newest.Sure() && !before.State().Set().Within(undecided) && !unordered(before, x)
}

// unordered reports whether the step is by an ACK of the end's FIN that does not
// count if it came before its turn. The end would not tell, nor repeat its FIN.
func unordered(st history.Step, x *endpoint.End) bool {
	return st.Inputs().Has(tcp.RcvAckOfFIN) && st.Basis() == tcp.ByAssumption && !st.Sure() && x.Stack().AckInOrder
}

// Possible returns all states that the end may be in, where there are more
// than one: those of the assumed set, or else every state from the last that
// its own segments show up to the assumed one, with what its silence leaves open.
func Possible(c *conn.Conn, e tcp.Endpoint, certainty tcp.Certainty, now tcp.Time) tcp.StateSet {
	subject := &c.Ends[e]
	if subject.Assumed.Len() > 1 {
		return subject.Assumed
	}
	if certainty != tcp.Assumed {
		return 0
	}
	var set, newest tcp.StateSet
	ordered := true
	for _, st := range c.Steps() {
		if st.End() != e {
			continue
		}
		switch {
		case st.Basis() == tcp.BySending, st.Basis() == tcp.ByProof, st.Inputs() == 0:
			set = 0
		case st.Basis() == tcp.ByTimer && ordered:
			set = newest // it had settled there
		}
		newest, ordered = st.State().Set(), !unordered(st, subject)
		set |= newest
	}
	if set.Len() < 2 {
		set |= subject.Proved
	}
	if other := c.Otherwise(e); other != 0 {
		set |= subject.Assumed | other
	}
	if c.Overdue(e, now) {
		set |= subject.Assumed | c.UnlessAlive(e)
	}
	if c.SpokenFor(e) {
		set |= subject.Assumed | tcp.Closed.Set()
	}
	if set.Len() < 2 || set.Has(tcp.Unknown) {
		return 0
	}
	return set
}

// quiet is how long nothing must contradict an assumed arrival before it
// counts as settled: longer than either end would have waited to repeat
// something.
func quiet(c *conn.Conn) time.Duration {
	rto := 2*c.Ends[tcp.Client].Response() + 2*c.Ends[tcp.Server].Response() + 200*time.Millisecond
	if c.Rare != nil && c.Rare.RepeatedSYN {
		rto = max(rto, rtoAfterSYN)
	}
	return max(3*time.Second, 4*rto, c.Ends[tcp.Client].NextCopy(), c.Ends[tcp.Server].NextCopy())
}

// rtoAfterSYN is how long an end waits at first that had to repeat its SYN (RFC 6298
// §5.7).
const rtoAfterSYN = 3 * time.Second

// observed reports whether all that happened to the end since its own segments last
// showed its one state came of what was seen to come in on its host, and had to be taken
// there. A RST that answers in its name may be of a firewall of that host; where one was,
// that may drop what comes in, too.
func observed(m *conn.Machine, c *conn.Conn, e tcp.Endpoint) bool {
	if !m.OnHost(c, e) || c.RefutedBefore(e, tcp.SndRST) || c.RefutedBefore(e, tcp.NoTCB) {
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
			is = is && taken(m, c, e, st.Inputs(), st.At, st.Sure())
		}
	}
	return is && c.Ends[e].Proved.Len() == 1 && !c.Overdue(e, m.Now)
}

// ignoredSYN reports whether a SYN came in on the host of the end, and no SYN+ACK left: it
// listens still.
func ignoredSYN(m *conn.Machine, c *conn.Conn, e tcp.Endpoint) bool {
	return c.Ends[e].Assumed == tcp.Listen.Set() && c.Ends[e].Has(endpoint.IgnoresSYN) && m.OnHost(c, e)
}

// BasisOf returns why a step was taken.
func BasisOf(m *conn.Machine, c *conn.Conn, st history.Step) tcp.Basis {
	if b := st.Basis(); b != tcp.ByAssumption {
		return b
	}
	return basisOf(m, c, st.End(), st.Inputs(), st.At, st.Sure())
}

// BasisOfMove is BasisOf for a move, as it is made.
func BasisOfMove(m *conn.Machine, c *conn.Conn, mv *conn.Move) tcp.Basis {
	if mv.Basis != tcp.ByAssumption {
		return mv.Basis
	}
	return basisOf(m, c, mv.End, mv.Inputs, mv.At, mv.Sure)
}

// basisOf is BasisOf for what is assumed to have arrived.
func basisOf(m *conn.Machine, c *conn.Conn, e tcp.Endpoint, ins tcp.InputSet, at tcp.Time, sure bool) tcp.Basis {
	if taken(m, c, e, ins, at, sure) && m.OnHost(c, e) {
		return tcp.ByArrival
	}
	return tcp.ByAssumption
}

// taken reports whether the end had to take the inputs, if what had them came in on its
// host. A SYN and a FIN it answers at once: that shows whether it has. A listener may drop
// the ACK of its SYN+ACK, if its queue is full, or it defers accepting.
func taken(m *conn.Machine, c *conn.Conn, e tcp.Endpoint, ins tcp.InputSet, at tcp.Time, sure bool) bool {
	unsure := tcp.RcvSYN.Set() | tcp.RcvFIN.Set()
	if !c.Ends[e].Has(endpoint.SentSYN) {
		unsure |= tcp.RcvAckOfSYN.Set()
	}
	return sure && m.Lost < at && ins&unsure == 0
}
