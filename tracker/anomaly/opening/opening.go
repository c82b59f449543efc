// Package opening has the anomalies of handshakes: what goes wrong while a
// connection opens (opening.go), and handshakes that are not the three segments
// of RFC 9293 figure 6 (opening_odd.go).
//
// Each check is asked for a handful of segments, SYNs and what answers them, and
// finds the others of the handshake among the recent ones.
package opening

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// Nothing repeats a SYN sooner: Linux does after some 10 ms, if a wrong
	// answer came.
	soonestRepeat = 5 * time.Millisecond

	// An attempt that a new one from the same port follows this soon was not
	// waited for.
	briefAttempt = time.Second

	// SYNs without an answer, by which an attempt that the capture does not see
	// the end of counts as failed.
	synsAtEnd = 3

	// SYN+ACKs that show a server to have waited: one is sent by any.
	synAcksStuck = 2

	// The ACK of a handshake may cross a SYN+ACK that is repeated.
	ackCrosses = 50 * time.Millisecond

	// An end that repeats its SYN+ACK after this many ACKs of it, sent at
	// different times, does not act on them. One is a loss, and two may be,
	// where the way from the capture point to the end is long.
	ignoredAcks     = 3
	ignoredAcksNear = 2

	// An end that answers this soon is the host of the capture: nothing is lost
	// between the two.
	nearEnd = 500 * time.Microsecond
)

var ConnectionRefused = anomaly.Kind{
	Name:     "connection-refused",
	Severity: anomaly.Warning,
	Title:    "SYN answered by RST",
	RFC:      "RFC 9293 §3.5.2, §3.10.7.3",
	Causes: []anomaly.Cause{
		{Text: "{Y.ip} has no listener on port {Y.port} (or a firewall answered): RST to the SYN {soon}.",
			Next: "On {Y.ip}, check with `ss -ltn` whether anything listens on port {Y.port}. If not, start it or correct the address that {X.ip} connects to. If it does, look for a firewall that rejects {X.ip}."},
		{Name: "listened", Text: "{Y} had accepted connections (#{frame} last), and answered this SYN with RST {soon}. Its listener was closed, its backlog is full and the stack reports this with a RST, or a filter rejects {X.ip}.",
			Next: "On {Y.ip}, check whether the service on port {Y.port} was restarted at that time, and with `ss -ltn` whether its backlog is full. Otherwise, look for a filter that rejects {X.ip}."},
		{Name: "answered-before", Text: "{Y} answered the SYN with SYN+ACK (#{frame}), but answered the retransmitted SYN with RST {soon}. The port listens, or did so then. {Y} withdrew its answer, for example because its backlog is full, or two different hosts answered.",
			Next: "On {Y.ip}, check with `ss -ltn` whether the backlog of port {Y.port} is full, and whether a load balancer sends {X} to several hosts. Find out why the SYN+ACK did not reach {X}."},
		{Name: "other-hops", Text: "{Y} had accepted connections (#{frame} last), but something else answered this SYN with RST {soon}: its TTL is {ttl}, and packets of {Y} have {ttl2}. A firewall on the path rejects {X.ip}.",
			Next: "Look for the firewall between {X.ip} and {Y.ip} that rejects this SYN. {Y} itself may not have received it."},
	},
	On: triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From.Peer()
		if !h.Before.Accepted || h.Before.States[subject] != tcp.SynSent.Set() {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.Frames(subject, tcp.SndSYN), h.S.Packet),
			Values:   anomaly.Values{"soon": template.Soon(h.Now.Sub(h.Before.SentAt[subject]))},
		}
		if synACK, ok := h.LastSent(h.From, tcp.SYN|tcp.ACK); ok && acceptableTo(h, subject, synACK) {
			f.Cause, f.Values["frame"] = "answered-before", synACK.Packet
			f.Evidence = append(f.Evidence, synACK.Packet)
			return f
		}
		answers := h.M.Listeners.Answers(h.Addr(h.From))
		if len(answers) == 0 {
			return f
		}
		a := answers[0]
		f.Cause, f.Values["frame"] = "listened", a.Packet
		f.Evidence = append(f.Evidence, a.Packet)
		c := h.M.NewestOf(a.Key)
		if c == nil || c.Addr(tcp.Server) != h.Addr(h.From) || a.Key == h.Key {
			return f
		}
		if ttl := c.Ends[tcp.Server].TTL; ttl != 0 && h.S.TTL != 0 && !endpoint.SameWay(ttl, h.S.TTL) {
			f.Cause, f.Values["ttl"], f.Values["ttl2"] = "other-hops", h.S.TTL, ttl
		}
		return f
	},
}

