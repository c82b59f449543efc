package oracle

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Two worlds that look the same at a tap cannot be told apart there. Where the
// tracker differs from the kernel, the captures of both hosts together say
// whether that was so.

// An Excuse is a reason for which the packets of a tap cannot decide a state.
type Excuse string

const (
	// A segment to the end was lost behind the tap, or is on its way still, and
	// the end has not been heard since: it may have arrived as well.
	LostBehindTap Excuse = "lost behind the tap"

	// A segment of the end that would have told was lost before the tap, and
	// nothing after it has come.
	LostBeforeTap Excuse = "lost before the tap"

	// The FIN of the end, as first sent, never came to the tap: what it had
	// received by then is not known, and a number that is missing may be that
	// of an octet.
	FirstFINLost Excuse = "first FIN lost before the tap"

	// A RST never came to the tap, or octets before it did not, so that its
	// number is one that others could have guessed as well.
	RSTLost Excuse = "RST, or octets before it, lost before the tap"

	// The end got a segment that never passed the tap, forged behind it, and
	// has not been heard since; or a FIN, which moved it: what acknowledges that
	// may as well acknowledge an octet.
	PassedBy Excuse = "came to the end without passing the tap"

	// The kernel moved by itself, and sent nothing: a timer, or the process.
	MovedSilently Excuse = "moved silently"

	// The kernel sent a SYN from an open connection: until it is answered, it
	// may be forged.
	SYNUnanswered Excuse = "SYN not answered yet"

	// What made the end move was lost, or came in another order than it passed
	// the tap. An excuse for the order of states only.
	OtherOrder Excuse = "lost, late or in another order at the end"

	// Nothing was captured of the end, and the tracker does not guess.
	SaysUnknown Excuse = "UNKNOWN of an end that sent nothing"

	// Its process had closed, and the FIN waited for what was to be sent before
	// it: Linux says FIN_WAIT_1 then, RFC 9293 §3.10.4 when the FIN is sent. An
	// excuse for firm states only.
	FINWaited Excuse = "closed before its FIN was sent"

	// It answered the SYN with a cookie, and keeps nothing in SYN_RCVD, or it has
	// given up what it kept: nothing that it sends tells. An excuse for firm
	// states only.
	KeepsNoRequest Excuse = "no socket for what it answered with SYN,ACK"

	// The story says that a bystander may say so: an option of the host's decides it,
	// which no packet tells. An excuse for firm states only.
	AsConfigured Excuse = "an option of the host decides it"

	// Its peer accepted a segment that somebody sent in the end's name. An
	// excuse for firm states only.
	ForgedAndAccepted Excuse = "forged in its name, and accepted"
)

// An excuse is one of them, with the segment or the move that it is about. The
// zero excuse is none.
type excuse struct {
	kind Excuse
	text string
}

func because(kind Excuse, format string, args ...any) excuse {
	return excuse{kind, fmt.Sprintf(format, args...)}
}

// undecidable says why what the tap captured up to time t, since the end last
// opened a connection, cannot tell its state, if it cannot.
func (c *Case) undecidable(tap, end string, conn *Story, t float64) excuse {
	const before = 0.1 // seconds: what made it open
	opened := 0.0
	for _, m := range conn.Moves[end] {
		if m.T <= t && (m.To == "SYN_SENT" || m.To == "SYN_RCVD" && m.From != "SYN_SENT") {
			opened = m.T
		}
	}
	return c.undecidableSince(max(0, opened-before), tap, end, conn, t)
}

func (c *Case) undecidableSince(begin float64, tap, end string, conn *Story, t float64) excuse {
	if len(c.Taps) < 2 {
		return excuse{}
	}
	here, there := c.bothSides(tap, end, conn, begin, t)
	if host(tap) != end {
		why := cmp.Or(unheard(here, there, conn.Addr(end).String()), finPassedBy(here, there, conn.Addr(end).String(), conn.Moves[end]))
		if why != (excuse{}) {
			return why
		}
	}
	return silent(conn.Moves[end], there, conn.Addr(end).String(), begin, t)
}

