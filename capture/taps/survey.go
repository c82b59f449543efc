package taps

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The survey reads each capture once, and keeps a sample of its packets: those whose
// contents hash to a number below a threshold, which is the same for all. So the same
// packets are kept of all captures, whatever their clocks show, and however long they
// are.

const (
	// maxMarks is how many packets of a capture are kept. One takes some 150 octets.
	maxMarks = 1 << 14

	// numAsks is how many marks wait for their answers at a time, a power of two.
	numAsks = 1 << 12

	// maxJumps is how many leaps of a clock are remembered of a capture.
	maxJumps = 64
)

// A mark is a packet of the sample.
type mark struct {
	hash     uint64
	time     tcp.Time
	gap      time.Duration // to the first segment that acknowledges exactly up to its end; 0: none was captured
	src, dst netip.AddrPort
	packet   int
	seq      tcp.Seq
	tsVal    uint32
	id       uint16
	syn      bool
	octets   bool // it is to be acknowledged
	reset    bool
	last     tcp.Time // of the newest alike that is not the same
	n        int32    // there are so many alike: which is which cannot be said
	other    int32    // the next with the same hash, and other addresses or ports; -1: none
}

// A jump is a leap of a clock between two packets that follow each other.
type jump struct {
	packet int // the second
	by     time.Duration
}

// A look is a way to look at packets: what their records at all taps have in common.
type look uint8

const (
	byContent look = iota // numbers, flags and length
	byStamps              // what a firewall that changes sequence numbers leaves: timestamps, IP identification, flags, length
	byAnswers             // where no packet is at two taps: octets, and their acknowledgments
)

// A sample is what is kept of one capture.
type sample struct {
	look  look
	marks []mark
	table []int32 // places in marks by hashes, one more than the place; 0: free
	below uint64  // the hashes that are kept
	asks  []ask
	jumps []jump
	least time.Duration // of the smallest of them, once there are maxJumps
	last  tcp.Time
	stats capture.Stats
}

// An ask is a mark that waits for its answer.
type ask struct {
	end  tcp.Seq
	mark int32 // one more than its place in marks; 0: none
}

// mix folds the product of two numbers.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

const c0, c1, c2 = 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03, 0x8bb84b93962eacc9

// unchanged are the flags that no router sets or clears.
const unchanged = ^(tcp.ECE | tcp.CWR | tcp.AE)

// content hashes what of a packet no NAT, router or clamping of the MSS changes.
func content(s *tcp.Segment, seq, ack tcp.Seq) uint64 {
	h := mix(uint64(seq)<<32|uint64(ack)^c0, c1)
	return mix(h^(uint64(s.Flags&unchanged)<<32|uint64(s.Data)), c2)
}

// stamps hashes what of a packet a change of its sequence numbers leaves. It reports
// whether that is enough to tell it from others.
func stamps(s *tcp.Segment) (h uint64, enough bool) {
	h = mix(uint64(s.Options.TSVal)<<32|uint64(s.Options.TSEcr)^c1, c0)
	h = mix(h^(uint64(s.Flags&unchanged)<<48|uint64(s.ID)<<32|uint64(s.Data)), c2)
	return h, s.Options.HasTS || s.ID != 0
}

// askKey names the acknowledgment, by dst, of what src sent up to a number.
func askKey(src, dst netip.AddrPort, end tcp.Seq) uint64 {
	return mix(addrHash(src)^bits.RotateLeft64(addrHash(dst), 32), uint64(end)^c2)
}

// addrHash hashes an address and port.
func addrHash(a netip.AddrPort) uint64 {
	hi, lo := words(a.Addr())
	return mix(hi^c0, lo^c1) + uint64(a.Port())*c2
}

// newSample returns an empty sample.
func newSample(by look) *sample {
	return &sample{look: by, below: 1<<64 - 1, table: make([]int32, 2*maxMarks), asks: make([]ask, numAsks)}
}

