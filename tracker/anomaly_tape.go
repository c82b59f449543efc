package tracker

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

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
		{"step back, more than", clockSlack, ""},
		{"segments in a row behind a step back, at least", clockBehind, ""},
		{"step back that several queues do not explain, at least", certainStep, ""},
		{"pause that may be a step forward, more than", clockJump, ""},
		{"longest time from one timestamp of a sender to the next", slowestTick, ""},
		{"steps that are told, at most", maxClockSteps, ""},
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
		{"records for each copy, at most", duplicateShare, ""},
		{"copies, at least", minDuplicates, ""},
		{"records in which they are counted", duplicateWindow, ""},
	},
	Many: true,
}

// Fault reports what is odd about the capture itself.
func (b *Book) Fault(fault Fault, now tcp.Time) {
	k, f := findingOf(&fault)
	f.evidence = fault.Frames[:]
	a := k.found(nil, f)
	a.Time, a.Packet = now, fault.Packet
	b.tell(nil, &a)
}

// findingOf returns what is said of a fault of the capture.
func findingOf(fault *Fault) (*Kind, finding) {
	switch fault.What {
	case ClockBack:
		f := finding{cause: "backward", certain: ConfidenceAssumed, values: values{"span": fault.Span, "frame": fault.Frames[0]}}
		if fault.Span < certainStep {
			f.certain = ConfidenceAmbiguous
			f.say("queues")
		}
		return &clockStep, f
	case ClockForward:
		return &clockStep, finding{
			cause: "forward", certain: ConfidenceAssumed,
			values: values{"span": fault.Span, "frame": fault.Packet, "sender": fault.Sender, "ticks": fault.Ticks},
		}
	case CapturedTwice:
		f := finding{
			cause: "several-interfaces", certain: ConfidenceAssumed,
			values: values{"n": fault.N, "records": fault.Records, "before": fault.TTLs[0], "after": fault.TTLs[1]},
		}
		if fault.Hops {
			f.cause = "both-sides-of-a-router"
		}
		return &duplicateCapture, f
	case PayloadCut:
		return &snaplenTruncated, finding{cause: "payload", certain: ConfidenceProved, values: values{"frame": fault.Packet}}
	default:
		return &badChecksum, finding{cause: "offload", certain: ConfidenceAmbiguous, values: values{"n": fault.N, "host": fault.Host}}
	}
}
