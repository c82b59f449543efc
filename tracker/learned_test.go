package tracker_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/taps/skew"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A segment that is taken in by a learned edge leaves everything as it would be if it had
// gone by the rules, whatever the traffic, and however it is disfigured. The edges of all
// seeds are kept: each is learned from one connection and held against many others.
func TestEdgesAreAsGoodAsTheRules(t *testing.T) {
	const seeds = 800
	var teacher *conn.Machine
	for seed := range uint64(seeds) {
		m, _ := simulate(seed)
		if seed%2 == 1 {
			m = calm(seed)
		}
		rnd := rand.New(rand.NewPCG(seed, 3))
		w := newPair(t, 0)
		if teacher != nil {
			w[0].tk.Machine().LearnFrom(teacher)
		}
		teacher = w[0].tk.Machine()
		for i := range m.captured {
			s := m.captured[i].Segment
			if seed%8 > 3 {
				s.Sum = tcp.SumGood
			}
			if seed%4 > 1 && rnd.IntN(8) == 0 {
				disfigure(&s, rnd)
			}
			if err := w.observe(&s); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if err := w.close(m.now); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	got := teacher.Learned()
	t.Logf("%+v", got)
	if got.Followed < 10*seeds {
		t.Errorf("%d segments were taken in by an edge, too few to tell", got.Followed)
	}
}

// The same holds of real captures, all that there are here. With -captures DIR it is
// tried on all that are below it.
func TestEdgesOverCaptures(t *testing.T) {
	var files []string
	for _, root := range []string{"testdata/traces", "../pcaps", "../cmd/testdata", "../capture/testdata", *moreCaptures} {
		filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.Contains(filepath.Base(path), ".pcap") {
				files = append(files, path)
			}
			return nil
		})
	}
	if len(files) < 200 {
		t.Fatalf("%d captures are found, too few", len(files))
	}
	var teacher *conn.Machine
	for _, path := range files {
		src, err := capture.Open([]string{path}, capture.Options{})
		if err != nil {
			continue // it is there to be refused
		}
		w := newPair(t, 0)
		if teacher != nil {
			w[0].tk.Machine().LearnFrom(teacher)
		}
		teacher = w[0].tk.Machine()
		now := tcp.Time(0)
		for s, err := range src.Segments() {
			if err != nil {
				break // it is cut off
			}
			now = max(now, s.Time)
			if err := w.observe(s); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		if err := w.close(now.Add(10 * time.Minute)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		src.Close()
	}
	t.Logf("%d captures: %+v", len(files), teacher.Learned())
}

// And of stories that captures of both hosts tell, as they are and disfigured, whether it
// is known where they were made or not.
func TestEdgesOfLegs(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*/truth.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	var teacher *conn.Machine
	for n, file := range files {
		c, err := oracle.Load(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Both(&skew.Changes[n%len(skew.Changes)])
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for try := range uint64(6) {
			rnd := rand.New(rand.NewPCG(uint64(n), try))
			w := newPair(t, 0)
			if teacher != nil {
				w[0].tk.Machine().LearnFrom(teacher)
			}
			teacher = w[0].tk.Machine()
			for i := range w {
				w[i].tk.Machine().TapOn.Ends = [2]bool{try%2 == 1, try%2 == 1}
			}
			now := tcp.Time(0)
			for _, s := range b.Segments("both") {
				if try > 1 && rnd.IntN(8) == 0 {
					disfigure(&s, rnd)
				}
				now = max(now, s.Time)
				if err := w.observe(&s); err != nil {
					t.Fatalf("%s, try %d: %v", c.Name, try, err)
				}
			}
			if err := w.close(now.Add(10 * time.Minute)); err != nil {
				t.Fatalf("%s, try %d: %v", c.Name, try, err)
			}
		}
	}
	got := teacher.Learned()
	t.Logf("%+v", got)
	if got.Followed < 5_000 {
		t.Errorf("%d segments were taken in by an edge, too few to tell", got.Followed)
	}
}

var moreCaptures = flag.String("captures", "", "a `directory` whose captures are tried too")

// It holds whatever the segments.
func FuzzEdges(f *testing.F) {
	fuzzConversations(f)
	teacher := sync.OnceValue(func() *conn.Machine {
		w := newPair(f, fuzzMaxConns)
		for seed := range uint64(60) {
			m := calm(seed)
			for i := range m.captured {
				w[0].tk.Observe(&m.captured[i].Segment)
			}
		}
		return w[0].tk.Machine()
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newPair(t, fuzzMaxConns)
		w[0].tk.Machine().LearnFrom(teacher())
		now := tcp.Time(0)
		for _, s := range fuzzSegments(data) {
			now = max(now, s.Time)
			if err := w.observe(&s); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.close(now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
}

// A pair of trackers is told the same: the first learns, the second has the rules, and
// all checks, look at every segment.
type pair [2]struct {
	tk   *tracker.Tracker
	told []tracker.Event
}

func newPair(t testing.TB, most int) *pair {
	return newPairOf(t, tracker.Config{Segments: true, MaxConns: most})
}

func newPairOf(t testing.TB, config tracker.Config) *pair {
	w := new(pair)
	for i := range w {
		tk, err := tracker.New(config, func(e *tracker.Event) {
			if e.Record != nil {
				e.Record = e.Record.Clone()
			}
			w[i].told = append(w[i].told, *e)
		})
		if err != nil {
			t.Fatal(err)
		}
		w[i].tk = tk
	}
	w[1].tk.Machine().NoEdges, w[1].tk.Book().Thorough = true, true
	return w
}

// observe has both take in the segment, and compares what they make of its connection.
func (w *pair) observe(s *tcp.Segment) error {
	k, _ := flow.KeyOf(s)
	for i := range w {
		copied := *s
		w[i].tk.Observe(&copied)
	}
	got, want := w[0].tk.Machine().NewestOf(k), w[1].tk.Machine().NewestOf(k)
	for g, o := got, want; g != nil && o != nil; g, o = g.Older(), o.Older() {
		o.LikeFormOf(g)
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("frame %d (%+v): the connection is\n%+v\n%v\nwant\n%+v\n%v", s.Packet, *s, got, got.Steps(), want, want.Steps())
	}
	return w.compareEvents()
}

// compareEvents compares what they told since it was compared last.
func (w *pair) compareEvents() error {
	for i := range max(len(w[0].told), len(w[1].told)) {
		if i >= len(w[0].told) || i >= len(w[1].told) || !reflect.DeepEqual(w[0].told[i], w[1].told[i]) {
			return fmt.Errorf("told is\n%+v\nwant\n%+v", w[0].told[min(i, len(w[0].told)):], w[1].told[min(i, len(w[1].told)):])
		}
	}
	w[0].told, w[1].told = w[0].told[:0], w[1].told[:0]
	return nil
}

// close ends both, and compares the rest.
func (w *pair) close(now tcp.Time) error {
	for i := range w {
		w[i].tk.Advance(now)
		w[i].tk.Close()
	}
	if err := w.compareEvents(); err != nil {
		return err
	}
	if !reflect.DeepEqual(w[0].tk.Machine().Recent, w[1].tk.Machine().Recent) || w[0].tk.Stats() != w[1].tk.Stats() {
		return errors.New("the recent segments, or the statistics, differ")
	}
	return nil
}

// disfigure changes something about a segment.
func disfigure(s *tcp.Segment, rnd *rand.Rand) {
	near := func() tcp.Size { return pick[tcp.Size](rnd, 1, 2, 100, 1460, 65_535, 1<<30, 1<<31, 1<<31+5) }
	switch rnd.IntN(16) {
	case 0:
		s.Seq = s.Seq.Add(near())
	case 1:
		s.Seq -= tcp.Seq(near())
	case 2:
		s.Ack = s.Ack.Add(near())
	case 3:
		s.Ack -= tcp.Seq(near())
	case 4:
		s.Data = near() &^ (1 << 31)
	case 5:
		s.Flags ^= pick(rnd, tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR)
	case 6:
		s.Wnd = uint16(rnd.IntN(3)) * 100
	case 7:
		s.ID -= uint16(near())
	case 8:
		s.Options.TSVal += uint32(near())
	case 9:
		s.Options.TSVal -= uint32(near())
	case 10:
		s.Options.HasTS = !s.Options.HasTS
	case 11:
		s.Sum = tcp.Sum(rnd.IntN(4))
	case 12:
		s.Cut = tcp.Cut(rnd.IntN(3))
	case 13:
		s.Fragment, s.Urg = rnd.IntN(2) == 0, uint16(rnd.IntN(2))
	case 14:
		s.Options.NumSACK, s.Options.SACK[0] = 1, tcp.Block{Left: s.Ack.Add(100), Right: s.Ack.Add(near())}
	case 15:
		s.Time = s.Time.Add(time.Duration(rnd.IntN(200)-100) * time.Second)
	}
}
