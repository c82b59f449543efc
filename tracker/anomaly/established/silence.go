package established

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/stalls"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An end that is not answered sends again, more and more rarely, and at last
// gives up, often without a word. A bystander can tell the reasons apart only
// by what was sent: data, probes of an idle connection, or probes of a window
// that is closed.

const (
	// Probes without an answer before a RST.
	probesBeforeRST = 2

	// stallAtLeast is how long a window must be closed to be worth a line; and
	// at least stallRTOs retransmission timeouts.
	stallAtLeast = time.Second
	stallRTOs    = 3
	// rtoAbove is what such a timeout is above the response times (200 ms in Linux).
	rtoAbove = 200 * time.Millisecond

	// What is silent for conn.LongIdle may have been forgotten by a middlebox, and
	// is tried anew with firstTries segments before that is said.
	firstTries      = 4
	firstKeepalives = 3

	// What goes on for long cites so many frames, or a few more.
	mostEvidence = 32

	// After an ICMP error an end that goes on would have sent again by then.
	icmpSilence = 3 * time.Second
)

var RetransmissionTimeout = anomaly.Kind{
	Name:     "retransmission-timeout",
	Severity: anomaly.Error,
	Title:    "Sender gave up",
	RFC:      "RFC 9293 §3.8.3",
	Next:     "Check whether {Y.ip} is up, and whether packets reach it and come back (capture there, or on the path). If {X} must notice sooner, set TCP_USER_TIMEOUT on its sockets or lower net.ipv4.tcp_retries2.",
	Causes: []anomaly.Cause{
		{Name: "silent", Text: "{X} sent the same {n bytes} {copies} times in {span} without an ACK and gave up. The last packet from {Y} came {heard} before the last retransmission."},
		{Name: "reset", Text: "{X} sent the same {n bytes} {copies} times in {span} without an ACK and gave up with a RST. The last packet from {Y} came {heard} before the last retransmission."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "no-timestamps", Text: " These segments lacked the timestamps that both SYNs had agreed on: {Y} may drop such segments (RFC 7323 §3.2)."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "copies, at least", Value: conn.CopiesOfGivingUp},
		{Name: "growing pauses in a row, at least", Value: conn.GrowingPauses},
		{Name: "growth of a pause, in tenths of the pause before, at least", Value: stalls.GrownTenths},
		{Name: "pause that need not grow", Value: stalls.LongestRTO},
		silenceAfterTries,
	},
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST | triggers.OnEnd,
	Only:    triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		tr := h.Rare.StallsOf(subject)
		if tr == nil || !h.Visible(subject) || !h.Visible(peer) || h.Ends[peer].Wnd == 0 || h.Happened(subject, tcp.RcvRST) {
			return nil
		}
		w := &tr.Data
		if w.Copies < conn.CopiesOfGivingUp || w.Doublings < conn.GrowingPauses || h.Ends[subject].Una(&h.Ends[peer]) != w.Seq {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{w.HeardFrame, w.Frames[0], w.Frames[1]},
			Values:   anomaly.Values{"n": w.Size, "copies": w.Copies, "span": w.Last.Sub(w.First), "heard": max(0, w.Last.Sub(h.Ends[peer].SentAt))},
		}
		switch {
		case h.S == nil && h.Ends[subject].SentAt == w.Last && h.M.Heard().Sub(w.Last) > conn.SilentPauses*w.Gap:
			f.Cause = "silent"
		case h.S != nil && h.Before.RST == rst.Abort && h.Before.SentAt[subject] == w.Last:
			f.Cause = "reset"
			f.Evidence = append(f.Evidence, h.S.Packet)
		default:
			return nil
		}
		if lacksTimestamps(h, w) {
			f.Say("no-timestamps")
		}
		return f
	},
}

// lacksTimestamps reports whether the newest of the copies has no timestamp,
// although both ends had agreed on them.
func lacksTimestamps(h *anomaly.Case, w *stalls.Repeats) bool {
	if !h.Ends[tcp.Client].Has(endpoint.HasTS) || !h.Ends[tcp.Server].Has(endpoint.HasTS) {
		return false
	}
	for g := range h.Back() {
		if g.Packet == w.Frames[1] {
			return g.TSVal == 0 && g.Is&recent.IsRecalled == 0
		}
	}
	return false
}