var SynRetransmitted = anomaly.Kind{
	Name:     "syn-retransmitted",
	Severity: anomaly.Notice,
	Title:    "SYN retransmitted",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []anomaly.Cause{
		{Name: "no-answer", Text: "{X} retransmitted its SYN after {span}: no answer had been captured. One lost SYN or SYN+ACK is harmless. Many mean a full backlog, a firewall, or a host that is down."},
		{Name: "ports-reused", Text: "{X} retransmitted its SYN after {span}: no answer had been captured. These ports had a connection that ended {ended} earlier (#{frame}). A device on the path may have dropped the SYN for that reason, or the SYN was lost.",
			Next: "If this happens often, check how long the NAT, load balancer or firewall on the path keeps closed connections. Do not let {X.ip} reuse a port within that time."},
		{Name: "answer-refused", Text: "{X} retransmitted its SYN after {span}: {why}"},
		{Name: "answer-not-received", Text: "{X} retransmitted its SYN after {span}. The answer was captured but had not reached {X} by then. It was lost or delayed after the capture point."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "ack-of-older", In: "why", Text: "the answer to the first SYN was an ACK of an older connection, and {X} rejected it with RST."},
		{Name: "ack-of-unsent", In: "why", Text: "the answer to the first SYN acknowledged something that {X} had not sent, so it was not a valid answer."},
		anomaly.Lost,
	},
	Thresholds: []anomaly.Threshold{{Name: "time before the copy, if nothing else distinguishes it, at least", Value: soonestRepeat}},
	On:         triggers.OnSYN,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Ends[subject].Copies < 2 {
			return nil
		}
		sent, again := h.LastSent(subject, tcp.SYN)
		waits := h.Ends[subject].Assumed == tcp.SynSent.Set() ||
			h.Ends[subject].Proved == tcp.SynSent.Set() && h.Ends[subject].Assumed == endpoint.Up // the answer is on its way to it
		if _, told := attemptsBefore(h); told != nil {
			return nil
		}
		if !again || !waits || h.S.Seq != h.Ends[subject].ISS || isCopyOf(h, sent) {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Cause:    "no-answer",
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: h.FramesOf(subject, tcp.SYN),
			Values:   anomaly.Values{"span": h.Now.Sub(sent.At)},
		}
		answer, answered := h.LastSent(peer, tcp.SYN|tcp.ACK)
		switch {
		case refusedSince(h, sent.At):
			f.Cause = "answer-refused"
			f.Say("ack-of-older")
		case !answered:
			if ended, last := servedBefore(h); last != nil {
				f.Cause = "ports-reused"
				f.Evidence = append(f.Evidence, last.Packet)
				f.Values["ended"], f.Values["frame"] = ended, last.Packet
			}
		case !acceptableTo(h, subject, answer):
			f.Cause = "answer-refused"
			f.Evidence = append(f.Evidence, answer.Packet)
			f.Say("ack-of-unsent")
		default:
			f.Cause = "answer-not-received"
			f.Evidence = append(f.Evidence, answer.Packet)
		}
		h.SayLost(f)
		return f
	},
}

const (
	unansweredText = "Nothing answered {what} from {X} to {Y} in {span}. "
	limitText      = " By default {X.ip}'s stack gives up after about {limit}."
)

