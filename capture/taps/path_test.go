package taps_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// midway returns what a tap in the middle of the path has: what left the client and the
// server, so long after it. Of what is lost on the way it has every other packet.
func midway(s *story, a, b []tcp.Segment, ahead time.Duration, after [2]time.Duration) (list []tcp.Segment) {
	n := 0
	for dir, from := range [][]tcp.Segment{a, b} {
		for _, k := range from {
			if (k.Src.Addr() == s.client()) != (dir == 0) || k.ICMP.Type != 0 {
				continue
			}
			w := eventOf(s, &k)
			if s.lost(&w, k.Time) {
				if n++; n%2 == 0 {
					continue
				}
			}
			k.Time = k.Time.Add(after[dir])
			k.TTL--
			list = append(list, k)
		}
	}
	for i := range byTime(list) {
		list[i].Time = list[i].Time.Add(ahead)
	}
	return list
}

// lost reports whether the wire lost a packet that was sent at a time.
func (s *story) lost(w *wireEvent, at tcp.Time) bool {
	for _, e := range *s.Wire {
		late := time.Duration(e.T*1e9 - float64(at))
		if (e.Action == "drop" || e.Action == "random-drop" || e.Action == "blackhole") && e.String() == w.String() && -time.Millisecond < late && late < 5*time.Millisecond {
			return true
		}
	}
	return false
}

func TestThreeTaps(t *testing.T) {
	orders := [][]int{{0, 1, 2}, {1, 0, 2}, {2, 0, 1}}
	for i, order := range orders {
		for _, s := range loadStories(t) {
			name := filepath.Base(s.dir)
			if i > 0 && name != "bulk-loss" && name != "forged-rst-server" && name != "duplicated" {
				continue
			}
			if strings.HasPrefix(name, "capture-") || name == "fin-before-data" {
				continue // what is in both captures, or lost and sent again, is not in the middle
			}
			t.Run(name, func(t *testing.T) {
				a, b := readAll(t, filepath.Join(s.dir, s.Taps[0])), readAll(t, filepath.Join(s.dir, s.Taps[1]))
				lists := [][]tcp.Segment{a, midway(s, a, b, 7*time.Second, [2]time.Duration{time.Millisecond, 2 * time.Millisecond}), b}
				src, err := open(t, taps.Options{}, lists[order[0]], lists[order[1]], lists[order[2]])
				if name == "icmp-port-unreach" || name == "syn-timeout" || name == "synrcvd-stuck" {
					t.Skip("nothing tells the order of the taps but that of the list")
				}
				if err != nil {
					if strings.Contains(err.Error(), "in common") {
						t.Skip(err)
					}
					t.Fatal(err)
				}
				got := fates(t, s, src)
				want := s.expected()
				for k, n := range got {
					if strings.HasPrefix(k, "missed") || strings.HasPrefix(k, "unknown") {
						t.Logf("%s: %d", k, n)
					}
				}
				delete(got, "passed")
				for _, k := range slices.Sorted(maps(got, want)) {
					if got[k] != want[k] {
						t.Errorf("%s: %d, want %d", k, got[k], want[k])
					}
				}
			})
		}
	}
}