var silenceAfterTries = anomaly.Threshold{Name: "silence, unless a RST shows that {X} gave up, in multiples of the last pause", Value: conn.SilentPauses}

var KeepaliveProbe = anomaly.Kind{
	Name:     "keepalive-probe",
	Severity: anomaly.Info,
	Title:    "Keepalive seen",
	RFC:      "RFC 9293 §3.8.4",
	Causes: []anomaly.Cause{
		{Text: "{X} checks whether {Y} is still there. The connection was idle for {span} before the first probe. Keepalives are not retransmissions and carry no data."},
	},
	Thresholds: []anomaly.Threshold{{Name: "time without a segment from {X}, at least", Value: stalls.KeepaliveRest}},
	On:         triggers.OnKeepalive,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From
		tr := h.Rare.StallsOf(subject)
		if tr == nil || tr.Probes.Frames[1] != h.S.Packet {
			return nil
		}
		return &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
			Values:   anomaly.Values{"span": h.Now.Sub(max(h.Before.SentAt[subject], h.Before.SentAt[subject.Peer()]))},
		}
	},
}

var KeepaliveTimeout = anomaly.Kind{
	Name:     "keepalive-timeout",
	Severity: anomaly.Error,
	Title:    "Peer stopped answering keepalives",
	RFC:      "RFC 9293 §3.8.4",
	Next:     "Check whether {Y.ip} is up, and whether the path or a firewall on it dropped the flow. TCP_KEEPIDLE below the firewall's idle limit keeps the flow alive.",
	Causes: []anomaly.Cause{
		{Name: "silent", Text: "{Y} did not answer {n} keepalives in {span}, and {X} sends nothing more. The host {Y.ip} is down, or the path to it is broken."},
		{Name: "reset", Text: "{Y} did not answer {n} keepalives in {span}, and {X} dropped the connection with a RST. The host {Y.ip} is down, or the path to it is broken."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "keepalives before silence, at least", Value: conn.ProbesBeforeSilence},
		{Name: "keepalives before a RST, at least", Value: probesBeforeRST},
		silenceAfterTries,
	},
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST | triggers.OnEnd,
	Only:    triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		tr := h.Rare.StallsOf(subject)
		if tr == nil || !h.Visible(subject) || h.Happened(subject, tcp.RcvRST) {
			return nil
		}
		p := &tr.Probes
		unseen := h.S != nil && !h.Ends[peer].Seen() && h.S.Seq == p.Seq+1 // the number of the RST tells probes from answers
		if !unseen && !h.Visible(peer) {
			return nil
		}
		if p.Copies == 0 || h.Ends[peer].SentAt != p.Heard {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{p.HeardFrame, p.Frames[0], p.Frames[1]},
			Values:   anomaly.Values{"n": p.Copies, "span": p.Last.Sub(p.First)},
		}
		switch {
		case h.S == nil && h.Ends[subject].SentAt == p.Last && p.Copies >= conn.ProbesBeforeSilence && h.M.Heard().Sub(p.Last) >= conn.SilentPauses*p.Gap:
			f.Cause = "silent"
		case h.S != nil && h.Before.RST == rst.Abort && h.Before.SentAt[subject] == p.Last && p.Copies >= probesBeforeRST:
			f.Cause, f.Values["span"] = "reset", h.Now.Sub(p.First)
			f.Evidence = append(f.Evidence, h.S.Packet)
		default:
			return nil
		}
		return f
	},
}

// stallFrom is how long the window of the end must be closed to be a stall.
func stallFrom(h *anomaly.Case) time.Duration {
	rto := h.Ends[tcp.Client].Response() + h.Ends[tcp.Server].Response() + rtoAbove
	return max(stallAtLeast, stallRTOs*rto)
}

var stallTimes = []anomaly.Threshold{
	{Name: "time with a closed window, at least", Value: stallAtLeast},
	{Name: "RTOs, if they are longer", Value: stallRTOs},
	{Name: "such an RTO, above the response times of both ends", Value: rtoAbove},
}

