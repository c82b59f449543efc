package judge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// Two worlds that look the same at a tap cannot be told apart there. Where the
// tracker differs from the kernel, the captures of both hosts together say
// whether that was so:
//
//   - the other end has not been heard since a segment to it was lost, or is
//     on its way still: it may have arrived as well;
//   - a segment of the other end was lost that would have told, and none after
//     it has come;
//   - the FIN of the other end, as first sent, never came to the tap: what it
//     had received by then is not known, and a number that is missing may be
//     that of an octet;
//   - octets before its RST never came to the tap, which then has a number that
//     others could have guessed as well;
//   - the other end got a segment that never passed the tap, forged behind it,
//     and has not been heard since;
//   - the kernel moved by itself, and sent nothing: a timer, or the process.

// undecidable says why what the tap captured up to time t, since the end last
// opened a connection, cannot tell its state; "" if it can.
func (c *Case) undecidable(tap, end string, conn *Story, t float64) string {
	const before = 0.1 // seconds: what made it open
	opened := 0.0
	for _, m := range conn.Moves[end] {
		if m.T <= t && (m.To == "SYN_SENT" || m.To == "SYN_RCVD" && m.From != "SYN_SENT") {
			opened = m.T
		}
	}
	return c.undecidableSince(max(0, opened-before), tap, end, conn, t)
}

func (c *Case) undecidableSince(begin float64, tap, end string, conn *Story, t float64) string {
	if len(c.Taps) < 2 {
		return ""
	}
	here, there := c.bothSides(tap, end, conn, begin, t)
	if host(tap) != end {
		if why := unheard(here, there, conn.Addr(end).String()); why != "" {
			return why
		}
	}
	return silent(conn.Moves[end], there, conn.Addr(end).String(), begin, t)
}

// unordered says why what the tap captured cannot tell the order of the end's
// states up to time t: what made them was lost, or came in another order.
func (c *Case) unordered(tap, end string, conn *Story, t float64) string {
	if why := c.undecidableSince(0, tap, end, conn, t); why != "" || len(c.Taps) < 2 {
		return why
	}
	here, there := c.bothSides(tap, end, conn, 0, t)
	if why := passedBy(here, there, conn.Addr(end).String(), 0); why != "" {
		return why
	}
	if why := controlsDiffer(here, there); why != "" {
		return why
	}
	if why := controlsDiffer(there, here); why != "" {
		return why
	}
	return dawdled(here, there, conn.Addr(end).String())
}

// controlsDiffer says which SYN, FIN, RST or first ACK of one capture the other
// lacks, or has in another place among the segments of its sender. A FIN counts
// only when all before it has arrived.
func controlsDiffer(a, b []tracker.Segment) string {
	place, left := map[tracker.Segment]int{}, count(b)
	for i := range b {
		place[bare(&b[i])] = i + 1
	}
	last, opening, lost := map[netip.AddrPort]int{}, map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	for i := range a {
		s := &a[i]
		key := bare(s)
		missing := left[key] == 0
		left[key]--
		switch {
		case s.Flags.Any(tracker.SYN|tracker.FIN|tracker.RST) || opening[s.Src]:
			switch {
			case missing:
				return fmt.Sprintf("%v passed at one host only", s)
			case place[key] < last[s.Src]:
				return fmt.Sprintf("%v was overtaken", s)
			case lost[s.Src] && s.Flags.Any(tracker.FIN):
				return fmt.Sprintf("octets before %v were lost", s)
			}
		case missing && s.Data > 0:
			lost[s.Src] = true
		case s.Data > 0 && place[key] < last[s.Src]:
			return fmt.Sprintf("%v was overtaken", s)
		}
		opening[s.Src] = s.Flags.Any(tracker.SYN)
		last[s.Src] = max(last[s.Src], place[key])
	}
	return ""
}

// bothSides returns what was captured of the conversation between two times at
// the tap (here), and at the host of the end (there).
func (c *Case) bothSides(tap, end string, conn *Story, from, to float64) (here, there []tracker.Segment) {
	within := func(list []tracker.Segment) []tracker.Segment {
		return slices.DeleteFunc(crossing(list, conn.Addr("client"), conn.Addr("server")), func(s tracker.Segment) bool {
			return s.Time < moment(from) || s.Time > moment(to)
		})
	}
	return within(c.segments[tap]), within(c.at(end))
}

