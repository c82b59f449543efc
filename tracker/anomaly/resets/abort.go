// Package resets has the anomalies of RSTs: connections that an end aborts
// (abort.go), RSTs that are doubted or do not fit (reset.go), RSTs that others
// forge (forged.go), and what else only an attacker sends (attack.go).
package resets

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Connections that end, or whose close ends, in a RST. Who made the RST is told
// by its numbers (reset.go); what made its sender do so, by what went before.

// beforeFIN are the states of an open connection whose end has not closed yet.
var beforeFIN = tcp.SynReceived.Set() | tcp.Established.Set() | tcp.CloseWait.Set()

const abortedText = "{X} aborted the connection with RST instead of closing it with FIN. The cause is SO_LINGER with a time of 0, a close() with unread received bytes, or a firewall policy.{sent} Neither end keeps TIME_WAIT."

var LingerZeroAbort = anomaly.Kind{
	Name:     "linger-zero-abort",
	Severity: anomaly.Notice,
	Title:    "Closed with RST instead of FIN",
	RFC:      "RFC 9293 §3.6, §3.10.5",
	Causes: []anomaly.Cause{
		{Name: "clean", Text: abortedText},
		{Name: "unacked", Text: abortedText},
	},
	Phrases: []anomaly.Phrase{
		{Name: "lost", In: "sent", Text: " {n bytes} that it had sent were not acknowledged and may be lost."},
		{Name: "nothing", In: "sent", Text: " It had sent no data."},
		{Name: "all-acked", In: "sent", Text: " All data that it had sent was acknowledged."},
	},
	Next:       "If {X} should not abort, have it read to the end of the stream, and turn off SO_LINGER with a time of 0. Look for a timeout that destroys the socket.",
	Thresholds: triesInVain,
	Moves:      []anomaly.SeverityMove{{Name: "unacked", To: anomaly.Warning, When: "if bytes that {X} had sent were not acknowledged"}},
	RestsOn:    anomaly.ResetSent,
	On:         triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.S.Flags&tcp.SYN != 0 || h.Before.States[peer] == tcp.SynSent.Set() || !abortsOpen(h) || triedInVain(h, subject) {
			return nil
		}
		if _, certain := unreadBy(h, subject); certain {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  abortCertainty(h),
			Cause:    "clean",
			Evidence: append(h.LastDataOf(subject), h.S.Packet),
		}
		if n := unackedOf(h, subject); n > 0 {
			f.Cause, f.Move, f.Values = "unacked", "unacked", anomaly.Values{"n": n}
			f.Say("lost")
		} else if e := &h.Ends[subject]; e.Has(endpoint.HasISS) && e.Nxt == e.ISS+1 {
			f.Say("nothing")
		} else if h.Visible(peer) {
			f.Say("all-acked")
		}
		return f
	},
}

var CloseWithUnreadData = anomaly.Kind{
	Name:     "close-with-unread-data",
	Severity: anomaly.Warning,
	Title:    "Closed with unread received data",
	RFC:      "RFC 9293 §3.6.1, RFC 2525 §2.17",
	Causes: []anomaly.Cause{
		{Name: "window-zero", Text: "{X} closed with unread received bytes (its window was closed{stood}), so it sent RST instead of FIN. {Y} may lose even data that {X} had sent before."},
		{Name: "window-stood-still", Text: "{X} closed with unread received bytes (its window had not moved while it acknowledged the last {n bytes}), so it sent RST instead of FIN. {Y} may lose even data that {X} had sent before."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "stood-still", In: "stood", Text: ", and had not moved while it acknowledged the last {n bytes}"},
	},
	Next: "Have {X} read to the end of the stream before it closes.",
	Thresholds: append([]anomaly.Threshold{
		{Name: "full segments acknowledged while the window edge did not move, at least", Value: unreadSegments},
		{Name: "size of a full segment, if no MSS was captured", Value: unknownMSS},
		{Name: "time in which the edge did not move, at least", Value: unreadFor},
	}, triesInVain...),
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if !abortsOpen(h) || triedInVain(h, subject) {
			return nil
		}
		n, enough := unreadBy(h, subject)
		if !enough {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Cause:    "window-stood-still",
			Certain:  anomaly.ConfidenceAmbiguous,
			Evidence: append(append(h.LastDataOf(peer), h.LastAckOf(subject)), h.S.Packet),
			Values:   anomaly.Values{"n": n},
		}
		if h.Before.Wnd[subject] == 0 {
			f.Cause, f.Certain = "window-zero", abortCertainty(h)
			if n > 0 {
				f.Say("stood-still")
			}
		}
		return f
	},
}