// unordered says why what the tap captured cannot tell the order of the end's
// states up to time t: what made them was lost, or came in another order.
func (c *Case) unordered(tap, end string, conn *Story, t float64) excuse {
	if why := c.undecidableSince(0, tap, end, conn, t); why != (excuse{}) || len(c.Taps) < 2 {
		return why
	}
	here, there := c.bothSides(tap, end, conn, 0, t)
	if why := passedBy(here, there, conn.Addr(end).String(), 0); why != (excuse{}) {
		return why
	}
	if why := controlsDiffer(here, there); why != (excuse{}) {
		return why
	}
	if why := controlsDiffer(there, here); why != (excuse{}) {
		return why
	}
	return dawdled(here, there, conn.Addr(end).String())
}

// controlsDiffer says which SYN, FIN, RST or first ACK of one capture the other
// lacks, or has in another place among the segments of its sender. A FIN counts
// only when all before it has arrived.
func controlsDiffer(a, b []tcp.Segment) excuse {
	place, left := map[tcp.Segment]int{}, count(b)
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
		case s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST) || opening[s.Src]:
			switch {
			case missing:
				return because(OtherOrder, "%v passed at one host only", s)
			case place[key] < last[s.Src]:
				return because(OtherOrder, "%v was overtaken", s)
			case lost[s.Src] && s.Flags.Any(tcp.FIN):
				return because(OtherOrder, "octets before %v were lost", s)
			}
		case missing && s.Data > 0:
			lost[s.Src] = true
		case s.Data > 0 && place[key] < last[s.Src]:
			return because(OtherOrder, "%v was overtaken", s)
		}
		opening[s.Src] = s.Flags.Any(tcp.SYN)
		last[s.Src] = max(last[s.Src], place[key])
	}
	return excuse{}
}

// bothSides returns what was captured of the conversation between two times at
// the tap (here), and at the host of the end (there).
func (c *Case) bothSides(tap, end string, conn *Story, from, to float64) (here, there []tcp.Segment) {
	within := func(list []tcp.Segment) []tcp.Segment {
		return slices.DeleteFunc(crossing(list, conn.Addr("client"), conn.Addr("server")), func(s tcp.Segment) bool {
			return s.Time < moment(from) || s.Time > moment(to)
		})
	}
	return within(c.segments[tap]), within(c.at(end))
}

// unheard says which segment between the tap (here) and the end (there) is
// missing at one of them, and was followed by nothing of the end that reached
// the tap.
func unheard(here, there []tcp.Segment, end string) excuse {
	lostThere, lostHere := lost(here, there, func(s *tcp.Segment) bool { return s.Dst.String() == end }), notCaptured(here, there, end)
	heard := lastHeard(there, lostHere, end)
	onItsWay := transit(here, end)
	for i := range here {
		if s := &here[i]; lostThere[i] && s.Time.Add(onItsWay) > heard {
			return because(LostBehindTap, "#%d %v did not arrive by then, and nothing that came after shows it", s.Packet, s)
		}
	}
	if why := cmp.Or(untold(there, lostHere, heard, end), acksLost(here, lostThere, end)); why != (excuse{}) {
		return why
	}
	const telling = 2 * time.Second // after which others show what a lost RST would have
	gap := false
	for i := range there {
		s := &there[i]
		if s.Src.String() != end {
			continue
		}
		switch {
		case s.Flags.Any(tcp.RST) && lostHere[i] && heard.Sub(s.Time) < telling:
			return because(RSTLost, "%v of %s never came to the tap", s, end)
		case s.Flags.Any(tcp.RST) && gap:
			return because(RSTLost, "octets before %v of %s never came to the tap", s, end)
		case s.Data > 0:
			gap = lostHere[i]
		}
	}
	if why := firstFINLost(there, lostHere, end); why != (excuse{}) {
		return why
	}
	return passedBy(here, there, end, heard)
}

