package tracker_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A conversation is the segments of a ladder, as they were captured.
type conversation struct {
	config   tracker.Config
	segments []tcp.Segment
}

// conversationOf returns the segments of the ladder, played once.
func conversationOf(l *ladder) *conversation {
	c := &conversation{config: l.config}
	c.config.Segments, c.config.MaxConns = true, fuzzMaxConns
	passages, now := l.passages(), l.begin
	for i, r := range l.rungs {
		if i > 0 {
			now = now.Add(r.pause)
		}
		if r.segment == nil {
			continue
		}
		s := *cmp.Or(passages[i].as, r.segment)
		s.Time, s.Src, s.Dst = now, l.peers[0], l.peers[1]
		if !r.fromA {
			s.Src, s.Dst = s.Dst, s.Src
		}
		if r.src.IsValid() && r.leg.leg != tcp.Neared {
			s.Src = r.src
		}
		if r.dst.IsValid() && r.leg.leg != tcp.Neared {
			s.Dst = r.dst
		}
		passages[i].pass(&s, r.leg)
		c.segments = append(c.segments, s)
	}
	return c
}

// conversations are those of all ladders.
func conversations(tb testing.TB) (list []*conversation) {
	for _, dir := range append([]string{"explained"}, ladderDirs...) {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
		if err != nil || len(files) == 0 {
			tb.Fatalf("no ladders in testdata/%s: %v", dir, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				tb.Fatal(err)
			}
			l, err := parseLadder(string(text))
			if err != nil {
				tb.Fatalf("%s: %v", file, err)
			}
			if c := conversationOf(&l); len(c.segments) > 0 {
				list = append(list, c)
			}
		}
	}
	return list
}

// mostMutated bounds a conversation that is mutated.
const mostMutated = 120

// mutated returns the segments as a plan has them changed. Of four octets each, the first
// says what is done, the second to which segment, the others how.
func (c *conversation) mutated(plan []byte, others []*conversation) []tcp.Segment {
	list := slices.Clone(c.segments[:min(len(c.segments), mostMutated)])
	for ; len(plan) >= 4 && len(list) > 0; plan = plan[4:] {
		i, how := int(plan[1])%len(list), plan[2]
		rnd := rand.New(rand.NewPCG(uint64(plan[2]), uint64(plan[3])))
		switch plan[0] % 10 {
		case 0: // it is missing
			list = slices.Delete(list, i, i+1)
		case 1: // it comes again, later
			again := list[i]
			at := min(len(list), i+1+int(how%8))
			again.Time = list[at-1].Time.Add(time.Duration(plan[3]) * time.Millisecond)
			list = slices.Insert(list, at, again)
		case 2: // it is overtaken
			if j := i + 1; j < len(list) {
				list[i], list[j] = list[j], list[i]
				list[i].Time, list[j].Time = list[j].Time, list[i].Time
			}
		case 3: // time passes before it
			pass := []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 40 * time.Second, 61 * time.Second, 10 * time.Minute, 3 * time.Hour, -time.Second}[how%8]
			for j := range list[i:] {
				list[i+j].Time = list[i+j].Time.Add(pass)
			}
		case 4, 5: // it is another
			disfigure(&list[i], rnd)
		case 6: // it comes from the other end
			list[i].Src, list[i].Dst = list[i].Dst, list[i].Src
		case 7: // the ports are used again
			o := others[(int(how)<<8|int(plan[3]))%len(others)]
			last, shift := list[len(list)-1].Time, time.Duration(1+how%100)*time.Second
			for _, s := range o.segments[:min(len(o.segments), mostMutated-len(list))] {
				s.Time = last.Add(shift + s.Time.Sub(o.segments[0].Time))
				if s.Src == o.segments[0].Src {
					s.Src, s.Dst = list[0].Src, list[0].Dst
				} else {
					s.Src, s.Dst = list[0].Dst, list[0].Src
				}
				list = append(list, s)
			}
		case 8: // the rest is missing
			list = list[:i+1]
		case 9: // a forged one is put before it
			forged := list[i]
			forged.Flags, forged.Data, forged.Options = []tcp.Flags{tcp.RST, tcp.RST | tcp.ACK, tcp.SYN, tcp.SYN | tcp.ACK, tcp.FIN | tcp.ACK, tcp.ACK}[how%6], 0, tcp.Options{}
			forged.Seq += tcp.Seq(int8(plan[3]))
			list = slices.Insert(list, i, forged)
		}
	}
	list = list[:min(len(list), mostMutated)]
	for i := range list {
		list[i].Packet = i + 1
		list[i].Time = max(list[i].Time, 1)
	}
	return list
}

