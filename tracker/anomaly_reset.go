package tracker

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What can be wrong with a RST: who made it, and whether its receiver has
// reason to act on it.

var challengeAck = Kind{
	Name:     "challenge-ack",
	Severity: Notice,
	Title:    "ACK sent to verify a suspicious SYN, RST or ACK",
	RFC:      "RFC 5961 §3, §4, §5",
	Causes: []Cause{
		{"rst", "{X} doubted a RST with seq {seq}, which is in its window but not the next number, {next}, and asked {Y} to confirm it (challenge ACK)."},
		{"rst-overtook-data", "{X} doubted a RST with seq {seq}, which came ahead of data that it still misses from {next}, and asked {Y} to confirm it (challenge ACK)."},
		{"syn", "{X} doubted a SYN in the open connection and asked {Y} to confirm it (challenge ACK)."},
		{"ack", "{X} doubted an ACK of {ack}, up to which it had not sent, and asked {Y} to confirm it (challenge ACK)."},
	},
	Phrases: []Phrase{
		{"confirmed", "", " {Y} confirmed with a RST that fits: it has left the connection."},
		{"went-on", "", " {Y} went on as before: the doubted segment was not from it, or old."},
		{"another-rst", "", " Another RST followed that fits no better."},
		{"silent", "", " {Y} said nothing more."},
	},
	on:   onDoubt | onRST | onEnd,
	only: isOdd,
	check: func(h *happening) *finding {
		d := h.pending()
		if d == nil || d.challenge == 0 || !h.settles(d) {
			return nil
		}
		f := &finding{end: d.into, certain: ConfidenceAssumed, evidence: []int{d.packet, d.challenge}}
		switch d.what {
		case doubtedRST:
			f.cause, f.values = "rst", values{"seq": d.number, "next": d.next}
		case doubtedAbort:
			f.cause, f.values = "rst-overtook-data", values{"seq": d.number, "next": d.next}
		case doubtedSYN:
			f.cause = "syn"
		case doubtedAck:
			if !h.ends[d.into].nxt.Before(d.number) {
				return nil // it had sent that: the capture has it late, or not at all
			}
			f.cause, f.values = "ack", values{"ack": d.number}
		}
		switch {
		case h.s == nil:
			f.say("silent")
		case h.s.Flags&tcp.RST == 0:
			f.say("went-on")
		case h.before.accepted || h.before.rst == resetReply:
			f.say("confirmed")
		default:
			f.say("another-rst")
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
	Causes: []Cause{
		{"", "A RST in the name of {Y} has seq {seq}, which hits {X}'s window ({next}..{edge}) but not its start."},
	},
	Phrases: []Phrase{
		{"silent", "", " It is a guess, or {Y}'s own, ahead of data that was lost; {Y} said nothing more. A stack that follows RFC 5961 ignores it, an older one drops the connection."},
		{"another-rst", "", " Another RST follows with a number that fits no better: somebody is guessing."},
		{"went-on", "", " {Y} goes on as before, so it did not send it: somebody is guessing."},
		{"attack", "", " {n} RSTs with different numbers were seen: this is an attack on the connection."},
	},
	Thresholds: []Threshold{{"RSTs with different numbers that are an attack", guessesOfAttack, ""}},
	Moves: []SeverityMove{
		{"may-be-own", Info, "if {Y} said nothing more and the RST came as far as its other segments"},
		{"attack", Error, "if so many RSTs with different numbers were seen that it is an attack"},
	},
	on:   onDoubt | onRST | onEnd,
	only: isOdd,
	check: func(h *happening) *finding {
		d := h.pending()
		if d == nil || d.what != doubtedRST || !h.settles(d) || h.ends[d.into.Peer()].has(lossy) {
			return nil
		}
		f := &finding{
			end:      d.into,
			certain:  ConfidenceAssumed,
			evidence: []int{d.packet, d.challenge},
			values:   values{"seq": d.number, "next": d.next, "edge": d.edge, "n": d.guesses},
		}
		switch {
		case h.s == nil:
			f.certain = ConfidenceAmbiguous
			if sameWay(d.ttl, h.ends[d.into.Peer()].ttl) {
				f.move = "may-be-own"
			}
			f.say("silent")
		case h.s.Flags&tcp.RST != 0 && (h.before.accepted || h.before.rst != resetUnmatched || h.s.Seq == d.number):
			return nil // the sender confirms it, or repeats itself: its RST overtook data
		case h.s.Flags&tcp.RST != 0:
			f.say("another-rst")
		default:
			f.say("went-on")
		}
		if h.s != nil {
			f.evidence = append(f.evidence, h.s.Packet)
		}
		if d.guesses >= guessesOfAttack {
			f.move = cmp.Or(f.move, "attack")
			f.say("attack")
		}
		return f
	},
}

var rstOutOfWindow = Kind{
	Name:     "rst-out-of-window",
	Severity: Notice,
	Title:    "RST the receiver ignores",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"", "A RST in the name of {Y} has seq {seq}, which is outside {X}'s window ({next}..{edge}); {X} ignores it. It is a blind guess, or left over from something older; the connection goes on."},
		{"reply-to-old-segment", "A RST in the name of {Y} has seq {seq}, which is outside {X}'s window ({next}..{edge}); {X} ignores it. It answers a segment that is older than what was acknowledged since."},
	},
	Moves: []SeverityMove{{"reply", Info, "if it answers an old segment"}},
	on:    onRST,
	check: func(h *happening) *finding {
		if !h.outOfWindow() {
			return nil
		}
		to := &h.ends[h.from.Peer()]
		f := &finding{
			end:      h.from.Peer(),
			certain:  ConfidenceAssumed,
			evidence: []int{h.s.Packet},
			values:   values{"seq": h.s.Seq, "next": to.acked, "edge": to.edge},
		}
		if h.before.rst == resetReply {
			f.cause, f.move = "reply-to-old-segment", "reply"
		}
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
	Causes: []Cause{
		{"", "A RST in the name of {Y} acknowledges {what}, where the SYN of {X} has seq {seq}; a conforming client ignores it and goes on trying. It is forged, or meant for an older connection."},
	},
	Phrases: []Phrase{
		{"nothing", "what", "nothing"},
		{"wrong-number", "what", "{ack}"},
	},
	on: onRST,
	check: func(h *happening) *finding {
		x := h.from.Peer()
		if h.before.accepted || h.before.states[x] != tcp.SynSent.Set() || !h.ends[x].seen() {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(h.frames(x, tcp.SndSYN), h.s.Packet),
			values:   values{"seq": h.ends[x].iss, "ack": h.s.Ack},
		}
		if h.s.Flags&tcp.ACK == 0 {
			f.say("nothing")
		} else {
			f.say("wrong-number")
		}
		return f
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
	Causes: []Cause{
		{"seq", "A RST in the name of {X} has seq {seq}; its next number was {next} and no recent ACK to it said {seq}. Either packets are missing from the capture, or a third party sent it."},
		{"ack", "A RST in the name of {X} acknowledges {ack}, but it had received up to {received} and was sent up to {sent}. Either packets are missing from the capture, or a third party sent it."},
	},
	on: onRST,
	check: func(h *happening) *finding {
		x, y := h.x(), h.y()
		to := h.from.Peer()
		state := h.before.states[to]
		if h.before.rst != resetUnmatched || !x.seen() || h.before.sentAt[h.from] == 0 || !y.seen() || x.has(lossy) || y.has(lossy) || h.numberOfFIN() ||
			!synchronized(state) && state != tcp.SynReceived.Set() {
			return nil
		}
		if h.outOfWindow() || !h.before.accepted && h.inWindow(h.s.Seq, to) {
			return nil // told better by other kinds
		}
		f := &finding{end: h.from, certain: ConfidenceAmbiguous, evidence: []int{h.s.Packet}}
		switch {
		case h.s.Seq != x.nxt:
			f.cause, f.values = "seq", values{"seq": h.s.Seq, "next": x.nxt}
		case h.s.Flags&tcp.ACK != 0 && !(x.acked.AtMost(h.s.Ack) && h.s.Ack.AtMost(y.nxt)):
			f.cause, f.values = "ack", values{"ack": h.s.Ack, "received": x.acked, "sent": y.nxt}
		default:
			return nil // the numbers fit; what does not is told by forged-rst
		}
		n, cited := 0, 0
		for g := range h.back() {
			if n++; n > maxLookBack || cited == acksCited {
				break
			}
			if g.from != h.from && g.flags&(tcp.ACK|tcp.RST) == tcp.ACK {
				f.evidence = append(f.evidence, g.packet)
				cited++
			}
		}
		return f
	},
}

// A storm is more than stormSize RSTs of one end within stormSpan. Up to
// stormReplies of them answer each segment that arrived: the capture may have a
// RST twice, or the network a segment.
const (
	stormSize    = 10
	stormSpan    = time.Second
	stormReplies = 2
)

var rstStorm = Kind{
	Name:     "rst-storm",
	Severity: Warning,
	Title:    "Many RSTs",
	RFC:      "RFC 2525 §2.16",
	Causes: []Cause{
		{"replies", "{X} sent {n} RSTs in {span}, one for each segment that arrived: the data was in flight when the socket closed, which is the normal form."},
		{"unprovoked", "{X} sent {n} RSTs in {span}, more than the {received segments} that it can have answered: a device on the path, or a forger, repeats them."},
	},
	Thresholds: []Threshold{
		{"RSTs of one end, at most", stormSize, ""},
		{"time in which they are counted", stormSpan, ""},
		{"RSTs for each segment that arrived, at most", stormReplies, ""},
	},
	Moves: []SeverityMove{{"replies", Info, "if the RSTs answer segments that arrived"}},
	on:    onRST,
	check: func(h *happening) *finding {
		if a := h.flagged("rst-storm", h.from); a != nil {
			if h.now.Sub(max(a.Time, a.Until)) > stormSpan {
				return nil
			}
			f := &finding{end: h.from} // it is counted only
			if a.Severity == Info {
				f.move = "replies"
			}
			return f
		}
		resets, received, n := 0, 0, 0
		var first *glimpse
		for g := range h.back() {
			if n++; n > maxLookBack || h.now.Sub(g.at) > stormSpan || resets > stormSize && resets <= stormReplies*received {
				break
			}
			switch {
			case g.from != h.from && g.flags&tcp.RST == 0:
				received++
			case g.from == h.from && g.flags&tcp.RST != 0 && resets <= stormSize:
				resets++
				first = g
			}
		}
		if resets <= stormSize {
			return nil
		}
		f := &finding{end: h.from, certain: ConfidenceAssumed, evidence: []int{first.packet, h.s.Packet}}
		if f.cause = "unprovoked"; resets <= stormReplies*received {
			f.cause, f.move = "replies", "replies"
		}
		f.values = values{"n": resets, "span": h.now.Sub(first.at), "received": received}
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
	Causes: []Cause{
		{"", "{X} kept talking {span} after \"its\" RST: the RST was not sent by {X}. {Y} took it all the same, and has lost the connection."},
	},
	Thresholds: []Threshold{
		{"time after the RST, if the response time of {X} is not longer", outlived, ""},
		{"time after a RST that bears no mark of its sender", outlivedReply, ""},
	},
	on:   onUnsettled,
	only: isReset,
	check: func(h *happening) *finding {
		rst, ok := h.talksOn()
		if !ok {
			return nil
		}
		return &finding{
			end:      h.from,
			certain:  ConfidenceProved,
			evidence: []int{rst.packet(), h.s.Packet},
			values:   values{"span": h.now.Sub(rst.at)},
		}
	},
}

// talksOn reports whether the segment shows that its sender still has a
// connection that a RST in its name has ended at the peer, and returns the step
// of that RST.
func (h *happening) talksOn() (rst step, ok bool) {
	y := h.from.Peer()
	if h.s.Flags&(tcp.SYN|tcp.RST|tcp.ACK) != tcp.ACK || h.stale || h.foreign || h.old || h.keepalive || h.s.Len() == 0 || h.before.states[y] != tcp.Closed.Set() {
		return rst, false
	}
	rst, ok = h.find(y, tcp.RcvRST)
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

var rstWithData = Kind{
	Name:     "rst-with-data",
	Severity: Info,
	Title:    "RST carries payload",
	RFC:      "RFC 9293 §3.5.3",
	Causes: []Cause{
		{"", "The RST of {X} carries {n bytes} of payload, which RFC 9293 allows for diagnostic text. It is not part of the stream; read it in the capture for the reason."},
	},
	on: onRST,
	check: func(h *happening) *finding {
		if h.s.Data == 0 {
			return nil
		}
		return &finding{
			end:      h.from,
			certain:  ConfidenceProved,
			evidence: []int{h.s.Packet},
			values:   values{"n": h.s.Data},
		}
	},
}
