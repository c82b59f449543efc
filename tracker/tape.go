package tracker

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is odd about the capture as a whole: its clock, packets that it has
// twice, and where it cut them. It is told once, and of no connection.

// tape is what the tracker remembers of the capture itself.
type tape struct {
	newest     tcp.Time // the latest stamp, since the clock last stepped
	behind     int      // how many segments in a row are stamped earlier
	behindAt   tcp.Time // the stamp of the first of them
	behindFrom int      // its frame
	steps      int      // of the clock, told so far

	counted    uint64 // segments and duplicates before the ones that are being counted
	twice      int    // duplicates among these
	twiceFrame [2]int // the first of them, and what it repeats
	hops       bool   // one of them had another TTL
	told       bool   // of duplicates

	cut bool // told of cut payload

	sums     map[netip.Addr]*hostSums // of the hosts that sent wrong checksums
	sumsTold bool
}

const (
	// A stamp that lies back by less than this is no step of the clock: records
	// of several queues are a little out of order.
	clockSlack = time.Millisecond
	// So many segments in a row are stamped earlier after a step; fewer are
	// records that came late.
	clockBehind = 3
	// A capture may pause. Only beyond this the timestamps of the segments
	// themselves are asked whether it did.
	clockJump = 60 * time.Second
	// The slowest clock that RFC 7323 §5.4 allows for timestamps.
	slowestTick = time.Second
	// A hostile capture could step at every segment.
	maxClockSteps = 16
	// Records out of order by less than this may come from several queues that
	// were written in blocks.
	certainStep = time.Second
)

var clockStep = Kind{
	Name:     "clock-step",
	Severity: Notice,
	Title:    "Timestamps of the capture jump",
	RFC:      "RFC 7323 §5.4",
	Causes: []Cause{
		{"backward", "The capture's clock stepped back by {span} at frame {frame}. Until it has caught up, time stands still for the timers of the connections, and durations across this point are wrong. Captures joined out of order look the same."},
		{"forward", "The capture's clock stepped forward by up to {span} at frame {frame}: the timestamps of {sender} advanced by only {ticks} meanwhile, which is at most {ticks} s. Timers of the connections may have ended too early here, and durations across this point are wrong."},
	},
	Phrases: []Phrase{
		{"queues", "", " So do records of several queues that were written in blocks."},
	},
	Thresholds: []Threshold{
		{"step back, more than", clockSlack, ""},
		{"segments in a row behind a step back, at least", clockBehind, ""},
		{"step back that several queues do not explain, at least", certainStep, ""},
		{"pause that may be a step forward, more than", clockJump, ""},
		{"longest time from one timestamp of a sender to the next", slowestTick, ""},
		{"steps that are told, at most", maxClockSteps, ""},
	},
	Many: true,
}

// timed watches the stamps of the capture. It reports whether the segment
// comes so long after the one before that the clock may have stepped forward.
func (t *Tracker) timed(s *tcp.Segment) (jumped bool) {
	k := &t.tape
	ahead := s.Time.Sub(k.newest)
	if ahead < -clockSlack && k.newest != 0 {
		t.late(s)
		return false
	}
	jumped = ahead > clockJump && k.newest != 0
	k.newest, k.behind = max(k.newest, s.Time), 0
	return jumped
}

// late watches a segment that is stamped earlier than the newest.
func (t *Tracker) late(s *tcp.Segment) {
	k := &t.tape
	if k.behind++; k.behind == 1 {
		k.behindAt, k.behindFrom = s.Time, s.Packet
	}
	if k.behind < clockBehind {
		return
	}
	back := k.newest.Sub(k.behindAt)
	f := finding{
		cause:    "backward",
		certain:  ConfidenceAssumed,
		evidence: []int{k.behindFrom, s.Packet},
		values:   values{"span": back, "frame": k.behindFrom},
	}
	if back < certainStep {
		f.certain = ConfidenceAmbiguous
		f.say("queues")
	}
	k.newest, k.behind = s.Time, 0
	t.stepped(f, s)
}

// jumped looks whether a long pause of the capture is one for the sender of
// the segment too, by its timestamps.
func (t *Tracker) jumped(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	x := &c.ends[from]
	if !x.seen() || !x.has(hasTS) || !s.Options.HasTS {
		return
	}
	pause := s.Time.Sub(x.sentAt)
	ticks := int32(s.Options.TSVal - x.tsval)
	if pause <= clockJump || ticks <= 0 || time.Duration(ticks)*slowestTick > pause/2 {
		return
	}
	t.stepped(finding{
		cause:    "forward",
		certain:  ConfidenceAssumed,
		evidence: []int{s.Packet},
		values:   values{"span": pause, "frame": s.Packet, "sender": c.addr(from), "ticks": ticks},
	}, s)
}

// stepped tells of a step of the clock.
func (t *Tracker) stepped(f finding, s *tcp.Segment) {
	if t.tape.steps++; t.tape.steps <= maxClockSteps {
		t.reportMany(&clockStep, f, s.Packet)
	}
}

const (
	// Packets are recorded twice where one in so many is, and no fewer than
	// these; a network that repeats packets does not do it so often.
	duplicateShare = 20
	minDuplicates  = 3
	// Over how many segments the share is taken.
	duplicateWindow = 1000
)

