package holes

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Gap is a stretch of an end's octets that its peer acknowledged before the
// capture had them.
type Gap struct {
	Is       GapState
	Beyond   bool // the end went on behind it
	Again    bool // the peer acknowledged it once more, and later
	Weighed  bool // whether it may hide a FIN
	From, To tcp.Seq
	At       tcp.Time // of the ACK
	Ack      int      // its frame
}

// GapState says what is known of a gap.
type GapState uint8

const (
	GapNone     GapState = iota
	GapOpen              // the octets may still come
	GapInverted          // they came right after: recorded in the wrong order
	GapLost              // the capture does not have them
)

// Size is how many sequence numbers are missing.
func (g *Gap) Size() tcp.Size { return g.To.Minus(g.From) }

// Due reports whether the octets would have come by now, where they come within
// the given time after their ACK or not at all.
func (g *Gap) Due(late time.Duration, now tcp.Time) bool { return now.Sub(g.At) > late }
