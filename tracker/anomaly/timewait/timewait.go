// Package timewait has the anomalies of TIME-WAIT, which is there to answer a FIN
// that is repeated, and to keep a pair of addresses and ports from being used
// again while segments of the old connection may still wander in the network
// (RFC 9293 §3.6.1): the ways in which it is ended too soon, or stands in the way
// of a new connection (timewait.go), that new connection (reuse.go), and what the
// old segments do to it (hazards.go).
package timewait

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/reuse"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// timeWaitTime is how long TIME-WAIT is to be held.
var timeWaitTime = anomaly.Threshold{Name: "time in TIME_WAIT, by the TCP stack profile of its end", Value: tcp.StackLinux.Stack().TimeWait2MSL, Flag: "2msl"}

const assassinText = " made {X} repeat its ACK. {Y} no longer knew the connection and answered with a RST. {outcome}"

var TimeWaitAssassination = anomaly.Kind{
	Name:     "time-wait-assassination",
	Severity: anomaly.Warning,
	Title:    "TIME_WAIT killed by a RST",
	RFC:      "RFC 1337 §1",
	Causes: []anomaly.Cause{
		{Name: "old-duplicate", Text: "Old segment #{frame}" + assassinText},
		{Name: "syn", Text: "A new SYN (#{frame})" + assassinText},
		{Name: "spurious-fin-retransmission", Text: "A second copy of the FIN (#{frame})" + assassinText},
		{Name: "last-ack", Text: "The last ACK of {X} reached a host that no longer knew the connection. {Y} answered with a RST. {outcome}"},
		{Text: "A segment that was not captured" + assassinText},
	},
	Next: "If {Y.ip} reuses these ports within {hold}, have {X.ip} ignore RSTs in TIME_WAIT (on Linux net.ipv4.tcp_rfc1337=1), and turn timestamps on at both ends (net.ipv4.tcp_timestamps=1).",
	Phrases: []anomaly.Phrase{
		{Name: "ends", In: "outcome", Text: "The RST ends {X}'s TIME_WAIT after {span} of {hold}, unless {X} ignores it (on Linux net.ipv4.tcp_rfc1337=1). If TIME_WAIT ends, the same ports can be reused too early."},
		{Name: "ignored", In: "outcome", Text: "{X}'s stack ignores the RST in TIME_WAIT."},
	},
	Thresholds: []anomaly.Threshold{timeWaitTime, {Name: "time from the last ACK to a RST that answers it, in response times of {Y}, at most", Value: rst.AnswerTimes}},
	RestsOn:    anomaly.ResetTaken,
	On:         triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From.Peer(), h.From
		if !resetsTimeWait(h) || h.Spares(subject) {
			return nil
		}
		var stray recent.Closing
		if h.Rare != nil {
			stray = h.Rare.Closing[subject]
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(append(h.Frames(subject, tcp.SndFIN), h.Frames(peer, tcp.SndFIN)...), newestACK(h, subject), h.S.Packet),
		}
		syn, frame := 0, 0
		if n := h.Newer(); n != nil && n.Addr(tcp.Client) == h.Addr(peer) {
			syn = newestSYN(h, n)
		}
		switch {
		case len(stray.Acks) == 0: // there was no other
			if !h.Before.Accepted || h.Now.Sub(h.Before.SentAt[subject]) > rst.AnswerTimes*h.Ends[peer].Response() {
				return nil // that it answers that ACK is a guess
			}
			f.Cause = "last-ack"
		case syn > stray.StrayInto:
			f.Cause, frame = "syn", syn
		case stray.StrayInto != 0 && stray.StrayFlags&tcp.FIN != 0:
			f.Cause, frame = "spurious-fin-retransmission", stray.StrayInto
		case stray.StrayInto != 0:
			f.Cause, frame = "old-duplicate", stray.StrayInto
		}
		f.Evidence = append(f.Evidence, frame)
		f.Values = anomaly.Values{"frame": frame, "span": h.TimeWaitHeld(subject, h.Now), "hold": template.Hold(h.M.TwoMSLOf(h.Ends[subject].Stack()))}
		f.Say(anomaly.Either(h.Before.Accepted, "ends", "ignored"))
		return f
	},
}

const truncatedText = "{X} left TIME_WAIT within {span} of entering it, but should hold it for {hold} (profile {stack}): {proof}."

