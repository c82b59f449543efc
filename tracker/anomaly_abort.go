package tracker

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Connections that end, or whose close ends, in a RST. Who made the RST is told
// by its numbers (reset.go); what made its sender do so, by what went before.

// beforeFIN are the states of an open connection whose end has not closed yet.
var beforeFIN = tcp.SynReceived.Set() | tcp.Established.Set() | tcp.CloseWait.Set()

const abortedText = "{X} aborted the connection with RST instead of closing it with FIN: SO_LINGER with a time of 0, a close() with received bytes unread, or the policy of a firewall.{sent} Neither end keeps TIME_WAIT."

var lingerZeroAbort = Kind{
	Name:     "linger-zero-abort",
	Severity: Notice,
	Title:    "Closed with RST instead of FIN",
	RFC:      "RFC 9293 §3.6, §3.10.5",
	Causes: []Cause{
		{"clean", abortedText},
		{"unacked", abortedText},
	},
	Phrases: []Phrase{
		{"lost", "sent", " {n bytes} that it had sent were not acknowledged and may be lost."},
		{"nothing", "sent", " It had sent no data."},
		{"all-acked", "sent", " All that it had sent was acknowledged."},
	},
	Thresholds: triesInVain,
	Moves:      []SeverityMove{{"unacked", Warning, "if octets that {X} had sent were not acknowledged"}},
	on:         onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.s.Flags&tcp.SYN != 0 || !h.abortsOpen() || h.triedInVain(x) {
			return nil
		}
		if _, certain := h.unreadBy(x); certain {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  h.abortCertainty(),
			cause:    "clean",
			evidence: append(h.lastDataOf(x), h.s.Packet),
		}
		if n := h.unackedOf(x); n > 0 {
			f.cause, f.move, f.values = "unacked", "unacked", values{"n": n}
			f.say("lost")
		} else if e := &h.ends[x]; e.has(hasISS) && e.nxt == e.iss+1 {
			f.say("nothing")
		} else if h.visible(y) {
			f.say("all-acked")
		}
		return f
	},
}

var closeWithUnreadData = Kind{
	Name:     "close-with-unread-data",
	Severity: Warning,
	Title:    "Closed with received data unread",
	RFC:      "RFC 9293 §3.6.1, RFC 2525 §2.17",
	Causes: []Cause{
		{"window-zero", "{X} closed with {what} unread (its window was closed) and so sent RST instead of FIN. {Y} may lose even what {X} had sent it before; a program should read to the end of the stream before it closes."},
		{"window-stood-still", "{X} closed with {what} unread (its window had not moved while it acknowledged them) and so sent RST instead of FIN. {Y} may lose even what {X} had sent it before; a program should read to the end of the stream before it closes."},
	},
	Phrases: []Phrase{
		{"counted", "what", "{n received bytes}"},
		{"uncounted", "what", "received bytes"},
	},
	Thresholds: append([]Threshold{
		{"full segments acknowledged while the edge of the window stood still, at least", unreadSegments, ""},
		{"size of a full segment, where no MSS was captured", unknownMSS, ""},
		{"time that the edge stood still, at least", unreadFor, ""},
	}, triesInVain...),
	on: onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if !h.abortsOpen() || h.triedInVain(x) {
			return nil
		}
		n, enough := h.unreadBy(x)
		if !enough {
			return nil
		}
		f := &finding{
			end:      x,
			cause:    "window-stood-still",
			certain:  ConfidenceAmbiguous,
			evidence: append(append(h.lastDataOf(y), h.lastAckOf(x)), h.s.Packet),
			values:   values{"n": n},
		}
		if h.before.wnd[x] == 0 {
			f.cause, f.certain = "window-zero", h.abortCertainty()
		}
		if n == 0 {
			f.say("uncounted")
		} else {
			f.say("counted")
		}
		return f
	},
}

var dataAfterCloseReset = Kind{
	Name:     "data-after-close-reset",
	Severity: Warning,
	Title:    "Data met a fully closed socket",
	RFC:      "RFC 9293 §3.6.1, RFC 2525 §2.16",
	Causes: []Cause{
		{"closed", "{X} had closed both directions {span} before (close(), not shutdown()), so {n bytes} from {Y} could not be delivered and it answered with RST."},
		{"timer-expired", "{X} had closed {span} before and given up FIN_WAIT_2 since; {n bytes} from {Y} came too late and met a RST."},
	},
	Thresholds: []Threshold{
		{"time in FIN_WAIT_2, by the stack of {X}", tcp.StackLinux.Stack().FinWait2, "stack"},
		refusalTime,
	},
	on: onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		data, ok := h.refusedData()
		if !ok || !h.ends[x].has(hasFIN) {
			return nil
		}
		fin, _ := h.find(x, tcp.SndFIN)
		f := &finding{
			end:      x,
			cause:    "closed",
			certain:  ConfidenceAssumed,
			evidence: append(h.frames(x, tcp.SndFIN), data, h.s.Packet),
			values:   values{"n": h.streamEnd(y).Minus(h.before.acked[x]), "span": h.now.Sub(fin.at)},
		}
		if h.forgot(x) {
			f.cause = "timer-expired"
		}
		return f
	},
}

