package resets

import (
	"maps"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/established"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/tampering"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A RST in the name of an end that did not send it is never exactly what that
// end would have sent: the forger does not share its counters, its place in the
// network or its knowledge. What speaks against a RST is counted; one sign
// alone is none.

// signsOfForgery is how many signs make a RST a forged one.
const signsOfForgery = 2

// A burst is RSTs at most this far apart. No stack sends several that differ
// within it, but in reply to several segments.
const burst = 10 * time.Millisecond

// leastResponse is the shortest response time that is measured well enough to
// call a RST too fast.
const leastResponse = 2 * time.Millisecond

// tooFastTimes is how many times faster than that such a RST is.
const tooFastTimes = 2

// A forgery is what speaks against the RST at hand.
type forgery struct {
	signs    []string       // phrases
	values   anomaly.Values // of the phrases
	evidence []int
}

// add adds a sign.
func (f *forgery) add(sign string, v anomaly.Values, evidence ...int) {
	if f.values == nil {
		f.values = anomaly.Values{}
	}
	f.signs = append(f.signs, sign)
	maps.Copy(f.values, v)
	f.evidence = append(f.evidence, evidence...)
}

// signs are the phrases for what can speak against a RST.
var signs = []anomaly.Phrase{
	{Name: "number", In: "reasons", Text: "its seq {seq} is neither the next number, {next}, nor that of an ACK to {X}"},
	{Name: "other-way", In: "reasons", Text: "its TTL is {ttl} while other packets from there have {usual}"},
	{Name: "out-of-turn", In: "reasons", Text: "its IP identification, {id}, does not follow {last}"},
	{Name: "both-ends", In: "reasons", Text: "both ends seem to reset at the same time"},
	{Name: "differ", In: "reasons", Text: "several RSTs within {apart} differ"},
	{Name: "too-soon", In: "reasons", Text: "it answers after {after} while an answer from there takes at least {least}"},
	{Name: "too-fast", In: "reasons", Text: "it acknowledges #{acked} after {after} while an answer from there takes at least {least}"},
}

// signTimes are by what a sign is told.
var signTimes = []anomaly.Threshold{
	{Name: "signs, at least", Value: signsOfForgery},
	{Name: "segments that show what is usual for {X}, at most", Value: habitsSeen},
	{Name: "IP identifications from one segment of {X} to the next, at most", Value: recent.MaxIDStep},
	{Name: "time between RSTs that no end sends together, at most", Value: burst},
	{Name: "shortest response time of {X} that shows a RST to be too fast, at least", Value: leastResponse},
	{Name: "how many times faster than that the RST is, more than", Value: tooFastTimes},
}

// forgeryOf looks for signs that the RST at hand is forged.
//
// A stack that answers without a connection uses its default TTL, the IP
// identification 0 and no options, whatever its sockets use; of such a RST the
// TTL tells nothing.
func forgeryOf(h *anomaly.Case) (f forgery) {
	subject := h.X()
	if h.Before.SentAt[h.From] == 0 || h.S.Leg == tcp.Left {
		return f // nothing to compare it with; or it was captured where it left
	}
	habits := habitsOf(h)
	reply := h.Before.RST == rst.Reply
	if h.Before.RST == rst.Unmatched && h.S.Seq != subject.Nxt && !numberOfFIN(h) && !subject.Has(endpoint.Lossy) {
		f.add("number", anomaly.Values{"seq": h.S.Seq, "next": subject.Nxt})
	}
	stateless := reply && h.S.ID == 0 && !h.S.Options.HasTS
	if !endpoint.SameWay(h.S.TTL, subject.TTL) && habits.oneWay && !stateless {
		f.add("other-way", anomaly.Values{"ttl": h.S.TTL, "usual": subject.TTL}, habits.frames...)
	}
	if habits.counts && subject.OutOfTurn(h.S) {
		f.add("out-of-turn", anomaly.Values{"id": h.S.ID, "last": subject.ID}, habits.frames...)
	}
	if !reply {
		burstOf(h, &f)
	}
	if asked, _ := established.IdleReset(h); h.Before.Device && asked == nil { // else it is middlebox-idle-drop
		if stateless || !habits.oneWay {
			f.add("other-way", anomaly.Values{"ttl": h.S.TTL, "usual": subject.TTL}, habits.frames...)
		}
		f.add("too-soon", anomaly.Values{"after": h.Now.Sub(h.Before.SentAt[h.From.Peer()]), "least": subject.Response()})
	}
	tooFast(h, &f)
	return f
}

// habitsOf are how the alleged sender's newest segments look.
type habits struct {
	oneWay bool // all with one TTL, but for a hop
	counts bool // with IP identifications that count up
	frames []int
}

// habitsSeen is how many segments are looked at for what is usual.
const habitsSeen = 8

func habitsOf(h *anomaly.Case) (u habits) {
	subject := h.X()
	u.oneWay, u.counts = true, h.CountsIDs(h.From)
	seen := 0
	for g := range h.Recent() {
		if seen == habitsSeen {
			break
		}
		if g.From != h.From || g.Flags&tcp.RST != 0 || g.Is&recent.WasForeign != 0 {
			continue
		}
		if seen++; seen == 1 {
			u.frames = append(u.frames, g.Packet)
		}
		u.oneWay = u.oneWay && endpoint.SameWay(g.TTL, subject.TTL)
	}
	u.oneWay = u.oneWay && seen > 0
	return u
}

// burstOf looks for other RSTs close by, that one end would not send with this
// one: of the same end with other numbers or other flags, or of both ends.
func burstOf(h *anomaly.Case, f *forgery) {
	differ, both := false, false
	for g := range h.Recent() {
		if h.Now.Sub(g.At) > burst {
			return
		}
		if g.Packet == h.S.Packet || g.Flags&tcp.RST == 0 || g.Is&recent.WasReply != 0 {
			continue
		}
		switch {
		case g.From != h.From && !both:
			both = true
			f.add("both-ends", nil, g.Packet)
		case g.From == h.From && !differ && g.Is&recent.WasForeign != 0 && h.Before.RST == rst.Unmatched && (g.Seq != h.S.Seq || (g.Flags^h.S.Flags)&tcp.ACK != 0):
			differ = true
			f.add("differ", anomaly.Values{"apart": h.Now.Sub(g.At)}, g.Packet)
		}
	}
}

// tooFast looks whether the RST acknowledges what its alleged sender cannot
// have received yet. It takes that end part of its shortest response at least. It
// is no proof: data are often acknowledged late, a proxy that first dials its own
// connection is slow to answer a SYN, and so the path may be shorter.
func tooFast(h *anomaly.Case, f *forgery) {
	subject, peer := h.X(), h.Y()
	least := subject.Response()
	if !h.ScaleKnown() || peer.Copies > 1 || peer.Has(endpoint.HasFIN) || subject.Respond == 0 || least < leastResponse {
		return
	}
	if h.S.Flags&tcp.ACK == 0 || h.S.Ack != peer.Nxt || !peer.Has(endpoint.HasISS) || !subject.Has(endpoint.HasAcked) || !subject.Acked.Before(peer.Nxt) {
		return
	}
	var newest *recent.Segment
	n := 0
	for g := range h.Back() {
		if n++; n > conn.MaxLookBack {
			return
		}
		if g.From == h.From {
			continue
		}
		if g.End().Before(h.S.Ack) {
			break
		}
		if g.Data > 0 || g.Flags&(tcp.SYN|tcp.FIN) != 0 {
			newest = g // the first to reach that number
		}
	}
	if newest == nil || h.Now.Sub(newest.At) >= least/tooFastTimes {
		return
	}
	f.add("too-fast", anomaly.Values{"acked": newest.Packet, "after": h.Now.Sub(newest.At), "least": least}, newest.Packet)
}

// forgedNext is what to do about a RST that its alleged sender did not send.
const forgedNext = "Capture at {X}, and after each device on the path to {Y}. The first capture that shows the RST is after the device that sends it."

var ForgedRST = anomaly.Kind{
	Name:     "forged-rst",
	Severity: anomaly.Warning,
	Title:    "RST probably injected",
	RFC:      "RFC 3360, RFC 5961 §3",
	Causes: []anomaly.Cause{
		{Text: "A RST claims to come from {X}, but {reasons}."},
		{Name: "data-after-rst", Text: "The RST #{rst} claims to come from {X}, but {X} went on sending {span} later: somebody else sent it. {Y} accepted it, and answers what still comes with RST."},
	},
	Phrases: append([]anomaly.Phrase{
		{Name: "taken", Text: " {Y} accepts it. A firewall, a load balancer or an attacker on the path sent it."},
		{Name: "not-taken", Text: " {Y} does not accept it. A device on the path or an attacker sent it."},
	}, signs...),
	Thresholds: append(slices.Clone(signTimes), DataAfterRST.Thresholds...),
	Moves: []anomaly.SeverityMove{
		{Name: "went-on", To: anomaly.Error, When: "if {X} went on sending"},
	},
	Next:       forgedNext,
	Supersedes: []string{"data-after-rst", "rst-unmatched", "rst-out-of-window", "blind-rst-in-window", "linger-zero-abort", "connection-reset"},
	On:         triggers.OnRST | triggers.OnUnsettled,
	Only:       triggers.IfReset | triggers.IfRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.S.Flags&tcp.RST == 0 {
			rst, ok := talksOn(h)
			if a := h.Flagged("forged-rst", h.From); !ok || a != nil && a.Severity == anomaly.Error {
				return nil
			}
			return &anomaly.Finding{
				End:      h.From,
				Cause:    "data-after-rst",
				Certain:  denial(h),
				Move:     "went-on",
				More:     true,
				Evidence: []int{rst.Packet(), h.S.Packet},
				Values:   anomaly.Values{"rst": rst.Packet(), "span": h.Now.Sub(rst.At)},
			}
		}
		against := forgeryOf(h)
		if !against.enough() {
			return nil
		}
		f := &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(against.evidence, h.S.Packet),
			Phrases:  against.signs,
			Values:   against.values,
		}
		f.Say(anomaly.Either(h.Before.Accepted, "taken", "not-taken"))
		return f
	},
}

