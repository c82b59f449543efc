package opening

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A client is connected when it has the SYN+ACK, a server only when it has the
// ACK of that, and has room for the connection. What comes between leaves the
// client alone with it.

const (
	// A server that waits for the ACK of its SYN+ACK repeats that after a second
	// (RFC 6298 §2.1). One that keeps nothing, because it answers with SYN cookies,
	// does not.
	repeatDue = time.Second

	// A SYN cookie holds for so long at least. Linux takes one or two minutes.
	cookieHolds = 60 * time.Second

	// A SYN+ACK that is repeated later than this for the first time was not waiting
	// for its ACK. Every stack would have repeated it sooner.
	deferredFor = 5 * time.Second
)

// ignoredAck is what a server makes of the ACKs of its SYN+ACK when it repeats
// that all the same.
type ignoredAck struct {
	synAcks   int      // that were sent
	acks      int      // that were captured after the first of these
	since     tcp.Time // when the first of the ACKs was
	frames    []int
	data      int  // frame of data among them; 0: none
	unstamped bool // they lack the timestamps that both SYNs have
}

// ignored looks at the handshake before the scene. x is the server.
func ignored(h *anomaly.Case, x tcp.Endpoint) (k ignoredAck) {
	k.unstamped = h.Ends[x].Has(endpoint.HasTS) && h.Ends[x.Peer()].Has(endpoint.HasTS)
	for g := range h.Handshake() {
		switch {
		case g.From == x && g.Opens(tcp.SYN|tcp.ACK):
			k.synAcks++
		case g.From == x || g.Is&recent.WasStale != 0 && g.Data == 0 || !g.AcksFrom(h.Ends[x].ISS):
			continue
		default:
			k.acks++
			k.since = g.At
			k.unstamped = k.unstamped && g.TSVal == 0 && g.Is&recent.IsRecalled == 0
			if g.Data > 0 {
				k.data = g.Packet
			}
		}
		k.frames = append(k.frames, g.Packet)
	}
	k.unstamped = k.unstamped && k.acks > 0
	return k
}

// accepting returns the frame of the newest answer to another client, given since
// the time, in whose connection the server's application has spoken: 0 if there is
// none. Such a server has room in its queue.
func accepting(h *anomaly.Case, x tcp.Endpoint, since tcp.Time) int {
	for _, a := range h.M.Listeners.Answers(h.Addr(x)) {
		if tcp.Time(a.At) < since || a.Key == h.Key {
			continue
		}
		if c := h.M.NewestOf(a.Key); c != nil && c.Addr(tcp.Server) == h.Addr(x) && c.Ends[tcp.Server].Bytes > 0 {
			return a.Packet
		}
	}
	return 0
}

// sayWhy says why the server ignores the ACKs, what the capture refutes left out.
// That it waits for data (TCP_DEFER_ACCEPT) is: it would not repeat its SYN+ACK.
func (k *ignoredAck) sayWhy(h *anomaly.Case, f *anomaly.Finding, x tcp.Endpoint) {
	frame := accepting(h, x, k.since)
	f.Values["other"] = frame
	switch {
	case k.unstamped:
		f.Say("no-timestamps")
	case frame != 0:
		f.Evidence = append(f.Evidence, frame)
		f.Say("serves-others")
	default:
		f.Say("full-or-lost")
	}
}

// whyIgnored are the phrases that sayWhy has.
var whyIgnored = []anomaly.Phrase{
	{Name: "no-timestamps", In: "why", Text: "they lack the timestamps that both SYNs agreed on, and RFC 7323 §3.2 has {X} drop such segments. Or its backlog is full, or nothing from {Y} gets past the capture point"},
	{Name: "serves-others", In: "why", Text: "nothing from {Y} gets past the capture point, or a filter at {X.ip} drops it. The backlog is not full: {X} accepted another connection in this time (#{other})"},
	{Name: "full-or-lost", In: "why", Text: "its backlog is full (Linux then drops the ACK silently), or nothing from {Y} gets past the capture point"},
}

const ignoredNext = "On {X.ip}, check with `ss -ltn` whether Recv-Q of port {X.port} has reached Send-Q. If so, have the application accept faster, or raise its backlog and net.core.somaxconn. If not, capture there too, and look for a filter that drops packets from {Y.ip}."

