package anomaly

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
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
	on:   triggers.OnChallenge | triggers.OnRST | triggers.OnEnd,
	only: triggers.IfRare,
	check: func(h *checkInput) *Finding {
		d := h.Pending()
		if d == nil || d.Answer == 0 || !h.settles(d) {
			return nil
		}
		f := &Finding{end: d.Into, Certain: ConfidenceAssumed, Evidence: []int{d.Packet, d.Answer}}
		switch d.What {
		case conn.ChallengedRST:
			f.Cause, f.Values = "rst", Values{"seq": d.Number, "next": d.Next}
		case conn.ChallengedAbort:
			f.Cause, f.Values = "rst-overtook-data", Values{"seq": d.Number, "next": d.Next}
		case conn.ChallengedSYN:
			f.Cause = "syn"
		case conn.ChallengedAck:
			if !h.Ends[d.Into].Nxt.Before(d.Number) {
				return nil // it had sent that: the capture has it late, or not at all
			}
			f.Cause, f.Values = "ack", Values{"ack": d.Number}
		}
		switch {
		case h.S == nil:
			f.Say("silent")
		case h.S.Flags&tcp.RST == 0:
			f.Say("went-on")
		case h.Before.Accepted || h.Before.RST == conn.ResetReply:
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
func (h *checkInput) settles(d *conn.Challenge) bool {
	return h.S == nil && h.From == d.Into || h.S != nil && d.SettledBy(h.S, h.From, h.Now)
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
	on:   triggers.OnChallenge | triggers.OnRST | triggers.OnEnd,
	only: triggers.IfRare,
	check: func(h *checkInput) *Finding {
		d := h.Pending()
		if d == nil || d.What != conn.ChallengedRST || !h.settles(d) || h.Ends[d.Into.Peer()].Has(conn.Lossy) {
			return nil
		}
		f := &Finding{
			end:      d.Into,
			Certain:  ConfidenceAssumed,
			Evidence: []int{d.Packet, d.Answer},
			Values:   Values{"seq": d.Number, "next": d.Next, "edge": d.Edge, "n": d.Guesses},
		}
		switch {
		case h.S == nil:
			f.Certain = ConfidenceAmbiguous
			if conn.SameWay(d.TTL, h.Ends[d.Into.Peer()].TTL) {
				f.move = "may-be-own"
			}
			f.Say("silent")
		case h.S.Flags&tcp.RST != 0 && (h.Before.Accepted || h.Before.RST != conn.ResetUnmatched || h.S.Seq == d.Number):
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
			f.move = cmp.Or(f.move, "attack")
			f.Say("attack")
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
	on:    triggers.OnRST,
	check: func(h *checkInput) *Finding {
		if !h.outOfWindow() {
			return nil
		}
		to := &h.Ends[h.From.Peer()]
		f := &Finding{
			end:      h.From.Peer(),
			Certain:  ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
			Values:   Values{"seq": h.S.Seq, "next": to.Acked, "edge": to.Edge},
		}
		if h.Before.RST == conn.ResetReply {
			f.Cause, f.move = "reply-to-old-segment", "reply"
		}
		return f
	},
}

// outOfWindow reports whether the RST's receiver drops it silently, since its
// number is neither the next nor in the window.
func (h *checkInput) outOfWindow() bool {
	subject, peer := h.x(), h.y()
	if h.Before.Accepted || h.Before.SentAt[h.From] == 0 || !peer.Has(conn.HasAcked) || !conn.Synchronized(h.Before.States[h.From.Peer()]) || h.numberOfFIN() {
		return false
	}
	return h.S.Seq.Before(peer.Acked) && !subject.Has(conn.Lossy) || h.ScaleKnown() && peer.Edge.AtMost(h.S.Seq) && peer.Acked != h.S.Seq
}

// numberOfFIN reports whether the RST has the number of its sender's FIN, as if
// a FIN took none. Some stacks send it so, and some take it.
func (h *checkInput) numberOfFIN() bool { return h.x().Has(conn.HasFIN) && h.S.Seq == h.x().FIN }

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
	on: triggers.OnRST,
	check: func(h *checkInput) *Finding {
		subject := h.From.Peer()
		if h.Before.Accepted || h.Before.States[subject] != tcp.SynSent.Set() || !h.Ends[subject].Seen() {
			return nil
		}
		f := &Finding{
			end:      subject,
			Certain:  ConfidenceAssumed,
			Evidence: append(h.Frames(subject, tcp.SndSYN), h.S.Packet),
			Values:   Values{"seq": h.Ends[subject].ISS, "ack": h.S.Ack},
		}
		f.Say(either(h.S.Flags&tcp.ACK == 0, "nothing", "wrong-number"))
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
	on: triggers.OnRST,
	check: func(h *checkInput) *Finding {
		subject, peer := h.x(), h.y()
		to := h.From.Peer()
		state := h.Before.States[to]
		if h.Before.RST != conn.ResetUnmatched || !subject.Seen() || h.Before.SentAt[h.From] == 0 || !peer.Seen() || subject.Has(conn.Lossy) || peer.Has(conn.Lossy) || h.numberOfFIN() ||
			!conn.Synchronized(state) && state != tcp.SynReceived.Set() {
			return nil
		}
		if h.outOfWindow() || !h.Before.Accepted && h.InWindow(h.S.Seq, to) {
			return nil // told better by other kinds
		}
		f := &Finding{end: h.From, Certain: ConfidenceAmbiguous, Evidence: []int{h.S.Packet}}
		switch {
		case h.S.Seq != subject.Nxt:
			f.Cause, f.Values = "seq", Values{"seq": h.S.Seq, "next": subject.Nxt}
		case h.S.Flags&tcp.ACK != 0 && !(subject.Acked.AtMost(h.S.Ack) && h.S.Ack.AtMost(peer.Nxt)):
			f.Cause, f.Values = "ack", Values{"ack": h.S.Ack, "received": subject.Acked, "sent": peer.Nxt}
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
	on:    triggers.OnRST,
	check: func(h *checkInput) *Finding {
		if a := h.flagged("rst-storm", h.From); a != nil {
			if h.Now.Sub(max(a.Time, a.Until)) > stormSpan {
				return nil
			}
			f := &Finding{end: h.From} // it is counted only
			if a.Severity == Info {
				f.move = "replies"
			}
			return f
		}
		resets, received := 0, 0
		var first *recent.Segment
		for g := range h.Recent() {
			if h.Now.Sub(g.At) > stormSpan || resets > stormSize && resets <= stormReplies*received {
				break
			}
			switch {
			case g.From != h.From && g.Flags&tcp.RST == 0:
				received++
			case g.From == h.From && g.Flags&tcp.RST != 0 && resets <= stormSize:
				resets++
				first = g
			}
		}
		if resets <= stormSize {
			return nil
		}
		f := &Finding{end: h.From, Certain: ConfidenceAssumed, Evidence: []int{first.Packet, h.S.Packet}}
		if f.Cause = "unprovoked"; resets <= stormReplies*received {
			f.Cause, f.move = "replies", "replies"
		}
		f.Values = Values{"n": resets, "span": h.Now.Sub(first.At), "received": received}
		return f
	},
}

var dataAfterRST = Kind{
	Name:     "data-after-rst",
	Severity: Warning,
	Title:    "Endpoint speaks after its own RST",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"", "{X} kept talking {span} after \"its\" RST: the RST was not sent by {X}. {Y} took it all the same, and has lost the connection."},
	},
	Thresholds: []Threshold{
		{"time after the RST, if the response time of {X} is not longer and it has nothing new, more than", conn.SentAfter, ""},
	},
	on:   triggers.OnUnsettled,
	only: triggers.IfReset,
	check: func(h *checkInput) *Finding {
		rst, ok := h.talksOn()
		if !ok {
			return nil
		}
		return &Finding{
			end:      h.From,
			Certain:  ConfidenceProved,
			Evidence: []int{rst.Packet(), h.S.Packet},
			Values:   Values{"span": h.Now.Sub(rst.At)},
		}
	},
}

// talksOn reports whether the segment shows that its sender still has a
// connection that a RST in its name has ended at the peer, and returns the step
// of that RST.
func (h *checkInput) talksOn() (rst history.Step, ok bool) {
	peer := h.From.Peer()
	if h.S.Flags&tcp.RST != 0 || h.Forged == 0 || h.Before.States[peer] != tcp.Closed.Set() || !h.WasOpen(peer) {
		return rst, false
	}
	rst, ok = h.Find(peer, tcp.RcvRST)
	return rst, ok && rst.Packet() == h.Forged
}

var rstWithData = Kind{
	Name:     "rst-with-data",
	Severity: Info,
	Title:    "RST carries payload",
	RFC:      "RFC 9293 §3.5.3",
	Causes: []Cause{
		{"", "The RST of {X} carries {n bytes} of payload, which RFC 9293 allows for diagnostic text. It is not part of the stream; read it in the capture for the reason."},
	},
	on: triggers.OnRST,
	check: func(h *checkInput) *Finding {
		if h.S.Data == 0 {
			return nil
		}
		return &Finding{
			end:      h.From,
			Certain:  ConfidenceProved,
			Evidence: []int{h.S.Packet},
			Values:   Values{"n": h.S.Data},
		}
	},
}