var SynTimeout = anomaly.Kind{
	Name:     "syn-timeout",
	Severity: anomaly.Error,
	Title:    "Connection attempt got no answer",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []anomaly.Cause{
		{Text: unansweredText + "A firewall drops them, the host is down, or its backlog is full." + limitText,
			Next: "Capture on {Y.ip} too. If the SYNs arrive there, check with `ss -ltn` whether port {Y.port} listens and its backlog is full. If they do not, look for a firewall or a route on the path."},
		{Name: "old-connection", Text: unansweredText + "When the first SYN came, {Y} still had the previous connection on these ports in {state}, for {held}. Some stacks and firewalls drop such a SYN{gone}." + limitText,
			Next: "On {Y}, find out why the application has not closed the socket of {X} (`ss -tanp`). Until then, connect from another port."},
		{Name: "time-wait", Text: unansweredText + "When the first SYN came, {Y} had held TIME_WAIT for these ports for {held}. Some stacks drop such a SYN." + limitText,
			Next: "Let {X.ip} connect from a port that was not used for a minute: bind no fixed port, widen net.ipv4.ip_local_port_range, or keep connections open."},
		{Name: "older-timestamp", Text: unansweredText + "In this time, {Y} answered SYNs from {X.ip} with newer timestamps (#{frame}), and none with an older one. A server that compares timestamps by address drops such SYNs (on Linux before 4.12 net.ipv4.tcp_tw_recycle). This affects hosts that share an address." + limitText,
			Next: "If {Y.ip} has net.ipv4.tcp_tw_recycle, set it to 0. Otherwise, have the NAT in front of {X.ip} rewrite timestamps, or turn them off behind it (net.ipv4.tcp_timestamps=0)."},
		{Name: "ports-reused", Text: unansweredText + "In this time, {Y} answered other SYNs (#{frame}). These ports had a connection that ended {ended} before the first SYN. {Y}'s port works, but a device on the path may still hold that connection." + limitText,
			Next: "On the NAT, load balancer or firewall in front of {Y}, check how long it keeps closed connections. Do not let {X.ip} reuse a port within that time."},
		{Name: "others-served", Text: unansweredText + "In this time, {Y} answered other SYNs (#{frame}), so it is up and listens. The SYNs of {X} are filtered or lost on the path, or {Y} drops some of them, for example when its backlog is full." + limitText,
			Next: "Capture on {Y.ip} too. If the SYNs of {X} arrive there, check whether `nstat -az TcpExtListenOverflows TcpExtListenDrops` grows. If they do not, look for a filter or a route that treats {X.ip} differently."},
		{Name: "queue-full", Text: unansweredText + "In this time, {Y} answered no other SYN, {sign}. Most likely its backlog is full, or a filter lets no SYN through." + limitText,
			Next: "On {Y.ip}, check with `ss -ltn` whether Recv-Q of port {Y.port} has reached Send-Q. If so, its application does not accept, or the backlog (net.core.somaxconn) is too small."},
		{Name: "went-silent", Text: unansweredText + "{Y} had answered SYNs before (#{frame} last), and has sent nothing since the first of these SYNs that was captured. The host or the path to it is down, or its backlog is full." + limitText,
			Next: "Check whether {Y.ip} is up and reachable. If it is, check there with `ss -ltn` whether the backlog of port {Y.port} is full."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "one", In: "what", Text: "the SYN"},
		{Name: "several", In: "what", Text: "{n} SYNs"},
		{Name: "attempts", In: "what", Text: "{n} SYNs, in {tries} attempts with different initial sequence numbers,"},
		{Name: "or-gone", In: "gone", Text: ". Or the host is gone: it has answered nobody since"},
		{Name: "goes-on", In: "sign", Text: "but went on in its open connections (#{frame}), so the host is up"},
		{Name: "says-nothing", In: "sign", Text: "and has sent no data in the last {k connections} that it answered, so no application seems to accept them"},
		{Name: "dialled-again", Text: " Here the program gave up sooner, and connected again from the same port."},
		{Name: "early", Text: " Here it is set to fewer retries, the program gave up, or the capture ended first."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time for which the stack of {X} retries", Value: tcp.StackLinux.Stack().SynGiveUp, Flag: "stack"},
		{Name: "SYNs, if the capture ends first, at least", Value: synsAtEnd},
		{Name: "time after one SYN, if a new attempt follows, at least", Value: briefAttempt},
		{Name: "time since the previous connection, for a device on the path to hold it, less than", Value: heldBetween},
	},
	Supersedes: []string{"syn-retransmitted"},
	On:         triggers.OnTimer | triggers.OnEnd,
	Only:       triggers.IfWasSynSent,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.X()
		if h.Before.States[h.From] != tcp.SynSent.Set() || h.Y().Seen() || !subject.Seen() {
			return nil
		}
		first, ok := h.Find(h.From, tcp.SndSYN)
		if !ok || h.On&triggers.OnEnd != 0 && subject.Copies < synsAtEnd || heardSince(h, first.At) {
			return nil
		}
		waited := h.M.Heard().Sub(first.At)
		earlier, told := attemptsBefore(h)
		if told != nil {
			return toldOf(h, told, earlier)
		}
		if h.On&triggers.OnEnd != 0 && slices.ContainsFunc(earlier, waitedFor) {
			return nil // what is told of those tells of this one too
		}
		if h.Newer() != nil && subject.Copies < 2 && waited < briefAttempt {
			return nil
		}
		f := &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.FramesOf(h.From, tcp.SYN), first.Packet()),
			Values:   anomaly.Values{"n": subject.Copies, "span": waited, "limit": subject.Stack().SynGiveUp},
		}
		if subject.Copies < synsAtEnd {
			h.Unseen()
		}
		rank(h, f, h.Conn)
		f.Say(anomaly.Either(subject.Copies > 1, "several", "one"))
		if waited < subject.Stack().SynGiveUp/2 {
			f.Say("early")
		}
		return f
	},
}

