package tracker

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An end that is not answered sends again, more and more rarely, and at last
// gives up, often without a word. A bystander can tell the reasons apart only
// by what was sent: data, probes of an idle connection, or probes of a window
// that is closed.

const (
	// A sender has given up when it had sent the same octets this often ...
	copiesOfGivingUp = 5
	// ... the pauses growing as those of a retransmission timer do, so often in a row.
	growingPauses = 2
	// Whatever it repeated, it was silent then for so many times as long as it
	// had waited at last.
	silentPauses = 2

	// Probes without an answer, before a RST and before silence.
	probesBeforeRST     = 2
	probesBeforeSilence = 3

	// stallAtLeast is how long a window must be closed to be worth a line; and
	// at least stallRTOs retransmission timeouts.
	stallAtLeast = time.Second
	stallRTOs    = 3
	// rtoAbove is what such a timeout is above the response times (200 ms in Linux).
	rtoAbove = 200 * time.Millisecond

	// What is silent for longAlone may have been forgotten by a middlebox, and
	// is tried anew with firstTries segments before that is said.
	longAlone       = time.Minute
	firstTries      = 4
	firstKeepalives = 3

	// After an ICMP error an end that goes on would have sent again by then.
	icmpSilence = 3 * time.Second
)

var retransmissionTimeout = Kind{
	Name:     "retransmission-timeout",
	Severity: Error,
	Title:    "Sender gave up",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []Cause{
		{"silent", "{X} sent the same {n octets} {copies} times in {span} without an ACK and gave up; {Y} was last heard {heard} before the last of them."},
		{"reset", "{X} sent the same {n octets} {copies} times in {span} without an ACK and gave up with a RST; {Y} was last heard {heard} before the last of them."},
	},
	Thresholds: []Threshold{
		{"copies, at least", copiesOfGivingUp, ""},
		{"pauses in a row that grow, at least", growingPauses, ""},
		{"tenths of the pause before that one has grown to, at least", grownTenths, ""},
		{"pause that need not grow", longestRTO, ""},
		silenceAfterTries,
	},
	on:   onRST | onEnd,
	only: isOdd,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		tr := h.odd.troubleOf(x)
		if tr == nil || !h.visible(x) || !h.visible(y) || h.ends[y].wnd == 0 || h.happened(x, tcp.RcvRST) {
			return nil
		}
		w := &tr.data
		if w.copies < copiesOfGivingUp || w.doublings < growingPauses || h.ends[x].una(&h.ends[y]) != w.seq {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{w.heardFrame, w.frames[0], w.frames[1]},
			values:   values{"n": w.size, "copies": w.copies, "span": w.last.Sub(w.first), "heard": max(0, w.last.Sub(h.ends[y].sentAt))},
		}
		switch {
		case h.s == nil && h.ends[x].sentAt == w.last && h.now.Sub(w.last) > silentPauses*w.gap:
			f.cause = "silent"
		case h.s != nil && h.before.rst == resetAbort && h.before.sentAt[x] == w.last:
			f.cause = "reset"
			f.evidence = append(f.evidence, h.s.Packet)
		default:
			return nil
		}
		return f
	},
}

var silenceAfterTries = Threshold{"silence, if no RST tells that {X} gave up, in times of the last pause", silentPauses, ""}

var keepaliveProbe = Kind{
	Name:     "keepalive-probe",
	Severity: Info,
	Title:    "Keepalive seen",
	RFC:      "RFC 9293 §3.8.4",
	Causes: []Cause{
		{"", "{X} probes whether {Y} is still there: the connection was idle for {span}. Keepalives are no retransmissions and carry nothing."},
	},
	Thresholds: []Threshold{{"time for which {X} was silent, at least", keepaliveRest, ""}},
	on:         onKeepalive,
	check: func(h *happening) *finding {
		x := h.from
		tr := h.odd.troubleOf(x)
		if tr == nil || tr.probes.frames[1] != h.s.Packet {
			return nil
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{h.s.Packet},
			values:   values{"span": h.now.Sub(max(h.before.sentAt[x], h.before.sentAt[x.Peer()]))},
		}
	},
}

