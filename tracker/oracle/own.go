package oracle

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A TapOn says what the tracker is told of where the captures were made: on the hosts,
// each on its own.
type TapOn uint8

const (
	Found   TapOn = iota // it finds out
	Named                // it is told
	Nowhere              // it is told that they were not
)

// tapOn is what it is told of a capture.
func (c *Case) tapOn(tap string) (on tcp.TapOn) {
	switch c.TapOn {
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