var LateFINReset = anomaly.Kind{
	Name:     "late-fin-reset",
	Severity: anomaly.Warning,
	Title:    "FIN came after the closer had forgotten the connection",
	RFC:      "RFC 9293 §3.10.7.1",
	Causes: []anomaly.Cause{
		{Name: "timer-expired", Text: "{Y} closed {span} after {X}. {X} no longer knew the connection and answered the FIN with RST: FIN_WAIT_2 of a closed socket lasts {limit}.", Next: "Have {Y} close sooner after {X}. Or have {X} call shutdown(SHUT_WR) instead of close(), which limits FIN_WAIT_2 (on Linux net.ipv4.tcp_fin_timeout)."},
		{Name: "closed-early", Text: "{Y} closed {span} after {X}. {X} no longer knew the connection and answered the FIN with RST. Its FIN_WAIT_2 timer is short, the host rebooted, or a device on the path lost the flow.", Next: "Have {Y} close sooner after {X}. Check net.ipv4.tcp_fin_timeout on {X}, and how long devices on the path keep a half-closed flow."},
	},
	Phrases:    []anomaly.Phrase{{Name: "unread", Text: " The {n bytes} that {Y} sent after that FIN may never have been read."}},
	Thresholds: []anomaly.Threshold{{Name: "time in FIN_WAIT_2, by the TCP stack profile of {X}", Value: tcp.StackLinux.Stack().FinWait2, Flag: "stack"}},
	Supersedes: []string{"fin-wait-2-stuck"},
	RestsOn:    anomaly.ResetSent,
	On:         triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != rst.Reply || !h.ClosedFirst(subject) || h.S.Seq != h.Ends[subject].FIN+1 {
			return nil
		}
		if h.Ends[peer].FIN.Before(h.Before.Acked[subject]) {
			return nil // it had its ACK
		}
		closed, _ := h.Find(subject, tcp.SndFIN)
		fin, ok := h.Find(peer, tcp.SndFIN)
		if _, data := refusedData(h); data || !ok || fin.At != h.Before.SentAt[peer] {
			return nil // what it answers is not the first FIN, or not that alone
		}
		since := closed
		if ack, ok := h.Find(subject, tcp.RcvAckOfFIN); ok {
			since = ack
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{closed.Packet(), since.Packet(), fin.Packet(), h.S.Packet},
		}
		f.Cause, f.Values = "closed-early", anomaly.Values{"span": fin.At.Sub(closed.At)}
		if held := h.Ends[subject].Stack().FinWait2; held != 0 && h.Now.Sub(since.At) >= held {
			f.Cause, f.Values["limit"] = "timer-expired", held
		}
		if clean := h.Ends[peer].Clean; clean.Before(h.Ends[peer].FIN) {
			f.Values["n"] = h.Ends[peer].FIN.Minus(clean)
			f.Say("unread")
		}
		return f
	},
}

