package tracker

import (
	"fmt"
	"time"
)

// Handshakes that are not the three segments of RFC 9293 figure 6: two ends
// that open at once, one that opens to itself, and answers to SYNs that nobody
// sent, or not now.

const (
	// The real SYN follows an old one that was rejected within this time.
	oldSYNFollowed = 5 * time.Second

	// An answer, or the RST to one, comes within this time.
	promptly = time.Second
)

var simultaneousOpen = Kind{
	Name:     "simultaneous-open",
	Severity: Notice,
	Title:    "Both sides dialled each other",
	RFC:      "RFC 9293 §3.5 figure 7",
	Sentence: "{A} and {B} opened the same connection at the same time; one connection results.",
	on:       onSYNACK | onUnsettled,
	only:     isDialled,
	check: func(h *happening) *finding {
		if h.dialled() != bothDialled {
			return nil
		}
		return &finding{
			end:      Client,
			evidence: append(append(append(h.framesOf(Client, SYN), h.framesOf(Server, SYN)...), h.framesOf(Client, SYN|ACK)...), h.framesOf(Server, SYN|ACK)...),
			text: fmt.Sprintf("%v and %v opened the same connection at the same time; one connection results. Both ends opened actively: there is no server in it.",
				h.addr(Client), h.addr(Server)),
		}
	},
}

var splitHandshake = Kind{
	Name:     "split-handshake",
	Severity: Warning,
	Title:    "Listener answered SYN with a bare SYN",
	RFC:      "RFC 9293 §3.5 figure 7",
	Sentence: "{Y} answered the SYN of {X} with a SYN of its own instead of SYN+ACK (a split handshake); some firewalls then take the client for the server.",
	on:       onSYNACK | onUnsettled,
	only:     isDialled,
	check: func(h *happening) *finding {
		if h.dialled() != splitAnswer {
			return nil
		}
		x, y := h.from.Peer(), h.from
		return &finding{
			end:      y,
			certain:  ConfidenceAssumed,
			evidence: append(append(h.framesOf(x, SYN), h.framesOf(y, SYN)...), append(h.framesOf(x, SYN|ACK), h.s.Packet)...),
			text: fmt.Sprintf("%v answered the SYN of %v with a SYN of its own instead of SYN+ACK (a split handshake); some firewalls and filters then take the client for the server. No ordinary stack does this when it listens.",
				h.addr(y), h.addr(x)),
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
		if _, again := h.lastSent(y, SYN|ACK); h.on&onSYNACK == 0 || again {
			return oneDialled
		}
		return bothDialled
	}
	synAck, ok := h.lastSent(x, SYN|ACK)
	if !ok || h.s.Flags&(SYN|ACK) != ACK || !synAck.seq.Before(h.s.Ack) {
		return oneDialled
	}
	if _, again := h.ackOf(synAck); again {
		return oneDialled
	}
	own, ok1 := h.lastSent(y, SYN)
	other, ok2 := h.lastSent(x, SYN)
	if !ok1 || !ok2 {
		return oneDialled
	}
	gap, took := own.at.Sub(other.at), h.now.Sub(synAck.at)
	if 4*gap < 3*took { // but for a quarter of jitter
		return bothDialled
	}
	return splitAnswer
}

var selfConnect = Kind{
	Name:     "self-connect",
	Severity: Notice,
	Title:    "Connection to itself",
	RFC:      "RFC 9293 §3.5 figure 7",
	Sentence: "Port {p} of {X} connected to itself: the port that the system chose for the client was the one to connect to, where nobody listened.",
	on:       onSYNACK,
	check: func(h *happening) *finding {
		if !h.self() || h.from != Server {
			return nil
		}
		x := h.addr(Client)
		return &finding{
			end:      Client,
			evidence: append(h.framesOf(Client, SYN), h.s.Packet),
			text: fmt.Sprintf("Port %d of %v connected to itself: the port that the system chose for the client was the one to connect to, where nobody listened. The program now talks to itself, and the real server cannot bind the port.",
				x.Port(), x.Addr()),
		}
	},
}

var oldDuplicateSYN = Kind{
	Name:       "old-duplicate-syn",
	Severity:   Notice,
	Title:      "SYN of an earlier attempt was answered and rejected",
	RFC:        "RFC 9293 §3.5 figures 8, 11",
	Sentence:   "{Y} answered an old SYN (seq {s}); {X} rejected it with RST seq {a}. The real SYN follows.",
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
		x := h.from
		return &finding{
			end:      x,
			certain:  ConfidenceAssumed,
			cause:    old.cause,
			evidence: old.evidence,
			text: fmt.Sprintf("%v answered an old SYN (seq %d); %v rejected it with RST seq %d. %s",
				h.addr(x.Peer()), uint32(old.rejected-1), h.addr(x), uint32(old.rejected), old.next),
		}
	},
}

