package tracker

import (
	"fmt"
	"time"
)

// What can be wrong with a RST: who made it, and whether its receiver has
// reason to act on it.

var challengeAck = Kind{
	Name:     "challenge-ack",
	Severity: Notice,
	Title:    "ACK sent to verify a suspicious SYN, RST or ACK",
	RFC:      "RFC 5961 §3, §4, §5",
	Sentence: "{X} doubted {S} and asked {Y} to confirm it (challenge ACK). {Y} {confirmed with a RST that fits | went on as before: {S} was not from it, or old}.",
	on:       onDoubt | onRST | onEnd,
	only:     isOdd,
	check: func(h *happening) *finding {
		d := h.pending()
		if d == nil || d.challenge == 0 || !h.settles(d) {
			return nil
		}
		x, y := h.addr(d.into), h.addr(d.into.Peer())
		f := &finding{end: d.into, certain: ConfidenceAssumed, evidence: []int{d.packet, d.challenge}}
		var what string
		switch d.what {
		case doubtedRST:
			f.cause, what = "rst", fmt.Sprintf("a RST with seq %d, which is in its window but not the next number, %d,", d.number, d.next)
		case doubtedAbort:
			f.cause, what = "rst-overtook-data", fmt.Sprintf("a RST with seq %d, which came ahead of data that it still misses from %d,", d.number, d.next)
		case doubtedSYN:
			f.cause, what = "syn", "a SYN in the open connection"
		case doubtedAck:
			if h.ends[d.into].nxt.Before(d.number) {
				f.cause, what = "ack", fmt.Sprintf("an ACK of %d, up to which it had not sent,", d.number)
				break
			}
			return nil // it had sent that: the capture has it late, or not at all
		}
		f.text = fmt.Sprintf("%v doubted %s and asked %v to confirm it (challenge ACK). ", x, what, y)
		switch {
		case h.s == nil:
			f.text += fmt.Sprintf("%v said nothing more.", y)
		case h.s.Flags&RST == 0:
			f.text += fmt.Sprintf("%v went on as before: the doubted segment was not from it, or old.", y)
		case h.before.accepted || h.before.rst == resetReply:
			f.text += fmt.Sprintf("%v confirmed with a RST that fits: it has left the connection.", y)
		default:
			f.text += "Another RST followed that fits no better."
		}
		if h.s != nil {
			f.evidence = append(f.evidence, h.s.Packet)
		}
		return f
	},
}

// settles reports whether the happening shows what became of the doubt: the
// alleged sender's next segment, or the end of everything.
func (h *happening) settles(d *doubt) bool {
	return h.s == nil && h.from == d.into || h.s != nil && d.settledBy(h.s, h.from, h.now)
}

// guessesOfAttack is how many RSTs with different wrong numbers are no accident
// any more.
const guessesOfAttack = 3

var blindRSTInWindow = Kind{
	Name:     "blind-rst-in-window",
	Severity: Warning,
	Title:    "RST in window but not at RCV.NXT",
	RFC:      "RFC 5961 §3",
	Sentence: "A RST in the name of {Y} has seq {s}, which hits {X}'s window ({a}..{b}) but not its start: it is a guess, or {Y}'s own, ahead of data that was lost.",
	on:       onDoubt | onRST | onEnd,
	only:     isOdd,
	check: func(h *happening) *finding {
		d := h.pending()
		if d == nil || d.what != doubtedRST || !h.settles(d) || h.ends[d.into.Peer()].has(lossy) {
			return nil
		}
		f := &finding{end: d.into, certain: ConfidenceAssumed, evidence: []int{d.packet, d.challenge}}
		x, y := h.addr(d.into), h.addr(d.into.Peer())
		f.text = fmt.Sprintf("A RST in the name of %v has seq %d, which hits %v's window (%d..%d) but not its start. ", y, d.number, x, d.next, d.edge)
		switch {
		case h.s == nil:
			f.certain = ConfidenceAmbiguous
			f.mild = sameWay(d.ttl, h.ends[d.into.Peer()].ttl)
			f.text += fmt.Sprintf("It is a guess, or %v's own, ahead of data that was lost; %v said nothing more. A stack that follows RFC 5961 ignores it, an older one drops the connection.", y, y)
		case h.s.Flags&RST != 0 && (h.before.accepted || h.before.rst != resetUnmatched || h.s.Seq == d.number):
			return nil // the sender confirms it, or repeats itself: its RST overtook data
		case h.s.Flags&RST != 0:
			f.text += "Another RST follows with a number that fits no better: somebody is guessing."
		default:
			f.text += fmt.Sprintf("%v goes on as before, so it did not send it: somebody is guessing.", y)
		}
		if h.s != nil {
			f.evidence = append(f.evidence, h.s.Packet)
		}
		if d.guesses >= guessesOfAttack {
			f.severity = Error
			f.text += fmt.Sprintf(" %d RSTs with different numbers were seen: this is an attack on the connection.", d.guesses)
		}
		return f
	},
}

