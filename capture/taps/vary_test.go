package taps_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// readAll returns the segments of a capture.
func readAll(t testing.TB, path string) (list []tcp.Segment) {
	t.Helper()
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for s, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, *s)
	}
	return list
}

// write writes segments as a capture, in their order.
func write(t testing.TB, name string, list []tcp.Segment) string {
	t.Helper()
	var b bytes.Buffer
	p, err := pktgen.NewPcap(&b, pcap.LinkEthernet, 128)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if err := p.WriteSegment(&list[i], 0); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), name+".pcap")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// open opens lists of segments as captures of as many taps.
func open(t testing.TB, o taps.Options, lists ...[]tcp.Segment) (*taps.Source, error) {
	t.Helper()
	var list []taps.Tap
	for i, segments := range lists {
		name := fmt.Sprintf("tap%d", i)
		list = append(list, taps.Tap{Name: name, Files: []string{write(t, name, segments)}})
	}
	src, err := taps.Open(list, o)
	if err == nil {
		t.Cleanup(func() { src.Close() })
	}
	return src, err
}

// byTime sorts segments by time.
func byTime(list []tcp.Segment) []tcp.Segment {
	sort.SliceStable(list, func(i, j int) bool { return list[i].Time < list[j].Time })
	return list
}

// fates counts what became of the packets of the merged stream, and checks what holds of
// all: a number for each, time that does not run back, and that nothing comes near before
// it left.
func fates(t testing.TB, s *story, src *taps.Source) (got map[string]int) {
	t.Helper()
	got = map[string]int{}
	left := map[int]tcp.Time{}
	var last tcp.Time
	newest := 0
	for seg, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if seg.Time < last {
			t.Errorf("%v runs back", seg)
		}
		last = seg.Time
		switch {
		case seg.Leg == tcp.Neared && seg.Twin == nil:
			if at, ok := left[seg.Packet]; !ok || seg.Time < at {
				t.Errorf("packet %d, %v, comes near before it leaves", seg.Packet, seg)
			}
		case seg.Packet != newest+1:
			t.Errorf("packet %d follows %d", seg.Packet, newest)
			fallthrough
		default:
			newest, left[seg.Packet] = seg.Packet, seg.Time
		}
		if seg.Twin == nil {
			continue
		}
		name := map[tcp.Fate]string{tcp.FateLost: "lost ", tcp.FateCopied: "copied ", tcp.FateForged: "forged ", tcp.FateMissed: "missed ", tcp.FateUnknown: "unknown "}[seg.Twin.Fate]
		if name == "" {
			got["passed"]++
			continue
		}
		w := eventOf(s, seg)
		got[name+w.String()]++
	}
	return got
}

// eventOf returns a segment as the wire's log has it.
func eventOf(s *story, seg *tcp.Segment) wireEvent {
	w := wireEvent{Dir: "s2c", Seq: uint32(seg.Seq), Ack: uint32(seg.Ack), Len: int(seg.Data)}
	if seg.Src.Addr().String() == s.Endpoints["client"].Addr {
		w.Dir = "c2s"
	}
	for _, f := range []struct {
		flag tcp.Flags
		name string
	}{{tcp.FIN, "F"}, {tcp.SYN, "S"}, {tcp.RST, "R"}, {tcp.PSH, "P"}, {tcp.ACK, "A"}} {
		if seg.Flags.Any(f.flag) {
			w.Flags += f.name
		}
	}
	return w
}

// changedNumbers changes segments as a firewall does that adds to the sequence numbers of
// each direction.
func changedNumbers(list []tcp.Segment, client netip.Addr, by [2]tcp.Seq) []tcp.Segment {
	list = slices.Clone(list)
	for i := range list {
		s := &list[i]
		dir := 0
		if s.Src.Addr() != client {
			dir = 1
		}
		s.Seq += by[dir]
		if s.Flags.Any(tcp.ACK) {
			s.Ack += by[1-dir]
		}
		for i := range s.Options.SACK[:s.Options.NumSACK] {
			b := &s.Options.SACK[i]
			b.Left, b.Right = b.Left+by[1-dir], b.Right+by[1-dir]
		}
	}
	return list
}

