package established

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/stalls"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A path that carries less than the ends agreed on drops what is too large, and
// says so by ICMP. Where that does not arrive, small segments pass and full ones
// never do: the handshake and the request work, and the answer hangs.

const (
	// Every path carries segments of so many octets (RFC 9293 §3.7.1).
	leastMSS = 536
	// So many copies are lost of full segments that the path does not carry, where
	// nobody reports it; before their sender tries smaller ones; and in spite of
	// reports.
	copiesLost      = 5
	copiesLater     = 7 // where some of that size may have passed before
	copiesShortened = 4
	copiesReported  = 3
	// acksPass is how long a peer waits whose octets were acknowledged before that
	// is taken to have arrived.
	acksPass = 3 * time.Second
)

var PmtuBlackHole = anomaly.Kind{
	Name:     "pmtu-black-hole",
	Severity: anomaly.Error,
	Title:    "Full-size segments do not fit the path",
	RFC:      "RFC 2923, RFC 8899",
	Causes: []anomaly.Cause{
		{Name: "icmp-ignored", Text: "{router} reported {reports times} that segments of {X} do not fit the path ({version} type {type} code {code}{mtu}). {X} still retransmitted the same {n bytes}, {copies times} in {span}. The reports do not reach {X}, or it ignores them.",
			Next: "Let {version} \"too big\" pass to {X.ip} through every firewall, security group and NAT on the path, or clamp the MSS where the path narrows. net.ipv4.tcp_mtu_probing=1 on {X.ip} helps without either."},
		{Name: "lost", Text: "{X} sent the same {n bytes} {copies} times in {span} without an ACK, while {Y} {sign}. Packets larger than the path MTU are dropped, and no ICMP error reports it."},
		{Name: "recovered", Text: "{X} sent the same {n bytes} {copies} times in {span} without an ACK, and got through with segments of {small bytes}. Packets larger than the path MTU are dropped, and no ICMP error reports it."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "mtu", In: "mtu", Text: ", MTU {size}"},
		{Name: "sack", In: "sign", Text: "reported with SACK that the {small bytes} after them had arrived"},
		{Name: "dup-ack", In: "sign", Text: "answered the {small bytes} after them"},
		{Name: "captures", In: "sign", Text: "got smaller segments, as the captures show"},
		{Name: "alive", In: "sign", Text: "went on, and received the empty ACKs of {X}"},
	},
	Next: "Find the link or tunnel with the smaller MTU (ping with DF set and {n} bytes from {X.ip}). Let ICMP \"too big\" from there reach {X.ip}, or clamp the MSS there. net.ipv4.tcp_mtu_probing=1 on {X.ip} helps without either.",
	Thresholds: []anomaly.Threshold{
		{Name: "bytes of the segments, more than", Value: leastMSS},
		{Name: "copies of the same bytes, at least", Value: copiesLost},
		{Name: "the same, if {X} had sent as many bytes before, at least", Value: copiesLater},
		{Name: "the same, if smaller segments then pass, at least", Value: copiesShortened},
		{Name: "the same, if ICMP reports it, or captures at both ends show that they were lost, at least", Value: copiesReported},
		{Name: "silence of {Y} that shows that it received an ACK, at least", Value: acksPass},
	},
	Moves:      []anomaly.SeverityMove{{Name: "recovered", To: anomaly.Warning, When: "if {X} then sends smaller segments, which pass"}},
	Supersedes: []string{"retransmission-timeout", "middlebox-idle-drop"},
	On:         triggers.OnRepeat | triggers.OnICMP,
	Only:       triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From
		tr := h.Rare.StallsOf(subject)
		if tr == nil || h.Stale || h.Foreign || !h.Whole(subject) {
			return nil
		}
		w := &tr.Data
		if h.S.ICMP.Type == 0 {
			if f := shortened(h); f != nil {
				return f
			}
			if w.Frames[1] != h.S.Packet || w.Size != h.S.Data {
				return nil
			}
		}
		if w.Size <= leastMSS || w.Copies < copiesReported || w.Seq != h.S.Seq {
			return nil
		}
		told := h.Flagged("pmtu-black-hole", subject)
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{w.Frames[0], w.Frames[1]},
			Values:   anomaly.Values{"n": w.Size, "copies": w.Copies, "span": w.Last.Sub(w.First)},
			More:     told != nil,
		}
		if !reported(h, w, &tr.TooBig, f) && !seenLost(h, w, f) && (h.S.ICMP.Type != 0 || w.Copies < copiesLost || !smallPass(h, w, f)) {
			return nil
		}
		if told != nil && len(told.Evidence) >= mostEvidence {
			f.Evidence = nil
		}
		return f
	},
}

// reported reports whether the end was told that its segments are too large, and
// sent them again since, more than once.
func reported(h *anomaly.Case, w *stalls.Repeats, m *stalls.TooBig, f *anomaly.Finding) bool {
	if m.Times == 0 || m.MTU >= uint32(w.Size)+leastHeaders {
		return false
	}
	since := 0
	for g := range h.Back() {
		if g.From == h.From && g.Seq == w.Seq && g.Data == w.Size && g.At > m.Since {
			since++
		}
	}
	if since < copiesReported-1 {
		return false
	}
	f.Cause = "icmp-ignored"
	f.Evidence = append(f.Evidence, m.Frames[0], m.Frames[1])
	f.Values["router"], f.Values["reports"] = m.From, m.Times
	f.Values["version"], f.Values["type"], f.Values["code"], f.Values["size"] = m.Version(), m.Type, m.Code, m.MTU
	if m.MTU != 0 {
		f.Say("mtu")
	}
	return true
}

