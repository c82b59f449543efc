package crossflow

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/many"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What one host attempts on many others, or answers to many: scans, and
// backscatter, which is kept as a scan is.

// maxAttempts is how many targets are remembered of a scan.
const maxAttempts = 1 << 16

// An outcome says what came of an attempt.
type outcome uint8

const (
	unanswered outcome = iota
	refused            // by a RST
	opened             // the target answered, and nothing was sent
	useful             // the connection carries data, or may
)

// An attempt is one target of a scan.
type attempt struct {
	sighting
	target flow.Key
	times  int
	how    many.Probe
	result outcome
	up     bool // the handshake was completed
}

// A scan is what one host attempted lately: one attempt for each target, the
// oldest first.
type scan struct {
	attempts []attempt
	index    flow.Table[uint32] // of each target in attempts, from base; empty while there are few
	base     uint32
	awaited  bool // a verdict is to be given
	told     bool // and was, of what still goes on
}

// indexed is from how many attempts on a scan has an index.
const indexed = 8

// find returns the attempt on the target, or nil.
func (c *Detector) find(s *scan, target *flow.Key) *attempt {
	if s.index.N > 0 {
		if i := c.placeOf(s, target); s.index.Tags[i] != 0 {
			return &s.attempts[s.index.Items[i]-s.base]
		}
		return nil
	}
	for i := range s.attempts {
		if s.attempts[i].target.Is(target) {
			return &s.attempts[i]
		}
	}
	return nil
}

// placeOf returns where in a scan's index the target is, or the free place
// where it would be.
func (c *Detector) placeOf(s *scan, target *flow.Key) uint32 {
	x, h := &s.index, c.seed.Hash(target)
	i := x.First(h)
	for tag := x.Tags[i]; tag != 0 && (tag != h || !s.attempts[x.Items[i]-s.base].target.Is(target)); tag = x.Tags[i] {
		i = x.Next(i)
	}
	return i
}

// add appends an attempt.
func (c *Detector) add(s *scan, t *attempt) {
	s.attempts = append(s.attempts, *t)
	from := len(s.attempts) - 1
	if s.index.N == 0 {
		if len(s.attempts) < indexed {
			return
		}
		s.index, from = flow.NewTable[uint32](), 0
	}
	for i := from; i < len(s.attempts); i++ {
		h := c.seed.Hash(&s.attempts[i].target)
		s.index.Add(s.index.Free(h), h, s.base+uint32(i))
	}
}

// purge forgets what lies before the given time, and the oldest of more than so
// many.
func (c *Detector) purge(s *scan, before tcp.Time, most int) {
	gone := 0
	for ; gone < len(s.attempts) && (s.attempts[gone].at < before || len(s.attempts)-gone > most); gone++ {
		if s.index.N > 0 {
			s.index.Remove(c.placeOf(s, &s.attempts[gone].target))
		}
	}
	s.attempts = s.attempts[gone:]
	s.base += uint32(gone)
	c.targets -= gone
}

// scanned takes note of who begins a connection, and how.
func (c *Detector) scanned(e *tracker.Event) {
	from, to := addrOf(e, e.End), addrOf(e, e.End.Peer())
	switch how, asks := probeOf(e); {
	case asks:
		c.attempted(&c.scans, from.Addr(), portOf(to), how, e, many.ScanTargets, (*Detector).decideScan)
	case e.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK || e.Flags&(tcp.RST|tcp.ACK) == tcp.RST|tcp.ACK && e.Seq == 0:
		c.attempted(&c.backscatter, from.Addr(), portOf(to), many.ProbeSYN, e, many.BackscatterTargets, (*Detector).decideBackscatter)
	}
}

// probeOf tells what kind of probe a first segment would be.
func probeOf(e *tracker.Event) (how many.Probe, asks bool) {
	switch e.Flags & (tcp.SYN | tcp.RST | tcp.FIN | tcp.ACK | tcp.PSH | tcp.URG) {
	case tcp.SYN:
		return many.ProbeSYN, true
	case 0:
		return many.ProbeNull, true
	case tcp.FIN | tcp.PSH | tcp.URG:
		return many.ProbeXmas, true
	case tcp.FIN:
		return many.ProbeFIN, true
	case tcp.ACK:
		return many.ProbeACK, true
	}
	return 0, false
}

// attempted adds an attempt of a host.
func (c *Detector) attempted(in *table[scan], host netip.Addr, target flow.Key, how many.Probe, e *tracker.Event, enough int, decide func(*Detector, netip.Addr, *scan)) {
	s := in.at(hostOf(host))
	c.purge(s, c.now.Add(-many.ScanWindow), maxAttempts)
	if len(s.attempts) < enough {
		s.told = false
	}
	if old := c.find(s, &target); old != nil {
		old.times++
		return
	}
	t := attempt{sighting: sighting{e.Time, e.Conn, e.Packet}, target: target, times: 1, how: how}
	if how == many.ProbeACK {
		t.result = useful // an open connection, until it is answered with RST
	}
	c.add(s, &t)
	c.targets++
	if len(s.attempts) >= enough && !s.awaited && !s.told {
		s.awaited = true
		c.later(many.ScanPatience, func() { decide(c, host, s) })
	}
	if c.targets > maxTargets {
		c.purge(s, 0, max(1, len(s.attempts)-1)) // one in place of another
	}
}

