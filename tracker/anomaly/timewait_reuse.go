package anomaly

import (
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

const safeText = "The ports were used again {span} after {X} entered TIME_WAIT, which is to last {hold}. That is allowed: {newer} all of the old connection, so no late segment of that can be taken for new data."

var timeWaitReuseSafe = Kind{
	Name:     "time-wait-reuse-safe",
	Severity: Info,
	Title:    "Ports reused inside TIME_WAIT, rules respected",
	RFC:      "RFC 9293 §3.6.1 MAY-2, RFC 6191 §2",
	Causes: []Cause{
		{"", safeText},
		{"linux", safeText + " {X} chose its first number as Linux does, {step} above the last."},
	},
	Phrases: []Phrase{
		{"numbers", "newer", "the sequence numbers of both ends begin above"},
		{"timestamps", "newer", "the timestamps of both ends are newer than"},
		{"one-each", "newer", "the sequence numbers of one end and the timestamps of the other are newer than"},
	},
	Thresholds: []Threshold{timeWaitTime, {"what Linux adds to its last number", reuse.LinuxISNStep, ""}},
	on:         triggers.OnMove,
	only:       triggers.IfSuccessor,
	check: func(h *checkInput) *Finding {
		r, ok := reuse.Of(h.Scene)
		if !ok || !r.Held || r.Behind[tcp.Client] || r.Behind[tcp.Server] || h.reported(h.Conn, "time-wait-reuse-safe") {
			return nil
		}
		syn, synACK := h.openingFrames()
		f := &Finding{
			end:      r.Holder,
			Certain:  ConfidenceAssumed,
			Evidence: []int{r.Began.Packet(), syn, synACK},
		}
		f.Values = Values{"span": r.Age, "hold": template.Hold(r.Hold), "step": reuse.LinuxISNStep}
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
	unsafeText = "The ports were used again {span} after {when}, with numbers that do not keep the two connections apart: {numbers}."
	liveText   = " A delayed segment of the old connection can be taken for new data; timestamps (RFC 7323) at both ends would prevent it."
	latentText = " No old segment fits yet; one can be taken for new data when the new connection reaches the old numbers soon."
	natText    = " The new segments look like those of another host: there may be several behind {host}."
)

var timeWaitReuseUnsafe = Kind{
	Name:     "time-wait-reuse-unsafe",
	Severity: Error,
	Title:    "Ports reused inside TIME_WAIT, old segments can leak in",
	RFC:      "RFC 9293 §3.6.1, RFC 1337 §2.1, RFC 6191 §2",
	Causes: []Cause{
		{"both-numbers-behind-live", unsafeText + liveText},
		{"both-numbers-behind-latent", unsafeText + latentText},
		{"syn-number-behind-live", unsafeText + liveText},
		{"syn-number-behind-latent", unsafeText + latentText},
		{"answer-number-behind-live", unsafeText + liveText},
		{"answer-number-behind-latent", unsafeText + latentText},
		{"time-wait-cut-short-live", unsafeText + liveText},
		{"time-wait-cut-short-latent", unsafeText + latentText},
		{"nat-live", unsafeText + liveText + natText},
		{"nat-latent", unsafeText + latentText + natText},
	},
	Phrases: []Phrase{
		{"held", "when", "{X} entered TIME_WAIT, which is to last {hold}"},
		{"reset", "when", "a RST ended {X}'s TIME_WAIT, which was to last {hold}"},
		{"never-held", "when", "a RST ended the last connection, for which nobody then held the {hold} of TIME_WAIT"},
		{"both", "numbers", "{A} begins at {A-new}, its old numbers went up to {A-old}; {B} begins at {B-new}, its old numbers went up to {B-old}"},
		{"one", "numbers", "{A} begins at {A-new}, its old numbers went up to {A-old}"},
	},
	Thresholds: []Threshold{timeWaitTime, {"life of a segment", reuse.SegmentLife, ""}},
	on:         triggers.OnMove,
	only:       triggers.IfSuccessor,
	check: func(h *checkInput) *Finding {
		r, ok := reuse.Of(h.Scene)
		if !ok || h.reported(h.Conn, "time-wait-reuse-unsafe") {
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
		syn, synACK := h.openingFrames()
		f := &Finding{
			end:      r.Holder,
			Cause:    h.reuseCause(&r, at),
			Certain:  ConfidenceAssumed,
			Evidence: append(r.Old.Frames(tcp.Client, tcp.SndFIN, tcp.SndRST), r.Old.Frames(tcp.Server, tcp.SndFIN, tcp.SndRST)...),
		}
		f.Evidence = append(f.Evidence, r.Began.Packet(), syn, synACK)
		f.Values = Values{"span": r.Age, "hold": template.Hold(r.Hold), "host": h.Addr(tcp.Client).Addr()}
		switch {
		case r.Held:
			f.Say("held")
		case r.Old.Passed(r.HolderThen, tcp.TimeWait):
			f.Say("reset")
		default:
			f.Say("never-held")
		}
		for i, e := range at {
			end := [2]string{"A", "B"}[i]
			f.Values[end], f.Values[end+"-new"], f.Values[end+"-old"] = h.Addr(e), h.Ends[e].ISS, r.Then(h.Scene, e).Nxt-1
		}
		f.Say(either(len(at) == 2, "both", "one"))
		return f
	},
}

// reuseCause names what is not as it should be, and whether it can do harm at
// once.
func (h *checkInput) reuseCause(r *reuse.Case, at []tcp.Endpoint) string {
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
func (h *checkInput) openingFrames() (syn, synACK int) {
	first, second := reuse.Opening(h.Scene)
	if first != nil {
		syn = first.Packet
	}
	if second != nil {
		synACK = second.Packet
	}
	return syn, synACK
}
