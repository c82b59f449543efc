package established

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What a segment carries beside its numbers: timestamps, which tell old from
// new where numbers do not; octets, which must be the same each time they are
// sent; and the urgent pointer.

const (
	// wanderedFor is how old a segment is that was not only reordered.
	wanderedFor = 50 * time.Millisecond

	// wrapWithin is the maximum segment lifetime (RFC 9293 §3.4.2).
	wrapWithin = 2 * time.Minute
)

var PawsRejected = anomaly.Kind{
	Name:     "paws-rejected",
	Severity: anomaly.Notice,
	Title:    "Timestamp went backwards",
	RFC:      "RFC 7323 §5",
	Causes: []anomaly.Cause{
		{Text: "{X}'s segment (seq {seq}) carries timestamp {tsval}, {behind ticks} less than {newer}, which {Y} has already received. {Y} drops it as an old duplicate."},
		{Name: "clock-back", Text: "{X}'s new bytes (seq {seq}) carry timestamp {tsval}, {behind ticks} less than {newer}, which {Y} has already received. Until the timestamps pass {newer}, {Y} drops these bytes each time and repeats its previous ACK. A device on the path changes or resets the timestamps, or another host uses this address and port.",
			Next: "Find what sends with the older clock. Capture at {X.ip}, and look on the path for a proxy, a failover or a NAT of several hosts that mixes timestamps. Until that is fixed, turn timestamps off (net.ipv4.tcp_timestamps=0)."},
	},
	Thresholds: []anomaly.Threshold{{Name: "delay of the segment, if the round trip is not longer and {Y} has its bytes, more than", Value: wanderedFor}},
	On:         triggers.OnRefused,
	// An ACK without data that comes late is harmless, and Linux lets it pass.
	Check: func(h *anomaly.Case) *anomaly.Finding {
		s, peer := h.S, h.Y()
		if h.Why != tcp.OldTimestamp || s.Len() == 0 {
			return nil
		}
		f := &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{s.Packet},
			Values:   anomaly.Values{"seq": s.Seq, "tsval": s.Options.TSVal, "newer": peer.Echoed(), "behind": peer.Echoed() - s.Options.TSVal},
		}
		if h.Fresh > 0 {
			f.Cause = "clock-back"
		}
		late := peer.Acked.Before(s.End())
		for g := range h.Earlier() {
			if g.From == h.From && g.TSVal == peer.Echoed() && g.Is&recent.WasForeign == 0 {
				f.Evidence = append(f.Evidence, g.Packet)
				late = late || h.Now.Sub(g.At) > max(wanderedFor, peer.InFlight())
			}
		}
		if !late {
			return nil // a copy that was overtaken by a little
		}
		return f
	},
}

var SeqWrapIn2MSL = anomaly.Kind{
	Name:     "seq-wrap-in-2msl",
	Severity: anomaly.Warning,
	Title:    "Sequence space can repeat inside MSL",
	RFC:      "RFC 9293 §3.4.3, RFC 7323 §5",
	Next:     "Turn timestamps on at both ends (net.ipv4.tcp_timestamps=1).",
	Causes: []anomaly.Cause{
		{Text: "{X} used all 2^32 sequence numbers in {span} without timestamps. An old segment can be taken for a new one."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time for all sequence numbers, at most", Value: wrapWithin},
		{Name: "the same, if 2 MSL of the stack of {X} is shorter", Value: tcp.StackLinux.Stack().TimeWait2MSL, Flag: "2msl"},
	},
	On: triggers.OnWrap,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From
		tr := h.Rare.StallsOf(subject)
		if tr == nil || tr.Wrapped.Frame != h.S.Packet || tr.Wrapped.Since == 0 || h.Ends[subject].Has(endpoint.HasTS) || !h.Visible(subject) {
			return nil
		}
		took := tr.Wrapped.At.Sub(tr.Wrapped.Since)
		if took > min(wrapWithin, h.Ends[subject].Stack().TimeWait2MSL) {
			return nil
		}
		return &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{tr.Wrapped.SinceFrame, h.S.Packet},
			Values:   anomaly.Values{"span": took},
		}
	},
}

var InconsistentRetransmission = anomaly.Kind{
	Name:     "inconsistent-retransmission",
	Severity: anomaly.Error,
	Title:    "Same numbers, different bytes",
	RFC:      "RFC 2525 §2.5, RFC 1337 §2",
	Next:     "Capture at {X}. If it sent only one content, a device on the path injects or rewrites data. If it sent both, check its stack, its network card or its proxy.",
	Causes: []anomaly.Cause{
		{Text: "{X} sent bytes {from} to {to} with two different contents. One copy is injected or belongs to an earlier connection, or the stack is broken. {Y} may have read either one."},
	},
	On: triggers.OnRepeat,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		s := h.S
		if s.Payload == 0 || h.Keepalive || h.Foreign || s.Sum == tcp.SumBad || s.Data == 1 && h.Before.Wnd[peer] == 0 {
			return nil // a probe may carry any octet
		}
		for g := range h.Earlier() {
			if g.From != subject || g.Seq != s.Seq || g.Data != s.Data || g.Content == 0 || g.Is&(recent.WasKeepalive|recent.WasForeign) != 0 {
				continue
			}
			if g.Content == recent.Fold(s.Payload) {
				return nil
			}
			return &anomaly.Finding{
				End:      subject,
				Certain:  anomaly.ConfidenceProved,
				Evidence: []int{g.Packet, s.Packet},
				Values:   anomaly.Values{"from": s.Seq, "to": s.Seq.Add(s.Data) - 1},
			}
		}
		return nil
	},
}

var UrgentAnomaly = anomaly.Kind{
	Name:     "urgent-anomaly",
	Severity: anomaly.Notice,
	Title:    "Urgent pointer misuse",
	RFC:      "RFC 9293 §3.8.5, RFC 6093",
	Next:     "Check what {X} sends with MSG_OOB, or look for a scanner or middlebox that sets the urgent pointer.",
	Causes: []anomaly.Cause{
		{Name: "no-flag", Text: "{X}'s urgent field makes no sense: a pointer of {pointer} without the URG flag. Receivers and middleboxes read such segments differently."},
		{Name: "pointer-zero", Text: "{X}'s urgent field makes no sense: the URG flag with a pointer of 0. Receivers and middleboxes read such segments differently."},
		{Name: "no-data", Text: "{X}'s urgent field makes no sense: the URG flag on a segment without data, although the window is open. Receivers and middleboxes read such segments differently."},
	},
	On: triggers.OnFlags,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		s, peer := h.S, h.From.Peer()
		if s.Flags&(tcp.ACK|tcp.SYN) != tcp.ACK {
			return nil // the flags themselves are odd
		}
		f := &anomaly.Finding{End: h.From, Certain: anomaly.ConfidenceProved, Evidence: []int{s.Packet}}
		switch {
		case s.Flags&tcp.URG == 0 && s.Urg != 0:
			f.Cause, f.Values = "no-flag", anomaly.Values{"pointer": s.Urg}
		case s.Flags&tcp.URG != 0 && s.Urg == 0:
			f.Cause = "pointer-zero"
		case s.Flags&tcp.URG != 0 && s.Data == 0 && h.Ends[peer].Wnd != 0:
			f.Cause = "no-data"
		default:
			return nil // with a closed window urgency is told ahead of its data
		}
		return f
	},
}
