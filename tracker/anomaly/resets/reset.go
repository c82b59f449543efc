package resets

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What can be wrong with a RST: who made it, and whether its receiver has
// reason to act on it.

var ChallengeAck = anomaly.Kind{
	Name:     "challenge-ack",
	Severity: anomaly.Notice,
	Title:    "ACK sent to verify a suspicious SYN, RST or ACK",
	RFC:      "RFC 5961 §3, §4, §5",
	Causes: []anomaly.Cause{
		{Name: "rst", Text: "{X} challenged a RST with seq {seq}, which is in its window but is not the next number, {next}. It asked {Y} to confirm it (challenge ACK)."},
		{Name: "rst-overtook-data", Text: "{X} challenged a RST with seq {seq}, which came ahead of data still missing from {next}. It asked {Y} to confirm it (challenge ACK)."},
		{Name: "syn", Text: "{X} challenged a SYN in the open connection and asked {Y} to confirm it (challenge ACK)."},
		{Name: "ack", Text: "{X} challenged an ACK of {ack}, which is beyond what it had sent. It asked {Y} to confirm it (challenge ACK)."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "confirmed", Text: " {Y} confirmed with a RST that fits: it has left the connection."},
		{Name: "went-on", Text: " {Y} went on as before: the challenged segment was old, or not from {Y}."},
		{Name: "another-rst", Text: " Another RST followed that does not fit either."},
		{Name: "silent", Text: " {Y} sent nothing more."},
	},
	On:   triggers.OnChallenge | triggers.OnRST | triggers.OnEnd,
	Only: triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		d := h.Pending()
		if d == nil || d.Answer == 0 || !settles(h, d) {
			return nil
		}
		f := &anomaly.Finding{End: d.Into, Certain: anomaly.ConfidenceAssumed, Evidence: []int{d.Packet, d.Answer}}
		switch d.What {
		case conn.ChallengedRST:
			f.Cause, f.Values = "rst", anomaly.Values{"seq": d.Number, "next": d.Next}
		case conn.ChallengedAbort:
			f.Cause, f.Values = "rst-overtook-data", anomaly.Values{"seq": d.Number, "next": d.Next}
		case conn.ChallengedSYN:
			f.Cause = "syn"
		case conn.ChallengedAck:
			if !h.Ends[d.Into].Nxt.Before(d.Number) {
				return nil // it had sent that: the capture has it late, or not at all
			}
			f.Cause, f.Values = "ack", anomaly.Values{"ack": d.Number}
		}
		switch {
		case h.S == nil:
			f.Say("silent")
		case h.S.Flags&tcp.RST == 0:
			f.Say("went-on")
		case h.Before.Accepted || h.Before.RST == rst.Reply:
			f.Say("confirmed")
		default:
			f.Say("another-rst")
		}
		if h.S != nil {
			f.Evidence = append(f.Evidence, h.S.Packet)
		}
		return f
	},
}

// settles reports whether the scene shows what became of the challenge: the
// alleged sender's next segment, or the end of everything.
func settles(h *anomaly.Case, d *conn.Challenge) bool {
	return h.S == nil && h.From == d.Into || h.S != nil && d.SettledBy(h.S, h.From, h.Now)
}

// guessesOfAttack is how many RSTs with different wrong numbers are no accident
// any more.
const guessesOfAttack = 3

