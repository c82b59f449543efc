package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// In an open connection both ends agree on the numbers: what one sends lies in
// the window of the other, and what one acknowledges the other has sent. Here
// is what breaks that.

const (
	// inversionSlack is how far apart a capture may have the two directions in
	// the wrong order.
	inversionSlack = 5 * time.Millisecond

	// An ACK loop has this many changes of direction at least, no two ACKs
	// further apart than the pause. Linux limits such answers to two a second.
	loopTurns = 5
	loopPause = time.Second

	// Up to so many IP identifications may be of segments that were not captured.
	idsMissed = 1<<8 - 2

	// farAway is where a sequence number tells nothing of before or behind.
	farAway = 1 << 30
)

// open are the states of an end that has a connection and has not closed it.
var open = tcp.Established.Set() | tcp.CloseWait.Set()

var halfOpenDiscovered = Kind{
	Name:     "half-open-discovered",
	Severity: Error,
	Title:    "One side had lost the connection",
	RFC:      "RFC 9293 §3.5.1",
	Causes: []Cause{
		{"data", "{X} no longer knows this connection: it answered {n octets} of data with RST seq {seq}{why}."},
		{"fin", "{X} no longer knows this connection: it answered a FIN with RST seq {seq}{why}."},
		{"keepalive", "{X} no longer knows this connection: it answered a keepalive with RST seq {seq}{why}."},
		{"new-syn", "{X} no longer knows this connection: it answered the ACK of its old numbers, which its new SYN had drawn, with RST seq {seq}{why}."},
	},
	Phrases: []Phrase{
		{"took-rst", "why", ", because it took the RST #{frame}"},
		{"lost", "", " It crashed or restarted, its process was killed, or a NAT or load balancer sent the segment elsewhere. {X} had last been heard {span} before."},
	},
	Moves: []SeverityMove{{"took-rst", Info, "if {X} had taken a RST that {Y} did not send"}},
	on:    onRST,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.s.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.before.rst != resetReply || !h.heldOpen(x) {
			return nil
		}
		if !h.before.states[y].Within(open | tcp.FinWait1.Set() | tcp.FinWait2.Set() | tcp.Closing.Set() | tcp.LastAck.Set()) {
			return nil
		}
		if asked, _ := h.idleReset(); asked != nil {
			return nil // middlebox-idle-drop
		}
		asked, normal := h.newest(y), h.newest(x)
		if asked == nil || asked.is&(wasStale|wasForeign) != 0 {
			return nil
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{asked.packet, h.s.Packet},
			values:   values{"n": asked.data, "seq": h.s.Seq, "span": h.now.Sub(h.before.sentAt[x])},
		}
		if normal != nil {
			f.evidence = append(f.evidence, normal.packet)
		}
		switch next := h.newer(); {
		case asked.data > 0:
			f.cause = "data"
		case asked.flags&tcp.FIN != 0:
			f.cause = "fin"
		case asked.is&wasKeepalive != 0:
			f.cause = "keepalive"
		case next != nil && next.addr(tcp.Client) == h.addr(x) && next.start > h.before.sentAt[x]:
			f.cause = "new-syn"
			f.evidence = append(f.evidence, next.frames(tcp.Client, tcp.SndSYN)...)
		default:
			return nil // an abort has the same numbers
		}
		rst, ok := h.find(x, tcp.RcvRST)
		if !ok {
			f.say("lost")
			return f
		}
		f.move = "took-rst"
		f.evidence = append(f.evidence, rst.packet())
		f.values["frame"] = rst.packet()
		f.say("took-rst")
		return f
	},
}

// heldOpen reports whether the end had the connection, as its own segments
// showed, and had closed or aborted it in no way that was seen. A RST that its
// alleged sender denies by going on may have ended it.
func (h *happening) heldOpen(x tcp.Endpoint) bool {
	if h.ends[x].has(hasFIN) || h.before.sentAt[x] == 0 || !h.before.proved[x].Within(open) {
		return false
	}
	if h.before.states[x].Within(open) {
		return true
	}
	state := tcp.Unknown
	for _, st := range h.steps() {
		if st.end() != x {
			continue
		}
		if ins := st.inputs(); ins.Has(tcp.RcvRST) || ins.Has(tcp.NoTCB) && st.packet() == h.s.Packet {
			return open.Has(state)
		}
		state = st.state()
	}
	return false
}

// newest returns the newest segment of the end before this one, or nil if that
// is forgotten.
func (h *happening) newest(e tcp.Endpoint) *glimpse {
	n := 0
	for g := range h.back() {
		if n++; n > lookBack {
			break
		}
		if n > 1 && g.from == e {
			return g
		}
	}
	return nil
}

