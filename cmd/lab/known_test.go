//go:build lab && linux

package lab

import "github.com/tcpwatch/tcpwatch/cmd/lab/trial"

// What the tracker does wrong in more than one story.
const (
	acksIgnored = "ACKs are believed although the SYN+ACK is repeated after them"
	foreignRST  = "a RST is held to prove that its alleged sender has no connection, when a NAT or a firewall on the way has none"
	otherRST    = "a RST is believed although its alleged sender goes on to send data"
)

// known returns the stories on which the tracker is wrong, until it is mended:
// story, family, check, what differs, and why.
func known() (list []trial.Known) {
	for _, k := range [][5]string{
		{"forged-data-next", "ipv6", "anomalies", "none", "without IP identification, what is sent below an ACK is held to repeat what the capture lacks"},
		{"forged-syn-ack-in-window", "*", "anomalies", "none", "a SYN+ACK that is challenged as a SYN is told of by nothing (RFC 5961 §4)"},

		{"accept-queue-full-at-ack", "*", "states", "the server is ESTABLISHED", acksIgnored},
		{"handshake-ack-filtered", "*", "states", "the server is ESTABLISHED", acksIgnored},

		{"syn-cookies-ack-lost-silence", "*", "states", "the server is in SYN_RCVD for ever", trial.Cookies},
		{"syn-cookies-ack-lost-silence", "*", "firm states", "the server is ESTABLISHED, at the client's tap", trial.Cookies},
		{"syn-cookies-ack-lost-silence", "*", "histories", "the server has been in SYN_RCVD", trial.Cookies},

		{"conntrack-forgets-reset", "*", "states", "the server is CLOSED", otherRST},
		{"conntrack-forgets-reset", "*", "firm states", "the server is CLOSED", foreignRST},
		{"conntrack-forgets-reset", "*", "histories", "the server has come to CLOSED", otherRST},
		{"nat-forgets-reset", "*", "firm states", "the client is CLOSED", foreignRST},
	} {
		list = append(list, trial.Known{Story: k[0], Family: k[1], Check: k[2], What: k[3], Why: k[4]})
	}
	return list
}