// seenLost reports whether captures at both ends show that every copy was lost, and that
// what is smaller comes.
func seenLost(h *anomaly.Case, w *stalls.Repeats, f *anomaly.Finding) bool {
	lost, came := 0, false
	for g := range h.Recent() {
		switch {
		case g.From != h.From:
		case g.Data == 0:
			came = came || g.Is&recent.WasLost == 0
		case g.Is&recent.WasLost == 0:
			return false
		case g.Seq == w.Seq:
			lost++
		}
	}
	if lost < copiesReported || !came {
		return false
	}
	f.Cause = "lost"
	f.Say("captures")
	return true
}

// leastHeaders are the octets of the smallest headers of IP and TCP.
const leastHeaders = 40

// smallPass reports whether segments that are smaller than those in question
// arrive.
func smallPass(h *anomaly.Case, w *stalls.Repeats, f *anomaly.Finding) bool {
	f.Cause = "lost"
	if subject := &h.Ends[h.From]; !subject.Has(endpoint.HasISS) || w.Seq.Minus(subject.ISS) > w.Size {
		if w.Copies < copiesLater {
			return false
		}
		f.Certain = anomaly.ConfidenceAmbiguous // some of that size may have passed before
	}
	peer := h.From.Peer()
	if h.HasBeyond(peer) {
		block := h.Rare.SACKed[peer]
		if block.Right.Minus(block.Left) >= w.Size {
			return false // one of that size may have arrived
		}
		for g := range h.Earlier() {
			if g.From == h.From && g.End() == block.Right {
				f.Evidence = append(f.Evidence, g.Packet)
			}
		}
		f.Values["small"] = block.Right.Minus(block.Left)
		f.Say("sack")
		return true
	}
	f.Certain = anomaly.ConfidenceAmbiguous
	if small, answer := answeredSmall(h, w); small != nil {
		f.Evidence = append(f.Evidence, small.Packet, answer.Packet)
		f.Values["small"] = small.Data
		f.Say("dup-ack")
		return true
	}
	asked := tookEmptyACK(h)
	if asked == nil || asked.At < w.First {
		return false
	}
	f.Evidence = append(f.Evidence, asked.Packet)
	f.Say("alive")
	return true
}

// answeredSmall returns a smaller segment behind those in question, and the ACK
// that it drew of a peer that says nothing of what lies behind a hole.
func answeredSmall(h *anomaly.Case, w *stalls.Repeats) (small, answer *recent.Segment) {
	peer := h.From.Peer()
	if h.Ends[peer].Has(endpoint.SackOK) {
		return nil, nil
	}
	for g := range h.Earlier() {
		switch {
		case g.From == peer:
			if g.Pure() && g.Ack == w.Seq {
				answer = g
			}
		case g.Data == 0 || g.Data >= w.Size || g.Seq.Before(w.Seq.Add(w.Size)):
		case answer != nil && answer.At.Sub(g.At) <= h.Ends[peer].InFlight():
			return g, answer
		}
	}
	return nil, nil
}

// tookEmptyACK returns the newest segment of the peer, if that asked for an
// answer, got an empty ACK and was not sent again.
func tookEmptyACK(h *anomaly.Case) *recent.Segment {
	answered := false
	for g := range h.Earlier() {
		if g.From == h.From {
			answered = answered || g.Pure()
			continue
		}
		asks := g.Data > 0 || g.Flags&tcp.FIN != 0 || g.Is&recent.WasKeepalive != 0
		if asks && answered && h.Now.Sub(g.At) >= acksPass {
			return g
		}
		return nil
	}
	return nil
}

// shortened reports that octets that were lost in full segments pass in smaller
// ones: its peer acknowledges a part of what it was sent again and again.
func shortened(h *anomaly.Case) *anomaly.Finding {
	if h.S.Data == 0 {
		return nil
	}
	subject := h.From
	acked := h.Before.Acked[subject.Peer()]
	var full, first, small *recent.Segment
	copies := 0
	for g := range h.Earlier() {
		if g.From != subject || g.Data == 0 {
			continue
		}
		switch {
		case full == nil && small == nil && g.End().AtMost(acked):
			small = g
		case full == nil && g.Seq.Before(acked) && acked.Before(g.End()) && g.Data > h.S.Data && g.Data > leastMSS && g.Data <= h.Ends[subject.Peer()].Largest():
			full, first, copies = g, g, 1
		case full != nil && g.Seq == full.Seq && g.Data == full.Data:
			first = g
			copies++
		}
	}
	if copies < copiesShortened || small == nil || small.Seq != full.Seq || small.At < full.At {
		return nil
	}
	told := h.Flagged("pmtu-black-hole", subject)
	if told != nil && told.Cause == "recovered" {
		return nil
	}
	return &anomaly.Finding{
		End:      subject,
		Cause:    "recovered",
		Move:     "recovered",
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{first.Packet, full.Packet, small.Packet, h.S.Packet},
		Values:   anomaly.Values{"n": full.Data, "copies": copies, "span": full.At.Sub(first.At), "small": small.Data},
		More:     told != nil,
	}
}
