package hub

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	// batch is how many segments a message has.
	batch = 1024

	// window is how many messages are under way at most.
	window = 64

	// retryAfter is how long it is waited before messages are sent again.
	retryAfter = 100 * time.Millisecond

	// toldEvery is how often it is told, at most, that the hub takes nothing.
	toldEvery = 10 * time.Second
)

// An About is what a sensor says of itself.
type About struct {
	Cut       bool   // packets are cut on purpose
	Host      string // where it runs
	Version   string // of its tcpwatch
	Addresses []string
	Stats     capture.Stats
}

// SensorOptions say what a sensor is.
type SensorOptions struct {
	Name string
	Run  uint64 // 0: a new one. The same run sends the same messages, and those that are stored already are not sent
	Room int64  // octets that wait at most until the hub has stored them

	Live  bool // it captures now; else it reads a file
	Clock bool // the clock of this host stamps what is captured

	// Drop has segments dropped, and counted, where there is no room. Without it Take waits.
	Drop bool

	// About is asked what the sensor says of itself, by Take, Beat and End.
	About func() About

	// Notice, unless nil, is told in a sentence that the hub takes nothing. Any goroutine
	// calls it.
	Notice func(string)

	now func() tcp.Time // the clock; nil: that of this host
}

// A Sensor sends segments to a hub. Its methods are for one goroutine.
type Sensor struct {
	conn    *Conn
	options SensorOptions
	lanes   []sending
	n       int      // segments so far
	flushed int      // of these, those that are in messages of all partitions
	newest  tcp.Time // of them
	lost    int64    // segments that were dropped
	lostBy  tcp.Time
	told    int64 // of lost, those that the hub was told

	mu      sync.Mutex
	changed *sync.Cond
	queue   []*outgoing // not acknowledged, or not sent yet
	waiting int64       // octets of these
	broken  error       // ends it
	closing bool
	done    chan struct{}
	wake    chan struct{}
	toldAt  time.Time
}

// A sending is what goes to one partition.
type sending struct {
	writer  wire.Writer
	subject string
	n       uint64 // messages so far
	stored  uint64 // of these, those that are stored from an earlier try
}

// An outgoing is a message on its way.
type outgoing struct {
	subject string
	data    []byte
	stored  jetstream.PubAckFuture
}

