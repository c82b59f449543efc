package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/internal/frames"
	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// mostRuns is how many runs of sensors are read at once.
const mostRuns = 1024

// A Range is a part of what a hub stores. It stays the same when it is read again.
type Range struct {
	From time.Time // when it came to the hub; zero: all that is there
	To   uint64    // the number of the last message

	// Sensor is whose segments are read; "": those of all. Times are then as its clock had
	// them.
	Sensor string
}

// Range returns what came to the hub in a time that ends now; 0: all that is there.
func (c *Conn) Range(ctx context.Context, since time.Duration) (g Range, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := c.stream.Info(ctx)
	if err != nil {
		return g, err
	}
	g.To = info.State.LastSeq
	if since > 0 {
		g.From = time.Now().Add(-since)
	}
	return g, nil
}

// A Source reads what a hub has stored until now, of all sensors as one capture. It is
// to be used as a [capture.Source] is.
type Source struct {
	conn    *Conn
	list    Range
	runs    []*stored
	reader  wire.Reader
	places  places
	stats   capture.Stats
	stopped atomic.Bool
	lost    int64
	lostBy  tcp.Time
}

// A stored is a run that is read.
type stored struct {
	*strand
	messages jetstream.MessagesContext // nil: there are none left
	dropped  int64                     // packets, as is known
	begun    bool                      // a message has come
}

// Read begins to read. It is an error if there is nothing.
func (c *Conn) Read(ctx context.Context, g Range) (*Source, error) {
	if err := c.readable(); err != nil {
		return nil, err
	}
	ids, err := c.runs(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, errors.New("the hub has stored nothing yet")
	}
	if len(ids) > mostRuns {
		return nil, fmt.Errorf("the hub has %d runs of sensors, and at most %d can be read at once", len(ids), mostRuns)
	}
	s := &Source{conn: c, list: g}
	for _, id := range ids {
		if g.Sensor != "" && g.Sensor != id.sensor {
			continue
		}
		r, err := c.stored(ctx, id, g)
		if err != nil {
			s.Close()
			return nil, err
		}
		if r != nil {
			s.runs = append(s.runs, r)
		}
	}
	switch {
	case len(s.runs) > 0:
	case g.Sensor != "":
		return nil, fmt.Errorf("the hub has nothing of a sensor %s in that time", g.Sensor)
	default:
		return nil, fmt.Errorf("nothing came to the hub since %s", g.From.Format(time.TimeOnly))
	}
	s.places = newPlaces(len(s.runs) > 1)
	return s, nil
}

// runs returns the runs that the hub has something of, by the names of the sensors.
func (c *Conn) runs(ctx context.Context) (list []runID, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	info, err := c.stream.Info(ctx, jetstream.WithSubjectFilter(subjects+"0.>"))
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		if _, id, ok := parseSubject(subject); ok {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b runID) int {
		return cmp.Or(strings.Compare(a.sensor, b.sensor), cmp.Compare(a.run, b.run))
	})
	return list, nil
}

// stored begins to read a run; nil: there is nothing of it.
func (c *Conn) stored(ctx context.Context, id runID, g Range) (*stored, error) {
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{fmt.Sprintf("%s*.%s.%016x", subjects, id.sensor, id.run)}}
	if !g.From.IsZero() {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &g.From
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	consumer, err := c.js.OrderedConsumer(ctx, streamName, config)
	if err != nil {
		return nil, err
	}
	if consumer.CachedInfo().NumPending == 0 {
		return nil, nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(32))
	if err != nil {
		return nil, err
	}
	r := &stored{strand: newStrand(id, c.partitions), messages: messages}
	r.asIs = g.Sensor != ""
	return r, nil
}

