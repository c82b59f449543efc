package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var wanderingDuplicate = Kind{
	Name:     "wandering-duplicate",
	Severity: Warning,
	Title:    "Segment of a dead connection",
	RFC:      "RFC 9293 §3.4.1, §3.4.3, RFC 1337 §2",
	Causes: []Cause{
		{"", "Segment #{frame} of {X} ({what}) belongs to the connection that ended {ended} ago: {sent}. Something in the network held it back, or sent it again."},
	},
	Phrases: []Phrase{
		{"data", "what", "{n octets}, seq {seq}"},
		{"bare", "what", "{flags}, seq {seq}"},
		{"original", "sent", "it was sent {age} ago, first seen as #{original}"},
		{"original-not-seen", "sent", "it was sent at least {age} ago"},
	},
	Thresholds: []Threshold{{"time since it was sent, at least", wanders, ""}},
	on:         onRepeat | onStale | onUnsettled | onHaunted,
	only:       wasDead | isOdd,
	check: func(h *happening) *finding {
		if h.on&onHaunted != 0 {
			if k := h.hauntOf(h.from); k.packet == h.s.Packet && k.packet != 0 {
				return h.wanderer(k.original, k.age, h.now.Sub(k.ended), ConfidenceProved)
			}
		}
		return h.strayOfDead()
	},
}

// strayOfDead judges a segment that its own dead connection observed. Its sender
// is CLOSED there and stays so: it cannot have sent it now. A copy of what was
// captured proves itself. Anything else must repeat data, and have a timestamp
// older than the sender's last, or come when the ports already have a new
// connection. An older IP identification is not enough: some stacks draw them
// at random.
func (h *happening) strayOfDead() *finding {
	x := h.from
	if h.s.Flags&tcp.SYN != 0 || h.before.states[x] != tcp.Closed.Set() || h.ends[x].assumed != tcp.Closed.Set() || h.before.sentAt[x] == 0 {
		return nil
	}
	ended := h.endedBefore()
	if g := h.m.sameAs(h.Conn, h.s, x, h.s.Packet); g != nil {
		if age := h.s.Time.Sub(g.at); age >= wanders {
			return h.wanderer(g.packet, age, h.now.Sub(ended), ConfidenceProved)
		}
		return nil
	}
	if !h.old || h.s.Data == 0 {
		return nil
	}
	sentBy := max(h.before.sentAt[x], ended) // a closed end sends nothing more
	if h.s.Options.HasTS && h.x().has(hasTS) && int32(h.s.Options.TSVal-h.before.tsval[x]) < 0 {
		sentBy = h.before.sentAt[x]
	} else if n := h.newer(); n == nil || n.provisional() {
		return nil
	}
	if age := h.now.Sub(sentBy); age >= wanders {
		return h.wanderer(0, age, h.now.Sub(ended), ConfidenceAssumed)
	}
	return nil
}

// endedBefore returns when an end of the connection last changed its state
// before this segment.
func (h *happening) endedBefore() (at tcp.Time) {
	for _, st := range h.steps() {
		if st.at < h.now && !st.reopens() {
			at = max(at, st.at)
		}
	}
	return at
}

func (h *happening) wanderer(original int, age, ended time.Duration, certain Confidence) *finding {
	f := &finding{
		end:      h.from,
		certain:  certain,
		evidence: []int{original, h.s.Packet},
		values: values{
			"frame": h.s.Packet, "n": h.s.Data, "flags": h.s.Flags, "seq": h.s.Seq,
			"ended": ended, "age": age, "original": original,
		},
	}
	if h.s.Data > 0 {
		f.say("data")
	} else {
		f.say("bare")
	}
	if original != 0 {
		f.say("original")
	} else {
		f.say("original-not-seen")
	}
	return f
}

var timeWaitHazardH1 = Kind{
	Name:     "time-wait-hazard-h1",
	Severity: Error,
	Title:    "Old data accepted by a new connection",
	RFC:      "RFC 1337 §2.2",
	Causes: []Cause{
		{"", "A segment of the previous connection ({n octets}, seq {seq}, #{frame}, first seen as #{original}) fell into this one's window, and {Y} acknowledged it up to {ack}, while {X} had sent no more than up to {own}: {Y}'s application got wrong data. Find out why the ports were used again so early."},
	},
	Thresholds: []Threshold{{"time since the segment was sent, at least", wanders, ""}},
	Supersedes: []string{"wandering-duplicate"},
	on:         onHaunted,
	check: func(h *happening) *finding {
		y, x := h.from, h.from.Peer()
		k := h.hauntOf(x)
		if k.packet == 0 || k.seq == k.end || h.s.Flags&tcp.ACK == 0 || !h.before.acked[y].Before(k.end) || !k.end.AtMost(h.s.Ack) {
			return nil
		}
		own, ok := h.ownOctets(x, k)
		if !ok || !own.Before(k.end) || !h.visible(x) {
			return nil // it had sent all of that itself by then
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{k.original, k.packet, h.s.Packet},
			values: values{
				"n": k.end.Minus(k.seq), "seq": k.seq, "frame": k.packet, "original": k.original, "ack": h.s.Ack, "own": own,
			},
		}
	},
}