// attemptsBefore returns the attempts that the same end made before on these ports,
// the newest first, none of which had an answer, and of these the one in which
// their failure was told of, or nil.
func attemptsBefore(h *anomaly.Case) (list []*conn.Conn, told *conn.Conn) {
	for o := h.Conn.Older(); o != nil; o = o.Older() {
		if o.Provisional() {
			continue
		}
		if o.Origin() != tcp.FromSYN || o.ClosedBy() != tcp.ByTimeoutOfEnd || o.Ends[tcp.Server].Seen() || o.Addr(tcp.Client) != h.Addr(tcp.Client) {
			break
		}
		list = append(list, o)
		if h.Reported(o, "syn-timeout") {
			return list, o
		}
	}
	return list, nil
}

// waitedFor reports whether a failed attempt was more than a brief one.
func waitedFor(c *conn.Conn) bool {
	return c.Ends[tcp.Client].Copies > 1 || c.Last().Sub(c.Start) >= briefAttempt
}

// toldOf tells of one more attempt in the connection in which the first of them is
// told of.
func toldOf(h *anomaly.Case, first *conn.Conn, earlier []*conn.Conn) *anomaly.Finding {
	syns := int(h.X().Copies)
	for _, o := range earlier {
		syns += int(o.Ends[tcp.Client].Copies)
	}
	began, ok := first.Find(tcp.Client, tcp.SndSYN)
	if !ok {
		return nil
	}
	f := &anomaly.Finding{
		Of:       first,
		Again:    true,
		End:      tcp.Client,
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: h.Frames(tcp.Client, tcp.SndSYN),
		Values:   anomaly.Values{"n": syns, "tries": len(earlier) + 1, "span": h.M.Heard().Sub(began.At), "limit": h.X().Stack().SynGiveUp},
	}
	rank(h, f, first)
	f.Say("attempts")
	if own, ok := h.Find(tcp.Client, tcp.SndSYN); ok && h.M.Heard().Sub(own.At) < h.X().Stack().SynGiveUp/2 {
		f.Say("dialled-again")
	}
	return f
}