var AbortAfterFIN = anomaly.Kind{
	Name:     "abort-after-fin",
	Severity: anomaly.Notice,
	Title:    "RST after own FIN without new data",
	RFC:      "RFC 9293 §3.10.5",
	Causes: []anomaly.Cause{
		{Name: "waited", Text: "{X} closed with FIN and aborted with RST {span} later. Its FIN_WAIT_2 was over, or a load balancer cleaned up."},
		{Name: "gave-up", Text: "{X} closed with FIN and aborted with RST {span} later. The SO_LINGER time ran out, its program ended, or a load balancer cleaned up."},
		{
			Name: "passive",
			Text: "{Y} closed first. {X} was in CLOSE_WAIT for {waited}, then closed with FIN and aborted with RST {span} later. Its program ended, or the SO_LINGER time ran out.",
			Next: "Have the program on {X} close as soon as it reads the end of the stream.",
		},
	},
	Phrases: []anomaly.Phrase{{Name: "unacked", Text: " {n bytes} from {Y} had not been acknowledged."}},
	Thresholds: []anomaly.Threshold{
		{Name: "time in FIN_WAIT_2, by the TCP stack profile of {X}, after which it is over", Value: tcp.StackLinux.Stack().FinWait2, Flag: "stack"},
		refusalTime,
	},
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		built := h.Before.RST == rst.Abort && h.S.Seq == h.Ends[subject].FIN+1 ||
			h.Before.RST == rst.Unmatched && numberOfFIN(h) && h.Before.Accepted
		if !built || !h.Ends[subject].Has(endpoint.HasFIN) {
			return nil
		}
		bare := h.S.Flags&tcp.ACK == 0
		if _, answers := refusedData(h); answers || bare && !h.Visible(peer) {
			return nil // the answer to data, or to what was not captured
		}
		if h.ResetBefore() || bare && h.Before.States[subject] == tcp.Closed.Set() {
			return nil // there was nothing left to abort
		}
		fin, ok := h.Find(subject, tcp.SndFIN)
		if !ok {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Cause:    "gave-up",
			Certain:  abortCertainty(h),
			Evidence: []int{fin.Packet(), h.S.Packet},
			Values:   anomaly.Values{"span": h.Now.Sub(fin.At)},
		}
		came, passive := h.Find(subject, tcp.RcvFIN)
		acked, ok := h.Find(subject, tcp.RcvAckOfFIN)
		switch held := h.Ends[subject].Stack().FinWait2; {
		case passive && came.At <= fin.At:
			f.Cause, f.Values["waited"] = "passive", fin.At.Sub(came.At)
			f.Evidence = append(f.Evidence, h.Frames(peer, tcp.SndFIN)...)
		case ok && !passive && held != 0 && h.Now.Sub(acked.At) >= held:
			f.Cause = "waited"
		}
		if n := h.StreamEnd(peer).Minus(h.Before.Acked[subject]); h.Before.Acked[subject].Before(h.StreamEnd(peer)) {
			f.Values["n"] = n
			f.Say("unacked")
		}
		return f
	},
}

const lastAckText = "{Y} did not get the last ACK and retransmitted its FIN {span} after the first. {X}, which closed first, no longer holds TIME_WAIT (it should last {hold}; its last ACK was sent {held} earlier) and answered with RST seq {seq}. So {Y} ends with an error instead of a clean close. "

