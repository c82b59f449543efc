package oracle

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A firm state is one that the tracker calls proved, or settled. The kernel
// must have come to it by then. It may have gone on since, but not to a state
// that the end's own segments, as far as they passed the tap, show.

// A claim is a firm state.
type claim struct {
	state tcp.State
	how   tcp.Certainty
	since tcp.Time // when the connection began of which it is said
	over  bool     // the tracker says that the end has closed since
	quiet bool     // it is settled since nobody contradicted it, not by a timer or by what an end sent
}

// began is when the connection may have begun at its host.
func (c claim) began() float64 {
	const onItsWay = 0.1 // seconds
	return float64(c.since)/1e9 - onItsWay
}

// claims returns what the tracker is firm about in a connection.
func claims(r *tracker.Record, addr netip.AddrPort) (list []claim) {
	e := endAt(r, addr)
	if e.Certainty != tcp.Assumed {
		list = append(list, claim{e.State, e.Certainty, r.Start, false, bySilence(e)})
	}
	if e.Proved != tcp.Unknown && (e.Certainty != tcp.Proved || e.Proved != e.State) {
		list = append(list, claim{e.Proved, tcp.Proved, r.Start, socketless(e.State.String()) == "CLOSED", false})
	}
	return list
}

// bySilence reports whether the state is settled since nobody contradicted it.
func bySilence(e *tracker.EndRecord) bool {
	if e.Certainty != tcp.Settled || len(e.History) == 0 {
		return false
	}
	newest := &e.History[len(e.History)-1]
	return newest.Basis != tcp.ByTimer && newest.Inputs&tcp.InputsOf(tcp.NoTCB, tcp.Reopened) == 0
}

// Firm finds the firm states, at all checkpoints, that the kernels had not come
// to, or had left for others that their segments show. proved is how many of
// those compared the tracker calls proved.
func (c *Case) Firm() (compared, proved int, misses []Miss) {
	c.looks(func(l look) {
		for _, claim := range claims(socket(l.records, l.addr()), l.addr()) {
			if c.forged != 0 && claim.how == tcp.Observed {
				continue // what was put into the capture later never came in there
			}
			compared++
			if claim.how == tcp.Proved {
				proved++
			}
			if want, wrong := c.contradicts(&l, claim); wrong {
				misses = append(misses, l.miss(claim.state.String()+", "+claim.how.String(), want, c.excuseOf(&l, claim)))
			}
		}
	})
	return compared, proved, misses
}

// contradicts reports whether the kernel contradicts a claim, and where it was
// instead. That there is no socket is said of one connection only: what the
// kernel had of those before it counts no more. Of a connection that is over,
// what the kernel opened after it says nothing.
func (c *Case) contradicts(l *look, claim claim) (want string, wrong bool) {
	const polled = 0.012 // seconds by which a move may be told late
	visits := visitsUntil(l.conn.Moves[l.end], l.cp, l.end)
	state, last := socketless(claim.state.String()), -1
	for i, v := range visits {
		if v.state == state {
			last = i
		}
	}
	if last < 0 {
		return l.cp.state(l.end) + ", and never that", true
	}
	for i, v := range visits[last+1:] {
		if v.state == "TIME_WAIT" && visits[last+i].state == "CLOSING" {
			continue // the ACK of its own FIN takes it there: nothing that it sends shows that
		}
		if claim.over && visits[last+i].state == "CLOSED" {
			break
		}
		if state == "CLOSED" && len(l.records) > 1 && v.at < float64(claim.since)/1e9-polled {
			continue
		}
		if s := c.shownAtTap(l, v); s != nil {
			return fmt.Sprintf("%s: its %v shows that it came to %s", l.cp.state(l.end), s, v.state), true
		}
	}
	return "", false
}

// socketless gives the two states in which a host has no socket of its own for
// a connection one name: where RFC 9293 returns to LISTEN, Linux drops the
// request, and whether a listener is up no packet tells before it answers.
func socketless(state string) string {
	if state == "LISTEN" {
		return "CLOSED"
	}
	return state
}

// visitsUntil returns the states that the kernel was in up to the checkpoint, in all
// incarnations, and those that RFC 9293 has between two of them: a FIN that
// acknowledges ours takes FIN_WAIT_1 through FIN_WAIT_2, or CLOSING, to TIME_WAIT,
// a connection opened in TIME_WAIT closes the one before it, and under SYN cookies
// the kernel keeps nothing in SYN_RCVD. What it answers at the checkpoint counts too:
// of a TIME_WAIT only that may tell, as its socket is another, which no move is traced of.
func visitsUntil(moves []Move, cp *Checkpoint, end string) []visit {
	list := []visit{{state: "CLOSED"}}
	moves = slices.DeleteFunc(slices.Clone(moves), func(m Move) bool { return m.T > cp.T })
	if at := cp.state(end); at != "" && (len(moves) == 0 || moves[len(moves)-1].To != at) {
		moves = append(moves, Move{T: cp.T, To: at})
	}
	for _, m := range moves {
		switch from := list[len(list)-1].state; {
		case from == "FIN_WAIT_1" && m.To == "TIME_WAIT":
			list = append(list, visit{"FIN_WAIT_2", m.T}, visit{"CLOSING", m.T})
		case from == "TIME_WAIT" && (m.To == "SYN_SENT" || m.To == "SYN_RCVD"):
			list = append(list, visit{"CLOSED", m.T})
		case from == "CLOSED" && m.To == "ESTABLISHED":
			list = append(list, visit{"SYN_RCVD", m.T})
		}
		list = append(list, visit{socketless(m.To), m.T})
	}
	return list
}

