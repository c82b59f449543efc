package tracker

import (
	"fmt"
	"slices"
	"time"
)

// TIME-WAIT is there to answer a FIN that is repeated, and to keep a pair of
// addresses and ports from being used again while segments of the old
// connection may still wander in the network (RFC 9293 §3.6.1). This file has
// the ways in which it is ended too soon, or stands in the way of a new
// connection; anomaly_timewait_reuse.go has the new connection;
// anomaly_timewait_hazards.go what the old segments do to it.

var timeWaitAssassination = Kind{
	Name:     "time-wait-assassination",
	Severity: Warning,
	Title:    "TIME_WAIT killed by a RST",
	RFC:      "RFC 1337 §1",
	Sentence: "Old segment {S} made {X} repeat its ACK; {Y}, which no longer knew the connection, answered RST, " +
		"which ends {X}'s TIME_WAIT after {dt} of {T2}, unless {X} ignores it (on Linux net.ipv4.tcp_rfc1337=1). If it ends, the same ports can be used again too early.",
	on: onRST,
	check: func(h *happening) *finding {
		x, y := h.from.Peer(), h.from
		if !h.resetsTimeWait() || h.odd == nil || len(h.odd.closing[x].acks) == 0 {
			return nil
		}
		stray := h.odd.closing[x]
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(append(h.frames(x, SndFIN), h.frames(y, SndFIN)...), h.newestACK(x), h.s.Packet),
		}
		what := "A segment that was not captured"
		syn := 0
		if n := h.newer(); n != nil && n.addr(Client) == h.addr(y) {
			syn = h.newestSYN(n)
		}
		switch {
		case syn > stray.strayInto:
			f.cause, what = "syn", fmt.Sprintf("A new SYN (#%d)", syn)
			f.evidence = append(f.evidence, syn)
		case stray.strayInto != 0 && stray.strayFlags&FIN != 0:
			f.cause, what = "spurious-fin-retransmission", fmt.Sprintf("A second copy of the FIN (#%d)", stray.strayInto)
			f.evidence = append(f.evidence, stray.strayInto)
		case stray.strayInto != 0:
			f.cause, what = "old-duplicate", fmt.Sprintf("Old segment #%d", stray.strayInto)
			f.evidence = append(f.evidence, stray.strayInto)
		}
		f.text = fmt.Sprintf("%s made %v repeat its ACK; %v, which no longer knew the connection, answered RST, ", what, h.addr(x), h.addr(y))
		if h.before.accepted {
			f.text += fmt.Sprintf("which ends %v's TIME_WAIT after %s of %s, unless %v ignores it (on Linux net.ipv4.tcp_rfc1337=1). "+
				"If it ends, the same ports can be used again too early.",
				h.addr(x), spanText(h.timeWaitHeld(x, h.now)), holdText(h.t.twoMSLOf(h.ends[x].stack())), h.addr(x))
		} else {
			f.text += fmt.Sprintf("which %v's stack ignores in TIME_WAIT.", h.addr(x))
		}
		return f
	},
}

var timeWaitTruncated = Kind{
	Name:     "time-wait-truncated",
	Severity: Notice,
	Title:    "TIME_WAIT provably shorter than 2 MSL",
	RFC:      "RFC 9293 §3.6.1 MUST-13",
	Sentence: "{X} left TIME_WAIT within {dt} of entering it, and should hold it for {T2} (profile {p}): {proof}.",
	on:       onRST | onMove,
	only:     isSuccessor | isResetting,
	check: func(h *happening) *finding {
		if h.s != nil && h.s.Flags&RST != 0 {
			return h.truncatedByReply()
		}
		r, ok := h.reused()
		if !ok || !r.held || h.reported("time-wait-truncated") || !r.acknowledged() ||
			r.old.reported(timeWaitAssassination.Name) || r.linuxISN(h, r.holder) {
			return nil
		}
		syn, synACK := h.openingFrames()
		f := &finding{
			end:      r.holder,
			cause:    "new-connection",
			certain:  ConfidenceAssumed,
			evidence: []int{r.began.packet(), syn, synACK, h.s.Packet},
		}
		if r.otherHost(h, r.holder) {
			f.certain = ConfidenceAmbiguous
		}
		proof := "it opened a new connection from the same ports itself"
		if r.holder == Server {
			if !r.behind[Client] {
				return nil // a TIME-WAIT yields to this SYN
			}
			proof = "it accepted a SYN to which a TIME_WAIT does not yield"
		}
		f.text = h.truncatedText(r.holder, r.age, r.hold, r.old.ends[r.holderThen].stack(), proof)
		return f
	},
}

