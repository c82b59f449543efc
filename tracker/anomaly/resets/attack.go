package resets

import (
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What only an attacker or a probe sends.

var BlindSYN = anomaly.Kind{
	Name:     "blind-syn",
	Severity: anomaly.Warning,
	Title:    "SYN inside an open connection, not sent by its owner",
	RFC:      "RFC 5961 §4, RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Text: "A SYN with source {Y} (seq {seq}) hit the open connection to {X}. {X} {answer}. {Y} went on as before {span} later, so it did not send that SYN: somebody tries to disturb the connection."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "challenged", In: "answer", Text: "sent a challenge ACK to ask whether the SYN is real"},
		{Name: "silent", In: "answer", Text: "sent no answer to it that was captured"},
	},
	On: triggers.OnImpostor,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := h.From.Peer()
		if !conn.Synchronized(h.Before.States[subject]) || h.Foreign || fromOldSYN(h) {
			return nil
		}
		syn, ok := h.Impostor.Find(tcp.Client, tcp.SndSYN)
		if !ok {
			return nil
		}
		f := &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{syn.Packet(), h.S.Packet},
			Values:   anomaly.Values{"seq": h.Impostor.Ends[tcp.Client].ISS, "span": h.Now.Sub(syn.At)},
		}
		if d := h.Pending(); d != nil && d.What == conn.ChallengedSYN && d.Answer != 0 {
			f.Evidence = append(f.Evidence, d.Answer)
			f.Say("challenged")
		} else {
			f.Say("silent")
		}
		return f
	},
}

// fromOldSYN reports whether the impostor's SYN is a copy of one that opened an
// earlier connection.
func fromOldSYN(h *anomaly.Case) bool {
	iss := h.Impostor.Ends[tcp.Client].ISS
	for c := h.M.NewestOf(h.Key); c != nil; c = c.Older() {
		if subject := &c.Ends[c.EndOf(h.Impostor.Bits&conn.ClientIsLow != 0)]; c != h.Impostor && !c.Provisional() && subject.Has(endpoint.HasISS) && subject.ISS == iss {
			return true
		}
	}
	return false
}

// The flags below no conforming end combines; ECE, CWR and AE are none of them
// (RFC 3168, RFC 9768).
const plainFlags = tcp.FIN | tcp.SYN | tcp.RST | tcp.PSH | tcp.ACK | tcp.URG

// never is the cause of a segment that no such end sends.
func never(how string) []anomaly.Cause {
	return []anomaly.Cause{{Text: "{Y} sent {X} a segment " + how + ", which never occurs in legal TCP: it is a probe or corrupted."}}
}

var refusedProbe = anomaly.Phrase{Name: "refused", Text: " {X} answered with RST: it is up, and nothing listens on port {X.port}."}

// illegalSegment is the kind of such a segment, without SYN.
func illegalSegment(name string, severity anomaly.Severity, title, how string, like func(*recent.Segment) bool) anomaly.Kind {
	return anomaly.Kind{
		Name:     name,
		Severity: severity,
		Title:    title,
		RFC:      "RFC 9293 §3.10.7",
		Causes:   never(how),
		Phrases: []anomaly.Phrase{
			refusedProbe,
			{Name: "dropped", Text: " {X} has an open connection there, and drops the segment."},
			{Name: "unanswered", Text: " A closed port answers with RST, an open port drops it."},
		},
		On:    triggers.OnFlags | triggers.OnRST,
		Check: func(h *anomaly.Case) *anomaly.Finding { return illegal(h, like) },
	}
}

var NullFlags = illegalSegment("null-flags", anomaly.Warning, "Segment without flags", "without any flag",
	func(g *recent.Segment) bool { return g.Flags&plainFlags == 0 })

var XmasFlags = illegalSegment("xmas-flags", anomaly.Warning, "FIN+PSH+URG", "with FIN, PSH and URG alone",
	func(g *recent.Segment) bool { return g.Flags&plainFlags == tcp.FIN|tcp.PSH|tcp.URG })

var SynFIN = anomaly.Kind{
	Name:     "syn-fin",
	Severity: anomaly.Warning,
	Title:    "Opens and closes at once",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with both SYN and FIN"),
	Phrases: []anomaly.Phrase{
		refusedProbe,
		{Name: "accepted", Text: " {X} answered with SYN+ACK: it is up, and port {X.port} is open."},
		{Name: "doubted", Text: " {X} has an open connection there, and challenges it as a suspicious SYN."},
		{Name: "unanswered", Text: " A closed port answers with RST, an open port drops it or answers with SYN+ACK."},
	},
	On:     triggers.OnFlags | triggers.OnRST | triggers.OnSYNACK,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		return illegal(h, func(g *recent.Segment) bool { return g.Flags&(tcp.SYN|tcp.FIN|tcp.RST) == tcp.SYN|tcp.FIN })
	},
}

var SynRST = anomaly.Kind{
	Name:     "syn-rst",
	Severity: anomaly.Warning,
	Title:    "Opens and resets at once",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with both SYN and RST"),
	Phrases:  []anomaly.Phrase{{Name: "reset", Text: " The RST counts, not the SYN, so {X} does not answer."}},
	On:       triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		return illegal(h, func(g *recent.Segment) bool { return g.Flags&(tcp.SYN|tcp.RST) == tcp.SYN|tcp.RST })
	},
}

var FinWithoutAck = illegalSegment("fin-without-ack", anomaly.Warning, "FIN without ACK", "with FIN but without ACK",
	func(g *recent.Segment) bool {
		return g.Flags&(tcp.FIN|tcp.ACK|tcp.SYN|tcp.RST) == tcp.FIN && g.Flags&plainFlags != tcp.FIN|tcp.PSH|tcp.URG
	})

var DataWithoutAck = illegalSegment("data-without-ack", anomaly.Notice, "Data without ACK", "with data but without ACK",
	func(g *recent.Segment) bool {
		return g.Flags&(tcp.FIN|tcp.ACK|tcp.SYN|tcp.RST) == 0 && g.Flags&plainFlags != 0 && g.Data > 0
	})

// illegal finds a segment that is like none of an end that obeys the rules, and
// once more when it is answered.
func illegal(h *anomaly.Case, like func(*recent.Segment) bool) *anomaly.Finding {
	if h.S.Sum == tcp.SumBad || h.S.Fragment {
		return nil // corrupted, or only part of a segment
	}
	var newest [2]*recent.Segment // this segment, and the one before it
	n := 0
	for g := range h.Back() {
		if n == len(newest) {
			break
		}
		newest[n] = g
		n++
	}
	last, before := newest[0], newest[1]
	probe, answer := last, (*recent.Segment)(nil)
	switch {
	case like(last):
	case before != nil && before.From != last.From && like(before) && last.Answers(before):
		probe, answer = before, last
	default:
		return nil
	}
	f := &anomaly.Finding{End: probe.From.Peer(), Certain: anomaly.ConfidenceProved, Evidence: []int{probe.Packet}}
	if answer != nil {
		f.More, f.Evidence = true, append(f.Evidence, answer.Packet)
	}
	isOpen := conn.Synchronized(h.Before.States[f.End])
	switch {
	case answer != nil && answer.Flags&tcp.RST != 0:
		f.Say("refused")
	case answer != nil:
		f.Say("accepted")
	case probe.Flags&tcp.RST != 0:
		f.Say("reset")
	case isOpen && probe.Flags&tcp.SYN == 0:
		f.Say("dropped")
	case isOpen:
		f.Say("doubted")
	default:
		f.Say("unanswered")
	}
	return f
}