var lateFINReset = Kind{
	Name:     "late-fin-reset",
	Severity: Warning,
	Title:    "FIN came after the closer had forgotten",
	RFC:      "RFC 9293 §3.10.7.1",
	Causes: []Cause{
		{"timer-expired", "{Y} closed {span} after {X}, which no longer knew the connection and answered its FIN with RST: FIN_WAIT_2 of a closed socket lasts {limit}."},
		{"closed-early", "{Y} closed {span} after {X}, which no longer knew the connection and answered its FIN with RST: its FIN_WAIT_2 timer is set short, or the host rebooted, or what is between them lost the flow."},
	},
	Phrases:    []Phrase{{"unread", "", " The {n bytes} that {Y} sent after that FIN may never have been read."}},
	Thresholds: []Threshold{{"time in FIN_WAIT_2, by the stack of {X}", tcp.StackLinux.Stack().FinWait2, "stack"}},
	Supersedes: []string{"fin-wait-2-stuck"},
	on:         onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.s.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.before.rst != resetReply || !h.closedFirst(x) || h.s.Seq != h.ends[x].fin+1 {
			return nil
		}
		if h.ends[y].fin.Before(h.before.acked[x]) {
			return nil // it had its ACK
		}
		closed, _ := h.find(x, tcp.SndFIN)
		fin, ok := h.find(y, tcp.SndFIN)
		if _, data := h.refusedData(); data || !ok || fin.at != h.before.sentAt[y] {
			return nil // what it answers is not the first FIN, or not that alone
		}
		since := closed
		if ack, ok := h.find(x, tcp.RcvAckOfFIN); ok {
			since = ack
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{closed.packet(), since.packet(), fin.packet(), h.s.Packet},
		}
		f.cause, f.values = "closed-early", values{"span": fin.at.Sub(closed.at)}
		if held := h.ends[x].stack().FinWait2; held != 0 && h.now.Sub(since.at) >= held {
			f.cause, f.values["limit"] = "timer-expired", held
		}
		if clean := h.ends[y].clean; clean.Before(h.ends[y].fin) {
			f.values["n"] = h.ends[y].fin.Minus(clean)
			f.say("unread")
		}
		return f
	},
}

var abortAfterFIN = Kind{
	Name:     "abort-after-fin",
	Severity: Notice,
	Title:    "RST after own FIN without new data",
	RFC:      "RFC 9293 §3.10.5",
	Causes: []Cause{
		{"", "{X} closed with FIN and then aborted with RST after {span}: a timeout of its FIN_WAIT_2 or of SO_LINGER, or a load balancer that clears up."},
	},
	Phrases:    []Phrase{{"unacked", "", " {n bytes} from {Y} had not been acknowledged."}},
	Thresholds: []Threshold{refusalTime},
	on:         onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.before.rst != resetAbort || !h.ends[x].has(hasFIN) || h.s.Seq != h.ends[x].fin+1 {
			return nil
		}
		bare := h.s.Flags&tcp.ACK == 0
		if _, answers := h.refusedData(); answers || bare && !h.visible(y) {
			return nil // the answer to data, or to what was not captured
		}
		if h.resetBefore() || bare && h.before.states[x] == tcp.Closed.Set() {
			return nil // there was nothing left to abort
		}
		fin, ok := h.find(x, tcp.SndFIN)
		if !ok {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  h.abortCertainty(),
			evidence: []int{fin.packet(), h.s.Packet},
		}
		f.values = values{"span": h.now.Sub(fin.at)}
		if n := h.streamEnd(y).Minus(h.before.acked[x]); h.before.acked[x].Before(h.streamEnd(y)) {
			f.values["n"] = n
			f.say("unacked")
		}
		return f
	},
}

const lastAckText = "{Y} had not got the last ACK and repeated its FIN {span} after the first; {X}, which closed first, no longer holds TIME_WAIT (should last {hold}; {since} {held} before) and answered RST seq {seq}, so that {Y} ends with an error instead of a clean close. "

