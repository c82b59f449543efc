// Package gate says what becomes of a segment at its receiver.
package gate

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Verdict is what becomes of a segment at its receiver.
type Verdict struct {
	Is  Outcome
	Why tcp.Skip // the row that refuses it, or would

	// Unsent says that its alleged sender cannot have sent it, not as it then
	// stood: the segment is forged, or a wanderer, and moves nobody.
	Unsent bool

	By   int  // the frame that shows it; 0: the segment itself
	Held bool // it is a FIN or a RST that is not believed for the time being
}

// Shown is what is said of the segment: why it moved nobody, or why its receiver
// does not have it.
func (v Verdict) Shown() tcp.Skip {
	switch {
	case v.Is == Refused:
		return v.Why
	case v.Held && v.Why == tcp.DoubtedRST:
		return v.Why
	case v.Held:
		return tcp.Held
	}
	return tcp.NotSkipped
}

// Outcome is the part of a Verdict that decides.
type Outcome uint8

const (
	Accepted Outcome = iota
	Unknown          // the capture lacks what would decide, or stacks differ
	Refused
)
