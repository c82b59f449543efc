package timewait

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/established"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/reuse"
	"github.com/tcpwatch/tcpwatch/tracker/internal/rst"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var WanderingDuplicate = anomaly.Kind{
	Name:     "wandering-duplicate",
	Severity: anomaly.Warning,
	Title:    "Segment of a closed connection",
	RFC:      "RFC 9293 §3.4.1, §3.4.3, RFC 1337 §2",
	Causes: []anomaly.Cause{
		{Text: "Segment #{frame} of {X} ({what}) belongs to the connection that ended {ended} ago: {sent}. Something in the network delayed it, or sent it again."},
	},
	Next: "If this happens often, look on the path from {X.ip} for queues of seconds, a device that buffers and retransmits, or a routing loop. Timestamps at both ends make such segments harmless.",
	Phrases: []anomaly.Phrase{
		{Name: "data", In: "what", Text: "{n bytes}, seq {seq}"},
		{Name: "bare", In: "what", Text: "{flags}, seq {seq}"},
		{Name: "original", In: "sent", Text: "it was sent {age} ago, first captured as #{original}"},
		{Name: "original-not-seen", In: "sent", Text: "it was sent at least {age} ago"},
	},
	Thresholds: []anomaly.Threshold{{Name: "time since it was sent, at least", Value: conn.Wanders}},
	On:         triggers.OnRepeat | triggers.OnStale | triggers.OnUnsettled | triggers.OnAmongStale,
	Only:       triggers.IfWasClosed | triggers.IfRare,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		if h.On&triggers.OnAmongStale != 0 {
			if k := h.StaleOf(h.From); k.Packet == h.S.Packet && k.Packet != 0 {
				return wanderer(h, k.Original, k.Age, h.Now.Sub(k.Ended), anomaly.ConfidenceProved)
			}
		}
		return strayOfDead(h)
	},
}

// strayOfDead looks at a segment that its own dead connection observed. Its sender
// is CLOSED there and stays so: it cannot have sent it now. A copy of what was
// captured proves itself. Anything else must repeat data, and have a timestamp
// older than the sender's last, or come when the ports already have a new
// connection. An older IP identification is not enough: some stacks draw them
// at random.
func strayOfDead(h *anomaly.Case) *anomaly.Finding {
	subject := h.From
	if h.S.Flags&tcp.SYN != 0 || h.Before.States[subject] != tcp.Closed.Set() || h.Ends[subject].Assumed != tcp.Closed.Set() || h.Before.SentAt[subject] == 0 {
		return nil
	}
	ended := h.EndedBefore()
	if g := h.M.SameAs(h.Conn, h.S, subject, h.S.Packet); g != nil {
		if age := h.S.Time.Sub(g.At); age >= conn.Wanders {
			return wanderer(h, g.Packet, age, h.Now.Sub(ended), anomaly.ConfidenceProved)
		}
		return nil
	}
	if !h.Old || h.S.Data == 0 {
		return nil
	}
	sentBy := max(h.Before.SentAt[subject], ended) // a closed end sends nothing more
	if h.S.Options.HasTS && h.X().Has(endpoint.HasTS) && int32(h.S.Options.TSVal-h.Before.TSVal[subject]) < 0 {
		sentBy = h.Before.SentAt[subject]
	} else if n := h.Newer(); n == nil || n.Provisional() {
		return nil
	}
	if age := h.Now.Sub(sentBy); age >= conn.Wanders {
		return wanderer(h, 0, age, h.Now.Sub(ended), anomaly.ConfidenceAssumed)
	}
	return nil
}

func wanderer(h *anomaly.Case, original int, age, ended time.Duration, certain anomaly.Confidence) *anomaly.Finding {
	f := &anomaly.Finding{
		End:      h.From,
		Certain:  certain,
		Evidence: []int{original, h.S.Packet},
		Values: anomaly.Values{
			"frame": h.S.Packet, "n": h.S.Data, "flags": h.S.Flags, "seq": h.S.Seq,
			"ended": ended, "age": age, "original": original,
		},
	}
	f.Say(anomaly.Either(h.S.Data > 0, "data", "bare"))
	f.Say(anomaly.Either(original != 0, "original", "original-not-seen"))
	return f
}