// excuseOf returns why the packets cannot decide a claim, if they cannot.
func (c *Case) excuseOf(l *look, claim claim) excuse {
	if why := c.closedFirst(l, claim); why != (excuse{}) {
		return why
	}
	if claim.state == tcp.SynReceived && !l.cameTo(claim, func(state string) bool { return state != "SYN_RCVD" && state != "CLOSED" }) {
		if s := c.shownAtTap(l, visit{"SYN_RCVD", float64(claim.since) / 1e9}); s != nil {
			return because(KeepsNoRequest, "%v was sent with a SYN cookie", s)
		}
	}
	if len(c.Taps) > 1 {
		addr := l.addr().String()
		here, there := c.bothSides(l.tap, l.end, l.conn, claim.began(), l.cp.T)
		if why := finPassedBy(here, there, addr, l.conn.Moves[l.end]); why != (excuse{}) {
			return why
		}
		gone := notCaptured(here, there, addr)
		if opened := l.opening(); opened != 0 {
			if why := resetUnseen(there, gone, addr, moment(opened)); why != (excuse{}) {
				return why
			}
		}
		if claim.quiet { // and it was not silent
			if why := untold(there, gone, lastHeard(there, gone, addr), addr); why != (excuse{}) {
				return why
			}
		}
	}
	if why := c.forgedAndAccepted(l, claim); why != (excuse{}) {
		return why
	}
	if claim.how == tcp.Observed && slices.Contains(l.cp.accepts(l.tap, l.end), claim.state.String()) {
		return because(AsConfigured, "its kernel was set to do otherwise")
	}
	return excuse{}
}

// cameTo reports whether the kernel came to such a state in the connection of the
// claim.
func (l *look) cameTo(claim claim, such func(state string) bool) bool {
	return slices.ContainsFunc(l.conn.Moves[l.end], func(m Move) bool {
		return claim.began() <= m.T && m.T <= l.cp.T && such(socketless(m.To))
	})
}

// closedFirst excuses a passive close where the kernel's was an active one: its
// FIN was first sent after the peer's had come, or only later copies, which
// acknowledge the peer's, came to the tap.
func (c *Case) closedFirst(l *look, claim claim) excuse {
	closesFirst := func(state string) bool { return state == "FIN_WAIT_1" }
	if claim.state != tcp.CloseWait && claim.state != tcp.LastAck && claim.state != tcp.Closed || !l.cameTo(claim, closesFirst) {
		return excuse{}
	}
	if host(l.tap) != l.end && len(c.Taps) > 1 {
		here, there := c.bothSides(l.tap, l.end, l.conn, claim.began(), l.cp.T)
		if why := firstFINLost(there, notCaptured(here, there, l.addr().String()), l.addr().String()); why != (excuse{}) {
			return why
		}
	}
	atHost := crossing(c.at(l.end), l.conn.Addr("client"), l.conn.Addr("server"))
	for _, m := range l.conn.Moves[l.end] {
		if m.To == "FIN_WAIT_1" && claim.began() <= m.T && m.T <= l.cp.T && len(atHost) > 0 && !told(m, atHost, l.addr().String()) {
			return because(FINWaited, "its process closed at %.6f, and its FIN came later", m.T)
		}
	}
	return excuse{}
}

// opening returns when the newest connection of the end was opened, if it had come
// no further than to its SYN; else 0.
func (l *look) opening() float64 {
	for _, m := range slices.Backward(l.conn.Moves[l.end]) {
		if m.T <= l.cp.T && m.To != "CLOSED" {
			if m.To == "SYN_SENT" || m.To == "SYN_RCVD" {
				return m.T
			}
			break
		}
	}
	return 0
}

// resetUnseen says which RST of the end before it opened anew never came to the
// tap, where the connection goes on for all that it sees: what it opens then may
// be forged.
func resetUnseen(there []tcp.Segment, gone map[int]bool, end string, opened tcp.Time) excuse {
	for i := range there {
		if s := &there[i]; gone[i] && s.Flags.Any(tcp.RST) && s.Time <= opened {
			return because(RSTLost, "%v of %s never came to the tap, and what it opened since may be forged", s, end)
		}
	}
	return excuse{}
}

