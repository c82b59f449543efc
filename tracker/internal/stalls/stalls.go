// Package stalls is what is remembered of trouble in an open connection: the same
// octets again and again, probes without an answer, a window that stays closed.
package stalls

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// OfEnd is what an end of a connection went through.
type OfEnd struct {
	Data    Repeats    // copies of the octets at SND.UNA
	Probes  Repeats    // keepalive probes
	Shut    ShutWindow // its own window, while it is closed
	Beyond  Overshoot  // what it sent beyond its peer's window
	ICMP    IcmpError
	TooBig  TooBig
	Wrapped lap
}

// Repeats is what an end sent again and again.
type Repeats struct {
	Seq         tcp.Seq
	Size        tcp.Size
	Copies      int           // the first included
	First, Last tcp.Time      // when the first and the last copy were captured
	Gap         time.Duration // between the last two
	Doublings   int           // how often in a row the gap has grown, or is as long as it gets
	Heard       tcp.Time      // the peer's newest segment before the first
	Frames      [2]int        // of the first and the last copy
	HeardFrame  int           // 0: forgotten
}

const (
	// A gap between copies has grown if it is this many tenths of the one before.
	GrownTenths = 15
	// LongestRTO is where senders stop to double it: 64 s in 4.4BSD, 60 s as
	// RFC 6298 §2.5 allows, 120 s in Linux.
	LongestRTO = 60 * time.Second
	// KeepaliveRest is how long an end was silent before what is a keepalive
	// probe by its numbers. Nobody probes more often than once a second; an ACK
	// that the network held back comes sooner.
	KeepaliveRest = 500 * time.Millisecond
)

// Again notes one more copy.
func (w *Repeats) Again(s *tcp.Segment, now tcp.Time) {
	gap := now.Sub(w.Last)
	if w.Gap != 0 && (gap*10 >= w.Gap*GrownTenths || gap >= LongestRTO) {
		w.Doublings++
	} else {
		w.Doublings = 0
	}
	w.Gap, w.Last, w.Frames[1] = gap, now, s.Packet
	w.Copies++
}

// A ShutWindow is a window of zero.
type ShutWindow struct {
	Since, Until tcp.Time // 0: never; still
	SinceFrame   int
	UntilFrame   int
	Probes       int
	LastTime     tcp.Time // of the last probe
	Gap          time.Duration
	Frames       [2]int        // of the first and the last probe
	Earlier      time.Duration // how long it had been closed before, in all
}

// Close notes that the window is closed.
func (w *ShutWindow) Close(s *tcp.Segment, now tcp.Time) {
	earlier := w.Earlier
	if w.Since != 0 {
		earlier += w.Until.Sub(w.Since)
	}
	*w = ShutWindow{Since: now, SinceFrame: s.Packet, Earlier: earlier}
}

// An Overshoot is data that was sent beyond the window, until the receiver's
// next segments show whether it took them.
type Overshoot struct {
	At     tcp.Time // 0: none
	Seq    tcp.Seq
	End    tcp.Seq
	Edge   tcp.Seq
	Acked  tcp.Seq
	Frame  int
	Answer int // the frame in which the receiver refused it; 0: not yet
}

// OvershootMemory is how long an answer to an overshoot is waited for.
const OvershootMemory = 3 * time.Second

// An IcmpError is the newest ICMP error about segments of the end.
type IcmpError struct {
	At    tcp.Time // 0: none
	Frame int
	tcp.ICMP
}

// TooBig are the ICMP errors by which segments of the end do not fit the path.
type TooBig struct {
	Times    int
	Since    tcp.Time // when the first was captured
	Frames   [2]int   // the first and the newest
	tcp.ICMP          // the newest
}

// Quote notes an ICMP error that quotes a segment of the end. That one is too
// large does not displace that nobody can be reached.
func (o *OfEnd) Quote(s *tcp.Segment, now tcp.Time) {
	if o.ICMP.At == 0 || s.ICMP.Unreachable() {
		o.ICMP = IcmpError{At: now, Frame: s.Packet, ICMP: s.ICMP}
	}
	if !s.ICMP.TooBig() {
		return
	}
	if o.TooBig.Times++; o.TooBig.Times == 1 {
		o.TooBig.Since, o.TooBig.Frames[0] = now, s.Packet
	}
	o.TooBig.Frames[1], o.TooBig.ICMP = s.Packet, s.ICMP
}

// A lap is the end's way once round the sequence space.
type lap struct {
	Since, At         tcp.Time // 0: not known
	SinceFrame, Frame int
}

// Probe notes a probe of the window.
func (w *ShutWindow) Probe(s *tcp.Segment, now tcp.Time) {
	if w.Probes > 0 {
		w.Gap = now.Sub(w.LastTime)
	} else {
		w.Frames[0] = s.Packet
	}
	w.Probes++
	w.LastTime, w.Frames[1] = now, s.Packet
}