// without returns the segments of which keep says so.
func without(list []tcp.Segment, drop func(i int, s *tcp.Segment) bool) (kept []tcp.Segment) {
	for i := range list {
		if !drop(i, &list[i]) {
			kept = append(kept, list[i])
		}
	}
	return kept
}

// A variation changes the captures of a story. It returns what they are then, in the
// order of the list of taps.
type variation struct {
	name  string
	apply func(s *story, client, server []tcp.Segment) [][]tcp.Segment
	check func(t *testing.T, got, want map[string]int) (wrong int)
	wrong int // packets of all stories, at most, that are said to be lost or copied and were not
}

// equal wants the fates that the wire's log has, and no others.
func equal(t *testing.T, got, want map[string]int) int {
	delete(got, "passed")
	for _, k := range slices.Sorted(maps(got, want)) {
		if got[k] != want[k] {
			t.Errorf("%s: %d, want %d", k, got[k], want[k])
		}
	}
	return 0
}

// alike is equal, whatever the numbers.
func alike(t *testing.T, got, want map[string]int) int {
	bare := func(m map[string]int) map[string]int {
		list := map[string]int{}
		for k, n := range m {
			f := strings.Fields(k)
			if len(f) == 6 {
				f[3], f[4] = "", ""
			}
			list[strings.Join(f, " ")] += n
		}
		return list
	}
	return equal(t, bare(got), bare(want))
}

// honest wants no packet forged that was not, and returns how many were not copied or lost
// of those that are said to be.
func honest(t *testing.T, got, want map[string]int) (wrong int) {
	for _, k := range slices.Sorted(maps(got, want)) {
		switch fate, _, _ := strings.Cut(k, " "); {
		case got[k] <= want[k]:
		case fate == "forged":
			t.Errorf("%s: %d, want at most %d", k, got[k], want[k])
		case fate == "lost" || fate == "copied":
			t.Logf("%s: %d, want at most %d", k, got[k], want[k])
			wrong += got[k] - want[k]
		}
	}
	return wrong
}

// joined joins segments with octets that follow each other, as a network card does: those
// of a direction, up to so many.
func joined(list []tcp.Segment, client netip.Addr, fromClient bool, most int) (kept []tcp.Segment) {
	n := 0
	for _, s := range list {
		if len(kept) > 0 && s.Data > 0 && (s.Src.Addr() == client) == fromClient {
			o := &kept[len(kept)-1]
			if o.Src == s.Src && o.Dst == s.Dst && o.Data > 0 && o.End() == s.Seq && o.Ack == s.Ack && o.Options == s.Options && n < most && o.Flags&(tcp.SYN|tcp.FIN|tcp.PSH) == 0 && s.Time.Sub(o.Time) < 1e6 {
				o.Data += s.Data
				o.Flags |= s.Flags
				n++
				continue
			}
		}
		n = 1
		kept = append(kept, s)
	}
	return kept
}

// twice returns a capture that has every packet twice, 3 µs apart.
func twice(list []tcp.Segment) (all []tcp.Segment) {
	for _, s := range list {
		all = append(all, s)
		s.Time += 3000
		all = append(all, s)
	}
	return byTime(all)
}

// octets wants of each direction as many octets lost as the wire's log has, and of the
// packets without any the same.
func octets(t *testing.T, got, want map[string]int) int {
	sum := func(m map[string]int) map[string]int {
		list := map[string]int{}
		for k, n := range m {
			f := strings.Fields(k)
			if len(f) < 6 || f[5] == "0" {
				list[k] += n
				continue
			}
			size, _ := strconv.Atoi(f[5])
			list[f[0]+" octets "+f[1]] += n * size
		}
		return list
	}
	return equal(t, sum(got), sum(want))
}

func (s *story) client() netip.Addr { return netip.MustParseAddr(s.Endpoints["client"].Addr) }

