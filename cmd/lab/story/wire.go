package story

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// delay is how long the wire takes, each way.
const delay = 5 * time.Millisecond

// A Side is an end of the wire: client or server.
type Side int

const (
	Client Side = iota
	Server
)

func (s Side) String() string { return [...]string{"client", "server"}[s] }

// Peer returns the other side.
func (s Side) Peer() Side { return 1 - s }

// A sent packet is one that a host put on the wire.
type sent struct {
	segment tcp.Segment
	packet  []byte
}

// A rule is one line of a story that begins with "wire drop", "hold", "delay"
// or "duplicate".
type rule struct {
	action string
	what   matcher
	from   Side
	skip   int // so many that match pass first
	left   int // then it applies to so many; -1: to all
	by     time.Duration
	after  *trigger
}

// A trigger arms a rule when the wire has seen such a segment.
type trigger struct {
	what matcher
	from Side
}

// A matcher says which segments are meant.
type matcher func(s *tcp.Segment) bool

// matchers are the words for segments.
var matchers = map[string]matcher{
	"SYN":     func(s *tcp.Segment) bool { return s.Flags.All(tcp.SYN) && !s.Flags.Any(tcp.ACK) },
	"SYN,ACK": func(s *tcp.Segment) bool { return s.Flags.All(tcp.SYN | tcp.ACK) },
	"FIN":     func(s *tcp.Segment) bool { return s.Flags.Any(tcp.FIN) },
	"RST":     func(s *tcp.Segment) bool { return s.Flags.Any(tcp.RST) },
	"ACK": func(s *tcp.Segment) bool {
		return s.Data == 0 && s.Flags.Any(tcp.ACK) && !s.Flags.Any(tcp.SYN|tcp.FIN|tcp.RST)
	},
	"data":    func(s *tcp.Segment) bool { return s.Data > 0 },
	"segment": func(s *tcp.Segment) bool { return true },
}

// Noise is what happens to any segment of a conversation, with these
// probabilities.
type noise struct {
	rnd       *rand.Rand
	loss      float64
	duplicate float64
	late      float64       // is delayed by up to jitter
	jitter    time.Duration // that much
}

// parseRule reads what stands behind the verb of a rule.
func parseRule(verb string, words []string) (*rule, error) {
	r := &rule{action: verb, left: 1}
	next := func() (word string) {
		if len(words) > 0 {
			word, words = words[0], words[1:]
		}
		return word
	}
	segment := func(word string) (what matcher, from Side, err error) {
		what = matchers[word]
		if is, end := next(), next(); what == nil || is != "from" || end != "client" && end != "server" {
			return nil, 0, errUsage
		} else {
			from = sideOf(end)
		}
		return what, from, nil
	}
	word := next()
	if nth, err := strconv.Atoi(strings.TrimRight(word, "stndrh")); err == nil {
		if strings.Trim(word, "0123456789") == "" {
			r.left = nth
		} else {
			r.skip = nth - 1
		}
		word = next()
	} else if word == "every" {
		r.left, word = -1, next()
	}
	var err error
	if r.what, r.from, err = segment(word); err != nil {
		return nil, err
	}
	for len(words) > 0 {
		switch next() {
		case "by":
			if r.by, err = time.ParseDuration(next()); err != nil {
				return nil, err
			}
		case "after":
			r.after = new(trigger)
			if r.after.what, r.after.from, err = segment(next()); err != nil {
				return nil, err
			}
		default:
			return nil, errUsage
		}
	}
	return r, nil
}

// parseNoise reads the arguments of "wire noise".
func parseNoise(args []string) (n noise, err error) {
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "loss":
			n.loss, err = strconv.ParseFloat(value, 64)
		case "duplicate":
			n.duplicate, err = strconv.ParseFloat(value, 64)
		case "late":
			n.late, err = strconv.ParseFloat(value, 64)
		case "jitter":
			n.jitter, err = time.ParseDuration(value)
		case "seed":
			var seed uint64
			seed, err = strconv.ParseUint(value, 10, 64)
			n.rnd = rand.New(rand.NewPCG(seed, 0))
		default:
			err = errUsage
		}
		if err != nil {
			return noise{}, err
		}
	}
	if n.rnd == nil {
		return noise{}, errors.New("want a seed")
	}
	return n, nil
}

