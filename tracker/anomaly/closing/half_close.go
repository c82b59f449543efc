package closing

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What does not happen after one end has closed, or at all. Such things show
// only when time has passed: at a timer, or where the capture ends.

// How long nothing must have happened. How long somebody may wait for the other
// end to close is Machine.LeakAfter.
const (
	halfCloseLinger = 10 * time.Second  // one end still flushing what it had to send takes less
	closeUnseen     = 300 * time.Second // an open connection at the end of the capture
)

// leaksOfService is how many leaked sockets of one service are more than an
// accident.
const leaksOfService = 10

// flushTime is how long the end that has not closed may go on sending.
var flushTime = anomaly.Threshold{Name: "time for the end that has not closed to send its remaining data", Value: halfCloseLinger}

const (
	closeWaitLeakName = "close-wait-leak"
	finWait2StuckName = "fin-wait-2-stuck"
	halfCloseName     = "half-close-lingering"
)

// The ways in which an end ceases to be able to close.
var (
	closedItself = anomaly.Phrase{Name: "closed", In: "end", Text: "it closed too"}
	wasReset     = anomaly.Phrase{Name: "reset", In: "end", Text: "a RST ended the connection"}
	wasForgotten = anomaly.Phrase{Name: "gone", In: "end", Text: "it turned out to have lost the connection"}
)

