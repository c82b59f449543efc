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

// MaxAttempts is how many targets are remembered of a scan.
const MaxAttempts = 1 << 16

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
	addrA, addrB uint64 // of the target, see flow.Words
	times        uint32
	port         uint16
	how          many.Probe
	result       outcome
	up           bool // the handshake was completed
}

// key names the target, as portOf does.
func (t *attempt) key() flow.Key { return flow.Key{LoA: t.addrA, LoB: t.addrB, Ports: uint32(t.port)} }

func (t *attempt) isOn(target *flow.Key) bool {
	return t.addrB == target.LoB && uint32(t.port) == target.Ports && t.addrA == target.LoA
}

// A seat is where the attempt is that a connection was, so that it need not be looked
// for with each move. What lies there is compared before it is believed.
type seat struct{ conn, row, attempt uint32 }

// maxSeats is how many connections have a seat, a power of two: the newest.
const maxSeats = 1 << 16

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

// find returns the attempt on the target, or nil; and of a scan with an index where in
// that it is, or the free place where it would be, and its hash.
func (c *Detector) find(s *scan, target *flow.Key) (of *attempt, i, h uint32) {
	if s.index.N == 0 {
		for i := range s.attempts {
			if s.attempts[i].isOn(target) {
				return &s.attempts[i], 0, 0
			}
		}
		return nil, 0, 0
	}
	x := &s.index
	h = c.seed.Hash(target)
	for i = x.First(h); x.Tags[i] != 0; i = x.Next(i) {
		if x.Tags[i] == h {
			if of := &s.attempts[x.Items[i]-s.base]; of.isOn(target) {
				return of, i, h
			}
		}
	}
	return nil, i, h
}

// add appends an attempt, which has that place in the index, and that hash.
func (c *Detector) add(s *scan, t *attempt, i, h uint32) {
	s.attempts = append(s.attempts, *t)
	switch n := len(s.attempts); {
	case s.index.N > 0:
		s.index.Add(i, h, s.base+uint32(n-1))
	case n >= indexed:
		s.index = flow.NewTable[uint32]()
		for i := range s.attempts {
			key := s.attempts[i].key()
			h := c.seed.Hash(&key)
			s.index.Add(s.index.Free(h), h, s.base+uint32(i))
		}
	}
}

// purge forgets what lies before the given time, and the oldest of more than so
// many.
func (c *Detector) purge(s *scan, before tcp.Time, most int) {
	gone := 0
	for ; gone < len(s.attempts) && (s.attempts[gone].at < before || len(s.attempts)-gone > most); gone++ {
		if s.attempts[gone].at >= before {
			c.bounded.Targets++
		}
		if s.index.N > 0 {
			key := s.attempts[gone].key()
			_, i, _ := c.find(s, &key)
			s.index.Remove(i)
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
	row := in.rowAt(hostOf(host))
	s := &in.row(row).value
	c.purge(s, c.now.Add(-many.ScanWindow), MaxAttempts)
	if len(s.attempts) < enough {
		s.told = false
	}
	old, i, h := c.find(s, &target)
	if old != nil {
		old.times++
		return
	}
	t := attempt{
		sighting: sighting{e.Time, e.Conn, e.Packet}, addrA: target.LoA, addrB: target.LoB, port: uint16(target.Ports),
		times: 1, how: how,
	}
	if how == many.ProbeACK {
		t.result = useful // an open connection, until it is answered with RST
	}
	c.add(s, &t, i, h)
	if in == &c.scans {
		c.sit(e.Conn, row, s.base+uint32(len(s.attempts)-1))
	}
	c.targets++
	if len(s.attempts) >= enough && !s.awaited && !s.told {
		s.awaited = true
		c.later(many.ScanPatience, func() { decide(c, host, s) })
	}
	if c.targets > MaxTargets {
		c.purge(s, 0, max(1, len(s.attempts)-1)) // one in place of another
	}
}

// sit gives the connection a seat.
func (c *Detector) sit(conn int, row, at uint32) {
	if c.seats == nil {
		c.seats = make([]seat, maxSeats)
	}
	c.seats[conn%maxSeats] = seat{uint32(conn), row, at}
}

// attemptOf returns what is remembered of a host's attempt on the target, or nil.
func (c *Detector) attemptOf(in *table[scan], host, target netip.AddrPort) *attempt {
	if s := in.find(hostOf(host.Addr())); s != nil {
		key := portOf(target)
		t, _, _ := c.find(s, &key)
		return t
	}
	return nil
}

// triedBy returns what is remembered of the attempt that the connection is, or nil.
func (c *Detector) triedBy(e *tracker.Event, host, target netip.AddrPort) *attempt {
	if c.seats != nil {
		if at := c.seats[e.Conn%maxSeats]; at.conn == uint32(e.Conn) {
			key := hostOf(host.Addr())
			if s := c.scans.still(at.row, &key); s != nil {
				key = portOf(target)
				if i := at.attempt - s.base; i < uint32(len(s.attempts)) && s.attempts[i].isOn(&key) {
					return &s.attempts[i]
				}
			}
		}
	}
	return c.attemptOf(&c.scans, host, target)
}

// scanMoved takes note of what becomes of an attempt.
func (c *Detector) scanMoved(e *tracker.Event) {
	client := e.End == tcp.Client
	if e.To == tcp.Closed && e.Inputs == tcp.RcvRST.Set() && !e.Refuted && e.Bytes == [2]uint64{} {
		if t := c.triedBy(e, addrOf(e, e.End), addrOf(e, e.End.Peer())); t != nil {
			t.result = refused
		}
	}
	if e.To != tcp.Established && e.From != tcp.Established {
		return
	}
	if t := c.triedBy(e, e.Client, e.Server); t != nil {
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
		times += int(t.times)
	}
	failed := results[refused] + results[unanswered]
	if n < many.ScanTargets || results[useful]*many.ScanUseful >= n || times > many.ScanRepeats*n {
		return // a busy client, as nearly always: the rest is not worth counting
	}
	ports, hosts := map[uint16]bool{}, map[[2]uint64]bool{}
	for i := range s.attempts {
		t := &s.attempts[i]
		ports[t.port], hosts[[2]uint64{t.addrA, t.addrB}] = true, true
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
