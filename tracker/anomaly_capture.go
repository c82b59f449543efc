package tracker

import (
	"time"

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
		{"", "The connection between {X} and {Y} was open before its first captured segment. Its window scale and initial sequence numbers are not known, and {X} is only taken for the client because its port is the higher one."},
	},
	on:   onUnsettled,
	only: isMidstream,
	// One ACK without data may also be a probe for open ports: it takes a
	// second segment of the connection to tell.
	check: func(h *happening) *finding {
		if h.origin() != tcp.FromMidstream || h.s.Flags&(tcp.ACK|tcp.SYN|tcp.RST) != tcp.ACK {
			return nil
		}
		if h.x().packets+h.y().packets > 2 {
			return nil
		}
		var frames []int
		for g := range h.back() {
			frames = append(frames, g.packet)
			if len(frames) > 2 || len(frames) == 2 && (!g.pure() || g.flags&tcp.RST != 0) {
				return nil // told before, or it began with a RST or without ACK
			}
		}
		if len(frames) == 1 && h.s.PureAck() {
			return nil
		}
		return &finding{
			end:      tcp.Client,
			certain:  ConfidenceAssumed,
			evidence: frames,
		}
	},
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
	Thresholds: []Threshold{{"time from the ACK, if the response time of {X} is not longer, more than", captureSkew, ""}},
	on:         onGap | onEnd,
	check: func(h *happening) *finding {
		if h.odd == nil {
			return nil
		}
		if h.s == nil {
			return h.captureGap(h.from.Peer(), h.missingAtEnd(h.from.Peer()))
		}
		for e := range tcp.Endpoint(2) {
			if h.odd.gaps[e].is == gapLost {
				return h.captureGap(e, true)
			}
		}
		return nil
	},
}

// captureGap is the finding of the gap in the octets of y.
func (h *happening) captureGap(y tcp.Endpoint, found bool) *finding {
	if !found {
		return nil
	}
	g := &h.odd.gaps[y]
	f := &finding{
		end:      y.Peer(),
		certain:  ConfidenceAssumed,
		evidence: []int{g.ack},
		values:   values{"n": g.size(), "from": g.from, "to": g.to - 1},
	}
	if h.s != nil {
		f.evidence = append(f.evidence, h.s.Packet)
	}
	if g.size() == 1 {
		f.say("one")
	} else {
		f.say("several")
	}
	if !g.beyond {
		f.certain = ConfidenceAmbiguous
		f.say("silent")
	}
	return f
}

// missingAtEnd reports whether what was acknowledged of the end has not been
// captured when the connection is over.
func (h *happening) missingAtEnd(e tcp.Endpoint) bool {
	g := &h.odd.gaps[e]
	return g.is == gapOpen && (g.beyond || g.again) && g.due(&h.ends[e.Peer()], h.now)
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
	on:   onUnsettled,
	only: isOneSided,
	check: func(h *happening) *finding {
		x := h.x()
		if h.y().seen() || h.s.Flags&tcp.ACK == 0 || x.packets < aloneACKs || h.reading.stale || h.flagged("asymmetric-capture", h.from) != nil || !h.answeredUnseen() {
			return nil
		}
		first := h.s.Packet
		for g := range h.back() {
			first = g.packet
		}
		return &finding{
			end:      h.from,
			certain:  ConfidenceAssumed,
			evidence: []int{first, h.s.Packet},
		}
	},
}

// answeredUnseen reports whether the end of which alone segments are captured
// shows that its peer speaks. A sender into the void does not: it repeats
// itself, and acknowledges nothing new.
func (h *happening) answeredUnseen() bool {
	x := h.x()
	many := x.packets >= aloneSegments
	if many && h.origin() == tcp.FromSYN && h.s.Flags&tcp.SYN == 0 {
		return true // it acknowledges a SYN+ACK
	}
	if many && h.fresh > 0 && (h.odd == nil || h.odd.retransmits[h.from] == 0) && h.now.Sub(h.start) > unansweredSpan {
		return true
	}
	if h.before.acked[h.from] == x.acked {
		return false
	}
	different, seen, last := 0, 0, tcp.Seq(0)
	for g := range h.back() {
		if g.flags&(tcp.ACK|tcp.RST) == tcp.ACK && (different == 0 || g.ack.Before(last)) {
			different, last = different+1, g.ack
		}
		if seen++; different == aloneACKs || seen > 8*aloneSegments {
			break
		}
	}
	return different >= aloneACKs
}

var captureReordering = Kind{
	Name:     "capture-reordering",
	Severity: Info,
	Title:    "Capture order contradicts cause",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"", "The capture has the answer (#{answer}) before the segment of {X} that it answers (#{frame}), as captures with several queues or from two taps do. Nothing was wrong on the network."},
	},
	Thresholds: []Threshold{{"time between the two, at most", captureSkew, ""}},
	on:         onGap | onSYN,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		ack := 0
		switch {
		case h.odd != nil && h.odd.gaps[x].is == gapInverted:
			ack = h.odd.gaps[x].ack
		case h.s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && h.before.sentAt[x] == 0 && h.ends[y].has(sentSYNACK) && h.now.Sub(h.ends[y].sentAt) <= captureSkew:
			for g := range h.back() {
				ack = g.packet // at last the first: the SYN+ACK
			}
		default:
			return nil
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{ack, h.s.Packet},
			values:   values{"answer": ack, "frame": h.s.Packet},
		}
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
	on: onQuality,
	check: func(h *happening) *finding {
		if h.s.Cut != tcp.CutOptions {
			return nil
		}
		return &finding{
			end:      h.from,
			cause:    "header",
			certain:  ConfidenceProved,
			evidence: []int{h.s.Packet},
		}
	},
}

// jumboSegment is the most that one segment can hold in a jumbo frame of 9,000
// octets. Where the SYN did not announce less, only what is larger must have
// been put together by a network card.
const jumboSegment tcp.Size = 9000 - 40

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
	Thresholds: []Threshold{{"octets, where no MSS was captured, more than", int(jumboSegment), ""}},
	on:         onQuality,
	check: func(h *happening) *finding {
		limit := h.largest(h.from)
		if h.s.Data <= limit {
			return nil
		}
		f := &finding{
			end:      h.from,
			certain:  ConfidenceAssumed,
			evidence: []int{h.s.Packet},
			values:   values{"n": h.s.Data, "limit": limit},
		}
		if h.y().mss == 0 {
			f.say("no-mss")
		} else {
			f.say("mss")
		}
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
		{"wrong checksums that a network card explains, at least", manySums, ""},
		{"the same, when the capture ends", fewSums, ""},
	},
	Moves: []SeverityMove{{"corrupted", Warning, "if others of {X} are right"}},
	on:    onCorrupt,
	check: func(h *happening) *finding {
		return &finding{
			end:      h.from,
			cause:    "corrupted",
			move:     "corrupted",
			certain:  ConfidenceAssumed,
			evidence: []int{h.s.Packet},
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
	on: onQuality,
	check: func(h *happening) *finding {
		if !h.s.Fragment {
			return nil
		}
		return &finding{
			end:      h.from,
			certain:  ConfidenceProved,
			evidence: []int{h.s.Packet},
		}
	},
}
