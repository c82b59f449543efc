package anomaly

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/reuse"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
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
	Thresholds: []Threshold{{"time since it was sent, at least", conn.Wanders, ""}},
	on:         triggers.OnRepeat | triggers.OnStale | triggers.OnUnsettled | triggers.OnAmongStale,
	only:       triggers.IfWasClosed | triggers.IfRare,
	check: func(h *checkInput) *Finding {
		if h.On&triggers.OnAmongStale != 0 {
			if k := h.StaleOf(h.From); k.Packet == h.S.Packet && k.Packet != 0 {
				return h.wanderer(k.Original, k.Age, h.Now.Sub(k.Ended), ConfidenceProved)
			}
		}
		return h.strayOfDead()
	},
}

// strayOfDead looks at a segment that its own dead connection observed. Its sender
// is CLOSED there and stays so: it cannot have sent it now. A copy of what was
// captured proves itself. Anything else must repeat data, and have a timestamp
// older than the sender's last, or come when the ports already have a new
// connection. An older IP identification is not enough: some stacks draw them
// at random.
func (h *checkInput) strayOfDead() *Finding {
	subject := h.From
	if h.S.Flags&tcp.SYN != 0 || h.Before.States[subject] != tcp.Closed.Set() || h.Ends[subject].Assumed != tcp.Closed.Set() || h.Before.SentAt[subject] == 0 {
		return nil
	}
	ended := h.EndedBefore()
	if g := h.M.SameAs(h.Conn, h.S, subject, h.S.Packet); g != nil {
		if age := h.S.Time.Sub(g.At); age >= conn.Wanders {
			return h.wanderer(g.Packet, age, h.Now.Sub(ended), ConfidenceProved)
		}
		return nil
	}
	if !h.Old || h.S.Data == 0 {
		return nil
	}
	sentBy := max(h.Before.SentAt[subject], ended) // a closed end sends nothing more
	if h.S.Options.HasTS && h.x().Has(conn.HasTS) && int32(h.S.Options.TSVal-h.Before.TSVal[subject]) < 0 {
		sentBy = h.Before.SentAt[subject]
	} else if n := h.newer(); n == nil || n.Provisional() {
		return nil
	}
	if age := h.Now.Sub(sentBy); age >= conn.Wanders {
		return h.wanderer(0, age, h.Now.Sub(ended), ConfidenceAssumed)
	}
	return nil
}

func (h *checkInput) wanderer(original int, age, ended time.Duration, certain Confidence) *Finding {
	f := &Finding{
		end:      h.From,
		Certain:  certain,
		Evidence: []int{original, h.S.Packet},
		Values: Values{
			"frame": h.S.Packet, "n": h.S.Data, "flags": h.S.Flags, "seq": h.S.Seq,
			"ended": ended, "age": age, "original": original,
		},
	}
	f.Say(either(h.S.Data > 0, "data", "bare"))
	f.Say(either(original != 0, "original", "original-not-seen"))
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
	Thresholds: []Threshold{{"time since the segment was sent, at least", conn.Wanders, ""}},
	Supersedes: []string{"wandering-duplicate"},
	on:         triggers.OnAmongStale,
	check: func(h *checkInput) *Finding {
		peer, subject := h.From, h.From.Peer()
		k := h.StaleOf(subject)
		if k.Packet == 0 || k.Seq == k.End || h.S.Flags&tcp.ACK == 0 || !h.Before.Acked[peer].Before(k.End) || !k.End.AtMost(h.S.Ack) {
			return nil
		}
		own, ok := h.ownOctets(subject, k)
		if !ok || !own.Before(k.End) || !h.visible(subject) {
			return nil // it had sent all of that itself by then
		}
		return &Finding{
			end:      subject,
			Certain:  ConfidenceAssumed,
			Evidence: []int{k.Original, k.Packet, h.S.Packet},
			Values: Values{
				"n": k.End.Minus(k.Seq), "seq": k.Seq, "frame": k.Packet, "original": k.Original, "ack": h.S.Ack, "own": own,
			},
		}
	},
}