// ownOctets returns what follows the last octet that the end sent itself, the
// haunt not counted, as long as all since the haunt is remembered.
func (h *happening) ownOctets(x tcp.Endpoint, k haunt) (own tcp.Seq, ok bool) {
	own = k.nxt
	for g := range h.back() {
		if g.packet == k.packet {
			return own, true
		}
		if g.from == x && g.flags&tcp.RST == 0 {
			own = tcp.Later(own, g.end())
		}
	}
	return own, false
}

var timeWaitHazardH2 = Kind{
	Name:     "time-wait-hazard-h2",
	Severity: Error,
	Title:    "Old segment desynchronised a new connection",
	RFC:      "RFC 1337 §2.3",
	Causes: []Cause{
		{"", "A segment of the previous connection (seq {seq}, #{frame}, first seen as #{original}) left the two ends with different sequence numbers: {X} sends from {from}, {Y} expects {expected}. They answer each other's empty ACKs without end; only closing the connection helps."},
	},
	Thresholds: []Threshold{
		{"time since the segment was sent, at least", wanders, ""},
		{"empty ACKs in turn, at least", loopTurns, ""},
		{"time between two of them, at most", loopPause, ""},
	},
	Supersedes: []string{"wandering-duplicate", "ack-loop"},
	on:         onHaunted,
	check: func(h *happening) *finding {
		x, k := tcp.Client, h.hauntOf(tcp.Client)
		if k.packet == 0 {
			x, k = tcp.Server, h.hauntOf(tcp.Server)
		}
		if k.packet == 0 || !h.s.PureAck() {
			return nil
		}
		loop := h.loop(k.packet)
		if len(loop) < loopTurns {
			return nil
		}
		newest, other := loop[0], loop[1]
		if newest.from != x {
			newest, other = other, newest
		}
		if newest.seq == other.ack && other.seq == newest.ack {
			return nil // they agree
		}
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			evidence: []int{k.original, k.packet, loop[len(loop)-1].packet, loop[len(loop)-2].packet, loop[len(loop)-3].packet},
			values: values{
				"seq": k.seq, "frame": k.packet, "original": k.original, "from": newest.seq, "expected": other.ack,
			},
		}
	},
}

// loop returns the empty ACKs, newest first, that the ends sent in turns since
// the given frame, each end always the same.
func (h *happening) loop(since int) (run []*glimpse) {
	for g := range h.back() {
		n := len(run)
		if g.packet <= since || !g.pure() || n >= 1 && (run[n-1].from == g.from || run[n-1].at.Sub(g.at) > loopPause) ||
			n >= 2 && (run[n-2].seq != g.seq || run[n-2].ack != g.ack) {
			break
		}
		run = append(run, g)
		if n+1 == loopTurns {
			break
		}
	}
	return run
}

var timeWaitHazardH3 = Kind{
	Name:     "time-wait-hazard-h3",
	Severity: Error,
	Title:    "Old segment killed a new open",
	RFC:      "RFC 1337 §2.4",
	Causes: []Cause{
		{"", "An old segment (#{frame}, ack {ack}) made {X} answer with a RST (#{rst}), which hit the attempt to open that it was just making: {Y} forgot the attempt, the connection appeared open and died at once. Trying again works."},
	},
	Supersedes: []string{"wandering-duplicate"},
	on:         onRST,
	check: func(h *happening) *finding {
		x := &h.ends[tcp.Client]
		if h.from != tcp.Server || h.s.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.before.rst != resetReply || h.before.states[tcp.Client] != tcp.Established.Set() ||
			h.before.proved[tcp.Server] != tcp.SynReceived.Set() || !h.ends[tcp.Server].has(sentSYNACK) || h.s.Seq != h.ends[tcp.Server].iss+1 {
			return nil
		}
		stray, reset := h.strayAndReset(h.Conn)
		certain := ConfidenceAmbiguous // nothing shows how old the segment is
		if old := h.m.formerOf(h.Conn); reset == nil && old != nil {
			if stray, reset = h.strayAndReset(old); reset != nil {
				certain = ConfidenceAssumed
			}
		}
		_, synACK := h.synAndAnswer()
		if reset == nil || synACK == nil || !reset.seq.In(x.iss+1, synACK.ack.Add(tcp.Size(synACK.wnd))) {
			return nil // it cannot have hit the attempt
		}
		ack := 0
		for g := range h.back() {
			if g.from == tcp.Client && g.flags&tcp.RST == 0 {
				ack = g.packet
				break
			}
		}
		return &finding{
			end:      tcp.Client,
			certain:  certain,
			evidence: []int{stray.packet, reset.packet, synACK.packet, ack, h.s.Packet},
			values:   values{"frame": stray.packet, "ack": stray.ack, "rst": reset.packet},
		}
	},
}

// strayAndReset looks, in the connection or the one before it, for an ACK that
// reached the client while it was opening this one and could not be an answer
// to its SYN, and for the RST by which the client answered it.
func (h *happening) strayAndReset(c *Conn) (stray, reset *glimpse) {
	client := h.endIn(c, tcp.Client)
	for g := range h.m.trail.back(c) {
		switch {
		case g.at < h.start:
			return nil, nil
		case reset == nil && g.from == client && g.flags&(tcp.RST|tcp.ACK) == tcp.RST && g.seq != h.ends[tcp.Client].iss+1:
			reset = g
		case reset != nil && g.from != client && g.flags&(tcp.ACK|tcp.SYN|tcp.RST) == tcp.ACK && g.ack == reset.seq:
			return g, reset
		}
	}
	return nil, nil
}
