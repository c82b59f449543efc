package tracker

import (
	"fmt"
	"time"
)

// The last ACK of a connection is acknowledged by nobody. If it is lost, the
// end in LAST-ACK repeats its FIN, and TIME-WAIT is there to answer it.

var finalAckLostRecovered = Kind{
	Name:     "final-ack-lost-recovered",
	Severity: Notice,
	Title:    "Last ACK lost, TIME_WAIT repaired it",
	RFC:      "RFC 9293 §3.10.7.4",
	Sentence: "{X}'s last ACK did not arrive; {Y} repeated FIN after {t} and {X}, in TIME_WAIT, acknowledged it again. " +
		"This is what TIME_WAIT is for; its {T2} s start again.",
	on: onUnsettled,
	check: func(h *happening) (f finding, found bool) {
		x, y := h.from, h.from.Peer()
		if h.odd == nil || h.before.states[x] != setOf(TimeWait) || !h.s.pureAck() {
			return f, false
		}
		again := h.odd.closing[y]
		if !again.unanswered || !h.acksFIN(y) {
			return f, false
		}
		fin, _ := h.find(y, SndFIN)
		f = finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(append([]int{fin.packet(), again.finCopy, h.s.Packet}, h.odd.closing[x].acks...), h.frames(y, RcvAckOfFIN)...),
		}
		after, hold := spanText(again.finCopyAt.Sub(fin.at)), h.ends[x].stack().TimeWait2MSL.Seconds()
		if again.crossed {
			f.cause = "spurious"
			f.text = fmt.Sprintf("%v repeated its FIN after %s, while the ACK of it was on its way; %v, in TIME_WAIT, acknowledged it again. Its %.0f s start again.",
				h.addr(y), after, h.addr(x), hold)
			return f, true
		}
		f.text = fmt.Sprintf("%v's last ACK did not arrive; %v repeated FIN after %s and %v, in TIME_WAIT, acknowledged it again. This is what TIME_WAIT is for; its %.0f s start again.",
			h.addr(x), h.addr(y), after, h.addr(x), hold)
		return f, true
	},
}

var rstInsteadOfAck = Kind{
	Name:     "rst-instead-of-ack",
	Severity: Error,
	Title:    "Repeated FIN answered by RST: the closer was gone",
	RFC:      "RFC 9293 §3.5.2, §3.6.1",
	Sentence: "{Y} never got the last ACK and repeated FIN {t} later; {X}, which closed first, no longer holds TIME_WAIT " +
		"(should last {T2} s; {dt} had passed) and answered RST seq {a}. {Y} ends with an error instead of a clean close.",
	on: onRST,
	check: func(h *happening) (f finding, found bool) {
		x, y := h.from, h.from.Peer()
		if h.s.Flags&(RST|ACK) != RST || h.before.rst != resetReply || h.odd == nil {
			return f, false
		}
		again := h.odd.closing[y]
		if !again.unanswered || !h.closedFirst(x) || h.s.Seq != h.ends[x].fin+1 {
			return f, false
		}
		fin, _ := h.find(y, SndFIN)
		hold := h.ends[x].stack().TimeWait2MSL
		held := min(h.timeWaitHeld(x, h.now), h.now.Sub(h.before.sentAt[x])) // its last ACK shows that it still held it
		f = finding{
			end:      x,
			certain:  ConfidenceAssumed,
			cause:    "time-wait-shortened",
			evidence: append(append(append(h.frames(x, SndFIN), fin.packet(), again.finCopy, h.s.Packet), h.odd.closing[x].acks...), h.frames(y, RcvAckOfFIN)...),
		}
		why := "TIME_WAIT was shortened (bucket limit, reuse, an earlier RST), or the host rebooted, or a NAT, load balancer or firewall lost the flow, or the RST is forged"
		if held >= hold {
			f.cause = "time-wait-expired"
			why = "TIME_WAIT had expired normally; the retransmission timeout of the other end was longer"
		}
		f.text = fmt.Sprintf("%v never got the last ACK and repeated FIN %s later; %v, which closed first, no longer holds TIME_WAIT (should last %.0f s; %s had passed) and answered RST seq %d. %v ends with an error instead of a clean close. %s.",
			h.addr(y), spanText(again.finCopyAt.Sub(fin.at)), h.addr(x), hold.Seconds(), spanText(held), h.s.Seq, h.addr(y), why)
		return f, true
	},
}

// acksFIN reports whether the segment acknowledges the FIN of the given end.
func (h *happening) acksFIN(y End) bool {
	return h.ends[y].has(hasFIN) && h.s.Flags&ACK != 0 && h.ends[y].fin.Before(h.s.Ack)
}

// closedFirst reports whether the end sent its FIN before it had received its
// peer's: it, not the peer, goes through TIME-WAIT.
func (h *happening) closedFirst(x End) bool {
	for _, st := range h.steps {
		if st.end() == x && st.state() == LastAck {
			return false
		}
	}
	return h.ends[x].has(hasFIN) && h.ends[x.Peer()].has(hasFIN)
}

// timeWaitHeld returns for how long the end had been in TIME-WAIT at the given
// time.
func (h *happening) timeWaitHeld(x End, at Time) time.Duration {
	for _, st := range h.steps {
		if st.end() == x && st.state() == TimeWait {
			return at.Sub(st.at)
		}
	}
	return 0
}
