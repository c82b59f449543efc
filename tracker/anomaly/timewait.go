package anomaly

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/reuse"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TIME-WAIT is there to answer a FIN that is repeated, and to keep a pair of
// addresses and ports from being used again while segments of the old
// connection may still wander in the network (RFC 9293 §3.6.1). This file has
// the ways in which it is ended too soon, or stands in the way of a new
// connection; anomaly_timewait_reuse.go has the new connection;
// anomaly_timewait_hazards.go what the old segments do to it.

// timeWaitTime is how long TIME-WAIT is to be held.
var timeWaitTime = Threshold{"time in TIME_WAIT, by the stack of its end", tcp.StackLinux.Stack().TimeWait2MSL, "2msl"}

const assassinText = " made {X} repeat its ACK; {Y}, which no longer knew the connection, answered RST, which {outcome}"

var timeWaitAssassination = Kind{
	Name:     "time-wait-assassination",
	Severity: Warning,
	Title:    "TIME_WAIT killed by a RST",
	RFC:      "RFC 1337 §1",
	Causes: []Cause{
		{"old-duplicate", "Old segment #{frame}" + assassinText},
		{"syn", "A new SYN (#{frame})" + assassinText},
		{"spurious-fin-retransmission", "A second copy of the FIN (#{frame})" + assassinText},
		{"last-ack", "The last ACK of {X} met a host that no longer knew the connection: {Y} answered RST, which {outcome}"},
		{"", "A segment that was not captured" + assassinText},
	},
	Phrases: []Phrase{
		{"ends", "outcome", "ends {X}'s TIME_WAIT after {span} of {hold}, unless {X} ignores it (on Linux net.ipv4.tcp_rfc1337=1). If it ends, the same ports can be used again too early."},
		{"ignored", "outcome", "{X}'s stack ignores in TIME_WAIT."},
	},
	Thresholds: []Threshold{timeWaitTime, {"response times of {Y} from the last ACK to a RST that answers it, at most", conn.AnswerTimes, ""}},
	RestsOn:    ResetTaken,
	on:         triggers.OnRST,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From.Peer(), h.From
		if !h.resetsTimeWait() || h.Spares(subject) {
			return nil
		}
		var stray recent.Closing
		if h.Rare != nil {
			stray = h.Rare.Closing[subject]
		}
		f := &Finding{
			end:      subject,
			Certain:  ConfidenceAssumed,
			Evidence: append(append(h.Frames(subject, tcp.SndFIN), h.Frames(peer, tcp.SndFIN)...), h.newestACK(subject), h.S.Packet),
		}
		syn, frame := 0, 0
		if n := h.newer(); n != nil && n.Addr(tcp.Client) == h.Addr(peer) {
			syn = h.newestSYN(n)
		}
		switch {
		case len(stray.Acks) == 0: // there was no other
			if !h.Before.Accepted || h.Now.Sub(h.Before.SentAt[subject]) > conn.AnswerTimes*h.Ends[peer].Response() {
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
		f.Values = Values{"frame": frame, "span": h.TimeWaitHeld(subject, h.Now), "hold": template.Hold(h.M.TwoMSLOf(h.Ends[subject].Stack()))}
		f.Say(either(h.Before.Accepted, "ends", "ignored"))
		return f
	},
}

const truncatedText = "{X} left TIME_WAIT within {span} of entering it, and should hold it for {hold} (profile {stack}): {proof}. " +
	"Look for a limit on TIME_WAIT sockets, a shortened timer, a restart of the host, or another host behind the same address."

var timeWaitTruncated = Kind{
	Name:     "time-wait-truncated",
	Severity: Notice,
	Title:    "TIME_WAIT provably shorter than 2 MSL",
	RFC:      "RFC 9293 §3.6.1 MUST-13",
	Causes: []Cause{
		{"new-connection", truncatedText},
		{"reset-in-reply", truncatedText},
	},
	Phrases: []Phrase{
		{"opened", "proof", "it opened a new connection from the same ports itself"},
		{"accepted", "proof", "it accepted a SYN to which a TIME_WAIT does not yield"},
		{"answered", "proof", "it answered a segment of the old connection with RST, as a host that does not know it"},
	},
	Thresholds: []Threshold{timeWaitTime},
	on:         triggers.OnRST | triggers.OnMove,
	only:       triggers.IfSuccessor | triggers.IfRST,
	check: func(h *checkInput) *Finding {
		if h.S != nil && h.S.Flags&tcp.RST != 0 {
			return h.truncatedByReply()
		}
		r, ok := reuse.Of(h.Scene)
		if !ok || !r.Held || h.reported(h.Conn, "time-wait-truncated") || !r.Acknowledged() ||
			h.reported(r.Old, timeWaitAssassination.Name) || r.LinuxISN(h.Scene, r.Holder) {
			return nil
		}
		syn, synACK := h.openingFrames()
		f := &Finding{
			end:      r.Holder,
			Cause:    "new-connection",
			Certain:  ConfidenceAssumed,
			Evidence: []int{r.Began.Packet(), syn, synACK, h.S.Packet},
		}
		if r.OtherHost(h.Scene, r.Holder) {
			f.Certain = ConfidenceAmbiguous
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
func (h *checkInput) truncatedByReply() *Finding {
	subject, peer := h.From, h.From.Peer()
	if h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != conn.ResetReply || h.Before.States[subject] != tcp.TimeWait.Set() {
		return nil
	}
	if !h.Ends[peer].FIN.Before(h.Before.Acked[subject]) || h.reported(h.Conn, timeWaitAssassination.Name) {
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
	f := &Finding{
		end:      subject,
		Cause:    "reset-in-reply",
		Certain:  ConfidenceAssumed,
		Evidence: []int{began.Packet(), h.newestACK(subject), answered, h.S.Packet},
	}
	f.Say("answered")
	stack := h.Ends[subject].Stack()
	f.Values = truncated(h.Now.Sub(began.At), h.M.TwoMSLOf(stack), stack)
	return f
}

// truncated are the values of a TIME-WAIT that ended at the given age.
func truncated(age, most time.Duration, stack *tcp.Stack) Values {
	name := stack.Name
	if stack == tcp.StackAuto.Stack() {
		name = "linux, as its own is not known"
	}
	return Values{"span": age, "hold": template.Hold(most), "stack": name}
}

// manySYNs is how many copies of a SYN make it unlikely that the others were
// lost: Linux sends the third after 3 s.
const manySYNs = 3

// synChallenged is a name of its own because the check asks whether it found the
// kind before.
const synChallenged = "time-wait-syn-challenged"

const challengedText = "{Y.ip} reused its port {Y.port} {span} after the close; {X} still held TIME_WAIT and answered the SYN with an ACK, which {Y.ip} reset. "

var timeWaitSYNChallenged = Kind{
	Name:     synChallenged,
	Severity: Warning,
	Title:    "New SYN met TIME_WAIT and was not accepted",
	RFC:      "RFC 9293 §3.10.7.4, RFC 6191 §2",
	Causes: []Cause{
		{"reset", challengedText + "The connection can open only when {Y.ip} repeats its SYN: at once on Linux, about a second later elsewhere."},
		{"reset-ignored", challengedText + "{X}'s stack ignores the RST in TIME_WAIT: until that is over, no connection opens between these ports."},
		{"silent", "{Y.ip} reused its port {Y.port} {span} after the close; {X} still holds TIME_WAIT and does not answer the SYN: some stacks drop it then without a word, or it does not arrive. The SYN was repeated for {repeated} so far."},
		{"ack-not-heeded", "{Y.ip} reused its port {Y.port} {span} after the close; {X} still holds TIME_WAIT and answers the SYN with an ACK that does not seem to arrive: firewalls often drop it. The SYN was repeated for {repeated} so far."},
	},
	Thresholds: []Threshold{
		timeWaitTime,
		{"SYNs, where no RST was seen, at least", manySYNs, ""},
	},
	on: triggers.OnRST | triggers.OnSYN,
	check: func(h *checkInput) *Finding {
		if h.On&triggers.OnSYN != 0 {
			return h.unansweredSYN()
		}
		subject, peer := h.From.Peer(), h.From
		n := h.newer()
		if !h.resetsTimeWait() || n == nil || n.Addr(tcp.Client) != h.Addr(peer) || n.Ends[tcp.Client].Assumed != tcp.SynSent.Set() {
			return nil
		}
		syn := h.newestSYN(n)
		k := h.newestACK(subject)
		if syn == 0 || k < syn {
			return nil
		}
		f := &Finding{
			end:      subject,
			Cause:    "reset",
			Certain:  ConfidenceAssumed,
			Evidence: append(append(h.Frames(subject, tcp.SndFIN), h.Frames(peer, tcp.SndFIN)...), syn, k, h.S.Packet),
			Values:   Values{"span": h.TimeWaitHeld(subject, n.Start)},
		}
		if !h.Before.Accepted {
			f.Cause = "reset-ignored"
		}
		return f
	},
}

// unansweredSYN finds a SYN that is repeated toward an end in TIME-WAIT to no
// avail, without any RST: the end drops it, or its answer is lost on the way.
func (h *checkInput) unansweredSYN() *Finding {
	old := h.M.FormerOf(h.Conn)
	if h.From != tcp.Client || h.Ends[tcp.Client].Assumed != tcp.SynSent.Set() || h.Ends[tcp.Client].Copies < manySYNs || h.Ends[tcp.Server].Seen() || old == nil {
		return nil
	}
	x := h.EndIn(old, tcp.Server)
	began, ok := old.IntoTimeWait(x)
	if !ok || old.Ends[x].Assumed != tcp.TimeWait.Set() || old.Ends[x].Has(conn.Lossy) || !old.Ends[x].Seen() || h.reported(old, synChallenged) {
		return nil
	}
	first, _ := h.Find(tcp.Client, tcp.SndSYN)
	f := &Finding{
		end:      tcp.Server,
		Cause:    "silent",
		Certain:  ConfidenceAmbiguous,
		Evidence: []int{began.Packet(), first.Packet(), h.S.Packet},
		Values:   Values{"span": first.At.Sub(began.At), "repeated": h.Now.Sub(first.At)},
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
func (h *checkInput) resetsTimeWait() bool {
	subject, peer := h.From.Peer(), h.From
	return h.S.Flags&(tcp.RST|tcp.ACK) == tcp.RST && h.Before.RST == conn.ResetReply && h.Before.States[subject] == tcp.TimeWait.Set() &&
		h.Ends[peer].Has(conn.HasFIN) && h.S.Seq == h.Ends[peer].FIN+1
}

// newestACK returns the frame in which the end last did nothing but
// acknowledge, or 0.
func (h *checkInput) newestACK(x tcp.Endpoint) int {
	for g := range h.Back() {
		if g.From == x && g.Pure() {
			return g.Packet
		}
	}
	return 0
}

// newestSYN returns the frame of the newest SYN of the connection's client.
func (h *checkInput) newestSYN(c *conn.Conn) int {
	for g := range h.M.Recent.Back(c) {
		if g.From == tcp.Client && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN {
			return g.Packet
		}
	}
	syn, _ := c.Find(tcp.Client, tcp.SndSYN)
	return syn.Packet()
}
