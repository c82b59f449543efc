package taps

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The survey reads each capture once, and compares samples of their packets.

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