var TimeWaitTruncated = anomaly.Kind{
	Name:     "time-wait-truncated",
	Severity: anomaly.Notice,
	Title:    "TIME_WAIT provably shorter than 2 MSL",
	RFC:      "RFC 9293 §3.6.1 MUST-13",
	Causes: []anomaly.Cause{
		{Name: "new-connection", Text: truncatedText},
		{Name: "reset-in-reply", Text: truncatedText},
	},
	Next: "Check {X.ip} for a limit on TIME_WAIT sockets (net.ipv4.tcp_max_tw_buckets), a shortened timer, a restart, or another host behind its address.",
	Phrases: []anomaly.Phrase{
		{Name: "opened", In: "proof", Text: "it opened a new connection from the same ports itself"},
		{Name: "accepted", In: "proof", Text: "it accepted a SYN that a host in TIME_WAIT does not accept"},
		{Name: "answered", In: "proof", Text: "it answered a segment of the old connection with RST, like a host that does not know the connection"},
	},
	Thresholds: []anomaly.Threshold{timeWaitTime},
	On:         triggers.OnRST | triggers.OnMove,
	Only:       triggers.IfSuccessor | triggers.IfRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S != nil && h.S.Flags&tcp.RST != 0 {
			return truncatedByReply(h)
		}
		r, ok := reuse.Of(h.Scene)
		if !ok || !r.Held || h.Reported(h.Conn, "time-wait-truncated") || !r.Acknowledged() ||
			h.Reported(r.Old, TimeWaitAssassination.Name) || r.LinuxISN(h.Scene, r.Holder) {
			return nil
		}
		syn, synACK := openingFrames(h)
		f := &anomaly.Finding{
			End:      r.Holder,
			Cause:    "new-connection",
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{r.Began.Packet(), syn, synACK, h.S.Packet},
		}
		if r.OtherHost(h.Scene, r.Holder) {
			f.Certain = anomaly.ConfidenceAmbiguous
		}
		f.Values = truncated(r.Age, r.Hold, r.Old.Ends[r.HolderThen].Stack())
		switch {
		case r.Holder == tcp.Client:
			f.Say("opened")
		case !r.Behind[tcp.Client]:
			return nil // a TIME-WAIT yields to this SYN
		default:
			f.Say("accepted")
		}
		return f
	},
}

// truncatedByReply finds an end that acknowledged its peer's FIN, and thus was
// in TIME-WAIT, and a while later answers that peer as one that has no
// connection. Without the ACK the end may not have got the FIN at all.
func truncatedByReply(h *anomaly.Case) *anomaly.Finding {
	subject, peer := h.From, h.From.Peer()
	if h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != rst.Reply || h.Before.States[subject] != tcp.TimeWait.Set() {
		return nil
	}
	if !h.Ends[peer].FIN.Before(h.Before.Acked[subject]) || h.Reported(h.Conn, TimeWaitAssassination.Name) {
		return nil
	}
	began, answered := history.Step{}, 0
	for _, st := range h.Steps() {
		if st.End() == subject && st.State() == tcp.TimeWait {
			began = st
		}
	}
	for g := range h.Back() {
		if g.From == peer && g.Flags&tcp.RST == 0 {
			answered = g.Packet
			break
		}
	}
	f := &anomaly.Finding{
		End:      subject,
		Cause:    "reset-in-reply",
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{began.Packet(), newestACK(h, subject), answered, h.S.Packet},
	}
	f.Say("answered")
	stack := h.Ends[subject].Stack()
	f.Values = truncated(h.Now.Sub(began.At), h.M.TwoMSLOf(stack), stack)
	return f
}

// truncated are the values of a TIME-WAIT that ended at the given age.
func truncated(age, most time.Duration, stack *tcp.Stack) anomaly.Values {
	name := stack.Name
	if stack == tcp.StackAuto.Stack() {
		name = "linux, because its own is unknown"
	}
	return anomaly.Values{"span": age, "hold": template.Hold(most), "stack": name}
}

// manySYNs is how many copies of a SYN make it unlikely that the others were
// lost: Linux sends the third after 3 s.
const manySYNs = 3

// synChallenged is a name of its own because the check asks whether it found the
// kind before.
const synChallenged = "time-wait-syn-challenged"

const challengedText = "{Y.ip} reused its port {Y.port} {span} after the close. {X} still held TIME_WAIT and answered the SYN with an ACK, which {Y.ip} rejected with RST. "