var SynAckRetransmitted = anomaly.Kind{
	Name:     "syn-ack-retransmitted",
	Severity: anomaly.Notice,
	Title:    "SYN+ACK retransmitted",
	RFC:      "RFC 9293 §3.10.8",
	Causes: []anomaly.Cause{
		{Name: "no-ack", Text: "{X} retransmitted its SYN+ACK after {span}: no ACK of it was captured. The SYN+ACK or the ACK was lost, or {Y} is gone or did not send the SYN."},
		{Name: "duplicate-syn", Text: "{X} sent its SYN+ACK again after {span}: {Y} had retransmitted its SYN, and this is the answer."},
		{Name: "ack-not-received", Text: "{X} retransmitted its SYN+ACK after {span}. {Y}'s ACK of the first was captured but had not reached {X} by then. It was lost or delayed after the capture point, or {X} ignores it."},
		{Name: "deferred", Text: "{X} retransmitted its SYN+ACK {span} after the first, although {Y}'s ACK of the first was captured. A server that waits for an ACK retransmits sooner. This one waited for data (on Linux TCP_DEFER_ACCEPT), and that time has expired.",
			Next: "If the server {X} is meant to send first, turn deferred accept off there (TCP_DEFER_ACCEPT; nginx `deferred`, Apache AcceptFilter). Otherwise, find out why {Y} connects and sends nothing."},
	},
	Phrases: []anomaly.Phrase{anomaly.Lost},
	Thresholds: []anomaly.Threshold{
		{Name: "time before the copy, if nothing else distinguishes it, at least", Value: soonestRepeat},
		{Name: "time before the first copy of a SYN+ACK that did not wait for an ACK, at least", Value: deferredFor},
	},
	On:     triggers.OnSYNACK,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From.Peer(), h.From
		sent, again := repeatedSYNACK(h)
		if !again {
			return nil
		}
		f := &anomaly.Finding{
			End:      peer,
			Cause:    "no-ack",
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: h.FramesOf(peer, tcp.SYN|tcp.ACK),
			Values:   anomaly.Values{"span": h.Now.Sub(sent.At)},
		}
		ack, acked := ackOf(h, sent)
		switch {
		case h.CountOf(subject, tcp.SYN) > h.CountOf(peer, tcp.SYN|tcp.ACK):
			f.Cause = "duplicate-syn"
			f.Evidence = append(f.Evidence, h.FramesOf(subject, tcp.SYN)...)
		case acked:
			f.Cause = "ack-not-received"
			f.Evidence = append(f.Evidence, ack.Packet)
			if h.CountOf(peer, tcp.SYN|tcp.ACK) == 1 && h.Now.Sub(sent.At) >= deferredFor {
				f.Cause = "deferred"
			}
		}
		h.SayLost(f)
		return f
	},
}

