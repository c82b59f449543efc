// Package between has the anomalies of what happened to segments on their way,
// where captures of several places show what left and what came.
package between

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var LostBetween = anomaly.Kind{
	Name:     "lost-between",
	Severity: anomaly.Notice,
	Title:    "Lost on the way",
	RFC:      "RFC 7680 §2",
	Causes: []anomaly.Cause{
		{Text: "#{frame} ({segment}) left {X} and did not come to the capture near {Y}. {Y} did not acknowledge it either: it was lost between the captures."},
	},
	On: triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Twin.Fate != tcp.FateLost {
			return nil
		}
		f := found(h)
		if h.S.Len() == 0 {
			f.Certain = anomaly.ConfidenceAssumed // nobody acknowledges an ACK: it may have come without being captured
		}
		return f
	},
}

var CopiedBetween = anomaly.Kind{
	Name:     "copied-between",
	Severity: anomaly.Info,
	Title:    "Copied on the way",
	RFC:      "RFC 5560 §1",
	Causes: []anomaly.Cause{
		{Text: "#{frame} ({segment}) came to {Y} once more than it left {X}: something between the captures made a copy."},
	},
	On: triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Twin.Fate != tcp.FateCopied {
			return nil
		}
		return found(h)
	},
}

var ReorderedBetween = anomaly.Kind{
	Name:     "reordered-between",
	Severity: anomaly.Info,
	Title:    "Overtaken on the way",
	RFC:      "RFC 4737 §3",
	Causes: []anomaly.Cause{
		{Text: "#{frame} ({segment}) left {X} before {n segments} of it that came to {Y} sooner."},
	},
	On: triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Twin.Overtaken == 0 {
			return nil
		}
		f := found(h)
		f.Values["n"] = h.S.Twin.Overtaken
		return f
	},
}

var DelayedBetween = anomaly.Kind{
	Name:     "delayed-between",
	Severity: anomaly.Notice,
	Title:    "Late on the way",
	RFC:      "RFC 7679 §3",
	Causes: []anomaly.Cause{
		{Text: "#{frame} ({segment}) took {span} from {X} to the capture near {Y}. The quickest took {least}."},
	},
	Thresholds: []anomaly.Threshold{{Name: "how much longer than the quickest, at least", Value: conn.LateOnTheWay}},
	On:         triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		late := h.LateBy(h.S, h.From)
		if late < conn.LateOnTheWay {
			return nil
		}
		f := found(h)
		f.Values["span"], f.Values["least"] = h.S.Twin.Delay, max(h.S.Twin.Delay-late, 0)
		return f
	},
}

var ForgedBetween = anomaly.Kind{
	Name:     "forged-between",
	Severity: anomaly.Warning,
	Title:    "Not sent by the end that it names",
	RFC:      "RFC 5961 §1.1",
	Causes: []anomaly.Cause{
		{Text: "#{frame} ({segment}) came to {Y} in the name of {X}, but did not leave {X}: something between the captures sent it."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "taken", Text: " {Y} accepts it, and is cut off from {X} by it."},
		{Name: "not-taken", Text: " {Y} does not accept it."},
	},
	Moves:      []anomaly.SeverityMove{{Name: "taken", To: anomaly.Error, When: "if it is a RST that its target accepts"}},
	Next:       "Capture between the two places, until one capture shows it and the one before does not: the device that sends it is between these.",
	Supersedes: []string{"forged-rst", "data-after-rst", "rst-unmatched", "rst-out-of-window", "blind-rst-in-window", "linger-zero-abort", "connection-reset"},
	On:         triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Twin.Fate != tcp.FateForged || h.S.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK {
			return nil
		}
		f := found(h)
		switch {
		case h.S.Flags&tcp.RST == 0:
		case h.Before.Accepted:
			f.Move = "taken"
			f.Say("taken")
		default:
			f.Say("not-taken")
		}
		return f
	},
}

var AnsweredBetween = anomaly.Kind{
	Name:     "answered-between",
	Severity: anomaly.Notice,
	Title:    "Something on the way answers for the server",
	RFC:      "RFC 3135 §2.1, RFC 4987 §3.7",
	Causes: []anomaly.Cause{
		{Text: "The SYN+ACK #{frame} came to {Y} in the name of {X}, but did not leave {X}: a proxy, or a device that keeps SYN floods away, answers for {X}."},
	},
	Supersedes: []string{"unsolicited-syn-ack"},
	On:         triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Twin.Fate != tcp.FateForged || h.S.Flags&(tcp.SYN|tcp.ACK) != tcp.SYN|tcp.ACK {
			return nil
		}
		return found(h)
	},
}

var ChangedBetween = anomaly.Kind{
	Name:     "changed-between",
	Severity: anomaly.Notice,
	Title:    "Changed on the way",
	RFC:      "RFC 3234 §2",
	Causes: []anomaly.Cause{
		{Text: "#{frame} ({segment}) of {X} was changed between the captures: {changes}."},
	},
	On: triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		changes := h.S.Changes()
		if len(changes) == 0 || h.Flagged("changed-between", h.From) != nil {
			return nil
		}
		f := found(h)
		f.Values["changes"] = join(changes)
		return f
	},
}

var NATRewritten = anomaly.Kind{
	Name:     "nat-rewritten",
	Severity: anomaly.Info,
	Title:    "Addresses translated on the way",
	RFC:      "RFC 5382 §3",
	Causes: []anomaly.Cause{
		{Text: "Between the captures, {from} becomes {to} in what {X} sends."},
	},
	On: triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		o := h.S.Twin.Other
		if o == nil || o.Src == h.S.Src && o.Dst == h.S.Dst || h.Flagged("nat-rewritten", h.From) != nil {
			return nil
		}
		f := found(h)
		f.Values["from"], f.Values["to"] = h.S.Src, o.Src
		if o.Src == h.S.Src {
			f.Values["from"], f.Values["to"] = h.S.Dst, o.Dst
		}
		return f
	},
}

// found is what all findings about the segment at hand have.
func found(h *anomaly.Case) *anomaly.Finding {
	return &anomaly.Finding{
		End:      h.From,
		Certain:  anomaly.ConfidenceProved,
		Evidence: []int{h.S.Packet},
		Values:   anomaly.Values{"frame": h.S.Packet, "segment": segment(h.S), "span": time.Duration(0)},
	}
}