var ZeroWindowStall = anomaly.Kind{
	Name:     "zero-window-stall",
	Severity: anomaly.Warning,
	Title:    "Receiver does not read",
	RFC:      "RFC 9293 §3.8.6.1",
	Next:     "Check the application on {X}, not the network. Find what it waits for instead of reading its socket (ss -tnp on {X.ip} shows the Recv-Q, a stack dump shows what it does).",
	Causes: []anomaly.Cause{
		{Text: "{X} {had} a zero window for {span} ({n probes} by {Y}{before}). The application on {X} does not read the data that arrives."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "closed", In: "had", Text: "has had"},
		{Name: "reopened", In: "had", Text: "had"},
		{Name: "before", In: "before", Text: "; before that, it had been closed for {total} in total"},
	},
	Thresholds: stallTimes,
	On:         triggers.OnWindow | triggers.OnKeepalive | triggers.OnRepeat | triggers.OnBeyond | triggers.OnRST | triggers.OnEnd,
	Only:       triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		return cmp.Or(stalled(h, h.From), stalled(h, h.From.Peer()))
	},
}

// stalled reports a window of the end that is closed for too long by now, at
// the first moment that shows it, and tells more of it as it lasts.
func stalled(h *anomaly.Case, y tcp.Endpoint) *anomaly.Finding {
	tr := h.Rare.StallsOf(y)
	if tr == nil || tr.Shut.Since == 0 || h.S == nil && y != h.From {
		return nil
	}
	w, over, probed := &tr.Shut, h.M.Heard(), false
	switch {
	case h.S == nil || h.S.Flags&tcp.RST != 0:
		if w.Until != 0 || h.Before.States[tcp.Client]|h.Before.States[tcp.Server] == tcp.Closed.Set() || h.Over(y) || h.Over(y.Peer()) {
			return nil
		}
	case h.S.Packet == w.UntilFrame:
		over = w.Until
	case h.S.Packet == w.Frames[1]:
		probed = true
	default:
		return nil
	}
	if over.Sub(w.Since) < stallFrom(h) {
		return nil
	}
	f := &anomaly.Finding{
		End:     y,
		Certain: anomaly.ConfidenceAssumed,
		Values:  anomaly.Values{"span": over.Sub(w.Since), "n": w.Probes, "total": w.Earlier},
	}
	told := h.Flagged("zero-window-stall", y)
	if told != nil {
		f.More = w.Since <= max(told.Time, told.Until)
		f.Again = !f.More
	}
	if told == nil || !(f.More && probed) && len(told.Evidence) < mostEvidence {
		f.Evidence = []int{w.SinceFrame, w.Frames[0], w.Frames[1], w.UntilFrame}
	}
	f.Say(anomaly.Either(w.Until != 0, "reopened", "closed"))
	if w.Earlier != 0 {
		f.Say("before")
	}
	return f
}

var ZeroWindowAbort = anomaly.Kind{
	Name:     "zero-window-abort",
	Severity: anomaly.Error,
	Title:    "Zero window ended in a RST",
	RFC:      "RFC 9293 §3.8.6.1",
	Next:     "Find why the application on {Y} does not read its socket. TCP_USER_TIMEOUT, a write timeout or net.ipv4.tcp_retries2 sets how long {X} waits.",
	Causes: []anomaly.Cause{
		{Name: "reset", Text: "{X} dropped the connection with a RST. {Y} had offered a zero window for {span} and did not resume reading. The data that {X} still had to send is lost."},
		{Name: "silent", Text: "{X} stopped probing. {Y} had offered a zero window for {span} and did not resume reading. The data that {X} still had to send is lost."},
	},
	Thresholds: append([]anomaly.Threshold{
		{Name: "probes, unless a RST shows that {X} gave up, at least", Value: probesBeforeRST},
		silenceAfterTries,
	}, stallTimes...),
	Supersedes: []string{"zero-window-stall", "linger-zero-abort"},
	RestsOn:    anomaly.ResetSent,
	On:         triggers.OnRST | triggers.OnEnd,
	Only:       triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		tr := h.Rare.StallsOf(peer)
		if tr == nil || h.Ends[peer].Wnd != 0 || tr.Shut.Since == 0 || tr.Shut.Until != 0 || h.Happened(subject, tcp.RcvRST) {
			return nil
		}
		w := &tr.Shut
		f := &anomaly.Finding{End: subject, Certain: anomaly.ConfidenceAssumed, Evidence: []int{w.SinceFrame, w.Frames[0], w.Frames[1]}}
		over := h.M.Heard()
		switch {
		case h.S != nil && h.Before.RST == rst.Abort:
			f.Cause = "reset"
			f.Evidence = append(f.Evidence, h.S.Packet)
		case h.S == nil && h.Visible(subject) && w.Probes >= probesBeforeRST && h.Ends[subject].SentAt == w.LastTime && over.Sub(w.LastTime) > conn.SilentPauses*w.Gap:
			f.Cause, over = "silent", w.LastTime
		default:
			return nil
		}
		if over.Sub(w.Since) < stallFrom(h) {
			return nil
		}
		f.Values = anomaly.Values{"span": over.Sub(w.Since)}
		return f
	},
}

