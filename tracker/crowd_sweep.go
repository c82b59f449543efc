package tracker

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A sweep is what one host tries on many others, or answers to many: the
// material of scans and of backscatter.

// A sweep remembers no more than this of its targets.
const maxTries = 1 << 16

// An outcome says what came of a try.
type outcome uint8

const (
	unanswered outcome = iota
	refused            // by a RST
	opened             // the target answered, and nothing was sent
	useful             // the connection carries data, or may
)

// A try is one target of a sweep.
type try struct {
	sighting
	target flow.Key
	times  int
	how    probe
	result outcome
	up     bool // the handshake was completed
}

// A sweep is what one host tried lately: one try for each target, the oldest
// first.
type sweep struct {
	tries   []try
	index   flow.Table[uint32] // of each target in tries, from base; empty while there are few
	base    uint32
	awaited bool // a verdict is to be given
	told    bool // and was, of what still goes on
}

// indexed is from how many tries on a sweep has an index.
const indexed = 8

// find returns the try of the target, or nil.
func (c *Crowd) find(s *sweep, target *flow.Key) *try {
	if s.index.N > 0 {
		if i := c.placeOf(s, target); s.index.Tags[i] != 0 {
			return &s.tries[s.index.Items[i]-s.base]
		}
		return nil
	}
	for i := range s.tries {
		if s.tries[i].target.Is(target) {
			return &s.tries[i]
		}
	}
	return nil
}

// placeOf returns where in a sweep's index the target is, or the free place
// where it would be.
func (c *Crowd) placeOf(s *sweep, target *flow.Key) uint32 {
	x, h := &s.index, c.seed.Hash(target)
	i := x.First(h)
	for tag := x.Tags[i]; tag != 0 && (tag != h || !s.tries[x.Items[i]-s.base].target.Is(target)); tag = x.Tags[i] {
		i = x.Next(i)
	}
	return i
}

// add appends a try.
func (c *Crowd) add(s *sweep, t *try) {
	s.tries = append(s.tries, *t)
	from := len(s.tries) - 1
	if s.index.N == 0 {
		if len(s.tries) < indexed {
			return
		}
		s.index, from = flow.NewTable[uint32](), 0
	}
	for i := from; i < len(s.tries); i++ {
		h := c.seed.Hash(&s.tries[i].target)
		s.index.Add(s.index.Free(h), h, s.base+uint32(i))
	}
}

// purge forgets what lies before the given time, and the oldest of more than so
// many.
func (c *Crowd) purge(s *sweep, before tcp.Time, most int) {
	gone := 0
	for ; gone < len(s.tries) && (s.tries[gone].at < before || len(s.tries)-gone > most); gone++ {
		if s.index.N > 0 {
			s.index.Remove(c.placeOf(s, &s.tries[gone].target))
		}
	}
	s.tries = s.tries[gone:]
	s.base += uint32(gone)
	c.targets -= gone
}

// swept takes note of who begins a connection, and how.
func (c *Crowd) swept(e *Event) {
	from, to := e.addr(e.End), e.addr(e.End.Peer())
	switch how, asks := probeOf(e); {
	case asks:
		c.tried(&c.scans, from.Addr(), portOf(to), how, e, scanTargets, (*Crowd).judgeScan)
	case e.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK || e.Flags&(tcp.RST|tcp.ACK) == tcp.RST|tcp.ACK && e.Seq == 0:
		c.tried(&c.echoes, from.Addr(), portOf(to), probeSYN, e, echoTargets, (*Crowd).judgeEcho)
	}
}

// probeOf tells what kind of probe a first segment would be.
func probeOf(e *Event) (how probe, asks bool) {
	switch e.Flags & (tcp.SYN | tcp.RST | tcp.FIN | tcp.ACK | tcp.PSH | tcp.URG) {
	case tcp.SYN:
		return probeSYN, true
	case 0:
		return probeNull, true
	case tcp.FIN | tcp.PSH | tcp.URG:
		return probeXmas, true
	case tcp.FIN:
		return probeFIN, true
	case tcp.ACK:
		return probeACK, true
	}
	return 0, false
}

