package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TIME-WAIT is there to answer a FIN that is repeated, and to keep a pair of
// addresses and ports from being used again while segments of the old
// connection may still wander in the network (RFC 9293 §3.6.1). This file has
// the ways in which it is ended too soon, or stands in the way of a new
// connection; anomaly_timewait_reuse.go has the new connection;
// anomaly_timewait_hazards.go what the old segments do to it.

// timeWaitTime is how long TIME-WAIT is to be held.
var timeWaitTime = Threshold{"time in TIME_WAIT, by the stack of its end", tcp.StackLinux.Stack().TimeWait2MSL, "2msl"}

const assassinText = " made {X} repeat its ACK; {Y}, which no longer knew the connection, answered RST, which {outcome}"

var timeWaitAssassination = Kind{
	Name:     "time-wait-assassination",
	Severity: Warning,
	Title:    "TIME_WAIT killed by a RST",
	RFC:      "RFC 1337 §1",
	Causes: []Cause{
		{"old-duplicate", "Old segment #{frame}" + assassinText},
		{"syn", "A new SYN (#{frame})" + assassinText},
		{"spurious-fin-retransmission", "A second copy of the FIN (#{frame})" + assassinText},
		{"", "A segment that was not captured" + assassinText},
	},
	Phrases: []Phrase{
		{"ends", "outcome", "ends {X}'s TIME_WAIT after {span} of {hold}, unless {X} ignores it (on Linux net.ipv4.tcp_rfc1337=1). If it ends, the same ports can be used again too early."},
		{"ignored", "outcome", "{X}'s stack ignores in TIME_WAIT."},
	},
	Thresholds: []Threshold{timeWaitTime},
	on:         onRST,
	check: func(h *happening) *finding {
		x, y := h.from.Peer(), h.from
		if !h.resetsTimeWait() || h.odd == nil || len(h.odd.closing[x].acks) == 0 {
			return nil
		}
		stray := h.odd.closing[x]
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(append(h.frames(x, tcp.SndFIN), h.frames(y, tcp.SndFIN)...), h.newestACK(x), h.s.Packet),
		}
		syn, frame := 0, 0
		if n := h.newer(); n != nil && n.addr(tcp.Client) == h.addr(y) {
			syn = h.newestSYN(n)
		}
		switch {
		case syn > stray.strayInto:
			f.cause, frame = "syn", syn
		case stray.strayInto != 0 && stray.strayFlags&tcp.FIN != 0:
			f.cause, frame = "spurious-fin-retransmission", stray.strayInto
		case stray.strayInto != 0:
			f.cause, frame = "old-duplicate", stray.strayInto
		}
		f.evidence = append(f.evidence, frame)
		f.values = values{"frame": frame, "span": h.timeWaitHeld(x, h.now), "hold": hold(h.m.twoMSLOf(h.ends[x].stack()))}
		if h.before.accepted {
			f.say("ends")
		} else {
			f.say("ignored")
		}
		return f
	},
}

const truncatedText = "{X} left TIME_WAIT within {span} of entering it, and should hold it for {hold} (profile {stack}): {proof}. " +
	"Look for a limit on TIME_WAIT sockets, a shortened timer, a restart of the host, or another host behind the same address."