// oldSYN is an old SYN that was answered, and the RST to the answer.
type oldSYN struct {
	rejected Seq // the number of the RST
	cause    string
	next     string // what became of the real SYN
	evidence []int
}

// rejectsOldSYN reports whether the RST rejects the answer to a SYN that is not
// its sender's newest: it has sent another, or this one is that of a connection
// long over.
func (h *happening) rejectsOldSYN() (o oldSYN, found bool) {
	x, y := h.from, h.from.Peer()
	if h.s == nil || h.s.Flags&(RST|ACK) != RST || h.before.rst != resetReply {
		return o, false
	}
	var synAck glimpse
	for g := range h.handshake() {
		if g.from == y {
			synAck = *g
			break
		}
	}
	if !synAck.opens(SYN|ACK) || synAck.ack != h.s.Seq {
		return o, false
	}
	o.rejected = h.s.Seq
	o.evidence = append(h.framesOf(x, SYN), synAck.packet, h.s.Packet)
	if h.before.states[x] == setOf(SynSent) && !h.acceptableTo(x, synAck) {
		o.cause, o.next = "real-syn-sent", "Its real SYN was on the way already."
		return o, true
	}
	if n := h.newer(); n != nil && n.addr(Client) == h.addr(x) && !(n.ends[Client].has(hasISS) && n.ends[Client].iss == h.s.Seq-1) {
		if syn, ok := n.find(Client, SndSYN); ok {
			o.evidence = append(o.evidence, syn.packet())
		}
		o.cause, o.next = "real-syn-sent", "Its real SYN was on the way already."
		return o, true
	}
	for c := h.Conn.older(); c != nil; c = c.older() {
		if e := c.endOn(h.addr(x) == c.addr(Client)); e.has(hasISS|sentSYN) && e.iss == h.s.Seq-1 {
			o.cause, o.next = "earlier-connection", "The SYN is that of an earlier connection."
			return o, true
		}
	}
	return o, false
}

