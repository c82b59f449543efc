package hub

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A strand is one run of a sensor: its partitions are put together again in the order
// in which the sensor saw the segments.
type strand struct {
	id    runID
	lanes []lane
	head  *wire.Segment // the next; nil: not known
	from  *lane         // that has it
	key   tcp.Time      // of the head, or of the one before: times that never run back
	all   bool          // there is no more to come: what is there is in order
	about About
	told  bool          // about is known
	live  bool          // the sensor captures, or captured, as it sends
	delay time.Duration // the least that a message was on its way, by the clocks of the sensor and of the hub
	asIs  bool          // its times are not put right
	shift time.Duration // is added to the times of the sensor, whose clock is wrong by so much
}

// A lane is what came of one partition and was not handed out yet.
type lane struct {
	list  []wire.Segment
	at    int
	n     uint64   // number of the newest message; 0: none yet
	most  uint64   // the highest number of a message that came, also if one before it is missing
	after int      // no segment that comes is among so many
	mark  tcp.Time // nor is any earlier
	end   bool
}

func newStrand(id runID, partitions int) *strand {
	return &strand{id: id, lanes: make([]lane, partitions)}
}

// clockSlack is by how much the clock of a sensor may seem to be wrong before its times
// are put right.
const clockSlack = 2 * time.Second

// stamp takes note of when a message was sent and stored.
func (s *strand) stamp(sent, stored tcp.Time) {
	if sent == 0 {
		return
	}
	if d := stored.Sub(sent); !s.live || d < s.delay {
		s.delay = d
	}
	s.live, s.shift = true, 0
	if s.delay.Abs() > clockSlack && !s.asIs {
		s.shift = s.delay
	}
}

// take takes in a message, and when it was stored. One that was there already, or came before one that is sent
// again, is left out.
func (s *strand) take(r *wire.Reader, partition int, message []byte, at tcp.Time) error {
	if partition >= len(s.lanes) {
		return fmt.Errorf("a message of sensor %s is of partition %d of %d", s.id.sensor, partition, len(s.lanes))
	}
	l := &s.lanes[partition]
	h, err := wire.ReadHead(message)
	if err != nil {
		return fmt.Errorf("a message of sensor %s %w", s.id.sensor, err)
	}
	l.most = max(l.most, h.N)
	if l.n != 0 && h.N != l.n+1 {
		return nil
	}
	l.list = l.list[:copy(l.list, l.list[l.at:])]
	l.at = 0
	if s.from == l {
		s.head = nil // it was moved
	}
	begin := len(l.list)
	if h, l.list, err = r.Read(message, l.list); err != nil {
		return fmt.Errorf("a message of sensor %s %w", s.id.sensor, err)
	}
	s.stamp(h.Sent, at)
	for i := range l.list[begin:] {
		l.list[begin+i].Time = l.list[begin+i].Time.Add(s.shift)
	}
	l.n, l.after, l.mark, l.end = h.N, h.After, max(l.mark, h.Mark.Add(s.shift)), h.End
	if len(h.About) > 0 {
		var a About
		if err := json.Unmarshal(h.About, &a); err != nil {
			return fmt.Errorf("a message of sensor %s is malformed: %w", s.id.sensor, err)
		}
		s.about, s.told = a, true
	}
	return nil
}

// clock says how the clock of the sensor is wrong.
func (s *strand) clock() string {
	by, than := s.shift, "behind"
	if by < 0 {
		by, than = -by, "ahead of"
	}
	return fmt.Sprintf("the clock of sensor %s is %v %s that of the hub; its times are put right by that", s.id.sensor, by.Round(time.Millisecond), than)
}

// next returns the next segment; nil: there is none, or another may come before it.
func (s *strand) next() *wire.Segment {
	if s.head != nil {
		return s.head
	}
	var best *lane
	for i := range s.lanes {
		l := &s.lanes[i]
		if l.at < len(l.list) && (best == nil || l.list[l.at].Nth < best.list[best.at].Nth) {
			best = l
		}
	}
	if best == nil {
		return nil
	}
	nth := best.list[best.at].Nth
	for i := range s.lanes {
		if l := &s.lanes[i]; !s.all && !l.end && l.at == len(l.list) && l.after < nth {
			return nil
		}
	}
	s.head, s.from = &best.list[best.at], best
	s.key = max(s.key, s.head.Time)
	return s.head
}

// pass goes on behind the next segment.
func (s *strand) pass() {
	s.from.at++
	s.head, s.from = nil, nil
}

// ended reports whether the sensor has said that no more comes, in all partitions.
func (s *strand) ended() bool {
	for i := range s.lanes {
		if !s.lanes[i].end {
			return false
		}
	}
	return true
}

// torn reports whether a message is missing that others came behind.
func (s *strand) torn() bool {
	for i := range s.lanes {
		if s.lanes[i].most > s.lanes[i].n {
			return true
		}
	}
	return false
}

// mark returns a time that nothing comes before that is not there yet.
func (s *strand) mark() tcp.Time {
	least := tcp.Time(math.MaxInt64)
	for i := range s.lanes {
		if l := &s.lanes[i]; !l.end {
			least = min(least, l.mark)
		}
	}
	return max(least, s.key)
}

// empty reports whether nothing waits.
func (s *strand) empty() bool {
	for i := range s.lanes {
		if s.lanes[i].at < len(s.lanes[i].list) {
			return false
		}
	}
	return true
}