var rstInsteadOfAck = Kind{
	Name:     "rst-instead-of-ack",
	Severity: Error,
	Title:    "Repeated FIN answered by RST: the closer was gone",
	RFC:      "RFC 9293 §3.5.2, §3.6.1",
	Causes: []Cause{
		{"time-wait-shortened", lastAckText + "TIME_WAIT was shortened (bucket limit, reuse, an earlier RST), or the host rebooted, or a NAT, load balancer or firewall lost the flow, or the RST is forged."},
		{"time-wait-expired", lastAckText + "TIME_WAIT had expired normally; the retransmission timeout of the other end was longer."},
		{"fin-wait-2-expired", "{Y} repeated its FIN after {span} and got a RST (seq {seq}): {X}, which closed first, had waited so long in FIN_WAIT_2 that it forgot the connection, and never came to TIME_WAIT. {Y} ends with an error instead of a clean close."},
	},
	Phrases: []Phrase{
		{"acked", "since", "its last ACK was sent"},
		{"entered", "since", "it was entered"},
	},
	Thresholds: []Threshold{
		{"time in TIME_WAIT, by the stack of {X}", tcp.StackLinux.Stack().TimeWait2MSL, "2msl"},
		{"time in FIN_WAIT_2, by the stack of {X}", tcp.StackLinux.Stack().FinWait2, "stack"},
	},
	on: onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.s.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.before.rst != resetReply || h.odd == nil {
			return nil
		}
		again := h.odd.closing[y]
		if !again.unanswered || !h.closedFirst(x) || h.s.Seq != h.ends[x].fin+1 {
			return nil
		}
		if gone, ok := h.find(x, tcp.NoTCB); ok && gone.packet() != h.s.Packet {
			return nil // it had ended the connection before the FIN came, and never was in TIME_WAIT
		}
		fin, _ := h.find(y, tcp.SndFIN)
		_, forgot := h.find(x, tcp.GiveUp)
		most := h.m.twoMSLOf(h.ends[x].stack())
		held, since := h.timeWaitHeld(x, h.now), "entered"
		if acked := h.now.Sub(h.before.sentAt[x]); acked <= held { // that ACK shows that it still held it
			held, since = acked, "acked"
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			cause:    "time-wait-shortened",
			values:   values{"span": again.finCopyAt.Sub(fin.at), "hold": hold(most), "held": held, "seq": h.s.Seq},
			evidence: append(append(append(h.frames(x, tcp.SndFIN), fin.packet(), again.finCopy, h.s.Packet), h.odd.closing[x].acks...), h.frames(y, tcp.RcvAckOfFIN)...),
		}
		switch {
		case forgot:
			f.cause = "fin-wait-2-expired"
			return f
		case held >= most:
			f.cause = "time-wait-expired"
		}
		f.say(since)
		return f
	},
}

// abortsOpen reports whether the RST comes from its sender's own connection,
// which was open and which it had not closed.
func (h *happening) abortsOpen() bool {
	x, y := h.from, h.from.Peer()
	before := h.before.states[x]
	if h.before.rst != resetAbort || before == 0 || before&^beforeFIN != 0 || !h.ends[x].has(hasAcked) {
		return false // it has spoken by nothing but RST
	}
	// Without ACK it may be the answer to a segment that was not captured.
	return h.s.Flags&tcp.ACK != 0 || h.visible(y)
}

// abortCertainty is that of an abort: a RST without ACK has the numbers of an
// abort by RFC 9293 §3.10.5, and of a reply to something older. Most stacks
// send RST,ACK when they abort.
func (h *happening) abortCertainty() Confidence {
	if h.s.Flags&tcp.ACK == 0 {
		return ConfidenceAmbiguous
	}
	return ConfidenceAssumed
}

// What an end does in vain before its timer, and not its program, aborts.
const (
	probesInVain  = 2 // keepalives
	repeatsInVain = 4 // copies of what is not acknowledged
)

// triesInVain is what explains an abort by a timer.
var triesInVain = []Threshold{
	{"keepalives without an answer, less than", probesInVain, ""},
	{"copies of what is not acknowledged, less than", repeatsInVain, ""},
}

// triedInVain reports whether the end had probed or repeated without an answer
// before it sent the RST, so that a timer of its own explains the RST.
func (h *happening) triedInVain(x tcp.Endpoint) bool {
	probes, repeats := 0, 0
	for g := range h.back() {
		switch {
		case g.from != x:
			return false
		case g.is&wasKeepalive != 0:
			probes++
		case g.is&wasOld != 0:
			repeats++
		}
		if probes >= probesInVain || repeats >= repeatsInVain {
			return true
		}
	}
	return false
}

// Window evidence of unread octets: at least so many full segments were
// acknowledged while the right edge stood still, for longer than a program that
// reads needs to be woken.
const (
	unreadSegments = 2
	unknownMSS     = 1460
	unreadFor      = 200 * time.Millisecond
)