// enough reports whether the RST is forged, as far as can be told.
func (f *forgery) enough() bool { return len(f.signs) >= signsOfForgery }

// Of connection-tampering: how long the silence must be that counts as an end, and
// how often the server repeats its data meanwhile.
const (
	silence = 3 * time.Second

	copiesIntoSilence = 2
)

var ConnectionTampering = anomaly.Kind{
	Name:     "connection-tampering",
	Severity: anomaly.Warning,
	Title:    "Early teardown matching a tampering signature",
	RFC:      "RFC 3360",
	Causes:   tamperings(),
	Phrases: append([]anomaly.Phrase{
		{Name: "signs", In: "why", Text: ": {reasons}"},
		{Name: "went-on", Text: " {X} went on sending, so it did not reset."},
	}, signs...),
	Thresholds: append([]anomaly.Threshold{
		{Name: "segments of the client, at most", Value: tampering.EarlySegments},
		{Name: "silence of the client that counts as an end, at least", Value: silence},
		{Name: "copies of the server's data in that time, at least", Value: copiesIntoSilence},
	}, slices.Concat(signTimes, DataAfterRST.Thresholds)...),
	Next: "Capture at {X} too. Repeat over another network or with other content, to see on which path and at which content the connection is cut off.",
	Moves: []anomaly.SeverityMove{
		{Name: "went-on", To: anomaly.Error, When: "if {X} went on sending"},
		{Name: "silence", To: anomaly.Info, When: "if the client only fell silent"},
	},
	On:   triggers.OnRST | triggers.OnUnsettled | triggers.OnEnd,
	Only: triggers.IfReset | triggers.IfRST | triggers.IfRare,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.Ends[tcp.Client].Packets > tampering.EarlySegments+stormSize {
			return nil
		}
		switch {
		case h.S == nil:
			return fellSilent(h)
		case h.S.Flags&tcp.RST != 0:
			return cutOff(h)
		}
		rst, ok := talksOn(h)
		if !ok {
			return nil
		}
		a := h.Flagged("connection-tampering", h.From)
		if a == nil || a.Severity == anomaly.Error {
			return nil
		}
		return &anomaly.Finding{
			End:      h.From,
			Cause:    a.Cause,
			Earlier:  a.Text,
			Phrases:  []string{"went-on"},
			Certain:  denial(h),
			Move:     "went-on",
			More:     true,
			Evidence: []int{rst.Packet(), h.S.Packet},
		}
	},
}

