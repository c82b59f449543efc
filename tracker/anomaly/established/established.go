// Package established has the anomalies of open connections: their numbers
// (established.go), what their segments carry besides (contents.go), and ends
// that are not answered (silence.go).
package established

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/stalls"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// In an open connection both ends agree on the numbers: what one sends lies in
// the window of the other, and what one acknowledges the other has sent. Here
// is what breaks that.

const (
	// inversionSlack is how far apart a capture may have the two directions in
	// the wrong order.
	inversionSlack = 5 * time.Millisecond

	// An ACK loop has this many changes of direction at least, no two ACKs
	// further apart than the pause. Linux limits such answers to two a second.
	LoopTurns = 5
	LoopPause = time.Second

	// Up to so many IP identifications may be of segments that were not captured.
	idsMissed = 1<<8 - 2

	// farAway is where a sequence number tells nothing of before or behind.
	farAway = 1 << 30
)

// open are the states of an end that has a connection and has not closed it.
var open = tcp.Established.Set() | tcp.CloseWait.Set()

var HalfOpenDiscovered = anomaly.Kind{
	Name:     "half-open-discovered",
	Severity: anomaly.Error,
	Title:    "One side had lost the connection",
	RFC:      "RFC 9293 §3.5.1",
	Causes: []anomaly.Cause{
		{Name: "data", Text: "{X} no longer knows this connection: it answered {n bytes} of data with RST seq {seq}{why}."},
		{Name: "fin", Text: "{X} no longer knows this connection: it answered a FIN with RST seq {seq}{why}."},
		{Name: "keepalive", Text: "{X} no longer knows this connection: it answered a keepalive with RST seq {seq}{why}."},
		{Name: "ack", Text: "{X} no longer knows this connection: it answered an empty ACK with RST seq {seq}{why}."},
		{Name: "new-syn", Text: "{X} no longer knows this connection. Its new SYN got an ACK with the old numbers, and {X} answered that ACK with RST seq {seq}{why}."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "took-rst", In: "why", Text: ", because it accepted the RST #{frame}"},
		{Name: "lost", Text: " It crashed or restarted, its process was killed, or a NAT or load balancer sent the segment elsewhere. The last segment from {X} came {span} earlier."},
	},
	Next:    "Look on {X} for a restart or a process that ended before that time. If {X} kept running, check whether a NAT or load balancer on the path forgot the connection.",
	Moves:   []anomaly.SeverityMove{{Name: "took-rst", To: anomaly.Info, When: "if {X} had accepted a RST that {Y} did not send"}},
	RestsOn: anomaly.ResetSent,
	On:      triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Before.RST != rst.Reply || !heldOpen(h, subject) {
			return nil
		}
		if !h.Before.States[peer].Within(open | tcp.FinWait1.Set() | tcp.FinWait2.Set() | tcp.Closing.Set() | tcp.LastAck.Set()) {
			return nil
		}
		asked, normal := h.Newest(peer), h.Newest(subject)
		if asked == nil || asked.Is&(recent.WasStale|recent.WasForeign) != 0 {
			return nil
		}
		if asked.Data > 1 && (h.Before.Acked[subject] == asked.Seq+1 || h.TookBack(subject, asked.Seq+1)) {
			return nil // it had acknowledged a FIN there that its peer did not send, and has the connection
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{asked.Packet, h.S.Packet},
			Values:   anomaly.Values{"n": asked.Data, "seq": h.S.Seq, "span": h.Now.Sub(h.Before.SentAt[subject])},
		}
		if normal != nil {
			f.Evidence = append(f.Evidence, normal.Packet)
		}
		switch next := h.Newer(); {
		case asked.Data > 0:
			f.Cause = "data"
		case asked.Flags&tcp.FIN != 0:
			f.Cause = "fin"
		case asked.Is&recent.WasKeepalive != 0:
			f.Cause = "keepalive"
		case next != nil && !next.Provisional() && next.Addr(tcp.Client) == h.Addr(subject) && next.Start > h.Before.SentAt[subject]:
			f.Cause = "new-syn"
			f.Evidence = append(f.Evidence, next.Frames(tcp.Client, tcp.SndSYN)...)
		case h.Before.Accepted && !h.Explained() && (normal == nil || asked.Packet > normal.Packet):
			f.Cause, f.Certain = "ack", anomaly.ConfidenceAmbiguous // an abort may have the same numbers
		default:
			return nil
		}
		rst, ok := h.Find(subject, tcp.RcvRST)
		if !ok {
			f.Say("lost")
			return f
		}
		f.Move = "took-rst"
		f.Evidence = append(f.Evidence, rst.Packet())
		f.Values["frame"] = rst.Packet()
		f.Say("took-rst")
		return f
	},
}