// unreadBy returns how many octets the end's window shows to lie unread in its
// buffer when it sends the RST, and whether that is enough to say so: its right
// edge has not moved while its ACKs went on, or the window is closed. The
// window of the RST itself tells nothing: Linux empties the buffer first, and
// other stacks write 0.
func (h *happening) unreadBy(x tcp.Endpoint) (n tcp.Size, enough bool) {
	e := &h.ends[x]
	if !e.has(hasAcked) {
		return 0, false
	}
	shift, edge := e.scale(&h.ends[x.Peer()]), h.before.edge[x]
	stands := func(ack tcp.Seq, wnd uint16) bool { // but for what scaling rounds off
		return edge.Minus(ack.Add(tcp.Size(wnd)<<shift))>>shift == 0
	}
	var run []*glimpse // the ACKs with that edge, the newest first
	for g := range h.back() {
		if g.from != x || g.flags&(tcp.SYN|tcp.RST|tcp.ACK) != tcp.ACK || g.is&(wasStale|wasForeign) != 0 {
			continue
		}
		if !stands(g.ack, g.wnd) {
			break
		}
		run = append(run, g)
	}
	if len(run) == 0 {
		return 0, h.before.wnd[x] == 0
	}
	oldest := run[len(run)-1].ack
	n = h.before.acked[x].Minus(oldest)
	much := unreadSegments * cmp.Or(tcp.Size(e.mss), unknownMSS)
	for _, g := range run {
		if g.ack.Minus(oldest) >= much && h.now.Sub(g.at) >= unreadFor {
			enough = true
		}
	}
	return n, enough || h.before.wnd[x] == 0
}

// unackedOf returns how many octets of the end its peer has not acknowledged,
// as far as the capture can tell.
func (h *happening) unackedOf(x tcp.Endpoint) tcp.Size {
	e, peer := &h.ends[x], &h.ends[x.Peer()]
	if una := e.una(peer); h.visible(x.Peer()) && peer.has(hasAcked) && una.Before(e.nxt) {
		return e.nxt.Minus(una)
	}
	return 0
}

// streamEnd is the number after the last octet of data captured of the end.
func (h *happening) streamEnd(x tcp.Endpoint) tcp.Seq {
	if h.ends[x].has(hasFIN) {
		return h.ends[x].fin
	}
	return h.ends[x].nxt
}

// refusedWithin is how soon a RST follows the octets that it answers.
const refusedWithin = time.Second

var refusalTime = Threshold{"time from octets to the RST that answers them, if three response times are not longer, at most", refusedWithin, ""}

// refusedData returns the frame that the RST, made by a stack without a reader,
// answers: the newest with octets that its sender had not acknowledged; 0 if
// that is forgotten already.
func (h *happening) refusedData() (frame int, ok bool) {
	x, y := h.from, h.from.Peer()
	if h.s.Flags&tcp.ACK != 0 || h.before.sentAt[x] == 0 || !h.before.acked[x].Before(h.streamEnd(y)) {
		return 0, false
	}
	limit := max(3*h.ends[x].response(), refusedWithin)
	for g := range h.back() {
		if h.now.Sub(g.at) > limit {
			break
		}
		if g.from == y && g.data > 0 && g.is&(wasKeepalive|wasForeign) == 0 && g.flags&tcp.ACK != 0 &&
			g.ack == h.s.Seq && h.before.acked[x].Before(g.seq.Add(g.data)) {
			return g.packet, true
		}
	}
	return 0, h.before.rst == resetReply
}

// lastDataOf returns the frame of the end's newest segment with data, and that
// of the ACK of it, as far as they are remembered.
func (h *happening) lastDataOf(x tcp.Endpoint) []int {
	ack := 0
	for g := range h.back() {
		switch {
		case g.from != x && g.flags&(tcp.ACK|tcp.RST) == tcp.ACK:
			ack = g.packet // the oldest of the peer's that came after
		case g.from == x && g.data > 0:
			return []int{g.packet, ack}
		}
	}
	return nil
}

// lastAckOf returns the frame of the end's newest segment with an ACK.
func (h *happening) lastAckOf(x tcp.Endpoint) int {
	for g := range h.back() {
		if g.from == x && g.flags&(tcp.ACK|tcp.RST) == tcp.ACK {
			return g.packet
		}
	}
	return 0
}

// forgot reports whether the end's FIN-WAIT-2 was over, by its stack's timer,
// before the happening.
func (h *happening) forgot(x tcp.Endpoint) bool {
	st, ok := h.find(x, tcp.GiveUp)
	return ok && st.at < h.now
}

// resetBefore reports whether another RST had ended the connection before this
// one.
func (h *happening) resetBefore() bool {
	for _, st := range h.steps() {
		if st.packet() != h.s.Packet && st.inputs()&(tcp.SndRST.Set()|tcp.RcvRST.Set()|tcp.NoTCB.Set()) != 0 {
			return true
		}
	}
	return false
}