var TimeWaitHazardH1 = anomaly.Kind{
	Name:     "time-wait-hazard-h1",
	Severity: anomaly.Error,
	Title:    "Old data accepted by a new connection",
	RFC:      "RFC 1337 §2.2",
	Causes: []anomaly.Cause{
		{Text: "A segment of the previous connection ({n bytes}, seq {seq}, #{frame}, first captured as #{original}) fell into this one's window. {Y} acknowledged it up to {ack}, but {X} had sent only up to {own}. {Y}'s application got wrong data."},
	},
	Next:       "Treat what {Y} read there as corrupt. Find out why the ports were reused so early (TIME_WAIT cut short or shortened), and turn timestamps on at both ends (net.ipv4.tcp_timestamps=1).",
	Thresholds: []anomaly.Threshold{{Name: "time since the segment was sent, at least", Value: conn.Wanders}},
	Supersedes: []string{"wandering-duplicate"},
	On:         triggers.OnAmongStale,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		peer, subject := h.From, h.From.Peer()
		k := h.StaleOf(subject)
		if k.Packet == 0 || k.Seq == k.End || h.S.Flags&tcp.ACK == 0 || !h.Before.Acked[peer].Before(k.End) || !k.End.AtMost(h.S.Ack) {
			return nil
		}
		own, ok := ownOctets(h, subject, k)
		if !ok || !own.Before(k.End) || !h.Visible(subject) {
			return nil // it had sent all of that itself by then
		}
		return &anomaly.Finding{
			End:      subject,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{k.Original, k.Packet, h.S.Packet},
			Values: anomaly.Values{
				"n": k.End.Minus(k.Seq), "seq": k.Seq, "frame": k.Packet, "original": k.Original, "ack": h.S.Ack, "own": own,
			},
		}
	},
}

// ownOctets returns what follows the last octet that the end sent itself, the
// stale segment not counted, as long as all since that is remembered.
func ownOctets(h *anomaly.Case, x tcp.Endpoint, k recent.Stale) (own tcp.Seq, ok bool) {
	own = k.Nxt
	for g := range h.Back() {
		if g.Packet == k.Packet {
			return own, true
		}
		if g.From == x && g.Flags&tcp.RST == 0 {
			own = tcp.Later(own, g.End())
		}
	}
	return own, false
}

var TimeWaitHazardH2 = anomaly.Kind{
	Name:     "time-wait-hazard-h2",
	Severity: anomaly.Error,
	Title:    "Old segment desynchronized a new connection",
	RFC:      "RFC 1337 §2.3",
	Causes: []anomaly.Cause{
		{Text: "A segment of the previous connection (seq {seq}, #{frame}, first captured as #{original}) left the two ends with different sequence numbers: {X} sends from {from}, {Y} expects {expected}. They answer each other's empty ACKs endlessly. Only closing the connection helps."},
	},
	Next: "Close this connection at either end. Find out why the ports were reused so early, and turn timestamps on at both ends (net.ipv4.tcp_timestamps=1).",
	Thresholds: []anomaly.Threshold{
		{Name: "time since the segment was sent, at least", Value: conn.Wanders},
		{Name: "alternating empty ACKs, at least", Value: established.LoopTurns},
		{Name: "time between two of them, at most", Value: established.LoopPause},
	},
	Supersedes: []string{"wandering-duplicate", "ack-loop"},
	On:         triggers.OnAmongStale,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		x, k := tcp.Client, h.StaleOf(tcp.Client)
		if k.Packet == 0 {
			x, k = tcp.Server, h.StaleOf(tcp.Server)
		}
		if k.Packet == 0 || !h.S.PureAck() {
			return nil
		}
		loop := loop(h, k.Packet)
		if len(loop) < established.LoopTurns {
			return nil
		}
		newest, other := loop[0], loop[1]
		if newest.From != x {
			newest, other = other, newest
		}
		if newest.Seq == other.Ack && other.Seq == newest.Ack {
			return nil // they agree
		}
		return &anomaly.Finding{
			End:      x,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: []int{k.Original, k.Packet, loop[len(loop)-1].Packet, loop[len(loop)-2].Packet, loop[len(loop)-3].Packet},
			Values: anomaly.Values{
				"seq": k.Seq, "frame": k.Packet, "original": k.Original, "from": newest.Seq, "expected": other.Ack,
			},
		}
	},
}

