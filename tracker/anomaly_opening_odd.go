package tracker

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Handshakes that are not the three segments of RFC 9293 figure 6: two ends
// that open at once, one that opens to itself, and answers to SYNs that nobody
// sent, or not now.

const (
	// The real SYN follows an old one that was rejected within this time.
	oldSYNFollowed = 5 * time.Second

	// The hundredths of the time that an answer takes, after which a SYN may be
	// an answer too: a quarter is jitter.
	answerShare = 75

	// An answer, or the RST to one, comes within this time.
	promptly = time.Second
)

var simultaneousOpen = Kind{
	Name:     "simultaneous-open",
	Severity: Notice,
	Title:    "Both sides dialled each other",
	RFC:      "RFC 9293 §3.5 figure 7",
	Causes:   []Cause{{"", "{X} and {Y} opened the same connection at the same time; one connection results. Both ends opened actively: there is no server in it."}},
	Thresholds: []Threshold{
		{"time between the SYNs, in hundredths of what an answer takes, less than", answerShare, ""},
	},
	on:   onSYNACK | onUnsettled,
	only: isDialled,
	check: func(h *happening) *finding {
		if h.dialled() != bothDialled {
			return nil
		}
		return &finding{
			end:      tcp.Client,
			evidence: append(append(append(h.framesOf(tcp.Client, tcp.SYN), h.framesOf(tcp.Server, tcp.SYN)...), h.framesOf(tcp.Client, tcp.SYN|tcp.ACK)...), h.framesOf(tcp.Server, tcp.SYN|tcp.ACK)...),
		}
	},
}

var splitHandshake = Kind{
	Name:     "split-handshake",
	Severity: Warning,
	Title:    "Listener answered SYN with a bare SYN",
	RFC:      "RFC 9293 §3.5 figure 7",
	Causes: []Cause{
		{"", "{X} answered the SYN of {Y} with a SYN of its own instead of SYN+ACK (a split handshake); some firewalls and filters then take the client for the server. No ordinary stack does this when it listens."},
	},
	Thresholds: []Threshold{
		{"time between the SYNs, in hundredths of what an answer takes, at least", answerShare, ""},
	},
	on:   onSYNACK | onUnsettled,
	only: isDialled,
	check: func(h *happening) *finding {
		if h.dialled() != splitAnswer {
			return nil
		}
		x, y := h.from.Peer(), h.from
		return &finding{
			end:      y,
			certain:  ConfidenceAssumed,
			evidence: append(append(h.framesOf(x, tcp.SYN), h.framesOf(y, tcp.SYN)...), append(h.framesOf(x, tcp.SYN|tcp.ACK), h.s.Packet)...),
		}
	},
}

// dialling says how two bare SYNs on one pair of ports came about.
type dialling uint8

const (
	oneDialled dialling = iota
	bothDialled
	splitAnswer
)

// dialled tells a simultaneous open from a split handshake, at the segment that
// decides. An end that gets a SYN while its own is under way answers SYN+ACK,
// and so both ends do. A listener that split its answer has nothing more to
// answer than ACK. It also cannot have sent its SYN sooner after the client's
// than it takes to answer anything; which tells where a SYN+ACK was lost.
func (h *happening) dialled() dialling {
	x, y := h.from.Peer(), h.from
	if h.s == nil || h.self() || !h.ends[x].has(sentSYN) || !h.ends[y].has(sentSYN) || !h.ends[x].has(sentSYNACK) {
		return oneDialled
	}
	if h.ends[y].has(sentSYNACK) {
		if _, again := h.lastSent(y, tcp.SYN|tcp.ACK); h.on&onSYNACK == 0 || again {
			return oneDialled
		}
		return bothDialled
	}
	synAck, ok := h.lastSent(x, tcp.SYN|tcp.ACK)
	if !ok || h.s.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || !synAck.seq.Before(h.s.Ack) {
		return oneDialled
	}
	if _, again := h.ackOf(synAck); again {
		return oneDialled
	}
	own, ok1 := h.lastSent(y, tcp.SYN)
	other, ok2 := h.lastSent(x, tcp.SYN)
	if !ok1 || !ok2 {
		return oneDialled
	}
	gap, took := own.at.Sub(other.at), h.now.Sub(synAck.at)
	if 100*gap < answerShare*took {
		return bothDialled
	}
	return splitAnswer
}