// Sensor begins to send.
func (c *Conn) Sensor(ctx context.Context, o SensorOptions) (*Sensor, error) {
	if c.written < wire.Version {
		return nil, fmt.Errorf("the hub is older than this tcpwatch: it reads messages of version %d, not %d; update the hub first", c.written, wire.Version)
	}
	if err := CheckName(o.Name); err != nil {
		return nil, err
	}
	s := &Sensor{conn: c, options: o, lanes: make([]sending, c.partitions), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	if s.options.now == nil {
		s.options.now = func() tcp.Time { return tcp.Time(time.Now().UnixNano()) }
	}
	s.changed = sync.NewCond(&s.mu)
	again := o.Run != 0
	for s.options.Run == 0 {
		var octets [8]byte
		if _, err := rand.Read(octets[:]); err != nil {
			return nil, err
		}
		s.options.Run = binary.BigEndian.Uint64(octets[:])
	}
	for i := range s.lanes {
		s.lanes[i].subject = subjectOf(i, o.Name, s.options.Run)
		if again {
			var err error
			if s.lanes[i].stored, err = c.storedUpTo(ctx, s.lanes[i].subject); err != nil {
				return nil, err
			}
		}
	}
	go s.send()
	return s, nil
}

// storedUpTo returns the number of the last message of a subject; 0: there is none.
func (c *Conn) storedUpTo(ctx context.Context, subject string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*patience)
	defer cancel()
	var m *jetstream.RawStreamMsg
	err := again(ctx, func(ctx context.Context) (err error) {
		m, err = c.stream.GetLastMsgForSubject(ctx, subject)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	h, err := wire.ReadHead(m.Data)
	return h.N, err
}

// Stored reports whether all that was sent so far was stored by an earlier try.
func (s *Sensor) Stored() bool {
	for i := range s.lanes {
		if l := &s.lanes[i]; l.n > l.stored {
			return false
		}
	}
	return true
}

// Take sends a segment, which is not kept.
func (s *Sensor) Take(g *tcp.Segment) error {
	s.n++
	s.newest = max(s.newest, g.Time)
	l := &s.lanes[wire.Partition(g, len(s.lanes))]
	l.writer.Add(g, s.n)
	switch {
	case s.n-s.flushed >= batch*len(s.lanes):
		return s.flush(false)
	case l.writer.Len() >= batch:
		return s.cut(l, false, nil)
	}
	return nil
}

// Beat sends what was taken, and says that none that is earlier than mark comes behind.
func (s *Sensor) Beat(mark tcp.Time) error {
	s.newest = max(s.newest, mark)
	return s.flush(true)
}

// Flush sends what was taken.
func (s *Sensor) Flush() error {
	for i := range s.lanes {
		if l := &s.lanes[i]; l.writer.Len() > 0 {
			if err := s.cut(l, false, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends a message to each partition, so that none waits for another.
func (s *Sensor) flush(about bool) error {
	s.flushed = s.n
	for i := range s.lanes {
		l := &s.lanes[i]
		var say []byte
		if i == 0 && (about || l.n == 0 || s.told != s.lost) {
			say, s.told = s.about(), s.lost
		}
		if err := s.cut(l, false, say); err != nil {
			return err
		}
	}
	return nil
}

// about returns what the sensor says of itself now.
func (s *Sensor) about() []byte {
	a := s.options.About()
	a.Stats.Dropped += s.lost
	a.Stats.DroppedBy = max(a.Stats.DroppedBy, s.lostBy)
	b, err := json.Marshal(a)
	if err == nil && len(b) > wire.MaxAbout {
		a.Stats.Warnings, a.Stats.Passed, a.Addresses = nil, nil, nil
		b, err = json.Marshal(a)
	}
	if err != nil {
		panic("hub: " + err.Error()) // a mistake of this package
	}
	return b
}

// cut makes a message for a partition.
func (s *Sensor) cut(l *sending, end bool, about []byte) error {
	segments := l.writer.Len()
	if about == nil && s.options.Live && l == &s.lanes[0] {
		about, s.told = s.about(), s.lost
	}
	h := wire.Head{Run: s.options.Run, N: l.n + 1, Mark: s.newest, After: s.n, End: end, About: about}
	if s.options.Live {
		h.Sent = s.options.now()
	}
	data, err := l.writer.Message(h)
	if err != nil {
		return err
	}
	sent, err := s.put(l, data, segments == 0)
	if !sent && err == nil {
		s.lost += int64(segments)
		s.lostBy = s.newest
		return nil
	}
	return err
}

// put puts a message into the queue. A message without segments always has room.
func (s *Sensor) put(l *sending, data []byte, small bool) (sent bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.broken == nil && !small && s.waiting > 0 && s.waiting+int64(len(data)) > s.options.Room {
		if s.options.Drop {
			return false, nil
		}
		s.changed.Wait()
	}
	if s.broken != nil {
		return false, s.broken
	}
	if l.n++; l.n <= l.stored {
		return true, nil
	}
	s.queue = append(s.queue, &outgoing{subject: l.subject, data: data})
	s.waiting += int64(len(data))
	s.changed.Broadcast()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true, nil
}

// End says that no more comes, and waits until all is stored, or ctx ends it.
func (s *Sensor) End(ctx context.Context, mark tcp.Time) error {
	s.newest = max(s.newest, mark)
	if err := s.Flush(); err != nil { // what is dropped now is counted before the end is told
		return err
	}
	for i := range s.lanes {
		var about []byte
		if i == 0 {
			about = s.about()
		}
		if err := s.cut(&s.lanes[i], true, about); err != nil {
			return err
		}
	}
	return s.close(ctx)
}

// close ends the goroutine that sends, when all is stored.
func (s *Sensor) close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.fail(ctx.Err()) })
	defer stop()
	s.mu.Lock()
	s.closing = true
	s.changed.Broadcast()
	s.mu.Unlock()
	<-s.done
	if n := len(s.queue); n > 0 {
		return fmt.Errorf("%d messages were not stored: %w", n, s.broken)
	}
	return nil
}

// fail ends it.
func (s *Sensor) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
	s.changed.Broadcast()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// send sends what is in the queue, in its order: up to window messages are under way,
// and where one was not stored, that and all behind it are sent again. The library would
// send that one alone again, behind the others, where no server answers.
func (s *Sensor) send() {
	defer close(s.done)
	under := 0 // way
	for {
		next := s.next(under)
		if next == nil {
			return
		}
		for _, m := range next[under:min(len(next), window)] {
			var err error
			if m.stored, err = s.conn.js.PublishMsgAsync(&nats.Msg{Subject: m.subject, Data: m.data}, jetstream.WithRetryAttempts(0)); err != nil {
				s.refused(err)
				under = 0
				break
			}
			under++
		}
		if under == 0 {
			continue
		}
		select {
		case <-next[0].stored.Ok():
			s.took()
			under--
		case err := <-next[0].stored.Err():
			s.refused(err)
			under = 0
		case <-s.wake:
		}
	}
}

// next waits until there is something to send, or under way, and returns it; nil: it is
// to end.
func (s *Sensor) next(under int) []*outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closing && s.broken == nil {
		s.changed.Wait()
	}
	if s.broken != nil || len(s.queue) == 0 {
		return nil
	}
	return s.queue
}

// took takes the first message off the queue, which was stored.
func (s *Sensor) took() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting -= int64(len(s.queue[0].data))
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.changed.Broadcast()
}

// refused waits a little, and tells now and then that the hub takes nothing.
func (s *Sensor) refused(err error) {
	if s.options.Notice != nil && time.Since(s.toldAt) > toldEvery && !errors.Is(err, nats.ErrReconnectBufExceeded) {
		s.toldAt = time.Now()
		s.options.Notice(fmt.Sprintf("the hub does not store what is sent: %v; trying again", err))
	}
	time.Sleep(retryAfter)
}
