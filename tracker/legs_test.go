package tracker_test

import (
	"fmt"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A ladder of captures of two places has a rung where a segment left, and one where it
// came near its receiver. As in the figures of RFC 9293 "..." stands where it is under
// way, and "XXX" where it was lost; "???" is where nobody sent it, "+++" where it is a
// copy that the network made:
//
//	1.  SYN-SENT  --> <SEQ=100><CTL=SYN> ...  LISTEN
//	2.  SYN-SENT  ... <SEQ=100><CTL=SYN> -->  LISTEN..SYN-RECEIVED
//
// The second is told with the number of the first. What is another there was changed on
// the way.

// A leg is what a rung's arrows say of its segment.
type leg struct {
	arrows [2]string // left and right of the segment
	leg    tcp.Leg
	fate   tcp.Fate
}

// parseLeg reads the arrows of a segment, and reports whether A sends it.
func parseLeg(left, right string) (l leg, fromA bool, err error) {
	l.arrows = [2]string{left, right}
	here, there := left, right
	if fromA = left == "-->" || right == "-->"; !fromA {
		here, there = right, left
	}
	arrow := map[bool]string{true: "-->", false: "<--"}[fromA]
	switch {
	case here == arrow && there == arrow:
	case here == arrow && there == "...":
		l.leg, l.fate = tcp.Left, tcp.FatePassed
	case here == arrow && there == "XXX":
		l.leg, l.fate = tcp.Left, tcp.FateLost
	case there == arrow && here == "...":
		l.leg, l.fate = tcp.Neared, tcp.FatePassed
	case there == arrow && here == "???":
		l.leg, l.fate = tcp.Neared, tcp.FateForged
	case there == arrow && here == "+++":
		l.leg, l.fate = tcp.Neared, tcp.FateCopied
	default:
		return l, false, fmt.Errorf("%q and %q: a segment has an arrow on both sides, or one and what stands for the other", left, right)
	}
	return l, fromA, nil
}

// A passage is what is told of the segment of a rung beside the segment.
type passage struct {
	packet int
	twin   *tcp.Twin
	as     *tcp.Segment // with the numbers that it had where it left; nil: it did not leave
}

// passages numbers the rungs' segments, and joins those of one that left and came.
func (l *ladder) passages() []passage {
	list := make([]passage, len(l.rungs))
	at := make([]time.Duration, len(l.rungs))
	frame := 0
	came := map[int]int{} // rung where it came, by that where it left
	for i := range l.rungs {
		r := &l.rungs[i]
		if i > 0 {
			at[i] = at[i-1] + r.pause
		}
		if r.segment == nil || list[i].packet != 0 {
			continue
		}
		frame++
		list[i].packet = frame
		if r.leg.leg != tcp.Passing {
			list[i].twin = &tcp.Twin{Fate: r.leg.fate}
		}
		if r.leg.leg != tcp.Left || r.leg.fate != tcp.FatePassed {
			continue
		}
		j := i + 1
		for ; j < len(l.rungs) && !(list[j].packet == 0 && l.rungs[j].isCopyOf(r)); j++ {
		}
		if j < len(l.rungs) {
			came[i], list[j].packet = j, frame
		}
	}
	for i, j := range came {
		other := *l.rungs[j].segment
		other.Src, other.Dst = l.rungs[j].src, l.rungs[j].dst
		as := other
		as.Seq, as.Ack = l.rungs[i].segment.Seq, l.rungs[i].segment.Ack
		list[j].as = &as
		list[i].twin.Other, list[i].twin.Delay = &other, at[j]-at[i]
		for k, o := range came {
			if k > i && o < j && l.rungs[k].fromA == l.rungs[i].fromA {
				list[i].twin.Overtaken++
			}
		}
	}
	return list
}

// isCopyOf reports whether the rung is where what left at the other came.
func (r *rung) isCopyOf(left *rung) bool {
	return r.segment != nil && r.leg.leg == tcp.Neared && r.leg.fate == tcp.FatePassed && r.fromA == left.fromA &&
		(r.segment.Seq == left.segment.Seq || r.segment.Flags == left.segment.Flags && r.segment.Data == left.segment.Data)
}

// pass puts what is told of the segment beside it into s, which goes between src and dst.
func (p *passage) pass(s *tcp.Segment, l leg) {
	s.Packet, s.Leg = p.packet, l.leg
	if p.twin == nil {
		return
	}
	twin := *p.twin
	if o := twin.Other; o != nil {
		other := *o
		if !other.Src.IsValid() {
			other.Src = s.Src
		}
		if !other.Dst.IsValid() {
			other.Dst = s.Dst
		}
		twin.Other = &other
	}
	s.Twin = &twin
}
