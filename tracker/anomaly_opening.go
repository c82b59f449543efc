package tracker

import (
	"iter"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What goes wrong while a connection opens. Each check is asked for a handful
// of segments, SYNs and what answers them, and finds the others of the
// handshake in the trail.

const (
	// A handshake's segments are looked for among this many of the
	// connection's newest.
	handshakeDepth = 64

	// Nothing repeats a SYN sooner: Linux does after some 10 ms, if a wrong
	// answer came.
	soonestRepeat = 5 * time.Millisecond

	// An attempt that a new one from the same port follows this soon was not
	// waited for.
	briefAttempt = time.Second

	// SYNs without an answer, by which an attempt that the capture does not see
	// the end of counts as failed.
	synsAtEnd = 3

	// SYN+ACKs that show a server to have waited: one is sent by any.
	synAcksStuck = 2

	// The ACK of a handshake may cross a SYN+ACK that is repeated.
	ackCrosses = 50 * time.Millisecond

	// An end that repeats its SYN+ACK after this many ACKs of it, sent at
	// different times, does not act on them. One is a loss, and two may be,
	// where the way from the capture point to the end is long.
	ignoredAcks     = 3
	ignoredAcksNear = 2

	// An end that answers this soon is the host of the capture: nothing is lost
	// between the two.
	nearEnd = 500 * time.Microsecond
)

var connectionRefused = Kind{
	Name:     "connection-refused",
	Severity: Warning,
	Title:    "SYN answered by RST",
	RFC:      "RFC 9293 §3.5.2, §3.10.7.3",
	Causes:   []Cause{{"", "{Y.ip} has nothing listening on port {Y.port} (or a firewall answered): RST to the SYN {soon}."}},
	on:       onRST,
	check: func(h *happening) *finding {
		x := h.from.Peer()
		if !h.before.accepted || h.before.states[x] != tcp.SynSent.Set() {
			return nil
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: append(h.frames(x, tcp.SndSYN), h.s.Packet),
			values:   values{"soon": soon(h.now.Sub(h.before.sentAt[x]))},
		}
	},
}

var synRetransmitted = Kind{
	Name:     "syn-retransmitted",
	Severity: Notice,
	Title:    "SYN sent again",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []Cause{
		{"no-answer", "{X} sent its SYN again after {span}: no answer had been seen. One lost SYN or SYN+ACK is harmless; many mean a full listen queue, a firewall, or a host that is down."},
		{"answer-refused", "{X} sent its SYN again after {span}: {why}"},
		{"answer-not-received", "{X} sent its SYN again after {span}: the answer was captured but had not reached it by then. It was lost or delayed behind the capture point."},
	},
	Phrases: []Phrase{
		{"ack-of-older", "why", "the first was answered with an ACK of an older connection, which it refused with RST."},
		{"ack-of-unsent", "why", "the answer to the first acknowledged something that it had not sent, and so was none."},
	},
	Thresholds: []Threshold{{"time before the copy, if it has no mark of its own, at least", soonestRepeat, ""}},
	on:         onSYN,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.ends[x].copies < 2 {
			return nil
		}
		sent, again := h.lastSent(x, tcp.SYN)
		waits := h.ends[x].assumed == tcp.SynSent.Set() ||
			h.ends[x].proved == tcp.SynSent.Set() && h.ends[x].assumed == up // the answer is on its way to it
		if !again || !waits || h.s.Seq != h.ends[x].iss || h.isCopyOf(sent) {
			return nil
		}
		f := &finding{
			end:      x,
			cause:    "no-answer",
			certain:  ConfidenceAssumed,
			evidence: h.framesOf(x, tcp.SYN),
			values:   values{"span": h.now.Sub(sent.at)},
		}
		answer, answered := h.lastSent(y, tcp.SYN|tcp.ACK)
		switch {
		case h.refusedSince(sent.at):
			f.cause = "answer-refused"
			f.say("ack-of-older")
		case !answered:
		case !h.acceptableTo(x, answer):
			f.cause = "answer-refused"
			f.evidence = append(f.evidence, answer.packet)
			f.say("ack-of-unsent")
		default:
			f.cause = "answer-not-received"
			f.evidence = append(f.evidence, answer.packet)
		}
		return f
	},
}