// A channel is what the wire has of one conversation.
type channel struct {
	addrs [2]netip.AddrPort
	rules []*rule
	noise noise
	cut   [2]bool // nothing of that side arrives
	held  []delivery
	sent  [2][]sent
	next  [2]tcp.Seq // the number after the highest that was sent
	busy  time.Time  // when a packet was last put on or taken off
	queue int        // packets on their way
}

// A delivery is a packet on its way.
type delivery struct {
	at      time.Time
	number  int // of deliveries due at one time the one put on first goes first
	to      Side
	packet  []byte
	channel *channel
}

type deliveries []delivery

func (d deliveries) Len() int      { return len(d) }
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d deliveries) Less(i, j int) bool {
	return d[i].at.Before(d[j].at) || d[i].at.Equal(d[j].at) && d[i].number < d[j].number
}
func (d *deliveries) Push(x any) { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

// A Clock tells the time of the hosts, which need not be that of the world.
type Clock interface {
	Now() time.Time
	Sleep(d time.Duration) // lets time pass, in which hosts and wire go on
}

// A Wire carries packets between two hosts, and does to them what a story
// tells it to. Every conversation, known by its client's port, has rules of its
// own.
//
// A lab gives the wire what a host sends (Carry), and gives a host what has
// arrived (Take). A token is in Put when a packet was put on the wire.
type Wire struct {
	Put chan struct{}

	clock    Clock
	mu       sync.Mutex
	channels map[uint16]*channel
	due      deliveries
	number   int
}

// NewWire makes a wire on which nothing is.
func NewWire(clock Clock) *Wire {
	return &Wire{Put: make(chan struct{}, 1), clock: clock, channels: map[uint16]*channel{}}
}

// open adds a conversation between two ends.
func (w *Wire) open(addrs [2]netip.AddrPort) *channel {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &channel{addrs: addrs, busy: w.clock.Now()}
	w.channels[addrs[Client].Port()] = c
	return c
}

// Carry puts a packet that a host sent on the wire, which keeps it.
func (w *Wire) Carry(from Side, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := decode.IP(packet)
	if !ok {
		return // a host's own, of IPv6's neighbourhood
	}
	port := s.Src.Port()
	if (from == Server) != (s.ICMP.Type != 0) { // an ICMP error quotes the other's segment
		port = s.Dst.Port()
	}
	c := w.channels[port]
	if c == nil {
		return
	}
	c.busy = w.clock.Now()
	c.sent[from] = append(c.sent[from], sent{s, packet})
	if end := s.End(); len(c.sent[from]) == 1 || s.Flags.Any(tcp.SYN) || c.next[from].Before(end) {
		c.next[from] = end
	}
	w.apply(c, from, &s, packet)
}

// apply does to a packet what the first rule for it says.
func (w *Wire) apply(c *channel, from Side, s *tcp.Segment, packet []byte) {
	late := delay
	if n := &c.noise; n.rnd != nil {
		lost, again, slow := n.rnd.Float64() < n.loss, n.rnd.Float64() < n.duplicate, n.rnd.Float64() < n.late
		extra := time.Duration(n.rnd.Int64N(int64(n.jitter) + 1))
		if lost {
			return
		}
		if slow {
			late += extra
		}
		if again {
			w.put(c, from, packet, late+extra)
		}
	}
	r := c.match(from, s)
	if c.cut[from] {
		return
	}
	if r == nil {
		w.put(c, from, packet, late)
		return
	}
	switch r.action {
	case "hold":
		c.held = append(c.held, delivery{to: from.Peer(), packet: packet, channel: c})
	case "delay":
		w.put(c, from, packet, late+r.by)
	case "duplicate":
		w.put(c, from, packet, late)
		w.put(c, from, packet, late+r.by)
	}
}

// match returns the first rule that applies to a segment, and arms those that
// have waited for it.
func (c *channel) match(from Side, s *tcp.Segment) (found *rule) {
	for _, r := range c.rules {
		if r.after == nil && found == nil && r.left != 0 && r.from == from && r.what(s) {
			if r.skip > 0 {
				r.skip--
				continue
			}
			if r.left > 0 {
				r.left--
			}
			found = r
		}
	}
	for _, r := range c.rules {
		if r.after != nil && r.after.from == from && r.after.what(s) {
			r.after = nil
		}
	}
	return found
}

// put has a packet arrive after some time.
func (w *Wire) put(c *channel, from Side, packet []byte, after time.Duration) {
	w.number++
	c.queue++
	heap.Push(&w.due, delivery{w.clock.Now().Add(after), w.number, from.Peer(), packet, c})
	select {
	case w.Put <- struct{}{}:
	default:
	}
}

// Take takes the first packet off the wire that is due. It is not ok if none is.
func (w *Wire) Take() (to Side, packet []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	if len(w.due) == 0 || w.due[0].at.After(now) {
		return 0, nil, false
	}
	d := heap.Pop(&w.due).(delivery)
	d.channel.busy = now
	d.channel.queue--
	return d.to, d.packet, true
}

// Next returns when the next packet is due. It is not ok if there is none.
func (w *Wire) Next() (at time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.due) == 0 {
		return time.Time{}, false
	}
	return w.due[0].at, true
}