// attemptOf returns what is remembered of a host's attempt on the target, or nil.
func (c *Detector) attemptOf(in *table[scan], host, target netip.AddrPort) *attempt {
	if s := in.find(hostOf(host.Addr())); s != nil {
		key := portOf(target)
		return c.find(s, &key)
	}
	return nil
}

// scanMoved takes note of what becomes of an attempt.
func (c *Detector) scanMoved(e *tracker.Event) {
	client := e.End == tcp.Client
	if e.To == tcp.Closed && e.Inputs == tcp.RcvRST.Set() && !e.Refuted && e.Bytes == [2]uint64{} {
		if t := c.attemptOf(&c.scans, addrOf(e, e.End), addrOf(e, e.End.Peer())); t != nil {
			t.result = refused
		}
	}
	if e.To != tcp.Established && e.From != tcp.Established {
		return
	}
	if t := c.attemptOf(&c.scans, e.Client, e.Server); t != nil {
		switch {
		case e.To == tcp.Established:
			t.result = useful
			t.up = t.up || !client
		case e.Bytes == [2]uint64{}:
			t.result = opened
			if t.up && t.how == many.ProbeSYN {
				t.how = many.ProbeConnect
			}
		default:
			t.result = useful
		}
	}
	if !client && e.To == tcp.Established {
		if t := c.attemptOf(&c.backscatter, e.Server, e.Client); t != nil {
			t.result = useful
		}
	}
}

// decideScan tells whether the attempts of a host are a scan.
func (c *Detector) decideScan(host netip.Addr, s *scan) {
	s.awaited = false
	n := len(s.attempts)
	var results [4]int
	var hows [many.NumProbes]int
	times := 0
	for i := range s.attempts {
		t := &s.attempts[i]
		results[t.result]++
		hows[t.how]++
		times += t.times
	}
	failed := results[refused] + results[unanswered]
	if n < many.ScanTargets || results[useful]*many.ScanUseful >= n || times > many.ScanRepeats*n {
		return // a busy client, as nearly always: the rest is not worth counting
	}
	ports, hosts := map[uint32]bool{}, map[flow.Key]bool{}
	for i := range s.attempts {
		to := &s.attempts[i].target
		ports[to.Ports], hosts[flow.Key{LoA: to.LoA, LoB: to.LoB}] = true, true
	}
	if len(ports) < many.ScanTargets && failed*many.ScanFailed < n {
		return
	}
	s.told = true
	how := many.ProbeSYN
	for p, of := range hows {
		if of > hows[how] {
			how = many.Probe(p)
		}
	}
	f := anomaly.Finding{
		Cause:   many.ProbeNames[how],
		Certain: anomaly.ConfidenceAssumed,
		Values: anomaly.Values{
			"host": host, "ports": len(ports), "hosts": len(hosts),
			"open": results[opened] + results[useful], "refused": results[refused], "silent": results[unanswered],
		},
	}
	if how == many.ProbeACK {
		f.Certain = anomaly.ConfidenceAmbiguous // idle connections that were open before the capture, and are reset
	}
	if failed == results[unanswered] && results[opened]+results[useful] == 0 {
		f.Certain = anomaly.ConfidenceAmbiguous
		f.Say("nothing")
	}
	c.report(&many.PortScan, f, host, 0, n, s.attempts[n-1].at, s.samples())
}

// decideBackscatter tells whether the answers of a host are to forged SYNs. Those of a
// capture that has only one direction are followed by more.
func (c *Detector) decideBackscatter(host netip.Addr, s *scan) {
	s.awaited = false
	n, going := len(s.attempts), 0
	for _, t := range s.attempts {
		if t.result == useful {
			going++
		}
	}
	if n < many.BackscatterTargets || going*many.ScanUseful >= n {
		return
	}
	s.told = true
	f := anomaly.Finding{Certain: anomaly.ConfidenceAmbiguous, Values: anomaly.Values{"host": host, "n": n}}
	c.report(&many.Backscatter, f, host, 0, n, s.attempts[n-1].at, s.samples())
}

// samples returns some of the attempts, evenly spread.
func (s *scan) samples() (list []sighting) {
	step := max(1, len(s.attempts)/maxSamples)
	for i := 0; i < len(s.attempts) && len(list) < maxSamples; i += step {
		list = append(list, s.attempts[i].sighting)
	}
	return list
}
