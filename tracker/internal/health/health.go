package health

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/duplicates"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is odd about the capture as a whole: its clock, packets that it has
// twice, and where it cut them. It is told once, and of no connection.

// A Fault is what is odd about the capture itself.
type Fault struct {
	What   FaultKind
	Packet int    // the frame that showed it; 0: the end of the capture
	Frames [4]int // that show it; 0: fewer do

	Span    time.Duration  // of a step of the clock
	Sender  netip.AddrPort // whose timestamps show a step forward
	Ticks   int32          // by which these advanced
	N       int            // copies, or wrong checksums
	Records int            // among which the copies are
	TTLs    [2]uint8       // of the first record of a packet, and of the second
	Hops    bool           // the TTL of one at least was another
	Host    netip.Addr     // that leaves its checksums to the network card
}

// FaultKind is what a Fault is.
type FaultKind uint8

const (
	ClockBack     FaultKind = iota // the stamps step back
	ClockForward                   // the stamps step forward
	CapturedTwice                  // packets are recorded twice
	PayloadCut                     // the payload is cut
	SumsOffloaded                  // a host leaves its checksums to the network card
)

// A Capture is what is remembered of the capture itself.
type Capture struct {
	tell func(Fault)

	newest     tcp.Time // the latest stamp, since the clock last stepped
	behind     int      // how many segments in a row are stamped earlier
	behindAt   tcp.Time // the stamp of the first of them
	behindFrom int      // its frame
	steps      int      // of the clock, told so far

	counted    uint64 // segments and duplicates before the ones that are being counted
	twice      int    // duplicates among these
	twiceFrame [2]int // the first of them, and what it repeats
	hops       bool   // one of them had another TTL
	toldCopies bool   // of duplicates

	Cut bool // told of cut payload

	sums     map[netip.Addr]*hostSums // of the hosts that sent wrong checksums
	sumsTold bool
}

const (
	// A stamp that lies back by less than this is no step of the clock: records
	// of several queues are a little out of order.
	ClockSlack = time.Millisecond
	// So many segments in a row are stamped earlier after a step; fewer are
	// records that came late.
	ClockBehind = 3
	// A capture may pause. Only beyond this the timestamps of the segments
	// themselves are asked whether it did.
	ClockJump = 60 * time.Second
	// The slowest clock that RFC 7323 §5.4 allows for timestamps.
	SlowestTick = time.Second
	// A hostile capture could step at every segment.
	MaxClockSteps = 16
	// Records out of order by less than this may come from several queues that
	// were written in blocks.
	CertainStep = time.Second
)

// New returns a Capture that tells of what is odd. With cut it does not tell that
// payload is cut.
func New(tell func(Fault), cut bool) Capture { return Capture{tell: tell, Cut: cut} }

// Timed watches the stamps of the capture. It reports whether the segment
// comes so long after the one before that the clock may have stepped forward.
func (k *Capture) Timed(s *tcp.Segment) (jumped bool) {
	ahead := s.Time.Sub(k.newest)
	if ahead < -ClockSlack && k.newest != 0 {
		k.late(s)
		return false
	}
	jumped = ahead > ClockJump && k.newest != 0
	k.newest, k.behind = max(k.newest, s.Time), 0
	return jumped
}

// late watches a segment that is stamped earlier than the newest.
func (k *Capture) late(s *tcp.Segment) {
	if k.behind++; k.behind == 1 {
		k.behindAt, k.behindFrom = s.Time, s.Packet
	}
	if k.behind < ClockBehind {
		return
	}
	f := Fault{What: ClockBack, Packet: s.Packet, Frames: [4]int{k.behindFrom, s.Packet}, Span: k.newest.Sub(k.behindAt)}
	k.newest, k.behind = s.Time, 0
	k.Stepped(f)
}

// Stepped tells of a step of the clock.
func (k *Capture) Stepped(f Fault) {
	if k.steps++; k.steps <= MaxClockSteps {
		k.tell(f)
	}
}

const (
	// Packets are recorded twice where one in so many is, and no fewer than
	// these; a network that repeats packets does not do it so often.
	DuplicateShare = 20
	MinDuplicates  = 3
	// Over how many segments the share is taken.
	DuplicateWindow = 1000
)

// Duplicated counts a packet that is recorded twice, the first time as first.
// records is how many there are by now, copies counted.
func (k *Capture) Duplicated(s *tcp.Segment, first *duplicates.Slot, records uint64) {
	if records-k.counted > DuplicateWindow {
		k.counted, k.twice, k.hops = records-1, 0, false
	}
	if k.twice == 0 {
		k.twiceFrame = [2]int{int(first.Packet), s.Packet}
	}
	k.twice++
	k.hops = k.hops || first.TTL != s.TTL
	n := int(records - k.counted)
	if k.toldCopies || k.twice < MinDuplicates || k.twice*DuplicateShare < n {
		return
	}
	k.toldCopies = true
	k.tell(Fault{
		What: CapturedTwice, Packet: s.Packet, Frames: [4]int{k.twiceFrame[0], k.twiceFrame[1], int(first.Packet), s.Packet},
		N: k.twice, Records: n, TTLs: [2]uint8{first.TTL, s.TTL}, Hops: k.hops,
	})
}

// PayloadCut tells that the capture has not all of the payload.
func (k *Capture) PayloadCut(s *tcp.Segment) {
	k.Cut = true
	k.tell(Fault{What: PayloadCut, Packet: s.Packet, Frames: [4]int{s.Packet}})
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
	ManySums = 10
	FewSums  = 2
	// Bounds what hostile traffic can have remembered.
	maxSumHosts = 1 << 10
)

// BadSum counts a wrong checksum.
func (k *Capture) BadSum(s *tcp.Segment) {
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

// Plain reports whether the capture has all of the segment's header, as it was on the
// wire, and nothing in it asks for more than a glance.
func (k *Capture) Plain(s *tcp.Segment) bool {
	return s.Urg == 0 && s.Options.NumSACK == 0 && !s.Options.Signed && !s.Fragment && (s.Cut == tcp.CutNone || s.Cut == tcp.CutPayload && k.Cut) &&
		(s.Sum == tcp.SumUnchecked || s.Sum == tcp.SumGood && !k.WatchesSums())
}

// WatchesSums reports whether a host sent a wrong checksum.
func (k *Capture) WatchesSums() bool { return k.sums != nil }

// GoodSum counts a right checksum of a host that sent wrong ones.
func (k *Capture) GoodSum(s *tcp.Segment) {
	if h := k.sums[s.Src.Addr()]; h != nil {
		h.good++
	}
}

// LeftToCard reports whether wrong checksums are usual for the host.
func (k *Capture) LeftToCard(host netip.Addr) bool {
	h := k.sums[host]
	return h != nil && h.bad >= ManySums && h.bad > h.good
}

// OffloadedSums tells of checksums that are left to the network card: when a
// host has sent the given number of wrong ones and none that is right. s is
// the newest segment; without it all hosts are looked at.
func (k *Capture) OffloadedSums(s *tcp.Segment, enough int) {
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
	k.tell(Fault{What: SumsOffloaded, Packet: packet, Frames: [4]int{sums.first, sums.last}, N: sums.bad, Host: host})
}
