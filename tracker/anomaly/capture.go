package anomaly

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is odd about the capture rather than about the connections. None of it
// is the hosts' fault, but it tells how far the rest can be trusted.

var midstreamPickup = Kind{
	Name:     "midstream-pickup",
	Severity: Info,
	Title:    "Capture started inside the connection",
	RFC:      "RFC 9293 §3.5",
	Causes: []Cause{
		{"", "The connection between {X} and {Y} was open before its first captured segment. Its window scale and initial sequence numbers are not known, and {roles}."},
	},
	Phrases: []Phrase{
		{"guessed", "roles", "{X} is only taken for the client because its port is the higher one"},
		{"called", "roles", "{X} is the client: the port of {Y} is one that is called"},
		{"turned-out", "roles", "{Y} is the client, as turned out later: the port of {X} is one that is called"},
	},
	on:   triggers.OnUnsettled | triggers.OnEnd,
	only: triggers.IfMidstream,
	// One ACK without data may also be a probe for open ports: it takes a
	// second segment of the connection to tell.
	check: func(h *checkInput) *Finding {
		if h.Origin() == tcp.FromMidstream && h.S == nil {
			return h.turnedOut()
		}
		if h.Origin() != tcp.FromMidstream || h.S.Flags&(tcp.ACK|tcp.SYN|tcp.RST) != tcp.ACK {
			return nil
		}
		if h.x().Packets+h.y().Packets > 2 {
			return nil
		}
		if h.x().Packets+h.y().Packets == 1 && h.S.PureAck() || h.flagged("midstream-pickup", tcp.Client) != nil {
			return nil
		}
		var frames []int
		for g := range h.Back() {
			frames = append(frames, g.Packet)
			if len(frames) == 2 && !g.Pure() {
				return nil // it began with a RST or without ACK
			}
		}
		f := &Finding{
			end:      tcp.Client,
			Certain:  ConfidenceAssumed,
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
func (h *checkInput) turnedOut() *Finding {
	if h.M.Role(h.Conn, tcp.Client) == tcp.Client || h.flagged("midstream-pickup", tcp.Client) == nil {
		return nil
	}
	f := &Finding{end: tcp.Client, Certain: ConfidenceAssumed, more: true}
	f.Say("turned-out")
	return f
}

var captureGap = Kind{
	Name:     "capture-gap",
	Severity: Notice,
	Title:    "Packets missing from the capture",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"", "{what} acknowledged by {X} but never captured: the capture lost packets, or they took another way. Counts and states of this connection may be off."},
	},
	Phrases: []Phrase{
		{"several", "what", "{n} octets of {Y} ({from} to {to}) were"},
		{"one", "what", "One octet, or the FIN, of {Y} ({from}) was"},
		{"silent", "", " {Y} sent nothing afterwards, so that the acknowledgement may also be wrong."},
	},
	Thresholds: []Threshold{{"time from the ACK, if the response time of {X} is not longer, more than", conn.CaptureSkew, ""}},
	on:         triggers.OnGap | triggers.OnEnd,
	check: func(h *checkInput) *Finding {
		if h.Rare == nil {
			return nil
		}
		if h.S == nil {
			return h.captureGap(h.From.Peer(), h.missingAtEnd(h.From.Peer()))
		}
		for e := range tcp.Endpoint(2) {
			if h.Rare.Gaps[e].Is == holes.GapLost {
				return h.captureGap(e, true)
			}
		}
		return nil
	},
}

// captureGap is the finding of the gap in the octets of y.
func (h *checkInput) captureGap(y tcp.Endpoint, found bool) *Finding {
	if !found {
		return nil
	}
	g := &h.Rare.Gaps[y]
	f := &Finding{
		end:      y.Peer(),
		Certain:  ConfidenceAssumed,
		Evidence: []int{g.Ack},
		Values:   Values{"n": g.Size(), "from": g.From, "to": g.To - 1},
	}
	if h.S != nil {
		f.Evidence = append(f.Evidence, h.S.Packet)
	}
	f.Say(either(g.Size() == 1, "one", "several"))
	if !g.Beyond {
		f.Certain = ConfidenceAmbiguous
		f.Say("silent")
	}
	return f
}

// missingAtEnd reports whether what was acknowledged of the end has not been
// captured when the connection is over.
func (h *checkInput) missingAtEnd(e tcp.Endpoint) bool {
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

var asymmetricCapture = Kind{
	Name:     "asymmetric-capture",
	Severity: Notice,
	Title:    "Only one direction is visible",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"", "Only what {X} sends to {Y} is captured; what {Y} does is inferred from {X}'s acknowledgements. Capture where both directions pass, or on both paths."},
	},
	Thresholds: []Threshold{
		{"segments of {X}, if it acknowledges a SYN+ACK or repeats nothing, at least", aloneSegments, ""},
		{"time in which it repeats nothing, more than", unansweredSpan, ""},
		{"different acknowledgements of {X} otherwise, at least", aloneACKs, ""},
	},
	on:   triggers.OnUnsettled,
	only: triggers.IfOneSided,
	check: func(h *checkInput) *Finding {
		subject := h.x()
		if h.y().Seen() || h.S.Flags&tcp.ACK == 0 || subject.Packets < aloneACKs || h.Reading.Stale || h.flagged("asymmetric-capture", h.From) != nil || !h.answeredUnseen() {
			return nil
		}
		first := h.S.Packet
		for g := range h.Back() {
			first = g.Packet
		}
		return &Finding{
			end:      h.From,
			Certain:  ConfidenceAssumed,
			Evidence: []int{first, h.S.Packet},
		}
	},
}