var ackOfUnsentData = Kind{
	Name:     "ack-of-unsent-data",
	Severity: Warning,
	Title:    "ACK beyond anything sent",
	RFC:      "RFC 9293 §3.10.7.4, RFC 5961 §5",
	Causes: []Cause{
		{"", "{X} acknowledged {n octets} that {Y} had not sent: the two disagree about the numbers, the ACK was injected, or a middlebox changed it."},
	},
	Thresholds: []Threshold{
		{"time by which the ACK is too early, if the response time of {X} is not longer, more than", inversionSlack, ""},
		{"IP identifications that the capture does not have, if {Y} has not sent the octets before, at most", idsMissed, ""},
	},
	on: onBelow,
	check: func(h *happening) *finding {
		y, x := h.from, h.from.Peer()
		if h.stale || h.foreign || h.keepalive || h.old || !h.whole(y) || h.s.Flags&tcp.SYN != 0 || !h.before.nxt[y].Before(h.before.acked[x]) || !h.s.Seq.AtMost(h.before.nxt[y]) {
			return nil
		}
		slack := inversionSlack
		if h.ends[x].respond != 0 {
			slack = max(slack, h.ends[x].response())
		}
		ack, latest := h.firstAck(x, h.before.acked[x])
		if ack == nil || h.now.Sub(ack.at) <= slack || latest != 0 && latest.Sub(ack.at) > slack {
			return nil // not known, in the wrong order, or told before
		}
		if h.missed(y) || h.s.ID == 0 && !h.s.PureAck() {
			return nil // the capture may lack the octets, and this repeats them
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{ack.packet, h.s.Packet},
			values:   values{"n": h.before.acked[x].Minus(h.before.nxt[y])},
		}
	},
}

// firstAck returns the first segment of x that acknowledges just up to the
// number, as far as that is remembered, and when the peer was captured last
// before this segment.
func (h *happening) firstAck(x tcp.Endpoint, upTo tcp.Seq) (ack *glimpse, latest tcp.Time) {
	n := 0
	for g := range h.back() {
		if n++; n > lookBack {
			break
		}
		switch {
		case n == 1:
		case g.from != x && latest == 0:
			latest = g.at
		case g.from == x && g.flags&(tcp.ACK|tcp.RST) == tcp.ACK && g.ack == upTo:
			ack = g
		case g.from == x && ack != nil:
			return ack, latest
		}
	}
	return ack, latest
}

// missed reports whether the IP identification says that the capture lacks
// segments of the end before this one.
func (h *happening) missed(e tcp.Endpoint) bool {
	before := h.newest(e)
	if before == nil || h.s.ID == 0 || before.id == 0 {
		return false
	}
	between := h.s.ID - before.id - 1
	return 0 < between && between <= idsMissed
}

var ackLoop = Kind{
	Name:     "ack-loop",
	Severity: Error,
	Title:    "Two ends exchange empty ACKs for ever",
	RFC:      "RFC 1337 §2",
	Causes: []Cause{
		{"", "{first} (at {seq}) and {other} (at {seq2}) disagree about the sequence numbers, and each answers the other's ACKs with an ACK: {n} so far. Nothing can pass until one of them aborts."},
	},
	Thresholds: []Threshold{
		{"changes of direction, at least", loopTurns, ""},
		{"time between two ACKs, at most", loopPause, ""},
	},
	on: onBelow | onGap | onStale,
	check: func(h *happening) *finding {
		if !h.s.PureAck() || h.keepalive {
			return nil
		}
		var acks []*glimpse
		for g := range h.back() {
			if n := len(acks); n > 0 && (g.from == acks[n-1].from || acks[n-1].at.Sub(g.at) > loopPause) || !h.refusedAck(g) || n > lookBack {
				break
			}
			acks = append(acks, g)
		}
		n := len(acks)
		if n <= loopTurns {
			return nil
		}
		x, y := acks[n-1], acks[n-2]
		return &finding{
			end:      tcp.Client,
			certain:  ConfidenceAssumed,
			evidence: []int{x.packet, y.packet, acks[1].packet, acks[0].packet},
			values:   values{"first": h.addr(x.from), "seq": x.seq, "other": h.addr(y.from), "seq2": y.seq, "n": n},
		}
	},
}

// refusedAck reports whether the segment is a pure ACK that its receiver cannot
// accept: below what it has acknowledged, of what it has not sent, or with a
// timestamp older than what it has.
func (h *happening) refusedAck(g *glimpse) bool {
	x, y := &h.ends[g.from], &h.ends[g.from.Peer()]
	if !g.pure() || g.is&wasKeepalive != 0 {
		return false
	}
	return g.seq.Before(y.acked) || y.nxt.Before(g.ack) || g.tsval != 0 && x.has(hasTS) && g.is&wasStale != 0 && int32(g.tsval-x.tsval) < 0
}

