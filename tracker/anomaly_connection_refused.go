package tracker

import "fmt"

var connectionRefused = Kind{
	Name:     "connection-refused",
	Severity: Warning,
	Title:    "SYN answered by RST",
	RFC:      "RFC 9293 §3.5.2, §3.10.7.3",
	Sentence: "{Y} has nothing listening on port {p} (or a firewall answered): RST to the SYN after {dt}.",
	on:       onRST,
	check: func(h *happening) (f finding, found bool) {
		x := h.from.Peer()
		if !h.before.accepted || h.before.states[x] != setOf(SynSent) {
			return f, false
		}
		server := h.addr(h.from)
		syn, _ := h.find(x, SndSYN)
		return finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{syn.packet(), h.s.Packet},
			text: fmt.Sprintf("%v has nothing listening on port %d (or a firewall answered): RST to the SYN after %s.",
				server.Addr(), server.Port(), spanText(h.now.Sub(syn.at))),
		}, true
	},
}