// answeredUnseen reports whether the end of which alone segments are captured
// shows that its peer speaks. A sender into the void does not: it repeats
// itself, and acknowledges nothing new.
func (h *checkInput) answeredUnseen() bool {
	subject := h.x()
	many := subject.Packets >= aloneSegments
	if many && h.Origin() == tcp.FromSYN && h.S.Flags&tcp.SYN == 0 {
		return true // it acknowledges a SYN+ACK
	}
	if many && h.Fresh > 0 && (h.Rare == nil || h.Rare.Retransmits[h.From] == 0) && h.Now.Sub(h.Start) > unansweredSpan {
		return true
	}
	return h.Before.Acked[h.From] != subject.Acked && h.AcksToUnseen(h.From.Peer()) >= aloneACKs
}

var captureReordering = Kind{
	Name:     "capture-reordering",
	Severity: Info,
	Title:    "Capture order contradicts cause",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"", "The capture has the answer (#{answer}) before the segment of {X} that it answers (#{frame}), as captures with several queues or from two taps do. Nothing was wrong on the network."},
	},
	Thresholds: []Threshold{
		{"time between the two, if the two directions are not known to be out of step, at most", conn.CaptureSkew, ""},
		{"time by which the first SYN of {X}, with or without ACK, comes late, if nothing else shows that it is no repetition, at most", conn.Unrepeated, ""},
		{"times that octets come late and in turn, where the capture began inside the connection, at least", conn.LateOctets, ""},
		{"time by which they do, at most", conn.RepeatedSoonest, ""},
	},
	on: triggers.OnGap | triggers.OnSYN | triggers.OnSYNACK,
	check: func(h *checkInput) *Finding {
		subject, peer := h.From, h.From.Peer()
		ack := 0
		switch {
		case h.Rare != nil && h.Rare.Gaps[subject].Is == holes.GapInverted:
			ack = h.Rare.Gaps[subject].Ack
		case h.S.Flags&tcp.SYN != 0 && h.Before.SentAt[subject] == 0 && h.Ends[peer].Seen() && (h.Skewed() || h.Ends[peer].Has(conn.SentSYNACK) && h.Now.Sub(h.Ends[peer].SentAt) <= conn.CaptureSkew):
			for g := range h.Back() {
				if g.From == peer && g.Flags&tcp.ACK != 0 {
					ack = g.Packet // at last the first: the SYN+ACK, or the ACK of it
				}
			}
		default:
			return nil
		}
		f := &Finding{
			end:      subject,
			Certain:  ConfidenceAssumed,
			Evidence: []int{ack, h.S.Packet},
			Values:   Values{"answer": ack, "frame": h.S.Packet},
		}
		if h.Skewed() {
			f.refutes = []string{"asymmetric-capture", "ack-of-unsent-data"}
		}
		return f
	},
}