var variations = []variation{
	{"as-it-is", func(s *story, a, b []tcp.Segment) [][]tcp.Segment { return [][]tcp.Segment{a, b} }, equal, 0},
	{"server-first", func(s *story, a, b []tcp.Segment) [][]tcp.Segment { return [][]tcp.Segment{b, a} }, equal, 0},
	{"numbers-of-one-changed", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{a, changedNumbers(b, s.client(), [2]tcp.Seq{0xdeadbeef, 0})}
	}, alike, 0},
	{"numbers-of-both-changed", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{a, changedNumbers(b, s.client(), [2]tcp.Seq{0xdeadbeef, 0x12345678})}
	}, alike, 0},
	{"client-records-twice", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{twice(a), b}
	}, honest, 4},
	{"server-records-twice", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{a, twice(b)}
	}, honest, 10},
	{"client-joins-what-it-sends", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{joined(a, s.client(), true, 20), b}
	}, octets, 0},
	{"server-joins-what-it-gets", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{a, joined(b, s.client(), true, 7)}
	}, octets, 0},
	{"all-join-all", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		a, b = joined(a, s.client(), true, 20), joined(b, s.client(), true, 7)
		return [][]tcp.Segment{joined(a, s.client(), false, 5), joined(b, s.client(), false, 9)}
	}, octets, 0},
	{"server-begins-late", func(s *story, a, b []tcp.Segment) [][]tcp.Segment { return [][]tcp.Segment{a, b[len(b)/2:]} }, honest, 9},
	{"client-begins-late", func(s *story, a, b []tcp.Segment) [][]tcp.Segment { return [][]tcp.Segment{a[len(a)/2:], b} }, honest, 14},
	{"server-ends-early", func(s *story, a, b []tcp.Segment) [][]tcp.Segment { return [][]tcp.Segment{a, b[:(len(b)+1)/2]} }, honest, 41},
	{"client-ends-early", func(s *story, a, b []tcp.Segment) [][]tcp.Segment { return [][]tcp.Segment{a[:(len(a)+1)/2], b} }, honest, 34},
	{"client-has-what-it-sends", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{without(a, func(i int, k *tcp.Segment) bool { return k.Src.Addr() != s.client() }), b}
	}, honest, 1},
	{"server-has-what-it-gets", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{a, without(b, func(i int, k *tcp.Segment) bool { return k.Src.Addr() != s.client() })}
	}, honest, 11},
	{"server-has-what-it-sends", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		return [][]tcp.Segment{a, without(b, func(i int, k *tcp.Segment) bool { return k.Src.Addr() == s.client() })}
	}, honest, 20},
	{"client-misses-some", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		r := rand.New(rand.NewPCG(1, 2))
		return [][]tcp.Segment{without(a, func(i int, k *tcp.Segment) bool { return r.IntN(20) == 0 }), b}
	}, honest, 40},
	{"server-misses-some", func(s *story, a, b []tcp.Segment) [][]tcp.Segment {
		r := rand.New(rand.NewPCG(3, 4))
		return [][]tcp.Segment{a, without(b, func(i int, k *tcp.Segment) bool { return r.IntN(20) == 0 })}
	}, honest, 40},
}

func TestFatesOfVariations(t *testing.T) {
	list := loadStories(t)
	for _, s := range list {
		s.captures = [2][]tcp.Segment{readAll(t, filepath.Join(s.dir, s.Taps[0])), readAll(t, filepath.Join(s.dir, s.Taps[1]))}
	}
	for _, v := range variations {
		passed, unknown, wrong := 0, 0, 0
		for _, s := range list {
			t.Run(v.name+"/"+filepath.Base(s.dir), func(t *testing.T) {
				if v.name == "numbers-of-both-changed" && s.Name == "one-way-c2s" {
					t.Skip("nothing says by how much the acknowledgments were changed")
				}
				src, err := open(t, taps.Options{}, v.apply(s, s.captures[0], s.captures[1])...)
				if err != nil {
					if strings.Contains(err.Error(), "in common") {
						t.Skip(err)
					}
					t.Fatal(err)
				}
				got := fates(t, s, src)
				passed += got["passed"]
				for k, n := range got {
					if strings.HasPrefix(k, "unknown") {
						unknown += n
					}
				}
				wrong += v.check(t, got, s.expected())
			})
		}
		t.Logf("%s: %d passed, %d unknown, %d wrong", v.name, passed, unknown, wrong)
		if wrong > v.wrong {
			t.Errorf("%s: %d packets were not lost or copied, want at most %d", v.name, wrong, v.wrong)
		}
	}
}