// A server that answers with SYN cookies keeps nothing, and repeats nothing of
// its own accord. One that has an unfinished connection repeats its SYN+ACK
// without being asked by a SYN, and only that shows that it waited.
var SynRcvdStuck = anomaly.Kind{
	Name:     "syn-rcvd-stuck",
	Severity: anomaly.Warning,
	Title:    "Server ran out of SYN+ACK retries",
	RFC:      "RFC 9293 §3.8.3",
	Causes: []anomaly.Cause{
		{Text: "{X} sent its SYN+ACK {n} times and waited {span} in SYN_RCVD. {Y} never completed the handshake. {Y} is gone, its ACKs are lost on the path, or the SYN was forged."},
	},
	Next: "Capture on {Y.ip}. If it sent the SYN and gets the SYN+ACK, find what drops its ACKs. If it sent no SYN, the address is forged, and net.ipv4.tcp_syncookies=1 on {X.ip} makes that harmless.",
	Thresholds: []anomaly.Threshold{
		{Name: "time after the last SYN+ACK, by the TCP stack profile of {X}", Value: tcp.StackLinux.Stack().SynAckGiveUp, Flag: "stack"},
		{Name: "SYN+ACKs, and more than there were SYNs, at least", Value: synAcksStuck},
	},
	Supersedes: []string{"syn-ack-retransmitted"},
	On:         triggers.OnTimer,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From.Peer(), h.From
		in := tcp.SynReceived.Set()
		if h.Before.States[peer] != in || h.Before.Proved[peer] != in || h.Ends[subject].Has(endpoint.HasAcked) || !h.Visible(subject) {
			return nil
		}
		syns, synAcks := h.CountOf(subject, tcp.SYN), h.CountOf(peer, tcp.SYN|tcp.ACK)
		first, ok := h.Find(peer, tcp.RcvSYN)
		if !ok || synAcks < synAcksStuck || synAcks <= syns || h.M.Heard() < h.Now {
			return nil
		}
		return &anomaly.Finding{
			End:      peer,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.FramesOf(peer, tcp.SYN|tcp.ACK), h.FramesOf(subject, tcp.SYN)...),
			Values:   anomaly.Values{"n": synAcks, "span": h.Now.Sub(first.At)},
		}
	},
}

// acceptStalled is a name of its own because others ask whether it was found.
const acceptStalled = "accept-stalled"

const stalledText = "{X} still retransmits its SYN+ACK {span} after the first of {n ACKs} of it"

var AcceptStalled = anomaly.Kind{
	Name:     acceptStalled,
	Severity: anomaly.Warning,
	Title:    "Server retransmits SYN+ACK after its ACK was captured",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Name: "ack-ignored", Text: stalledText + ": {why}.", Next: ignoredNext},
		{Name: "data-ignored", Text: stalledText + ", and after data (#{data}): {why}.", Next: ignoredNext},
	},
	Phrases: whyIgnored,
	Thresholds: []anomaly.Threshold{
		{Name: "ACKs of the SYN+ACK, sent at different times, at least", Value: ignoredAcks},
		{Name: "the same, if {X} is the capturing host", Value: ignoredAcksNear},
		{Name: "response time of a capturing host, at most", Value: nearEnd},
		{Name: "time since these ACKs, unless twice the response time is longer", Value: ackCrosses},
		{Name: "time before the copy, if nothing else distinguishes it, at least", Value: soonestRepeat},
	},
	Supersedes: []string{"syn-ack-retransmitted"},
	On:         triggers.OnSYNACK,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		peer := h.From
		if _, again := repeatedSYNACK(h); !again {
			return nil
		}
		hold := max(2*h.Ends[peer].Response(), ackCrosses)
		least := ignoredAcks
		if h.Ends[peer].Response() <= nearEnd {
			least = ignoredAcksNear
		}
		f := &anomaly.Finding{End: peer, Certain: anomaly.ConfidenceAmbiguous, Cause: "ack-ignored", Evidence: append(h.FramesOf(peer, tcp.SYN|tcp.ACK), h.S.Packet)}
		var first tcp.Time
		acks, next := 0, h.Now.Add(-hold)
		for g := range h.Handshake() {
			if g.From == peer || !g.AcksFrom(h.S.Seq) || g.At > h.Now.Add(-hold) {
				continue
			}
			if g.Data > 0 {
				f.Cause = "data-ignored"
			}
			f.Evidence = append(f.Evidence, g.Packet)
			first = g.At
			if g.At <= next { // else it went along with the ACK counted before
				next = g.At.Add(-ackCrosses)
				acks++
			}
		}
		if acks < least {
			return nil
		}
		k := ignored(h, peer)
		f.Values = anomaly.Values{"span": h.Now.Sub(first), "n": acks, "data": k.data}
		k.sayWhy(h, f, peer)
		return f
	},
}