var snaplenTruncated = Kind{
	Name:     "snaplen-truncated",
	Severity: Info,
	Title:    "Packets cut by the capture",
	RFC:      "RFC 9293 §3.1",
	Causes: []Cause{
		{"header", "The TCP header of segments from {X} is cut: options (window scale, timestamps, SACK) are missing. Capture with a larger snapshot length."},
		{"payload", "The capture cuts packets, first frame {frame}, behind their headers. Lengths and states are right nevertheless; payload cannot be looked at, and checksums of cut packets are not checked."},
	},
	on: triggers.OnQuality,
	check: func(h *checkInput) *Finding {
		if h.S.Cut != tcp.CutOptions {
			return nil
		}
		return &Finding{
			end:      h.From,
			Cause:    "header",
			Certain:  ConfidenceProved,
			Evidence: []int{h.S.Packet},
		}
	},
}

var offloadSegments = Kind{
	Name:     "offload-segments",
	Severity: Info,
	Title:    "Segments larger than the network carries",
	RFC:      "RFC 9293 §3.7.1",
	Causes: []Cause{
		{"", "{X} sent {n} octets in one segment, {takes}: the capture was made on a host whose network card splits or joins segments (TSO, GRO). One record may be several packets."},
	},
	Phrases: []Phrase{
		{"mss", "takes", "where {Y} takes {limit}"},
		{"no-mss", "takes", "more than any frame holds"},
	},
	Thresholds: []Threshold{{"octets, where no MSS was captured, more than", int(conn.JumboSegment), ""}},
	on:         triggers.OnQuality,
	check: func(h *checkInput) *Finding {
		limit := h.Largest(h.From)
		if h.S.Data <= limit {
			return nil
		}
		f := &Finding{
			end:      h.From,
			Certain:  ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
			Values:   Values{"n": h.S.Data, "limit": limit},
		}
		f.Say(either(h.y().MSS == 0, "no-mss", "mss"))
		return f
	},
}

var badChecksum = Kind{
	Name:     "bad-checksum",
	Severity: Info,
	Title:    "TCP checksum wrong",
	RFC:      "RFC 9293 §3.1",
	Causes: []Cause{
		{"offload", "None of the {n} segments from {host} that were checked has a right checksum: most likely its network card fills them in behind the capture. They count as right, here and for other hosts alike."},
		{"corrupted", "The checksum of a segment from {X} is wrong although others of it are right: it was corrupted on the way, and {Y} drops it. Look for a faulty link or device."},
	},
	Thresholds: []Threshold{
		{"wrong checksums that a network card explains, at least", health.ManySums, ""},
		{"the same, when the capture ends", health.FewSums, ""},
	},
	Moves: []SeverityMove{{"corrupted", Warning, "if others of {X} are right"}},
	on:    triggers.OnCorrupt,
	check: func(h *checkInput) *Finding {
		return &Finding{
			end:      h.From,
			Cause:    "corrupted",
			move:     "corrupted",
			Certain:  ConfidenceAssumed,
			Evidence: []int{h.S.Packet},
		}
	},
}

var fragmentedSegment = Kind{
	Name:     "fragmented-segment",
	Severity: Info,
	Title:    "TCP in IP fragments",
	RFC:      "RFC 791 §3.2",
	Causes: []Cause{
		{"", "A segment from {X} came in IP fragments: path MTU discovery does not work between {X} and {Y}, or a tunnel is in the way. What counts is the segment put together."},
	},
	on: triggers.OnQuality,
	check: func(h *checkInput) *Finding {
		if !h.S.Fragment {
			return nil
		}
		return &Finding{
			end:      h.From,
			Certain:  ConfidenceProved,
			Evidence: []int{h.S.Packet},
		}
	},
}