var CloseWaitLeak = anomaly.Kind{
	Name:     closeWaitLeakName,
	Severity: anomaly.Warning,
	Title:    "Application never closes",
	RFC:      "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "{X} acknowledged the FIN of {Y} but has not closed its side {span} later. Most likely its application leaks this socket."},
		{Name: "closes-none", Text: "{X} acknowledged the FIN of {Y} but has not closed its side {span} later. {service} has closed none of {m connections} that peers closed, and the oldest has waited for {oldest}. Most likely its application never closes when the peer does."},
		{Name: "closes-some", Text: "{X} acknowledged the FIN of {Y} but has not closed its side {span} later. {service} has not closed {n} of {m connections} that peers closed, and the oldest has waited for {oldest}. Most likely its application closes on some code paths and not on others."},
		{Name: "closes-others", Text: "{X} acknowledged the FIN of {Y} but has not closed its side {span} later. {service} has closed all but this one of {m connections} that peers closed. Its application misses the close on a rare code path, or is still working on this one."},
		{Name: "ended", Text: "{X} acknowledged the FIN of {Y} and left its side open for {span}, until {end}.", Next: "Find why the application on {X} does not close a socket as soon as it has read the end of the stream."},
	},
	Phrases: []anomaly.Phrase{
		closedItself, wasReset, wasForgotten,
		{Name: "forgotten", Text: " {Y} has probably forgotten the connection by now."},
	},
	Next: "Find where the application on {X} does not close a socket after it has read the end of the stream. On that host, ss -tanp state close-wait names the process.",
	Thresholds: []anomaly.Threshold{
		{Name: "time since {X} acknowledged the FIN or sent its last bytes, at least", Value: conn.DefaultLeakAfter, Flag: "leak-after"},
		flushTime,
		{Name: "leaked connections of one service or client host that make it an error, at least", Value: leaksOfService},
	},
	Moves:      []anomaly.SeverityMove{{Name: "many", To: anomaly.Error, When: "if the same service or client host leaks many"}},
	Supersedes: []string{finWait2StuckName, halfCloseName},
	RestsOn:    anomaly.FINSent,
	On:         triggers.OnTimer | triggers.OnEnd,
	Only:       triggers.IfHalfClosed | triggers.IfFinished,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		again, leaker := h.Flagged(closeWaitLeakName, peer) != nil, &h.Ends[peer]
		if again && h.On&triggers.OnEnd == 0 || !again && leaker.Assumed != tcp.CloseWait.Set() || !h.Visible(peer) {
			return nil
		}
		since := silentSince(h, subject, peer)
		if !again && (leaker.Proved != tcp.CloseWait.Set() || hasMoreToSend(h, peer) || since == 0 || h.Passed(since, h.M.LeakAfter) < h.M.LeakAfter) {
			return nil
		}
		f := &anomaly.Finding{
			End:      peer,
			Certain:  anomaly.ConfidenceProved,
			Evidence: h.Frames(subject, tcp.SndFIN, tcp.RcvAckOfFIN),
			More:     again,
			Leaks:    true,
		}
		if again && leaker.Assumed != tcp.CloseWait.Set() {
			return ended(h, f, peer)
		}
		span := h.Passed(cmp.Or(since, acked(h, subject)), h.M.LeakAfter)
		service, n := h.PeerClosed(peer)
		f.Values = anomaly.Values{"span": span, "service": service, "n": n.Waiting, "m": n.PeerClosed, "oldest": n.Oldest}
		switch {
		case n.PeerClosed < 2:
		case n.Waiting == n.PeerClosed:
			f.Cause = "closes-none"
		case n.Waiting == 1:
			f.Cause = "closes-others"
		default:
			f.Cause = "closes-some"
		}
		if !again && n.Stuck+1 >= leaksOfService {
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
	Causes: []anomaly.Cause{
		{Text: "{Y} has not closed {span} after {X} closed.{share}{outcome}"},
		{Name: "ended", Text: "{X} closed, and {Y} left its side open for {span}, until {end}.", Next: "Find why the application on {Y} does not close a socket as soon as it has read the end of the stream."},
	},
	Phrases: []anomaly.Phrase{
		closedItself, wasReset, wasForgotten,
		{Name: "none", In: "share", Text: " {service} has closed none of {m connections} that peers closed, and the oldest has waited for {oldest}."},
		{Name: "some", In: "share", Text: " {service} has not closed {n} of {m connections} that peers closed, and the oldest has waited for {oldest}."},
		{Name: "forgets", In: "outcome", Text: " If {X} called close(), and not only shutdown(), its stack now drops FIN_WAIT_2, and a later FIN will get a RST."},
		{Name: "waits", In: "outcome", Text: " {X} waits for its FIN, which only the application on {Y} can cause."},
	},
	Next: "Have the application on {Y} close the socket (ss -tanp state close-wait on that host names the process). On {X}, net.ipv4.tcp_fin_timeout ends FIN_WAIT_2 only if the application called close().",
	Thresholds: []anomaly.Threshold{
		{Name: "time in FIN_WAIT_2, at least", Value: conn.DefaultLeakAfter, Flag: "leak-after"},
		flushTime,
	},
	Supersedes: []string{halfCloseName},
	RestsOn:    anomaly.FINSent,
	On:         triggers.OnTimer | triggers.OnEnd,
	Only:       triggers.IfHalfClosed | triggers.IfFinished,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		again := h.Flagged(finWait2StuckName, subject) != nil
		if again && h.On&triggers.OnEnd == 0 || !again && (h.Before.States[subject] != tcp.FinWait2.Set() || h.Ends[peer].Has(endpoint.HasFIN) || !h.Visible(peer) || hasMoreToSend(h, peer)) {
			return nil
		}
		since, leakAfter := silentSince(h, subject, peer), h.M.LeakAfter-time.Millisecond // the timer counts in coarser units
		if !again && (since == 0 || h.Passed(since, leakAfter) < leakAfter) {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: h.Frames(subject, tcp.SndFIN, tcp.RcvAckOfFIN),
			More:     again,
		}
		if again && h.Ends[peer].Assumed != tcp.CloseWait.Set() {
			return ended(h, f, peer)
		}
		span := h.Passed(cmp.Or(since, acked(h, subject)), leakAfter)
		service, n := h.PeerClosed(peer)
		f.Values = anomaly.Values{"span": span, "service": service, "n": n.Waiting, "m": n.PeerClosed, "oldest": n.Oldest}
		if n.PeerClosed > 1 {
			f.Say(anomaly.Either(n.Waiting == n.PeerClosed, "none", "some"))
		}
		f.Say(anomaly.Either(h.Ends[subject].Assumed == tcp.FinWait2.Set(), "waits", "forgets"))
		return f
	},
}