var synTimeout = Kind{
	Name:     "syn-timeout",
	Severity: Error,
	Title:    "Connection attempt got no answer",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []Cause{
		{"", "Nothing answered {what} from {X} to {Y} in {span}: a firewall drops them, the host is down, or its listen queue is full. By default {X.ip}'s stack gives up after about {limit}."},
	},
	Phrases: []Phrase{
		{"one", "what", "the SYN"},
		{"several", "what", "{n} SYNs"},
		{"early", "", " Here it is set to fewer tries, or the program gave up, or the capture ended first."},
	},
	Thresholds: []Threshold{
		{"time that the stack of {X} tries", tcp.StackLinux.Stack().SynGiveUp, "stack"},
		{"SYNs, if the capture ends first, at least", synsAtEnd, ""},
		{"time after one SYN, if a new attempt follows, at least", briefAttempt, ""},
	},
	Supersedes: []string{"syn-retransmitted"},
	on:         onTimer | onEnd,
	only:       wasCalling,
	check: func(h *happening) *finding {
		x := h.x()
		if h.before.states[h.from] != tcp.SynSent.Set() || h.y().seen() || !x.seen() {
			return nil
		}
		first, ok := h.find(h.from, tcp.SndSYN)
		if !ok || h.on&onEnd != 0 && x.copies < synsAtEnd {
			return nil
		}
		waited := h.now.Sub(first.at)
		if h.newer() != nil && x.copies < 2 && waited < briefAttempt {
			return nil
		}
		f := &finding{
			end:      h.from,
			certain:  ConfidenceAssumed,
			evidence: append(h.framesOf(h.from, tcp.SYN), first.packet()),
			values:   values{"n": x.copies, "span": waited, "limit": x.stack().SynGiveUp},
		}
		if x.copies > 1 {
			f.say("several")
		} else {
			f.say("one")
		}
		if waited < x.stack().SynGiveUp/2 {
			f.say("early")
		}
		return f
	},
}

var synAckRetransmitted = Kind{
	Name:     "syn-ack-retransmitted",
	Severity: Notice,
	Title:    "SYN+ACK sent again",
	RFC:      "RFC 9293 §3.10.8",
	Causes: []Cause{
		{"no-ack", "{X} sent its SYN+ACK again after {span}: no ACK of it was seen. The SYN+ACK or the ACK was lost, or {Y} is not there or did not ask."},
		{"duplicate-syn", "{X} sent its SYN+ACK again after {span}: {Y} had repeated its SYN, and this answers it."},
		{"ack-not-received", "{X} sent its SYN+ACK again after {span}: {Y}'s ACK of the first was captured but had not reached it by then. It was lost or delayed behind the capture point, or {X} does not act on it."},
	},
	Thresholds: []Threshold{{"time before the copy, if it has no mark of its own, at least", soonestRepeat, ""}},
	on:         onSYNACK,
	check: func(h *happening) *finding {
		x, y := h.from.Peer(), h.from
		if h.ends[y].copies < 2 {
			return nil
		}
		sent, again := h.lastSent(y, tcp.SYN|tcp.ACK)
		if !again || sent.seq != h.s.Seq || h.isCopyOf(sent) {
			return nil
		}
		f := &finding{
			end:      y,
			cause:    "no-ack",
			certain:  ConfidenceAssumed,
			evidence: h.framesOf(y, tcp.SYN|tcp.ACK),
			values:   values{"span": h.now.Sub(sent.at)},
		}
		ack, acked := h.ackOf(sent)
		switch {
		case h.countOf(x, tcp.SYN) > h.countOf(y, tcp.SYN|tcp.ACK):
			f.cause = "duplicate-syn"
			f.evidence = append(f.evidence, h.framesOf(x, tcp.SYN)...)
		case acked:
			f.cause = "ack-not-received"
			f.evidence = append(f.evidence, ack.packet)
		}
		return f
	},
}