// more reads the next message of a run.
func (s *Source) more(r *stored) error {
	m, err := r.messages.Next(jetstream.NextMaxWait(4 * patience))
	if err != nil {
		return fmt.Errorf("reading what the hub has of sensor %s: %w", r.id.sensor, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	partition, _, ok := parseSubject(m.Subject())
	if !ok {
		return fmt.Errorf("the hub has a message of subject %s", m.Subject())
	}
	if meta.Sequence.Stream <= s.list.To {
		r.begun = true
		if err := r.take(&s.reader, partition, m.Data(), tcp.Time(meta.Timestamp.UnixNano())); err != nil {
			return err
		}
		s.heed(r)
	}
	if meta.Sequence.Stream >= s.list.To || meta.NumPending == 0 {
		r.messages.Stop()
		r.messages, r.all = nil, true
		if r.begun && (r.live && !r.ended() || r.torn()) {
			s.lostBy = max(s.lostBy, r.reached())
		}
	}
	return nil
}

// heed takes note of what a sensor has lost.
func (s *Source) heed(r *stored) {
	st := &r.about.Stats
	if st.Dropped > r.dropped && st.DroppedBy != 0 {
		s.lost += st.Dropped - r.dropped
		s.lostBy = max(s.lostBy, st.DroppedBy)
		r.dropped = st.Dropped
	}
}

// Segments reads what is stored, once, in the order of the times: each sensor's own order
// is kept.
func (s *Source) Segments() iter.Seq2[*tcp.Segment, error] {
	return func(yield func(*tcp.Segment, error) bool) {
		for !s.stopped.Load() {
			r, err := s.first()
			if err != nil && !s.stopped.Load() {
				yield(nil, err)
			}
			if r == nil || err != nil {
				return
			}
			g := &r.next().Segment
			s.places.put(g, r.id)
			s.count(g)
			r.pass()
			if !yield(g, nil) {
				return
			}
		}
	}
}

// first returns the run that has the earliest segment; nil: none has any.
func (s *Source) first() (best *stored, err error) {
	for _, r := range s.runs {
		for r.messages != nil && r.next() == nil {
			if err := s.more(r); err != nil {
				return nil, err
			}
		}
		if r.next() != nil && (best == nil || before(r.strand, best.strand)) {
			best = r
		}
	}
	return best, nil
}

// before reports whether the next segment of a run comes before that of another, of a
// sensor with a later name. Captures that were divided have the numbers of the whole.
func before(a, b *strand) bool {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.head.Packet, b.head.Packet)) < 0
}

// count counts a segment.
func (s *Source) count(g *tcp.Segment) {
	if g.ICMP.Type != 0 {
		s.stats.Errors++
	} else {
		s.stats.Segments++
	}
	s.stats.Last = max(s.stats.Last, g.Time)
	if s.stats.First == 0 || g.Time < s.stats.First {
		s.stats.First = g.Time
	}
}

// Stats returns what was read so far. Once all was, it is what the sensors have counted.
func (s *Source) Stats() capture.Stats {
	total := s.stats
	var sum capture.Stats
	for _, r := range s.runs {
		if !r.begun && r.messages == nil {
			continue
		}
		total.Until = max(total.Until, r.reached())
		if r.messages != nil || !r.told {
			sum.Packets = -1
		}
		if sum.Packets >= 0 {
			addStats(&sum, &r.about.Stats, r.id.sensor, len(s.runs) > 1)
		}
	}
	if sum.Packets < 0 {
		total.Warnings = s.unfinished()
		total.Packets = total.Segments + total.Errors
		total.Heard = total.Until
		return total
	}
	sum.Warnings = append(sum.Warnings, s.unfinished()...)
	return sum
}

// unfinished says which files are not there to their end, and which clocks are wrong.
func (s *Source) unfinished() (list []string) {
	for _, r := range s.runs {
		if r.begun && r.messages == nil && !r.live && !r.ended() {
			list = append(list, fmt.Sprintf("sensor %s has not sent all of its capture yet", r.id.sensor))
		}
		if r.torn() {
			list = append(list, fmt.Sprintf("the hub has lost messages of sensor %s", r.id.sensor))
		}
		if r.shift != 0 {
			list = append(list, r.clock())
		}
	}
	return list
}

