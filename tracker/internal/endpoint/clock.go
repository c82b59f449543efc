package endpoint

import (
	"cmp"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A tick is a Time in units of 1,024 ns, cut to 32 bits. Ages told from ticks
// hold up to 73 minutes, which is more than any timer here.
type tick uint32

func TickOf(t tcp.Time) tick { return tick(t >> 10) }

// Age returns how long ago k was.
func (k tick) Age(now tcp.Time) time.Duration { return time.Duration(TickOf(now)-k) << 10 }

const (
	responseUnit    = 1 << 16 // ns
	gapUnit         = 1 << 28 // ns, about a quarter of a second
	unknownResponse = 200 * time.Millisecond
	ResponseSlack   = 10 * time.Millisecond // stands for the variance, which is not measured
)

// Response is the end's response time seen from the tap: the shortest span
// from octets toward it to its ACK of them. Until one was measured it is
// 200 ms.
func (e *End) Response() time.Duration {
	if e.Respond == 0 {
		return unknownResponse
	}
	return time.Duration(e.Respond) * responseUnit
}

// InFlight is how long a segment captured toward the end may still be on its
// way, or the end's answer to it.
func (e *End) InFlight() time.Duration { return 2*e.Response() + ResponseSlack }

// clockGap is the span between the last two copies of the SYN or FIN.
func (e *End) clockGap() time.Duration { return time.Duration(e.Gap) * gapUnit }

// SetClock starts the end's timer. A further copy of a SYN or FIN tells the
// gap to the one before.
func (e *End) SetClock(now tcp.Time, again bool) {
	if again {
		e.BackOff(now)
		e.Copies += min(1, 255-e.Copies)
		return
	}
	e.Gap, e.Copies, e.Clock = 0, 1, TickOf(now)
}

// BackOff sets the end's timer again, after a pause that it doubles next time.
func (e *End) BackOff(now tcp.Time) {
	if e.Clock != TickOf(now) { // else it was just set
		e.Gap = uint8(min(e.Clock.Age(now)/gapUnit, 255))
		e.Clock = TickOf(now)
	}
}

// NextCopy is how long an end waits that has to repeat something, if it had to
// repeat its SYN or FIN: twice as long as the last time (RFC 6298 §5.5). 0: it
// repeated neither, or what it sent last is no copy.
func (x *End) NextCopy() time.Duration {
	if x.Copies < 2 {
		return 0
	}
	return 2*x.clockGap() + 2*gapUnit + time.Second
}

// Late is after how long octets that the end acknowledged will not be recorded
// any more.
func (e *End) Late() time.Duration { return max(CaptureSkew, time.Duration(e.Respond)*responseUnit) }

// CaptureSkew is how far apart two records may lie that the capture has in the
// wrong order: those of several queues, or of two taps.
const CaptureSkew = 5 * time.Millisecond

// Ask begins to measure the end's response time, by octets sent toward it
// that its ACK of the given number will cover.
func (x *End) Ask(until tcp.Seq, now tcp.Time) {
	x.Bits |= Probing
	x.probe, x.probeAt = until, TickOf(now)
}

// Answer takes the response time, if the end's ACK covers what is waited for.
func (x *End) Answer(ack tcp.Seq, now tcp.Time) {
	if x.Has(Probing) && x.probe.AtMost(ack) {
		x.Bits &^= Probing
		took := min(x.probeAt.Age(now)/responseUnit+1, 1<<16-1)
		if x.Respond == 0 || uint16(took) < x.Respond {
			x.Respond = uint16(took)
		}
	}
}

// The names of the timers, as records print them.
const (
	Timer2MSL     = "2msl"
	timerFinWait2 = "fin-wait-2"
	TimerSYN      = "syn"
	TimerSYNACK   = "syn-ack"
	timerFIN      = "fin"
	TimerRetries  = "retries" // of octets or keepalives, in an open connection
)

// A Timer is one that runs in an end. The zero timer is none.
type Timer struct {
	Name   string
	After  time.Duration
	ByStep bool // after the end's newest step by this input, not after its clock was set
	From   tcp.Input
}

// Timer returns the timer that runs in the end.
//
// A sender that repeats a SYN, SYN+ACK or FIN doubles the pause each time. When
// the next copy is overdue it has given up.
func (e *End) Timer(peer *End, twoMSL time.Duration) Timer {
	stack, overdue := e.Stack(), e.NextCopy()
	backsOff := e.Copies >= 2 && e.Gap > 0 // or else the copies answer those of the peer
	switch e.Assumed {
	case tcp.TimeWait.Set(), tcp.TimeWait.Set() | tcp.Closed.Set():
		return Timer{Name: Timer2MSL, After: cmp.Or(twoMSL, stack.TimeWait2MSL)}
	case tcp.FinWait2.Set():
		if stack.FinWait2 != 0 && !e.Has(StillReads) {
			return Timer{Name: timerFinWait2, After: stack.FinWait2}
		}
	case tcp.SynSent.Set():
		if stack.FixedGiveUp {
			return Timer{TimerSYN, stack.SynGiveUp, true, tcp.SndSYN}
		}
		if backsOff {
			return Timer{Name: TimerSYN, After: overdue}
		}
		return Timer{Name: TimerSYN, After: stack.SynGiveUp}
	case tcp.SynReceived.Set():
		if !e.Has(SentSYNACK) {
			if e.Has(SentSYN) {
				return Timer{Name: TimerSYN, After: stack.SynGiveUp} // two SYNs that nothing followed
			}
			break
		}
		if stack.FixedGiveUp {
			return Timer{TimerSYNACK, stack.SynAckGiveUp, true, tcp.RcvSYN}
		}
		if backsOff {
			return Timer{Name: TimerSYNACK, After: overdue}
		}
		return Timer{Name: TimerSYNACK, After: stack.SynAckGiveUp}
	case tcp.FinWait1.Set(), tcp.Closing.Set(), tcp.LastAck.Set():
		if !peer.Seen() {
			break // a one-way capture: the ACK would not be seen
		}
		if stack.LastAckGiveUp != 0 && e.Assumed == tcp.LastAck.Set() {
			return Timer{timerFIN, stack.LastAckGiveUp, true, tcp.SndFIN}
		}
		if e.Copies >= 3 {
			return Timer{Name: timerFIN, After: overdue}
		}
		return Timer{Name: timerFIN, After: stack.FinGiveUp}
	}
	return Timer{}
}
