package established

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Two machines with one address, or behind one translated address, answer each
// for itself. What tells them apart are habits: the TTL, the clock of the
// timestamps, the series of the IP identifications. Each of these changes now and
// then in one machine too.

const (
	// signsOfTwo is in how many habits two machines differ.
	signsOfTwo = 2
	// oneSYN is within what time two answers are to one SYN: it is sent again after
	// a second (RFC 6298 §2.1), and may have been where it was not captured.
	oneSYN = 900 * time.Millisecond
	// fastestClock is how many ticks of the timestamps there are in a second, at
	// most, and clockSlack how many more than that are no other clock.
	fastestClock = 1_000_000
	clockSlack   = 1_000_000
)

const differ = "They differ in {signs}."

var TwoHostsOneTuple = anomaly.Kind{
	Name:     "two-hosts-one-tuple",
	Severity: anomaly.Warning,
	Title:    "Two hosts use the same address",
	RFC:      "RFC 5227, RFC 5961 §4",
	Causes: []anomaly.Cause{
		{Name: "syn", Text: "Two hosts send as {X}. One has this connection and goes on with it (#{frame}). The other sent a SYN (#{syn}), and reset the connection (#{rst}) when {Y} challenged it. " + differ,
			Next: "Find the two hosts behind {X.ip} (two MAC addresses, or two entries in the table of the NAT in front of {Y.ip}). Give each its own address or source ports."},
		{Name: "syn-ack", Text: "Two hosts answer as {X}. The same SYN got SYN+ACK #{first} with seq {seq}, and {span} later #{frame} with seq {seq2}. " + differ,
			Next: "Find the two hosts that have {X.ip} (arping -D {X.ip} on its link shows two MAC addresses), or the device on the path that answers in its place. Take the address from one of them."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "ttl", In: "signs", Text: "TTL ({ttl} and {ttl2})"},
		{Name: "clock", In: "signs", Text: "timestamp clock ({tsval} and {tsval2})"},
		{Name: "ids", In: "signs", Text: "IP identification sequence ({id} and {id2})"},
		{Name: "window", In: "signs", Text: "window ({wnd} and {wnd2})"},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "differences in TTL, timestamps, IP identifications and the window of a SYN+ACK, at least", Value: signsOfTwo},
		{Name: "time between two answers to one SYN, at most", Value: oneSYN},
		{Name: "ticks of one clock per second, at most", Value: fastestClock},
		{Name: "extra ticks that do not count as another clock, at most", Value: clockSlack},
	},
	Supersedes: []string{"challenge-ack"},
	On:         triggers.OnUnsettled,
	ByForm:     true,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		switch {
		case h.S.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN|tcp.ACK:
			return twoAnswers(h)
		case h.S.Flags&(tcp.SYN|tcp.RST) == 0 && h.Past&conn.Past(tcp.RcvRST.Set()) != 0:
			return goesOnAfterReset(h)
		}
		return nil
	},
}

// twoAnswers reports two SYN+ACKs of two machines to one SYN.
func twoAnswers(h *anomaly.Case) *anomaly.Finding {
	s := h.S
	if !h.Ends[h.From].Has(endpoint.SentSYNACK) || !h.Whole(h.From.Peer()) {
		return nil
	}
	var first *recent.Segment
	asked := 0
	for g := range h.Handshake() {
		switch {
		case g.From == h.From && g.Flags&tcp.SYN != 0 && g.Seq == s.Seq:
			return nil // it was sent before
		case g.From == h.From && g.Opens(tcp.SYN|tcp.ACK) && g.Ack == s.Ack:
			first = g
		case g.From != h.From && g.Flags&tcp.SYN != 0:
			asked++
		}
	}
	if first == nil || asked != 1 || h.Now.Sub(first.At) > oneSYN {
		return nil
	}
	f := &anomaly.Finding{
		End:      h.From,
		Cause:    "syn-ack",
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{first.Packet, s.Packet},
		Values:   anomaly.Values{"first": first.Packet, "frame": s.Packet, "seq": first.Seq, "seq2": s.Seq, "span": h.Now.Sub(first.At)},
	}
	one := habits{first.At, first.TTL, first.ID, first.TSVal, first.Wnd}
	two := habits{h.Now, s.TTL, s.ID, s.Options.TSVal, s.Wnd}
	signs := one.differ(two, f)
	if one.wnd != two.wnd {
		signs++
		f.Values["wnd"], f.Values["wnd2"] = one.wnd, two.wnd
		f.Say("window")
	}
	if signs < signsOfTwo {
		return nil
	}
	return f
}

// goesOnAfterReset reports that an end goes on with a connection in whose name it
// was reset by another machine, which had wanted to open a connection.
func goesOnAfterReset(h *anomaly.Case) *anomaly.Finding {
	s, subject := h.S, &h.Ends[h.From]
	next := h.Newer()
	if next == nil || h.Stale || h.Foreign {
		return nil
	}
	e := h.EndIn(next, h.From)
	syn, opened := next.Find(e, tcp.SndSYN)
	var rst, before *recent.Segment
	for g := range h.Earlier() {
		switch {
		case g.From != h.From:
		case rst == nil && g.Flags&tcp.RST != 0 && g.Is&recent.WasReply != 0:
			rst = g
		case g.Flags&tcp.RST == 0:
			before = g
		}
		if before != nil {
			break
		}
	}
	if !opened || rst == nil || before == nil || syn.At < before.At || rst.At < syn.At || h.Now.Sub(rst.At) <= subject.InFlight() {
		return nil
	}
	other := &next.Ends[e]
	f := &anomaly.Finding{
		End:      h.From,
		Cause:    "syn",
		Certain:  anomaly.ConfidenceAssumed,
		Evidence: []int{before.Packet, syn.Packet(), rst.Packet, s.Packet},
		Values:   anomaly.Values{"frame": s.Packet, "syn": syn.Packet(), "rst": rst.Packet},
	}
	one := habits{before.At, before.TTL, before.ID, before.TSVal, 0}
	same := habits{h.Now, s.TTL, s.ID, s.Options.TSVal, 0}
	if one.differ(same, &anomaly.Finding{Values: anomaly.Values{}}) > 0 || one.differ(habits{syn.At, other.TTL, other.ID, other.TSVal, 0}, f) < signsOfTwo {
		return nil
	}
	return f
}

// habits are what tells one machine from another.
type habits struct {
	at    tcp.Time
	ttl   uint8
	id    uint16
	tsVal uint32
	wnd   uint16
}

// differ says in what the later habits are those of another machine.
func (one habits) differ(two habits, f *anomaly.Finding) (signs int) {
	if one.ttl != two.ttl {
		signs++
		f.Values["ttl"], f.Values["ttl2"] = one.ttl, two.ttl
		f.Say("ttl")
	}
	ticks := float64(int32(two.tsVal - one.tsVal))
	if one.tsVal != 0 && two.tsVal != 0 && (ticks < -clockSlack || ticks > clockSlack+two.at.Sub(one.at).Seconds()*fastestClock) {
		signs++
		f.Values["tsval"], f.Values["tsval2"] = one.tsVal, two.tsVal
		f.Say("clock")
	}
	if one.id != 0 && two.id != 0 && two.id-one.id-1 >= recent.MaxIDStep {
		signs++
		f.Values["id"], f.Values["id2"] = one.id, two.id
		f.Say("ids")
	}
	return signs
}