var keepaliveTimeout = Kind{
	Name:     "keepalive-timeout",
	Severity: Error,
	Title:    "Peer stopped answering keepalives",
	RFC:      "RFC 9293 §3.8.4",
	Causes: []Cause{
		{"silent", "{Y} did not answer {n} keepalives in {span}; {X} sends nothing more. {Y}'s host is down, or the path to it is cut."},
		{"reset", "{Y} did not answer {n} keepalives in {span}; {X} dropped the connection with a RST. {Y}'s host is down, or the path to it is cut."},
	},
	Thresholds: []Threshold{
		{"keepalives before silence, at least", probesBeforeSilence, ""},
		{"keepalives before a RST, at least", probesBeforeRST, ""},
		silenceAfterTries,
	},
	on:   onRST | onEnd,
	only: isOdd,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		tr := h.odd.troubleOf(x)
		if tr == nil || !h.visible(x) || !h.visible(y) || h.happened(x, tcp.RcvRST) {
			return nil
		}
		p := &tr.probes
		if p.copies == 0 || h.ends[y].sentAt != p.heard {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{p.heardFrame, p.frames[0], p.frames[1]},
			values:   values{"n": p.copies, "span": p.last.Sub(p.first)},
		}
		switch {
		case h.s == nil && h.ends[x].sentAt == p.last && p.copies >= probesBeforeSilence && h.now.Sub(p.last) >= silentPauses*p.gap:
			f.cause = "silent"
		case h.s != nil && h.before.rst == resetAbort && h.before.sentAt[x] == p.last && p.copies >= probesBeforeRST:
			f.cause, f.values["span"] = "reset", h.now.Sub(p.first)
			f.evidence = append(f.evidence, h.s.Packet)
		default:
			return nil
		}
		return f
	},
}

// stallFrom is how long the window of the end must be closed to be a stall.
func (h *happening) stallFrom() time.Duration {
	rto := h.ends[tcp.Client].response() + h.ends[tcp.Server].response() + rtoAbove
	return max(stallAtLeast, stallRTOs*rto)
}

var stallTimes = []Threshold{
	{"time for which the window is closed, at least", stallAtLeast, ""},
	{"retransmission timeouts, if they are longer", stallRTOs, ""},
	{"such a timeout, above the response times of both ends", rtoAbove, ""},
}

var zeroWindowStall = Kind{
	Name:     "zero-window-stall",
	Severity: Warning,
	Title:    "Receiver does not read",
	RFC:      "RFC 9293 §3.8.6.1",
	Causes: []Cause{
		{"", "{X} {had} a zero window for {span} ({n probes} by {Y}): its application does not read what arrives. Look there, not at the network."},
	},
	Phrases: []Phrase{
		{"closed", "had", "has had"},
		{"reopened", "had", "had"},
	},
	Thresholds: stallTimes,
	on:         onWindow | onKeepalive | onRepeat | onBeyond | onRST | onEnd,
	only:       isOdd,
	check: func(h *happening) *finding {
		return cmp.Or(h.stalled(h.from), h.stalled(h.from.Peer()))
	},
}

// stalled reports a window of the end that is closed for too long by now, at
// the first moment that shows it.
func (h *happening) stalled(y tcp.Endpoint) *finding {
	tr := h.odd.troubleOf(y)
	if tr == nil || tr.shut.since == 0 || h.s == nil && y != h.from {
		return nil
	}
	w, limit, seenAt := &tr.shut, h.stallFrom(), tr.shut.lastTime
	over := h.now
	switch {
	case h.s == nil || h.s.Flags&tcp.RST != 0:
		if w.until != 0 || h.before.states[tcp.Client]|h.before.states[tcp.Server] == tcp.Closed.Set() || h.over(y) || h.over(y.Peer()) {
			return nil
		}
	case h.s.Packet == w.untilFrame:
		over = w.until
	case h.s.Packet == w.frames[1]:
		seenAt = w.asked
	default:
		return nil
	}
	if over.Sub(w.since) < limit || seenAt != 0 && seenAt.Sub(w.since) >= limit {
		return nil // too short, or told before
	}
	f := &finding{
		end:      y,
		certain:  ConfidenceAssumed,
		evidence: []int{w.sinceFrame, w.frames[0], w.frames[1], w.untilFrame},
		values:   values{"span": over.Sub(w.since), "n": w.probes},
	}
	if w.until != 0 {
		f.say("reopened")
	} else {
		f.say("closed")
	}
	return f
}