// heldOpen reports whether the end had the connection, as its own segments
// showed, and had closed or aborted it in no way that was seen. A RST that its
// alleged sender denies by going on may have ended it.
func heldOpen(h *anomaly.Case, x tcp.Endpoint) bool {
	if h.Ends[x].Has(endpoint.HasFIN) || h.Before.SentAt[x] == 0 || !h.Before.Proved[x].Within(open) {
		return false
	}
	if h.Before.States[x].Within(open) {
		return true
	}
	state := tcp.Unknown
	for _, st := range h.Steps() {
		if st.End() != x {
			continue
		}
		if ins := st.Inputs(); ins.Has(tcp.RcvRST) || ins.Has(tcp.NoTCB) && st.Packet() == h.S.Packet {
			return open.Has(state)
		}
		state = st.State()
	}
	return false
}

var AckOfUnsentData = anomaly.Kind{
	Name:     "ack-of-unsent-data",
	Severity: anomaly.Warning,
	Title:    "ACK of data that was never sent",
	RFC:      "RFC 9293 §3.10.7.4, RFC 5961 §5",
	Next:     "Capture at {X} and at {Y} at the same time. If {X} does not send that ACK, a device on the path made or changed it.",
	Causes: []anomaly.Cause{
		{Text: "{X} acknowledged {n bytes} that {Y} had not sent. The two disagree about the sequence numbers, the ACK was injected, or a middlebox changed it."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time by which the ACK is too early, unless the response time of {X} is longer, more than", Value: inversionSlack},
		{Name: "IP identifications missing from the capture, if {Y} has not sent the bytes before, at most", Value: idsMissed},
	},
	On: triggers.OnBelow | triggers.OnRefused,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.On&triggers.OnRefused != 0 {
			return refusedAckOfUnsent(h)
		}
		peer, subject := h.From, h.From.Peer()
		if h.Stale || h.Foreign || h.Keepalive || h.Old || h.Skewed() || !h.Whole(peer) || h.S.Flags&tcp.SYN != 0 || !h.Before.Nxt[peer].Before(h.Before.Acked[subject]) || !h.S.Seq.AtMost(h.Before.Nxt[peer]) {
			return nil
		}
		slack := inversionSlack
		if h.Ends[subject].Respond != 0 {
			slack = max(slack, h.Ends[subject].Response())
		}
		ack, latest := firstAck(h, subject, h.Before.Acked[subject])
		if ack == nil || h.Now.Sub(ack.At) <= slack || latest != 0 && latest.Sub(ack.At) > slack {
			return nil // not known, in the wrong order, or told before
		}
		if missed(h, peer) || h.S.ID == 0 && !h.S.PureAck() {
			return nil // the capture may lack the octets, and this repeats them
		}
		return &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{ack.Packet, h.S.Packet},
			Values:   anomaly.Values{"n": h.Before.Acked[subject].Minus(h.Before.Nxt[peer])},
		}
	},
}

// refusedAckOfUnsent is the finding of an ACK that its receiver refuses.
func refusedAckOfUnsent(h *anomaly.Case) *anomaly.Finding {
	if h.Why != tcp.AckOfUnsent {
		return nil
	}
	return &anomaly.Finding{
		End:      h.From,
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{h.S.Packet, h.By},
		Values:   anomaly.Values{"n": h.S.Ack.Minus(h.Y().Nxt)},
	}
}

// firstAck returns the first segment of x that acknowledges just up to the
// number, as far as that is remembered, and when the peer was captured last
// before this segment.
func firstAck(h *anomaly.Case, x tcp.Endpoint, upTo tcp.Seq) (ack *recent.Segment, latest tcp.Time) {
	for g := range h.Earlier() {
		switch {
		case g.From != x && latest == 0:
			latest = g.At
		case g.From == x && g.Flags&(tcp.ACK|tcp.RST) == tcp.ACK && g.Ack == upTo:
			ack = g
		case g.From == x && ack != nil:
			return ack, latest
		}
	}
	return ack, latest
}