// tamperings are the causes of connection-tampering.
func tamperings() (list []anomaly.Cause) {
	for _, s := range tampering.Stages {
		for _, how := range s.Ends {
			text := "A RST with source {X} cut off the connection " + s.When + "{why}. This is the pattern of a censor or firewall."
			if how == "none" {
				text = "{X} fell silent " + s.When + ". {Y} retransmitted its data for {span} without an answer, and neither end closed. A firewall or censor that drops unwanted traffic looks like this. An outage looks the same."
			}
			list = append(list, anomaly.Cause{Name: s.Name + "-" + how, Text: text})
		}
	}
	return list
}

// cutOff finds a RST that ends a young connection and does not look like its
// alleged sender's. A port that refuses, a client that gives up and a server
// that aborts look like themselves, and are not meant.
func cutOff(h *anomaly.Case) *anomaly.Finding {
	earlier := h.Flagged("connection-tampering", h.From) != nil
	if h.Flagged("connection-tampering", h.From.Peer()) != nil || earlier && h.Before.RST == rst.Reply {
		return nil
	}
	against := forgeryOf(h)
	ended := h.Before.Accepted || h.Before.States[tcp.Client] == tcp.Closed.Set() || h.Before.States[tcp.Server] == tcp.Closed.Set()
	if !earlier && !(against.enough() && ended) {
		return nil
	}
	o, whole := tampering.Look(h.Scene, h.From)
	if !whole {
		return nil
	}
	f := &anomaly.Finding{
		End:      h.From,
		Cause:    o.Signature(),
		Certain:  anomaly.ConfidenceAmbiguous,
		Evidence: o.Frames,
		More:     earlier,
		Phrases:  against.signs,
		Values:   against.values,
	}
	if len(against.signs) > 0 {
		f.Say("signs")
	}
	return f
}