var RstInsteadOfAck = anomaly.Kind{
	Name:     "rst-instead-of-ack",
	Severity: anomaly.Error,
	Title:    "Retransmitted FIN answered by RST: the closer was gone",
	RFC:      "RFC 9293 §3.5.2, §3.6.1",
	Causes: []anomaly.Cause{
		{Name: "time-wait-shortened", Text: lastAckText + "TIME_WAIT was shortened (bucket limit, reuse, an earlier RST), the host rebooted, a NAT, load balancer or firewall lost the flow, or the RST is forged.", Next: "Check {X} for a limit on TIME_WAIT (on Linux net.ipv4.tcp_max_tw_buckets, and TCPTimeWaitOverflow in nstat). Check how long devices on the path keep a closed flow."},
		{Name: "time-wait-expired", Text: lastAckText + "TIME_WAIT had expired normally; the RTO of the other end was longer."},
		{Name: "aborted", Text: "{Y} retransmitted its FIN after {span} and got a RST (seq {seq}). {X} closed first and then aborted with the RST #{abort}, so it never reached TIME_WAIT. {Y} did not accept that RST. {Y} ends with an error instead of a clean close."},
		{Name: "never-acknowledged", Text: "{Y} retransmitted its FIN after {span} and got a RST (seq {seq}). {X} closed first, but no ACK of that FIN by {X} was captured, so {X} may not have been in TIME_WAIT. It gave up FIN_WAIT_2 early, its host restarted, or a NAT, load balancer or firewall lost the flow. {Y} ends with an error instead of a clean close."},
		{Name: "fin-wait-2-expired", Text: "{Y} retransmitted its FIN after {span} and got a RST (seq {seq}). {X} closed first, waited too long in FIN_WAIT_2, forgot the connection and never reached TIME_WAIT. {Y} ends with an error instead of a clean close."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time in TIME_WAIT, by the TCP stack profile of {X}", Value: tcp.StackLinux.Stack().TimeWait2MSL, Flag: "2msl"},
		{Name: "time in FIN_WAIT_2, by the TCP stack profile of {X}", Value: tcp.StackLinux.Stack().FinWait2, Flag: "stack"},
	},
	Supersedes: []string{"time-wait-truncated"},
	RestsOn:    anomaly.ResetSent,
	On:         triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != rst.Reply || h.Rare == nil {
			return nil
		}
		again := h.Rare.Closing[peer]
		if !again.Unanswered || !h.ClosedFirst(subject) || h.S.Seq != h.Ends[subject].FIN+1 {
			return nil
		}
		if gone, ok := h.Find(subject, tcp.NoTCB); ok && gone.Packet() != h.S.Packet {
			return nil // it had ended the connection before the FIN came, and never was in TIME_WAIT
		}
		fin, _ := h.Find(peer, tcp.SndFIN)
		_, forgot := h.Find(subject, tcp.GiveUp)
		most := h.M.TwoMSLOf(h.Ends[subject].Stack())
		held := h.Now.Sub(h.Before.SentAt[subject]) // it held it when it sent its last ACK
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Cause:    "time-wait-shortened",
			Values:   anomaly.Values{"span": again.FINCopyAt.Sub(fin.At), "hold": template.Hold(most), "held": held, "seq": h.S.Seq},
			Evidence: append(append(append(h.Frames(subject, tcp.SndFIN), fin.Packet(), again.FINCopy, h.S.Packet), h.Rare.Closing[subject].Acks...), h.Frames(peer, tcp.RcvAckOfFIN)...),
		}
		abort, aborted := h.Find(subject, tcp.SndRST)
		switch {
		case forgot:
			f.Cause = "fin-wait-2-expired"
		case aborted:
			f.Cause, f.Values["abort"] = "aborted", abort.Packet()
			f.Evidence = append(f.Evidence, abort.Packet())
		case !h.Ends[peer].FIN.Before(h.Before.Acked[subject]):
			f.Cause = "never-acknowledged"
			h.Whole(subject) // the ACK may only not have been captured
		case held >= most:
			f.Cause = "time-wait-expired"
		}
		return f
	},
}

// abortsOpen reports whether the RST comes from its sender's own connection,
// which was open and which it had not closed.
func abortsOpen(h *anomaly.Case) bool {
	subject, peer := h.From, h.From.Peer()
	before := h.Before.States[subject]
	if h.Before.RST != rst.Abort || before == 0 || before&^beforeFIN != 0 || !h.Ends[subject].Has(endpoint.HasAcked) {
		return false // it has spoken by nothing but RST
	}
	// Without ACK it may be the answer to a segment that was not captured.
	return h.S.Flags&tcp.ACK != 0 || h.Visible(peer)
}