var SynRcvdReset = anomaly.Kind{
	Name:     "syn-rcvd-reset",
	Severity: anomaly.Notice,
	Title:    "RST during the handshake",
	RFC:      "RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Name: "aborted", Text: "{X} gave up the connection that it was opening: RST to the SYN+ACK of {Y} {soon}."},
		{Name: "no-connection", Text: "{X} answered the SYN+ACK of {Y} with RST {soon}. It had given up the attempt, scans without opening, no longer remembers the SYN, or never sent it."},
	},
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if !h.Before.Accepted || h.Before.States[peer] != tcp.SynReceived.Set() || h.Ends[subject].Has(endpoint.HasAcked) || h.Origin() != tcp.FromSYN {
			return nil
		}
		synAck, answered := h.LastSent(peer, tcp.SYN|tcp.ACK)
		if _, old := rejectsOldSYN(h); old || !answered || !h.Ends[subject].Has(endpoint.SentSYN) {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Cause:    "aborted",
			Evidence: append(h.FramesOf(subject, tcp.SYN), synAck.Packet, h.S.Packet),
			Values:   anomaly.Values{"soon": template.Soon(h.Now.Sub(synAck.At))},
		}
		if h.Before.RST == rst.Reply {
			f.Cause, f.Certain = "no-connection", anomaly.ConfidenceAmbiguous
		}
		return f
	},
}

var TfoSYNData = anomaly.Kind{
	Name:     "tfo-syn-data",
	Severity: anomaly.Info,
	Title:    "Data on the SYN",
	RFC:      "RFC 7413 §2, RFC 9293 §3.10.7.3",
	Causes: []anomaly.Cause{
		{Name: "accepted", Text: "The SYN of {X} carried {n bytes}. {Y} accepted them, one round trip early."},
		{Name: "ignored", Text: "The SYN of {X} carried {n bytes}. {Y} ignored them, and {X} must send them again."},
		{Name: "partial", Text: "The SYN of {X} carried {n bytes}. {Y} accepted the first {taken} of them, and {X} must send the rest again."},
		{Name: "sent-without", Text: "The SYN of {X} carried {n bytes}. The SYN was retransmitted without them. The first SYN was dropped with them, or lost."},
	},
	On:   triggers.OnSYN | triggers.OnSYNACK,
	Only: triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From
		if h.On&triggers.OnSYNACK != 0 {
			subject = subject.Peer()
		}
		if h.Rare == nil || h.Rare.SYNData[subject] == 0 {
			return nil
		}
		syn, ok := h.LastSent(subject, tcp.SYN)
		if !ok || syn.Data == 0 { // told when the SYN came without them
			return nil
		}
		f := &anomaly.Finding{End: subject, Evidence: []int{syn.Packet, h.S.Packet}, Values: anomaly.Values{"n": syn.Data}}
		if h.On&triggers.OnSYN != 0 {
			if h.S.Data > 0 || h.S.Seq != syn.Seq {
				return nil
			}
			f.Cause, f.Certain = "sent-without", anomaly.ConfidenceAmbiguous
			return f
		}
		if _, again := h.LastSent(h.From, tcp.SYN|tcp.ACK); again || !h.S.Ack.In(syn.Seq+1, syn.End()+1) {
			return nil
		}
		switch taken := h.S.Ack.Minus(syn.Seq + 1); taken {
		case syn.Data:
			f.Cause = "accepted"
		case 0:
			f.Cause = "ignored"
		default:
			f.Cause, f.Values["taken"] = "partial", taken
		}
		return f
	},
}

