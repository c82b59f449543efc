package anomaly

import (
	"maps"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
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
	signs    []string // phrases
	refuted  bool
	values   Values // of the phrases
	evidence []int
}

// add adds a sign.
func (f *forgery) add(sign string, v Values, evidence ...int) {
	if f.values == nil {
		f.values = Values{}
	}
	f.signs = append(f.signs, sign)
	maps.Copy(f.values, v)
	f.evidence = append(f.evidence, evidence...)
}

// signs are the phrases for what can speak against a RST.
var signs = []Phrase{
	{"number", "reasons", "its seq {seq} is not the next number, {next}, nor that of an ACK toward it"},
	{"other-way", "reasons", "its TTL is {ttl} where all else from there has {usual}"},
	{"out-of-turn", "reasons", "its IP identification, {id}, does not follow {last}"},
	{"both-ends", "reasons", "both ends seem to reset at once"},
	{"differ", "reasons", "several differ within {apart}"},
	{"too-soon", "reasons", "it answers after {after}, where an answer from there takes {least} at least"},
	{"too-fast", "reasons", "it acknowledges #{acked} after {after}, where an answer from there takes {least} at least"},
}

// signTimes are by what a sign is told.
var signTimes = []Threshold{
	{"signs, at least", signsOfForgery, ""},
	{"segments that show what is usual for {X}, at most", habitsSeen, ""},
	{"IP identifications from one segment of {X} to the next, at most", recent.MaxIDStep, ""},
	{"time between RSTs that no end sends together, at most", burst, ""},
	{"shortest response of {X} that shows a RST to be too fast, at least", leastResponse, ""},
	{"times that a RST is faster than that, more than", tooFastTimes, ""},
}

// forgery looks for signs that the RST at hand is forged.
//
// A stack that answers without a connection uses its default TTL, the IP
// identification 0 and no options, whatever its sockets use; of such a RST the
// TTL tells nothing.
func (h *checkInput) forgery() (f forgery) {
	subject := h.x()
	if h.Before.SentAt[h.From] == 0 {
		return f // nothing to compare it with
	}
	habits := h.habits()
	reply := h.Before.RST == conn.ResetReply
	if h.Before.RST == conn.ResetUnmatched && h.S.Seq != subject.Nxt && !h.numberOfFIN() && !subject.Has(conn.Lossy) {
		f.add("number", Values{"seq": h.S.Seq, "next": subject.Nxt})
	}
	stateless := reply && h.S.ID == 0 && !h.S.Options.HasTS
	if !conn.SameWay(h.S.TTL, subject.TTL) && habits.oneWay && !stateless {
		f.add("other-way", Values{"ttl": h.S.TTL, "usual": subject.TTL}, habits.frames...)
	}
	if habits.counts && subject.OutOfTurn(h.S) {
		f.add("out-of-turn", Values{"id": h.S.ID, "last": subject.ID}, habits.frames...)
	}
	if !reply {
		h.burstOf(&f)
	}
	if asked, _ := h.idleReset(); h.Before.Device && asked == nil { // else it is middlebox-idle-drop
		if stateless || !habits.oneWay {
			f.add("other-way", Values{"ttl": h.S.TTL, "usual": subject.TTL}, habits.frames...)
		}
		f.add("too-soon", Values{"after": h.Now.Sub(h.Before.SentAt[h.From.Peer()]), "least": subject.Response()})
	}
	h.tooFast(&f)
	return f
}

// habits are how the alleged sender's newest segments look.
type habits struct {
	oneWay bool // all with one TTL, but for a hop
	counts bool // with IP identifications that count up
	frames []int
}

// habitsSeen is how many segments are looked at for what is usual.
const habitsSeen = 8

func (h *checkInput) habits() (u habits) {
	subject := h.x()
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
		u.oneWay = u.oneWay && conn.SameWay(g.TTL, subject.TTL)
	}
	u.oneWay = u.oneWay && seen > 0
	return u
}

// burstOf looks for other RSTs close by, that one end would not send with this
// one: of the same end with other numbers or other flags, or of both ends.
func (h *checkInput) burstOf(f *forgery) {
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
		case g.From == h.From && !differ && g.Is&recent.WasForeign != 0 && h.Before.RST == conn.ResetUnmatched && (g.Seq != h.S.Seq || (g.Flags^h.S.Flags)&tcp.ACK != 0):
			differ = true
			f.add("differ", Values{"apart": h.Now.Sub(g.At)}, g.Packet)
		}
	}
}