// take looks at a packet.
func (p *sample) take(s *tcp.Segment) {
	if s.ICMP.Type != 0 || s.Time == 0 {
		return
	}
	if by := s.Time.Sub(p.last); p.last != 0 && (by < -time.Millisecond || by > 100*time.Millisecond) {
		p.jump(jump{s.Packet, by})
	}
	p.last = s.Time
	var h uint64
	switch p.look {
	case byContent:
		h = content(s, s.Seq, s.Ack)
	case byStamps:
		var enough bool
		if h, enough = stamps(s); !enough {
			return
		}
	case byAnswers:
		p.takeBoth(s)
		return
	}
	if s.Flags&tcp.ACK != 0 {
		p.answer(s)
	}
	if h >= p.below {
		return
	}
	if i := p.add(h, s); i >= 0 && s.Len() > 0 && s.Flags&tcp.RST == 0 {
		end := s.End()
		p.asks[uint32(end)*0x9e3779b1>>20%numAsks] = ask{end, i + 1}
	}
}

// answer looks whether a packet acknowledges a mark.
func (p *sample) answer(s *tcp.Segment) {
	a := &p.asks[uint32(s.Ack)*0x9e3779b1>>20%numAsks]
	if a.mark == 0 || a.end != s.Ack {
		return
	}
	if m := &p.marks[a.mark-1]; m.src == s.Dst && m.dst == s.Src {
		m.gap = max(1, s.Time.Sub(m.time))
		a.mark = 0
	}
}

// takeBoth looks at a packet both as octets, of which the hash is even, and as their
// acknowledgment, of which it is odd.
func (p *sample) takeBoth(s *tcp.Segment) {
	if s.Flags&tcp.RST != 0 {
		return
	}
	if h := askKey(s.Src, s.Dst, s.End()) &^ 1; s.Len() > 0 && h < p.below {
		p.add(h, s)
	}
	if h := askKey(s.Dst, s.Src, s.Ack) | 1; s.Flags&tcp.ACK != 0 && h < p.below {
		p.add(h, s)
	}
}

// add adds a mark, or counts it if there is one alike. It returns its place; -1: there
// is none of its own.
func (p *sample) add(h uint64, s *tcp.Segment) int32 {
	at := p.find(h)
	first := p.table[at] - 1
	for i, n := first, 0; i >= 0; i, n = p.marks[i].other, n+1 {
		if m := &p.marks[i]; m.src == s.Src && m.dst == s.Dst {
			if again := m.id == s.ID && m.tsVal == s.Options.TSVal && (s.ID != 0 || s.Len() > 0); again && s.Time.Sub(m.time) < promptly {
				return -1 // recorded twice
			}
			if m.n++; m.id != s.ID || m.tsVal != s.Options.TSVal {
				m.last = s.Time
			}
			return -1
		}
		if n == 2 {
			return -1 // contents that say nothing
		}
	}
	if len(p.marks) == maxMarks {
		p.keepBelow(p.below / 2)
		if h >= p.below {
			return -1
		}
		if at = p.find(h); p.table[at] == 0 {
			first = -1
		}
	}
	p.marks = append(p.marks, mark{hash: h, time: s.Time, src: s.Src, dst: s.Dst, packet: s.Packet, seq: s.Seq,
		tsVal: s.Options.TSVal, id: s.ID, syn: s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN, octets: s.Len() > 0 && s.Flags&tcp.RST == 0, reset: s.Flags&tcp.RST != 0, n: 1, other: first})
	p.table[at] = int32(len(p.marks))
	return int32(len(p.marks)) - 1
}

// find returns the place in the table where a hash is, or may be put.
func (p *sample) find(h uint64) int {
	for at := h * c0 >> 48 % uint64(len(p.table)); ; at = (at + 1) % uint64(len(p.table)) {
		if i := p.table[at]; i == 0 || p.marks[i-1].hash == h {
			return int(at)
		}
	}
}

// first returns the first mark with the hash; -1: there is none.
func (p *sample) first(h uint64) int32 { return p.table[p.find(h)] - 1 }

// keepBelow forgets the marks that do not hash below the threshold. Those that wait for
// an answer wait in vain.
func (p *sample) keepBelow(below uint64) {
	if p.below <= below {
		return
	}
	p.below = below
	old := p.marks
	p.marks = p.marks[:0]
	clear(p.table)
	clear(p.asks)
	for _, m := range old {
		if m.hash >= below {
			continue
		}
		at := p.find(m.hash)
		m.other = p.table[at] - 1
		p.marks = append(p.marks, m)
		p.table[at] = int32(len(p.marks))
	}
}