// acksLost says which ACKs were lost between the tap and an end that sent nothing but
// copies of its SYN+ACK: one that takes no ACK, as it has no room for the connection,
// sends the same.
func acksLost(here []tcp.Segment, lostThere map[int]bool, end string) excuse {
	const takesNone = 2
	var acks []int
	for i := range here {
		switch s := &here[i]; {
		case s.Src.String() == end && s.Flags&(tcp.SYN|tcp.ACK) != tcp.SYN|tcp.ACK:
			return excuse{}
		case lostThere[i] && s.PureAck():
			acks = append(acks, s.Packet)
		}
	}
	if len(acks) < takesNone {
		return excuse{}
	}
	return because(LostBehindTap, "the ACKs %v of the SYN+ACK did not arrive, as if none were taken", acks)
}

// firstFINLost says which FIN of the end came to the tap in later copies at most.
func firstFINLost(there []tcp.Segment, lostHere map[int]bool, end string) excuse {
	closed := map[tcp.Seq]bool{} // by the number of the FIN
	for i := range there {
		s := &there[i]
		if s.Src.String() != end || !s.Flags.Any(tcp.FIN) || closed[s.End()] {
			continue
		}
		if lostHere[i] {
			return because(FirstFINLost, "%v of %s never came to the tap, later copies at most", s, end)
		}
		closed[s.End()] = true
	}
	return excuse{}
}

// notCaptured finds the segments that the end sent (there) and that never came to
// the tap (here).
func notCaptured(here, there []tcp.Segment, end string) map[int]bool {
	return lost(there, here, func(s *tcp.Segment) bool { return s.Src.String() == end })
}

// lastHeard returns when the end sent the last segment that reached the tap.
func lastHeard(there []tcp.Segment, lostHere map[int]bool, end string) (heard tcp.Time) {
	for i := range there {
		if s := &there[i]; s.Src.String() == end && !lostHere[i] {
			heard = s.Time
		}
	}
	return heard
}

// untold says which segment of the end never came to the tap, nor any after it.
func untold(there []tcp.Segment, lostHere map[int]bool, heard tcp.Time, end string) excuse {
	for i := range there {
		if s := &there[i]; lostHere[i] && s.Time > heard {
			return because(LostBeforeTap, "%v of %s did not come to the tap by then, nor anything after it", s, end)
		}
	}
	return excuse{}
}