// tooFast looks whether the RST acknowledges what its alleged sender cannot
// have received yet. It takes that end part of its shortest response at least.
// Data are often acknowledged late, so the response to the handshake must have
// been measured; and a proxy that first dials its own connection is slow to
// answer a SYN, so it is a proof only where data were acknowledged too.
func (h *checkInput) tooFast(f *forgery) {
	subject, peer := h.x(), h.y()
	least := subject.Response()
	if !h.ScaleKnown() || peer.Copies > 1 || peer.Has(conn.HasFIN) || subject.Respond == 0 || least < leastResponse {
		return
	}
	if h.S.Flags&tcp.ACK == 0 || h.S.Ack != peer.Nxt || !peer.Has(conn.HasISS) || !subject.Has(conn.HasAcked) || !subject.Acked.Before(peer.Nxt) {
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
	f.add("too-fast", Values{"acked": newest.Packet, "after": h.Now.Sub(newest.At), "least": least}, newest.Packet)
	f.refuted = peer.ISS.Add(1).Before(subject.Acked) && len(f.signs) >= signsOfForgery // one delayed ACK is no measure of a path
}

var forgedRST = Kind{
	Name:     "forged-rst",
	Severity: Warning,
	Title:    "RST probably injected",
	RFC:      "RFC 3360, RFC 5961 §3",
	Causes: []Cause{
		{"", "A RST claims to come from {X}, but {reasons}."},
		{"data-after-rst", "The RST #{rst} claims to come from {X}, but {X} went on sending {span} later: somebody else sent it. {Y} took it, and answers what still comes with RST."},
	},
	Phrases: append([]Phrase{
		{"taken", "", " {Y} takes it. A firewall, a load balancer or an attacker on the path sent it."},
		{"not-taken", "", " {Y} does not take it. A device on the path or an attacker sent it."},
	}, signs...),
	Thresholds: append(slices.Clone(signTimes), dataAfterRST.Thresholds...),
	Moves: []SeverityMove{
		{"proved", Error, "if it acknowledges what {X} cannot have received yet, {X} acknowledged data before, and another sign speaks against it"},
		{"went-on", Error, "if {X} went on sending"},
	},
	Supersedes: []string{"data-after-rst", "rst-unmatched", "rst-out-of-window", "blind-rst-in-window", "linger-zero-abort"},
	on:         triggers.OnRST | triggers.OnUnsettled,
	only:       triggers.IfReset | triggers.IfRST,
	check: func(h *checkInput) *Finding {
		if h.S.Flags&tcp.RST == 0 {
			rst, ok := h.talksOn()
			if a := h.flagged("forged-rst", h.From); !ok || a != nil && a.Severity == Error {
				return nil
			}
			return &Finding{
				end:      h.From,
				Cause:    "data-after-rst",
				Certain:  ConfidenceProved,
				move:     "went-on",
				more:     true,
				Evidence: []int{rst.Packet(), h.S.Packet},
				Values:   Values{"rst": rst.Packet(), "span": h.Now.Sub(rst.At)},
			}
		}
		against := h.forgery()
		if !against.enough() {
			return nil
		}
		f := &Finding{
			end:      h.From,
			Certain:  ConfidenceAssumed,
			Evidence: append(against.evidence, h.S.Packet),
			phrases:  against.signs,
			Values:   against.values,
		}
		if against.refuted {
			f.move, f.Certain = "proved", ConfidenceProved
		}
		f.Say(either(h.Before.Accepted, "taken", "not-taken"))
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

var connectionTampering = Kind{
	Name:     "connection-tampering",
	Severity: Warning,
	Title:    "Early teardown matching a tampering signature",
	RFC:      "RFC 3360",
	Causes:   tamperings(),
	Phrases: append([]Phrase{
		{"signs", "why", ": {reasons}"},
		{"went-on", "", " {X} went on sending, which proves that it did not reset."},
	}, signs...),
	Thresholds: append([]Threshold{
		{"segments of the client, at most", tampering.EarlySegments, ""},
		{"silence of the client that counts as an end, at least", silence, ""},
		{"copies of the server's data in that time, at least", copiesIntoSilence, ""},
	}, slices.Concat(signTimes, dataAfterRST.Thresholds)...),
	Moves: []SeverityMove{
		{"went-on", Error, "if {X} went on sending"},
		{"silence", Info, "if the client only fell silent"},
	},
	on:   triggers.OnRST | triggers.OnUnsettled | triggers.OnEnd,
	only: triggers.IfReset | triggers.IfRST | triggers.IfRare,
	check: func(h *checkInput) *Finding {
		if h.Ends[tcp.Client].Packets > tampering.EarlySegments+stormSize {
			return nil
		}
		switch {
		case h.S == nil:
			return h.fellSilent()
		case h.S.Flags&tcp.RST != 0:
			return h.cutOff()
		}
		rst, ok := h.talksOn()
		if !ok {
			return nil
		}
		a := h.flagged("connection-tampering", h.From)
		if a == nil || a.Severity == Error {
			return nil
		}
		return &Finding{
			end:      h.From,
			Cause:    a.Cause,
			earlier:  a.Text,
			phrases:  []string{"went-on"},
			Certain:  ConfidenceProved,
			move:     "went-on",
			more:     true,
			Evidence: []int{rst.Packet(), h.S.Packet},
		}
	},
}

// tamperings are the causes of connection-tampering.
func tamperings() (list []Cause) {
	for _, s := range tampering.Stages {
		for _, how := range s.Ends {
			text := "The connection was cut off " + s.When + " by RST in the name of {X}, the pattern of a censor or firewall{why}."
			if how == "none" {
				text = "{X} fell silent " + s.When + ": {Y} repeated its data for {span} without an answer, and nobody closed. A firewall or censor that drops what it dislikes looks so; so does an outage."
			}
			list = append(list, Cause{s.Name + "-" + how, text})
		}
	}
	return list
}

// cutOff finds a RST that ends a young connection and does not look like its
// alleged sender's. A port that refuses, a client that gives up and a server
// that aborts look like themselves, and are not meant.
func (h *checkInput) cutOff() *Finding {
	earlier := h.flagged("connection-tampering", h.From) != nil
	if h.flagged("connection-tampering", h.From.Peer()) != nil || earlier && h.Before.RST == conn.ResetReply {
		return nil
	}
	against := h.forgery()
	ended := h.Before.Accepted || h.Before.States[tcp.Client] == tcp.Closed.Set() || h.Before.States[tcp.Server] == tcp.Closed.Set()
	if !earlier && !(against.enough() && ended) {
		return nil
	}
	o, whole := tampering.Look(h.Scene, h.From)
	if !whole {
		return nil
	}
	f := &Finding{
		end:      h.From,
		Cause:    o.Signature(),
		Certain:  ConfidenceAmbiguous,
		Evidence: o.Frames,
		more:     earlier,
		phrases:  against.signs,
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
func (h *checkInput) fellSilent() *Finding {
	c, s := &h.Ends[tcp.Client], &h.Ends[tcp.Server]
	if h.From != tcp.Client || h.Rare == nil || h.Rare.Retransmits[tcp.Server] < copiesIntoSilence || !h.visible(tcp.Client) || !h.visible(tcp.Server) ||
		(c.Bits|s.Bits)&conn.HasFIN != 0 || s.Bytes == 0 || !c.Acked.Before(s.Nxt) || !h.WasOpen(tcp.Client) || s.SentAt.Sub(c.SentAt) < silence {
		return nil
	}
	if h.HasBeyond(tcp.Client) || h.Rare.StallsOf(tcp.Server) != nil && h.Rare.StallsOf(tcp.Server).ICMP.At != 0 {
		return nil // it has what came behind those data, or an ICMP error says why they do not come through
	}
	o, whole := tampering.Look(h.Scene, tcp.Server)
	if !whole || len(o.Resets) > 0 || o.Stage() == tampering.LaterData {
		return nil
	}
	return &Finding{
		end:      tcp.Client,
		Cause:    tampering.Stages[o.Stage()].Name + "-none",
		Certain:  ConfidenceAmbiguous,
		Evidence: o.Frames,
		move:     "silence",
		Values:   Values{"span": s.SentAt.Sub(c.SentAt)},
	}
}