// loop returns the empty ACKs, newest first, that the ends sent in turns since
// the given frame, each end always the same.
func loop(h *anomaly.Case, since int) (run []*recent.Segment) {
	for g := range h.Back() {
		n := len(run)
		if g.Packet <= since || !g.Pure() || n >= 1 && (run[n-1].From == g.From || run[n-1].At.Sub(g.At) > established.LoopPause) ||
			n >= 2 && (run[n-2].Seq != g.Seq || run[n-2].Ack != g.Ack) {
			break
		}
		run = append(run, g)
		if n+1 == established.LoopTurns {
			break
		}
	}
	return run
}

var TimeWaitHazardH3 = anomaly.Kind{
	Name:     "time-wait-hazard-h3",
	Severity: anomaly.Error,
	Title:    "Old segment killed a connection attempt",
	RFC:      "RFC 1337 §2.4",
	Causes: []anomaly.Cause{
		{Text: "An old segment (#{frame}, ack {ack}) made {X} answer with a RST (#{rst}). This RST hit the connection that {X} was just opening. {Y} forgot the attempt, so the connection seemed open and died at once."},
	},
	Next:       "Connect again. If this happens often, find out why {X.ip} reuses its ports so early, and let it use more of them (net.ipv4.ip_local_port_range).",
	Supersedes: []string{"wandering-duplicate"},
	On:         triggers.OnRST,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		subject := &h.Ends[tcp.Client]
		if h.From != tcp.Server || h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != rst.Reply || h.Before.States[tcp.Client] != tcp.Established.Set() ||
			h.Before.Proved[tcp.Server] != tcp.SynReceived.Set() || !h.Ends[tcp.Server].Has(endpoint.SentSYNACK) || h.S.Seq != h.Ends[tcp.Server].ISS+1 {
			return nil
		}
		stray, reset := strayAndReset(h, h.Conn)
		certain := anomaly.ConfidenceAmbiguous // nothing shows how old the segment is
		if old := h.M.FormerOf(h.Conn); reset == nil && old != nil {
			if stray, reset = strayAndReset(h, old); reset != nil {
				certain = anomaly.ConfidenceAssumed
			}
		}
		_, synACK := reuse.Opening(h.Scene)
		if reset == nil || synACK == nil || !reset.Seq.In(subject.ISS+1, synACK.Ack.Add(tcp.Size(synACK.Wnd))) {
			return nil // it cannot have hit the attempt
		}
		ack := 0
		for g := range h.Back() {
			if g.From == tcp.Client && g.Flags&tcp.RST == 0 {
				ack = g.Packet
				break
			}
		}
		return &anomaly.Finding{
			End:      tcp.Client,
			Certain:  certain,
			Evidence: []int{stray.Packet, reset.Packet, synACK.Packet, ack, h.S.Packet},
			Values:   anomaly.Values{"frame": stray.Packet, "ack": stray.Ack, "rst": reset.Packet},
		}
	},
}

// strayAndReset looks, in the connection or the one before it, for an ACK that
// reached the client while it was opening this one and could not be an answer
// to its SYN, and for the RST by which the client answered it.
func strayAndReset(h *anomaly.Case, c *conn.Conn) (stray, reset *recent.Segment) {
	client := h.EndIn(c, tcp.Client)
	for g := range h.M.Recent.Back(c) {
		switch {
		case g.At < h.Start:
			return nil, nil
		case reset == nil && g.From == client && g.Flags&(tcp.RST|tcp.ACK) == tcp.RST && g.Seq != h.Ends[tcp.Client].ISS+1:
			reset = g
		case reset != nil && g.From != client && g.Flags&(tcp.ACK|tcp.SYN|tcp.RST) == tcp.ACK && g.Ack == reset.Seq:
			return g, reset
		}
	}
	return nil, nil
}