// lost finds the segments of one capture, of those meant, that the host at the
// other end of the path did not get.
func lost(sent, got []tcp.Segment, meant func(s *tcp.Segment) bool) map[int]bool {
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
func arrivals(sent, got []tcp.Segment) map[int]int {
	open := map[tcp.Segment][]int{}
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
func dawdled(here, there []tcp.Segment, end string) excuse {
	most := transit(here, end)
	late := func(sent, got []tcp.Segment, meant func(s *tcp.Segment) bool) excuse {
		for i, j := range arrivals(sent, got) {
			if s := &sent[i]; meant(s) && got[j].Time.Sub(s.Time) > most {
				return because(OtherOrder, "%v was %v on its way", s, got[j].Time.Sub(s.Time))
			}
		}
		return excuse{}
	}
	why := late(here, there, func(s *tcp.Segment) bool {
		return s.Dst.String() == end && s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST)
	})
	return cmp.Or(why, late(there, here, func(s *tcp.Segment) bool { return s.Src.String() == end }))
}

// transit is how long a segment toward the end may be on its way, as seen from
// the tap.
func transit(here []tcp.Segment, end string) time.Duration {
	return max(2*response(here, end)+10*time.Millisecond, 50*time.Millisecond)
}

// passedBy says which segment came to the end, after some time, without having
// passed the tap.
func passedBy(here, there []tcp.Segment, end string, after tcp.Time) excuse {
	arrivedHere := count(here)
	for i := range there {
		if s := &there[i]; s.Dst.String() == end && arrivedHere[bare(s)] == 0 && s.Time > after {
			return because(PassedBy, "%v came to %s without having passed the tap", s, end)
		}
	}
	return excuse{}
}

// finPassedBy says which FIN came to the end without having passed the tap, and
// moved it.
func finPassedBy(here, there []tcp.Segment, end string, moves []Move) excuse {
	passed := count(here)
	for i := range there {
		s := &there[i]
		if s.Dst.String() != end || !s.Flags.Any(tcp.FIN) || passed[bare(s)] > 0 {
			continue
		}
		byFIN := func(m Move) bool {
			return movedBy(m, s) && (m.To == "CLOSE_WAIT" || m.To == "CLOSING" || m.To == "TIME_WAIT")
		}
		if slices.ContainsFunc(moves, byFIN) {
			return because(PassedBy, "%v came to %s without having passed the tap, and moved it", s, end)
		}
	}
	return excuse{}
}

// response returns the shortest time in which the end, as seen from the tap,
// acknowledged what was sent to it once; 200 ms if that was never seen.
func response(here []tcp.Segment, end string) time.Duration {
	shortest := time.Duration(0)
	sent := map[tcp.Seq]bool{}
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
			if took := r.Time.Sub(s.Time); r.Src == s.Dst && r.Flags.Any(tcp.ACK) && s.End().AtMost(r.Ack) {
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
func bare(s *tcp.Segment) tcp.Segment {
	b := *s
	b.Time, b.Packet = 0, 0
	return b
}

// count counts the segments that are alike.
func count(list []tcp.Segment) map[tcp.Segment]int {
	n := map[tcp.Segment]int{}
	for i := range list {
		n[bare(&list[i])]++
	}
	return n
}

// silent says which of the kernel's moves between two times no packet of its host
// tells of. A close, for example, is told by the FIN, which waits where there is
// data to be sent before it.
func silent(moves []Move, atHost []tcp.Segment, end string, from, t float64) excuse {
	const unanswered = 3.0 // seconds that a SYN goes without an answer, twice
	for _, m := range moves {
		if m.T < from {
			continue
		}
		if m.T <= t && m.To == "SYN_SENT" && m.From != "CLOSED" && m.From != "TIME_WAIT" && m.T > t-unanswered {
			return because(SYNUnanswered, "the kernel sent a SYN at %.6f although it was in %s: until it is answered it may be forged", m.T, m.From)
		}
		if m.T <= t && m.To != "LISTEN" && !told(m, atHost, end) {
			return because(MovedSilently, "the kernel went from %s to %s at %.6f by itself, and sent nothing then", m.From, m.To, m.T)
		}
	}
	return excuse{}
}

// told reports whether a packet at the host tells of a move of its kernel: a FIN
// that its process closed, a RST, an ICMP error or the last ACK that the
// connection is gone, and any of other moves. An end in SYN_SENT sends RSTs that
// do not end it.
func told(m Move, atHost []tcp.Segment, end string) bool {
	return shownBy(visit{m.To, m.T}, atHost, func(s *tcp.Segment) bool {
		sent := s.Src.String() == end
		switch {
		case m.To == "FIN_WAIT_1" || m.To == "LAST_ACK":
			return s.Flags.Any(tcp.FIN) && sent && !heardBetween(atHost, end, moment(m.T), s.Time)
		case m.To == "CLOSED" && m.From != "TIME_WAIT":
			switch {
			case s.ICMP.Type != 0, m.From == "LAST_ACK" && !sent:
				return true
			case sent:
				return s.Flags.Any(tcp.RST) && m.From != "SYN_SENT" && !heardBetween(atHost, end, moment(m.T), s.Time)
			default:
				return s.Flags.Any(tcp.RST) && (m.From == "SYN_SENT" || m.From == "SYN_RCVD" || expected(s, atHost, end))
			}
		}
		return true
	})
}

// heardBetween reports whether anything came to the end between two times.
func heardBetween(atHost []tcp.Segment, end string, from, to tcp.Time) bool {
	return slices.ContainsFunc(atHost, func(s tcp.Segment) bool {
		return s.Dst.String() == end && from < s.Time && s.Time < to
	})
}

// expected reports whether a RST to the end has the number that it asks for by
// what it sent last, or the one before, or that behind what it has by SACK: by
// no other does Linux let a connection be reset (RFC 5961 §3.2).
func expected(rst *tcp.Segment, atHost []tcp.Segment, end string) bool {
	for i := range slices.Backward(atHost) {
		s := &atHost[i]
		if s.Src.String() != end || s.Time > rst.Time || !s.Flags.Any(tcp.ACK) {
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