// jump remembers a leap of the clock, if it is one of the largest.
func (p *sample) jump(j jump) {
	if len(p.jumps) < maxJumps {
		p.jumps = append(p.jumps, j)
		return
	}
	if j.by.Abs() <= p.least {
		return
	}
	least := 0
	for i := range p.jumps {
		if p.jumps[i].by.Abs() < p.jumps[least].by.Abs() {
			least = i
		}
	}
	if p.least = p.jumps[least].by.Abs(); j.by.Abs() > p.least {
		p.jumps[least] = j
	}
}

// read reads the sample of a capture.
func (p *sample) read(t *Tap, o capture.Options) error {
	o.Named, o.Part, o.Payload = nil, nil, false
	o.Since, o.Until, o.Ends = capture.Moment{}, capture.Moment{}, false
	src, err := capture.Open(t.Files, o)
	if err != nil {
		return err
	}
	defer src.Close()
	for s, err := range src.Segments() {
		if err != nil {
			return err
		}
		p.take(s)
	}
	p.asks = nil
	p.stats = src.Stats()
	return nil
}

// A survey is what is known of the captures before they are merged.
type survey struct {
	list    []Tap
	samples []*sample
	pairs   map[[2]int][]pair    // by two taps, the lower in the list first
	votes   []map[netip.Addr]int // by tap and by the addresses that it has: above 0 where the host is nearer to the end of the path than to its beginning
	order   []int                // the taps as they lie on the path; most clients are at its beginning
	place   []int                // of each tap in order
	links   []link               // between neighbours in order
	clocks  []Clock              // of each tap, against the first of the list
	begin   tcp.Time             // the time of the first packet, by the clock of the first
	running []span               // of each tap, by the clock of the first
	has     []span               // of each tap: from its first packet to its last
	usual   [2]time.Duration     // way of a packet from the beginning of the path to its end, and back: the median
	least   [2]time.Duration     // and the shortest
	longest time.Duration        // way of a packet of the samples from one end of the path to the other
	look    look                 // at what they have in common
	nat     bool                 // addresses or ports are changed somewhere
	sameID  bool                 // nothing changes IP identifications
	sameTS  bool                 // nor timestamps
}

// A span is the time in which a capture is known, or not known not, to have run.
type span struct{ from, to tcp.Time }

// holds reports whether it contains t.
func (s span) holds(t tcp.Time) bool { return s.from <= t && t <= s.to }

// newSurvey reads the captures: once, and again for another way to look at packets where
// they have little in common.
func newSurvey(list []Tap, o Options) (*survey, error) {
	v := &survey{list: list}
	if err := v.read(o, byContent); err != nil {
		return nil, err
	}
	missing := v.findOrder()
	if !v.enough() {
		w := &survey{list: list}
		if err := w.read(o, byStamps); err != nil {
			return nil, err
		}
		if still := w.findOrder(); still == nil && (missing != nil || w.inCommon() > v.inCommon()) {
			v, missing = w, nil
		}
	}
	if missing != nil {
		if err := v.read(o, byAnswers); err != nil {
			return nil, err
		}
		if v.findOrder() != nil {
			return nil, missing
		}
	}
	v.fitClocks()
	v.findRunning()
	v.samples, v.pairs = nil, nil
	return v, nil
}

// inCommon returns how many packets neighbours have in common: the least.
func (v *survey) inCommon() int {
	least := math.MaxInt
	for i := 1; i < len(v.order); i++ {
		least = min(least, len(v.between(v.order[i-1], v.order[i])))
	}
	return least
}

// enough reports whether neighbours have a good part of their packets in common.
func (v *survey) enough() bool {
	for i := 1; i < len(v.order); i++ {
		a, b := v.order[i-1], v.order[i]
		if 4*len(v.between(a, b)) < min(len(v.samples[a].marks), len(v.samples[b].marks)) {
			return false
		}
	}
	return true
}