// over reports whether the end had no connection any more before this.
func (h *happening) over(e tcp.Endpoint) bool {
	return h.before.states[e]&^(tcp.Closed.Set()|tcp.Listen.Set()|tcp.Unknown.Set()) == 0
}

var zeroWindowAbort = Kind{
	Name:     "zero-window-abort",
	Severity: Error,
	Title:    "Persist ended in reset",
	RFC:      "RFC 9293 §3.8.6.1",
	Causes: []Cause{
		{"reset", "{X} dropped the connection with a RST: {Y} had offered a zero window for {span}, and did not read on. What {X} had left to send is lost."},
		{"silent", "{X} stopped probing: {Y} had offered a zero window for {span}, and did not read on. What {X} had left to send is lost."},
	},
	Thresholds: append([]Threshold{
		{"probes, if no RST tells that {X} gave up, at least", probesBeforeRST, ""},
		silenceAfterTries,
	}, stallTimes...),
	Supersedes: []string{"zero-window-stall"},
	on:         onRST | onEnd,
	only:       isOdd,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		tr := h.odd.troubleOf(y)
		if tr == nil || h.ends[y].wnd != 0 || tr.shut.since == 0 || tr.shut.until != 0 || h.happened(x, tcp.RcvRST) {
			return nil
		}
		w := &tr.shut
		f := &finding{end: x, certain: ConfidenceAssumed, evidence: []int{w.sinceFrame, w.frames[0], w.frames[1]}}
		over := h.now
		switch {
		case h.s != nil && h.before.rst == resetAbort:
			f.cause = "reset"
			f.evidence = append(f.evidence, h.s.Packet)
		case h.s == nil && h.visible(x) && w.probes >= probesBeforeRST && h.ends[x].sentAt == w.lastTime && h.now.Sub(w.lastTime) > silentPauses*w.gap:
			f.cause, over = "silent", w.lastTime
		default:
			return nil
		}
		if over.Sub(w.since) < h.stallFrom() {
			return nil
		}
		f.values = values{"span": over.Sub(w.since)}
		return f
	},
}

var icmpUnreachableTerminated = Kind{
	Name:     "icmp-unreachable-terminated",
	Severity: Error,
	Title:    "ICMP ended the attempt or connection",
	RFC:      "RFC 9293 §3.9.2.2, RFC 5461",
	Causes: unreachableBy("network-unreachable", "host-unreachable", "protocol-unreachable", "port-unreachable", "prohibited", "no-route", "address-unreachable",
		"unreachable"),
	Phrases: []Phrase{
		{"router", "from", "{router}"},
		{"unknown", "from", "A router"},
		{"attempt", "what", "attempt to connect"},
		{"connection", "what", "connection"},
	},
	Thresholds: []Threshold{{"time after the error in which an open connection would have gone on", icmpSilence, ""}},
	on:         onEnd,
	only:       isOdd,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		tr := h.odd.troubleOf(x)
		if tr == nil || tr.icmp.at == 0 {
			return nil
		}
		m := tr.icmp
		f := &finding{
			end:      x,
			cause:    m.Name(),
			certain:  ConfidenceAssumed,
			evidence: []int{m.frame},
			values:   values{"router": m.From, "version": m.Version(), "type": m.Type, "code": m.Code},
		}
		what := "connection"
		switch {
		case h.happened(x, tcp.Unreachable):
			what = "attempt"
			f.evidence = append(f.evidence, h.frames(x, tcp.SndSYN)...)
		case !m.Hard() || !h.visible(x) || h.ends[x].una(&h.ends[y]) == h.ends[x].nxt || h.happened(x, tcp.RcvRST) || h.happened(x, tcp.SndSYN) && !h.ends[y].seen():
			return nil // soft, or nothing is left to send
		case h.ends[x].sentAt > m.at && !(h.happened(x, tcp.SndRST) && h.ends[x].sentAt.Sub(m.at) <= icmpSilence), h.now.Sub(m.at) < icmpSilence:
			return nil // it carries on, or it is too early to say
		}
		if m.From.IsValid() {
			f.say("router")
		} else {
			f.say("unknown")
		}
		f.say(what)
		return f
	},
}