// ownOctets returns what follows the last octet that the end sent itself, the
// stale segment not counted, as long as all since that is remembered.
func (h *checkInput) ownOctets(x tcp.Endpoint, k recent.Stale) (own tcp.Seq, ok bool) {
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

var timeWaitHazardH2 = Kind{
	Name:     "time-wait-hazard-h2",
	Severity: Error,
	Title:    "Old segment desynchronised a new connection",
	RFC:      "RFC 1337 §2.3",
	Causes: []Cause{
		{"", "A segment of the previous connection (seq {seq}, #{frame}, first seen as #{original}) left the two ends with different sequence numbers: {X} sends from {from}, {Y} expects {expected}. They answer each other's empty ACKs without end; only closing the connection helps."},
	},
	Thresholds: []Threshold{
		{"time since the segment was sent, at least", conn.Wanders, ""},
		{"empty ACKs in turn, at least", loopTurns, ""},
		{"time between two of them, at most", loopPause, ""},
	},
	Supersedes: []string{"wandering-duplicate", "ack-loop"},
	on:         triggers.OnAmongStale,
	check: func(h *checkInput) *Finding {
		x, k := tcp.Client, h.StaleOf(tcp.Client)
		if k.Packet == 0 {
			x, k = tcp.Server, h.StaleOf(tcp.Server)
		}
		if k.Packet == 0 || !h.S.PureAck() {
			return nil
		}
		loop := h.loop(k.Packet)
		if len(loop) < loopTurns {
			return nil
		}
		newest, other := loop[0], loop[1]
		if newest.From != x {
			newest, other = other, newest
		}
		if newest.Seq == other.Ack && other.Seq == newest.Ack {
			return nil // they agree
		}
		return &Finding{
			end:      x,
			Certain:  ConfidenceAssumed,
			Evidence: []int{k.Original, k.Packet, loop[len(loop)-1].Packet, loop[len(loop)-2].Packet, loop[len(loop)-3].Packet},
			Values: Values{
				"seq": k.Seq, "frame": k.Packet, "original": k.Original, "from": newest.Seq, "expected": other.Ack,
			},
		}
	},
}

// loop returns the empty ACKs, newest first, that the ends sent in turns since
// the given frame, each end always the same.
func (h *checkInput) loop(since int) (run []*recent.Segment) {
	for g := range h.Back() {
		n := len(run)
		if g.Packet <= since || !g.Pure() || n >= 1 && (run[n-1].From == g.From || run[n-1].At.Sub(g.At) > loopPause) ||
			n >= 2 && (run[n-2].Seq != g.Seq || run[n-2].Ack != g.Ack) {
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
	on:         triggers.OnRST,
	check: func(h *checkInput) *Finding {
		subject := &h.Ends[tcp.Client]
		if h.From != tcp.Server || h.S.Flags&(tcp.RST|tcp.ACK) != tcp.RST || h.Before.RST != conn.ResetReply || h.Before.States[tcp.Client] != tcp.Established.Set() ||
			h.Before.Proved[tcp.Server] != tcp.SynReceived.Set() || !h.Ends[tcp.Server].Has(conn.SentSYNACK) || h.S.Seq != h.Ends[tcp.Server].ISS+1 {
			return nil
		}
		stray, reset := h.strayAndReset(h.Conn)
		certain := ConfidenceAmbiguous // nothing shows how old the segment is
		if old := h.M.FormerOf(h.Conn); reset == nil && old != nil {
			if stray, reset = h.strayAndReset(old); reset != nil {
				certain = ConfidenceAssumed
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
		return &Finding{
			end:      tcp.Client,
			Certain:  certain,
			Evidence: []int{stray.Packet, reset.Packet, synACK.Packet, ack, h.S.Packet},
			Values:   Values{"frame": stray.Packet, "ack": stray.Ack, "rst": reset.Packet},
		}
	},
}

// strayAndReset looks, in the connection or the one before it, for an ACK that
// reached the client while it was opening this one and could not be an answer
// to its SYN, and for the RST by which the client answered it.
func (h *checkInput) strayAndReset(c *conn.Conn) (stray, reset *recent.Segment) {
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