// quietSince returns since when nothing of the conversation has moved, but for
// what is held. It is not ok if something is on its way.
func (w *Wire) quietSince(c *channel) (since time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.busy, c.queue == 0
}

// release lets go of what is held.
func (w *Wire) release(c *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range c.held {
		w.put(c, d.to.Peer(), d.packet, delay)
	}
	c.held = nil
}

// replay delivers once more what was sent before.
func (w *Wire) replay(c *channel, from Side, what matcher, nth int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range c.sent[from] {
		if what(&s.segment) {
			if nth--; nth == 0 {
				w.put(c, from, s.packet, 0)
				return nil
			}
		}
	}
	return fmt.Errorf("%v has sent no such segment", from)
}

// relative is a number in an injected segment that counts from what an end has
// sent: "next" after its last, "next+100".
var relative = regexp.MustCompile(`next([+-]\d+)?`)

// lastTS is a timestamp option that counts from the last that an end has sent.
var lastTS = regexp.MustCompile(`<TS=last([+-]\d+)?>`)

// inject delivers a segment that nobody sent. In its text, as tracker's notation
// has it, SEQ and ACK may count from "next", the number after the highest that
// the sender, or its peer, sent; <TS=last> is the sender's last timestamp option,
// whose value may be moved: <TS=last-1000>.
func (w *Wire) inject(c *channel, from Side, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	number := func(text, field string, base tcp.Seq) string {
		return regexp.MustCompile(`<`+field+`=next[^>]*>`).ReplaceAllStringFunc(text, func(f string) string {
			offset, _ := strconv.Atoi(relative.FindStringSubmatch(f)[1])
			return fmt.Sprintf("<%s=%d>", field, uint32(base)+uint32(offset))
		})
	}
	text = number(number(text, "SEQ", c.next[from]), "ACK", c.next[from.Peer()])
	text = lastTS.ReplaceAllStringFunc(text, func(f string) string {
		offset, _ := strconv.Atoi(lastTS.FindStringSubmatch(f)[1])
		for _, s := range slices.Backward(c.sent[from]) {
			if o := s.segment.Options; o.HasTS {
				return fmt.Sprintf("<TS=%d,%d>", o.TSVal+uint32(offset), o.TSEcr)
			}
		}
		return f
	})
	s, err := tcp.ParseSegment(text)
	if err != nil {
		return err
	}
	s.Src, s.Dst = c.addrs[from], c.addrs[from.Peer()]
	w.put(c, from, pktgen.Append(nil, &s), 0)
	return nil
}

// unreachable tells an end by ICMP that its last segment met a closed port.
func (w *Wire) unreachable(c *channel, to Side) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := c.sent[to]
	if len(list) == 0 {
		return fmt.Errorf("%v has sent nothing", to)
	}
	s := list[len(list)-1].segment
	s.ICMP = tcp.ICMP{Type: 3, Code: 3}
	if s.Src.Addr().Is6() {
		s.ICMP = tcp.ICMP{Type: 1, Code: 4, V6: true}
	}
	w.put(c, to.Peer(), pktgen.Append(nil, &s), 0)
	return nil
}
