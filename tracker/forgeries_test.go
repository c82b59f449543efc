package tracker_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/oracle"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Into each of 400 real conversations, 200 seen at either host, somebody sends one
// segment in an end's name that its receiver refuses, anywhere. What the kernels
// were in stays as it was, so no proved or settled state may be another one. One
// kind is tried in every twentieth conversation; FULL=1 tries it in all, in two
// minutes.

// A forgery is one kind of forged segment.
type forgery struct {
	what string // flags and data
	seq  string
	ack  string
}

func (f forgery) String() string { return f.what + " " + f.seq + " " + f.ack }

var (
	forgedWhats = []string{"empty", "FIN", "RST", "SYN", "data", "data+FIN"}
	forgedSeqs  = []string{"exact", "in-window", "edge", "below", "beyond", "largest"}
	forgedAcks  = []string{"valid", "future", "ancient", "none"}
)

// A target is the end that a forged segment comes to, as the capture of its own
// host shows it: what it has received, and sent.
type target struct {
	synSent, synReceived bool
	acked                bool // its SYN
	next                 tcp.Seq
	lastACK              tcp.Seq
	edge                 tcp.Seq
	una, nxt             tcp.Seq
	early                []tcp.Segment // that wait for a hole to be filled
	largest              tcp.Seq       // what follows all that its peer ever sent
	widest               tcp.Size      // window of the peer
	shift                [2]uint8      // the target's, its peer's
	scaled               [2]bool
	fin                  tcp.Seq
	finSent, closedTo    bool
	over                 bool
	newest               tcp.Segment // of its peer
}

// targetOf reads what the host of the given end has received and sent.
func targetOf(segments []tcp.Segment, c *oracle.Case, end string) *target {
	t := new(target)
	self := c.Addr(end)
	for i := range segments {
		if s := &segments[i]; s.ICMP.Type == 0 {
			if s.Src == self {
				t.sends(s)
			} else {
				t.receives(s)
			}
		}
	}
	return t
}

func (t *target) scale(of int) uint8 {
	if t.scaled[0] && t.scaled[1] {
		return t.shift[of]
	}
	return 0
}

func (t *target) sends(s *tcp.Segment) {
	if s.Flags&tcp.RST != 0 {
		t.over = true
		return
	}
	wnd := tcp.Size(s.Wnd)
	if s.Flags&tcp.SYN != 0 {
		t.una, t.nxt, t.synSent = s.Seq, s.Seq+1, true
		t.scaled[0], t.shift[0] = s.Options.HasShift, s.Options.Shift
	} else {
		wnd <<= t.scale(0)
	}
	t.nxt = tcp.Later(t.nxt, s.End())
	if s.Flags&tcp.FIN != 0 {
		t.fin, t.finSent = s.End()-1, true
	}
	if s.Flags&tcp.ACK != 0 {
		t.next = tcp.Later(t.next, s.Ack)
		t.lastACK = s.Ack
		if right := s.Ack.Add(wnd); t.edge == 0 || t.edge.Before(right) {
			t.edge = right
		}
	}
}

func (t *target) receives(s *tcp.Segment) {
	if s.Flags&tcp.RST != 0 {
		t.over = true
		return
	}
	t.newest = *s
	wnd := tcp.Size(s.Wnd)
	if s.Flags&tcp.SYN != 0 {
		t.scaled[1], t.shift[1] = s.Options.HasShift, s.Options.Shift
		if !t.synReceived {
			t.next, t.largest, t.synReceived = s.Seq, s.Seq, true
		}
	} else {
		wnd <<= t.scale(1)
	}
	t.widest = max(t.widest, wnd)
	t.largest = tcp.Later(t.largest, s.End())
	if s.Flags&tcp.ACK != 0 && t.synSent && t.una.Before(s.Ack) && s.Ack.AtMost(t.nxt) {
		t.una, t.acked = s.Ack, true
	}
	t.early = append(t.early, *s)
	for moved := true; moved; {
		moved = false
		for _, e := range t.early {
			if e.Len() > 0 && e.Seq.AtMost(t.next) && t.next.Before(e.End()) {
				t.next, moved = e.End(), true
				t.closedTo = t.closedTo || e.Flags&tcp.FIN != 0
			}
		}
	}
}