// A server that answers with SYN cookies keeps nothing, and repeats nothing of
// its own accord. One that has an unfinished connection repeats its SYN+ACK
// without being asked by a SYN, and only that shows that it waited.
var synRcvdStuck = Kind{
	Name:     "syn-rcvd-stuck",
	Severity: Warning,
	Title:    "Half-open server side ran out of retries",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []Cause{
		{"", "{X} sent its SYN+ACK {n} times and waited {span} in SYN_RCVD; {Y} never completed the handshake. It has gone, its ACKs are lost on the way, or somebody else sent the SYN in its name."},
	},
	Thresholds: []Threshold{
		{"time after the last SYN+ACK, by the stack of {X}", tcp.StackLinux.Stack().SynAckGiveUp, "stack"},
		{"SYN+ACKs, and more than there were SYNs, at least", synAcksStuck, ""},
	},
	Supersedes: []string{"syn-ack-retransmitted"},
	on:         onTimer,
	check: func(h *happening) *finding {
		x, y := h.from.Peer(), h.from
		in := tcp.SynReceived.Set()
		if h.before.states[y] != in || h.before.proved[y] != in || h.ends[x].has(hasAcked) || !h.visible(x) {
			return nil
		}
		syns, synAcks := h.countOf(x, tcp.SYN), h.countOf(y, tcp.SYN|tcp.ACK)
		first, ok := h.find(y, tcp.RcvSYN)
		if !ok || synAcks < synAcksStuck || synAcks <= syns {
			return nil
		}
		return &finding{
			end:      y,
			certain:  ConfidenceAssumed,
			evidence: append(h.framesOf(y, tcp.SYN|tcp.ACK), h.framesOf(x, tcp.SYN)...),
			values:   values{"n": synAcks, "span": h.now.Sub(first.at)},
		}
	},
}

const stalledText = "{X} repeats its SYN+ACK {span} after the first of {n} ACKs of it: its accept queue is full (Linux then drops the ACK silently), it waits for data (TCP_DEFER_ACCEPT), or everything is lost behind the capture point. " +
	"See whether the application still accepts, and how long its listen queue is."

var acceptStalled = Kind{
	Name:     "accept-stalled",
	Severity: Warning,
	Title:    "Handshake ACK was captured but the server keeps sending SYN+ACK",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"ack-ignored", stalledText},
		{"data-ignored", stalledText},
	},
	Thresholds: []Threshold{
		{"ACKs of the SYN+ACK, sent at different times, at least", ignoredAcks, ""},
		{"the same, if {X} is the host of the capture", ignoredAcksNear, ""},
		{"response time of a host of the capture, at most", nearEnd, ""},
		{"time since these ACKs, if twice the response time is not longer", ackCrosses, ""},
		{"time before the copy, if it has no mark of its own, at least", soonestRepeat, ""},
	},
	Supersedes: []string{"syn-ack-retransmitted"},
	on:         onSYNACK,
	check: func(h *happening) *finding {
		y := h.from
		if h.ends[y].copies < 2 {
			return nil
		}
		sent, again := h.lastSent(y, tcp.SYN|tcp.ACK)
		if !again || sent.seq != h.s.Seq || h.isCopyOf(sent) {
			return nil
		}
		hold := max(2*h.ends[y].response(), ackCrosses)
		least := ignoredAcks
		if h.ends[y].response() <= nearEnd {
			least = ignoredAcksNear
		}
		f := &finding{end: y, certain: ConfidenceAmbiguous, cause: "ack-ignored", evidence: append(h.framesOf(y, tcp.SYN|tcp.ACK), h.s.Packet)}
		var first tcp.Time
		acks, next := 0, h.now.Add(-hold)
		for g := range h.handshake() {
			if g.from == y || !g.acksFrom(h.s.Seq) || g.at > h.now.Add(-hold) {
				continue
			}
			if g.data > 0 && g.is&wasOld != 0 {
				f.cause = "data-ignored"
			}
			f.evidence = append(f.evidence, g.packet)
			first = g.at
			if g.at <= next { // else it went along with the ACK counted before
				next = g.at.Add(-ackCrosses)
				acks++
			}
		}
		if acks < least {
			return nil
		}
		f.values = values{"span": h.now.Sub(first), "n": acks}
		return f
	},
}

