//go:build lab && linux

package lab

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/forge"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// The wire carries packets between two hosts, and does to them what a story
// tells it to. Every conversation, known by its client's port, has rules of its
// own.

// delay is how long the wire takes, each way.
const delay = 5 * time.Millisecond

// A side is an end of the wire: client or server.
type side int

const (
	client side = iota
	server
)

func (s side) String() string { return [...]string{"client", "server"}[s] }

// peer returns the other side.
func (s side) peer() side { return 1 - s }

// A sent packet is one that a host put on the wire.
type sent struct {
	segment tracker.Segment
	packet  []byte
}

// A rule is one line of a story that begins with "wire drop", "hold", "delay"
// or "duplicate".
type rule struct {
	action string
	what   matcher
	from   side
	skip   int // so many that match pass first
	left   int // then it applies to so many; -1: to all
	by     time.Duration
	after  *trigger
}

// A trigger arms a rule when the wire has seen such a segment.
type trigger struct {
	what matcher
	from side
}

// A matcher says which segments are meant.
type matcher func(s *tracker.Segment) bool

// matchers are the words for segments.
var matchers = map[string]matcher{
	"SYN":     func(s *tracker.Segment) bool { return s.Flags.All(tracker.SYN) && !s.Flags.Any(tracker.ACK) },
	"SYN,ACK": func(s *tracker.Segment) bool { return s.Flags.All(tracker.SYN | tracker.ACK) },
	"FIN":     func(s *tracker.Segment) bool { return s.Flags.Any(tracker.FIN) },
	"RST":     func(s *tracker.Segment) bool { return s.Flags.Any(tracker.RST) },
	"ACK": func(s *tracker.Segment) bool {
		return s.Data == 0 && s.Flags.Any(tracker.ACK) && !s.Flags.Any(tracker.SYN|tracker.FIN|tracker.RST)
	},
	"data":    func(s *tracker.Segment) bool { return s.Data > 0 },
	"segment": func(s *tracker.Segment) bool { return true },
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

// A channel is the wire of one conversation.
type channel struct {
	rules []*rule
	noise noise
	cut   [2]bool // nothing of that side arrives
	held  []delivery
	sent  [2][]sent
	next  [2]tracker.Seq // the number after the highest that was sent
	busy  time.Time      // when a packet was last put on or taken off
	queue int            // packets on their way
}

// A delivery is a packet on its way.
type delivery struct {
	at      time.Time
	number  int // of deliveries due at one time the one put on first goes first
	to      side
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

type wire struct {
	hosts [2]*host

	mu       sync.Mutex
	channels map[uint16]*channel
	due      deliveries
	number   int
	wake     chan struct{}
	stop     chan struct{}
	err      error
}

func newWire(c, s *host) *wire {
	w := &wire{
		hosts: [2]*host{c, s}, channels: map[uint16]*channel{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	go w.deliver()
	go w.read(client)
	go w.read(server)
	return w
}

// open adds a conversation.
func (w *wire) open(port uint16) *channel {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &channel{busy: time.Now()}
	w.channels[port] = c
	return c
}

// read takes what a host puts on the wire, until its device is closed.
func (w *wire) read(from side) {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.hosts[from].tun.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.carry(from, slices.Clone(buf[:n]))
		w.mu.Unlock()
	}
}

// carry puts a packet on the wire.
func (w *wire) carry(from side, packet []byte) {
	s, ok := capture.DecodeIP(packet)
	if !ok {
		return // the kernel's own, of IPv6's neighbourhood
	}
	port := s.Src.Port()
	if (from == server) != (s.ICMP.Type != 0) { // an ICMP error quotes the other's segment
		port = s.Dst.Port()
	}
	c := w.channels[port]
	if c == nil {
		return
	}
	c.busy = time.Now()
	c.sent[from] = append(c.sent[from], sent{s, packet})
	if end := s.End(); len(c.sent[from]) == 1 || s.Flags.Any(tracker.SYN) || c.next[from].Before(end) {
		c.next[from] = end
	}
	w.apply(c, from, &s, packet)
}

// apply does to a packet what the first rule for it says.
func (w *wire) apply(c *channel, from side, s *tracker.Segment, packet []byte) {
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
		c.held = append(c.held, delivery{to: from.peer(), packet: packet, channel: c})
	case "delay":
		w.put(c, from, packet, late+r.by)
	case "duplicate":
		w.put(c, from, packet, late)
		w.put(c, from, packet, late+r.by)
	}
}

// match returns the first rule that applies to a segment, and arms those that
// have waited for it.
func (c *channel) match(from side, s *tracker.Segment) (found *rule) {
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
func (w *wire) put(c *channel, from side, packet []byte, after time.Duration) {
	w.number++
	c.queue++
	heap.Push(&w.due, delivery{time.Now().Add(after), w.number, from.peer(), packet, c})
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// deliver takes packets off the wire as they are due.
func (w *wire) deliver() {
	for {
		w.mu.Lock()
		pause := time.Hour
		for len(w.due) > 0 {
			if pause = time.Until(w.due[0].at); pause > 0 {
				break
			}
			d := heap.Pop(&w.due).(delivery)
			d.channel.busy = time.Now()
			d.channel.queue--
			if _, err := w.hosts[d.to].tun.Write(d.packet); err != nil && w.err == nil {
				w.err = fmt.Errorf("delivering a packet to %v: %w", d.to, err)
			}
			pause = time.Hour
		}
		w.mu.Unlock()
		select {
		case <-w.stop:
			return
		case <-w.wake:
		case <-time.After(pause):
		}
	}
}

// quietSince returns since when nothing of the conversation has moved, but for
// what is held. It is not ok if something is on its way.
func (w *wire) quietSince(c *channel) (since time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.busy, c.queue == 0
}

// release lets go of what is held.
func (w *wire) release(c *channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range c.held {
		w.put(c, d.to.peer(), d.packet, delay)
	}
	c.held = nil
}

// replay delivers once more what was sent before.
func (w *wire) replay(c *channel, from side, what matcher, nth int) error {
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

// inject delivers a segment that nobody sent. In its text, as tracker's notation
// has it, SEQ and ACK may count from "next", the number after the highest that
// the sender, or its peer, sent; <TS=last> is the sender's last timestamp option.
func (w *wire) inject(c *channel, from side, text string, conversation *conversation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	number := func(text, field string, base tracker.Seq) string {
		return regexp.MustCompile(`<`+field+`=next[^>]*>`).ReplaceAllStringFunc(text, func(f string) string {
			offset, _ := strconv.Atoi(relative.FindStringSubmatch(f)[1])
			return fmt.Sprintf("<%s=%d>", field, uint32(base)+uint32(offset))
		})
	}
	text = number(number(text, "SEQ", c.next[from]), "ACK", c.next[from.peer()])
	if strings.Contains(text, "<TS=last>") {
		for _, s := range slices.Backward(c.sent[from]) {
			if o := s.segment.Options; o.HasTS {
				text = strings.ReplaceAll(text, "<TS=last>", fmt.Sprintf("<TS=%d,%d>", o.TSVal, o.TSEcr))
				break
			}
		}
	}
	s, err := tracker.ParseSegment(text)
	if err != nil {
		return err
	}
	s.Src, s.Dst = conversation.addr(from), conversation.addr(from.peer())
	w.put(c, from, forge.Append(nil, &s), 0)
	return nil
}

// unreachable tells an end by ICMP that its last segment met a closed port.
func (w *wire) unreachable(c *channel, to side) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := c.sent[to]
	if len(list) == 0 {
		return fmt.Errorf("%v has sent nothing", to)
	}
	s := list[len(list)-1].segment
	s.ICMP = tracker.ICMP{Type: 3, Code: 3}
	if s.Src.Addr().Is6() {
		s.ICMP = tracker.ICMP{Type: 1, Code: 4, V6: true}
	}
	w.put(c, to.peer(), forge.Append(nil, &s), 0)
	return nil
}

// close ends the wire; the hosts' devices are closed by them.
func (w *wire) close() error {
	close(w.stop)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
