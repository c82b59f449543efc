package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// silentAfter is how long a sensor is waited for that nothing is heard of, while others
// go on. Tests shorten it.
var silentAfter = 5 * time.Second

// settleFor is how long it is waited at first, until all sensors that are there have
// said so: what they bring is not too late then. Tests shorten it.
var settleFor = beatEvery + 500*time.Millisecond

// A Follow reads on, as sensors that capture now send: what a [capture.Live] is to
// interfaces it is to them. None of them can keep the others waiting: what comes from a
// sensor that was silent, and is earlier than what was handed out meanwhile, is lost.
type Follow struct {
	conn     *Conn
	notice   func(string)
	messages jetstream.MessagesContext
	incoming chan arrival
	wake     chan struct{}
	broken   atomic.Pointer[error]
	sealed   bool

	reader  wire.Reader
	sensors []*following
	places  places
	lent    tcp.Segment
	stats   capture.Stats
	late    int64    // segments that came too late
	last    tcp.Time // of the newest segment that was handed out
	reached tcp.Time // what Now returned
	heard   time.Time
	begun   time.Time
	stopped tcp.Time
}

// An arrival is a message that came.
type arrival struct {
	partition int
	id        runID
	data      []byte
	at        tcp.Time // when it was stored
}

// A following is a run that is read on.
type following struct {
	*strand
	heard  time.Time
	silent bool
	told   time.Duration // the shift that was told of
}

// Follow begins to read on, with what came to the hub in a time before now; 0: from now
// on. The notice is told when sensors come, go, are silent, or have a wrong clock.
func (c *Conn) Follow(ctx context.Context, since time.Duration, notice func(string)) (*Follow, error) {
	if err := c.readable(); err != nil {
		return nil, err
	}
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subjects + ">"}, DeliverPolicy: jetstream.DeliverNewPolicy}
	if since > 0 {
		from := time.Now().Add(-since)
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	consumer, err := c.js.OrderedConsumer(ctx, streamName, config)
	if err != nil {
		return nil, err
	}
	f := &Follow{conn: c, notice: notice, incoming: make(chan arrival, 256), wake: make(chan struct{}, 1), places: newPlaces(true), heard: time.Now(), begun: time.Now()}
	if f.messages, err = consumer.Messages(); err != nil {
		return nil, err
	}
	go f.receive()
	return f, nil
}

// receive takes messages as they come, until the reading ends.
func (f *Follow) receive() {
	defer close(f.incoming)
	for {
		m, err := f.messages.Next()
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			continue // the hub is away; it is asked again
		}
		if err != nil {
			if !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				f.broken.Store(&err)
			}
			return
		}
		partition, id, ok := parseSubject(m.Subject())
		meta, err := m.Metadata()
		if !ok || err != nil {
			continue
		}
		f.incoming <- arrival{partition, id, m.Data(), tcp.Time(meta.Timestamp.UnixNano())}
	}
}

// Next returns the next segment, as [capture.Live.Next] does.
func (f *Follow) Next(deadline time.Time) (*tcp.Segment, error) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		if g := f.ready(); g != nil {
			return g, nil
		}
		select {
		case a, more := <-f.incoming:
			if !more {
				if err := f.broken.Load(); err != nil {
					return nil, *err
				}
				return nil, io.EOF
			}
			if err := f.take(a); err != nil {
				f.notice(err.Error())
			}
			continue
		default:
		}
		select {
		case a, more := <-f.incoming:
			if !more {
				continue
			}
			if err := f.take(a); err != nil {
				f.notice(err.Error())
			}
		case <-f.wake:
			return nil, nil
		case <-timer.C:
			f.listen()
			return nil, nil
		}
	}
}

// take takes in a message.
func (f *Follow) take(a arrival) error {
	f.heard = time.Now()
	i := slices.IndexFunc(f.sensors, func(s *following) bool { return s.id == a.id })
	if i < 0 {
		h, err := wire.ReadHead(a.data)
		if err != nil {
			return fmt.Errorf("a message of sensor %s %w", a.id.sensor, err)
		}
		if h.Sent == 0 {
			return nil // of a file: it is read from what is stored
		}
		i = len(f.sensors)
		f.sensors = append(f.sensors, &following{strand: newStrand(a.id, f.conn.partitions)})
		f.notice(fmt.Sprintf("sensor %s sends", a.id.sensor))
	}
	s := f.sensors[i]
	s.heard = f.heard
	if s.silent {
		s.silent = false
		f.notice(fmt.Sprintf("sensor %s is back", a.id.sensor))
	}
	if err := s.take(&f.reader, a.partition, a.data, a.at); err != nil {
		return err
	}
	if (s.shift - s.told).Abs() > clockSlack/2 {
		if s.told = s.shift; s.shift != 0 {
			f.notice(s.clock())
		}
	}
	return nil
}