// missed reports whether the IP identification says that the capture lacks
// segments of the end before this one.
func missed(h *anomaly.Case, e tcp.Endpoint) bool {
	before := h.Newest(e)
	if before == nil || h.S.ID == 0 || before.ID == 0 {
		return false
	}
	between := h.S.ID - before.ID - 1
	return 0 < between && between <= idsMissed
}

var AckLoop = anomaly.Kind{
	Name:     "ack-loop",
	Severity: anomaly.Error,
	Title:    "Two ends exchange empty ACKs endlessly",
	RFC:      "RFC 1337 §2",
	Next:     "Close the connection at one side (on Linux ss -K dst {X.ip} dport = {X.port} on {Y.ip}). Find the device on the path that changes sequence numbers or repeats old ACKs.",
	Causes: []anomaly.Cause{
		{Text: "{first} (at {seq}) and {other} (at {seq2}) disagree about the sequence numbers. Each answers the other's ACKs with an ACK: {n} in all. No data can pass until one of them aborts."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "changes of direction, at least", Value: LoopTurns},
		{Name: "time between two ACKs, at most", Value: LoopPause},
	},
	On: triggers.OnBelow | triggers.OnGap | triggers.OnStale,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if !h.S.PureAck() || h.Keepalive {
			return nil
		}
		var acks []*recent.Segment
		for g := range h.Back() {
			if n := len(acks); n > 0 && (g.From == acks[n-1].From || acks[n-1].At.Sub(g.At) > LoopPause) || !refusedAck(h, g) || n > recent.LookBack {
				break
			}
			acks = append(acks, g)
		}
		n := len(acks)
		if n <= LoopTurns {
			return nil
		}
		f := &anomaly.Finding{End: tcp.Client, Certain: anomaly.ConfidenceAssumed, Again: true}
		if told := h.Flagged("ack-loop", tcp.Client); told != nil {
			n = max(n, LoopTurns+1+told.Count) // not all are remembered
		} else {
			f.Evidence = []int{acks[n-1].Packet, acks[n-2].Packet, acks[1].Packet, acks[0].Packet}
		}
		x, y := acks[0], acks[1]
		if x.From != tcp.Client {
			x, y = y, x
		}
		f.Values = anomaly.Values{"first": h.Addr(x.From), "seq": x.Seq, "other": h.Addr(y.From), "seq2": y.Seq, "n": n}
		return f
	},
}

// refusedAck reports whether the segment is a pure ACK that its receiver cannot
// accept: below what it has acknowledged, of what it has not sent, or with a
// timestamp older than what it has.
func refusedAck(h *anomaly.Case, g *recent.Segment) bool {
	subject, peer := &h.Ends[g.From], &h.Ends[g.From.Peer()]
	if !g.Pure() || g.Is&recent.WasKeepalive != 0 {
		return false
	}
	return g.Seq.Before(peer.Acked) || peer.Nxt.Before(g.Ack) || g.TSVal != 0 && subject.Has(endpoint.HasTS) && g.Is&recent.WasStale != 0 && int32(g.TSVal-subject.TSVal) < 0
}

var OutOfWindowData = anomaly.Kind{
	Name:     "out-of-window-data",
	Severity: anomaly.Notice,
	Title:    "Data that the receiver must reject",
	RFC:      "RFC 9293 §3.4",
	Next:     "If this happens again, capture at {X}. Bytes that {X} did not send are forged, or come from another host with its address.",
	Causes: []anomaly.Cause{
		{Name: "above-window", Text: "{X} sent bytes {from} to {to}, but {Y} accepts {what}. The sender ignores the window, or the segment is forged. {Y} drops them."},
		{Name: "below-window", Text: "{X} sent bytes {from} to {to}, but {Y} accepts {what}. The segment is an old duplicate from an earlier connection, or forged. {Y} drops them."},
		{Text: "{X} sent bytes {from} to {to}, but {Y} accepts {what}. The segment belongs to another connection, is corrupt, or is forged. {Y} drops them."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "window", In: "what", Text: "{next} to {edge}"},
		{Name: "no-scale", In: "what", Text: "from {next} on"},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time for {Y} to answer bytes above its window, at most", Value: stalls.OvershootMemory},
		{Name: "distance at which a sequence number is neither before nor after", Value: farAway},
	},
	On: triggers.OnForeign | triggers.OnAwaited | triggers.OnRefused,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.Foreign || h.Is == gate.Refused && h.Why == tcp.OutsideWindow {
			return foreignData(h)
		}
		subject := h.From.Peer()
		tr := h.Rare.StallsOf(subject)
		if tr == nil || tr.Beyond.Answer != h.S.Packet || tr.Beyond.At == 0 {
			return nil
		}
		b := &tr.Beyond
		return &anomaly.Finding{
			End:      subject,
			Cause:    "above-window",
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{b.Frame, b.Answer},
			Phrases:  []string{"window"},
			Values:   anomaly.Values{"from": b.Seq, "to": b.End - 1, "next": b.Acked, "edge": b.Edge - 1},
		}
	},
}

