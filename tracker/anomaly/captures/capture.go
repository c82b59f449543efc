// Package captures has what is odd about the capture rather than about the
// connections: what it misses or garbles (capture.go), its clock, and copies
// (health.go). None of it is the hosts' fault, but it tells how far the rest can
// be trusted.
package captures

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/gate"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var MidstreamPickup = anomaly.Kind{
	Name:     "midstream-pickup",
	Severity: anomaly.Info,
	Title:    "Capture started inside the connection",
	RFC:      "RFC 9293 §3.5",
	Causes: []anomaly.Cause{
		{Text: "The connection between {X} and {Y} was open before its first captured segment. Its window scale and initial sequence numbers are unknown, and {roles}."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "guessed", In: "roles", Text: "{X} is taken for the client only because its port number is higher"},
		{Name: "called", In: "roles", Text: "{X} is the client, because the port of {Y} is a server port"},
		{Name: "turned-out", In: "roles", Text: "{Y} is the client, as later packets showed: the port of {X} is a server port"},
	},
	On:   triggers.OnUnsettled | triggers.OnEnd,
	Only: triggers.IfMidstream,
	// One ACK without data may also be a probe for open ports: it takes a
	// second segment of the connection to tell.
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.Origin() == tcp.FromMidstream && h.S == nil {
			return turnedOut(h)
		}
		if h.Origin() != tcp.FromMidstream || h.S.Flags&(tcp.ACK|tcp.SYN|tcp.RST) != tcp.ACK {
			return nil
		}
		if h.X().Packets+h.Y().Packets > 2 {
			return nil
		}
		if h.X().Packets+h.Y().Packets == 1 && h.S.PureAck() || h.Flagged("midstream-pickup", tcp.Client) != nil {
			return nil
		}
		var frames []int
		for g := range h.Back() {
			frames = append(frames, g.Packet)
			if len(frames) == 2 && !g.Pure() {
				return nil // it began with a RST or without ACK
			}
		}
		f := &anomaly.Finding{
			End:      tcp.Client,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: frames,
		}
		if h.M.RolesKnown(h.Conn) {
			f.Say("called")
		} else {
			f.Say("guessed")
		}
		return f
	},
}

// turnedOut says of a connection whose roles were guessed wrong which they are.
func turnedOut(h *anomaly.Case) *anomaly.Finding {
	if h.M.Role(h.Conn, tcp.Client) == tcp.Client || h.Flagged("midstream-pickup", tcp.Client) == nil {
		return nil
	}
	f := &anomaly.Finding{End: tcp.Client, Certain: anomaly.ConfidenceAssumed, More: true}
	f.Say("turned-out")
	return f
}

var CaptureGap = anomaly.Kind{
	Name:     "capture-gap",
	Severity: anomaly.Notice,
	Title:    "Packets missing from the capture",
	RFC:      "RFC 9293 §3.4",
	Next:     "Capture all paths that the packets may take. To lose less, use a larger buffer (--buffer-size), a filter or a snapshot length.",
	Causes: []anomaly.Cause{
		{Text: "{what} acknowledged by {X} but never captured. The capture lost packets, or the packets took another path. Counts and states of this connection may be wrong."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "several", In: "what", Text: "{n} bytes of {Y} ({from} to {to}) were"},
		{Name: "one", In: "what", Text: "One byte or the FIN of {Y} ({from}) was"},
		{Name: "silent", Text: " {Y} sent nothing afterwards, so the ACK itself may also be wrong."},
	},
	Thresholds: []anomaly.Threshold{{Name: "time after the ACK, unless the response time of {X} is longer, more than", Value: endpoint.CaptureSkew}},
	On:         triggers.OnGap | triggers.OnEnd,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.Rare == nil {
			return nil
		}
		if f := outage(h); f != nil {
			return f
		}
		if h.S == nil {
			return gapBefore(h, h.From.Peer(), missingAtEnd(h, h.From.Peer()))
		}
		for e := range tcp.Endpoint(2) {
			if h.Rare.Gaps[e].Is == holes.GapLost {
				return gapBefore(h, e, true)
			}
		}
		return nil
	},
}

// outage is the finding of all that is missing before two segments, one of each end,
// that were refused for their numbers, where these bear each other out and nothing in
// the old numbers follows: what was said of them is wrong.
func outage(h *anomaly.Case) *anomaly.Finding {
	peer := h.From.Peer()
	since := max(h.Before.SentAt[h.From], h.Before.SentAt[peer])
	mine, its := h.Rare.Astray[h.From], h.Rare.Astray[peer]
	if mine.At <= since || mine.Times == 0 || h.S != nil && (mine.At != h.Now || h.Is == gate.Refused) {
		return nil
	}
	f := &anomaly.Finding{End: peer, Certain: anomaly.ConfidenceAssumed, Since: since}
	if h.S != nil {
		f.Evidence = append(f.Evidence, h.S.Packet)
	}
	for _, kind := range []string{"ack-of-unsent-data", "out-of-window-data"} {
		for e := range tcp.Endpoint(2) {
			if a := h.Flagged(kind, e); a != nil && a.Time > since {
				f.Refutes = append(f.Refutes, kind)
				f.Evidence = append(f.Evidence, a.Packet)
			}
		}
	}
	from, to := h.Before.Nxt[h.From], tcp.Earlier(mine.Seq, its.Ack)
	if !from.Before(to) {
		f.End = h.From
		from, to = h.Before.Nxt[peer], tcp.Earlier(its.Seq, mine.Ack)
	}
	if f.Refutes == nil || !from.Before(to) {
		return nil
	}
	f.Values = anomaly.Values{"n": to.Minus(from), "from": from, "to": to - 1}
	f.Say(anomaly.Either(to == from+1, "one", "several"))
	return f
}