var IcmpUnreachableTerminated = anomaly.Kind{
	Name:     "icmp-unreachable-terminated",
	Severity: anomaly.Error,
	Title:    "ICMP ended the attempt or connection",
	RFC:      "RFC 9293 §3.9.2.2, RFC 5461",
	Causes: unreachableBy("network-unreachable", "host-unreachable", "protocol-unreachable", "port-unreachable", "prohibited", "no-route", "address-unreachable",
		"unreachable"),
	Phrases: []anomaly.Phrase{
		{Name: "router", In: "from", Text: "{router}"},
		{Name: "unknown", In: "from", Text: "A router"},
		{Name: "attempt", In: "what", Text: "connection attempt"},
		{Name: "connection", In: "what", Text: "connection"},
	},
	Thresholds: []anomaly.Threshold{{Name: "time after the error in which an open connection would have gone on", Value: icmpSilence}},
	On:         triggers.OnEnd,
	Only:       triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		tr := h.Rare.StallsOf(subject)
		if tr == nil || tr.ICMP.At == 0 {
			return nil
		}
		m := tr.ICMP
		f := &anomaly.Finding{
			End:      subject,
			Cause:    m.Name(),
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{m.Frame},
			Values:   anomaly.Values{"router": m.From, "version": m.Version(), "type": m.Type, "code": m.Code},
		}
		what := "connection"
		switch {
		case h.Happened(subject, tcp.Unreachable):
			what = "attempt"
			f.Evidence = append(f.Evidence, h.Frames(subject, tcp.SndSYN)...)
		case !m.Hard() || !h.Visible(subject) || h.Ends[subject].Una(&h.Ends[peer]) == h.Ends[subject].Nxt || h.Happened(subject, tcp.RcvRST) || h.Happened(subject, tcp.SndSYN) && !h.Ends[peer].Seen():
			return nil // soft, or nothing is left to send
		case h.Ends[subject].SentAt > m.At && !(h.Happened(subject, tcp.SndRST) && h.Ends[subject].SentAt.Sub(m.At) <= icmpSilence), h.M.Heard().Sub(m.At) < icmpSilence:
			return nil // it carries on, or it is too early to say
		}
		f.Say(anomaly.Either(m.From.IsValid(), "router", "unknown"))
		f.Say(what)
		return f
	},
}

var nextOfUnreachable = map[string]string{
	"network-unreachable":  "Look for the missing route to {Y.ip} on the router that reported it.",
	"no-route":             "Look for the missing route to {Y.ip} on the router that reported it.",
	"host-unreachable":     "Check whether {Y.ip} is up and answers ARP or neighbor discovery on its link.",
	"address-unreachable":  "Check whether {Y.ip} is up and answers neighbor discovery on its link.",
	"protocol-unreachable": "Find what rejects TCP for {Y.ip}. Most likely it is a firewall.",
	"port-unreachable":     "Look for the firewall rule that rejects port {Y.port} of {Y.ip} with ICMP. A host without a listener answers with RST.",
	"prohibited":           "Look for the firewall rule that blocks {X.ip} from port {Y.port} of {Y.ip}.",
	"unreachable":          "On the router that reported it, find out why it does not forward packets to {Y.ip}.",
}

// unreachableBy are the causes by what the ICMP error says.
func unreachableBy(names ...string) (list []anomaly.Cause) {
	for _, name := range names {
		list = append(list, anomaly.Cause{Name: name, Next: nextOfUnreachable[name], Text: "{from} reported that {Y} is unreachable ({version} type {type} code {code}, " + name + "), and {X} gave up its {what}."})
	}
	return list
}