var selfConnect = Kind{
	Name:     "self-connect",
	Severity: Notice,
	Title:    "Connection to itself",
	RFC:      "RFC 9293 §3.5 figure 7",
	Causes: []Cause{
		{"", "Port {X.port} of {X.ip} connected to itself: the port that the system chose for the client was the one to connect to, where nobody listened. The program now talks to itself, and the real server cannot bind the port."},
	},
	on: onSYNACK,
	check: func(h *happening) *finding {
		if !h.self() || h.from != tcp.Server {
			return nil
		}
		return &finding{end: tcp.Client, evidence: append(h.framesOf(tcp.Client, tcp.SYN), h.s.Packet)}
	},
}

var oldDuplicateSYN = Kind{
	Name:     "old-duplicate-syn",
	Severity: Notice,
	Title:    "SYN of an earlier attempt was answered and rejected",
	RFC:      "RFC 9293 §3.5 figures 8, 11",
	Causes: []Cause{
		{"real-syn-sent", "{Y} answered an old SYN (seq {seq}); {X} rejected it with RST seq {rst}. Its real SYN was on the way already."},
		{"real-syn-follows", "{Y} answered an old SYN (seq {seq}); {X} rejected it with RST seq {rst}. Its real SYN (seq {real}) follows."},
		{"earlier-connection", "{Y} answered an old SYN (seq {seq}); {X} rejected it with RST seq {rst}. The SYN is that of an earlier connection."},
	},
	Thresholds: []Threshold{{"time from the RST to the real SYN, at most", oldSYNFollowed, ""}},
	Supersedes: []string{"syn-rcvd-reset"},
	on:         onRST | onSYN,
	check: func(h *happening) *finding {
		old, ok := h.rejectsOldSYN()
		if h.on&onSYN != 0 {
			old, ok = h.followsOldSYN()
		}
		if !ok {
			return nil
		}
		return &finding{
			end:      h.from,
			certain:  ConfidenceAssumed,
			cause:    old.cause,
			evidence: old.evidence,
			values:   values{"seq": old.rejected - 1, "rst": old.rejected, "real": h.s.Seq},
		}
	},
}

// oldSYN is an old SYN that was answered, and the RST to the answer.
type oldSYN struct {
	rejected tcp.Seq // the number of the RST
	cause    string
	evidence []int
}

// rejectsOldSYN reports whether the RST rejects the answer to a SYN that is not
// its sender's newest: it has sent another, or this one is that of a connection
// long over.
func (h *happening) rejectsOldSYN() (o oldSYN, found bool) {
	x, y := h.from, h.from.Peer()
	if h.s == nil || h.s.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.before.rst != resetReply {
		return o, false
	}
	var synAck glimpse
	for g := range h.handshake() {
		if g.from == y {
			synAck = *g
			break
		}
	}
	if !synAck.opens(tcp.SYN|tcp.ACK) || synAck.ack != h.s.Seq {
		return o, false
	}
	o.rejected = h.s.Seq
	o.evidence = append(h.framesOf(x, tcp.SYN), synAck.packet, h.s.Packet)
	if h.before.states[x] == tcp.SynSent.Set() && !h.acceptableTo(x, synAck) {
		o.cause = "real-syn-sent"
		return o, true
	}
	if n := h.newer(); n != nil && n.addr(tcp.Client) == h.addr(x) && !(n.ends[tcp.Client].has(hasISS) && n.ends[tcp.Client].iss == h.s.Seq-1) {
		if syn, ok := n.find(tcp.Client, tcp.SndSYN); ok {
			o.evidence = append(o.evidence, syn.packet())
		}
		o.cause = "real-syn-sent"
		return o, true
	}
	for c := h.Conn.older(); c != nil; c = c.older() {
		if e := c.endOn(h.addr(x) == c.addr(tcp.Client)); e.has(hasISS|sentSYN) && e.iss == h.s.Seq-1 {
			o.cause = "earlier-connection"
			return o, true
		}
	}
	return o, false
}

// followsOldSYN reports whether the SYN follows another of its sender, the
// answer to which that rejected a moment ago.
func (h *happening) followsOldSYN() (o oldSYN, found bool) {
	old := h.Conn.older()
	if old == nil || h.from != tcp.Client || h.before.sentAt[tcp.Client] != 0 {
		return o, false
	}
	x := tcp.Client
	if old.addr(tcp.Client) != h.addr(tcp.Client) {
		x = tcp.Server
	}
	var rst, synAck, syn *glimpse
	n := 0
	for g := range h.m.trail.back(old) {
		switch {
		case n == handshakeDepth:
			return o, false
		case g.from == x && g.flags&(tcp.RST|tcp.ACK) == tcp.RST && g.is&wasReply != 0 && rst == nil:
			rst = g
		case g.from != x && g.opens(tcp.SYN|tcp.ACK):
			synAck = g
		case g.from == x && g.opens(tcp.SYN):
			syn = g
		case g.flags&tcp.RST == 0:
			return o, false // it was more than a handshake
		}
		n++
	}
	if rst == nil || synAck == nil || syn == nil || synAck.ack != rst.seq || syn.seq == h.s.Seq || h.now.Sub(rst.at) > oldSYNFollowed {
		return o, false
	}
	return oldSYN{
		rejected: rst.seq,
		cause:    "real-syn-follows",
		evidence: []int{syn.packet, synAck.packet, rst.packet, h.s.Packet},
	}, true
}