var timeWaitTruncated = Kind{
	Name:     "time-wait-truncated",
	Severity: Notice,
	Title:    "TIME_WAIT provably shorter than 2 MSL",
	RFC:      "RFC 9293 §3.6.1 MUST-13",
	Causes: []Cause{
		{"new-connection", truncatedText},
		{"reset-in-reply", truncatedText},
	},
	Phrases: []Phrase{
		{"opened", "proof", "it opened a new connection from the same ports itself"},
		{"accepted", "proof", "it accepted a SYN to which a TIME_WAIT does not yield"},
		{"answered", "proof", "it answered a segment of the old connection with RST, as a host that does not know it"},
	},
	Thresholds: []Threshold{timeWaitTime},
	on:         onRST | onMove,
	only:       isSuccessor | isResetting,
	check: func(h *happening) *finding {
		if h.s != nil && h.s.Flags&tcp.RST != 0 {
			return h.truncatedByReply()
		}
		r, ok := h.reused()
		if !ok || !r.held || h.reported(h.Conn, "time-wait-truncated") || !r.acknowledged() ||
			h.reported(r.old, timeWaitAssassination.Name) || r.linuxISN(h, r.holder) {
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
		f.values = truncated(r.age, r.hold, r.old.ends[r.holderThen].stack())
		switch {
		case r.holder == tcp.Client:
			f.say("opened")
		case !r.behind[tcp.Client]:
			return nil // a TIME-WAIT yields to this SYN
		default:
			f.say("accepted")
		}
		return f
	},
}

// truncatedByReply finds an end that acknowledged its peer's FIN, and thus was
// in TIME-WAIT, and a while later answers that peer as one that has no
// connection. Without the ACK the end may not have got the FIN at all.
func (h *happening) truncatedByReply() *finding {
	x, y := h.from, h.from.Peer()
	if h.s.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.before.rst != resetReply || h.before.states[x] != tcp.TimeWait.Set() {
		return nil
	}
	if !h.ends[y].fin.Before(h.before.acked[x]) || h.reported(h.Conn, timeWaitAssassination.Name) {
		return nil
	}
	began, answered := step{}, 0
	for _, st := range h.steps() {
		if st.end() == x && st.state() == tcp.TimeWait {
			began = st
		}
	}
	for g := range h.back() {
		if g.from == y && g.flags&tcp.RST == 0 {
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
	f.say("answered")
	stack := h.ends[x].stack()
	f.values = truncated(h.now.Sub(began.at), h.m.twoMSLOf(stack), stack)
	return f
}

// truncated are the values of a TIME-WAIT that ended at the given age.
func truncated(age, most time.Duration, stack *tcp.Stack) values {
	return values{"span": age, "hold": hold(most), "stack": stack.Name}
}

// manySYNs is how many copies of a SYN make it unlikely that the others were
// lost: Linux sends the third after 3 s.
const manySYNs = 3

// synChallenged is a name of its own because the check asks whether it found the
// kind before.
const synChallenged = "time-wait-syn-challenged"

const challengedText = "{Y.ip} reused its port {Y.port} {span} after the close; {X} still held TIME_WAIT and answered the SYN with an ACK, which {Y.ip} reset. "

var timeWaitSYNChallenged = Kind{
	Name:     synChallenged,
	Severity: Warning,
	Title:    "New SYN met TIME_WAIT and was not accepted",
	RFC:      "RFC 9293 §3.10.7.4, RFC 6191 §2",
	Causes: []Cause{
		{"reset", challengedText + "The connection can open only when {Y.ip} repeats its SYN: at once on Linux, about a second later elsewhere."},
		{"reset-ignored", challengedText + "{X}'s stack ignores the RST in TIME_WAIT: until that is over, no connection opens between these ports."},
		{"silent", "{Y.ip} reused its port {Y.port} {span} after the close; {X} still holds TIME_WAIT and does not answer the SYN: some stacks drop it then without a word, or it does not arrive. The SYN was repeated for {repeated} so far."},
		{"ack-not-heeded", "{Y.ip} reused its port {Y.port} {span} after the close; {X} still holds TIME_WAIT and answers the SYN with an ACK that does not seem to arrive: firewalls often drop it. The SYN was repeated for {repeated} so far."},
	},
	Thresholds: []Threshold{
		timeWaitTime,
		{"SYNs, where no RST was seen, at least", manySYNs, ""},
	},
	on: onRST | onSYN,
	check: func(h *happening) *finding {
		if h.on&onSYN != 0 {
			return h.unansweredSYN()
		}
		x, y := h.from.Peer(), h.from
		n := h.newer()
		if !h.resetsTimeWait() || n == nil || n.addr(tcp.Client) != h.addr(y) || n.ends[tcp.Client].assumed != tcp.SynSent.Set() {
			return nil
		}
		syn := h.newestSYN(n)
		k := h.newestACK(x)
		if syn == 0 || k < syn {
			return nil
		}
		f := &finding{
			end:      x,
			cause:    "reset",
			certain:  ConfidenceAssumed,
			evidence: append(append(h.frames(x, tcp.SndFIN), h.frames(y, tcp.SndFIN)...), syn, k, h.s.Packet),
			values:   values{"span": h.timeWaitHeld(x, n.start)},
		}
		if !h.before.accepted {
			f.cause = "reset-ignored"
		}
		return f
	},
}

// unansweredSYN finds a SYN that is repeated toward an end in TIME-WAIT to no
// avail, without any RST: the end drops it, or its answer is lost on the way.
func (h *happening) unansweredSYN() *finding {
	old := h.m.formerOf(h.Conn)
	if h.from != tcp.Client || h.ends[tcp.Client].assumed != tcp.SynSent.Set() || h.ends[tcp.Client].copies < manySYNs || h.ends[tcp.Server].seen() || old == nil {
		return nil
	}
	x := h.endIn(old, tcp.Server)
	began, ok := old.intoTimeWait(x)
	if !ok || old.ends[x].assumed != tcp.TimeWait.Set() || old.ends[x].has(lossy) || !old.ends[x].seen() || h.reported(old, synChallenged) {
		return nil
	}
	first, _ := h.find(tcp.Client, tcp.SndSYN)
	f := &finding{
		end:      tcp.Server,
		cause:    "silent",
		certain:  ConfidenceAmbiguous,
		evidence: []int{began.packet(), first.packet(), h.s.Packet},
		values:   values{"span": first.at.Sub(began.at), "repeated": h.now.Sub(first.at)},
	}
	for g := range h.m.trail.back(old) {
		if g.at < first.at {
			break
		}
		if g.from == x && g.pure() {
			f.cause = "ack-not-heeded"
			f.evidence = append(f.evidence, g.packet)
		}
	}
	return f
}

// resetsTimeWait reports whether the RST that happens is its sender's answer to
// an ACK from a peer in TIME-WAIT. Such a RST has the exact number.
func (h *happening) resetsTimeWait() bool {
	x, y := h.from.Peer(), h.from
	return h.s.Flags&(tcp.RST|tcp.ACK) == tcp.RST && h.before.rst == resetReply && h.before.states[x] == tcp.TimeWait.Set() &&
		h.ends[y].has(hasFIN) && h.s.Seq == h.ends[y].fin+1
}

// newestACK returns the frame in which the end last did nothing but
// acknowledge, or 0.
func (h *happening) newestACK(x tcp.Endpoint) int {
	for g := range h.back() {
		if g.from == x && g.pure() {
			return g.packet
		}
	}
	return 0
}

// newestSYN returns the frame of the newest SYN of the connection's client.
func (h *happening) newestSYN(c *Conn) int {
	for g := range h.m.trail.back(c) {
		if g.from == tcp.Client && g.flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
			return g.packet
		}
	}
	syn, _ := c.find(tcp.Client, tcp.SndSYN)
	return syn.packet()
}