const forgottenText = "After {span} idle, nothing passes any more: {n} attempts of {X} got no answer. A NAT or firewall has forgotten the flow, or {Y} is gone."

var MiddleboxIdleDrop = anomaly.Kind{
	Name:     "middlebox-idle-drop",
	Severity: anomaly.Warning,
	Title:    "Flow died after idle time",
	RFC:      "RFC 5382 §5",
	Next:     "Send keepalives on {X} more often than the idle limit on the path (TCP_KEEPIDLE; common limits are 60 s to an hour), or raise that limit.",
	Causes: []anomaly.Cause{
		{Name: "retransmissions", Text: forgottenText},
		{Name: "keepalives", Text: forgottenText},
		{Name: "reset", Text: "After {span} idle, {X} got a RST with source {Y} and TTL {ttl}, but {Y}'s segments had {usual}. A NAT, firewall or load balancer has forgotten the flow."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "idle time, at least", Value: conn.LongIdle},
		{Name: "copies of the same bytes", Value: firstTries},
		{Name: "keepalives", Value: firstKeepalives},
	},
	On: triggers.OnRepeat | triggers.OnKeepalive | triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Flags&tcp.RST != 0 {
			return resetAfterIdle(h)
		}
		subject, peer := h.From, h.From.Peer()
		tr := h.Rare.StallsOf(subject)
		if tr == nil || !h.Visible(subject) || !h.Visible(peer) || h.Ends[peer].Wnd == 0 || h.Over(peer) {
			return nil
		}
		w, what := &tr.Data, "retransmissions"
		switch h.S.Packet {
		case tr.Data.Frames[1]:
			if w.Copies < firstTries {
				return nil
			}
		case tr.Probes.Frames[1]:
			if w, what = &tr.Probes, "keepalives"; w.Copies < firstKeepalives {
				return nil
			}
		default:
			return nil
		}
		idle := w.First.Sub(w.Heard)
		if h.Ends[peer].SentAt != w.Heard || idle < conn.LongIdle {
			return nil
		}
		f := &anomaly.Finding{
			End:     subject,
			Cause:   what,
			Certain: anomaly.ConfidenceAmbiguous,
			Values:  anomaly.Values{"span": idle, "n": w.Copies},
		}
		told := h.Flagged("middlebox-idle-drop", subject)
		f.More = told != nil && w.First <= max(told.Time, told.Until)
		f.Again = told != nil && !f.More
		if told == nil || f.Again && len(told.Evidence) < mostEvidence {
			f.Evidence = []int{w.HeardFrame, w.Frames[0], w.Frames[1]}
		}
		return f
	},
}

// IdleReset returns the segment that the RST answers, if something between the
// ends made it after a long silence.
func IdleReset(h *anomaly.Case) (asked *recent.Segment, idle time.Duration) {
	subject, peer := h.From, h.From.Peer()
	if !h.Before.Device || h.Over(peer) {
		return nil, 0
	}
	var newest *recent.Segment
	for g := range h.Earlier() {
		if g.From != peer {
			break
		}
		if newest == nil {
			newest = g
		}
		if g.Data > 0 || g.Flags&tcp.FIN != 0 || g.Is&recent.WasKeepalive != 0 {
			asked = g // the first of those that asked for an answer
		}
	}
	if asked == nil {
		asked = newest
	}
	if asked != nil {
		idle = asked.At.Sub(h.Before.SentAt[subject])
	}
	if idle < conn.LongIdle {
		return nil, 0
	}
	return asked, idle
}

// resetAfterIdle reports a RST by a middlebox that has forgotten the flow.
func resetAfterIdle(h *anomaly.Case) *anomaly.Finding {
	subject, peer := h.From, h.From.Peer()
	asked, idle := IdleReset(h)
	if asked == nil {
		return nil
	}
	return &anomaly.Finding{
		End:      peer,
		Cause:    "reset",
		Certain:  anomaly.ConfidenceAmbiguous,
		Evidence: []int{asked.Packet, h.S.Packet},
		Values:   anomaly.Values{"span": idle, "ttl": h.S.TTL, "usual": h.Ends[subject].TTL},
	}
}