// gapBefore is the finding of the gap in the octets of y.
func gapBefore(h *anomaly.Case, y tcp.Endpoint, found bool) *anomaly.Finding {
	if !found {
		return nil
	}
	g := &h.Rare.Gaps[y]
	f := &anomaly.Finding{
		End:      y.Peer(),
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{g.Ack},
		Values:   anomaly.Values{"n": g.Size(), "from": g.From, "to": g.To - 1},
	}
	if h.S != nil {
		f.Evidence = append(f.Evidence, h.S.Packet)
	}
	f.Say(anomaly.Either(g.Size() == 1, "one", "several"))
	if !g.Beyond {
		f.Certain = anomaly.ConfidenceAmbiguous
		f.Say("silent")
	}
	return f
}

// missingAtEnd reports whether what was acknowledged of the end has not been
// captured when the connection is over.
func missingAtEnd(h *anomaly.Case, e tcp.Endpoint) bool {
	g := &h.Rare.Gaps[e]
	return g.Is == holes.GapOpen && (g.Beyond || g.Again) && g.Due(h.Ends[e.Peer()].Late(), h.Now)
}

const (
	// An end is alone in a capture when so many of its segments were captured
	// and none of its peer, or so many different acknowledgements.
	aloneSegments = 10
	aloneACKs     = 3
	// A sender whom nobody answers repeats its oldest octets within this time
	// (the first retransmission timeout of RFC 6298 §2.1 is 1 s, and 3 s after
	// a lost SYN); a sender of new octets is being answered.
	unansweredSpan = 3 * time.Second
)

var AsymmetricCapture = anomaly.Kind{
	Name:     "asymmetric-capture",
	Severity: anomaly.Notice,
	Title:    "Only one direction is visible",
	RFC:      "RFC 9293 §3.4",
	Next:     "Capture where both directions pass (at one of the hosts), or on both paths.",
	Causes: []anomaly.Cause{
		{Text: "Only packets from {X} to {Y} are captured. What {Y} does is inferred from the ACKs of {X}."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "segments of {X}, if it acknowledges a SYN+ACK or retransmits nothing, at least", Value: aloneSegments},
		{Name: "time without a retransmission, more than", Value: unansweredSpan},
		{Name: "different ACKs of {X} otherwise, at least", Value: aloneACKs},
	},
	On:     triggers.OnUnsettled,
	Only:   triggers.IfOneSided,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.X()
		if h.Y().Seen() || h.S.Flags&tcp.ACK == 0 || subject.Packets < aloneACKs || h.Reading.Stale || h.Flagged("asymmetric-capture", h.From) != nil || !answeredUnseen(h) {
			return nil
		}
		first := h.S.Packet
		for g := range h.Back() {
			first = g.Packet
		}
		return &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{first, h.S.Packet},
		}
	},
}

// answeredUnseen reports whether the end of which alone segments are captured
// shows that its peer speaks. A sender into the void does not: it repeats
// itself, and acknowledges nothing new.
func answeredUnseen(h *anomaly.Case) bool {
	subject := h.X()
	many := subject.Packets >= aloneSegments
	if many && h.Origin() == tcp.FromSYN && h.S.Flags&tcp.SYN == 0 {
		return true // it acknowledges a SYN+ACK
	}
	if many && h.Fresh > 0 && (h.Rare == nil || h.Rare.Retransmits[h.From] == 0) && h.Now.Sub(h.Start) > unansweredSpan {
		return true
	}
	return h.Before.Acked[h.From] != subject.Acked && h.AcksToUnseen(h.From.Peer()) >= aloneACKs
}

