package resets

import (
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// RSTs that their target should have taken and did not, and RSTs that it takes
// and no other kind tells of.

// answersInRow is how many RSTs an end must have answered by an ACK to show that
// they reach it: fewer may have crossed what it sent for itself.
const answersInRow = 3

var RstIgnored = anomaly.Kind{
	Name:     "rst-ignored",
	Severity: anomaly.Notice,
	Title:    "RST with the exact sequence number not accepted",
	RFC:      "RFC 1337 §3, RFC 5961 §3",
	Causes: []anomaly.Cause{
		{
			Name: "answered",
			Text: "{X} answered {n} RSTs with source {Y} in a row with the same ACK, although #{rst} has the number that {X} expects, {seq}. The RSTs arrive, and {X} does not accept them.",
			Next: "Capture at {X}, to see whether the numbers there are the same as here. If they are, its stack or a filter on its host is at fault.",
		},
		{Name: "time-wait", Text: "The RST #{rst} with source {Y} has the number that {X} expects, {seq}, but {X} is still in TIME_WAIT {span} later. It ignores RSTs there (on Linux net.ipv4.tcp_rfc1337=1), or this one was lost after the capture point."},
		{
			Name: "went-on",
			Text: "The RST #{rst} with source {Y} has the number that {X} expects, {seq}, but {X} goes on {span} later. The RST was lost after the capture point, or something in front of {X} or on its host drops it.",
			Next: "Capture at {X}, to see whether the RST arrives there. If it does, look for a filter on the host that drops it as invalid.",
		},
	},
	Thresholds: []anomaly.Threshold{{Name: "RSTs answered in a row that show that they arrive, at least", Value: answersInRow}},
	On:         triggers.OnUnsettled,
	Only:       triggers.IfWasClosed,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.S.Flags&tcp.RST != 0 || h.Before.States[subject] != tcp.Closed.Set() || h.X().Assumed&tcp.Closed.Set() != 0 {
			return nil
		}
		for g := range h.Recent() {
			if g.From != peer || g.Is&recent.WasAccepted == 0 {
				continue
			}
			if g.Seq != h.Before.Acked[subject] && g.Seq != h.Before.Nxt[peer] {
				return nil
			}
			f := &anomaly.Finding{
				End:      subject,
				Cause:    "went-on",
				Certain:  anomaly.ConfidenceAssumed,
				Evidence: []int{g.Packet, h.S.Packet},
				Values:   anomaly.Values{"rst": g.Packet, "seq": g.Seq, "span": h.Now.Sub(g.At)},
			}
			switch n := answeredRSTs(h); {
			case n >= answersInRow:
				f.Cause, f.Values["n"] = "answered", n
			case h.X().Assumed == tcp.TimeWait.Set():
				f.Cause = "time-wait"
			}
			return f
		}
		return nil
	},
}

// answeredRSTs counts the newest RSTs each of which the sender of the segment
// answered by the same empty ACK, the last by this segment.
func answeredRSTs(h *anomaly.Case) (n int) {
	awaitsACK := true
	for g := range h.Recent() {
		isRST := g.From != h.From && g.Flags&tcp.RST != 0
		isACK := g.From == h.From && g.Pure() && g.Seq == h.S.Seq && g.Ack == h.S.Ack
		if awaitsACK && !isACK || !awaitsACK && !isRST {
			break
		}
		if isRST {
			n++
		}
		awaitsACK = !awaitsACK
	}
	return n
}

// cutShort are the states that a RST cuts short.
const cutShort = tcp.StateSet(1<<tcp.Established | 1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.CloseWait | 1<<tcp.Closing | 1<<tcp.LastAck)

// captureMore is what helps where the packets do not tell.
const captureMore = "Capture at {X}, in both directions and from the start, to see whether it sends the RST and what came before."

// ConnectionReset is found where no other kind tells of the RST: a connection that
// a RST ends is never passed over.
var ConnectionReset = anomaly.Kind{
	Name:     "connection-reset",
	Severity: anomaly.Notice,
	Title:    "A RST ended the connection",
	RFC:      "RFC 9293 §3.5.2, §3.5.3",
	Causes: []anomaly.Cause{
		{Name: "left-before", Text: "{X} had left the connection with #{frame}, but {Y} still held it. {Y} ended it at the RST of {X} with seq {seq}, {span} later."},
		{Name: "gone", Text: "{X} had given up the connection before, and answered #{asked} with RST seq {seq}. {Y} still held the connection, and ended it at this RST."},
		{Name: "either", Text: "{X} ended the connection with RST seq {seq}. Both an abort, and the answer to #{asked} by a host that has lost the connection, use this number. The packets do not show which one it is.", Next: captureMore},
		{Name: "unknown", Text: "A RST with source {X} and seq {seq} ended the connection. Too little was captured to say why it was sent.", Next: captureMore},
	},
	RestsOn: anomaly.ResetTaken,
	On:      triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if !h.Before.Accepted || !h.Y().Seen() || h.Before.States[peer]&cutShort == 0 || h.Over(peer) || h.Explained() {
			return nil
		}
		asked := h.Newest(peer)
		if h.Before.SentAt[subject] == 0 && (asked == nil || asked.Pure()) {
			return nil // whoever probes a port with an ACK has no connection to lose
		}
		f := &anomaly.Finding{
			End:      subject,
			Again:    true,
			Certain:  anomaly.ConfidenceAmbiguous,
			Evidence: []int{h.S.Packet},
			Values:   anomaly.Values{"seq": h.S.Seq},
		}
		left, closed := leftBefore(h)
		switch {
		case closed && left.Packet() != 0:
			f.Cause, f.Certain = "left-before", anomaly.ConfidenceAssumed
			f.Values["frame"], f.Values["span"] = left.Packet(), h.Now.Sub(left.At)
			f.Evidence = append(f.Evidence, left.Packet())
		case h.Before.RST == rst.Reply && asked != nil:
			f.Cause = anomaly.Either(h.Over(subject), "gone", "either")
			f.Values["asked"] = asked.Packet
			f.Evidence = append(f.Evidence, asked.Packet)
		default:
			f.Cause = "unknown"
		}
		return f
	},
}

// leftBefore returns the step by which the RST's sender had left the connection
// before it.
func leftBefore(h *anomaly.Case) (left history.Step, ok bool) {
	for _, st := range h.Steps() {
		if st.End() == h.From && st.Packet() != h.S.Packet {
			left, ok = st, st.State() == tcp.Closed
		}
	}
	return left, ok
}