// listen looks for sensors that are silent.
func (f *Follow) listen() {
	now := time.Now()
	for _, s := range slices.Clone(f.sensors) {
		f.forget(s)
		if !s.silent && !s.ended() && now.Sub(s.heard) > silentAfter {
			s.silent = true
			f.stats.DroppedBy = max(f.stats.DroppedBy, f.last)
			f.notice(fmt.Sprintf("nothing is heard of sensor %s; the others go on without it", s.id.sensor))
		}
	}
}

// ready returns the next segment; nil: there is none, or an earlier one may come.
func (f *Follow) ready() *tcp.Segment {
	for time.Since(f.begun) > settleFor {
		var best *following
		least := f.least()
		for _, s := range f.sensors {
			if s.next() != nil && (best == nil || before(s.strand, best.strand)) {
				best = s
			}
		}
		if best == nil || best.key > least {
			return nil
		}
		f.lent = best.next().Segment
		late := best.key < f.last
		f.places.put(&f.lent, best.id)
		best.pass()
		f.forget(best)
		if late {
			f.late++
			f.stats.DroppedBy = f.last
			continue
		}
		f.last = max(f.last, best.key)
		if f.lent.ICMP.Type != 0 {
			f.stats.Errors++
		} else {
			f.stats.Segments++
		}
		return &f.lent
	}
	return nil
}

// least returns a time that nothing comes before, but from sensors that are silent.
func (f *Follow) least() tcp.Time {
	least := tcp.Time(1<<63 - 1)
	for _, s := range f.sensors {
		if !s.silent && s.next() == nil {
			least = min(least, s.mark())
		}
	}
	return least
}

// forget takes a run off the list that has ended.
func (f *Follow) forget(s *following) {
	if !s.ended() || !s.empty() {
		return
	}
	f.notice(fmt.Sprintf("sensor %s has ended", s.id.sensor))
	f.stats.Dropped += s.about.Stats.Dropped
	f.sensors = slices.DeleteFunc(f.sensors, func(o *following) bool { return o == s })
}

// Now returns a time that the capture has come to.
func (f *Follow) Now() tcp.Time {
	if f.stopped != 0 {
		return f.stopped
	}
	now := tcp.Time(0)
	for _, s := range f.sensors {
		if m := s.mark(); !s.silent && !s.ended() && (now == 0 || m < now) {
			now = m
		}
	}
	if now == 0 && f.last != 0 {
		now = f.last.Add(time.Since(f.heard))
	}
	f.reached = max(f.reached, min(now, f.least()), f.last)
	return f.reached
}

// Stats returns what was read so far.
func (f *Follow) Stats() capture.Stats {
	st := f.stats
	st.Packets = st.Segments + st.Errors
	st.Dropped += f.late
	for _, s := range f.sensors {
		st.Dropped += s.about.Stats.Dropped
		st.DroppedBy = max(st.DroppedBy, s.about.Stats.DroppedBy)
	}
	st.Last, st.Until = f.last, f.Now()
	return st
}

// Idle reports whether all that had come was handed out.
func (f *Follow) Idle() bool { return len(f.incoming) == 0 }

// Seal takes no more messages.
func (f *Follow) Seal() bool {
	f.sealed = true
	f.messages.Stop()
	return true
}

// Stop ends the time of the capture.
func (f *Follow) Stop() { f.stopped = max(f.Now(), 1) }

// Wake has Next return at once. Any goroutine may call it.
func (f *Follow) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Place returns where a packet is found.
func (f *Follow) Place(packet int) tcp.Place { return f.places.of(packet) }

// Close ends the reading, and the connection.
func (f *Follow) Close() error {
	f.messages.Stop()
	for range f.incoming {
	}
	return errors.Join(f.places.close(), f.conn.Close())
}
