package many

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

const (
	// A translation passes a SYN on within this time.
	TranslationTime = 100 * time.Millisecond
	// Two connections that are one are judged after this time.
	TranslationPatience = 3 * time.Second
	// The count of those that are captured on both sides goes on this long before
	// it is told.
	TranslationCount = 10 * time.Second
	// EscapedOctets is how far behind the initial sequence number a segment is taken
	// for one of the connection.
	EscapedOctets = 1 << 20
)

const translation = "the same initial sequence number"

var NATMismatch = anomaly.Kind{
	Name:     "nat-mismatch",
	Severity: anomaly.Warning,
	Title:    "One connection, two tuples",
	RFC:      "RFC 5382 §4, §8",
	Causes: []anomaly.Cause{
		{Name: "answer-from-inside", Text: "{server2} (connection {two}) answered the SYN that {client} had sent to {server} (connection {one}), and {client} rejected the answer with RST. The answer did not go back through the NAT.",
			Next: "If the client and {server2} are on one network, translate the source too (masquerading, hairpin NAT), or have {client} connect directly to {server2}."},
		{Name: "answer-lost", Text: "The SYN of {client} to {server} (connection {one}) was translated to {client2} and {server2} (connection {two}, " + translation + "). The translated SYN got an answer, but the answer was not translated back to {client}.",
			Next: "On the NAT device, check whether the answers of {server2} come back through it (route of {ip}). Check whether they match their entry (conntrack -L, firewall rules behind the NAT)."},
		{Name: "escaped", Text: "#{frame} from {server2} (connection {two}) has the sequence numbers of connection {one} between {client} and {server}: it was not translated by the NAT. {client} answered it with RST{killed}.",
			Next: "Have the NAT device drop invalid packets instead of forwarding them untranslated. On Linux, use a rule that drops conntrack state INVALID, or net.netfilter.nf_conntrack_tcp_be_liberal=1."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "reset", In: "killed", Text: ", and connection {one} was reset"},
		{Name: "more", Text: " The same happened with {more connections} more to {server} in {span}."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time from a SYN to the translated SYN, at most", Value: TranslationTime},
		{Name: "time from a SYN to an answer from another address, and for both to be recognized, at most", Value: TranslationPatience},
		{Name: "time for more to come", Value: TranslationCount},
		{Name: "distance in bytes from the client's initial sequence number to what a segment from another address acknowledges, at most", Value: EscapedOctets},
	},
	Many: true,
}

var NATBothSides = anomaly.Kind{
	Name:     "nat-both-sides",
	Severity: anomaly.Notice,
	Title:    "Connections captured on both sides of a NAT",
	RFC:      "RFC 5382 §4",
	Causes: []anomaly.Cause{
		{Name: "source", Text: "{n connections} in {span} were captured on both sides of a NAT (" + translation + "s): client {side} is {other} on the other side. Each is counted twice."},
		{Name: "destination", Text: "{n connections} in {span} were captured on both sides of a NAT (" + translation + "s): server {side} is {other} on the other side. Each is counted twice."},
	},
	Next: "If numbers matter, leave out one side (a filter with \"not host {other}\", or a capture on one interface).",
	Thresholds: []anomaly.Threshold{
		{Name: "time from a SYN to the translated SYN, at most", Value: TranslationTime},
		{Name: "time for more to come", Value: TranslationCount},
	},
	Many: true,
}