// abortCertainty is that of an abort: a RST without ACK has the numbers of an
// abort by RFC 9293 §3.10.5, and of a reply to something older. Most stacks
// send RST,ACK when they abort.
func abortCertainty(h *anomaly.Case) anomaly.Confidence {
	if h.S.Flags&tcp.ACK == 0 {
		return anomaly.ConfidenceAmbiguous
	}
	return anomaly.ConfidenceAssumed
}

// What an end does in vain before its timer, and not its program, aborts.
const (
	probesInVain  = 2 // keepalives
	repeatsInVain = 4 // copies of what is not acknowledged
)

// triesInVain is what explains an abort by a timer.
var triesInVain = []anomaly.Threshold{
	{Name: "unanswered keepalives, less than", Value: probesInVain},
	{Name: "copies of unacknowledged data, less than", Value: repeatsInVain},
}

// triedInVain reports whether the end had probed or repeated without an answer
// before it sent the RST, so that a timer of its own explains the RST.
func triedInVain(h *anomaly.Case, x tcp.Endpoint) bool {
	probes, repeats := 0, 0
	for g := range h.Back() {
		switch {
		case g.From != x:
			return false
		case g.Is&recent.WasKeepalive != 0:
			probes++
		case g.Is&recent.WasOld != 0:
			repeats++
		}
		if probes >= probesInVain || repeats >= repeatsInVain {
			return true
		}
	}
	return false
}

// Window evidence of unread octets: at least so many full segments were
// acknowledged while the right edge stood still, for longer than a program that
// reads needs to be woken.
const (
	unreadSegments = 2
	unknownMSS     = 1460
	unreadFor      = 200 * time.Millisecond
)

// unreadBy returns how many octets the end acknowledged at last while its right
// edge did not move, and whether it had octets unread when it sent the RST: those
// are enough, or the window is closed. How many were unread they do not tell: a
// buffer that fills while the window still opens holds more, and one of which
// less than a segment was read may hold less. The window of the RST itself tells
// nothing: Linux empties the buffer first, and other stacks write 0.
func unreadBy(h *anomaly.Case, x tcp.Endpoint) (n tcp.Size, enough bool) {
	e := &h.Ends[x]
	if !e.Has(endpoint.HasAcked) {
		return 0, false
	}
	shift, edge := e.Scale(&h.Ends[x.Peer()]), h.Before.Edge[x]
	stands := func(ack tcp.Seq, wnd uint16) bool { // but for what scaling rounds off
		return edge.Minus(ack.Add(tcp.Size(wnd)<<shift))>>shift == 0
	}
	var run []*recent.Segment // the ACKs with that edge, the newest first
	for g := range h.Back() {
		if g.From != x || g.Flags&(tcp.SYN|tcp.RST|tcp.ACK) != tcp.ACK || g.Is&(recent.WasStale|recent.WasForeign) != 0 {
			continue
		}
		if !stands(g.Ack, g.Wnd) {
			break
		}
		run = append(run, g)
	}
	if len(run) == 0 {
		return 0, h.Before.Wnd[x] == 0
	}
	oldest := run[len(run)-1].Ack
	n = h.Before.Acked[x].Minus(oldest)
	much := unreadSegments * cmp.Or(tcp.Size(e.MSS), unknownMSS)
	for _, g := range run {
		if g.Ack.Minus(oldest) >= much && h.Now.Sub(g.At) >= unreadFor {
			enough = true
		}
	}
	return n, enough || h.Before.Wnd[x] == 0
}

// unackedOf returns how many octets of the end its peer has not acknowledged,
// as far as the capture can tell.
func unackedOf(h *anomaly.Case, x tcp.Endpoint) tcp.Size {
	e, peer := &h.Ends[x], &h.Ends[x.Peer()]
	if una := e.Una(peer); h.Visible(x.Peer()) && peer.Has(endpoint.HasAcked) && una.Before(e.Nxt) {
		return e.Nxt.Minus(una)
	}
	return 0
}
