// Package closing has the anomalies of FINs: how they are answered (closing.go),
// and what does not happen after one of them (half_close.go).
package closing

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The last ACK of a connection is acknowledged by nobody. If it is lost, the
// end in LAST-ACK repeats its FIN, and TIME-WAIT is there to answer it.

var FinalAckLostRecovered = anomaly.Kind{
	Name:     "final-ack-lost-recovered",
	Severity: anomaly.Notice,
	Title:    "Last ACK lost or late, TIME_WAIT repaired it",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Text: "{X}'s last ACK had not arrived in time. {Y} retransmitted its FIN after {span}, and {X}, in TIME_WAIT, acknowledged it again. This is the purpose of TIME_WAIT; its {hold} restart."},
		{Name: "spurious", Text: "A second copy of {Y}'s FIN came {span} after the first, while the ACK of the first was still in flight. {X}, in TIME_WAIT, acknowledged it again. Its {hold} restart."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "d-sack", Text: " {X}'s D-SACK (RFC 2883) shows that both copies of the FIN reached {X}: no FIN was lost."},
	},
	On:   triggers.OnUnsettled,
	Only: triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Rare == nil || h.Before.States[subject] != tcp.TimeWait.Set() || !h.S.PureAck() {
			return nil
		}
		again := h.Rare.Closing[peer]
		if !again.Unanswered || !acksFIN(h, peer) {
			return nil
		}
		fin, _ := h.Find(peer, tcp.SndFIN)
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(append([]int{fin.Packet(), again.FINCopy, h.S.Packet}, h.Rare.Closing[subject].Acks...), h.Frames(peer, tcp.RcvAckOfFIN)...),
		}
		f.Values = anomaly.Values{"span": again.FINCopyAt.Sub(fin.At), "hold": template.Hold(h.M.TwoMSLOf(h.Ends[subject].Stack()))}
		if again.Crossed {
			f.Cause = "spurious"
		}
		if hadFIN(h, peer) {
			f.Say("d-sack")
		}
		return f
	},
}

// A FIN that is repeated, that nobody answers, or that does not end what its
// sender sends.

var FinRetransmitted = anomaly.Kind{
	Name:     "fin-retransmitted",
	Severity: anomaly.Notice,
	Title:    "FIN retransmitted",
	RFC:      "RFC 9293 §3.8.1",
	Causes: []anomaly.Cause{
		{Name: "ack-not-seen", Text: "{X} retransmitted its FIN{after}, and no ACK of it had been captured. The FIN was lost after the capture point, or its ACK was lost or is late before the capture point."},
		{Name: "ack-captured-then-lost", Text: "{X} retransmitted its FIN{after}, although {Y}'s ACK of it had been captured. That ACK was lost or is late after the capture point."},
		{Name: "spurious", Text: "{X} retransmitted its FIN{after}, before the ACK of it can have arrived. Perhaps nothing was lost: the ACK took longer than {X}'s RTO."},
		{Name: "both-arrived", Text: "{X} retransmitted its FIN{after}. The D-SACK in {Y}'s ACK #{frame} (RFC 2883) shows that both copies arrived, so the FIN was not lost. {Y}'s ACK of the first copy was lost, or took longer than {X}'s RTO."},
		{Text: "{X} retransmitted its FIN{after}. The capture shows too little of {Y}'s answers to say what was lost."},
	},
	Phrases: []anomaly.Phrase{{Name: "after", In: "after", Text: " after {span}"}, anomaly.Lost},
	RestsOn: anomaly.FINSent,
	On:      triggers.OnFIN | triggers.OnUnsettled,
	Only:    triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if a := h.Flagged("fin-retransmitted", peer); a != nil && a.Cause != "both-arrived" && hadFIN(h, peer) {
			return bothArrived(h, peer, a.Confidence)
		}
		if h.Stale || h.Rare == nil || h.Rare.Closing[subject].FINCopy != h.S.Packet || h.S.Seq.Add(h.S.Len()-1) != h.Ends[subject].FIN {
			return nil // the first one, or a copy made by the network
		}
		if h.Flagged("fin-retransmitted", subject) != nil {
			return &anomaly.Finding{End: subject} // it is counted only
		}
		fin, known := h.Find(subject, tcp.SndFIN)
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{fin.Packet(), h.S.Packet},
			Values:   anomaly.Values{},
		}
		if h.S.ID == 0 && !h.S.Options.HasTS {
			f.Certain = anomaly.ConfidenceAssumed // nothing in it tells it from a copy made by the network
		}
		if known {
			f.Values["span"] = h.Now.Sub(fin.At)
			f.Say("after")
		}
		acked := h.Ends[peer].Has(endpoint.HasAcked) && h.Ends[subject].FIN.Before(h.Before.Acked[peer])
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
		case h.Visible(peer):
			f.Cause = "ack-not-seen"
		}
		h.SayLost(f)
		return f
	},
}