// state is where the target is.
func (t *target) state() tcp.State {
	finAcked := t.finSent && t.fin.Before(t.una)
	switch {
	case t.over || !t.synSent:
		return tcp.Closed
	case !t.synReceived:
		return tcp.SynSent
	case !t.acked:
		return tcp.SynReceived
	case !t.finSent && t.closedTo:
		return tcp.CloseWait
	case !t.finSent:
		return tcp.Established
	case !t.closedTo && finAcked:
		return tcp.FinWait2
	case !t.closedTo:
		return tcp.FinWait1
	case !finAcked:
		return tcp.Closing // or LAST-ACK, which refuses the same
	}
	return tcp.TimeWait // or CLOSED
}

// forge makes a segment of the kind for the target, or reports that there is none.
func (t *target) forge(f forgery, rnd *rand.Rand) (s tcp.Segment, stamps string, ok bool) {
	s = t.newest
	s.Payload, s.Data, s.Urg, s.Options = 0, 0, 0, tcp.Options{}
	s.Flags = map[string]tcp.Flags{"empty": 0, "FIN": tcp.FIN, "RST": tcp.RST, "SYN": tcp.SYN, "data": tcp.PSH, "data+FIN": tcp.PSH | tcp.FIN}[f.what]
	if strings.HasPrefix(f.what, "data") {
		s.Data = tcp.Size(1 + rnd.IntN(100))
		s.Payload = rnd.Uint64() | 1
	}
	s.ID = uint16(1 + rnd.IntN(1<<16-1))
	if rnd.IntN(2) == 0 {
		s.TTL -= 3
	}
	stamps = "none"
	if t.newest.Options.HasTS {
		stamps = []string{"right", "none", "old"}[rnd.IntN(3)]
		if stamps != "none" {
			s.Options.HasTS, s.Options.TSVal, s.Options.TSEcr = true, t.newest.Options.TSVal, t.newest.Options.TSEcr
		}
		if stamps == "old" {
			s.Options.TSVal -= 10_000 + rnd.Uint32N(1<<28)
		}
	}
	room := t.edge.Minus(t.next)
	switch f.seq {
	case "exact":
		s.Seq = t.next
	case "in-window":
		if room > 1<<30 || room < 3 {
			return s, stamps, false
		}
		s.Seq = t.next.Add(1 + tcp.Size(rnd.Uint32N(min(uint32(room)-2, pick(rnd, uint32(2000), 1<<30)))))
	case "edge":
		s.Seq = t.edge
	case "below":
		s.Seq = t.next.Add(-tcp.Size(2+pick(rnd, rnd.Uint32N(3000), rnd.Uint32N(1<<30))) - s.Len())
	case "beyond":
		s.Seq = t.edge.Add(tcp.Size(pick(rnd, 1+rnd.Uint32N(1000), 1+rnd.Uint32N(1<<30))))
	case "largest":
		s.Seq = t.largest
	}
	switch f.ack {
	case "valid":
		s.Ack = t.una
		if !t.acked {
			s.Ack = t.nxt
		}
	case "future":
		s.Ack = t.nxt.Add(tcp.Size(pick(rnd, 1, 50, 5000, 1<<20, 1<<29)))
	case "ancient":
		s.Ack = t.una.Add(-(t.widest + 1000 + tcp.Size(pick(rnd, rnd.Uint32N(1<<16), rnd.Uint32N(1<<29)))))
	}
	if f.ack != "none" {
		s.Flags |= tcp.ACK
	} else {
		s.Ack = 0
	}
	return s, stamps, true
}

// refuses reports whether the target, a Linux, is where it was after the segment.
// What it would only queue behind a hole it has not refused.
func (t *target) refuses(s *tcp.Segment, f forgery, stamps string, later []tcp.Segment) bool {
	rst, syn, ack := s.Flags&tcp.RST != 0, s.Flags&tcp.SYN != 0, s.Flags&tcp.ACK != 0
	fin, badACK, old := s.Flags&tcp.FIN != 0, f.ack == "future" || f.ack == "ancient", stamps == "old"
	exact := s.Seq == t.next
	outside := t.edge.Before(s.Seq) || s.End().Before(t.lastACK)
	if !outside && s.Seq.Before(t.next) && !exact { // below, but only just
		return false
	}
	switch state := t.state(); state {
	case tcp.Closed: // a FIN that crosses the RST, or a SYN, may well be the end's own
		return !syn && !(fin && ack && !badACK && !old)
	case tcp.SynSent:
		return badACK || !syn && !(rst && ack)
	case tcp.SynReceived:
		return badACK || !rst && !syn && !ack || outside || old && !rst && !syn
	case tcp.TimeWait:
		return !(rst && exact) && !(syn && !ack) // its peer is CLOSED, and may call again
	default:
		if state == tcp.FinWait2 && !outside && !(old && !rst) && (rst || ack && s.Len() > 0) {
			return false // it may be an orphan, which looks at less
		}
		switch {
		case outside:
			return !(rst && s.Seq+1 == t.next)
		case rst:
			return !exact && !slices.ContainsFunc(t.early, func(e tcp.Segment) bool { return e.End() == s.Seq })
		case old, syn, !ack, badACK, s.Len() == 0, s.Seq == t.edge, t.closedTo:
			return true
		case fin && s.Data == 0 && !exact: // it waits behind a hole, for ever, unless that ends here
			return !slices.ContainsFunc(later, func(e tcp.Segment) bool { return e.Dst == s.Dst && (e.End() == s.Seq || e.Seq == s.Seq) }) &&
				!slices.ContainsFunc(t.early, func(e tcp.Segment) bool { return e.End() == s.Seq || e.Seq == s.Seq })
		}
		return false
	}
}

