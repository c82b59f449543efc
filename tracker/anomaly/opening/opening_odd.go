package opening

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
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

var SimultaneousOpen = anomaly.Kind{
	Name:     "simultaneous-open",
	Severity: anomaly.Notice,
	Title:    "Both sides opened at once",
	RFC:      "RFC 9293 §3.5 figure 7",
	Causes:   []anomaly.Cause{{Text: "{X} and {Y} opened the same connection at the same time, and one connection results. Both ends opened actively, so neither is the server."}},
	Thresholds: []anomaly.Threshold{
		{Name: "time between the SYNs, in percent of the time for an answer, less than", Value: answerShare},
	},
	On:   triggers.OnSYNACK | triggers.OnUnsettled,
	Only: triggers.IfBothSYN,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if howDialled(h) != bothDialled {
			return nil
		}
		return &anomaly.Finding{
			End:      tcp.Client,
			Evidence: append(append(append(h.FramesOf(tcp.Client, tcp.SYN), h.FramesOf(tcp.Server, tcp.SYN)...), h.FramesOf(tcp.Client, tcp.SYN|tcp.ACK)...), h.FramesOf(tcp.Server, tcp.SYN|tcp.ACK)...),
		}
	},
}

var SplitHandshake = anomaly.Kind{
	Name:     "split-handshake",
	Severity: anomaly.Warning,
	Title:    "Listener answered SYN with a bare SYN",
	RFC:      "RFC 9293 §3.5 figure 7",
	Causes: []anomaly.Cause{
		{Text: "{X} answered the SYN of {Y} with its own SYN instead of a SYN+ACK (a split handshake). Some firewalls and filters then take the client for the server. No ordinary stack does this when it listens."},
	},
	Next: "Find out what runs on {X}. No firewall on the path should decide by the first SYN alone who the client is.",
	Thresholds: []anomaly.Threshold{
		{Name: "time between the SYNs, in percent of the time for an answer, at least", Value: answerShare},
	},
	On:   triggers.OnSYNACK | triggers.OnUnsettled,
	Only: triggers.IfBothSYN,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if howDialled(h) != splitAnswer {
			return nil
		}
		subject, peer := h.From.Peer(), h.From
		return &anomaly.Finding{
			End:      peer,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(append(h.FramesOf(subject, tcp.SYN), h.FramesOf(peer, tcp.SYN)...), append(h.FramesOf(subject, tcp.SYN|tcp.ACK), h.S.Packet)...),
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

// howDialled tells a simultaneous open from a split handshake, at the segment that
// decides. An end that gets a SYN while its own is under way answers SYN+ACK,
// and so both ends do. A listener that split its answer has nothing more to
// answer than ACK. It also cannot have sent its SYN sooner after the client's
// than it takes to answer anything; which tells where a SYN+ACK was lost.
func howDialled(h *anomaly.Case) dialling {
	subject, peer := h.From.Peer(), h.From
	if h.S == nil || h.Self() || !h.Ends[subject].Has(endpoint.SentSYN) || !h.Ends[peer].Has(endpoint.SentSYN) || !h.Ends[subject].Has(endpoint.SentSYNACK) {
		return oneDialled
	}
	if h.Ends[peer].Has(endpoint.SentSYNACK) {
		if _, again := h.LastSent(peer, tcp.SYN|tcp.ACK); h.On&triggers.OnSYNACK == 0 || again {
			return oneDialled
		}
		return bothDialled
	}
	synAck, ok := h.LastSent(subject, tcp.SYN|tcp.ACK)
	if !ok || h.S.Flags&(tcp.SYN|tcp.ACK) != tcp.ACK || !synAck.Seq.Before(h.S.Ack) {
		return oneDialled
	}
	if _, again := ackOf(h, synAck); again {
		return oneDialled
	}
	own, ok1 := h.LastSent(peer, tcp.SYN)
	other, ok2 := h.LastSent(subject, tcp.SYN)
	if !ok1 || !ok2 {
		return oneDialled
	}
	gap, took := own.At.Sub(other.At), h.Now.Sub(synAck.At)
	if 100*gap < answerShare*took {
		return bothDialled
	}
	return splitAnswer
}

var SelfConnect = anomaly.Kind{
	Name:     "self-connect",
	Severity: anomaly.Notice,
	Title:    "Connection to itself",
	RFC:      "RFC 9293 §3.5 figure 7",
	Causes: []anomaly.Cause{
		{Text: "Port {X.port} of {X.ip} connected to itself. The system chose the destination port as the client's port, and nothing listened there. The program now talks to itself, and the real server cannot bind the port."},
	},
	Next:   "Close that socket on {X.ip}, and exclude port {X.port} from the client port range there (net.ipv4.ip_local_reserved_ports). Have the program check that it is not its own peer.",
	On:     triggers.OnSYNACK,
	ByForm: true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if !h.Self() || h.From != tcp.Server {
			return nil
		}
		return &anomaly.Finding{End: tcp.Client, Evidence: append(h.FramesOf(tcp.Client, tcp.SYN), h.S.Packet)}
	},
}

var OldDuplicateSYN = anomaly.Kind{
	Name:     "old-duplicate-syn",
	Severity: anomaly.Notice,
	Title:    "SYN of an earlier attempt was answered and rejected",
	RFC:      "RFC 9293 §3.5 figures 8, 11",
	Causes: []anomaly.Cause{
		{Name: "real-syn-sent", Text: "{Y} answered an old SYN (seq {seq}), and {X} rejected the answer with RST seq {rst}. The real SYN of {X} was already in flight."},
		{Name: "real-syn-follows", Text: "{Y} answered an old SYN (seq {seq}), and {X} rejected the answer with RST seq {rst}. The real SYN of {X} (seq {real}) follows."},
		{Name: "earlier-connection", Text: "{Y} answered an old SYN (seq {seq}), and {X} rejected the answer with RST seq {rst}. The SYN belongs to an earlier connection."},
	},
	Thresholds: []anomaly.Threshold{{Name: "time from the RST to the real SYN, at most", Value: oldSYNFollowed}},
	Supersedes: []string{"syn-rcvd-reset"},
	On:         triggers.OnRST | triggers.OnSYN,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		old, ok := rejectsOldSYN(h)
		if h.On&triggers.OnSYN != 0 {
			old, ok = followsOldSYN(h)
		}
		if !ok {
			return nil
		}
		return &anomaly.Finding{
			End:      h.From,
			Certain:  anomaly.ConfidenceAssumed,
			Cause:    old.cause,
			Evidence: old.evidence,
			Values:   anomaly.Values{"seq": old.rejected - 1, "rst": old.rejected, "real": h.S.Seq},
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
func rejectsOldSYN(h *anomaly.Case) (o oldSYN, found bool) {
	subject, peer := h.From, h.From.Peer()
	if h.S == nil || h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != rst.Reply {
		return o, false
	}
	var synAck recent.Segment
	for g := range h.Handshake() {
		if g.From == peer {
			synAck = *g
			break
		}
	}
	if !synAck.Opens(tcp.SYN|tcp.ACK) || synAck.Ack != h.S.Seq {
		return o, false
	}
	o.rejected = h.S.Seq
	o.evidence = append(h.FramesOf(subject, tcp.SYN), synAck.Packet, h.S.Packet)
	if h.Before.States[subject] == tcp.SynSent.Set() && !acceptableTo(h, subject, synAck) {
		o.cause = "real-syn-sent"
		return o, true
	}
	if n := h.Newer(); n != nil && n.Addr(tcp.Client) == h.Addr(subject) && !(n.Ends[tcp.Client].Has(endpoint.HasISS) && n.Ends[tcp.Client].ISS == h.S.Seq-1) {
		if syn, ok := n.Find(tcp.Client, tcp.SndSYN); ok {
			o.evidence = append(o.evidence, syn.Packet())
		}
		o.cause = "real-syn-sent"
		return o, true
	}
	for c := h.Conn.Older(); c != nil; c = c.Older() {
		if e := c.EndOn(h.Addr(subject) == c.Addr(tcp.Client)); e.Has(endpoint.HasISS|endpoint.SentSYN) && e.ISS == h.S.Seq-1 {
			o.cause = "earlier-connection"
			return o, true
		}
	}
	return o, false
}

// followsOldSYN reports whether the SYN follows another of its sender, the
// answer to which that rejected a moment ago.
func followsOldSYN(h *anomaly.Case) (o oldSYN, found bool) {
	old := h.Conn.Older()
	if old == nil || h.From != tcp.Client || h.Before.SentAt[tcp.Client] != 0 {
		return o, false
	}
	x := tcp.Client
	if old.Addr(tcp.Client) != h.Addr(tcp.Client) {
		x = tcp.Server
	}
	var rst, synAck, syn *recent.Segment
	n := 0
	for g := range h.M.Recent.Back(old) {
		switch {
		case n == anomaly.HandshakeDepth:
			return o, false
		case g.From == x && g.Flags&(tcp.RST|tcp.ACK) == tcp.RST && g.Is&recent.WasReply != 0 && rst == nil:
			rst = g
		case g.From != x && g.Opens(tcp.SYN|tcp.ACK):
			synAck = g
		case g.From == x && g.Opens(tcp.SYN):
			syn = g
		case g.Flags&tcp.RST == 0:
			return o, false // it was more than a handshake
		}
		n++
	}
	if rst == nil || synAck == nil || syn == nil || synAck.Ack != rst.Seq || syn.Seq == h.S.Seq || h.Now.Sub(rst.At) > oldSYNFollowed {
		return o, false
	}
	return oldSYN{
		rejected: rst.Seq,
		cause:    "real-syn-follows",
		evidence: []int{syn.Packet, synAck.Packet, rst.Packet, h.S.Packet},
	}, true
}

var BadSYNACK = anomaly.Kind{
	Name:     "bad-syn-ack",
	Severity: anomaly.Warning,
	Title:    "SYN+ACK acknowledges what was never sent",
	RFC:      "RFC 9293 §3.10.7.3",
	Causes: []anomaly.Cause{
		{Name: "ignored", Text: "{X}'s SYN+ACK acknowledges {ack}, but {Y}'s SYN has seq {seq}, and {Y} did not even reject it. A proxy or firewall rewrites the sequence numbers, the answer is forged, or the capture missed a SYN."},
		{Name: "completed", Text: "{X}'s SYN+ACK acknowledges {ack}, but {Y}'s SYN has seq {seq}, and {Y} goes on as if it were correct. A proxy or firewall rewrites the sequence numbers, the answer is forged, or the capture missed a SYN."},
	},
	Next: "Capture on both sides of each device between {X.ip} and {Y.ip}, and find where the sequence numbers change. Check that device for sequence number randomization or a SYN proxy.",
	On:   triggers.OnSYN | triggers.OnForeign | triggers.OnUnsettled | triggers.OnTimer | triggers.OnEnd,
	Only: triggers.IfWasSynSent,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject, peer := h.From, h.From.Peer()
		if h.Before.States[subject] != tcp.SynSent.Set() || !h.Whole(subject) || !h.Ends[peer].Seen() {
			return nil
		}
		var bad *recent.Segment
		for g := range h.Handshake() {
			if g.From == subject {
				return nil // a RST, or another segment at which it was told
			}
			if g.Opens(tcp.SYN | tcp.ACK) {
				bad = g
				break
			}
		}
		if bad == nil || acceptableTo(h, subject, *bad) {
			return nil
		}
		f := &anomaly.Finding{
			End:      peer,
			Cause:    "ignored",
			Certain:  anomaly.ConfidenceAmbiguous,
			Evidence: append(h.FramesOf(subject, tcp.SYN), bad.Packet),
			Values:   anomaly.Values{"ack": bad.Ack, "seq": h.Ends[subject].ISS},
		}
		switch {
		case h.S != nil && h.S.Flags&(tcp.SYN|tcp.ACK) == tcp.ACK && h.S.Ack == bad.Seq+1:
			f.Cause = "completed"
			f.Evidence = append(f.Evidence, h.S.Packet)
		case h.M.Heard().Sub(bad.At) <= h.Ends[subject].InFlight():
			return nil // the RST to it may be on its way
		}
		return f
	},
}

var UnsolicitedSYNACK = anomaly.Kind{
	Name:     "unsolicited-syn-ack",
	Severity: anomaly.Notice,
	Title:    "SYN+ACK without a SYN",
	RFC:      "RFC 9293 §3.10.7.1",
	Causes: []anomaly.Cause{
		{Name: "rejected", Text: "{X} sent {Y} a SYN+ACK, but no SYN before it was captured, and {Y} answered with RST. This is backscatter of a flood with forged addresses, or a scan. Nothing needs to be done there."},
		{Name: "unanswered", Text: "{X} sent {Y} a SYN+ACK, but no SYN before it was captured, and nothing answered it. This is backscatter of a flood with forged addresses, a scan, or a capture of one direction only."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "time from the first packet of the capture, at least", Value: promptly},
		{Name: "time from the SYN+ACK to the RST, at most, or to the end of the capture, at least", Value: promptly},
	},
	On:   triggers.OnRST | triggers.OnEnd,
	Only: triggers.IfFromSYNACK,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		x, y := tcp.Client, tcp.Server
		if h.Origin() != tcp.FromSYNACK || h.Start.Sub(h.M.Began) < promptly || h.Ends[x].Seen() && h.On&triggers.OnEnd != 0 {
			return nil
		}
		f := &anomaly.Finding{End: y, Certain: anomaly.ConfidenceAmbiguous, Evidence: h.FramesOf(y, tcp.SYN|tcp.ACK)}
		switch {
		case h.On&triggers.OnRST != 0:
			synAck, ok := h.LastSent(y, tcp.SYN|tcp.ACK)
			if h.From != x || h.Before.SentAt[x] != 0 || h.Before.RST != rst.Reply || !ok || h.Now.Sub(synAck.At) > promptly {
				return nil
			}
			f.Cause = "rejected"
			f.Evidence = append(f.Evidence, h.S.Packet)
		case h.From != y || h.M.Heard().Sub(h.Start) < promptly:
			return nil
		default:
			for g := range h.Handshake() {
				if !g.Opens(tcp.SYN | tcp.ACK) {
					return nil // it went on: the other direction is not captured
				}
			}
			f.Cause = "unanswered"
		}
		return f
	},
}