// hadFIN reports whether the segment says by a D-SACK (RFC 2883 §4) that its
// sender had received the FIN of the other end, y, before this last copy.
func hadFIN(h *anomaly.Case, y tcp.Endpoint) bool {
	if h.S == nil || h.S.Options.NumSACK == 0 || h.Foreign || !acksFIN(h, y) {
		return false
	}
	first := h.S.Options.SACK[0]
	return first.Right == h.Ends[y].FIN+1 && first.Left.Before(first.Right)
}

// bothArrived tells more of a FIN that was repeated: its receiver got both copies.
func bothArrived(h *anomaly.Case, subject tcp.Endpoint, repeated anomaly.Confidence) *anomaly.Finding {
	f := &anomaly.Finding{
		End:      subject,
		Cause:    "both-arrived",
		More:     true,
		Certain:  repeated,
		Evidence: []int{h.S.Packet},
		Values:   anomaly.Values{"frame": h.S.Packet},
	}
	if fin, known := h.Find(subject, tcp.SndFIN); known && h.Rare != nil {
		f.Values["span"] = h.Rare.Closing[subject].FINCopyAt.Sub(fin.At)
		f.Say("after")
	}
	return f
}

// finsGivenUp is how often a FIN must have been sent for the silence after it
// to mean that its sender gave up.
const finsGivenUp = 3

// givesUpFIN is what makes the silence after a FIN its end.
var givesUpFIN = []anomaly.Threshold{
	{Name: "times that the FIN was sent, at least", Value: finsGivenUp},
	{Name: "time after the last FIN, by the TCP stack profile of its sender", Value: tcp.StackLinux.Stack().FinGiveUp, Flag: "stack"},
}

var FinNeverAcked = anomaly.Kind{
	Name:     "fin-never-acked",
	Severity: anomaly.Warning,
	Title:    "FIN got no answer",
	RFC:      "RFC 9293 §3.6, §3.8.3",
	Causes: []anomaly.Cause{
		{Text: "{X} sent its FIN {n} times in {span} without an answer and gave up. {Y} may still consider the connection open."},
	},
	Next:       "On {Y.ip}, check with `ss -tan` whether it still has the connection. If so, look for a broken path, or a firewall on it that forgot the connection; let keepalives or an application timeout at {Y} end it. If not, find out why {Y.ip} forgot it.",
	Thresholds: givesUpFIN,
	Supersedes: []string{"fin-retransmitted"},
	RestsOn:    anomaly.FINSent,
	On:         triggers.OnTimer,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		before := h.Before.States[subject]
		// Behind a closed window the FIN is a probe of the window.
		if before != tcp.FinWait1.Set() && before != tcp.Closing.Set() || !gaveUpFIN(h, subject) || h.Before.Wnd[peer] == 0 {
			return nil
		}
		frames, took := finCopies(h, subject)
		return &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: frames,
			Values:   anomaly.Values{"n": h.Ends[subject].Copies, "span": took},
		}
	},
}

var LastAckTimeout = anomaly.Kind{
	Name:     "last-ack-timeout",
	Severity: anomaly.Warning,
	Title:    "Passive closer never got the last ACK",
	RFC:      "RFC 9293 §3.6, §3.8.3",
	Causes: []anomaly.Cause{
		{Name: "acks-lost", Text: "{X} sent its FIN {n} times in {span} without getting the last ACK and gave up. {Y} did acknowledge it ({acks ACKs} captured), so its ACKs are lost after the capture point.",
			Next: "Capture on {X.ip} too, and find what drops the ACKs of {Y} on the path. It may be a firewall that forgot the connection when it saw both FINs."},
		{Name: "no-ack", Text: "{X} sent its FIN {n} times in {span} without getting the last ACK and gave up. {Y} may still wait in FIN_WAIT_2, or be gone.",
			Next: "Check whether {Y.ip} is up and reachable, and whether a firewall on the path drops the FINs of {X}."},
	},
	Thresholds: givesUpFIN,
	Supersedes: []string{"fin-retransmitted"},
	On:         triggers.OnTimer,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From.Peer(), h.From
		if h.Before.States[peer] != tcp.LastAck.Set() || !gaveUpFIN(h, peer) {
			return nil
		}
		frames, took := finCopies(h, peer)
		f := &anomaly.Finding{
			End:      peer,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.Frames(subject, tcp.SndFIN), frames...),
			Values:   anomaly.Values{"n": h.Ends[peer].Copies, "span": took},
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

var SimultaneousClose = anomaly.Kind{
	Name:     "simultaneous-close",
	Severity: anomaly.Info,
	Title:    "Both sides closed at once",
	RFC:      "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "{Y} and {X} closed within {span} of each other. Neither FIN acknowledges the other FIN. Both ends go through CLOSING and keep TIME_WAIT."},
	},
	RestsOn: anomaly.FINSent,
	On:      triggers.OnFIN,
	ByForm:  true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		mine, ok := h.Find(subject, tcp.SndFIN)
		if h.ClosedBy() != tcp.ByBoth || !ok || mine.Packet() != h.S.Packet {
			return nil
		}
		if h.Ends[subject].FIN.Before(h.Before.Acked[peer]) {
			return nil // this is a copy of one that the capture missed, and the other end answered
		}
		theirs, _ := h.Find(peer, tcp.SndFIN)
		return &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{theirs.Packet(), mine.Packet()},
			Values:   anomaly.Values{"span": mine.At.Sub(theirs.At)},
		}
	},
}

