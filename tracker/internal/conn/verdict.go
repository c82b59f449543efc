package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Verdict is what becomes of a segment at its receiver.
type Verdict struct {
	Is  Outcome
	Why tcp.Skip // the rule that refuses it

	// Unsent says that its alleged sender cannot have sent it, not as it then
	// stood: the segment is forged, or a wanderer, and moves nobody.
	Unsent bool
}

// Outcome is the part of a Verdict that decides.
type Outcome uint8

const (
	Accepted Outcome = iota
	Unknown          // the capture lacks what would decide, or stacks differ
	Refused
)