// unheard says which segment between the tap (here) and the end (there) is
// missing at one of them, and was followed by nothing of the end that reached
// the tap.
func unheard(here, there []tracker.Segment, end string) string {
	lostThere, lostHere := lost(here, there, func(s *tracker.Segment) bool { return s.Dst.String() == end }),
		lost(there, here, func(s *tracker.Segment) bool { return s.Src.String() == end })
	var heard tracker.Time // when the end sent the last of it that reached the tap
	for i := range there {
		if s := &there[i]; s.Src.String() == end && !lostHere[i] {
			heard = s.Time
		}
	}
	onItsWay := transit(here, end)
	for i := range here {
		if s := &here[i]; lostThere[i] && s.Time.Add(onItsWay) > heard {
			return fmt.Sprintf("#%d %v did not arrive by then, and nothing that came after shows it", s.Packet, s)
		}
	}
	for i := range there {
		if s := &there[i]; lostHere[i] && s.Time > heard {
			return fmt.Sprintf("%v of %s did not come to the tap by then, nor anything after it", s, end)
		}
	}
	const telling = 2 * time.Second // after which others show what a lost RST would have
	gap := false
	closed := map[tracker.Seq]bool{} // by the number of the FIN
	for i := range there {
		s := &there[i]
		if s.Src.String() != end {
			continue
		}
		switch {
		case s.Flags.Any(tracker.RST) && lostHere[i] && heard.Sub(s.Time) < telling:
			return fmt.Sprintf("%v of %s never came to the tap", s, end)
		case s.Flags.Any(tracker.RST) && gap:
			return fmt.Sprintf("octets before %v of %s never came to the tap", s, end)
		case s.Data > 0:
			gap = lostHere[i]
		}
		if !s.Flags.Any(tracker.FIN) || closed[s.End()] {
			continue
		}
		if lostHere[i] {
			return fmt.Sprintf("%v of %s never came to the tap, later copies at most", s, end)
		}
		closed[s.End()] = true
	}
	return passedBy(here, there, end, heard)
}

// lost finds the segments of one capture, of those meant, that the host at the
// other end of the path did not get.
func lost(sent, got []tracker.Segment, meant func(s *tracker.Segment) bool) map[int]bool {
	arrived := arrivals(sent, got)
	gone := map[int]bool{}
	for i := range sent {
		if _, ok := arrived[i]; !ok && meant(&sent[i]) {
			gone[i] = true
		}
	}
	return gone
}

// arrivals finds, for the segments of one capture, where they are in that of the
// host at the other end of the path. Those that are alike are told apart by time:
// what arrived is the last that was sent before. A copy made on the path has none
// left that it could be.
func arrivals(sent, got []tracker.Segment) map[int]int {
	open := map[tracker.Segment][]int{}
	for i := range sent {
		open[bare(&sent[i])] = append(open[bare(&sent[i])], i)
	}
	arrived := map[int]int{}
	for i := range slices.Backward(got) {
		r := &got[i]
		list := open[bare(r)]
		for n, j := range slices.Backward(list) {
			if sent[j].Time <= r.Time {
				arrived[j] = i
				open[bare(r)] = slices.Delete(list, n, n+1)
				break
			}
		}
	}
	return arrived
}

// dawdled says which SYN, FIN or RST to the end, or which segment of it, was on
// its way for longer than the tap can take it to have been.
func dawdled(here, there []tracker.Segment, end string) string {
	most := transit(here, end)
	late := func(sent, got []tracker.Segment, meant func(s *tracker.Segment) bool) string {
		for i, j := range arrivals(sent, got) {
			if s := &sent[i]; meant(s) && got[j].Time.Sub(s.Time) > most {
				return fmt.Sprintf("%v was %v on its way", s, got[j].Time.Sub(s.Time))
			}
		}
		return ""
	}
	why := late(here, there, func(s *tracker.Segment) bool {
		return s.Dst.String() == end && s.Flags.Any(tracker.SYN|tracker.FIN|tracker.RST)
	})
	return cmp.Or(why, late(there, here, func(s *tracker.Segment) bool { return s.Src.String() == end }))
}

// transit is how long a segment toward the end may be on its way, as seen from
// the tap.
func transit(here []tracker.Segment, end string) time.Duration {
	return max(2*response(here, end)+10*time.Millisecond, 50*time.Millisecond)
}

// passedBy says which segment came to the end, after some time, without having
// passed the tap.
func passedBy(here, there []tracker.Segment, end string, after tracker.Time) string {
	arrivedHere := count(here)
	for i := range there {
		if s := &there[i]; s.Dst.String() == end && arrivedHere[bare(s)] == 0 && s.Time > after {
			return fmt.Sprintf("%v came to %s without having passed the tap", s, end)
		}
	}
	return ""
}

