package anomaly

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var clockStep = Kind{
	Name:     "clock-step",
	Severity: Notice,
	Title:    "Timestamps of the capture jump",
	RFC:      "RFC 7323 §5.4",
	Causes: []Cause{
		{"backward", "The capture's clock stepped back by {span} at frame {frame}. Until it has caught up, time stands still for the timers of the connections, and durations across this point are wrong. Captures joined out of order look the same."},
		{"forward", "The capture's clock stepped forward by up to {span} at frame {frame}: the timestamps of {sender} advanced by only {ticks} meanwhile, which is at most {ticks} s. Timers of the connections may have ended too early here, and durations across this point are wrong."},
	},
	Phrases: []Phrase{
		{"queues", "", " So do records of several queues that were written in blocks."},
	},
	Thresholds: []Threshold{
		{"step back, more than", health.ClockSlack, ""},
		{"segments in a row behind a step back, at least", health.ClockBehind, ""},
		{"step back that several queues do not explain, at least", health.CertainStep, ""},
		{"pause that may be a step forward, more than", health.ClockJump, ""},
		{"longest time from one timestamp of a sender to the next", health.SlowestTick, ""},
		{"steps that are told, at most", health.MaxClockSteps, ""},
	},
	Many: true,
}

var duplicateCapture = Kind{
	Name:     "duplicate-capture",
	Severity: Notice,
	Title:    "Same packets captured twice",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"several-interfaces", "Packets are recorded twice: {n} of the last {records} records are copies. The capture was made on several interfaces (\"any\", a bridge), or by a mirror port that copies both directions. The copies are left out."},
		{"both-sides-of-a-router", "Packets are recorded twice: {n} of the last {records} records are copies. The capture holds both sides of a router (TTL {before} and {after}). The copies are left out."},
	},
	Thresholds: []Threshold{
		{"records for each copy, at most", health.DuplicateShare, ""},
		{"copies, at least", health.MinDuplicates, ""},
		{"records in which they are counted", health.DuplicateWindow, ""},
	},
	Many: true,
}

// Fault reports what is odd about the capture itself.
func (b *Book) Fault(fault health.Fault, now tcp.Time) {
	k, f := findingOf(&fault)
	f.Evidence = fault.Frames[:]
	a := k.Found(nil, f)
	a.Time, a.Packet = now, fault.Packet
	b.tell(nil, &a)
}

// findingOf returns what is said of a fault of the capture.
func findingOf(fault *health.Fault) (*Kind, Finding) {
	switch fault.What {
	case health.ClockBack:
		f := Finding{Cause: "backward", Certain: ConfidenceAssumed, Values: Values{"span": fault.Span, "frame": fault.Frames[0]}}
		if fault.Span < health.CertainStep {
			f.Certain = ConfidenceAmbiguous
			f.Say("queues")
		}
		return &clockStep, f
	case health.ClockForward:
		return &clockStep, Finding{
			Cause: "forward", Certain: ConfidenceAssumed,
			Values: Values{"span": fault.Span, "frame": fault.Packet, "sender": fault.Sender, "ticks": fault.Ticks},
		}
	case health.CapturedTwice:
		f := Finding{
			Cause: "several-interfaces", Certain: ConfidenceAssumed,
			Values: Values{"n": fault.N, "records": fault.Records, "before": fault.TTLs[0], "after": fault.TTLs[1]},
		}
		if fault.Hops {
			f.Cause = "both-sides-of-a-router"
		}
		return &duplicateCapture, f
	case health.PayloadCut:
		return &snaplenTruncated, Finding{Cause: "payload", Certain: ConfidenceProved, Values: Values{"frame": fault.Packet}}
	default:
		return &badChecksum, Finding{Cause: "offload", Certain: ConfidenceAmbiguous, Values: Values{"n": fault.N, "host": fault.Host}}
	}
}