// forgedAndAccepted excuses a firm state where, as the captures of both hosts
// show, the end's peer accepted a segment in the end's name that the end did not
// send: by its numbers it is the end's own.
func (c *Case) forgedAndAccepted(l *look, claim claim) excuse {
	peer := ends[0]
	if l.end == peer {
		peer = ends[1]
	}
	if len(c.Taps) < 2 {
		return excuse{}
	}
	sent := count(crossing(c.at(l.end), l.addr(), l.conn.Addr(peer)))
	for _, s := range crossing(c.at(peer), l.addr(), l.conn.Addr(peer)) {
		if at := float64(s.Time) / 1e9; s.Src != l.addr() || sent[bare(&s)] > 0 || at > l.cp.T || at < claim.began() {
			continue
		}
		if moved := func(m Move) bool { return movedBy(m, &s) }; slices.ContainsFunc(l.conn.Moves[peer], moved) {
			return because(ForgedAndAccepted, "%v came to %s, which accepted it", &s, peer)
		}
	}
	return excuse{}
}

// movedBy reports whether the kernel moved when the segment came to it.
func movedBy(m Move, s *tcp.Segment) bool {
	const soon, polled = 0.001, 0.012 // seconds
	late := m.T - float64(s.Time)/1e9
	return -soon < late && late < polled
}

// shownAtTap returns a segment of the end that passed the tap by the checkpoint
// and that it sends only once it has come to the state: the FIN by which it got
// there, an ACK of the peer's FIN, an ACK after its SYN, and so on. That its
// peer acknowledged its FIN, that it was reset or gave up, nothing shows that
// it sends; a RST shows nothing, as anyone may forge it.
func (c *Case) shownAtTap(l *look, v visit) *tcp.Segment {
	atHost := crossing(c.at(l.end), l.conn.Addr("client"), l.conn.Addr("server"))
	if len(atHost) == 0 {
		atHost = crossing(c.segments[l.tap], l.conn.Addr("client"), l.conn.Addr("server"))
	}
	atTap := crossing(c.segments[l.tap], l.conn.Addr("client"), l.conn.Addr("server"))
	if c.forged != 0 {
		atTap, atHost = c.genuine(atTap), c.genuine(atHost)
	}
	for _, s := range atTap {
		const polled = 0.012 // seconds by which a move may be told late
		at := float64(s.Time) / 1e9
		if s.Src != l.addr() || at < v.at-polled || at > l.cp.T || s.Flags.Any(tcp.RST) {
			continue
		}
		if shows(&s, v.state, atTap, atHost) {
			return &s
		}
	}
	return nil
}

// shows reports whether an end sends such a segment only once it has come to
// the state, by what was captured at the tap and at its host.
func shows(s *tcp.Segment, state string, atTap, atHost []tcp.Segment) bool {
	switch state {
	case "SYN_SENT":
		return s.Flags.Any(tcp.SYN) && !s.Flags.Any(tcp.ACK)
	case "SYN_RCVD":
		return s.Flags.All(tcp.SYN | tcp.ACK)
	case "ESTABLISHED":
		return !s.Flags.Any(tcp.SYN) && s.Flags.Any(tcp.ACK) && (calledBefore(s, atHost) || acknowledgesData(s, atHost))
	case "FIN_WAIT_1", "LAST_ACK":
		return s.Flags.Any(tcp.FIN)
	case "CLOSE_WAIT", "CLOSING", "TIME_WAIT":
		return acknowledgesFIN(s, atTap)
	}
	return false
}

// calledBefore reports whether the newest SYN that the sender of s had sent
// before it was one without ACK: such an end acknowledges nothing before it is
// in ESTABLISHED.
func calledBefore(s *tcp.Segment, atHost []tcp.Segment) bool {
	for i := range slices.Backward(atHost) {
		if o := &atHost[i]; o.Src == s.Src && o.Time <= s.Time && o.Flags.Any(tcp.SYN) {
			return !o.Flags.Any(tcp.ACK)
		}
	}
	return false
}

// acknowledgesData reports whether s acknowledges an octet behind the newest SYN
// that came to its sender, and what rode on it: the peer sends those with an ACK
// of the sender's own SYN.
func acknowledgesData(s *tcp.Segment, atHost []tcp.Segment) bool {
	for i := range slices.Backward(atHost) {
		if o := &atHost[i]; o.Dst == s.Src && o.Time <= s.Time && o.Flags.Any(tcp.SYN) {
			return o.End().Before(s.Ack)
		}
	}
	return false
}

// acknowledgesFIN reports whether s acknowledges a FIN that passed the tap: what
// did not may as well have been an octet.
func acknowledgesFIN(s *tcp.Segment, atTap []tcp.Segment) bool {
	return s.Flags.Any(tcp.ACK) && slices.ContainsFunc(atTap, func(o tcp.Segment) bool {
		return o.Dst == s.Src && o.Flags.Any(tcp.FIN) && o.End() == s.Ack
	})
}
