package oracle

import (
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A TapOn says what the tracker is told of where the captures were made: on the hosts,
// each on its own.
type TapOn uint8

const (
	Found   TapOn = iota // it finds out
	Named                // it is told
	Nowhere              // it is told that they were not
	Both                 // one follows the captures of both hosts
)

// tapOn is what it is told of a capture.
func (c *Case) tapOn(tap string) (on tcp.TapOn) {
	switch c.TapOn {
	case Both:
		on.Ends = [2]bool{true, true}
	case Named:
		for _, conn := range c.conversations() {
			on.Hosts = append(on.Hosts, conn.Addr(host(tap)).Addr())
		}
	case Nowhere:
		on.Nowhere = true
	}
	return on
}

// An Own is what the tracker says of the ends on whose hosts captures were made.
type Own struct {
	Compared, Assumed int // at checkpoints: those that are not in doubt, and of these those that are only assumed
	Captures, Known   int // captures, and of these those that are known to be made there
}

// Own compares the tracker with the kernels on whose hosts the captures were made. A
// miss is an end that is wrongly taken for that on the host.
func (c *Case) Own() (o Own, misses []Miss) {
	known := map[string]bool{}
	c.looks(func(l look) {
		e := endAt(socket(l.records, l.addr()), l.addr())
		switch own := host(l.tap) == l.end; {
		case own && !l.cp.inDoubt(l.tap, l.end):
			o.Compared++
			if e.Certainty == tcp.Assumed {
				o.Assumed++
			}
			known[l.tap] = known[l.tap] || e.OnHost
		case !own && e.OnHost:
			misses = append(misses, l.miss("the tap is on its host", "it is not", excuse{}))
		}
	})
	for _, is := range known {
		o.Captures++
		if is {
			o.Known++
		}
	}
	return o, misses
}

// Sure finds the ends at checkpoints that the tracker calls proved or observed in a state
// that was not the kernel's. How many it calls so is compared.
func (c *Case) Sure() (compared int, misses []Miss) {
	c.looks(func(l look) {
		e := endAt(socket(l.records, l.addr()), l.addr())
		if e.Certainty != tcp.Proved && e.Certainty != tcp.Observed || l.cp.inDoubt(l.tap, l.end) {
			return
		}
		compared++
		if want := c.wanted(&l); !slices.Contains(want, e.State.String()) {
			misses = append(misses, l.miss(e.Certainty.String()+" "+e.State.String(), strings.Join(want, " or "), excuse{}))
		}
	})
	return compared, misses
}