// A FIN behind the ACK of the handshake finds the server in ESTABLISHED if that
// arrived, and is the ordinary end of a connection that carried nothing. It is
// told only where no such ACK was seen before it.
var HandshakeFIN = anomaly.Kind{
	Name:     "handshake-fin",
	Severity: anomaly.Info,
	Title:    "FIN before the server saw ESTABLISHED",
	RFC:      "RFC 9293 §3.10.4, §3.10.7.4",
	Causes: []anomaly.Cause{
		{Name: "instead-of-ack", Text: "{X} closed before the handshake was complete. Its FIN was the first segment that brought {Y} the ACK of its SYN+ACK."},
		{Name: "in-syn-rcvd", Text: "{X} closed before the handshake was complete. It sent its FIN before it had an ACK of its SYN+ACK."},
	},
	On:     triggers.OnFIN,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		cause := "instead-of-ack"
		switch in := tcp.SynReceived.Set(); {
		case h.S.Flags&tcp.SYN != 0 || h.Stale || h.Foreign || h.Skewed() || !h.Y().Seen():
			return nil
		case h.Before.States[peer] == in && h.Ends[peer].Has(endpoint.SentSYNACK):
		case h.Before.States[subject] == in && h.Ends[subject].Has(endpoint.SentSYNACK):
			cause, peer = "in-syn-rcvd", subject
		default:
			return nil
		}
		return &anomaly.Finding{End: subject, Cause: cause, Certain: anomaly.ConfidenceAssumed, Evidence: append(h.FramesOf(peer, tcp.SYN|tcp.ACK), h.S.Packet)}
	},
}

// heardSince reports whether the peer of the end sent something, in a connection
// before this one, later than the given time: it holds that connection, and
// answers a SYN by an ACK of it.
func heardSince(h *anomaly.Case, at tcp.Time) bool {
	for old := h.M.FormerOf(h.Conn); old != nil; old = h.M.FormerOf(old) {
		if old.Ends[h.EndIn(old, h.From.Peer())].SentAt >= at {
			return true
		}
	}
	return false
}

// refusedSince reports whether the sender of the segment answered its peer with
// RST, in the connection before this one, later than the given time.
func refusedSince(h *anomaly.Case, at tcp.Time) bool {
	old := h.Conn.Older()
	if old == nil {
		return false
	}
	n := 0
	for g := range h.M.Recent.Back(old) {
		if n++; g.At <= at || n > anomaly.HandshakeDepth {
			return false
		}
		if g.Is&recent.WasReply != 0 && old.Addr(g.From) == h.Addr(h.From) {
			return true
		}
	}
	return false
}

// repeatedSYNACK returns the SYN+ACK that the segment, one too, repeats.
func repeatedSYNACK(h *anomaly.Case) (sent recent.Segment, ok bool) {
	if h.Ends[h.From].Copies < 2 {
		return sent, false
	}
	sent, ok = h.LastSent(h.From, tcp.SYN|tcp.ACK)
	return sent, ok && sent.Seq == h.S.Seq && !isCopyOf(h, sent)
}

// isCopyOf reports whether the segment is one that the network made of g. A
// stack that repeats a SYN gives it a new IP identification or a newer
// timestamp; where it counts neither, only the pause tells.
func isCopyOf(h *anomaly.Case, g recent.Segment) bool {
	if g.Is&recent.IsRecalled != 0 {
		return true // for all that is known
	}
	if h.S.ID != g.ID || h.S.Options.TSVal != g.TSVal {
		return false
	}
	return h.S.ID != 0 || h.S.Options.HasTS || h.Now.Sub(g.At) < soonestRepeat
}

// acceptableTo reports whether the end's SYN is what g acknowledges.
func acceptableTo(h *anomaly.Case, e tcp.Endpoint, g recent.Segment) bool {
	subject := &h.Ends[e]
	return subject.ISS.Before(g.Ack) && g.Ack.AtMost(subject.Nxt)
}

// ackOf returns the oldest segment that acknowledges the SYN+ACK and came
// between it and the segment at hand.
func ackOf(h *anomaly.Case, synAck recent.Segment) (ack recent.Segment, found bool) {
	for g := range h.Handshake() {
		if g.Packet == synAck.Packet {
			break
		}
		if g.From != synAck.From && g.AcksFrom(synAck.Seq) {
			ack, found = *g, true
		}
	}
	return ack, found
}
