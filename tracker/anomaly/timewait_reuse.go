package anomaly

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/template"
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

// linuxISNStep is what Linux adds to the number after the last of the old
// connection for the first of the new one, at an end that leaves TIME-WAIT for
// it, as acceptor and, with tcp_tw_reuse, as opener.
const linuxISNStep = 65537

// segmentLife is the maximum segment lifetime of RFC 9293 §3.4.2: older
// segments wander no more.
const segmentLife = 120 * time.Second

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
	Thresholds: []Threshold{timeWaitTime, {"what Linux adds to its last number", linuxISNStep, ""}},
	on:         conn.OnMove,
	only:       conn.IfSuccessor,
	check: func(h *checkInput) *Finding {
		r, ok := h.reused()
		if !ok || !r.held || r.behind[tcp.Client] || r.behind[tcp.Server] || h.reported(h.Conn, "time-wait-reuse-safe") {
			return nil
		}
		syn, synACK := h.openingFrames()
		f := &Finding{
			end:      r.holder,
			Certain:  ConfidenceAssumed,
			Evidence: []int{r.began.Packet(), syn, synACK},
		}
		f.Values = Values{"span": r.age, "hold": template.Hold(r.hold), "step": linuxISNStep}
		switch {
		case r.byTime[tcp.Client] && r.byTime[tcp.Server]:
			f.Say("timestamps")
		case r.byTime[tcp.Client] || r.byTime[tcp.Server]:
			f.Say("one-each")
		default:
			f.Say("numbers")
		}
		if r.linuxISN(h, r.holder) {
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
	Thresholds: []Threshold{timeWaitTime, {"life of a segment", segmentLife, ""}},
	on:         conn.OnMove,
	only:       conn.IfSuccessor,
	check: func(h *checkInput) *Finding {
		r, ok := h.reused()
		if !ok || h.reported(h.Conn, "time-wait-reuse-unsafe") {
			return nil
		}
		var at []tcp.Endpoint // the ends whose new numbers do not stand clear
		for e := range tcp.Endpoint(2) {
			if r.held && r.behind[e] || !r.held && r.overlaps[e] {
				at = append(at, e)
			}
		}
		if len(at) == 0 {
			return nil
		}
		syn, synACK := h.openingFrames()
		f := &Finding{
			end:      r.holder,
			Cause:    r.cause(h, at),
			Certain:  ConfidenceAssumed,
			Evidence: append(r.old.Frames(tcp.Client, tcp.SndFIN, tcp.SndRST), r.old.Frames(tcp.Server, tcp.SndFIN, tcp.SndRST)...),
		}
		f.Evidence = append(f.Evidence, r.began.Packet(), syn, synACK)
		f.Values = Values{"span": r.age, "hold": template.Hold(r.hold), "host": h.Addr(tcp.Client).Addr()}
		switch {
		case r.held:
			f.Say("held")
		case r.old.Passed(r.holderThen, tcp.TimeWait):
			f.Say("reset")
		default:
			f.Say("never-held")
		}
		for i, e := range at {
			end := [2]string{"A", "B"}[i]
			f.Values[end], f.Values[end+"-new"], f.Values[end+"-old"] = h.Addr(e), h.Ends[e].ISS, r.then(h, e).Nxt-1
		}
		f.Say(either(len(at) == 2, "both", "one"))
		return f
	},
}

// A reuse is a connection that was just opened, seen beside the one before it
// on the same addresses and ports. Its ends are those of the new connection.
type reuse struct {
	old        *conn.Conn
	holder     tcp.Endpoint  // the end that had the duty to hold TIME-WAIT
	holderThen tcp.Endpoint  // the same, as an end of the old connection
	began      conn.Step     // the last step of its old self before the new connection
	age        time.Duration // from there, or from what restarted TIME-WAIT, to the new SYN
	hold       time.Duration // how long TIME-WAIT is to be held
	held       bool          // nothing was seen to end TIME-WAIT before the new SYN

	behind   [2]bool // the end's first number is not above its old ones, and no newer timestamp tells the two apart
	overlaps [2]bool // the same, and there were octets of data that can be taken for new ones
	byTime   [2]bool // the end's timestamps are newer than its old ones
	older    [2]bool // the end's timestamps are older: those of another host, perhaps
}

// reused tells of the connection before, if the segment completes a handshake
// within the TIME-WAIT of it, or within what would have been its TIME-WAIT had
// no RST ended it.
func (h *checkInput) reused() (r reuse, ok bool) {
	if h.S == nil || h.From != tcp.Client || h.Origin() != tcp.FromSYN || h.Before.States[tcp.Server] != tcp.SynReceived.Set() ||
		h.Ends[tcp.Server].Assumed&(tcp.SynReceived.Set()|tcp.Listen.Set()|tcp.Closed.Set()) != 0 || !h.Ends[tcp.Server].Has(conn.SentSYNACK) {
		return r, false
	}
	if r.old = h.M.FormerOf(h.Conn); r.old == nil {
		return r, false
	}
	syn, synACK := h.synAndAnswer()
	at := h.Start
	if syn != nil {
		at = syn.At
	}
	if !r.find(h, at) {
		return r, false
	}
	for e, s := range [2]*recent.Segment{tcp.Client: syn, tcp.Server: synACK} {
		x, then := &h.Ends[e], r.then(h, tcp.Endpoint(e))
		if !then.Seen() {
			continue // nothing to measure by
		}
		tsval := x.TSVal
		if s != nil && s.TSVal != 0 {
			tsval = s.TSVal
		}
		if x.Has(conn.HasTS) {
			r.byTime[e] = !then.Has(conn.HasTS) || int32(tsval-then.TSVal) > 0
			r.older[e] = then.Has(conn.HasTS) && int32(tsval-then.TSVal) < 0
		}
		r.behind[e] = x.ISS.AtMost(then.Nxt) && !r.byTime[e]
		r.overlaps[e] = x.ISS.Before(then.Nxt) && !r.byTime[e] && then.Bytes > 0
	}
	return r, true
}

// find looks for the end that holds, or should hold, TIME-WAIT, and reports
// whether the SYN that was accepted, sent at the given time, came too early.
func (r *reuse) find(h *checkInput, at tcp.Time) bool {
	for _, e := range [2]tcp.Endpoint{tcp.Server, tcp.Client} { // of two it is the acceptor that decides
		then := h.EndIn(r.old, e)
		x := &r.old.Ends[then]
		r.holder, r.holderThen, r.hold = e, then, h.M.TwoMSLOf(x.Stack())
		var ok bool
		if r.began, ok = r.old.IntoTimeWait(then); ok {
			r.held = true
			r.age = max(0, x.Clock.Age(h.Now)-h.Now.Sub(at))
			return r.age < r.hold
		}
		if r.began.Inputs()&(tcp.RcvRST.Set()|tcp.NoTCB.Set()) != 0 && r.old.Passed(then, tcp.TimeWait) {
			r.age = at.Sub(r.began.At)
			return 0 <= r.age && r.age < r.hold
		}
	}
	// Neither end came to TIME-WAIT: was it a RST that spared them it?
	r.holder, r.holderThen = tcp.Server, h.EndIn(r.old, tcp.Server)
	for _, st := range slices.Backward(r.old.Steps()) {
		if st.At < at && st.Inputs()&(tcp.RcvRST.Set()|tcp.RcvRSTPassive.Set()|tcp.SndRST.Set()|tcp.NoTCB.Set()) != 0 {
			r.began, r.age = st, at.Sub(st.At)
			return r.age < r.hold
		}
	}
	return false
}

// then returns what the host that is the end e now was in the old connection.
func (r *reuse) then(h *checkInput, e tcp.Endpoint) *conn.End { return &r.old.Ends[h.EndIn(r.old, e)] }

// acknowledged reports whether the holder was in TIME-WAIT indeed: it had
// acknowledged the FIN of the other end.
func (r *reuse) acknowledged() bool {
	x, y := &r.old.Ends[r.holderThen], &r.old.Ends[r.holderThen.Peer()]
	return x.Has(conn.HasAcked) && y.Has(conn.HasFIN) && y.FIN.Before(x.Acked)
}

// linuxISN reports whether the end chose its first number as Linux does when it
// leaves TIME-WAIT: it remembered the old connection.
func (r *reuse) linuxISN(h *checkInput, e tcp.Endpoint) bool {
	iss := r.then(h, e).Nxt.Add(linuxISNStep)
	if iss == 0 {
		iss = 1
	}
	return h.Ends[e].Has(conn.HasISS) && h.Ends[e].ISS == iss
}

// cause names what is not as it should be, and whether it can do harm at once.
func (r *reuse) cause(h *checkInput, at []tcp.Endpoint) string {
	what := "time-wait-cut-short"
	switch {
	case r.otherHost(h, tcp.Client):
		what = "nat" // another host seems to use the same address
	case !r.held:
	case len(at) == 2:
		what = "both-numbers-behind"
	case at[0] == tcp.Client:
		what = "syn-number-behind"
	default:
		what = "answer-number-behind"
	}
	if r.live(h, at) {
		return what + "-live"
	}
	return what + "-latent"
}

// otherHost reports whether the end looks like another host behind the address
// of its old self: its segments come another way, or its clock is behind.
func (r *reuse) otherHost(h *checkInput, e tcp.Endpoint) bool {
	return r.older[e] || !conn.SameWay(h.Ends[e].TTL, r.then(h, e).TTL)
}

// live reports whether a window of the new connection holds octets that the old
// one sent within the life of a segment.
func (r *reuse) live(h *checkInput, at []tcp.Endpoint) bool {
	return slices.ContainsFunc(at, func(e tcp.Endpoint) bool {
		y, then := &h.Ends[e.Peer()], h.EndIn(r.old, e)
		lowest, any := tcp.Seq(0), false
		for g := range h.M.Recent.Back(r.old) {
			if h.Now.Sub(g.At) > segmentLife {
				break
			}
			if g.From == then && g.Data > 0 && (!any || g.Seq.Before(lowest)) {
				lowest, any = g.Seq, true
			}
		}
		return any && y.Has(conn.HasAcked) && y.Acked.Before(r.old.Ends[then].Nxt) && lowest.Before(y.Edge)
	})
}

// synAndAnswer returns the newest SYN and SYN+ACK of the connection, nil where they
// are not remembered any more.
func (h *checkInput) synAndAnswer() (syn, synACK *recent.Segment) {
	for g := range h.Back() {
		switch {
		case synACK == nil && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK:
			synACK = g
		case syn == nil && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
			syn = g
		}
	}
	return syn, synACK
}

// openingFrames is synAndAnswer for those who only cite it.
func (h *checkInput) openingFrames() (syn, synACK int) {
	first, second := h.synAndAnswer()
	if first != nil {
		syn = first.Packet
	}
	if second != nil {
		synACK = second.Packet
	}
	return syn, synACK
}