var rstOutOfWindow = Kind{
	Name:     "rst-out-of-window",
	Severity: Notice,
	Title:    "RST the receiver ignores",
	RFC:      "RFC 9293 §3.10.7.4",
	Sentence: "A RST in the name of {Y} has seq {s}, which is outside {X}'s window ({a}..{b}); {X} ignores it.",
	on:       onRST,
	check: func(h *happening) *finding {
		if !h.outOfWindow() {
			return nil
		}
		x, y := h.from.Peer(), h.from
		to := &h.ends[x]
		f := &finding{end: x, certain: ConfidenceAssumed, evidence: []int{h.s.Packet}}
		f.text = fmt.Sprintf("A RST in the name of %v has seq %d, which is outside %v's window (%d..%d); %v ignores it. ",
			h.addr(y), h.s.Seq, h.addr(x), to.acked, to.edge, h.addr(x))
		if h.before.rst == resetReply {
			f.cause, f.mild = "reply-to-old-segment", true
			f.text += "It answers a segment that is older than what was acknowledged since."
			return f
		}
		f.text += "It is a blind guess, or left over from something older; the connection goes on."
		return f
	},
}

// outOfWindow reports whether the RST's receiver drops it silently, since its
// number is neither the next nor in the window.
func (h *happening) outOfWindow() bool {
	x, y := h.x(), h.y()
	if h.before.accepted || h.before.sentAt[h.from] == 0 || !y.has(hasAcked) || !synchronized(h.before.states[h.from.Peer()]) || h.numberOfFIN() {
		return false
	}
	return h.s.Seq.Before(y.acked) && !x.has(lossy) || h.scaleKnown() && y.edge.AtMost(h.s.Seq) && y.acked != h.s.Seq
}

// numberOfFIN reports whether the RST has the number of its sender's FIN, as if
// a FIN took none. Some stacks send it so, and some take it.
func (h *happening) numberOfFIN() bool { return h.x().has(hasFIN) && h.s.Seq == h.x().fin }

var rstIgnoredInSynSent = Kind{
	Name:     "rst-ignored-in-syn-sent",
	Severity: Notice,
	Title:    "RST without acceptable ACK during connect",
	RFC:      "RFC 9293 §3.10.7.3",
	Sentence: "A RST in the name of {Y} acknowledges {nothing | a}, where the SYN of {X} has seq {s}; a conforming client ignores it and goes on trying.",
	on:       onRST,
	check: func(h *happening) *finding {
		x := h.from.Peer()
		if h.before.accepted || h.before.states[x] != setOf(SynSent) || !h.ends[x].seen() {
			return nil
		}
		fault := "acknowledges nothing"
		if h.s.Flags&ACK != 0 {
			fault = fmt.Sprintf("acknowledges %d", h.s.Ack)
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(h.frames(x, SndSYN), h.s.Packet),
			text: fmt.Sprintf("A RST in the name of %v %s, where the SYN of %v has seq %d; a conforming client ignores it and goes on trying. It is forged, or meant for an older connection.",
				h.addr(h.from), fault, h.addr(x), h.ends[x].iss),
		}
	},
}