var BlindRSTInWindow = anomaly.Kind{
	Name:     "blind-rst-in-window",
	Severity: anomaly.Warning,
	Title:    "RST in window but not at RCV.NXT",
	RFC:      "RFC 5961 §3",
	Causes: []anomaly.Cause{
		{Text: "A RST with source {Y} has seq {seq}, which is in {X}'s window ({next}..{edge}) but not at its start."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "silent", Text: " It is a guess, or {Y} sent it ahead of data that was lost; {Y} sent nothing more. A stack that follows RFC 5961 ignores it. An older stack drops the connection."},
		{Name: "another-rst", Text: " Another RST follows with a number that does not fit either: somebody is guessing."},
		{Name: "went-on", Text: " {Y} goes on as before, so it did not send the RST: somebody is guessing."},
		{Name: "attack", Text: " {n} RSTs with different numbers were captured: this is an attack on the connection."},
	},
	Thresholds: []anomaly.Threshold{{Name: "RSTs with different numbers that count as an attack", Value: guessesOfAttack}},
	Next:       "Capture at {Y}, to see whether it sends the RST. Use a stack at {X} that follows RFC 5961.",
	Moves: []anomaly.SeverityMove{
		{Name: "may-be-own", To: anomaly.Info, When: "if {Y} sent nothing more and the RST has the same hop count as its other segments"},
		{Name: "attack", To: anomaly.Error, When: "if there are enough RSTs with different numbers for an attack"},
	},
	On:   triggers.OnChallenge | triggers.OnRST | triggers.OnEnd,
	Only: triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		d := h.Pending()
		if d == nil || d.What != conn.ChallengedRST || !settles(h, d) || h.Ends[d.Into.Peer()].Has(endpoint.Lossy) {
			return nil
		}
		f := &anomaly.Finding{
			End:      d.Into,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{d.Packet, d.Answer},
			Values:   anomaly.Values{"seq": d.Number, "next": d.Next, "edge": d.Edge, "n": d.Guesses},
		}
		switch {
		case h.S == nil:
			f.Certain = anomaly.ConfidenceAmbiguous
			if endpoint.SameWay(d.TTL, h.Ends[d.Into.Peer()].TTL) {
				f.Move = "may-be-own"
			}
			f.Say("silent")
		case h.S.Flags&tcp.RST != 0 && (h.Before.Accepted || h.Before.RST != rst.Unmatched || h.S.Seq == d.Number):
			return nil // the sender confirms it, or repeats itself: its RST overtook data
		case h.S.Flags&tcp.RST != 0:
			f.Say("another-rst")
		default:
			f.Say("went-on")
		}
		if h.S != nil {
			f.Evidence = append(f.Evidence, h.S.Packet)
		}
		if d.Guesses >= guessesOfAttack {
			f.Move = cmp.Or(f.Move, "attack")
			f.Say("attack")
		}
		return f
	},
}

var RstOutOfWindow = anomaly.Kind{
	Name:     "rst-out-of-window",
	Severity: anomaly.Notice,
	Title:    "RST the receiver ignores",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Text: "A RST with source {Y} has seq {seq}, which is outside {X}'s window ({next}..{edge}), so {X} ignores it. It is a blind guess, or left over from something older. The connection goes on."},
		{Name: "reply-to-old-segment", Text: "A RST with source {Y} has seq {seq}, which is outside {X}'s window ({next}..{edge}), so {X} ignores it. It answers a segment that is older than data acknowledged since."},
	},
	Moves: []anomaly.SeverityMove{{Name: "reply", To: anomaly.Info, When: "if it answers an old segment"}},
	On:    triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if !outOfWindow(h) {
			return nil
		}
		to := &h.Ends[h.From.Peer()]
		f := &anomaly.Finding{
			End:      h.From.Peer(),
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
			Values:   anomaly.Values{"seq": h.S.Seq, "next": to.Acked, "edge": to.Edge},
		}
		if h.Before.RST == rst.Reply {
			f.Cause, f.Move = "reply-to-old-segment", "reply"
		}
		return f
	},
}

// outOfWindow reports whether the RST's receiver drops it silently, since its
// number is neither the next nor in the window.
func outOfWindow(h *anomaly.Case) bool {
	subject, peer := h.X(), h.Y()
	if h.Before.Accepted || h.Before.SentAt[h.From] == 0 || !peer.Has(endpoint.HasAcked) || !conn.Synchronized(h.Before.States[h.From.Peer()]) || numberOfFIN(h) {
		return false
	}
	return h.S.Seq.Before(peer.Acked) && !subject.Has(endpoint.Lossy) || h.ScaleKnown() && peer.Edge.AtMost(h.S.Seq) && peer.Acked != h.S.Seq
}

// numberOfFIN reports whether the RST has the number of its sender's FIN, as if
// a FIN took none. Some stacks send it so, and some take it.
func numberOfFIN(h *anomaly.Case) bool { return h.X().Has(endpoint.HasFIN) && h.S.Seq == h.X().FIN }

