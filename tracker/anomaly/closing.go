package anomaly

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
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
	on:   triggers.OnUnsettled,
	only: triggers.IfRare,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Rare == nil || h.Before.States[subject] != tcp.TimeWait.Set() || !h.S.PureAck() {
			return nil
		}
		again := h.Rare.Closing[peer]
		if !again.Unanswered || !h.acksFIN(peer) {
			return nil
		}
		fin, _ := h.Find(peer, tcp.SndFIN)
		f := &Finding{
			end:      subject,
			Certain:  ConfidenceAssumed,
			Evidence: append(append([]int{fin.Packet(), again.FINCopy, h.S.Packet}, h.Rare.Closing[subject].Acks...), h.Frames(peer, tcp.RcvAckOfFIN)...),
		}
		f.Values = Values{"span": again.FINCopyAt.Sub(fin.At), "hold": template.Hold(h.M.TwoMSLOf(h.Ends[subject].Stack()))}
		if again.Crossed {
			f.Cause = "spurious"
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
	RestsOn: FINSent,
	on:      triggers.OnFIN,
	only:    triggers.IfRare,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Stale || h.Rare == nil || h.Rare.Closing[subject].FINCopy != h.S.Packet || h.S.Seq.Add(h.S.Len()-1) != h.Ends[subject].FIN {
			return nil // the first one, or a copy made by the network
		}
		if h.flagged("fin-retransmitted", subject) != nil {
			return &Finding{end: subject} // it is counted only
		}
		fin, known := h.Find(subject, tcp.SndFIN)
		f := &Finding{
			end:      subject,
			Certain:  ConfidenceProved,
			Evidence: []int{fin.Packet(), h.S.Packet},
		}
		if h.S.ID == 0 && !h.S.Options.HasTS {
			f.Certain = ConfidenceAssumed // nothing in it tells it from a copy made by the network
		}
		if known {
			f.Values = Values{"span": h.Now.Sub(fin.At)}
			f.Say("after")
		}
		acked := h.Ends[peer].Has(conn.HasAcked) && h.Ends[subject].FIN.Before(h.Before.Acked[peer])
		for g := range h.Back() {
			if !acked {
				break
			}
			if g.From == peer && g.Flags&tcp.ACK != 0 && h.Ends[subject].FIN.Before(g.Ack) {
				f.Evidence = append(f.Evidence, g.Packet) // the newest ACK of it
				break
			}
		}
		switch {
		case acked && h.Rare.Closing[subject].Crossed:
			f.Cause = "spurious"
		case acked:
			f.Cause = "ack-captured-then-lost"
		case h.visible(peer):
			f.Cause = "ack-not-seen"
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
	RestsOn:    FINSent,
	on:         triggers.OnTimer,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From, h.From.Peer()
		before := h.Before.States[subject]
		// Behind a closed window the FIN is a probe of the window.
		if before != tcp.FinWait1.Set() && before != tcp.Closing.Set() || !h.gaveUpFIN(subject) || h.Before.Wnd[peer] == 0 {
			return nil
		}
		frames, took := h.finCopies(subject)
		return &Finding{
			end:      subject,
			Certain:  ConfidenceAssumed,
			Evidence: frames,
			Values:   Values{"n": h.Ends[subject].Copies, "span": took},
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
	on:         triggers.OnTimer,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From.Peer(), h.From
		if h.Before.States[peer] != tcp.LastAck.Set() || !h.gaveUpFIN(peer) {
			return nil
		}
		frames, took := h.finCopies(peer)
		f := &Finding{
			end:      peer,
			Certain:  ConfidenceAssumed,
			Evidence: append(h.Frames(subject, tcp.SndFIN), frames...),
			Values:   Values{"n": h.Ends[peer].Copies, "span": took},
			Cause:    "no-ack",
		}
		var acks []int
		if h.Rare != nil {
			acks = slices.Compact(slices.Sorted(slices.Values(h.Rare.Closing[subject].Acks)))
		}
		if len(acks) > 0 {
			f.Cause, f.Values["acks"] = "acks-lost", len(acks)
			f.Evidence = append(f.Evidence, acks...)
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
	RestsOn: FINSent,
	on:      triggers.OnFIN,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From, h.From.Peer()
		mine, ok := h.Find(subject, tcp.SndFIN)
		if h.ClosedBy() != tcp.ByBoth || !ok || mine.Packet() != h.S.Packet {
			return nil
		}
		if h.Ends[subject].FIN.Before(h.Before.Acked[peer]) {
			return nil // this is a copy of one that the capture missed, and the other end answered
		}
		theirs, _ := h.Find(peer, tcp.SndFIN)
		return &Finding{
			end:      subject,
			Certain:  ConfidenceProved,
			Evidence: []int{theirs.Packet(), mine.Packet()},
			Values:   Values{"span": mine.At.Sub(theirs.At)},
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
		{"goes-on", "{X} goes on as if it had not sent the FIN #{frame}: somebody else injected that, and {Y} may believe that {X} has closed."},
		{"second-fin", "{X} sent a second FIN at another place: sequence number {seq}, after {fin}. Its stack is broken, or one of the two was injected by somebody else."},
	},
	on:   triggers.OnUnsettled,
	only: triggers.IfFinished,
	check: func(h *checkInput) *Finding {
		for e := range tcp.Endpoint(2) {
			if fin, by := h.DeniedFIN(e); by == h.S.Packet && fin != 0 {
				return &Finding{
					end:      e,
					Cause:    "goes-on",
					Certain:  ConfidenceAssumed,
					Evidence: []int{fin, by},
					Values:   Values{"frame": fin},
				}
			}
		}
		subject, peer := h.From, h.From.Peer()
		e, last := &h.Ends[subject], h.S.End()-1
		if !e.Has(conn.HasFIN) || h.S.Len() == 0 || last == e.FIN || h.S.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || h.Foreign {
			return nil
		}
		// Another connection's segment, of which the SYN was not captured, has
		// numbers somewhere near only by chance: it must fit both windows.
		if !h.S.End().AtMost(tcp.Later(h.Before.Edge[peer], e.FIN+1).Add(1)) || h.S.Ack.Before(h.Before.Acked[subject]) || h.Ends[peer].Nxt.Before(h.S.Ack) {
			return nil
		}
		f := new(Finding)
		switch {
		case e.FIN.Before(last) && h.S.Data > 0:
			f.Cause, f.Values = "data", Values{"n": min(last.Minus(e.FIN), h.S.Data)}
		case h.S.Flags&tcp.FIN != 0 && !h.Stale:
			f.Cause, f.Values = "second-fin", Values{"seq": last, "fin": e.FIN}
		default:
			return nil
		}
		fin, _ := h.Find(subject, tcp.SndFIN)
		f.end, f.Certain, f.Evidence = subject, ConfidenceProved, []int{fin.Packet(), h.S.Packet}
		return f
	},
}

// gaveUpFIN reports whether the end's FIN was sent often enough for its timer
// to mean something, nothing at all came after the last copy, and the capture
// can show that.
func (h *checkInput) gaveUpFIN(x tcp.Endpoint) bool {
	if h.Rare == nil || !h.Ends[x].Has(conn.HasFIN) || h.Ends[x].Copies < finsGivenUp || !h.visible(x.Peer()) {
		return false
	}
	last := h.Rare.Closing[x].FINCopyAt
	return h.Before.SentAt[x] <= last && h.Before.SentAt[x.Peer()] <= last
}

// finCopies returns the frames of the end's FIN and its newest copies, and the
// span from the first to the last.
func (h *checkInput) finCopies(x tcp.Endpoint) (frames []int, took time.Duration) {
	frames = h.Frames(x, tcp.SndFIN)
	for g := range h.Back() {
		if g.From == x && g.Flags&tcp.FIN != 0 && len(frames) < recent.MaxAcksKept {
			frames = append(frames, g.Packet)
		}
	}
	if fin, ok := h.Find(x, tcp.SndFIN); ok {
		took = h.Rare.Closing[x].FINCopyAt.Sub(fin.At)
	}
	return frames, took
}

// acksFIN reports whether the segment acknowledges the FIN of the given end.
func (h *checkInput) acksFIN(y tcp.Endpoint) bool {
	return h.Ends[y].Has(conn.HasFIN) && h.S.Flags&tcp.ACK != 0 && h.Ends[y].FIN.Before(h.S.Ack)
}