// truncatedByReply finds an end that acknowledged its peer's FIN, and thus was
// in TIME-WAIT, and a while later answers that peer as one that has no
// connection. Without the ACK the end may not have got the FIN at all.
func (h *happening) truncatedByReply() *finding {
	x, y := h.from, h.from.Peer()
	if h.s.Flags&(RST|ACK) != RST || h.before.rst != resetReply || h.before.states[x] != setOf(TimeWait) {
		return nil
	}
	if !h.ends[y].fin.Before(h.before.acked[x]) || h.reported(timeWaitAssassination.Name) {
		return nil
	}
	began, answered := step{}, 0
	for _, st := range h.steps() {
		if st.end() == x && st.state() == TimeWait {
			began = st
		}
	}
	for g := range h.back() {
		if g.from == y && g.flags&RST == 0 {
			answered = g.packet
			break
		}
	}
	f := &finding{
		end:      x,
		cause:    "reset-in-reply",
		certain:  ConfidenceAssumed,
		evidence: []int{began.packet(), h.newestACK(x), answered, h.s.Packet},
	}
	proof := "it answered a segment of the old connection with RST, as a host that does not know it"
	f.text = h.truncatedText(x, h.now.Sub(began.at), h.t.twoMSLOf(h.ends[x].stack()), h.ends[x].stack(), proof)
	return f
}

func (h *happening) truncatedText(x End, age, hold time.Duration, stack *Stack, proof string) string {
	return fmt.Sprintf("%v left TIME_WAIT within %s of entering it, and should hold it for %s (profile %s): %s. "+
		"Look for a limit on TIME_WAIT sockets, a shortened timer, a restart of the host, or another host behind the same address.",
		h.addr(x), spanText(age), holdText(hold), stack.Name, proof)
}

// manySYNs is how many copies of a SYN make it unlikely that the others were
// lost: Linux sends the third after 3 s.
const manySYNs = 3

// synChallenged is a name of its own because the check asks whether it found the
// kind before.
const synChallenged = "time-wait-syn-challenged"

var timeWaitSYNChallenged = Kind{
	Name:     synChallenged,
	Severity: Warning,
	Title:    "New SYN met TIME_WAIT and was not accepted",
	RFC:      "RFC 9293 §3.10.7.4, RFC 6191 §2",
	Sentence: "{Y} reused port {p} {dt} after the close; {X} still held TIME_WAIT and answered its SYN with an ACK, " +
		"which {Y} reset. The connection can open only when {Y} repeats its SYN.",
	on: onRST | onSYN,
	check: func(h *happening) *finding {
		if h.on&onSYN != 0 {
			return h.unansweredSYN()
		}
		x, y := h.from.Peer(), h.from
		n := h.newer()
		if !h.resetsTimeWait() || n == nil || n.addr(Client) != h.addr(y) || n.ends[Client].assumed != setOf(SynSent) {
			return nil
		}
		syn := h.newestSYN(n)
		k := h.newestACK(x)
		if syn == 0 || k < syn {
			return nil
		}
		age, peer := spanText(h.timeWaitHeld(x, n.start)), h.addr(y)
		f := &finding{
			end:      x,
			cause:    "reset",
			certain:  ConfidenceAssumed,
			evidence: append(append(h.frames(x, SndFIN), h.frames(y, SndFIN)...), syn, k, h.s.Packet),
			text: fmt.Sprintf("%v reused its port %d %s after the close; %v still held TIME_WAIT and answered the SYN with an ACK, which %v reset. "+
				"The connection can open only when %v repeats its SYN: at once on Linux, about a second later elsewhere.",
				peer.Addr(), peer.Port(), age, h.addr(x), peer.Addr(), peer.Addr()),
		}
		if !h.before.accepted {
			f.cause = "reset-ignored"
			f.text = fmt.Sprintf("%v reused its port %d %s after the close; %v still held TIME_WAIT and answered the SYN with an ACK, which %v reset. "+
				"%v's stack ignores the RST in TIME_WAIT: until that is over, no connection opens between these ports.",
				peer.Addr(), peer.Port(), age, h.addr(x), peer.Addr(), h.addr(x))
		}
		return f
	},
}