var RstIgnoredInSynSent = anomaly.Kind{
	Name:     "rst-ignored-in-syn-sent",
	Severity: anomaly.Notice,
	Title:    "RST without acceptable ACK during connect",
	RFC:      "RFC 9293 §3.10.7.3",
	Causes: []anomaly.Cause{
		{Text: "A RST with source {Y} acknowledges {what}, but the SYN of {X} has seq {seq}. A conforming client ignores it and keeps trying. It is forged, or belongs to an older connection."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "nothing", In: "what", Text: "nothing"},
		{Name: "wrong-number", In: "what", Text: "{ack}"},
	},
	On: triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From.Peer()
		if h.Before.Accepted || h.Before.States[subject] != tcp.SynSent.Set() || !h.Ends[subject].Seen() {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.Frames(subject, tcp.SndSYN), h.S.Packet),
			Values:   anomaly.Values{"seq": h.Ends[subject].ISS, "ack": h.S.Ack},
		}
		f.Say(anomaly.Either(h.S.Flags&tcp.ACK == 0, "nothing", "wrong-number"))
		return f
	},
}

// acksCited is how many of the newest ACKs toward its sender an unmatched RST
// is compared with in its evidence.
const acksCited = 3

var RstUnmatched = anomaly.Kind{
	Name:     "rst-unmatched",
	Severity: anomaly.Notice,
	Title:    "RST with unexpected numbers",
	RFC:      "RFC 9293 §3.5.2",
	Causes: []anomaly.Cause{
		{Name: "seq", Text: "A RST with source {X} has seq {seq}. The next number of {X} was {next}, and no recent ACK to it said {seq}. Either packets are missing from the capture, or a third party sent the RST."},
		{Name: "ack", Text: "A RST with source {X} acknowledges {ack}, but {X} had received up to {received} and was sent up to {sent}. Either packets are missing from the capture, or a third party sent the RST."},
	},
	Next: captureMore,
	On:   triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.X(), h.Y()
		to := h.From.Peer()
		state := h.Before.States[to]
		if h.Before.RST != rst.Unmatched || !subject.Seen() || h.Before.SentAt[h.From] == 0 || !peer.Seen() || subject.Has(endpoint.Lossy) || peer.Has(endpoint.Lossy) || numberOfFIN(h) ||
			!conn.Synchronized(state) && state != tcp.SynReceived.Set() {
			return nil
		}
		if outOfWindow(h) || !h.Before.Accepted && h.InWindow(h.S.Seq, to) {
			return nil // told better by other kinds
		}
		f := &anomaly.Finding{End: h.From, Certain: anomaly.ConfidenceAmbiguous, Evidence: []int{h.S.Packet}}
		switch {
		case h.S.Seq != subject.Nxt:
			f.Cause, f.Values = "seq", anomaly.Values{"seq": h.S.Seq, "next": subject.Nxt}
		case h.S.Flags&tcp.ACK != 0 && !(subject.Acked.AtMost(h.S.Ack) && h.S.Ack.AtMost(peer.Nxt)):
			f.Cause, f.Values = "ack", anomaly.Values{"ack": h.S.Ack, "received": subject.Acked, "sent": peer.Nxt}
		default:
			return nil // the numbers fit; what does not is told by forged-rst
		}
		cited := 0
		for g := range h.Recent() {
			if cited == acksCited {
				break
			}
			if g.From != h.From && g.Flags&(tcp.ACK|tcp.RST) == tcp.ACK {
				f.Evidence = append(f.Evidence, g.Packet)
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

var RstStorm = anomaly.Kind{
	Name:     "rst-storm",
	Severity: anomaly.Warning,
	Title:    "Many RSTs",
	RFC:      "RFC 2525 §2.16",
	Causes: []anomaly.Cause{
		{Name: "replies", Text: "{X} sent {n} RSTs in {span}, one for each segment that arrived. The data was in flight when the socket closed, which is the normal case."},
		{
			Name: "went-on",
			Text: "{X} sent {n} RSTs in {span}, one for each segment that arrived, and {Y} goes on. The RSTs do not reach {Y}, or it does not accept them.",
			Next: "Capture at {Y}, to see whether the RSTs arrive there and what drops them.",
		},
		{Name: "unprovoked", Text: "{X} sent {n} RSTs in {span}, more than the {received segments} that it can have answered. A device on the path or a forger repeats them.", Next: "Capture on both sides of each device between {X} and {Y}, to see which of them sends the RSTs."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "RSTs of one end, at most", Value: stormSize},
		{Name: "time in which they are counted", Value: stormSpan},
		{Name: "RSTs for each segment that arrived, at most", Value: stormReplies},
	},
	Moves: []anomaly.SeverityMove{{Name: "replies", To: anomaly.Info, When: "if the RSTs answer data that was in flight"}},
	On:    triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if a := h.Flagged("rst-storm", h.From); a != nil {
			if h.Now.Sub(max(a.Time, a.Until)) > stormSpan {
				return nil
			}
			f := &anomaly.Finding{End: h.From} // it is counted only
			if a.Severity == anomaly.Info {
				f.Move = "replies"
			}
			return f
		}
		resets, received, inFlight := 0, 0, 0
		var first *recent.Segment
		for g := range h.Recent() {
			if h.Now.Sub(g.At) <= stormSpan && resets <= stormSize && g.From == h.From && g.Flags&tcp.RST != 0 {
				resets++
				first = g
			}
		}
		if resets <= stormSize {
			return nil
		}
		for g := range h.Recent() {
			if g.From == h.From || g.Flags&tcp.RST != 0 || h.Now.Sub(g.At) > stormSpan {
				continue
			}
			received++
			if g.Data > 0 && g.At.Sub(first.At) <= h.Y().InFlight() {
				inFlight++
			}
		}
		f := &anomaly.Finding{End: h.From, Certain: anomaly.ConfidenceAssumed, Evidence: []int{first.Packet, h.S.Packet}}
		switch {
		case resets <= stormReplies*inFlight:
			f.Cause, f.Move = "replies", "replies"
		case resets <= stormReplies*received:
			f.Cause = "went-on"
		default:
			f.Cause = "unprovoked"
		}
		f.Values = anomaly.Values{"n": resets, "span": h.Now.Sub(first.At), "received": received}
		return f
	},
}

var DataAfterRST = anomaly.Kind{
	Name:     "data-after-rst",
	Severity: anomaly.Warning,
	Title:    "Endpoint sends after its own RST",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Text: "{X} kept sending {span} after \"its\" RST, so {X} did not send the RST. {Y} still accepted it, and has lost the connection."},
	},
	Next: forgedNext,
	Thresholds: []anomaly.Threshold{
		{Name: "time after the RST, unless the response time of {X} is longer or it sends new data, more than", Value: conn.SentAfter},
	},
	On:   triggers.OnUnsettled,
	Only: triggers.IfReset,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		rst, ok := talksOn(h)
		if !ok {
			return nil
		}
		return &anomaly.Finding{
			End:      h.From,
			Certain:  denial(h),
			Evidence: []int{rst.Packet(), h.S.Packet},
			Values:   anomaly.Values{"span": h.Now.Sub(rst.At)},
		}
	},
}