// foreignData reports data with numbers that the connection never had: before
// its first, or so far away that nothing tells on which side.
func foreignData(h *anomaly.Case) *anomaly.Finding {
	subject, peer := h.From, h.From.Peer()
	if h.S.Data == 0 || h.S.Flags&tcp.SYN != 0 || !h.Ends[peer].Has(endpoint.HasAcked) || !h.Visible(subject) {
		return nil
	}
	if h.BehindFINs(h.S, subject) {
		return nil // the ports may be used again
	}
	cause := ""
	switch d := int32(h.S.Seq - h.Ends[subject].Nxt); {
	case h.Ends[subject].KnowsISS() && h.S.Seq.Before(h.Ends[subject].ISS) && d > -farAway && h.S.End().AtMost(h.Ends[peer].Acked):
		cause = "below-window"
	case d > farAway || d < -farAway:
	case h.Why == tcp.OutsideWindow && h.Ends[peer].Edge.Before(h.S.Seq):
		cause = "above-window"
	default:
		return nil // it is the ACK field that does not fit
	}
	f := &anomaly.Finding{
		End:      subject,
		Cause:    cause,
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{h.S.Packet},
		Values:   anomaly.Values{"from": h.S.Seq, "to": h.S.Seq.Add(h.S.Data) - 1, "next": h.Ends[peer].Acked, "edge": h.Ends[peer].Edge - 1},
	}
	f.Say(anomaly.Either(h.ScaleKnown(), "window", "no-scale"))
	return f
}

var WindowShrunk = anomaly.Kind{
	Name:     "window-shrunk",
	Severity: anomaly.Notice,
	Title:    "Receive window shrank",
	RFC:      "RFC 9293 §3.8.6",
	Next:     "Give {X} a receive buffer of fixed size (SO_RCVBUF, or the maximum of net.ipv4.tcp_rmem), or look for a device on the path that rewrites windows.",
	Causes: []anomaly.Cause{
		{Text: "{X} withdrew {least}{n bytes} of window that it had offered. If {Y} has already sent data into it, that data is rejected and must be retransmitted."},
	},
	Phrases: []anomaly.Phrase{{Name: "no-scale", In: "least", Text: "at least "}},
	On:      triggers.OnWindow,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.S.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK) != tcp.ACK || h.Stale || h.Foreign || h.Before.SentAt[subject] == 0 || h.S.Ack.Before(h.Before.Acked[subject]) {
			return nil
		}
		scale := h.Ends[subject].Scale(&h.Ends[peer])
		edge := h.S.Ack.Add(tcp.Size(h.S.Wnd) << scale)
		last := h.Before.Acked[subject].Add(tcp.Size(h.Before.Wnd[subject]) << scale)
		before := h.Newest(subject)
		if before == nil || before.Flags&(tcp.SYN|tcp.FIN) != 0 || !followsACK(h, before) || !edge.Before(last) || !edge.Before(h.Before.Edge[subject]) {
			return nil
		}
		lost := h.Before.Edge[subject].Minus(edge)
		if lost < 1<<scale {
			return nil // rounded to the scale
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{before.Packet, h.S.Packet},
			Values:   anomaly.Values{"n": lost},
		}
		if !h.ScaleKnown() {
			f.Say("no-scale")
		}
		return f
	},
}

// followsACK reports whether the segment was sent after the one before it, as
// its ACK, its timestamp or its IP identification tells.
func followsACK(h *anomaly.Case, before *recent.Segment) bool {
	s, subject := h.S, h.From
	return h.Before.Acked[subject].Before(s.Ack) ||
		s.Options.HasTS && int32(s.Options.TSVal-h.Before.TSVal[subject]) > 0 ||
		s.ID != 0 && before.ID != 0 && s.ID-before.ID-1 < recent.MaxIDStep
}
