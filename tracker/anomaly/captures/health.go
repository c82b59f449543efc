package captures

import (
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
)

var ClockStep = anomaly.Kind{
	Name:     "clock-step",
	Severity: anomaly.Notice,
	Title:    "Timestamps of the capture jump",
	RFC:      "RFC 7323 §5.4",
	Causes: []anomaly.Cause{
		{Name: "backward", Text: "The capture's clock stepped back by {span} at frame {frame}. Until the clock catches up, time stands still for the connection timers, and durations across this point are wrong. Captures joined out of order look the same."},
		{Name: "forward", Text: "The capture's clock stepped forward by up to {span} at frame {frame}. The timestamps of {sender} advanced by only {ticks} in that time, which is at most {ticks} s. Connection timers may have expired too early here, and durations across this point are wrong."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "queues", Text: " Records of several queues that were written in blocks also look the same."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "step back, more than", Value: health.ClockSlack},
		{Name: "segments in a row after a step back, at least", Value: health.ClockBehind},
		{Name: "step back that several queues do not explain, at least", Value: health.CertainStep},
		{Name: "pause that may be a step forward, more than", Value: health.ClockJump},
		{Name: "longest time from one timestamp of a sender to the next", Value: health.SlowestTick},
		{Name: "steps reported, at most", Value: health.MaxClockSteps},
	},
	Many: true,
}

var DuplicateCapture = anomaly.Kind{
	Name:     "duplicate-capture",
	Severity: anomaly.Notice,
	Title:    "Same packets captured twice",
	RFC:      "RFC 9293 §3.4",
	Next:     "Capture on one interface (not \"any\"), or mirror one direction of each port. If the copies are left out correctly, there is nothing to do.",
	Causes: []anomaly.Cause{
		{Name: "several-interfaces", Text: "Packets are recorded twice: {n} of the last {records} records are copies. The capture was made on several interfaces (\"any\", a bridge), or by a mirror port that copies both directions. The copies are left out."},
		{Name: "both-sides-of-a-router", Text: "Packets are recorded twice: {n} of the last {records} records are copies. The capture holds both sides of a router (TTL {before} and {after}). The copies are left out."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "records for each copy, at most", Value: health.DuplicateShare},
		{Name: "copies, at least", Value: health.MinDuplicates},
		{Name: "records in which they are counted", Value: health.DuplicateWindow},
	},
	Many: true,
}

// OfFault returns what is said of a fault of the capture.
func OfFault(fault *health.Fault) (*anomaly.Kind, anomaly.Finding) {
	k, f := saidOf(fault)
	f.Evidence = fault.Frames[:]
	return k, f
}

func saidOf(fault *health.Fault) (*anomaly.Kind, anomaly.Finding) {
	switch fault.What {
	case health.ClockBack:
		f := anomaly.Finding{Cause: "backward", Certain: anomaly.ConfidenceAssumed, Values: anomaly.Values{"span": fault.Span, "frame": fault.Frames[0]}}
		if fault.Span < health.CertainStep {
			f.Certain = anomaly.ConfidenceAmbiguous
			f.Say("queues")
		}
		return &ClockStep, f
	case health.ClockForward:
		return &ClockStep, anomaly.Finding{
			Cause: "forward", Certain: anomaly.ConfidenceAssumed,
			Values: anomaly.Values{"span": fault.Span, "frame": fault.Packet, "sender": fault.Sender, "ticks": fault.Ticks},
		}
	case health.CapturedTwice:
		f := anomaly.Finding{
			Cause: "several-interfaces", Certain: anomaly.ConfidenceAssumed,
			Values: anomaly.Values{"n": fault.N, "records": fault.Records, "before": fault.TTLs[0], "after": fault.TTLs[1]},
		}
		if fault.Hops {
			f.Cause = "both-sides-of-a-router"
		}
		return &DuplicateCapture, f
	case health.PayloadCut:
		return &SnaplenTruncated, anomaly.Finding{Cause: "payload", Certain: anomaly.ConfidenceProved, Values: anomaly.Values{"frame": fault.Packet}}
	default:
		return &BadChecksum, anomaly.Finding{Cause: "offload", Certain: anomaly.ConfidenceAmbiguous, Values: anomaly.Values{"n": fault.N, "host": fault.Host}}
	}
}