// followsOldSYN reports whether the SYN follows another of its sender, the
// answer to which that rejected a moment ago.
func (h *happening) followsOldSYN() (o oldSYN, found bool) {
	old := h.Conn.older()
	if old == nil || h.from != Client || h.before.sentAt[Client] != 0 {
		return o, false
	}
	x := Client
	if old.addr(Client) != h.addr(Client) {
		x = Server
	}
	var rst, synAck, syn *glimpse
	n := 0
	for g := range h.t.trail.back(old) {
		switch {
		case n == handshakeDepth:
			return o, false
		case g.from == x && g.flags&(RST|ACK) == RST && g.is&wasReply != 0 && rst == nil:
			rst = g
		case g.from != x && g.opens(SYN|ACK):
			synAck = g
		case g.from == x && g.opens(SYN):
			syn = g
		case g.flags&RST == 0:
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
		next:     fmt.Sprintf("Its real SYN (seq %d) follows.", uint32(h.s.Seq)),
		evidence: []int{syn.packet, synAck.packet, rst.packet, h.s.Packet},
	}, true
}

// endOn returns the client, or the server.
func (c *Conn) endOn(client bool) *end {
	if client {
		return &c.ends[Client]
	}
	return &c.ends[Server]
}

var badSYNACK = Kind{
	Name:     "bad-syn-ack",
	Severity: Warning,
	Title:    "SYN+ACK acknowledges what was never sent",
	RFC:      "RFC 9293 §3.10.7.3",
	Sentence: "{Y}'s SYN+ACK acknowledges {a}, but {X}'s SYN has the number {s}: a proxy or firewall that rewrites numbers, a forged answer, or a SYN that the capture missed.",
	on:       onSYN | onForeign | onUnsettled | onTimer | onEnd,
	only:     wasCalling,
	check: func(h *happening) *finding {
		x, y := h.from, h.from.Peer()
		if h.before.states[x] != setOf(SynSent) || !h.whole(x) || !h.ends[y].seen() {
			return nil
		}
		var bad *glimpse
		for g := range h.handshake() {
			if g.from == x {
				return nil // a RST, or another segment at which it was told
			}
			if g.opens(SYN | ACK) {
				bad = g
				break
			}
		}
		if bad == nil || h.acceptableTo(x, *bad) {
			return nil
		}
		f := &finding{end: y, certain: ConfidenceAmbiguous, cause: "ignored", evidence: append(h.framesOf(x, SYN), bad.packet)}
		what := "did not even reject it"
		switch {
		case h.s != nil && h.s.Flags&(SYN|ACK) == ACK && h.s.Ack == bad.seq+1:
			f.cause, what = "completed", "goes on as if it were right"
			f.evidence = append(f.evidence, h.s.Packet)
		case h.now.Sub(bad.at) <= h.ends[x].inFlight():
			return nil // the RST to it may be on its way
		}
		f.text = fmt.Sprintf("%v's SYN+ACK acknowledges %d, but %v's SYN has the number %d, and %v %s: a proxy or firewall rewrites the numbers, the answer is forged, or the capture missed a SYN.",
			h.addr(y), uint32(bad.ack), h.addr(x), uint32(h.ends[x].iss), h.addr(x), what)
		return f
	},
}

var unsolicitedSYNACK = Kind{
	Name:     "unsolicited-syn-ack",
	Severity: Notice,
	Title:    "SYN+ACK without a SYN",
	RFC:      "RFC 9293 §3.10.7.1",
	Sentence: "{Y} sent {X} a SYN+ACK that nobody had asked for: backscatter of a flood with forged addresses, or a scan.",
	on:       onRST | onEnd,
	only:     isAnswer,
	check: func(h *happening) *finding {
		x, y := Client, Server
		if h.origin() != FromSYNACK || h.start.Sub(h.t.began) < promptly || h.ends[x].seen() && h.on&onEnd != 0 {
			return nil
		}
		f := &finding{end: y, certain: ConfidenceAmbiguous, evidence: h.framesOf(y, SYN|ACK)}
		f.text = fmt.Sprintf("%v sent %v a SYN+ACK, but no SYN was seen that asked for it", h.addr(y), h.addr(x))
		switch {
		case h.on&onRST != 0:
			synAck, ok := h.lastSent(y, SYN|ACK)
			if h.from != x || h.before.sentAt[x] != 0 || h.before.rst != resetReply || !ok || h.now.Sub(synAck.at) > promptly {
				return nil
			}
			f.cause = "rejected"
			f.evidence = append(f.evidence, h.s.Packet)
			f.text += fmt.Sprintf(", and %v answered RST: backscatter of a flood with forged addresses, or a scan. It needs no action there.", h.addr(x))
		case h.from != y || h.now.Sub(h.start) < promptly:
			return nil
		default:
			for g := range h.handshake() {
				if !g.opens(SYN | ACK) {
					return nil // it went on: the other direction is not captured
				}
			}
			f.cause = "unanswered"
			f.text += ", and nothing answered it: backscatter of a flood with forged addresses, a scan, or a capture of one direction only."
		}
		return f
	},
}

// self reports whether both ends of the connection are the same.
func (c *Conn) self() bool { return c.key.self() }