var DataAfterFIN = anomaly.Kind{
	Name:     "data-after-fin",
	Severity: anomaly.Warning,
	Title:    "Bytes after the sender's own FIN",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Name: "data", Text: "{X} sent {n bytes} after its FIN, which TCP does not allow. The stack of {X} is broken, or the FIN or these bytes were injected. The receiver ignores them."},
		{Name: "goes-on", Text: "{X} goes on as if it had not sent the FIN #{frame}. That FIN was injected, and {Y} may believe that {X} has closed."},
		{Name: "second-fin", Text: "{X} sent a second FIN with another sequence number: {seq}, after {fin}. The stack of {X} is broken, or one of the two FINs was injected."},
	},
	Next:   "Capture at {X.ip} too. If {X} did not send that segment, find what injects segments. If it did, update its stack.",
	On:     triggers.OnUnsettled,
	Only:   triggers.IfFinished,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		for e := range tcp.Endpoint(2) {
			if fin, by := h.DeniedFIN(e); by == h.S.Packet && fin != 0 {
				return &anomaly.Finding{
					End:      e,
					Cause:    "goes-on",
					Certain:  anomaly.ConfidenceAssumed,
					Evidence: []int{fin, by},
					Values:   anomaly.Values{"frame": fin},
				}
			}
		}
		subject, peer := h.From, h.From.Peer()
		e, last := &h.Ends[subject], h.S.End()-1
		if !e.Has(endpoint.HasFIN) || h.S.Len() == 0 || last == e.FIN || h.S.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || h.Foreign {
			return nil
		}
		// Another connection's segment, of which the SYN was not captured, has
		// numbers somewhere near only by chance: it must fit both windows.
		if !h.S.End().AtMost(tcp.Later(h.Before.Edge[peer], e.FIN+1).Add(1)) || h.S.Ack.Before(h.Before.Acked[subject]) || h.Ends[peer].Nxt.Before(h.S.Ack) {
			return nil
		}
		f := new(anomaly.Finding)
		switch {
		case e.FIN.Before(last) && h.S.Data > 0:
			f.Cause, f.Values = "data", anomaly.Values{"n": min(last.Minus(e.FIN), h.S.Data)}
		case h.S.Flags&tcp.FIN != 0 && !h.Stale:
			f.Cause, f.Values = "second-fin", anomaly.Values{"seq": last, "fin": e.FIN}
		default:
			return nil
		}
		fin, _ := h.Find(subject, tcp.SndFIN)
		f.End, f.Certain, f.Evidence = subject, anomaly.ConfidenceProved, []int{fin.Packet(), h.S.Packet}
		return f
	},
}

// gaveUpFIN reports whether the end's FIN was sent often enough for its timer
// to mean something, nothing at all came after the last copy, and the capture
// can show that and did not end before.
func gaveUpFIN(h *anomaly.Case, x tcp.Endpoint) bool {
	if h.Rare == nil || !h.Ends[x].Has(endpoint.HasFIN) || h.Ends[x].Copies < finsGivenUp || !h.Visible(x.Peer()) || h.M.Heard() < h.Now {
		return false
	}
	last := h.Rare.Closing[x].FINCopyAt
	return h.Before.SentAt[x] <= last && h.Before.SentAt[x.Peer()] <= last
}

// finCopies returns the frames of the end's FIN and its newest copies, and the
// span from the first to the last.
func finCopies(h *anomaly.Case, x tcp.Endpoint) (frames []int, took time.Duration) {
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
func acksFIN(h *anomaly.Case, y tcp.Endpoint) bool {
	return h.Ends[y].Has(endpoint.HasFIN) && h.S.Flags&tcp.ACK != 0 && h.Ends[y].FIN.Before(h.S.Ack)
}