// unansweredSYN finds a SYN that is repeated toward an end in TIME-WAIT to no
// avail, without any RST: the end drops it, or its answer is lost on the way.
func (h *happening) unansweredSYN() *finding {
	old := h.t.formerOf(h.Conn)
	if h.from != Client || h.ends[Client].assumed != setOf(SynSent) || h.ends[Client].copies < manySYNs || h.ends[Server].seen() || old == nil {
		return nil
	}
	x := h.endIn(old, Server)
	began, ok := old.intoTimeWait(x)
	if !ok || old.ends[x].assumed != setOf(TimeWait) || old.ends[x].has(lossy) || !old.ends[x].seen() || old.reported(synChallenged) {
		return nil
	}
	first, _ := h.find(Client, SndSYN)
	f := &finding{end: Server, cause: "silent", certain: ConfidenceAmbiguous, evidence: []int{began.packet(), first.packet(), h.s.Packet}}
	answer := "does not answer the SYN: some stacks drop it then without a word, or it does not arrive"
	for g := range h.t.trail.back(old) {
		if g.at < first.at {
			break
		}
		if g.from == x && g.pure() {
			f.cause, answer = "ack-not-heeded", "answers the SYN with an ACK that does not seem to arrive: firewalls often drop it"
			f.evidence = append(f.evidence, g.packet)
		}
	}
	f.text = fmt.Sprintf("%v reused its port %d %s after the close; %v still holds TIME_WAIT and %s. The SYN was repeated for %s so far.",
		h.addr(Client).Addr(), h.addr(Client).Port(), spanText(first.at.Sub(began.at)), h.addr(Server), answer, spanText(h.now.Sub(first.at)))
	return f
}

// resetsTimeWait reports whether the RST that happens is its sender's answer to
// an ACK from a peer in TIME-WAIT. Such a RST has the exact number.
func (h *happening) resetsTimeWait() bool {
	x, y := h.from.Peer(), h.from
	return h.s.Flags&(RST|ACK) == RST && h.before.rst == resetReply && h.before.states[x] == setOf(TimeWait) &&
		h.ends[y].has(hasFIN) && h.s.Seq == h.ends[y].fin+1
}

// newestACK returns the frame in which the end last did nothing but
// acknowledge, or 0.
func (h *happening) newestACK(x End) int {
	for g := range h.back() {
		if g.from == x && g.pure() {
			return g.packet
		}
	}
	return 0
}

// newestSYN returns the frame of the newest SYN of the connection's client.
func (h *happening) newestSYN(c *Conn) int {
	for g := range h.t.trail.back(c) {
		if g.from == Client && g.flags&(SYN|ACK) == SYN {
			return g.packet
		}
	}
	syn, _ := c.find(Client, SndSYN)
	return syn.packet()
}

// holdText prints for how long TIME-WAIT is to be held.
func holdText(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return spanText(d)
}

// intoTimeWait returns the step by which the end came to the TIME-WAIT in which
// its steps leave it, or which a new connection ended.
func (c *Conn) intoTimeWait(e End) (began step, ok bool) {
	for _, st := range slices.Backward(c.steps()) {
		if st.end() == e && !st.reopens() {
			return st, st.state() == TimeWait
		}
	}
	return step{}, false
}

// reported reports whether the kind was found in the connection, at any end.
func (c *Conn) reported(kind string) bool {
	return c.odd != nil && slices.ContainsFunc(c.odd.anomalies, func(a Anomaly) bool { return a.Kind == kind })
}

// formerOf returns the real connection before c on the same addresses and
// ports, or nil.
func (t *Tracker) formerOf(c *Conn) *Conn {
	for o := c.older(); o != nil; o = o.older() {
		if !o.provisional() {
			return o
		}
	}
	return nil
}

// endIn returns which end of the other connection, on the same addresses and
// ports, is the host that is the end e of c.
func (c *Conn) endIn(other *Conn, e End) End { return other.endOf(c.endOf(true) == e) }