var synRcvdReset = Kind{
	Name:     "syn-rcvd-reset",
	Severity: Notice,
	Title:    "RST during the handshake",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"aborted", "{X} gave up the connection that it had begun to open: RST to the SYN+ACK of {Y} {soon}."},
		{"no-connection", "{X} answered the SYN+ACK of {Y} with RST {soon}: it had abandoned the attempt, or scans without opening, or no longer remembers the SYN, or never sent it."},
	},
	on: onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if !h.before.accepted || h.before.states[y] != tcp.SynReceived.Set() || h.ends[x].has(hasAcked) || h.origin() != tcp.FromSYN {
			return nil
		}
		synAck, answered := h.lastSent(y, tcp.SYN|tcp.ACK)
		if _, old := h.rejectsOldSYN(); old || !answered || !h.ends[x].has(sentSYN) {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			cause:    "aborted",
			evidence: append(h.framesOf(x, tcp.SYN), synAck.packet, h.s.Packet),
			values:   values{"soon": soon(h.now.Sub(synAck.at))},
		}
		if h.before.rst == resetReply {
			f.cause, f.certain = "no-connection", ConfidenceAmbiguous
		}
		return f
	},
}

var tfoSYNData = Kind{
	Name:     "tfo-syn-data",
	Severity: Info,
	Title:    "Data on the SYN",
	RFC:      "RFC 7413 §2, RFC 9293 §3.10.7.3",
	Causes: []Cause{
		{"accepted", "{n octets} rode on the SYN of {X}: {Y} accepted them, a round trip early."},
		{"ignored", "{n octets} rode on the SYN of {X}: {Y} ignored them, and they must be sent again."},
		{"partial", "{n octets} rode on the SYN of {X}: {Y} accepted the first {taken} of them, and the rest must be sent again."},
		{"sent-without", "{n octets} rode on the SYN of {X}: the SYN was sent again without them. They were dropped together, or lost."},
	},
	on:   onSYN | onSYNACK,
	only: isOdd,
	check: func(h *happening) *finding {
		x := h.from
		if h.on&onSYNACK != 0 {
			x = x.Peer()
		}
		if h.odd == nil || h.odd.synData[x] == 0 {
			return nil
		}
		syn, ok := h.lastSent(x, tcp.SYN)
		if !ok || syn.data == 0 { // told when the SYN came without them
			return nil
		}
		f := &finding{end: x, evidence: []int{syn.packet, h.s.Packet}, values: values{"n": syn.data}}
		if h.on&onSYN != 0 {
			if h.s.Data > 0 || h.s.Seq != syn.seq {
				return nil
			}
			f.cause, f.certain = "sent-without", ConfidenceAmbiguous
			return f
		}
		if _, again := h.lastSent(h.from, tcp.SYN|tcp.ACK); again || !h.s.Ack.In(syn.seq+1, syn.end()+1) {
			return nil
		}
		switch taken := h.s.Ack.Minus(syn.seq + 1); taken {
		case syn.data:
			f.cause = "accepted"
		case 0:
			f.cause = "ignored"
		default:
			f.cause, f.values["taken"] = "partial", taken
		}
		return f
	},
}

