package closing

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What does not happen after one end has closed, or at all. Such things show
// only when time has passed: at a timer, or where the capture ends.

// How long nothing must have happened.
const (
	halfCloseLinger = 10 * time.Second  // one end still flushing what it had to send takes less
	finWait2Wait    = 60 * time.Second  // FIN-WAIT-2, if the stack does not hold it longer
	closeUnseen     = 300 * time.Second // an open connection at the end of the capture
)

// leaksOfServer is how many leaked sockets on one address and port are more
// than an accident.
const leaksOfServer = 10

// flushTime is how long the end that has not closed may go on sending.
var flushTime = anomaly.Threshold{Name: "time that the end which has not closed may take to send what it still has", Value: halfCloseLinger}

const (
	closeWaitLeakName = "close-wait-leak"
	finWait2StuckName = "fin-wait-2-stuck"
	halfCloseName     = "half-close-lingering"
)

var CloseWaitLeak = anomaly.Kind{
	Name:     closeWaitLeakName,
	Severity: anomaly.Warning,
	Title:    "Application never closes",
	RFC:      "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "{X} acknowledged the FIN of {Y} but has not closed its side {span} later: most likely its application leaks this socket."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "another", Text: " It is number {n} on {X}."},
		{Name: "forgotten", Text: " {Y} has probably forgotten the connection by now."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time since {X} acknowledged the FIN, or sent its last octets, at least", Value: conn.CloseWaitLeaked},
		flushTime,
		{Name: "connections of one address and port that make it an error, at least", Value: leaksOfServer},
	},
	Moves:      []anomaly.SeverityMove{{Name: "many", To: anomaly.Error, When: "if it is one of many on that address and port"}},
	Supersedes: []string{finWait2StuckName, halfCloseName},
	On:         triggers.OnTimer | triggers.OnEnd,
	Only:       triggers.IfHalfClosed,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From.Peer(), h.From
		leaker := &h.Ends[peer]
		if leaker.Assumed != tcp.CloseWait.Set() || leaker.Proved != tcp.CloseWait.Set() || !h.Visible(peer) || h.Flagged(closeWaitLeakName, peer) != nil {
			return nil
		}
		if hasMoreToSend(h, peer) {
			return nil
		}
		since := silentSince(h, subject, peer)
		if since == 0 || h.Now.Sub(since) < conn.CloseWaitLeaked {
			return nil
		}
		n := h.Tallied(closeWaitLeakName, peer) + 1
		f := &anomaly.Finding{
			End:      peer,
			Certain:  anomaly.ConfidenceProved,
			Evidence: h.Frames(subject, tcp.SndFIN, tcp.RcvAckOfFIN),
			Tally:    true,
			Values:   anomaly.Values{"span": h.Now.Sub(since), "n": n},
		}
		if n > 1 {
			f.Say("another")
		}
		if n >= leaksOfServer {
			f.Move = "many"
		}
		if h.Ends[subject].Assumed == tcp.Closed.Set() {
			f.Say("forgotten")
		}
		return f
	},
}

var FinWait2Stuck = anomaly.Kind{
	Name:     finWait2StuckName,
	Severity: anomaly.Warning,
	Title:    "Closed side waits for a FIN that does not come",
	RFC:      "RFC 9293 §3.6",
	Causes:   []anomaly.Cause{{Text: "{Y} has not closed {span} after {X} did.{outcome}"}},
	Phrases: []anomaly.Phrase{
		{Name: "forgets", In: "outcome", Text: " If {X} had called close(), and not only shutdown(), its stack now forgets FIN_WAIT_2, and a later FIN will get RST."},
		{Name: "waits", In: "outcome", Text: " {X} waits for its FIN, which only the application there can bring about."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time in FIN_WAIT_2", Value: finWait2Wait},
		{Name: "the same, if the stack of {X} holds it longer", Value: tcp.StackLinux.Stack().FinWait2, Flag: "stack"},
		flushTime,
	},
	Supersedes: []string{halfCloseName},
	RestsOn:    anomaly.FINSent,
	On:         triggers.OnTimer | triggers.OnEnd,
	Only:       triggers.IfHalfClosed,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Before.States[subject] != tcp.FinWait2.Set() || h.Ends[peer].Has(conn.HasFIN) || !h.Visible(peer) || h.Flagged(finWait2StuckName, subject) != nil {
			return nil
		}
		if hasMoreToSend(h, peer) {
			return nil
		}
		since, held := silentSince(h, subject, peer), max(finWait2Wait, h.Ends[subject].Stack().FinWait2)
		if since == 0 || h.Now.Sub(since) < held-time.Millisecond { // the timer counts in coarser units
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: h.Frames(subject, tcp.SndFIN, tcp.RcvAckOfFIN),
		}
		f.Values = anomaly.Values{"span": h.Now.Sub(since)}
		f.Say(anomaly.Either(h.Ends[subject].Assumed != h.Before.States[subject], "forgets", "waits"))
		return f
	},
}