// tried adds a try of a host.
func (c *Crowd) tried(in *table[sweep], host netip.Addr, target flow.Key, how probe, e *Event, enough int, judge func(*Crowd, netip.Addr, *sweep)) {
	s := in.at(hostOf(host))
	c.purge(s, c.now.Add(-scanWindow), maxTries)
	if len(s.tries) < enough {
		s.told = false
	}
	if old := c.find(s, &target); old != nil {
		old.times++
		return
	}
	t := try{sighting: sighting{e.Time, e.Conn, e.Packet}, target: target, times: 1, how: how}
	if how == probeACK {
		t.result = useful // an open connection, until it is answered with RST
	}
	c.add(s, &t)
	c.targets++
	if len(s.tries) >= enough && !s.awaited && !s.told {
		s.awaited = true
		c.later(sweepPatience, func() { judge(c, host, s) })
	}
	if c.targets > maxTargets {
		c.purge(s, 0, max(1, len(s.tries)-1)) // one in place of another
	}
}

// tryOf returns what is remembered of a host's try of the target, or nil.
func (c *Crowd) tryOf(in *table[sweep], host, target netip.AddrPort) *try {
	if s := in.find(hostOf(host.Addr())); s != nil {
		key := portOf(target)
		return c.find(s, &key)
	}
	return nil
}

// sweptTo takes note of what becomes of a try.
func (c *Crowd) sweptTo(e *Event) {
	client := e.End == tcp.Client
	if e.To == tcp.Closed && e.Inputs == tcp.RcvRST.Set() && !e.Refuted && e.Bytes == [2]uint64{} {
		if t := c.tryOf(&c.scans, e.addr(e.End), e.addr(e.End.Peer())); t != nil {
			t.result = refused
		}
	}
	if e.To != tcp.Established && e.From != tcp.Established {
		return
	}
	if t := c.tryOf(&c.scans, e.Client, e.Server); t != nil {
		switch {
		case e.To == tcp.Established:
			t.result = useful
			t.up = t.up || !client
		case e.Bytes == [2]uint64{}:
			t.result = opened
			if t.up && t.how == probeSYN {
				t.how = probeConnect
			}
		default:
			t.result = useful
		}
	}
	if t := c.tryOf(&c.echoes, e.Server, e.Client); t != nil && !client && e.To == tcp.Established {
		t.result = useful
	}
}

// judgeScan tells whether the tries of a host are a scan.
func (c *Crowd) judgeScan(host netip.Addr, s *sweep) {
	s.awaited = false
	n := len(s.tries)
	var results [4]int
	var hows [numProbes]int
	times := 0
	for i := range s.tries {
		t := &s.tries[i]
		results[t.result]++
		hows[t.how]++
		times += t.times
	}
	failed := results[refused] + results[unanswered]
	if n < scanTargets || results[useful]*scanUseful >= n || times > scanRepeats*n {
		return // a busy client, as nearly always: the rest is not worth counting
	}
	ports, hosts := map[uint32]bool{}, map[flow.Key]bool{}
	for i := range s.tries {
		to := &s.tries[i].target
		ports[to.Ports], hosts[flow.Key{LoA: to.LoA, LoB: to.LoB}] = true, true
	}
	if len(ports) < scanTargets && failed*scanFailed < n {
		return
	}
	s.told = true
	how := probeSYN
	for p, of := range hows {
		if of > hows[how] {
			how = probe(p)
		}
	}
	f := finding{
		cause:   probeNames[how],
		certain: ConfidenceAssumed,
		values: values{
			"host": host, "ports": len(ports), "hosts": len(hosts),
			"open": results[opened] + results[useful], "refused": results[refused], "silent": results[unanswered],
		},
	}
	if how == probeACK {
		f.certain = ConfidenceAmbiguous // idle connections that were open before the capture, and are reset
	}
	if failed == results[unanswered] && results[opened]+results[useful] == 0 {
		f.certain = ConfidenceAmbiguous
		f.say("nothing")
	}
	c.report(&portScan, f, host, 0, n, s.tries[n-1].at, s.samples())
}

// judgeEcho tells whether the answers of a host are to forged SYNs. Those of a
// capture that has only one direction are followed by more.
func (c *Crowd) judgeEcho(host netip.Addr, s *sweep) {
	s.awaited = false
	n, going := len(s.tries), 0
	for _, t := range s.tries {
		if t.result == useful {
			going++
		}
	}
	if n < echoTargets || going*scanUseful >= n {
		return
	}
	s.told = true
	f := finding{certain: ConfidenceAmbiguous, values: values{"host": host, "n": n}}
	c.report(&backscatter, f, host, 0, n, s.tries[n-1].at, s.samples())
}

// samples returns some of the tries, evenly spread.
func (s *sweep) samples() (list []sighting) {
	step := max(1, len(s.tries)/maxSamples)
	for i := 0; i < len(s.tries) && len(list) < maxSamples; i += step {
		list = append(list, s.tries[i].sighting)
	}
	return list
}