// acksCited is how many of the newest ACKs toward its sender an unmatched RST
// is compared with in its evidence.
const acksCited = 3

var rstUnmatched = Kind{
	Name:     "rst-unmatched",
	Severity: Notice,
	Title:    "RST whose numbers fit neither rule",
	RFC:      "RFC 9293 §3.5.2",
	Sentence: "A RST in the name of {X} has seq {s}; its next number was {n} and no recent ACK to it said {s}. Either packets are missing from the capture, or a third party sent it.",
	on:       onRST,
	check: func(h *happening) *finding {
		x, y := h.x(), h.y()
		to := h.from.Peer()
		state := h.before.states[to]
		if h.before.rst != resetUnmatched || !x.seen() || h.before.sentAt[h.from] == 0 || !y.seen() || x.has(lossy) || y.has(lossy) || h.numberOfFIN() ||
			!synchronized(state) && state != setOf(SynReceived) {
			return nil
		}
		if h.outOfWindow() || !h.before.accepted && h.inWindow(h.s.Seq, to) {
			return nil // told better by other kinds
		}
		f := &finding{end: h.from, certain: ConfidenceAmbiguous, evidence: []int{h.s.Packet}}
		who := h.addr(h.from)
		switch {
		case h.s.Seq != x.nxt:
			f.cause = "seq"
			f.text = fmt.Sprintf("A RST in the name of %v has seq %d; its next number was %d and no recent ACK to it said %d. ", who, h.s.Seq, x.nxt, h.s.Seq)
		case h.s.Flags&ACK != 0 && !(x.acked.AtMost(h.s.Ack) && h.s.Ack.AtMost(y.nxt)):
			f.cause = "ack"
			f.text = fmt.Sprintf("A RST in the name of %v acknowledges %d, but it had received up to %d and was sent up to %d. ", who, h.s.Ack, x.acked, y.nxt)
		default:
			return nil // the numbers fit; what does not is told by forged-rst
		}
		f.text += "Either packets are missing from the capture, or a third party sent it."
		n, cited := 0, 0
		for g := range h.back() {
			if n++; n > maxLookBack || cited == acksCited {
				break
			}
			if g.from != h.from && g.flags&(ACK|RST) == ACK {
				f.evidence = append(f.evidence, g.packet)
				cited++
			}
		}
		return f
	},
}

// A storm is more than stormSize RSTs of one end within stormSpan.
const (
	stormSize = 10
	stormSpan = time.Second
)

var rstStorm = Kind{
	Name:     "rst-storm",
	Severity: Warning,
	Title:    "Many RSTs",
	RFC:      "RFC 2525 §2.16",
	Sentence: "{X} sent {n} RSTs in {t}, {one per arriving segment | more than it received}.",
	on:       onRST,
	check: func(h *happening) *finding {
		if a := h.flagged("rst-storm", h.from); a != nil {
			if h.now.Sub(max(a.Time, a.Until)) > stormSpan {
				return nil
			}
			return &finding{end: h.from, mild: a.Severity == Info}
		}
		resets, received, n := 0, 0, 0
		var first *glimpse
		for g := range h.back() {
			if n++; n > maxLookBack || h.now.Sub(g.at) > stormSpan || resets > stormSize && resets <= 2*received {
				break
			}
			switch {
			case g.from != h.from && g.flags&RST == 0:
				received++
			case g.from == h.from && g.flags&RST != 0 && resets <= stormSize:
				resets++
				first = g
			}
		}
		if resets <= stormSize {
			return nil
		}
		f := &finding{end: h.from, certain: ConfidenceAssumed, evidence: []int{first.packet, h.s.Packet}}
		f.text = fmt.Sprintf("%v sent %d RSTs in %s, ", h.addr(h.from), resets, spanText(h.now.Sub(first.at)))
		if resets <= 2*received { // the capture may have each RST twice, or the network a segment
			f.cause, f.mild = "replies", true
			f.text += "one for each segment that arrived: the data was in flight when the socket closed, which is the normal form."
		} else {
			f.cause = "unprovoked"
			f.text += fmt.Sprintf("more than the %s that it can have answered: a device on the path, or a forger, repeats them.", countOf(received, "segment", "segments"))
		}
		return f
	},
}

