package tracker

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The last ACK of a connection is acknowledged by nobody. If it is lost, the
// end in LAST-ACK repeats its FIN, and TIME-WAIT is there to answer it.

var finalAckLostRecovered = Kind{
	Name:     "final-ack-lost-recovered",
	Severity: Notice,
	Title:    "Last ACK lost or late, TIME_WAIT repaired it",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"", "{X}'s last ACK had not arrived in time; {Y} repeated FIN after {span} and {X}, in TIME_WAIT, acknowledged it again. This is what TIME_WAIT is for; its {hold} start again."},
		{"spurious", "A second copy of {Y}'s FIN came {span} after the first, while the ACK of that was on its way; {X}, in TIME_WAIT, acknowledged it again. Its {hold} start again."},
	},
	on:   onUnsettled,
	only: isOdd,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.odd == nil || h.before.states[x] != tcp.TimeWait.Set() || !h.s.PureAck() {
			return nil
		}
		again := h.odd.closing[y]
		if !again.unanswered || !h.acksFIN(y) {
			return nil
		}
		fin, _ := h.find(y, tcp.SndFIN)
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(append([]int{fin.packet(), again.finCopy, h.s.Packet}, h.odd.closing[x].acks...), h.frames(y, tcp.RcvAckOfFIN)...),
		}
		f.values = values{"span": again.finCopyAt.Sub(fin.at), "hold": hold(h.m.twoMSLOf(h.ends[x].stack()))}
		if again.crossed {
			f.cause = "spurious"
		}
		return f
	},
}

// A FIN that is repeated, that nobody answers, or that does not end what its
// sender sends.

var finRetransmitted = Kind{
	Name:     "fin-retransmitted",
	Severity: Notice,
	Title:    "FIN sent again",
	RFC:      "RFC 9293 §3.8.1",
	Causes: []Cause{
		{"ack-not-seen", "{X} repeated its FIN{after} and no ACK of it had been captured: the FIN was lost after the capture point, or its ACK was lost, or is late, on the way to the capture point."},
		{"ack-captured-then-lost", "{X} repeated its FIN{after}, although {Y}'s ACK of it had been captured: that ACK was lost, or is late, after the capture point."},
		{"spurious", "{X} repeated its FIN{after}, before the ACK of it can have arrived: nothing need be lost, but the ACK took longer than {X} waits."},
		{"", "{X} repeated its FIN{after}; of what {Y} answers the capture shows too little to say what was lost."},
	},
	Phrases: []Phrase{{"after", "after", " after {span}"}},
	on:      onFIN,
	only:    isOdd,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.stale || h.odd == nil || h.odd.closing[x].finCopy != h.s.Packet || h.s.Seq.Add(h.s.Len()-1) != h.ends[x].fin {
			return nil // the first one, or a copy made by the network
		}
		fin, known := h.find(x, tcp.SndFIN)
		f := &finding{
			end:      x,
			certain:  ConfidenceProved,
			evidence: []int{fin.packet(), h.s.Packet},
		}
		if h.s.ID == 0 && !h.s.Options.HasTS {
			f.certain = ConfidenceAssumed // nothing in it tells it from a copy made by the network
		}
		if known {
			f.values = values{"span": h.now.Sub(fin.at)}
			f.say("after")
		}
		acked := h.ends[y].has(hasAcked) && h.ends[x].fin.Before(h.before.acked[y])
		for g := range h.back() {
			if acked && g.from == y && g.flags&tcp.ACK != 0 && h.ends[x].fin.Before(g.ack) {
				f.evidence = append(f.evidence, g.packet) // the newest ACK of it
				break
			}
		}
		switch {
		case acked && h.odd.closing[x].crossed:
			f.cause = "spurious"
		case acked:
			f.cause = "ack-captured-then-lost"
		case h.visible(y):
			f.cause = "ack-not-seen"
		}
		return f
	},
}