var HandshakeNotCompleted = anomaly.Kind{
	Name:     "handshake-not-completed",
	Severity: anomaly.Warning,
	Title:    "Only the client considers itself connected",
	RFC:      "RFC 4987 §3.6, RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Name: "cookie-expired", Text: notCompletedText + "It sent nothing after its SYN+ACK, did not retransmit it, and answered {what} {span} later with RST. So it had kept no state, as with SYN cookies: the last ACK did not reach it, and the cookie had expired. Or the listening process has ended.",
			Next: "On {X.ip}, check whether it sends SYN cookies (`nstat -az TcpExtSyncookiesSent TcpExtSyncookiesFailed`). If so, raise the backlog of port {X.port} and net.ipv4.tcp_max_syn_backlog, or stop the flood. Have {Y} send data soon after it connects."},
		{Name: "forgotten", Text: notCompletedText + "It sent nothing after its SYN+ACK, did not retransmit it, and answered {what} {span} later with RST. It was not waiting for the ACK, and a SYN cookie would be valid for longer. The listening process has ended, or the segments of {Y} now go to another host.",
			Next: "Check whether the service on {X} was restarted at that time. If not, look for a load balancer or NAT that sends one connection to different hosts."},
		{Name: "refused-at-once", Text: notCompletedText + "It sent nothing after its SYN+ACK, and answered {what} with RST {soon}. Its backlog is full and it reports this with RST (on Linux net.ipv4.tcp_abort_on_overflow=1). Or its listener was just closed, or the segments of {Y} go to another host.",
			Next: "On {X.ip}, check with `ss -ltn` and `nstat -az TcpExtListenOverflows` whether the backlog of port {X.port} is full. Have the application accept faster, or raise its backlog and net.core.somaxconn."},
		{Name: "gave-up", Text: notCompletedText + "It sent its SYN+ACK {n times}, although {acks ACKs} of it were captured, and finally answered {what} with RST: {why}.", Next: ignoredNext},
		{Name: "gave-up-silently", Text: notCompletedText + "It sent its SYN+ACK {n times}, although {acks ACKs} of it were captured. By now it has given up, and {Y} does not know that: {why}.", Next: ignoredNext},
	},
	Phrases: append([]anomaly.Phrase{
		{Name: "data", In: "what", Text: "{data bytes} of data"},
		{Name: "fin", In: "what", Text: "a FIN"},
		{Name: "ack", In: "what", Text: "an empty ACK"},
	}, whyIgnored...),
	Thresholds: []anomaly.Threshold{
		{Name: "time after which a SYN+ACK is retransmitted", Value: repeatDue},
		{Name: "time for which a SYN cookie is valid", Value: cookieHolds},
		{Name: "time after the last SYN+ACK, by the TCP stack profile of {X}", Value: tcp.StackLinux.Stack().SynAckGiveUp, Flag: "stack"},
	},
	Supersedes: []string{"accept-stalled", "syn-ack-retransmitted"},
	RestsOn:    anomaly.ResetSent,
	On:         triggers.OnRST | triggers.OnEnd,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.On&triggers.OnEnd != 0 {
			return gaveUpSilently(h)
		}
		subject, peer := h.From, h.From.Peer()
		if h.Before.RST != rst.Reply || !h.Ends[subject].Has(endpoint.SentSYNACK) || h.Before.Proved[subject] != tcp.SynReceived.Set() ||
			!h.Before.States[peer].Within(connected) || h.Explained() || len(h.Frames(subject, tcp.RcvRST, tcp.RcvRSTPassive)) > 0 {
			return nil
		}
		synACK, answered := h.LastSent(subject, tcp.SYN|tcp.ACK)
		asked := h.Newest(peer)
		if !answered || asked == nil || asked.Flags&(tcp.ACK|tcp.SYN) != tcp.ACK {
			return nil
		}
		k, after := ignored(h, subject), asked.At.Sub(synACK.At)
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{synACK.Packet, asked.Packet, h.S.Packet},
			Values:   anomaly.Values{"data": asked.Data, "span": after, "soon": template.Soon(h.Now.Sub(asked.At)), "n": k.synAcks, "acks": k.acks},
		}
		switch {
		case asked.Data > 0:
			f.Say("data")
		case asked.Flags&tcp.FIN != 0:
			f.Say("fin")
		default:
			f.Say("ack")
		}
		switch {
		case k.synAcks > h.CountOf(peer, tcp.SYN):
			f.Cause = "gave-up"
			f.Evidence = append(f.Evidence, k.frames...)
			k.sayWhy(h, f, subject)
		case after < repeatDue:
			f.Cause = "refused-at-once"
		case after < cookieHolds:
			f.Cause = "forgotten"
		default:
			f.Cause = "cookie-expired"
		}
		return f
	},
}

const notCompletedText = "{Y} was connected, but {X} never was. "

// connected are the states of a client that takes the connection for open.
var connected = tcp.Established.Set() | tcp.CloseWait.Set() | tcp.FinWait1.Set()

// gaveUpSilently finds a server that has waited for the ACK of its SYN+ACK for as
// long as its stack does, although the capture has ACKs of it. It is asked at the
// end: until then the ACK may come through.
func gaveUpSilently(h *anomaly.Case) *anomaly.Finding {
	peer, subject := h.From.Peer(), h.From
	if h.Flagged(acceptStalled, subject) == nil || h.Ends[subject].Proved != tcp.SynReceived.Set() || h.Ends[subject].Assumed == tcp.SynReceived.Set() ||
		!h.Ends[peer].Assumed.Within(connected) {
		return nil
	}
	if up, ok := h.Find(subject, tcp.GiveUpPassive); ok && up.At > h.M.Heard() {
		return nil // the capture ended before
	}
	k := ignored(h, subject)
	f := &anomaly.Finding{
		End:      subject,
		Cause:    "gave-up-silently",
		Certain:  anomaly.ConfidenceAmbiguous,
		Evidence: k.frames,
		Values:   anomaly.Values{"n": k.synAcks, "acks": k.acks},
	}
	k.sayWhy(h, f, subject)
	return f
}