// outlived is how long after a RST its alleged sender's next segment must come
// at least to show that it is still there. What is captured sooner may have
// been sent before the RST, and been overtaken. A RST in reply to the ACK of
// earlier data has nothing that tells its place among the segments of its host.
const (
	outlived      = 100 * time.Millisecond
	outlivedReply = time.Second
)

var dataAfterRST = Kind{
	Name:     "data-after-rst",
	Severity: Warning,
	Title:    "Endpoint speaks after its own RST",
	RFC:      "RFC 9293 §3.10.7.4",
	Sentence: "{X} kept talking {t} after \"its\" RST: the RST was not sent by {X}. {Y} took it all the same, and has lost the connection.",
	on:       onUnsettled,
	only:     isReset,
	check: func(h *happening) *finding {
		rst, ok := h.talksOn()
		if !ok {
			return nil
		}
		x := h.addr(h.from)
		return &finding{
			end:      h.from,
			certain:  ConfidenceProved,
			evidence: []int{rst.packet(), h.s.Packet},
			text: fmt.Sprintf("%v kept talking %s after \"its\" RST: the RST was not sent by %v. %v took it all the same, and has lost the connection.",
				x, spanText(h.now.Sub(rst.at)), x, h.addr(h.from.Peer())),
		}
	},
}

// talksOn reports whether the segment shows that its sender still has a
// connection that a RST in its name has ended at the peer, and returns the step
// of that RST.
func (h *happening) talksOn() (rst step, ok bool) {
	y := h.from.Peer()
	if h.s.Flags&(SYN|RST|ACK) != ACK || h.stale || h.foreign || h.old || h.keepalive || h.s.Len() == 0 || h.before.states[y] != setOf(Closed) {
		return rst, false
	}
	rst, ok = h.find(y, RcvRST)
	if !ok || h.now.Sub(rst.at) <= max(h.x().inFlight(), outlived) || !h.wasOpen(y) {
		return rst, false
	}
	n := 0
	for g := range h.back() {
		if n++; n > maxLookBack {
			break
		}
		if g.packet != rst.packet() {
			continue
		}
		if g.is&wasReply != 0 && g.id == 0 && h.now.Sub(g.at) <= outlivedReply {
			return rst, false
		}
		byID := h.s.ID != 0 && g.id-h.s.ID-1 < maxIDStep && sameWay(g.ttl, h.s.TTL) && h.now.Sub(g.at) < time.Second
		byClock := h.s.Options.HasTS && g.tsval != 0 && int32(h.s.Options.TSVal-g.tsval) < 0
		return rst, !byID && !byClock // overtaken by the RST otherwise
	}
	return rst, true
}

// wasOpen reports whether the end was in ESTABLISHED once.
func (c *Conn) wasOpen(e End) bool {
	if c.origin() == FromMidstream {
		return true
	}
	for _, st := range c.steps() {
		if st.end() == e && st.state() == Established {
			return true
		}
	}
	return false
}

var rstWithData = Kind{
	Name:     "rst-with-data",
	Severity: Info,
	Title:    "RST carries payload",
	RFC:      "RFC 9293 §3.5.3",
	Sentence: "The RST of {X} carries {n} bytes of payload, which RFC 9293 allows for diagnostic text. It is not part of the stream.",
	on:       onRST,
	check: func(h *happening) *finding {
		if h.s.Data == 0 {
			return nil
		}
		return &finding{
			end:      h.from,
			certain:  ConfidenceProved,
			evidence: []int{h.s.Packet},
			text: fmt.Sprintf("The RST of %v carries %s of payload, which RFC 9293 allows for diagnostic text. It is not part of the stream; read it in the capture for the reason.",
				h.addr(h.from), countOf(int(h.s.Data), "byte", "bytes")),
		}
	},
}
