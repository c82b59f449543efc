package timewait

import (
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/reuse"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A pair of addresses and ports may be used again while one of the ends holds
// TIME-WAIT, if no segment of the old connection can be taken for one of the
// new. RFC 6191 §2 and RFC 9293 §3.6.1 say when that is: in both directions the
// new numbers begin above the old ones, or newer timestamps let the receiver
// tell them apart (RFC 7323 §5.3).
//
// A SYN alone may be old or forged: the reuse is judged when the handshake of
// the new connection is complete.

const safeText = "The ports were reused {span} after {X} entered TIME_WAIT, which should last {hold}. This is allowed: {newer} all those of the old connection. No late segment of the old connection can be taken for new data."

var TimeWaitReuseSafe = anomaly.Kind{
	Name:     "time-wait-reuse-safe",
	Severity: anomaly.Info,
	Title:    "Ports reused inside TIME_WAIT, rules respected",
	RFC:      "RFC 9293 §3.6.1 MAY-2, RFC 6191 §2",
	Causes: []anomaly.Cause{
		{Text: safeText},
		{Name: "linux", Text: safeText + " {X} chose its initial sequence number as Linux does, {step} above the last number."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "numbers", In: "newer", Text: "the sequence numbers of both ends start above"},
		{Name: "timestamps", In: "newer", Text: "the timestamps of both ends are newer than"},
		{Name: "one-each", In: "newer", Text: "the sequence numbers of one end and the timestamps of the other are newer than"},
	},
	Thresholds: []anomaly.Threshold{timeWaitTime, {Name: "what Linux adds to its last number", Value: reuse.LinuxISNStep}},
	On:         triggers.OnMove,
	Only:       triggers.IfSuccessor,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		r, ok := reuse.Of(h.Scene)
		if !ok || !r.Held || r.Behind[tcp.Client] || r.Behind[tcp.Server] || h.Reported(h.Conn, "time-wait-reuse-safe") {
			return nil
		}
		syn, synACK := openingFrames(h)
		f := &anomaly.Finding{
			End:      r.Holder,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{r.Began.Packet(), syn, synACK},
		}
		f.Values = anomaly.Values{"span": r.Age, "hold": template.Hold(r.Hold), "step": reuse.LinuxISNStep}
		switch {
		case r.ByTime[tcp.Client] && r.ByTime[tcp.Server]:
			f.Say("timestamps")
		case r.ByTime[tcp.Client] || r.ByTime[tcp.Server]:
			f.Say("one-each")
		default:
			f.Say("numbers")
		}
		if r.LinuxISN(h.Scene, r.Holder) {
			f.Cause = "linux"
		}
		return f
	},
}

const (
	unsafeText = "The ports were reused {span} after {when}, with sequence numbers that do not separate the two connections: {numbers}."
	liveText   = " A delayed segment of the old connection can be taken for new data."
	latentText = " No old segment fits yet. One can be taken for new data if the new connection soon reaches the old numbers."
	natNext    = "Have the NAT at {host} wait {hold} after a connection ends before it gives the port to another connection."
	natText    = " The new segments look like those of another host: there may be several hosts behind {host}."
)

