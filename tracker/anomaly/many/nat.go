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
		{Name: "answer-from-inside", Text: "{server2} (connection {two}) answered the SYN that {client} had sent to {server} (connection {one}), and {client} refused that with RST: the answer did not go back through the address translation.",
			Next: "Translate the source too where the client and {server2} are on one network (masquerading, hairpin NAT), or have {client} connect to {server2} itself."},
		{Name: "answer-lost", Text: "The SYN of {client} to {server} (connection {one}) was translated to {client2} and {server2} (connection {two}, " + translation + "); that was answered, and the answer was not translated back to {client}.",
			Next: "Check on the device that translates whether the answers of {server2} come back through it and find their entry (route of {ip}, conntrack -L, firewall rules behind the translation)."},
		{Name: "escaped", Text: "#{frame} from {server2} (connection {two}) has the numbers of connection {one}, in which {client} speaks with {server}: it escaped the address translation. {client} answered it with RST{killed}.",
			Next: "Have the device that translates drop what it finds invalid instead of passing it on untranslated (on Linux a rule that drops conntrack state INVALID, or net.netfilter.nf_conntrack_tcp_be_liberal=1)."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "reset", In: "killed", Text: ", and connection {one} was reset"},
		{Name: "more", Text: " It was so with {more connections} more to {server} in {span}."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time from a SYN to that SYN translated, at most", Value: TranslationTime},
		{Name: "time from a SYN to an answer from another address, at most, and for both to show what they are", Value: TranslationPatience},
		{Name: "time for more to come", Value: TranslationCount},
		{Name: "octets that the client has sent, of which a segment from another address acknowledges all or some, at most", Value: EscapedOctets},
	},
	Many: true,
}

var NATBothSides = anomaly.Kind{
	Name:     "nat-both-sides",
	Severity: anomaly.Notice,
	Title:    "Connections captured on both sides of a NAT",
	RFC:      "RFC 5382 §4",
	Causes: []anomaly.Cause{
		{Name: "source", Text: "{n connections} in {span} were captured before and behind an address translation (" + translation + "s): client {side} is {other} there. Each counts as two."},
		{Name: "destination", Text: "{n connections} in {span} were captured before and behind an address translation (" + translation + "s): server {side} is {other} there. Each counts as two."},
	},
	Next: "Leave out one side where numbers matter (a filter with \"not host {other}\", or a capture on one interface).",
	Thresholds: []anomaly.Threshold{
		{Name: "time from a SYN to that SYN translated, at most", Value: TranslationTime},
		{Name: "time for more to come", Value: TranslationCount},
	},
	Many: true,
}