var HalfCloseLingering = anomaly.Kind{
	Name:     halfCloseName,
	Severity: anomaly.Info,
	Title:    "One direction closed, the other still in use",
	RFC:      "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "{X} closed its direction {span} ago. {Y} {what}. A half-closed connection is legal, and often intended."},
		{
			Name: "closes-none",
			Text: "{X} closed its direction {span} ago. {Y} {what}. {service} has closed none of {m connections} that peers closed, and the oldest has waited for {oldest}. If the wait reaches {limit}, it is a leak.",
			Next: "If the capture went on in silence, run again with --at {at}. If not, capture for longer or lower --leak-after.",
		},
		{Name: "ended", Text: "{X} closed its direction. {Y} kept its own direction open for {span} and sent {n bytes}, until {end}. A half-closed connection is legal, and often intended."},
	},
	Phrases: []anomaly.Phrase{
		closedItself, wasReset, wasForgotten,
		{Name: "sends", In: "what", Text: "still has the other direction open and has sent {n bytes} since"},
		{Name: "silent", In: "what", Text: "has not closed its own direction, and has sent nothing since"},
	},
	Thresholds: []anomaly.Threshold{{Name: "time since {Y} acknowledged the FIN, more than", Value: halfCloseLinger}},
	Moves:      []anomaly.SeverityMove{{Name: "none", To: anomaly.Notice, When: "if {Y} does not use it, and its service or client host has closed none of several connections that peers closed"}},
	RestsOn:    anomaly.FINSent,
	On:         triggers.OnUnsettled | triggers.OnEnd,
	Only:       triggers.IfHalfClosed | triggers.IfFinished,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		// Data alone may be met by a RST. That it is acknowledged shows the
		// connection to be in use.
		if h.S != nil && (h.Ends[subject].Assumed != tcp.FinWait2.Set() || h.SentSinceFIN(peer) == 0 || !h.Before.Acked[subject].Before(h.S.Ack)) {
			return nil
		}
		halfClosed := h.Ends[subject].Assumed == tcp.FinWait2.Set() && h.Ends[peer].Assumed == tcp.CloseWait.Set()
		again := h.Flagged(halfCloseName, subject) != nil
		if again && h.On&triggers.OnEnd == 0 || !again && (!halfClosed || !h.Visible(peer)) || h.Flagged(finWait2StuckName, subject) != nil || h.Flagged(closeWaitLeakName, peer) != nil {
			return nil
		}
		ack := acked(h, subject)
		if ack == 0 || !again && h.Passed(ack, halfCloseLinger+1) <= halfCloseLinger {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: h.Frames(subject, tcp.SndFIN, tcp.RcvAckOfFIN),
			More:     again,
		}
		n := h.SentSinceFIN(peer)
		f.Values = anomaly.Values{"span": h.Passed(ack, halfCloseLinger+1), "n": n}
		if !halfClosed {
			if h.Ends[peer].Has(endpoint.HasFIN) {
				f.Values["n"] = n - 1
			}
			return ended(h, f, peer)
		}
		if n > 0 {
			f.Evidence = append(f.Evidence, h.LastDataOf(peer)...)
		}
		f.Say(anomaly.Either(n > 0, "sends", "silent"))
		since := silentSince(h, subject, peer)
		if service, all := h.PeerClosed(peer); since != 0 && all.PeerClosed > 1 && all.Waiting == all.PeerClosed {
			f.Cause, f.Move = "closes-none", "none"
			f.Values["service"], f.Values["m"], f.Values["oldest"], f.Values["limit"] = service, all.PeerClosed, all.Oldest, h.M.LeakAfter
			f.Values["at"] = time.Unix(0, int64(since.Add(h.M.LeakAfter+time.Second-1))).UTC().Format(time.RFC3339)
		}
		return f
	},
}

// ended makes the finding, which was told of while the end y had not closed, say
// when that was over, and how; nil if nothing tells.
func ended(h *anomaly.Case, f *anomaly.Finding, y tcp.Endpoint) *anomaly.Finding {
	waits := false
	for _, st := range h.Steps() {
		if st.End() != y {
			continue
		}
		if waits {
			how := "gone"
			switch ins := st.Inputs(); {
			case ins.Has(tcp.SndFIN):
				how = "closed"
			case ins&(tcp.RcvRST.Set()|tcp.SndRST.Set()) != 0:
				how = "reset"
			}
			if f.Values == nil {
				f.Values = anomaly.Values{}
			}
			f.Cause, f.Values["span"] = "ended", st.At.Sub(acked(h, y.Peer()))
			f.Evidence = append(f.Evidence, st.Packet())
			f.Say(how)
			return f
		}
		waits = st.State() == tcp.CloseWait
	}
	return nil
}

// acked returns when the FIN of the end was acknowledged; 0 if that is not known.
func acked(h *anomaly.Case, x tcp.Endpoint) tcp.Time {
	ack, _ := h.Find(x, tcp.RcvAckOfFIN)
	return ack.At
}

var NoCloseSeen = anomaly.Kind{
	Name:     "no-close-seen",
	Severity: anomaly.Notice,
	Title:    "Connection stopped without a close",
	RFC:      "RFC 9293 §3.6",
	Causes: []anomaly.Cause{
		{Text: "No close was captured, neither FIN nor RST. The last segment came from {X}, {span} before the end of the capture. An idle connection is legal. Both ends may still have it, or may have lost it without a visible sign."},
	},
	Thresholds: []anomaly.Threshold{{Name: "time from the last segment to the end of the capture, at least", Value: closeUnseen}},
	On:         triggers.OnEnd,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		idle := h.M.Heard().Sub(h.Ends[subject].SentAt)
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
	ack := acked(h, x)
	switch {
	case ack == 0:
		return 0
	case h.SentSinceFIN(y) == 0:
		return ack
	case h.Ends[y].SentAt.Sub(ack) > halfCloseLinger:
		return 0
	}
	return h.Ends[y].SentAt
}