// asLadder draws segments as a ladder has them, for who is to mend what was found.
func asLadder(list []tcp.Segment) string {
	var b strings.Builder
	a := netip.AddrPort{}
	for i := range list {
		s := list[i]
		if i == 0 {
			a = s.Src
			fmt.Fprintf(&b, "peers: %v %v\n", s.Src, s.Dst)
		}
		pause := time.Duration(0)
		if i > 0 {
			pause = s.Time.Sub(list[i-1].Time)
		}
		arrow := "-->"
		if s.Src != a {
			arrow = "<--"
		}
		s.Time, s.Packet = 0, 0
		fmt.Fprintf(&b, "p%d. +%v %s %s %s\n", i+1, pause.Seconds(), arrow, s.String(), arrow)
	}
	return b.String()
}

// mostSegmentHeap is how many octets a segment may have the tracker allocate, all that is
// told included, and mostTrackerHeap what it takes by itself.
const (
	mostSegmentHeap = 16 << 10
	mostTrackerHeap = 2 << 20
)

// FuzzLadders changes ladders as networks, hosts and forgers do: segments are lost,
// copied, overtaken, late, changed or made up, ports are used again. Whatever comes of it,
// the learned edges and the rules say the same, every end moves along rows of the table
// only, time does not run back, and memory keeps to the number of segments.
func FuzzLadders(f *testing.F) {
	list := conversations(f)
	for i := 0; i < len(list); i += 16 {
		f.Add(uint16(i), []byte{byte(i), byte(i / 3), byte(i / 5), byte(i / 7), byte(i / 11), byte(i), byte(i), byte(i)})
	}
	f.Fuzz(func(t *testing.T, at uint16, plan []byte) {
		c := list[int(at)%len(list)]
		segments := c.mutated(plan[:min(len(plan), 64)], list)
		defer func() {
			if t.Failed() {
				t.Logf("of\n%s", asLadder(segments))
			}
		}()
		sameWithoutEdges(t, c.config, segments)
		quiet := c.config
		quiet.Segments = false
		run := fuzzRun{t: t, last: map[int]*lastTold{}, over: map[int]bool{}, reach: reachable(), config: &quiet, each: alongRows}
		run.run(segments)
		keepsToMemory(t, quiet, segments)
	})
}

// sameWithoutEdges fails where the learned edges and the rules alone say otherwise.
func sameWithoutEdges(t *testing.T, config tracker.Config, segments []tcp.Segment) {
	w := newPairOf(t, config)
	now := tcp.Time(0)
	for range 2 { // what the first time taught, the second uses
		for i := range segments {
			s := segments[i]
			s.Time = s.Time.Add(max(0, now.Sub(segments[0].Time)))
			if err := w.observe(&s); err != nil {
				t.Fatal(err)
			}
		}
		for i := range w {
			now = w[i].tk.Now().Add(10 * time.Minute)
		}
	}
	if err := w.close(now); err != nil {
		t.Fatal(err)
	}
}

// alongRows fails where the states of an end are not what the rows of the table make of
// its first, by what happened to it.
func alongRows(t *testing.T, tk *tracker.Tracker, s *tcp.Segment) {
	k, _ := flow.KeyOf(s)
	for c := tk.Machine().NewestOf(k); c != nil; c = c.Older() {
		if len(c.Steps()) == conn.MaxSteps {
			continue // the first are forgotten
		}
		for e := range tcp.Endpoint(2) {
			if c.Ends[e].Assumed.Len() > 1 {
				continue // to be found in fewer of several states is no step
			}
			set := c.Ends[e].Initial
			for _, st := range c.Steps() {
				switch {
				case st.End() != e:
				case st.Inputs() == 0: // it was found in a state midway, which is its first since
					set = c.Ends[e].Initial
				default:
					set = set.After(st.Inputs())
				}
			}
			if set != c.Ends[e].Assumed {
				t.Fatalf("frame %d: the states of end %d are %v, by the rows %v: %v", s.Packet, e, c.Ends[e].Assumed, set, c.Steps())
			}
		}
	}
}

// keepsToMemory fails where segments have the tracker allocate more than they may.
func keepsToMemory(t *testing.T, config tracker.Config, segments []tcp.Segment) {
	tk, err := tracker.New(config, func(*tracker.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range segments {
		s := segments[i]
		tk.Observe(&s)
	}
	tk.Close()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > mostTrackerHeap+mostSegmentHeap*uint64(len(segments)) {
		t.Errorf("%d segments took %d octets", len(segments), used)
	}
}