// fellSilent finds a young connection in which the client went silent for good,
// so that the server's data, though repeated, are never acknowledged. A SYN that
// nothing follows is what every scan and every spoofed SYN leaves, and an open
// connection without data is only idle: neither tells of tampering, and so the
// signature of a lone SYN is not among the causes. Even this is more often an
// outage, and no more than a remark.
func fellSilent(h *anomaly.Case) *anomaly.Finding {
	c, s := &h.Ends[tcp.Client], &h.Ends[tcp.Server]
	if h.From != tcp.Client || h.Rare == nil || h.Rare.Retransmits[tcp.Server] < copiesIntoSilence || !h.Visible(tcp.Client) || !h.Visible(tcp.Server) ||
		(c.Bits|s.Bits)&endpoint.HasFIN != 0 || s.Bytes == 0 || !c.Acked.Before(s.Nxt) || !h.WasOpen(tcp.Client) || s.SentAt.Sub(c.SentAt) < silence {
		return nil
	}
	if h.HasBeyond(tcp.Client) || h.Flagged("pmtu-black-hole", tcp.Server) != nil || h.Rare.StallsOf(tcp.Server) != nil && h.Rare.StallsOf(tcp.Server).ICMP.At != 0 {
		return nil // it has what came behind those data, or an ICMP error says why they do not come through
	}
	o, whole := tampering.Look(h.Scene, tcp.Server)
	if !whole || len(o.Resets) > 0 || o.Stage() == tampering.LaterData {
		return nil
	}
	return &anomaly.Finding{
		End:      tcp.Client,
		Cause:    tampering.Stages[o.Stage()].Name + "-none",
		Certain:  anomaly.ConfidenceAmbiguous,
		Evidence: o.Frames,
		Move:     "silence",
		Values:   anomaly.Values{"span": s.SentAt.Sub(c.SentAt)},
	}
}