// finsGivenUp is how often a FIN must have been sent for the silence after it
// to mean that its sender gave up.
const finsGivenUp = 3

// givesUpFIN is what makes the silence after a FIN its end.
var givesUpFIN = []Threshold{
	{"times that the FIN was sent, at least", finsGivenUp, ""},
	{"time after the last of them, by the stack of its sender", tcp.StackLinux.Stack().FinGiveUp, "stack"},
}

var finNeverAcked = Kind{
	Name:     "fin-never-acked",
	Severity: Warning,
	Title:    "FIN got no answer",
	RFC:      "RFC 9293 §3.6, §3.8.3",
	Causes: []Cause{
		{"", "{X} sent its FIN {n} times in {span} without an answer and gave up. {Y} may still believe that the connection is open: look for a broken path, or a host or firewall that forgot it."},
	},
	Thresholds: givesUpFIN,
	Supersedes: []string{"fin-retransmitted"},
	on:         onTimer,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		before := h.before.states[x]
		// Behind a closed window the FIN is a probe of the window.
		if before != tcp.FinWait1.Set() && before != tcp.Closing.Set() || !h.gaveUpFIN(x) || h.before.wnd[y] == 0 {
			return nil
		}
		frames, took := h.finCopies(x)
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: frames,
			values:   values{"n": h.ends[x].copies, "span": took},
		}
	},
}

var lastAckTimeout = Kind{
	Name:     "last-ack-timeout",
	Severity: Warning,
	Title:    "Passive closer never got the last ACK",
	RFC:      "RFC 9293 §3.6, §3.8.3",
	Causes: []Cause{
		{"acks-lost", "{X} sent its FIN {n} times in {span} without getting the last ACK and gave up. {Y} did acknowledge it ({acks ACKs} captured), so its ACKs are lost after the capture point."},
		{"no-ack", "{X} sent its FIN {n} times in {span} without getting the last ACK and gave up. {Y} may wait in FIN_WAIT_2 for it still, or be gone."},
	},
	Thresholds: givesUpFIN,
	Supersedes: []string{"fin-retransmitted"},
	on:         onTimer,
	check: func(h *happening) *finding {
		x, y := h.from.Peer(), h.from
		if h.before.states[y] != tcp.LastAck.Set() || !h.gaveUpFIN(y) {
			return nil
		}
		frames, took := h.finCopies(y)
		f := &finding{
			end:      y,
			certain:  ConfidenceAssumed,
			evidence: append(h.frames(x, tcp.SndFIN), frames...),
			values:   values{"n": h.ends[y].copies, "span": took},
			cause:    "no-ack",
		}
		var acks []int
		if h.odd != nil {
			acks = slices.Compact(slices.Sorted(slices.Values(h.odd.closing[x].acks)))
		}
		if len(acks) > 0 {
			f.cause, f.values["acks"] = "acks-lost", len(acks)
			f.evidence = append(f.evidence, acks...)
		}
		return f
	},
}

var simultaneousClose = Kind{
	Name:     "simultaneous-close",
	Severity: Info,
	Title:    "Both sides closed at once",
	RFC:      "RFC 9293 §3.6",
	Causes: []Cause{
		{"", "{Y} and {X} closed within {span} of each other: neither FIN acknowledges the other's. Both ends go through CLOSING and keep TIME_WAIT."},
	},
	on: onFIN,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		mine, ok := h.find(x, tcp.SndFIN)
		if h.closedBy() != tcp.ByBoth || !ok || mine.packet() != h.s.Packet {
			return nil
		}
		if h.ends[x].fin.Before(h.before.acked[y]) {
			return nil // this is a copy of one that the capture missed, and the other end answered
		}
		theirs, _ := h.find(y, tcp.SndFIN)
		return &finding{
			end:      x,
			certain:  ConfidenceProved,
			evidence: []int{theirs.packet(), mine.packet()},
			values:   values{"span": mine.at.Sub(theirs.at)},
		}
	},
}