// unreachableBy are the causes by what the ICMP error says.
func unreachableBy(names ...string) (list []Cause) {
	for _, name := range names {
		list = append(list, Cause{name, "{from} reported that {Y} cannot be reached ({version} type {type} code {code}, " + name + "), and {X} gave up its {what}."})
	}
	return list
}

const forgottenText = "After {span} idle nothing passes any more: {n} tries of {X} had no answer. A NAT or firewall has forgotten the flow, or {Y} is gone; keepalives more often than its idle limit (common are 60 s to an hour) would help."

var middleboxIdleDrop = Kind{
	Name:     "middlebox-idle-drop",
	Severity: Warning,
	Title:    "Flow died after idle",
	RFC:      "RFC 5382 §5",
	Causes: []Cause{
		{"retransmissions", forgottenText},
		{"keepalives", forgottenText},
		{"reset", "After {span} idle a RST in {Y}'s name answered {X}, with a TTL of {ttl} where {Y}'s segments had {usual}: a NAT, firewall or load balancer has forgotten the flow. Keepalives more often than its idle limit would help."},
	},
	Thresholds: []Threshold{
		{"idle time, at least", longAlone, ""},
		{"copies of the same octets", firstTries, ""},
		{"keepalives", firstKeepalives, ""},
	},
	on: onRepeat | onKeepalive | onRST,
	check: func(h *happening) *finding {
		if h.s.Flags&tcp.RST != 0 {
			return h.resetAfterIdle()
		}
		x, y := h.from, h.from.Peer()
		tr := h.odd.troubleOf(x)
		if tr == nil || !h.visible(x) || !h.visible(y) || h.ends[y].wnd == 0 || h.over(y) {
			return nil
		}
		w, what := &tr.data, "retransmissions"
		switch h.s.Packet {
		case tr.data.frames[1]:
			if w.copies != firstTries {
				return nil
			}
		case tr.probes.frames[1]:
			if w, what = &tr.probes, "keepalives"; w.copies != firstKeepalives {
				return nil
			}
		default:
			return nil
		}
		idle := w.first.Sub(w.heard)
		if h.ends[y].sentAt != w.heard || idle < longAlone {
			return nil
		}
		return &finding{
			end:      x,
			cause:    what,
			certain:  ConfidenceAmbiguous,
			evidence: []int{w.heardFrame, w.frames[0], w.frames[1]},
			values:   values{"span": idle, "n": w.copies},
		}
	},
}

// idleReset returns the segment that the RST answers, if a long silence was
// before it and the RST came another way than its alleged sender's segments:
// something between the ends made it.
func (h *happening) idleReset() (asked *glimpse, idle time.Duration) {
	x, y := h.from, h.from.Peer()
	if !h.ends[x].seen() || h.before.sentAt[x] == 0 || h.over(x) || h.over(y) || sameWay(h.s.TTL, h.ends[x].ttl) {
		return nil, 0
	}
	n := 0
	for g := range h.back() {
		if n++; n == 1 {
			continue
		}
		if g.from != y || n > lookBack {
			break
		}
		if g.data > 0 || g.flags&tcp.FIN != 0 || g.is&wasKeepalive != 0 {
			asked = g // the first of those that asked for an answer
		}
	}
	if asked != nil {
		idle = asked.at.Sub(h.before.sentAt[x])
	}
	if idle < longAlone {
		return nil, 0
	}
	return asked, idle
}

// resetAfterIdle reports a RST by a middlebox that has forgotten the flow.
func (h *happening) resetAfterIdle() *finding {
	x, y := h.from, h.from.Peer()
	asked, idle := h.idleReset()
	if asked == nil {
		return nil
	}
	return &finding{
		end:      y,
		cause:    "reset",
		certain:  ConfidenceAmbiguous,
		evidence: []int{asked.packet, h.s.Packet},
		values:   values{"span": idle, "ttl": h.s.TTL, "usual": h.ends[x].ttl},
	}
}
