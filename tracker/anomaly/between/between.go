// Package between has the anomalies of what happened to segments on their way,
// where captures of several places show what left and what came.
package between

import (
	"strings"

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
		{Text: "#{frame} ({flags}, {bytes bytes}) left {X} and did not come to the capture near {Y}. {Y} did not acknowledge it either: it was lost between the captures."},
		{Name: "unacknowledged", Text: "#{frame} ({flags}) left {X} and did not come to the capture near {Y}: it was lost between the captures, unless the second missed it. {Y} does not acknowledge such a segment."},
	},
	On: triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Twin.Fate != tcp.FateLost {
			return nil
		}
		f := found(h)
		if h.S.Len() == 0 {
			f.Cause, f.Certain = "unacknowledged", anomaly.ConfidenceAssumed
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
		{Text: "#{frame} ({flags}, {bytes bytes}) came to {Y} once more than it left {X}: something between the captures made a copy."},
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
		{Text: "#{frame} ({flags}, {bytes bytes}) left {X} before {n segments} of it that came to {Y} sooner."},
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
		{Text: "#{frame} ({flags}, {bytes bytes}) took {span} from {X} to the capture near {Y}. The quickest took {least}."},
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
		{Text: "#{frame} ({flags}, {bytes bytes}) came to {Y} in the name of {X}, but did not leave {X}: something between the captures sent it."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "taken", Text: " {Y} accepts it, and is cut off from {X} by it."},
		{Name: "not-taken", Text: " {Y} does not accept it."},
	},
	Moves:      []anomaly.SeverityMove{{Name: "taken", To: anomaly.Error, When: "if it is a RST that its target accepts"}},
	Next:       "Capture between the two places, until one capture shows it and the one before does not: the device that sends it is between these.",
	Supersedes: []string{"forged-rst", "data-after-rst", "rst-unmatched", "rst-out-of-window", "blind-rst-in-window", "linger-zero-abort", "connection-reset", "connection-tampering"},
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

// changes are the phrases for what became another.
var changes = []anomaly.Phrase{
	{Name: "mss", In: "changes", Text: "its MSS from {mss} to {mss-now}"},
	{Name: "scale", In: "changes", Text: "its window scale"},
	{Name: "options", In: "changes", Text: "its options"},
	{Name: "numbers", In: "changes", Text: "its sequence numbers"},
	{Name: "window", In: "changes", Text: "its window from {window} to {window-now}"},
	{Name: "length", In: "changes", Text: "its length to {length-now bytes}"},
	{Name: "payload", In: "changes", Text: "its contents"},
	{Name: "flags", In: "changes", Text: "its flags to {flags-now}"},
}

var ChangedBetween = anomaly.Kind{
	Name:     "changed-between",
	Severity: anomaly.Notice,
	Title:    "Changed on the way",
	RFC:      "RFC 3234 §2",
	Causes: []anomaly.Cause{
		{Text: "Something between the captures changed #{frame} ({flags}, {bytes bytes}) of {X}: {changes}."},
	},
	Phrases: changes,
	On:      triggers.OnBetween,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		o := h.S.Twin.Other
		if o == nil || h.Flagged("changed-between", h.From) != nil {
			return nil
		}
		is := h.S.Changes(o)
		if is == 0 {
			return nil
		}
		f := found(h)
		f.Values["mss"], f.Values["mss-now"] = h.S.Options.MSS, o.Options.MSS
		f.Values["window"], f.Values["window-now"] = h.S.Wnd, o.Wnd
		f.Values["length-now"], f.Values["flags-now"] = o.Data, flags(o)
		for i := range changes {
			if is&(1<<i) != 0 {
				f.Say(changes[i].Name)
			}
		}
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
		Values:   anomaly.Values{"frame": h.S.Packet, "flags": flags(h.S), "bytes": h.S.Data},
	}
}

// flags are the control bits of a segment as people write them.
func flags(s *tcp.Segment) string { return strings.ReplaceAll(s.Flags.String(), ",", "+") }
