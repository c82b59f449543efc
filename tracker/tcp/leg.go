package tcp

import "time"

// A Leg says at which place of its way a segment was captured, where captures of
// several places are followed as one.
type Leg uint8

const (
	Passing Leg = iota // at the one place there is, or at one of them alone: whether it arrives is inferred
	Left               // next to its sender: it was sent, and no more
	Neared             // next to its receiver: it came that far; where the capture was made on that host (TapOn), it has arrived
)

// A Fate is what became of a segment between two captures.
type Fate uint8

const (
	FateUnknown Fate = iota // only one of them can have it: the other was not running then, or has not that direction
	FatePassed              // both have it
	FateLost                // it left, and did not come near its receiver, who acknowledged no octet of it that did not come otherwise
	FateMissed              // one of them lacks it, and it passed all the same: what its receiver acknowledges, or its sender goes on from, shows that
	FateCopied              // it came near its receiver once more than it left
	FateForged              // it came near its receiver, and did not leave the sender that it names
)

// A Twin is what captures of several places tell together of a segment. It comes
// with the segment's first Leg: Left, or the only one there is.
type Twin struct {
	Fate Fate

	// Between are the neighbouring captures between which it was lost, copied or
	// forged, by their places in the list of captures.
	Between [2]uint8

	// Other is the segment as the capture next to its receiver has it, with FatePassed.
	// Its Time is by the same clock as that of the segment, its Packet the frame in that
	// capture. nil: there is none.
	Other *Segment

	Delay     time.Duration // of its way from the one capture to the other, with FatePassed
	Within    time.Duration // Delay is wrong by no more; that is how well the clocks are known
	Overtaken int           // how many that left later came near sooner, of the same connection and direction
}

// A Place is where a packet of captures of several places is found. The zero Place is
// that of a packet of one capture.
type Place struct {
	Tap    string // the name of the first capture that has it
	Packet int    // its number there
	Peer   int    // its number in the last other capture that has it; 0: none has
}

// PlaceOf returns the place of a packet that has those numbers in the captures of that
// names; 0: it is not there.
func PlaceOf(taps []string, frames []int) (p Place) {
	for i, frame := range frames {
		switch {
		case frame == 0:
		case p.Packet == 0:
			p.Tap, p.Packet = taps[i], frame
		default:
			p.Peer = frame
		}
	}
	return p
}

// Kept returns a Twin that holds longer than the one that is lent; nil of nil.
func (t *Twin) Kept() *Twin {
	if t == nil {
		return nil
	}
	kept := *t
	if t.Other != nil {
		other := *t.Other
		kept.Other = &other
	}
	return &kept
}