var HalfCloseLingering = anomaly.Kind{
	Name:     halfCloseName,
	Severity: anomaly.Info,
	Title:    "One direction closed, the other still in use",
	RFC:      "RFC 9293 §3.6",
	Causes:   []anomaly.Cause{{Text: "{X} closed its direction {span} ago; {Y} {what}. A half-closed connection is legal, and often meant."}},
	Phrases: []anomaly.Phrase{
		{Name: "sends", In: "what", Text: "still has the other one and has sent {n bytes} since"},
		{Name: "silent", In: "what", Text: "has not closed its own, nor sent anything since"},
	},
	Thresholds: []anomaly.Threshold{{Name: "time since {Y} acknowledged the FIN, more than", Value: halfCloseLinger}},
	RestsOn:    anomaly.FINSent,
	On:         triggers.OnUnsettled | triggers.OnEnd,
	Only:       triggers.IfHalfClosed,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Ends[subject].Assumed != tcp.FinWait2.Set() || h.Ends[peer].Assumed != tcp.CloseWait.Set() || !h.Visible(peer) {
			return nil
		}
		// Data alone may be met by a RST. That it is acknowledged shows the
		// connection to be in use.
		if h.S != nil && (h.SentSinceFIN(peer) == 0 || !h.Before.Acked[subject].Before(h.S.Ack)) {
			return nil
		}
		if h.Flagged(halfCloseName, subject) != nil || h.Flagged(finWait2StuckName, subject) != nil || h.Flagged(closeWaitLeakName, peer) != nil {
			return nil
		}
		ack, ok := h.Find(subject, tcp.RcvAckOfFIN)
		if !ok || h.Now.Sub(ack.At) <= halfCloseLinger {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.Frames(subject, tcp.SndFIN), ack.Packet()),
		}
		n := h.SentSinceFIN(peer)
		f.Values = anomaly.Values{"span": h.Now.Sub(ack.At), "n": n}
		if n > 0 {
			f.Evidence = append(f.Evidence, h.LastDataOf(peer)...)
			f.Say("sends")
		} else {
			f.Say("silent")
		}
		return f
	},
}

var NoCloseSeen = anomaly.Kind{
	Name:     "no-close-seen",
	Severity: anomaly.Notice,
	Title:    "Connection just stopped",
	RFC:      "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "No close was captured, neither FIN nor RST: the last segment came from {X}, {span} before the end of the capture. An idle connection is legal; both ends may hold it still, or have lost it unseen."},
	},
	Thresholds: []anomaly.Threshold{{Name: "time from the last segment to the end of the capture, at least", Value: closeUnseen}},
	On:         triggers.OnEnd,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		idle := h.Now.Sub(h.Ends[subject].SentAt)
		if h.Ends[subject].SentAt <= h.Ends[peer].SentAt && subject == tcp.Server || h.Ends[subject].SentAt < h.Ends[peer].SentAt || idle < closeUnseen {
			return nil // once, for the end that spoke last
		}
		if h.Ends[subject].Assumed.Shown() != tcp.Established || h.Ends[peer].Assumed.Shown() != tcp.Established || !h.Visible(subject) || !h.Visible(peer) {
			return nil
		}
		f := &anomaly.Finding{End: subject, Certain: anomaly.ConfidenceAssumed, Values: anomaly.Values{"span": idle}}
		for g := range h.Back() {
			f.Evidence = append(f.Evidence, g.Packet)
			if len(f.Evidence) == 2 {
				break
			}
		}
		return f
	},
}

// hasMoreToSend reports whether the end may have something to send before its
// FIN: its peer has closed the window, or not acknowledged all yet.
func hasMoreToSend(h *anomaly.Case, y tcp.Endpoint) bool {
	peer := &h.Ends[y.Peer()]
	return peer.Wnd == 0 || peer.Acked.Before(h.Ends[y].Nxt)
}

// silentSince returns when the end y, which has not closed, acknowledged x's
// FIN or had flushed what it still had to send; 0 if that is not known, or if
// it made use of its direction later than that.
func silentSince(h *anomaly.Case, x, y tcp.Endpoint) tcp.Time {
	ack, ok := h.Find(x, tcp.RcvAckOfFIN)
	switch {
	case !ok:
		return 0
	case h.SentSinceFIN(y) == 0:
		return ack.At
	case h.Ends[y].SentAt.Sub(ack.At) > halfCloseLinger:
		return 0
	}
	return h.Ends[y].SentAt
}