var outOfWindowData = Kind{
	Name:     "out-of-window-data",
	Severity: Notice,
	Title:    "Data the receiver must refuse",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"above-window", "{X} sent octets {from} to {to}, but {Y} accepts {what}: the sender ignores the window, or the segment is forged. {Y} drops them."},
		{"below-window", "{X} sent octets {from} to {to}, but {Y} accepts {what}: an old duplicate of an earlier connection, or a forged segment. {Y} drops them."},
		{"", "{X} sent octets {from} to {to}, but {Y} accepts {what}: of another connection, corrupt, or forged. {Y} drops them."},
	},
	Phrases: []Phrase{
		{"window", "what", "{next} to {edge}"},
		{"no-scale", "what", "from {next} on"},
	},
	Thresholds: []Threshold{
		{"time for {Y} to answer octets above its window, at most", overshootMemory, ""},
		{"distance at which a number is neither before nor behind", farAway, ""},
	},
	on: onForeign | onWatched,
	check: func(h *happening) *finding {
		if h.foreign {
			return h.foreignData()
		}
		x := h.from.Peer()
		tr := h.odd.troubleOf(x)
		if tr == nil || tr.beyond.answer != h.s.Packet || tr.beyond.at == 0 {
			return nil
		}
		b := &tr.beyond
		return &finding{
			end:      x,
			cause:    "above-window",
			certain:  ConfidenceAssumed,
			evidence: []int{b.frame, b.answer},
			phrases:  []string{"window"},
			values:   values{"from": b.seq, "to": b.end - 1, "next": b.acked, "edge": b.edge - 1},
		}
	},
}

// foreignData reports data with numbers that the connection never had: before
// its first, or so far away that nothing tells on which side.
func (h *happening) foreignData() *finding {
	x, y := h.from, h.from.Peer()
	if h.s.Data == 0 || h.s.Flags&tcp.SYN != 0 || !h.ends[y].has(hasAcked) || !h.visible(x) {
		return nil
	}
	cause := ""
	switch d := int32(h.s.Seq - h.ends[x].nxt); {
	case h.ends[x].knowsISS() && h.s.Seq.Before(h.ends[x].iss) && d > -farAway && h.s.End().AtMost(h.ends[y].acked):
		cause = "below-window"
	case d > farAway || d < -farAway:
	default:
		return nil // it is the ACK field that does not fit
	}
	f := &finding{
		end:      x,
		cause:    cause,
		certain:  ConfidenceAssumed,
		evidence: []int{h.s.Packet},
		values:   values{"from": h.s.Seq, "to": h.s.Seq.Add(h.s.Data) - 1, "next": h.ends[y].acked, "edge": h.ends[y].edge - 1},
	}
	if h.scaleKnown() {
		f.say("window")
	} else {
		f.say("no-scale")
	}
	return f
}

var windowShrunk = Kind{
	Name:     "window-shrunk",
	Severity: Notice,
	Title:    "Right edge moved left",
	RFC:      "RFC 9293 §3.8.6",
	Causes: []Cause{
		{"", "{X} withdrew {least}{n octets} of window that it had offered. What {Y} had already sent into it is refused and must be sent again."},
	},
	Phrases: []Phrase{{"no-scale", "least", "at least "}},
	on:      onWindow,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.s.Flags&(tcp.SYN|tcp.FIN|tcp.RST|tcp.ACK) != tcp.ACK || h.stale || h.foreign || h.before.sentAt[x] == 0 || h.s.Ack.Before(h.before.acked[x]) {
			return nil
		}
		scale := h.ends[x].scale(&h.ends[y])
		edge := h.s.Ack.Add(tcp.Size(h.s.Wnd) << scale)
		last := h.before.acked[x].Add(tcp.Size(h.before.wnd[x]) << scale)
		before := h.newest(x)
		if before == nil || before.flags&(tcp.SYN|tcp.FIN) != 0 || !h.followsACK(before) || !edge.Before(last) || !edge.Before(h.before.edge[x]) {
			return nil
		}
		lost := h.before.edge[x].Minus(edge)
		if lost < 1<<scale {
			return nil // rounded to the scale
		}
		f := &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{before.packet, h.s.Packet},
			values:   values{"n": lost},
		}
		if !h.scaleKnown() {
			f.say("no-scale")
		}
		return f
	},
}

// followsACK reports whether the segment was sent after the one before it, as
// its ACK, its timestamp or its IP identification tells.
func (h *happening) followsACK(before *glimpse) bool {
	s, x := h.s, h.from
	return h.before.acked[x].Before(s.Ack) ||
		s.Options.HasTS && int32(s.Options.TSVal-h.before.tsval[x]) > 0 ||
		s.ID != 0 && before.id != 0 && s.ID-before.id-1 < maxIDStep
}