var badSYNACK = Kind{
	Name:     "bad-syn-ack",
	Severity: Warning,
	Title:    "SYN+ACK acknowledges what was never sent",
	RFC:      "RFC 9293 §3.10.7.3",
	Causes: []Cause{
		{"ignored", "{X}'s SYN+ACK acknowledges {ack}, but {Y}'s SYN has the number {seq}, and {Y} did not even reject it: a proxy or firewall rewrites the numbers, the answer is forged, or the capture missed a SYN."},
		{"completed", "{X}'s SYN+ACK acknowledges {ack}, but {Y}'s SYN has the number {seq}, and {Y} goes on as if it were right: a proxy or firewall rewrites the numbers, the answer is forged, or the capture missed a SYN."},
	},
	on:   onSYN | onForeign | onUnsettled | onTimer | onEnd,
	only: wasCalling,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.before.states[x] != tcp.SynSent.Set() || !h.whole(x) || !h.ends[y].seen() {
			return nil
		}
		var bad *glimpse
		for g := range h.handshake() {
			if g.from == x {
				return nil // a RST, or another segment at which it was told
			}
			if g.opens(tcp.SYN | tcp.ACK) {
				bad = g
				break
			}
		}
		if bad == nil || h.acceptableTo(x, *bad) {
			return nil
		}
		f := &finding{
			end:      y,
			cause:    "ignored",
			certain:  ConfidenceAmbiguous,
			evidence: append(h.framesOf(x, tcp.SYN), bad.packet),
			values:   values{"ack": bad.ack, "seq": h.ends[x].iss},
		}
		switch {
		case h.s != nil && h.s.Flags&(tcp.SYN|tcp.ACK) == tcp.ACK && h.s.Ack == bad.seq+1:
			f.cause = "completed"
			f.evidence = append(f.evidence, h.s.Packet)
		case h.now.Sub(bad.at) <= h.ends[x].inFlight():
			return nil // the RST to it may be on its way
		}
		return f
	},
}

var unsolicitedSYNACK = Kind{
	Name:     "unsolicited-syn-ack",
	Severity: Notice,
	Title:    "SYN+ACK without a SYN",
	RFC:      "RFC 9293 §3.10.7.1",
	Causes: []Cause{
		{"rejected", "{X} sent {Y} a SYN+ACK, but no SYN was seen that asked for it, and {Y} answered RST: backscatter of a flood with forged addresses, or a scan. It needs no action there."},
		{"unanswered", "{X} sent {Y} a SYN+ACK, but no SYN was seen that asked for it, and nothing answered it: backscatter of a flood with forged addresses, a scan, or a capture of one direction only."},
	},
	Thresholds: []Threshold{
		{"time from the first packet of the capture, at least", promptly, ""},
		{"time from the SYN+ACK to the RST, at most, or to the end of the capture, at least", promptly, ""},
	},
	on:   onRST | onEnd,
	only: isAnswer,
	check: func(h *happening) *finding {
		x, y := tcp.Client, tcp.Server
		if h.origin() != tcp.FromSYNACK || h.start.Sub(h.m.began) < promptly || h.ends[x].seen() && h.on&onEnd != 0 {
			return nil
		}
		f := &finding{end: y, certain: ConfidenceAmbiguous, evidence: h.framesOf(y, tcp.SYN|tcp.ACK)}
		switch {
		case h.on&onRST != 0:
			synAck, ok := h.lastSent(y, tcp.SYN|tcp.ACK)
			if h.from != x || h.before.sentAt[x] != 0 || h.before.rst != resetReply || !ok || h.now.Sub(synAck.at) > promptly {
				return nil
			}
			f.cause = "rejected"
			f.evidence = append(f.evidence, h.s.Packet)
		case h.from != y || h.now.Sub(h.start) < promptly:
			return nil
		default:
			for g := range h.handshake() {
				if !g.opens(tcp.SYN | tcp.ACK) {
					return nil // it went on: the other direction is not captured
				}
			}
			f.cause = "unanswered"
		}
		return f
	},
}