// reached returns the time that a run has come to.
func (s *strand) reached() (t tcp.Time) {
	for i := range s.lanes {
		t = max(t, s.lanes[i].mark)
	}
	return t
}

// addStats adds what a sensor has counted.
func addStats(to, s *capture.Stats, sensor string, several bool) {
	to.Packets += s.Packets
	to.Bytes += s.Bytes
	to.Filtered += s.Filtered
	to.Tagged += s.Tagged
	to.FilteredBytes += s.FilteredBytes
	to.Earlier += s.Earlier
	to.Later += s.Later
	to.Segments += s.Segments
	to.Errors += s.Errors
	to.Undecodable += s.Undecodable
	to.Misdated += s.Misdated
	to.Sorted += s.Sorted
	to.Dropped += s.Dropped
	to.Bounded.Add(s.Bounded)
	to.DroppedBy = max(to.DroppedBy, s.DroppedBy)
	for _, p := range s.Passed {
		i := slices.IndexFunc(to.Passed, func(q capture.Passed) bool { return q.Header == p.Header && q.Why == p.Why })
		if i < 0 {
			to.Passed = append(to.Passed, p)
		} else {
			to.Passed[i].Packets += p.Packets
		}
	}
	slices.SortStableFunc(to.Passed, func(a, b capture.Passed) int { return cmp.Compare(b.Packets, a.Packets) })
	if s.First != 0 && (to.First == 0 || s.First < to.First) {
		to.First = s.First
	}
	to.Last, to.Until, to.Heard = max(to.Last, s.Last), max(to.Until, s.Until), max(to.Heard, s.Heard)
	to.Truncated = to.Truncated || s.Truncated
	for _, w := range s.Warnings {
		if several {
			w = sensor + ": " + w
		}
		to.Warnings = append(to.Warnings, w)
	}
}

// Sensors returns the names of the sensors that are read.
func (s *Source) Sensors() (names []string) {
	for _, r := range s.runs {
		names = append(names, r.id.sensor)
	}
	return slices.Compact(names)
}

// Lost returns how many packets the sensors have lost, as far as was read, and by when
// at the latest. That a run broke off is a loss of nobody knows how many.
func (s *Source) Lost() (packets int64, by tcp.Time) { return s.lost, s.lostBy }

// Stop ends the loop over Segments, at any time.
func (s *Source) Stop() {
	s.stopped.Store(true)
	for _, r := range s.runs {
		if m := r.messages; m != nil {
			m.Stop()
		}
	}
}

// Close ends the reading. The connection stays.
func (s *Source) Close() error {
	s.Stop()
	return s.places.close()
}

// Place returns where a packet is found.
func (s *Source) Place(packet int) tcp.Place { return s.places.of(packet) }

// places number the packets of all runs together. Where there is one its own numbers
// stay.
type places struct {
	several bool
	frames  frames.Frames // sensor and number there
	names   []string
	run     runID // of the newest
	packet  int
	number  int
}

func newPlaces(several bool) places { return places{several: several, frames: frames.New(2)} }

// put gives a segment of a run its number.
func (p *places) put(g *tcp.Segment, run runID) {
	i := slices.Index(p.names, run.sensor)
	if i < 0 {
		i = len(p.names)
		p.names = append(p.names, run.sensor)
	}
	if !p.several {
		return
	}
	if run != p.run || g.Packet != p.packet || p.number == 0 {
		p.run, p.packet = run, g.Packet
		p.number = p.frames.Add([]uint32{uint32(i), uint32(g.Packet)})
	}
	g.Packet = p.number
}

// of returns where a packet is found.
func (p *places) of(packet int) tcp.Place {
	if !p.several {
		if len(p.names) == 0 || packet == 0 {
			return tcp.Place{}
		}
		return tcp.Place{Tap: p.names[0], Packet: packet}
	}
	at := p.frames.Of(packet)
	if at == nil {
		return tcp.Place{}
	}
	return tcp.Place{Tap: p.names[at[0]], Packet: at[1]}
}

func (p *places) close() error { return p.frames.Close() }