var duplicateCapture = Kind{
	Name:     "duplicate-capture",
	Severity: Notice,
	Title:    "Same packets captured twice",
	RFC:      "RFC 9293 §3.4",
	Causes: []Cause{
		{"several-interfaces", "Packets are recorded twice: {n} of the last {records} records are copies. The capture was made on several interfaces (\"any\", a bridge), or by a mirror port that copies both directions. The copies are left out."},
		{"both-sides-of-a-router", "Packets are recorded twice: {n} of the last {records} records are copies. The capture holds both sides of a router (TTL {before} and {after}). The copies are left out."},
	},
	Thresholds: []Threshold{
		{"records for each copy, at most", duplicateShare, ""},
		{"copies, at least", minDuplicates, ""},
		{"records in which they are counted", duplicateWindow, ""},
	},
	Many: true,
}

// duplicated counts a packet that is recorded twice.
func (t *Tracker) duplicated(s *tcp.Segment, first *recentSlot) {
	k := &t.tape
	records := t.stats.Segments + t.stats.Duplicates
	if records-k.counted > duplicateWindow {
		k.counted, k.twice, k.hops = records-1, 0, false
	}
	if k.twice == 0 {
		k.twiceFrame = [2]int{int(first.packet), s.Packet}
	}
	k.twice++
	k.hops = k.hops || first.ttl != s.TTL
	n := int(records - k.counted)
	if k.told || k.twice < minDuplicates || k.twice*duplicateShare < n {
		return
	}
	k.told = true
	f := finding{
		cause:    "several-interfaces",
		certain:  ConfidenceAssumed,
		evidence: []int{k.twiceFrame[0], k.twiceFrame[1], int(first.packet), s.Packet},
		values:   values{"n": k.twice, "records": n, "before": first.ttl, "after": s.TTL},
	}
	if k.hops {
		f.cause = "both-sides-of-a-router"
	}
	t.reportMany(&duplicateCapture, f, s.Packet)
}

// cut tells that the capture has not all of the payload.
func (t *Tracker) cut(s *tcp.Segment) {
	t.tape.cut = true
	t.reportMany(&snaplenTruncated, finding{
		cause:    "payload",
		certain:  ConfidenceProved,
		evidence: []int{s.Packet},
		values:   values{"frame": s.Packet},
	}, s.Packet)
}

// hostSums counts the checksums of a host, from its first wrong one on.
//
// A host that leaves checksums to its network card has them wrong in all
// segments that are captured on it, but for one that is right by chance. That
// is of the host, and told once; a wrong one among right ones was corrupted.
type hostSums struct {
	bad, good   int
	first, last int // frames of wrong ones
}

const (
	// So many wrong checksums, and no right one, are those of a network card;
	// at the end of the capture fewer will do.
	manySums = 10
	fewSums  = 2
	// Bounds what hostile traffic can have remembered.
	maxSumHosts = 1 << 10
)

// badSum counts a wrong checksum.
func (k *tape) badSum(s *tcp.Segment) {
	if k.sums == nil {
		k.sums = make(map[netip.Addr]*hostSums)
	}
	h := k.sums[s.Src.Addr()]
	if h == nil {
		if len(k.sums) == maxSumHosts {
			return
		}
		h = &hostSums{first: s.Packet}
		k.sums[s.Src.Addr()] = h
	}
	h.bad++
	h.last = s.Packet
}

// goodSum counts a right checksum of a host that sent wrong ones.
func (k *tape) goodSum(s *tcp.Segment) {
	if h := k.sums[s.Src.Addr()]; h != nil {
		h.good++
	}
}

// leftToCard reports whether wrong checksums are usual for the host.
func (k *tape) leftToCard(host netip.Addr) bool {
	h := k.sums[host]
	return h != nil && h.bad >= manySums && h.bad > h.good
}

// offloadedSums tells of checksums that are left to the network card: when a
// host has sent the given number of wrong ones and none that is right. s is
// the newest segment; without it all hosts are looked at.
func (t *Tracker) offloadedSums(s *tcp.Segment, enough int) {
	k := &t.tape
	if k.sumsTold || k.sums == nil {
		return
	}
	var host netip.Addr
	var sums *hostSums
	packet := 0
	if s != nil {
		host, packet = s.Src.Addr(), s.Packet
		sums = k.sums[host]
	}
	for a, h := range k.sums {
		if s != nil {
			break
		}
		if h.good == 0 && h.bad >= enough && (sums == nil || h.first < sums.first) {
			host, sums = a, h
		}
	}
	if sums == nil || sums.good > 0 || sums.bad < enough {
		return
	}
	k.sumsTold = true
	t.reportMany(&badChecksum, finding{
		cause:    "offload",
		certain:  ConfidenceAmbiguous,
		evidence: []int{sums.first, sums.last},
		values:   values{"n": sums.bad, "host": host},
	}, packet)
}

// reportMany takes down a finding that is of no one connection.
func (t *Tracker) reportMany(k *Kind, f finding, packet int) {
	a := k.found(nil, f)
	a.Time, a.Packet = t.now, packet
	t.tell(Event{Kind: EventAnomaly, Time: a.Time, Packet: packet, Anomaly: &a})
}