var dataAfterFIN = Kind{
	Name:     "data-after-fin",
	Severity: Warning,
	Title:    "Bytes beyond one's own FIN",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"data", "{X} sent {n bytes} after its FIN. No end may do that: its stack is broken, or the FIN or these bytes were injected by somebody else. The receiver ignores them."},
		{"second-fin", "{X} sent a second FIN at another place: sequence number {seq}, after {fin}. Its stack is broken, or one of the two was injected by somebody else."},
	},
	on:   onUnsettled,
	only: isFinished,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		e, last := &h.ends[x], h.s.End()-1
		if !e.has(hasFIN) || h.s.Len() == 0 || last == e.fin || h.s.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || h.foreign {
			return nil
		}
		// Another connection's segment, of which the SYN was not captured, has
		// numbers somewhere near only by chance: it must fit both windows.
		if !h.s.End().AtMost(tcp.Later(h.before.edge[y], e.fin+1).Add(1)) || h.s.Ack.Before(h.before.acked[x]) || h.ends[y].nxt.Before(h.s.Ack) {
			return nil
		}
		f := new(finding)
		switch {
		case e.fin.Before(last) && h.s.Data > 0:
			f.cause, f.values = "data", values{"n": min(last.Minus(e.fin), h.s.Data)}
		case h.s.Flags&tcp.FIN != 0 && !h.stale:
			f.cause, f.values = "second-fin", values{"seq": last, "fin": e.fin}
		default:
			return nil
		}
		fin, _ := h.find(x, tcp.SndFIN)
		f.end, f.certain, f.evidence = x, ConfidenceProved, []int{fin.packet(), h.s.Packet}
		return f
	},
}

// gaveUpFIN reports whether the end's FIN was sent often enough for its timer
// to mean something, nothing at all came after the last copy, and the capture
// can show that.
func (h *happening) gaveUpFIN(x tcp.Endpoint) bool {
	if h.odd == nil || !h.ends[x].has(hasFIN) || h.ends[x].copies < finsGivenUp || !h.visible(x.Peer()) {
		return false
	}
	last := h.odd.closing[x].finCopyAt
	return h.before.sentAt[x] <= last && h.before.sentAt[x.Peer()] <= last
}

// finCopies returns the frames of the end's FIN and its newest copies, and the
// span from the first to the last.
func (h *happening) finCopies(x tcp.Endpoint) (frames []int, took time.Duration) {
	frames = h.frames(x, tcp.SndFIN)
	for g := range h.back() {
		if g.from == x && g.flags&tcp.FIN != 0 && len(frames) < maxAcksKept {
			frames = append(frames, g.packet)
		}
	}
	if fin, ok := h.find(x, tcp.SndFIN); ok {
		took = h.odd.closing[x].finCopyAt.Sub(fin.at)
	}
	return frames, took
}

// acksFIN reports whether the segment acknowledges the FIN of the given end.
func (h *happening) acksFIN(y tcp.Endpoint) bool {
	return h.ends[y].has(hasFIN) && h.s.Flags&tcp.ACK != 0 && h.ends[y].fin.Before(h.s.Ack)
}

// closedFirst reports whether the end sent its FIN before it had received its
// peer's: it, not the peer, goes through TIME-WAIT.
func (h *happening) closedFirst(x tcp.Endpoint) bool {
	for _, st := range h.steps() {
		if st.end() == x && st.state() == tcp.LastAck {
			return false
		}
	}
	return h.ends[x].has(hasFIN) && h.ends[x.Peer()].has(hasFIN)
}

// timeWaitHeld returns for how long the end had been in TIME-WAIT at the given
// time.
func (h *happening) timeWaitHeld(x tcp.Endpoint, at tcp.Time) time.Duration {
	for _, st := range h.steps() {
		if st.end() == x && st.state() == tcp.TimeWait {
			return at.Sub(st.at)
		}
	}
	return 0
}
