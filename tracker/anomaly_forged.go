package tracker

import (
	"maps"
	"slices"
	"time"

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

// A forgery is what speaks against the RST that happens.
type forgery struct {
	signs    []string // phrases
	refuted  bool
	values   values // of the phrases
	evidence []int
}

// add adds a sign.
func (f *forgery) add(sign string, v values, evidence ...int) {
	if f.values == nil {
		f.values = values{}
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
	{"too-fast", "reasons", "it acknowledges #{acked} after {after}, where an answer from there takes {least} at least"},
}

// signTimes are by what a sign is told.
var signTimes = []Threshold{
	{"signs, if none proves it, at least", signsOfForgery, ""},
	{"segments that show what is usual for {X}, at most", habitsSeen, ""},
	{"IP identifications from one segment of {X} to the next, at most", maxIDStep, ""},
	{"time between RSTs that no end sends together, at most", burst, ""},
	{"shortest response of {X} that shows a RST to be too fast, at least", leastResponse, ""},
	{"times that a RST is faster than that, more than", tooFastTimes, ""},
}

// forgery looks for signs that the RST that happens is forged.
//
// A stack that answers without a connection uses its default TTL, the IP
// identification 0 and no options, whatever its sockets use; of such a RST the
// TTL tells nothing.
func (h *happening) forgery() (f forgery) {
	x := h.x()
	if h.before.sentAt[h.from] == 0 {
		return f // nothing to compare it with
	}
	habits := h.habits()
	reply := h.before.rst == resetReply
	if h.before.rst == resetUnmatched && h.s.Seq != x.nxt && !h.numberOfFIN() && !x.has(lossy) {
		f.add("number", values{"seq": h.s.Seq, "next": x.nxt})
	}
	stateless := reply && h.s.ID == 0 && !h.s.Options.HasTS
	if !sameWay(h.s.TTL, x.ttl) && habits.oneWay && !stateless {
		f.add("other-way", values{"ttl": h.s.TTL, "usual": x.ttl}, habits.frames...)
	}
	if habits.counts && x.outOfTurn(h.s) {
		f.add("out-of-turn", values{"id": h.s.ID, "last": x.id}, habits.frames...)
	}
	if !reply {
		h.burstOf(&f)
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

func (h *happening) habits() (u habits) {
	x := h.x()
	u.oneWay = true
	seen, steps, n, id := 0, 0, 0, uint16(0)
	for g := range h.back() {
		if n++; n > maxLookBack || seen == habitsSeen {
			break
		}
		if g.from != h.from || g.flags&tcp.RST != 0 || g.is&wasForeign != 0 {
			continue
		}
		if seen++; seen == 1 {
			u.frames = append(u.frames, g.packet)
		}
		u.oneWay = u.oneWay && sameWay(g.ttl, x.ttl)
		if g.id != 0 && id != 0 {
			if step := id - g.id; step == 0 || step > maxIDStep {
				steps = -habitsSeen
			}
			steps++
		}
		if g.id != 0 {
			id = g.id
		}
	}
	u.counts = steps > 0
	u.oneWay = u.oneWay && seen > 0
	return u
}

// burstOf looks for other RSTs close by, that one end would not send with this
// one: of the same end with other numbers or other flags, or of both ends.
func (h *happening) burstOf(f *forgery) {
	n, differ, both := 0, false, false
	for g := range h.back() {
		if n++; n > maxLookBack || h.now.Sub(g.at) > burst {
			return
		}
		if g.packet == h.s.Packet || g.flags&tcp.RST == 0 || g.is&wasReply != 0 {
			continue
		}
		switch {
		case g.from != h.from && !both:
			both = true
			f.add("both-ends", nil, g.packet)
		case g.from == h.from && !differ && g.is&wasForeign != 0 && h.before.rst == resetUnmatched && (g.seq != h.s.Seq || (g.flags^h.s.Flags)&tcp.ACK != 0):
			differ = true
			f.add("differ", values{"apart": h.now.Sub(g.at)}, g.packet)
		}
	}
}

// tooFast looks whether the RST acknowledges what its alleged sender cannot
// have received yet. It takes that end part of its shortest response at least.
// Data are often acknowledged late, so the response to the handshake must have
// been measured; and a proxy that first dials its own connection is slow to
// answer a SYN, so it is a proof only where data were acknowledged too.
func (h *happening) tooFast(f *forgery) {
	x, y := h.x(), h.y()
	least := x.response()
	if !h.scaleKnown() || y.copies > 1 || y.has(hasFIN) || x.respond == 0 || least < leastResponse {
		return
	}
	if h.s.Flags&tcp.ACK == 0 || h.s.Ack != y.nxt || !y.has(hasISS) || !x.has(hasAcked) || !x.acked.Before(y.nxt) {
		return
	}
	var newest *glimpse
	n := 0
	for g := range h.back() {
		if n++; n > maxLookBack {
			return
		}
		if g.from == h.from {
			continue
		}
		if g.end().Before(h.s.Ack) {
			break
		}
		if g.data > 0 || g.flags&(tcp.SYN|tcp.FIN) != 0 {
			newest = g // the first to reach that number
		}
	}
	if newest == nil || h.now.Sub(newest.at) >= least/tooFastTimes {
		return
	}
	f.add("too-fast", values{"acked": newest.packet, "after": h.now.Sub(newest.at), "least": least}, newest.packet)
	f.refuted = y.iss.Add(1).Before(x.acked)
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
		{"proved", Error, "if it acknowledges what {X} cannot have received yet, and {X} acknowledged data before"},
		{"went-on", Error, "if {X} went on sending"},
	},
	Supersedes: []string{"data-after-rst", "rst-unmatched", "rst-out-of-window", "blind-rst-in-window", "linger-zero-abort"},
	on:         onRST | onUnsettled,
	only:       isReset | isResetting,
	check: func(h *happening) *finding {
		if h.s.Flags&tcp.RST == 0 {
			rst, ok := h.talksOn()
			if a := h.flagged("forged-rst", h.from); !ok || a != nil && a.Severity == Error {
				return nil
			}
			return &finding{
				end:      h.from,
				cause:    "data-after-rst",
				certain:  ConfidenceProved,
				move:     "went-on",
				more:     true,
				evidence: []int{rst.packet(), h.s.Packet},
				values:   values{"rst": rst.packet(), "span": h.now.Sub(rst.at)},
			}
		}
		against := h.forgery()
		if !against.enough() {
			return nil
		}
		f := &finding{
			end:      h.from,
			certain:  ConfidenceAssumed,
			evidence: append(against.evidence, h.s.Packet),
			phrases:  against.signs,
			values:   against.values,
		}
		if against.refuted {
			f.move, f.certain = "proved", ConfidenceProved
		}
		if h.before.accepted {
			f.say("taken")
		} else {
			f.say("not-taken")
		}
		return f
	},
}

// enough reports whether the RST is forged, as far as can be told.
func (f *forgery) enough() bool { return len(f.signs) >= signsOfForgery || f.refuted }

// Of connection-tampering: how many segments of the client count as early, how
// long the silence must be that counts as an end, and how often the server repeats
// its data meanwhile.
const (
	earlySegments = 10
	silence       = 3 * time.Second

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
		{"segments of the client, at most", earlySegments, ""},
		{"silence of the client that counts as an end, at least", silence, ""},
		{"copies of the server's data in that time, at least", copiesIntoSilence, ""},
	}, slices.Concat(signTimes, dataAfterRST.Thresholds)...),
	Moves: []SeverityMove{
		{"proved", Error, "if the RST acknowledges what {X} cannot have received yet, and {X} acknowledged data before"},
		{"went-on", Error, "if {X} went on sending"},
		{"silence", Info, "if the client only fell silent"},
	},
	on:   onRST | onUnsettled | onEnd,
	only: isReset | isResetting | isOdd,
	check: func(h *happening) *finding {
		if h.ends[tcp.Client].packets > earlySegments+stormSize {
			return nil
		}
		switch {
		case h.s == nil:
			return h.fellSilent()
		case h.s.Flags&tcp.RST != 0:
			return h.cutOff()
		}
		rst, ok := h.talksOn()
		if !ok {
			return nil
		}
		a := h.flagged("connection-tampering", h.from)
		if a == nil || a.Severity == Error {
			return nil
		}
		return &finding{
			end:      h.from,
			cause:    a.Cause,
			told:     a.Text,
			phrases:  []string{"went-on"},
			certain:  ConfidenceProved,
			move:     "went-on",
			more:     true,
			evidence: []int{rst.packet(), h.s.Packet},
		}
	},
}

// opening is what the client delivered before the connection was cut off, and
// by what.
type opening struct {
	acked    bool
	data     int       // segments of the client with new octets
	resets   []tcp.Seq // the ACK fields of the RSTs, as sent, the newest first
	bare     int       // how many of them have no ACK flag
	segments int       // of the client, RSTs aside
	frames   []int
}

// opening looks back at the whole connection, as long as it is short. resetter
// is the end whose RSTs count.
func (h *happening) opening(resetter tcp.Endpoint) (o opening, whole bool) {
	n := 0
	for g := range h.back() {
		if n++; n > maxLookBack {
			return o, false
		}
		switch {
		case g.flags&tcp.RST != 0:
			if g.from == resetter {
				o.resets = append(o.resets, g.ack)
				if g.flags&tcp.ACK == 0 {
					o.bare++
				}
				o.frames = append(o.frames, g.packet)
			}
		case g.flags&tcp.FIN != 0:
			return o, false
		case g.from == tcp.Client && g.is&wasForeign == 0:
			o.segments++
			o.frames = append(o.frames, g.packet)
			o.acked = o.acked || g.flags&tcp.ACK != 0
			if g.data > 0 && g.flags&tcp.SYN == 0 && g.is&(wasOld|wasKeepalive) == 0 {
				o.data++
			}
		}
	}
	return o, o.segments > 0 && o.segments <= earlySegments && h.origin() == tcp.FromSYN
}

// stage is how far the client came: its place among the stages.
func (o *opening) stage() int {
	if !o.acked {
		return 0
	}
	return min(1+o.data, laterData)
}

const laterData = 3

// stages are those of a connection, in words and with the ways in which it is cut
// off there: "none" is silence.
var stages = [laterData + 1]struct {
	name, when string
	ends       []string
}{
	{"post-syn", "right after the SYN", []string{"rst", "rst-ack", "rst-and-rst-ack", "none"}},
	{"post-ack", "as soon as it was open", []string{"rst", "rst-ack", "rst-twice", "rst-ack-twice", "none"}},
	{"post-psh", "after the client's first data",
		[]string{"rst", "rst-ack", "rst-and-rst-ack", "rst-ack-twice", "rst-same-ack", "rst-ack-0", "rst-other-ack", "none"}},
	{"later-data", "after the client's first few segments", []string{"rst", "rst-ack"}},
}

// tamperings are the causes of connection-tampering.
func tamperings() (list []Cause) {
	for _, s := range stages {
		for _, how := range s.ends {
			text := "The connection was cut off " + s.when + " by RST in the name of {X}, the pattern of a censor or firewall{why}."
			if how == "none" {
				text = "{X} fell silent " + s.when + ": {Y} repeated its data for {span} without an answer, and nobody closed. A firewall or censor that drops what it dislikes looks so; so does an outage."
			}
			list = append(list, Cause{s.name + "-" + how, text})
		}
	}
	return list
}

// signature names what cut the connection off, as the stage has it.
func (o *opening) signature() string {
	stage, resets, withAck := stages[o.stage()].name, len(o.resets), len(o.resets)-o.bare
	sole := stage + "-rst"
	if o.bare == 0 {
		sole += "-ack"
	}
	switch {
	case stage == "later-data" || resets == 1:
		return sole
	case o.bare > 0 && withAck > 0 && stage != "post-ack":
		return stage + "-rst-and-rst-ack"
	case stage == "post-syn":
		return sole
	case o.bare == 0:
		return stage + "-rst-ack-twice"
	case stage == "post-ack":
		return stage + "-rst-twice"
	}
	same, zero := true, false
	for _, ack := range o.resets {
		same = same && ack == o.resets[0]
		zero = zero || ack == 0
	}
	switch {
	case same:
		return stage + "-rst-same-ack"
	case zero:
		return stage + "-rst-ack-0"
	}
	return stage + "-rst-other-ack"
}

// cutOff finds a RST that ends a young connection and does not look like its
// alleged sender's. A port that refuses, a client that gives up and a server
// that aborts look like themselves, and are not meant.
func (h *happening) cutOff() *finding {
	earlier := h.flagged("connection-tampering", h.from) != nil
	if h.flagged("connection-tampering", h.from.Peer()) != nil || earlier && h.before.rst == resetReply {
		return nil
	}
	against := h.forgery()
	ended := h.before.accepted || h.before.states[tcp.Client] == tcp.Closed.Set() || h.before.states[tcp.Server] == tcp.Closed.Set()
	if !earlier && !(against.enough() && ended) {
		return nil
	}
	o, whole := h.opening(h.from)
	if !whole {
		return nil
	}
	f := &finding{
		end:      h.from,
		cause:    o.signature(),
		certain:  ConfidenceAmbiguous,
		evidence: o.frames,
		more:     earlier,
		phrases:  against.signs,
		values:   against.values,
	}
	if against.refuted {
		f.move, f.certain = "proved", ConfidenceProved
	}
	if len(against.signs) > 0 {
		f.say("signs")
	}
	return f
}

// fellSilent finds a young connection in which the client went silent for good,
// so that the server's data, though repeated, are never acknowledged. A SYN that
// nothing follows is what every scan and every spoofed SYN leaves, and an open
// connection without data is only idle: neither tells of tampering, and so the
// signature of a lone SYN is not among the causes. Even this is more often an
// outage, and no more than a remark.
func (h *happening) fellSilent() *finding {
	c, s := &h.ends[tcp.Client], &h.ends[tcp.Server]
	if h.from != tcp.Client || h.odd == nil || h.odd.retransmits[tcp.Server] < copiesIntoSilence || !h.visible(tcp.Client) || !h.visible(tcp.Server) ||
		(c.bits|s.bits)&hasFIN != 0 || s.bytes == 0 || !c.acked.Before(s.nxt) || !h.wasOpen(tcp.Client) || s.sentAt.Sub(c.sentAt) < silence {
		return nil
	}
	o, whole := h.opening(tcp.Server)
	if !whole || len(o.resets) > 0 || o.stage() == laterData {
		return nil
	}
	return &finding{
		end:      tcp.Client,
		cause:    stages[o.stage()].name + "-none",
		certain:  ConfidenceAmbiguous,
		evidence: o.frames,
		move:     "silence",
		values:   values{"span": s.sentAt.Sub(c.sentAt)},
	}
}