var TimeWaitReuseUnsafe = anomaly.Kind{
	Name:     "time-wait-reuse-unsafe",
	Severity: anomaly.Error,
	Title:    "Ports reused inside TIME_WAIT, old segments can leak in",
	RFC:      "RFC 9293 §3.6.1, RFC 1337 §2.1, RFC 6191 §2",
	Causes: []anomaly.Cause{
		{Name: "both-numbers-behind-live", Text: unsafeText + liveText},
		{Name: "both-numbers-behind-latent", Text: unsafeText + latentText},
		{Name: "syn-number-behind-live", Text: unsafeText + liveText},
		{Name: "syn-number-behind-latent", Text: unsafeText + latentText},
		{Name: "answer-number-behind-live", Text: unsafeText + liveText},
		{Name: "answer-number-behind-latent", Text: unsafeText + latentText},
		{Name: "time-wait-cut-short-live", Text: unsafeText + liveText},
		{Name: "time-wait-cut-short-latent", Text: unsafeText + latentText},
		{Name: "nat-live", Text: unsafeText + liveText + natText, Next: natNext},
		{Name: "nat-latent", Text: unsafeText + latentText + natText, Next: natNext},
	},
	Next: "Turn on timestamps (RFC 7323, net.ipv4.tcp_timestamps=1) at both ends. Let the client use more ports (net.ipv4.ip_local_port_range) or keep its connections open.",
	Phrases: []anomaly.Phrase{
		{Name: "held", In: "when", Text: "{X} entered TIME_WAIT, which should last {hold}"},
		{Name: "reset", In: "when", Text: "a RST ended {X}'s TIME_WAIT, which should have lasted {hold}"},
		{Name: "never-held", In: "when", Text: "a RST ended the last connection, so neither end held the {hold} of TIME_WAIT"},
		{Name: "both", In: "numbers", Text: "{A} starts at {A-new}, but its old numbers went up to {A-old}; {B} starts at {B-new}, but its old numbers went up to {B-old}"},
		{Name: "one", In: "numbers", Text: "{A} starts at {A-new}, but its old numbers went up to {A-old}"},
	},
	Thresholds: []anomaly.Threshold{timeWaitTime, {Name: "lifetime of a segment", Value: reuse.SegmentLife}},
	On:         triggers.OnMove,
	Only:       triggers.IfSuccessor,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		r, ok := reuse.Of(h.Scene)
		if !ok || h.Reported(h.Conn, "time-wait-reuse-unsafe") {
			return nil
		}
		var at []tcp.Endpoint // the ends whose new numbers do not stand clear
		for e := range tcp.Endpoint(2) {
			if r.Held && r.Behind[e] || !r.Held && r.Overlaps[e] {
				at = append(at, e)
			}
		}
		if len(at) == 0 {
			return nil
		}
		syn, synACK := openingFrames(h)
		f := &anomaly.Finding{
			End:      r.Holder,
			Cause:    reuseCause(h, &r, at),
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(r.Old.Frames(tcp.Client, tcp.SndFIN, tcp.SndRST), r.Old.Frames(tcp.Server, tcp.SndFIN, tcp.SndRST)...),
		}
		f.Evidence = append(f.Evidence, r.Began.Packet(), syn, synACK)
		f.Values = anomaly.Values{"span": r.Age, "hold": template.Hold(r.Hold), "host": h.Addr(tcp.Client).Addr()}
		switch {
		case r.Held:
			f.Say("held")
		case r.Old.Steps().Passed(r.HolderThen, tcp.TimeWait):
			f.Say("reset")
		default:
			f.Say("never-held")
		}
		for i, e := range at {
			end := [2]string{"A", "B"}[i]
			f.Values[end], f.Values[end+"-new"], f.Values[end+"-old"] = h.Addr(e), h.Ends[e].ISS, r.Then(h.Scene, e).Nxt-1
		}
		f.Say(anomaly.Either(len(at) == 2, "both", "one"))
		return f
	},
}

// reuseCause names what is not as it should be, and whether it can do harm at
// once.
func reuseCause(h *anomaly.Case, r *reuse.Case, at []tcp.Endpoint) string {
	what := "time-wait-cut-short"
	switch {
	case r.OtherHost(h.Scene, tcp.Client):
		what = "nat" // another host seems to use the same address
	case !r.Held:
	case len(at) == 2:
		what = "both-numbers-behind"
	case at[0] == tcp.Client:
		what = "syn-number-behind"
	default:
		what = "answer-number-behind"
	}
	if r.Live(h.Scene, at) {
		return what + "-live"
	}
	return what + "-latent"
}

// openingFrames is reuse.Opening for those who only cite it.
func openingFrames(h *anomaly.Case) (syn, synACK int) {
	first, second := reuse.Opening(h.Scene)
	if first != nil {
		syn = first.Packet
	}
	if second != nil {
		synACK = second.Packet
	}
	return syn, synACK
}