// response returns the shortest time in which the end, as seen from the tap,
// acknowledged what was sent to it once; 200 ms if that was never seen.
func response(here []tracker.Segment, end string) time.Duration {
	shortest := time.Duration(0)
	sent := map[tracker.Seq]bool{}
	for i := range here {
		s := &here[i]
		if s.Dst.String() != end || s.Len() == 0 || sent[s.Seq] {
			continue
		}
		sent[s.Seq] = true
		for j := i + 1; j < len(here); j++ {
			r := &here[j]
			if r.Src == s.Src && r.Seq == s.Seq {
				break // sent again
			}
			if took := r.Time.Sub(s.Time); r.Src == s.Dst && r.Flags.Any(tracker.ACK) && s.End().AtMost(r.Ack) {
				if shortest == 0 || took < shortest {
					shortest = took
				}
				break
			}
		}
	}
	if shortest == 0 {
		return 200 * time.Millisecond
	}
	return shortest
}

// bare returns what a segment has at both taps.
func bare(s *tracker.Segment) tracker.Segment {
	b := *s
	b.Time, b.Packet = 0, 0
	return b
}

// count counts the segments that are alike.
func count(list []tracker.Segment) map[tracker.Segment]int {
	n := map[tracker.Segment]int{}
	for i := range list {
		n[bare(&list[i])]++
	}
	return n
}

// silent says which of the kernel's moves between two times no packet of its host
// tells of. A close, for example, is told by the FIN, which waits where there is
// data to be sent before it.
func silent(moves []Move, atHost []tracker.Segment, end string, from, t float64) string {
	const unanswered = 3.0 // seconds that a SYN goes without an answer, twice
	for _, m := range moves {
		if m.T < from {
			continue
		}
		if m.T <= t && m.To == "SYN_SENT" && m.From != "CLOSED" && m.From != "TIME_WAIT" && m.T > t-unanswered {
			return fmt.Sprintf("the kernel sent a SYN at %.6f although it was in %s: until it is answered it may be forged", m.T, m.From)
		}
		if m.T <= t && m.To != "LISTEN" && !told(m, atHost, end) {
			return fmt.Sprintf("the kernel went from %s to %s at %.6f by itself, and sent nothing then", m.From, m.To, m.T)
		}
	}
	return ""
}

// told reports whether a packet at the host tells of a move of its kernel: a FIN
// that its process closed, a RST, an ICMP error or the last ACK that the
// connection is gone, and any of other moves. An end in SYN_SENT sends RSTs that
// do not end it.
func told(m Move, atHost []tracker.Segment, end string) bool {
	return shownBy(visit{m.To, m.T}, atHost, func(s *tracker.Segment) bool {
		sent := s.Src.String() == end
		switch {
		case m.To == "FIN_WAIT_1" || m.To == "LAST_ACK":
			return s.Flags.Any(tracker.FIN) && sent && !heardBetween(atHost, end, moment(m.T), s.Time)
		case m.To == "CLOSED" && m.From != "TIME_WAIT":
			switch {
			case s.ICMP.Type != 0, m.From == "LAST_ACK" && !sent:
				return true
			case sent:
				return s.Flags.Any(tracker.RST) && m.From != "SYN_SENT" && !heardBetween(atHost, end, moment(m.T), s.Time)
			default:
				return s.Flags.Any(tracker.RST) && (m.From == "SYN_SENT" || m.From == "SYN_RCVD" || expected(s, atHost, end))
			}
		}
		return true
	})
}

// heardBetween reports whether anything came to the end between two times.
func heardBetween(atHost []tracker.Segment, end string, from, to tracker.Time) bool {
	return slices.ContainsFunc(atHost, func(s tracker.Segment) bool {
		return s.Dst.String() == end && from < s.Time && s.Time < to
	})
}

// expected reports whether a RST to the end has the number that it asks for by
// what it sent last, or the one before, or that behind what it has by SACK: by
// no other does Linux let a connection be reset (RFC 5961 §3.2).
func expected(rst *tracker.Segment, atHost []tracker.Segment, end string) bool {
	for i := range slices.Backward(atHost) {
		s := &atHost[i]
		if s.Src.String() != end || s.Time > rst.Time || !s.Flags.Any(tracker.ACK) {
			continue
		}
		for _, k := range s.Options.SACK[:s.Options.NumSACK] {
			if rst.Seq == k.Right {
				return true
			}
		}
		return rst.Seq == s.Ack || rst.Seq+1 == s.Ack
	}
	return true // it has said nothing yet
}
