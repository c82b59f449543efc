package resets

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Octets that come when their receiver has closed both directions. Whether they
// crossed its FIN, or were sent by one who knew of it, decides who has to change.

var DataAfterCloseReset = anomaly.Kind{
	Name:     "data-after-close-reset",
	Severity: anomaly.Warning,
	Title:    "Data arrived at a fully closed socket",
	RFC:      "RFC 9293 §3.6.1, RFC 2525 §2.16",
	Causes: []anomaly.Cause{
		{
			Name: "crossed",
			Text: "{X} had closed both directions {span} earlier (close(), not shutdown()), and {n bytes} from {Y} crossed its FIN: {Y} did not know of the close yet. The bytes could not be delivered, and {X} answered with RST.",
			Next: "Have {X} read to the end of the stream before it calls close(). Have {Y} repeat unanswered requests on a new connection.",
		},
		{
			Name: "acknowledged",
			Text: "{X} had closed both directions {span} earlier (close(), not shutdown()). {Y} had acknowledged its FIN, but still sent {n bytes}. The bytes could not be delivered, and {X} answered with RST.",
			Next: "Have {Y} close a connection as soon as it reads the end of the stream. A pool must check for that before it reuses a connection.",
		},
		{
			Name: "closed",
			Text: "{X} had closed both directions {span} earlier (close(), not shutdown()). So {n bytes} from {Y} could not be delivered, and {X} answered with RST.",
			Next: "Have {X} read to the end of the stream before it calls close(), with shutdown(SHUT_WR) if it has nothing more to send.",
		},
		{
			Name: "timer-expired",
			Text: "{X} had closed {span} earlier and has left FIN_WAIT_2 since. {n bytes} from {Y} came too late and got a RST.",
			Next: "Have {Y} answer sooner. Or have {X} call shutdown(SHUT_WR) instead of close(), which limits FIN_WAIT_2 (on Linux net.ipv4.tcp_fin_timeout).",
		},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time in FIN_WAIT_2, by the TCP stack profile of {X}", Value: tcp.StackLinux.Stack().FinWait2, Flag: "stack"},
		refusalTime,
	},
	Moves:   []anomaly.SeverityMove{{Name: "race", To: anomaly.Notice, When: "if it is only a keepalive-race"}},
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		f := afterClose(h)
		if f == nil || repeats(h, f, "data-after-close-reset") {
			return f
		}
		switch x := h.From; {
		case h.Forgot(x):
			f.Cause = "timer-expired"
		case h.M.Role(h.Conn, x) == tcp.Client:
			f.Cause = "closed"
		case crossed(h):
			f.Cause = "crossed"
			if _, raced := idleUntil(h, x); raced {
				f.Move = "race"
			}
		default:
			f.Cause = "acknowledged"
		}
		return f
	},
}

// idleAtLeast is how long a connection must be idle for its close to be that of
// an idle one.
const idleAtLeast = time.Second

var KeepaliveRace = anomaly.Kind{
	Name:     "keepalive-race",
	Severity: anomaly.Notice,
	Title:    "Request crossed the close of an idle connection",
	RFC:      "RFC 9112 §9.5",
	Causes: []anomaly.Cause{
		{Text: "{X} closed the connection after it had been idle for {idle}. {n bytes} from {Y}, its next request, crossed the FIN and were answered with RST. Neither end is at fault: {Y} did not know that it was too late."},
	},
	Next:       "Have {Y} close idle connections some seconds sooner than {X} does ({idle}), and repeat such a request on a new connection.",
	Thresholds: []anomaly.Threshold{{Name: "idle time, at least", Value: idleAtLeast}, refusalTime},
	Supersedes: []string{"data-after-close-reset"},
	RestsOn:    anomaly.ResetSent,
	On:         triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		f := afterClose(h)
		if f == nil || !crossed(h) || h.Forgot(h.From) || h.Flagged("keepalive-race", h.From) != nil {
			return nil
		}
		idle, raced := idleUntil(h, h.From)
		if !raced {
			return nil
		}
		f.Values["idle"] = idle
		return f
	},
}