// A FIN behind the ACK of the handshake finds the server in ESTABLISHED if that
// arrived, and is the ordinary end of a connection that carried nothing. It is
// told only where no such ACK was seen before it.
var handshakeFIN = Kind{
	Name:     "handshake-fin",
	Severity: Info,
	Title:    "FIN before the server saw ESTABLISHED",
	RFC:      "RFC 9293 §3.10.4, §3.10.7.4",
	Causes: []Cause{
		{"instead-of-ack", "{X} closed before the handshake had settled: its FIN was the first that {Y} saw of its ACK."},
		{"in-syn-rcvd", "{X} closed before the handshake had settled: it sent FIN before it had an ACK of its SYN+ACK."},
	},
	on: onFIN,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		cause := "instead-of-ack"
		switch in := tcp.SynReceived.Set(); {
		case h.s.Flags&tcp.SYN != 0 || h.stale || h.foreign:
			return nil
		case h.before.states[y] == in && h.ends[y].has(sentSYNACK):
		case h.before.states[x] == in && h.ends[x].has(sentSYNACK):
			cause, y = "in-syn-rcvd", x
		default:
			return nil
		}
		return &finding{end: x, cause: cause, certain: ConfidenceAssumed, evidence: append(h.framesOf(y, tcp.SYN|tcp.ACK), h.s.Packet)}
	},
}

// handshake yields the connection's segments before the one that happens, the
// newest first, as far back as a handshake is looked for.
func (h *happening) handshake() iter.Seq[*glimpse] {
	return func(yield func(*glimpse) bool) {
		n := 0
		for g := range h.back() {
			if h.s != nil && g.packet == h.s.Packet {
				continue
			}
			if n++; n > handshakeDepth || !yield(g) {
				return
			}
		}
	}
}

// lastSent returns the newest earlier segment of the end that has exactly
// these of the SYN and ACK bits.
func (h *happening) lastSent(e tcp.Endpoint, flags tcp.Flags) (glimpse, bool) {
	for g := range h.handshake() {
		if g.from == e && g.opens(flags) {
			return *g, true
		}
	}
	return glimpse{}, false
}

// refusedSince reports whether the sender of the segment answered its peer with
// RST, in the connection before this one, later than the given time.
func (h *happening) refusedSince(at tcp.Time) bool {
	old := h.Conn.older()
	if old == nil {
		return false
	}
	n := 0
	for g := range h.m.trail.back(old) {
		if n++; g.at <= at || n > handshakeDepth {
			return false
		}
		if g.is&wasReply != 0 && old.addr(g.from) == h.addr(h.from) {
			return true
		}
	}
	return false
}

// framesOf returns the frames of all the end's segments with exactly these of
// the SYN and ACK bits, and of the one that happens if it is a SYN.
func (h *happening) framesOf(e tcp.Endpoint, flags tcp.Flags) (frames []int) {
	for g := range h.handshake() {
		if g.from == e && g.opens(flags) {
			frames = append(frames, g.packet)
		}
	}
	if h.s != nil && h.s.Flags&tcp.SYN != 0 {
		frames = append(frames, h.s.Packet)
	}
	return frames
}

// countOf counts the end's earlier segments with exactly these of the SYN and
// ACK bits.
func (h *happening) countOf(e tcp.Endpoint, flags tcp.Flags) (n int) {
	for g := range h.handshake() {
		if g.from == e && g.opens(flags) {
			n++
		}
	}
	return n
}

// isCopyOf reports whether the segment is one that the network made of g. A
// stack that repeats a SYN gives it a new IP identification or a newer
// timestamp; where it counts neither, only the pause tells.
func (h *happening) isCopyOf(g glimpse) bool {
	if h.s.ID != g.id || h.s.Options.TSVal != g.tsval {
		return false
	}
	return h.s.ID != 0 || h.s.Options.HasTS || h.now.Sub(g.at) < soonestRepeat
}

// acceptableTo reports whether the end's SYN is what g acknowledges.
func (h *happening) acceptableTo(e tcp.Endpoint, g glimpse) bool {
	x := &h.ends[e]
	return x.iss.Before(g.ack) && g.ack.AtMost(x.nxt)
}

// ackOf returns the oldest segment that acknowledges the SYN+ACK and came
// between it and what happens.
func (h *happening) ackOf(synAck glimpse) (ack glimpse, found bool) {
	for g := range h.handshake() {
		if g.packet == synAck.packet {
			break
		}
		if g.from != synAck.from && g.acksFrom(synAck.seq) {
			ack, found = *g, true
		}
	}
	return ack, found
}