var CaptureReordering = anomaly.Kind{
	Name:     "capture-reordering",
	Severity: anomaly.Info,
	Title:    "Captured in the wrong order",
	RFC:      "RFC 9293 §3.4",
	Causes: []anomaly.Cause{
		{Text: "The capture has the answer (#{answer}) before the segment of {X} that it answers (#{frame}). This happens in captures with several queues or from two taps. Nothing was wrong on the network."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time between the two, unless the two directions are known to be out of step, at most", Value: endpoint.CaptureSkew},
		{Name: "delay of the first SYN of {X}, with or without ACK, unless something else shows that it is not a retransmission, at most", Value: conn.Unrepeated},
		{Name: "times that late bytes arrive in order, if the capture began inside the connection, at least", Value: conn.LateOctets},
		{Name: "delay of these bytes, at most", Value: conn.RepeatedSoonest},
	},
	On:     triggers.OnGap | triggers.OnSYN | triggers.OnSYNACK,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		ack := 0
		switch {
		case h.Rare != nil && h.Rare.Gaps[subject].Is == holes.GapInverted:
			ack = h.Rare.Gaps[subject].Ack
		case h.S.Flags&tcp.SYN != 0 && h.Before.SentAt[subject] == 0 && h.Ends[peer].Seen() && (h.Skewed() || h.Ends[peer].Has(endpoint.SentSYNACK) && h.Now.Sub(h.Ends[peer].SentAt) <= endpoint.CaptureSkew):
			for g := range h.Back() {
				if g.From == peer && g.Flags&tcp.ACK != 0 {
					ack = g.Packet // at last the first: the SYN+ACK, or the ACK of it
				}
			}
		default:
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{ack, h.S.Packet},
			Values:   anomaly.Values{"answer": ack, "frame": h.S.Packet},
		}
		if h.Skewed() {
			f.Refutes = []string{"asymmetric-capture", "ack-of-unsent-data"}
		}
		return f
	},
}

var SnaplenTruncated = anomaly.Kind{
	Name:     "snaplen-truncated",
	Severity: anomaly.Info,
	Title:    "Packets cut by the capture",
	RFC:      "RFC 9293 §3.1",
	Causes: []anomaly.Cause{
		{Name: "header", Text: "The TCP header of segments from {X} is cut. Options (window scale, timestamps, SACK) are missing.", Next: "Capture with a snapshot length of 128 bytes or more (tcpdump -s 128)."},
		{Name: "payload", Text: "The capture cuts packets after their headers, first in frame {frame}. Lengths and states are still correct. Payload is not available, and checksums of cut packets are not checked."},
	},
	On: triggers.OnQuality,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Cut != tcp.CutOptions {
			return nil
		}
		return &anomaly.Finding{
			End:      h.From,
			Cause:    "header",
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{h.S.Packet},
		}
	},
}

var OffloadSegments = anomaly.Kind{
	Name:     "offload-segments",
	Severity: anomaly.Info,
	Title:    "Segments larger than the network carries",
	RFC:      "RFC 9293 §3.7.1",
	Next:     "If you need sizes and counts as on the wire, capture outside the host, or turn offloads off (ethtool -K IFACE tso off gso off gro off).",
	Causes: []anomaly.Cause{
		{Text: "{X} sent {n} bytes in one segment, {takes}. The capture was made on a host whose network card splits or joins segments (TSO, GRO). One record may be several packets."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "mss", In: "takes", Text: "but {Y} accepts at most {limit}"},
		{Name: "no-mss", In: "takes", Text: "more than any frame holds"},
	},
	Thresholds: []anomaly.Threshold{{Name: "bytes, if no MSS was captured, more than", Value: int(endpoint.JumboSegment)}},
	On:         triggers.OnQuality,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		limit := h.Y().Largest()
		if h.S.Data <= limit {
			return nil
		}
		f := &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
			Values:   anomaly.Values{"n": h.S.Data, "limit": limit},
		}
		f.Say(anomaly.Either(h.Y().MSS == 0, "no-mss", "mss"))
		return f
	},
}

var BadChecksum = anomaly.Kind{
	Name:     "bad-checksum",
	Severity: anomaly.Info,
	Title:    "TCP checksum wrong",
	RFC:      "RFC 9293 §3.1",
	Causes: []anomaly.Cause{
		{Name: "offload", Text: "None of the first {n} segments from {host} that were checked has a correct checksum. Most likely the network card fills the checksums in after the capture point. They count as correct, for this host and for others."},
		{Name: "corrupted", Text: "The checksum of a segment from {X} is wrong, but other segments from {X} have a correct one. The segment was corrupted on the path, and {Y} drops it.", Next: "Look for a faulty cable, port, network card or device between {X} and the capture point (error counters of the interfaces, ethtool -S)."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "wrong checksums that a network card explains, at least", Value: health.ManySums},
		{Name: "the same, when the capture ends", Value: health.FewSums},
	},
	Moves: []anomaly.SeverityMove{{Name: "corrupted", To: anomaly.Warning, When: "if other checksums of {X} are correct"}},
	On:    triggers.OnCorrupt,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		return &anomaly.Finding{
			End:      h.From,
			Cause:    "corrupted",
			Move:     "corrupted",
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
		}
	},
}

var FragmentedSegment = anomaly.Kind{
	Name:     "fragmented-segment",
	Severity: anomaly.Info,
	Title:    "TCP in IP fragments",
	RFC:      "RFC 791 §3.2",
	Next:     "Lower the MTU of {X}, or clamp the MSS at the tunnel or narrow link. Let ICMP \"too big\" pass to {X.ip}.",
	Causes: []anomaly.Cause{
		{Text: "A segment from {X} came in IP fragments. Path MTU discovery does not work between {X} and {Y}, or there is a tunnel on the path. The reassembled segment is what counts."},
	},
	On: triggers.OnQuality,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if !h.S.Fragment {
			return nil
		}
		return &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceProved,
			Evidence: []int{h.S.Packet},
		}
	},
}
