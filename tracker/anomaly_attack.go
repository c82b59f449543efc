package tracker

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// What only an attacker or a probe sends.

var blindSYN = Kind{
	Name:     "blind-syn",
	Severity: Warning,
	Title:    "SYN inside a live connection that its owner did not send",
	RFC:      "RFC 5961 §4, RFC 9293 §3.10.7.4",
	Causes: []Cause{
		{"", "A SYN in the name of {Y} (seq {seq}) hit its open connection to {X}, which {answer}. {Y} went on as before {span} later, so it did not send that SYN: somebody tries to disturb the connection."},
	},
	Phrases: []Phrase{
		{"challenged", "answer", "asked by a challenge ACK whether it was meant"},
		{"silent", "answer", "gave no answer to it that was captured"},
	},
	on: onImpostor,
	check: func(h *happening) *finding {
		x := h.from.Peer()
		if !synchronized(h.before.states[x]) || h.foreign || h.oldSYN() {
			return nil
		}
		syn, ok := h.impostor.find(tcp.Client, tcp.SndSYN)
		if !ok {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{syn.packet(), h.s.Packet},
			values:   values{"seq": h.impostor.ends[tcp.Client].iss, "span": h.now.Sub(syn.at)},
		}
		if d := h.pending(); d != nil && d.what == doubtedSYN && d.challenge != 0 {
			f.evidence = append(f.evidence, d.challenge)
			f.say("challenged")
		} else {
			f.say("silent")
		}
		return f
	},
}

// oldSYN reports whether the impostor's SYN is a copy of one that opened an
// earlier connection.
func (h *happening) oldSYN() bool {
	iss := h.impostor.ends[tcp.Client].iss
	for c := h.m.newestOf(h.key); c != nil; c = c.older() {
		if x := &c.ends[c.endOf(h.impostor.bits&clientIsLow != 0)]; c != h.impostor && !c.provisional() && x.has(hasISS) && x.iss == iss {
			return true
		}
	}
	return false
}

// The flags below no conforming end combines; ECE, CWR and AE are none of them
// (RFC 3168, RFC 9768).
const plainFlags = tcp.FIN | tcp.SYN | tcp.RST | tcp.PSH | tcp.ACK | tcp.URG

// never is the cause of a segment that no such end sends.
func never(how string) []Cause {
	return []Cause{{"", "{Y} sent {X} a segment " + how + ", which never occurs in legal TCP: it is a probe or corrupted."}}
}

var refusedProbe = Phrase{"refused", "", " {X} answered with RST: it is up, and nobody listens on port {X.port}."}

// withoutSYN is what becomes of such a segment.
var withoutSYN = []Phrase{
	refusedProbe,
	{"dropped", "", " {X} has a connection open there, and drops the segment."},
	{"unanswered", "", " A closed port answers with RST, an open one drops it."},
}

var nullFlags = Kind{
	Name:     "null-flags",
	Severity: Warning,
	Title:    "Segment without flags",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("without any flag"),
	Phrases:  withoutSYN,
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal(func(g *glimpse) bool { return g.flags&plainFlags == 0 })
	},
}

var xmasFlags = Kind{
	Name:     "xmas-flags",
	Severity: Warning,
	Title:    "FIN+PSH+URG",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with FIN, PSH and URG alone"),
	Phrases:  withoutSYN,
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal(func(g *glimpse) bool { return g.flags&plainFlags == tcp.FIN|tcp.PSH|tcp.URG })
	},
}

var synFIN = Kind{
	Name:     "syn-fin",
	Severity: Warning,
	Title:    "Opens and closes at once",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with both SYN and FIN"),
	Phrases: []Phrase{
		refusedProbe,
		{"accepted", "", " {X} answered with SYN+ACK: it is up, and port {X.port} is open."},
		{"doubted", "", " {X} has a connection open there, and takes it for a SYN to doubt."},
		{"unanswered", "", " A closed port answers with RST, an open one drops it or answers with SYN+ACK."},
	},
	on: onFlags | onRST | onSYNACK,
	check: func(h *happening) *finding {
		return h.illegal(func(g *glimpse) bool { return g.flags&(tcp.SYN|tcp.FIN|tcp.RST) == tcp.SYN|tcp.FIN })
	},
}

var synRST = Kind{
	Name:     "syn-rst",
	Severity: Warning,
	Title:    "Opens and resets at once",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with both SYN and RST"),
	Phrases:  []Phrase{{"reset", "", " The RST counts and not the SYN, so {X} does not answer."}},
	on:       onRST,
	check: func(h *happening) *finding {
		return h.illegal(func(g *glimpse) bool { return g.flags&(tcp.SYN|tcp.RST) == tcp.SYN|tcp.RST })
	},
}

var finWithoutAck = Kind{
	Name:     "fin-without-ack",
	Severity: Warning,
	Title:    "FIN without ACK",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with FIN but without ACK"),
	Phrases:  withoutSYN,
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal(func(g *glimpse) bool {
			return g.flags&(tcp.FIN|tcp.ACK|tcp.SYN|tcp.RST) == tcp.FIN && g.flags&plainFlags != tcp.FIN|tcp.PSH|tcp.URG
		})
	},
}

var dataWithoutAck = Kind{
	Name:     "data-without-ack",
	Severity: Notice,
	Title:    "Data without ACK",
	RFC:      "RFC 9293 §3.10.7",
	Causes:   never("with data but without ACK"),
	Phrases:  withoutSYN,
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal(func(g *glimpse) bool {
			return g.flags&(tcp.FIN|tcp.ACK|tcp.SYN|tcp.RST) == 0 && g.flags&plainFlags != 0 && g.data > 0
		})
	},
}

// illegal finds a segment that is like none of an end that obeys the rules, and
// once more when it is answered.
func (h *happening) illegal(like func(*glimpse) bool) *finding {
	if h.s.Sum == tcp.SumBad || h.s.Fragment {
		return nil // corrupted, or only part of a segment
	}
	var newest [2]*glimpse // this segment, and the one before it
	n := 0
	for g := range h.back() {
		if n == len(newest) {
			break
		}
		newest[n] = g
		n++
	}
	last, before := newest[0], newest[1]
	probe, answer := last, (*glimpse)(nil)
	switch {
	case like(last):
	case before != nil && before.from != last.from && like(before) && last.answers(before):
		probe, answer = before, last
	default:
		return nil
	}
	f := &finding{end: probe.from.Peer(), certain: ConfidenceProved, evidence: []int{probe.packet}}
	if answer != nil {
		f.more, f.evidence = true, append(f.evidence, answer.packet)
	}
	isOpen := synchronized(h.before.states[f.end])
	switch {
	case answer != nil && answer.flags&tcp.RST != 0:
		f.say("refused")
	case answer != nil:
		f.say("accepted")
	case probe.flags&tcp.RST != 0:
		f.say("reset")
	case isOpen && probe.flags&tcp.SYN == 0:
		f.say("dropped")
	case isOpen:
		f.say("doubted")
	default:
		f.say("unanswered")
	}
	return f
}
