package recent

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// Newest is what a connection keeps of the newest segment of an end, RSTs aside,
// and of those before it, beside its numbers.
type Newest struct {
	Frame  uint32 // cut to 32 bits; 0: there is none
	Data   uint16 // octets of payload, up to 65,535
	Flags  uint8
	counts uint8 // of segments in the low half, of steps between IP identifications in the high one
}

const (
	countsMost = 1<<4 - 1 // that the low half holds
	// The high half counts steps forward up to inTurn. From outOfTurn, where a step
	// goes elsewhere, it counts on until as many have gone forward since.
	oneStep   = 1 << 4
	inTurn    = 7 * oneStep
	outOfTurn = 8 * oneStep
)

// MaxIDStep is how far apart the IP identifications of two segments of one end
// may lie, if it counts them.
const MaxIDStep = 1 << 10

// Take takes down a segment of the end, with new data or without, and the IP
// identification of the one before.
func (n *Newest) Take(s *tcp.Segment, before uint16, fresh bool) {
	n.Frame, n.Data, n.Flags = uint32(s.Packet), uint16(min(s.Data, 1<<16-1)), uint8(s.Flags)
	counts := n.counts
	if !fresh {
		counts |= countsMost
	}
	if counts != inTurn|countsMost || s.ID-before-1 >= MaxIDStep {
		n.step(s.ID, before, fresh)
	}
}

// step counts a segment that is not as most are, by its IP identification and
// that of the one before.
func (n *Newest) step(id, before uint16, fresh bool) {
	if fresh {
		n.CountUp()
	}
	if id == 0 || before == 0 {
		return
	}
	switch steps := n.counts &^ countsMost; {
	case id-before-1 >= MaxIDStep:
		n.counts = n.counts&countsMost | outOfTurn
	case steps == outOfTurn+inTurn-oneStep:
		n.counts = n.counts&countsMost | inTurn
	case steps != inTurn:
		n.counts += oneStep
	}
}

// CountUp counts one more, of what the end has to be counted.
func (n *Newest) CountUp() {
	if n.counts&countsMost != countsMost {
		n.counts++
	}
}

// Count returns how many were counted, up to 15.
func (n *Newest) Count() int { return int(n.counts & countsMost) }

// CountsIDs reports whether the IP identifications of the newest few segments
// count up.
func (n *Newest) CountsIDs() bool {
	steps := n.counts &^ countsMost
	return 0 < steps && steps <= inTurn
}
