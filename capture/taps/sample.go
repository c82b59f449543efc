package taps

import (
	"math/bits"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A sample keeps those packets of a capture whose contents hash to a number below a
// threshold, which is the same for all. So the same packets are kept of all captures,
// whatever their clocks show, and however long they are.

const (
	// maxMarks is how many packets of a capture are kept. One takes some 150 octets.
	maxMarks = 1 << 14

	// numAsks is how many marks wait for their answers at a time, a power of two.
	numAsks = 1 << 12

	// maxAlike is how many with the same hash are told apart.
	maxAlike = 4

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
	again    bool // it was sent again, so that gap may be that to the answer to another
	reset    bool
	n        int32 // there are so many alike: which is which cannot be said
	other    int32 // the next with the same hash, and other addresses or ports; -1: none
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
	again := false
	for i, n := first, 1; i >= 0; i, n = p.marks[i].other, n+1 {
		m := &p.marks[i]
		if m.src == s.Src && m.dst == s.Dst {
			m.again, again = true, true
		}
		if same := m.src == s.Src && m.dst == s.Dst && m.id == s.ID && m.tsVal == s.Options.TSVal; !same && n < maxAlike {
			continue
		} else if same && (s.ID != 0 || s.Len() > 0) && s.Time.Sub(m.time) < promptly {
			return -1 // recorded twice
		}
		m.n++
		return -1
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
		tsVal: s.Options.TSVal, id: s.ID, syn: s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN, octets: s.Len() > 0 && s.Flags&tcp.RST == 0, reset: s.Flags&tcp.RST != 0, again: again, n: 1, other: first})
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
	src, err := t.open(o)
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