// denial is how sure it is that the sender of the segment did not send the RST in
// its name: proved if it acknowledges or sends what the RST did not know of. That
// it comes too late to have been overtaken rests on timing alone.
func denial(h *anomaly.Case) anomaly.Confidence {
	for g := range h.Back() {
		if g.Packet != h.Forged {
			continue
		}
		acked := h.Before.Acked[h.From]
		if g.Flags&tcp.ACK != 0 {
			acked = tcp.Later(acked, g.Ack)
		}
		if acked.Before(h.S.Ack) || h.Fresh > 0 && g.Seq.Before(h.S.End()) {
			return anomaly.ConfidenceProved
		}
	}
	return anomaly.ConfidenceAssumed
}

// talksOn reports whether the segment shows that its sender still has a
// connection that a RST in its name has ended at the peer, and returns the step
// of that RST.
func talksOn(h *anomaly.Case) (rst history.Step, ok bool) {
	peer := h.From.Peer()
	if h.S.Flags&tcp.RST != 0 || h.Forged == 0 || h.Before.States[peer] != tcp.Closed.Set() || !h.WasOpen(peer) {
		return rst, false
	}
	rst, ok = h.Find(peer, tcp.RcvRST)
	return rst, ok && rst.Packet() == h.Forged
}

var RstWithData = anomaly.Kind{
	Name:     "rst-with-data",
	Severity: anomaly.Info,
	Title:    "RST carries payload",
	RFC:      "RFC 9293 §3.5.3",
	Causes: []anomaly.Cause{
		{Text: "The RST of {X} carries {n bytes} of payload. RFC 9293 allows this for diagnostic text. The payload is not part of the stream."},
	},
	Next: "Read the payload of the RST in the capture: it may say why {X} reset.",
	On:   triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Data == 0 {
			return nil
		}
		return &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{h.S.Packet},
			Values:   anomaly.Values{"n": h.S.Data},
		}
	},
}