// afterClose is the finding of octets that come to an end that had closed, and
// that it answers with RST; nil if it is none.
func afterClose(h *anomaly.Case) *anomaly.Finding {
	subject, peer := h.From, h.From.Peer()
	data, ok := refusedData(h)
	if !ok || !h.Ends[subject].Has(endpoint.HasFIN) {
		return nil
	}
	fin, _ := h.Find(subject, tcp.SndFIN)
	return &anomaly.Finding{
		End:      subject,
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: append(h.Frames(subject, tcp.SndFIN), data, h.S.Packet),
		Values:   anomaly.Values{"n": h.StreamEnd(peer).Minus(h.Before.Acked[subject]), "span": h.Now.Sub(fin.At)},
	}
}

// repeats reports whether the finding of a RST is one more of those of its kind at
// that end, and makes it so: what was said of the first stands.
func repeats(h *anomaly.Case, f *anomaly.Finding, kind string) bool {
	a := h.Flagged(kind, f.End)
	if a == nil {
		return false
	}
	f.Cause, f.Certain, f.Earlier = a.Cause, a.Confidence, a.Text
	f.Again, f.Evidence = h.Before.Accepted, []int{h.S.Packet}
	if a.Severity == anomaly.Notice {
		f.Move = "race"
	}
	return true
}

// crossed reports whether the octets that the RST answers were sent before the
// FIN of its sender had come: the number of the RST is that of their ACK.
func crossed(h *anomaly.Case) bool { return h.S.Seq.AtMost(h.X().FIN) }

// idleUntil returns how long the connection had been idle when its server closed
// it, and whether it was: the server had had the last word, and an idle time
// passed.
func idleUntil(h *anomaly.Case, x tcp.Endpoint) (idle time.Duration, ok bool) {
	fin, closed := h.Find(x, tcp.SndFIN)
	if !closed || h.M.Role(h.Conn, x) != tcp.Server {
		return 0, false
	}
	for g := range h.Back() {
		switch {
		case g.Packet == fin.Packet() && g.Data > 0:
			return 0, false // it goes with the last of an answer
		case g.Packet == fin.Packet() || g.At > fin.At || g.Is&(recent.WasKeepalive|recent.WasForeign|recent.WasOld) != 0:
		case g.From != x && g.Data > 0 && h.Before.Acked[x].Before(g.Seq.Add(g.Data)): // it crosses the FIN
		default: // of the server's words the client's ACK tells too
			idle = fin.At.Sub(g.At)
			return idle, (g.From == x) == (g.Data > 0) && idle >= idleAtLeast
		}
	}
	return 0, false
}

// refusedWithin is how soon a RST follows the octets that it answers.
const refusedWithin = time.Second

var refusalTime = anomaly.Threshold{Name: "time from data to the RST that answers it, unless three response times are longer, at most", Value: refusedWithin}

// refusedData returns the frame that the RST, made by a stack without a reader,
// answers: the newest with octets that its sender had not acknowledged; 0 if
// that is forgotten already.
func refusedData(h *anomaly.Case) (frame int, ok bool) {
	subject, peer := h.From, h.From.Peer()
	if h.S.Flags&tcp.ACK != 0 && h.Before.RST != rst.Reply || h.Before.SentAt[subject] == 0 || !h.Before.Acked[subject].Before(h.StreamEnd(peer)) {
		return 0, false
	}
	limit := max(3*h.Ends[subject].Response(), refusedWithin)
	for g := range h.Back() {
		if h.Now.Sub(g.At) > limit {
			break
		}
		if g.From == peer && g.Data > 0 && g.Is&(recent.WasKeepalive|recent.WasForeign) == 0 && g.Flags&tcp.ACK != 0 &&
			g.Ack == h.S.Seq && h.Before.Acked[subject].Before(g.Seq.Add(g.Data)) {
			return g.Packet, true
		}
	}
	return 0, h.Before.RST == rst.Reply
}