// forgedInto are the conversations, each at either host, of which it is known or not that
// they were captured there.
func forgedInto(t *testing.T) (list []*oracle.Case) {
	c, err := oracle.Load("testdata/traces/random-200")
	if err != nil {
		t.Fatal(err)
	}
	for _, c.TapOn = range []oracle.TapOn{oracle.Nowhere, oracle.Found} {
		for _, tap := range c.Taps {
			list = append(list, c.Alone(tap)...)
		}
	}
	return list
}

// momentsAfter are some at which nothing has moved for a while, after segment n.
func momentsAfter(segments []tcp.Segment, n int, last tcp.Time) (list []tcp.Time) {
	const still = 20 * time.Millisecond
	for i := n; i+1 < len(segments) && len(list) < 3; i++ {
		if at := segments[i].Time.Add(still); segments[i+1].Time > at.Add(still) && at < last {
			list = append(list, at)
		}
	}
	return list
}

// wrongly returns what the tracker is firm about and should not be.
func wrongly(c *oracle.Case) (list []string) {
	_, _, misses := c.Firm()
	for i := range misses {
		list = append(list, misses[i].String())
	}
	return list
}

func TestRefusedForgeriesMoveNobody(t *testing.T) {
	into := forgedInto(t)
	right := map[*oracle.Case]bool{}
	for _, c := range into {
		right[c] = len(wrongly(c)) == 0
	}
	share := 20
	if os.Getenv("FULL") != "" {
		share = 1
	}
	forged, kinds := 0, 0
	for _, what := range forgedWhats {
		for _, seq := range forgedSeqs {
			for _, ack := range forgedAcks {
				f := forgery{what, seq, ack}
				kinds++
				n, bad, example := 0, 0, ""
				for i, c := range into {
					if (i+kinds)%share != 0 || !right[c] {
						continue
					}
					rnd := rand.New(rand.NewPCG(uint64(kinds), uint64(i)))
					segments := c.Segments(c.Taps[0])
					host, _, _ := strings.Cut(c.Taps[0], ".")
					var s tcp.Segment
					at, ok := 0, false
					for range 8 {
						at = 1 + rnd.IntN(len(segments))
						target := targetOf(segments[:at], c, host)
						var stamps string
						if s, stamps, ok = target.forge(f, rnd); !ok {
							continue
						}
						s.Src, s.Dst = c.Addr(map[string]string{"client": "server", "server": "client"}[host]), c.Addr(host)
						if ok = target.synReceived && target.edge != 0 && target.refuses(&s, f, stamps, segments[at:]); ok {
							break
						}
					}
					if !ok {
						continue
					}
					s.Time = segments[at-1].Time.Add(300 * time.Microsecond)
					if at < len(segments) {
						s.Time = min(s.Time, (segments[at-1].Time+segments[at].Time)/2)
					}
					last := c.Checkpoints[len(c.Checkpoints)-1].T
					n++
					told := c.Forged(at, s, momentsAfter(segments, at-1, tcp.Time(last*1e9)))
					if list := wrongly(told); len(list) > 0 {
						if bad++; example == "" {
							example = fmt.Sprintf("%s behind #%d: %v\n%s", c.Name, at, &s, list[0])
						}
					}
				}
				forged += n
				if bad > 0 {
					t.Errorf("%v: %d of %d connections are led astray, as\n%s", f, bad, n, example)
				}
			}
		}
	}
	t.Logf("%d connections with a forged segment, of %d kinds", forged, kinds)
	if forged < 100*kinds/share {
		t.Errorf("only %d", forged)
	}
}