var TimeWaitSYNChallenged = anomaly.Kind{
	Name:     synChallenged,
	Severity: anomaly.Warning,
	Title:    "New SYN met TIME_WAIT and was not accepted",
	RFC:      "RFC 9293 §3.10.7.4, RFC 6191 §2",
	Causes: []anomaly.Cause{
		{Name: "reset", Text: challengedText + "The connection can open only when {Y.ip} retransmits its SYN: at once on Linux, about a second later elsewhere."},
		{Name: "reset-ignored", Text: challengedText + "{X}'s stack ignores the RST in TIME_WAIT. Until TIME_WAIT ends, no connection opens between these ports."},
		{Name: "silent", Text: "{Y.ip} reused its port {Y.port} {span} after the close. {X} still holds TIME_WAIT and does not answer the SYN: some stacks drop it silently, or it does not arrive. The SYN was retransmitted for {repeated} so far."},
		{Name: "ack-not-heeded", Text: "{Y.ip} reused its port {Y.port} {span} after the close. {X} still holds TIME_WAIT and answers the SYN with an ACK that does not seem to arrive; firewalls often drop it. The SYN was retransmitted for {repeated} so far.",
			Next: "Have the firewalls between {X.ip} and {Y.ip} pass an ACK that answers a SYN, and the RST that follows it. Or let {Y.ip} connect from ports that were not used for a while."},
	},
	Next:       "Let {Y.ip} connect from ports that were not used for a while (bind no fixed port, widen net.ipv4.ip_local_port_range), or keep its connections open. Timestamps at both ends (net.ipv4.tcp_timestamps=1) let {X} accept such a SYN at once.",
	Supersedes: []string{"syn-timeout", "syn-retransmitted"},
	Thresholds: []anomaly.Threshold{
		timeWaitTime,
		{Name: "SYNs, if no RST was captured, at least", Value: manySYNs},
	},
	On:     triggers.OnRST | triggers.OnSYN,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.On&triggers.OnSYN != 0 {
			return unansweredSYN(h)
		}
		subject, peer := h.From.Peer(), h.From
		n := h.Newer()
		if !resetsTimeWait(h) || n == nil || n.Addr(tcp.Client) != h.Addr(peer) || n.Ends[tcp.Client].Assumed != tcp.SynSent.Set() {
			return nil
		}
		syn := newestSYN(h, n)
		k := newestACK(h, subject)
		if syn == 0 || k < syn {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Cause:    "reset",
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(append(h.Frames(subject, tcp.SndFIN), h.Frames(peer, tcp.SndFIN)...), syn, k, h.S.Packet),
			Values:   anomaly.Values{"span": h.TimeWaitHeld(subject, n.Start)},
		}
		if !h.Before.Accepted {
			f.Cause = "reset-ignored"
		}
		return f
	},
}

// unansweredSYN finds a SYN that is repeated toward an end in TIME-WAIT to no
// avail, without any RST: the end drops it, or its answer is lost on the way.
func unansweredSYN(h *anomaly.Case) *anomaly.Finding {
	old := h.M.FormerOf(h.Conn)
	if h.From != tcp.Client || h.Ends[tcp.Client].Assumed != tcp.SynSent.Set() || h.Ends[tcp.Client].Copies < manySYNs || h.Ends[tcp.Server].Seen() || old == nil {
		return nil
	}
	x := h.EndIn(old, tcp.Server)
	began, ok := reuse.IntoTimeWait(old, x)
	if !ok || old.Ends[x].Assumed != tcp.TimeWait.Set() || old.Ends[x].Has(endpoint.Lossy) || !old.Ends[x].Seen() || h.Reported(old, synChallenged) {
		return nil
	}
	first, _ := h.Find(tcp.Client, tcp.SndSYN)
	f := &anomaly.Finding{
		End:      tcp.Server,
		Again:    true,
		Cause:    "silent",
		Certain:  anomaly.ConfidenceAmbiguous,
		Evidence: []int{began.Packet(), first.Packet(), h.S.Packet},
		Values:   anomaly.Values{"span": first.At.Sub(began.At), "repeated": h.Now.Sub(first.At)},
	}
	for g := range h.M.Recent.Back(old) {
		if g.At < first.At {
			break
		}
		if g.From == x && g.Pure() {
			f.Cause = "ack-not-heeded"
			f.Evidence = append(f.Evidence, g.Packet)
		}
	}
	return f
}

// resetsTimeWait reports whether the RST is its sender's answer to
// an ACK from a peer in TIME-WAIT. Such a RST has the exact number.
func resetsTimeWait(h *anomaly.Case) bool {
	subject, peer := h.From.Peer(), h.From
	return h.S.Flags&(tcp.RST|tcp.ACK) == tcp.RST && h.Before.RST == rst.Reply && h.Before.States[subject] == tcp.TimeWait.Set() &&
		h.Ends[peer].Has(endpoint.HasFIN) && h.S.Seq == h.Ends[peer].FIN+1
}

// newestACK returns the frame in which the end last did nothing but
// acknowledge, or 0.
func newestACK(h *anomaly.Case, x tcp.Endpoint) int {
	for g := range h.Back() {
		if g.From == x && g.Pure() {
			return g.Packet
		}
	}
	return 0
}

// newestSYN returns the frame of the newest SYN of the connection's client.
func newestSYN(h *anomaly.Case, c *conn.Conn) int {
	for g := range h.M.Recent.Back(c) {
		if g.From == tcp.Client && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
			return g.Packet
		}
	}
	syn, _ := c.Find(tcp.Client, tcp.SndSYN)
	return syn.Packet()
}