// read reads all samples.
func (v *survey) read(o Options, by look) error {
	v.look = by
	v.samples = make([]*sample, len(v.list))
	errs := make([]error, len(v.list))
	var all sync.WaitGroup
	for i := range v.list {
		v.samples[i] = newSample(v.look)
		all.Go(func() { errs[i] = v.samples[i].read(&v.list[i], o.Capture) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	below := uint64(1<<64 - 1)
	for _, p := range v.samples {
		below = min(below, p.below)
	}
	v.pairs = map[[2]int][]pair{}
	for i, p := range v.samples {
		p.keepBelow(below)
		for j := range i {
			v.pairs[[2]int{j, i}] = v.shared(j, i)
		}
	}
	return nil
}

// A pair is a packet as two samples have it.
type pair struct{ x, y *mark }

// shared returns the packets that two samples have, where there is no doubt which is
// which. If there are few, those of which both have equally many alike are taken too: of
// each the first.
func (v *survey) shared(a, b int) (pairs []pair) {
	if v.look == byAnswers {
		return v.answers(a, b)
	}
	const few = 8
	var more []pair
	p, q := v.samples[a], v.samples[b]
	for i := range p.marks {
		x := &p.marks[i]
		j := q.first(x.hash)
		if j < 0 {
			continue
		}
		if x.other >= 0 || q.marks[j].other >= 0 || p.first(x.hash) != int32(i) {
			for j >= 0 && (q.marks[j].src != x.src || q.marks[j].dst != x.dst) {
				j = q.marks[j].other
			}
			if j < 0 {
				continue
			}
		}
		if y := &q.marks[j]; x.src == y.dst && x.dst == y.src {
			continue // the one answers the other
		} else if x.n == 1 && y.n == 1 {
			pairs = append(pairs, pair{x, y})
		} else if x.n == y.n {
			more = append(more, pair{x, y})
		}
	}
	if len(pairs) < few {
		pairs = append(pairs, more...)
	}
	if v.look == byStamps {
		return even(pairs)
	}
	return pairs
}

// even returns those pairs whose sequence numbers were changed by as much as those of
// others of their direction: the others may be of different packets.
func even(pairs []pair) (list []pair) {
	type direction struct {
		a, b [2]netip.AddrPort
		by   tcp.Seq
	}
	of := func(p pair) direction {
		return direction{[2]netip.AddrPort{p.x.src, p.x.dst}, [2]netip.AddrPort{p.y.src, p.y.dst}, p.y.seq - p.x.seq}
	}
	n := map[direction]int{}
	for _, p := range pairs {
		n[of(p)]++
	}
	for _, p := range pairs {
		if n[of(p)] > 1 {
			list = append(list, p)
		}
	}
	return list
}

// answers returns octets of one sample with their acknowledgments in the other.
func (v *survey) answers(a, b int) (pairs []pair) {
	p, q := v.samples[a], v.samples[b]
	for i := range p.marks {
		x := &p.marks[i]
		j := q.first(x.hash ^ 1)
		if j >= 0 && x.src == q.marks[j].dst && x.dst == q.marks[j].src {
			pairs = append(pairs, pair{x, &q.marks[j]})
		}
	}
	return pairs
}

// between returns the pairs of two taps, those of a as x.
func (v *survey) between(a, b int) []pair {
	if a < b {
		return v.pairs[[2]int{a, b}]
	}
	list := v.pairs[[2]int{b, a}]
	turned := make([]pair, len(list))
	for i, p := range list {
		turned[i] = pair{p.y, p.x}
	}
	return turned
}

// nothingShared says that two captures have no packet in common.
func (v *survey) nothingShared(a, b int) error {
	what := func(i int) string {
		st := &v.samples[i].stats
		return fmt.Sprintf("has %d TCP segments from %v to %v", st.Segments, st.First, st.Last)
	}
	return fmt.Errorf("%s and %s have no TCP segment in common: the first %s, the second %s; check that both are of the same traffic at the same time, and that no filter leaves it out of one",
		v.list[a].label(), v.list[b].label(), what(a), what(b))
}
