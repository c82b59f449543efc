package tracker

import "fmt"

// What only an attacker or a probe sends.

var blindSYN = Kind{
	Name:     "blind-syn",
	Severity: Warning,
	Title:    "SYN inside a live connection that its owner did not send",
	RFC:      "RFC 5961 §4, RFC 9293 §3.10.7.4",
	Sentence: "A SYN in the name of {Y} (seq {s}) hit its open connection to {X}. {Y} went on as before {t} later, so it did not send that SYN: somebody tries to disturb the connection.",
	on:       onImpostor,
	check: func(h *happening) *finding {
		x, y := h.from.Peer(), h.from
		if !synchronized(h.before.states[x]) || h.foreign || h.oldSYN() {
			return nil
		}
		syn, ok := h.impostor.find(Client, SndSYN)
		if !ok {
			return nil
		}
		f := &finding{end: x, certain: ConfidenceAssumed, evidence: []int{syn.packet(), h.s.Packet}}
		answer := "gave no answer to it that was captured"
		if d := h.pending(); d != nil && d.what == doubtedSYN && d.challenge != 0 {
			answer = "asked by a challenge ACK whether it was meant"
			f.evidence = append(f.evidence, d.challenge)
		}
		f.text = fmt.Sprintf("A SYN in the name of %v (seq %d) hit its open connection to %v, which %s. %v went on as before %s later, so it did not send that SYN: somebody tries to disturb the connection.",
			h.addr(y), h.impostor.ends[Client].iss, h.addr(x), answer, h.addr(y), spanText(h.now.Sub(syn.at)))
		return f
	},
}

// oldSYN reports whether the impostor's SYN is a copy of one that opened an
// earlier connection.
func (h *happening) oldSYN() bool {
	iss := h.impostor.ends[Client].iss
	for c := h.t.newestOf(h.key); c != nil; c = c.older() {
		if x := &c.ends[c.endOf(h.impostor.bits&clientIsLow != 0)]; c != h.impostor && !c.provisional() && x.has(hasISS) && x.iss == iss {
			return true
		}
	}
	return false
}

// The flags below no conforming end combines; ECE, CWR and AE are none of them
// (RFC 3168, RFC 9768).
const plainFlags = FIN | SYN | RST | PSH | ACK | URG

var nullFlags = Kind{
	Name:     "null-flags",
	Severity: Warning,
	Title:    "Segment without flags",
	RFC:      "RFC 9293 §3.10.7",
	Sentence: "A segment without any flag never occurs in legal TCP: a probe or corruption; {X} {answered with RST | answered with SYN+ACK | did not answer}.",
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal("without any flag", func(g *glimpse) bool { return g.flags&plainFlags == 0 })
	},
}

var xmasFlags = Kind{
	Name:     "xmas-flags",
	Severity: Warning,
	Title:    "FIN+PSH+URG",
	RFC:      "RFC 9293 §3.10.7",
	Sentence: "A segment with FIN, PSH and URG alone never occurs in legal TCP: a probe or corruption; {X} {answered with RST | answered with SYN+ACK | did not answer}.",
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal("with FIN, PSH and URG alone", func(g *glimpse) bool { return g.flags&plainFlags == FIN|PSH|URG })
	},
}

var synFIN = Kind{
	Name:     "syn-fin",
	Severity: Warning,
	Title:    "Opens and closes at once",
	RFC:      "RFC 9293 §3.10.7",
	Sentence: "A segment with both SYN and FIN never occurs in legal TCP: a probe or corruption; {X} {answered with RST | answered with SYN+ACK | did not answer}.",
	on:       onFlags | onRST | onSYNACK,
	check: func(h *happening) *finding {
		return h.illegal("with both SYN and FIN", func(g *glimpse) bool { return g.flags&(SYN|FIN|RST) == SYN|FIN })
	},
}

var synRST = Kind{
	Name:     "syn-rst",
	Severity: Warning,
	Title:    "Opens and resets at once",
	RFC:      "RFC 9293 §3.10.7",
	Sentence: "A segment with both SYN and RST never occurs in legal TCP: a probe or corruption; its RST counts.",
	on:       onRST,
	check: func(h *happening) *finding {
		return h.illegal("with both SYN and RST", func(g *glimpse) bool { return g.flags&(SYN|RST) == SYN|RST })
	},
}

var finWithoutAck = Kind{
	Name:     "fin-without-ack",
	Severity: Warning,
	Title:    "FIN without ACK",
	RFC:      "RFC 9293 §3.10.7",
	Sentence: "A FIN without ACK never occurs in legal TCP: a probe or corruption; {X} {answered with RST | answered with SYN+ACK | did not answer}.",
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal("with FIN but without ACK", func(g *glimpse) bool {
			return g.flags&(FIN|ACK|SYN|RST) == FIN && g.flags&plainFlags != FIN|PSH|URG
		})
	},
}

var dataWithoutAck = Kind{
	Name:     "data-without-ack",
	Severity: Notice,
	Title:    "Data without ACK",
	RFC:      "RFC 9293 §3.10.7",
	Sentence: "A segment with data but without ACK never occurs in legal TCP: a probe or corruption; {X} {answered with RST | answered with SYN+ACK | did not answer}.",
	on:       onFlags | onRST,
	check: func(h *happening) *finding {
		return h.illegal("with data but without ACK", func(g *glimpse) bool {
			return g.flags&(FIN|ACK|SYN|RST) == 0 && g.flags&plainFlags != 0 && g.data > 0
		})
	},
}

// illegal finds a segment that is like none of an end that obeys the rules, and
// once more when it is answered.
func (h *happening) illegal(how string, like func(*glimpse) bool) *finding {
	if h.s.Sum == SumBad || h.s.Fragment {
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
	probe, answer := newest[0], newest[1]
	switch {
	case like(probe):
		answer = nil
	case answer != nil && answer.from != probe.from && like(answer):
		probe, answer = answer, probe
		if answer.flags&RST != 0 && answer.flags&ACK == 0 && probe.flags&ACK == 0 {
			return nil // answers something else: that had no number to make it of
		}
	default:
		return nil
	}
	from, to := h.addr(probe.from), h.addr(probe.from.Peer())
	f := &finding{end: probe.from.Peer(), certain: ConfidenceProved, evidence: []int{probe.packet}}
	f.text = fmt.Sprintf("%v sent %v a segment %s, which never occurs in legal TCP: it is a probe or corrupted. ", from, to, how)
	isOpen := synchronized(h.before.states[probe.from.Peer()])
	if answer != nil {
		f.more, f.evidence = true, append(f.evidence, answer.packet)
	}
	switch {
	case answer != nil && answer.flags&RST != 0:
		f.text += fmt.Sprintf("%v answered with RST: it is up, and nobody listens on port %d.", to, to.Port())
	case answer != nil:
		f.text += fmt.Sprintf("%v answered with SYN+ACK: it is up, and port %d is open.", to, to.Port())
	case probe.flags&RST != 0:
		f.text += fmt.Sprintf("The RST counts and not the SYN, so %v does not answer.", to)
	case isOpen && probe.flags&SYN == 0:
		f.text += fmt.Sprintf("%v has a connection open there, and drops the segment.", to)
	case isOpen:
		f.text += fmt.Sprintf("%v has a connection open there, and takes it for a SYN to doubt.", to)
	case probe.flags&SYN != 0:
		f.text += "A closed port answers with RST, an open one drops it or answers with SYN+ACK."
	default:
		f.text += "A closed port answers with RST, an open one drops it."
	}
	return f
}
