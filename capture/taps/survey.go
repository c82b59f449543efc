package taps

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
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
	// maxMarks is how many packets of a capture are kept. One takes some 170 octets.
	maxMarks = 1 << 16

	// numAsks is how many marks wait for their answers at a time, a power of two.
	numAsks = 1 << 13
)

// A mark is a packet of the sample.
type mark struct {
	time     tcp.Time
	gap      time.Duration // to the first segment that acknowledges exactly up to its end; 0: none was captured
	src, dst netip.AddrPort
	tsVal    uint32
	id       uint16
	syn      bool
	n        int   // there are so many alike: which is which cannot be said
	other    *mark // with the same contents, and other addresses or ports
}

// A sample is what is kept of one capture.
type sample struct {
	marks map[uint64]*mark // by their hashes
	n     int
	below uint64 // the hashes that are kept
	asks  []ask
	stats capture.Stats
}

// An ask is a mark that waits for its answer.
type ask struct {
	key uint64 // of the answer; 0: none
	of  *mark
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
func content(s *tcp.Segment) uint64 {
	h := mix(uint64(s.Seq)<<32|uint64(s.Ack)^c0, c1)
	return mix(h^(uint64(s.Flags&unchanged)<<32|uint64(s.Data)), c2)
}

// addrHash hashes an address and port.
func addrHash(a netip.AddrPort) uint64 {
	hi, lo := words(a.Addr())
	return mix(hi^c0, lo^c1) + uint64(a.Port())*c2
}

// askKey names the acknowledgment, by dst, of what src sent up to a number.
func askKey(src, dst netip.AddrPort, end tcp.Seq) uint64 {
	return max(1, mix(addrHash(src)^bits.RotateLeft64(addrHash(dst), 32), uint64(end)^c2))
}

// newSample returns an empty sample.
func newSample() *sample {
	return &sample{marks: map[uint64]*mark{}, below: 1<<64 - 1, asks: make([]ask, numAsks)}
}

// take looks at a packet.
func (p *sample) take(s *tcp.Segment) {
	if s.ICMP.Type != 0 || s.Time == 0 {
		return
	}
	if s.Flags&tcp.ACK != 0 {
		key := askKey(s.Dst, s.Src, s.Ack)
		if a := &p.asks[key%numAsks]; a.key == key {
			a.of.gap = max(1, s.Time.Sub(a.of.time))
			*a = ask{}
		}
	}
	h := content(s)
	if h >= p.below {
		return
	}
	first := p.marks[h]
	for m := first; m != nil; m = m.other {
		if m.src == s.Src && m.dst == s.Dst {
			m.n++
			return
		}
	}
	if p.n++; first != nil && first.other != nil {
		return // contents that say nothing
	}
	m := &mark{n: 1, other: first, time: s.Time, src: s.Src, dst: s.Dst, tsVal: s.Options.TSVal, id: s.ID, syn: s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN}
	p.marks[h] = m
	if s.Len() > 0 && s.Flags&tcp.RST == 0 {
		key := askKey(s.Src, s.Dst, s.End())
		p.asks[key%numAsks] = ask{key, m}
	}
	if p.n > maxMarks {
		p.keepBelow(p.below / 2)
	}
}

// keepBelow forgets the marks that do not hash below the threshold.
func (p *sample) keepBelow(below uint64) {
	p.below = min(p.below, below)
	p.n = 0
	for h, m := range p.marks {
		if h >= p.below {
			delete(p.marks, h)
			continue
		}
		for ; m != nil; m = m.other {
			p.n++
		}
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
	samples []*sample
	votes   []map[netip.Addr]int // by tap and by the addresses that it has: above 0 where the host is nearer to the end of the path than to its beginning
	order   []int                // the taps as they lie on the path; most clients are at its beginning
	place   []int                // of each tap in order
	links   []link               // between neighbours in order
	clocks  []Clock              // of each tap, against the first of the list
	running []span               // of each tap, by the clock of the first
	longest time.Duration        // way of a packet of the samples from one end of the path to the other
	nat     bool                 // addresses or ports are changed somewhere
	sameID  bool                 // nothing changes IP identifications
	sameTS  bool                 // nor timestamps
}

// A span is the time in which a capture is known, or not known not, to have run.
type span struct{ from, to tcp.Time }

// holds reports whether it contains t.
func (s span) holds(t tcp.Time) bool { return s.from <= t && t <= s.to }

// newSurvey reads the captures once.
func newSurvey(list []Tap, o Options) (*survey, error) {
	v := &survey{samples: make([]*sample, len(list))}
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i := range list {
		v.samples[i] = newSample()
		all.Go(func() { errs[i] = v.samples[i].read(&list[i], o.Capture) })
	}
	all.Wait()
	below := uint64(1<<64 - 1)
	for i, p := range v.samples {
		if errs[i] != nil {
			return nil, errs[i]
		}
		below = min(below, p.below)
	}
	for _, p := range v.samples {
		p.keepBelow(below)
	}
	v.findOrder()
	if err := v.fitClocks(list); err != nil {
		return nil, err
	}
	v.findRunning()
	v.samples = nil
	return v, nil
}

// shared returns the packets that two samples have, where there is no doubt which is
// which. If there are few, those of which both have equally many alike are taken too: of
// each the first.
func (v *survey) shared(a, b int) (pairs [][2]*mark) {
	const few = 8
	var more [][2]*mark
	for h, x := range v.samples[a].marks {
		first := v.samples[b].marks[h]
		for ; x != nil && first != nil; x = x.other {
			y := first
			if x.other != nil || y.other != nil || v.samples[a].marks[h] != x {
				for y != nil && (y.src != x.src || y.dst != x.dst) {
					y = y.other
				}
			}
			switch {
			case y == nil || x.n != y.n:
			case x.n == 1:
				pairs = append(pairs, [2]*mark{x, y})
			default:
				more = append(more, [2]*mark{x, y})
			}
		}
	}
	if len(pairs) < few {
		pairs = append(pairs, more...)
	}
	return pairs
}

// nothingShared says that two captures have no packet in common.
func (v *survey) nothingShared(list []Tap, a, b int) error {
	what := func(i int) string {
		st := &v.samples[i].stats
		if st.First == 0 {
			return "has no packets"
		}
		return fmt.Sprintf("has %d TCP segments from %v to %v", st.Segments, st.First, st.Last)
	}
	return fmt.Errorf("%s and %s have no TCP segment in common: the first %s, the second %s; check that both are of the same traffic at the same time, and that neither filters it away",
		list[a].label(), list[b].label(), what(a), what(b))
}

// String describes the order for messages.
func (v *survey) String() string {
	return strings.Trim(fmt.Sprint(v.order), "[]")
}
