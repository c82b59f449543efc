package taps_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TestClocks holds the clocks that are fitted, and their bounds, against the true ones:
// the two hosts of each story had one clock.
func TestClocks(t *testing.T) {
	for _, c := range changes {
		var errs []time.Duration
		compared := 0
		for _, s := range loadStories(t) {
			stamps := map[int]tcp.Time{}
			for _, k := range readAll(t, filepath.Join(s.dir, s.Taps[1])) {
				stamps[k.Packet] = k.Time
			}
			server := filepath.Join(t.TempDir(), "server.pcap")
			rewrite(t, &c, filepath.Join(s.dir, s.Taps[1]), server)
			src, err := taps.Open([]taps.Tap{{Files: []string{filepath.Join(s.dir, s.Taps[0])}}, {Files: []string{server}}}, taps.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var all []time.Duration
			for k, err := range src.Segments() {
				if err != nil {
					t.Fatal(err)
				}
				if k.Twin == nil || k.Twin.Fate != tcp.FatePassed || k.Twin.Other.Dst.Addr().String() != s.Endpoints["server"].Addr || k.Twin.Within == taps.Unbounded {
					continue
				}
				wrong := k.Twin.Other.Time.Sub(stamps[k.Twin.Other.Packet]).Abs()
				all = append(all, wrong)
				if compared++; wrong > k.Twin.Within {
					t.Errorf("%s, %s: packet %d is %v wrong, want at most %v", c.Name, s.Name, k.Packet, wrong, k.Twin.Within)
				}
			}
			src.Close()
			if len(all) > 0 {
				slices.Sort(all)
				errs = append(errs, all[len(all)/2])
			}
		}
		slices.Sort(errs)
		median := errs[len(errs)/2]
		t.Logf("%s: %d packets of %d stories; median of the stories' medians %v, 90%% %v", c.Name, compared, len(errs), median, errs[len(errs)*9/10])
		if median > 500*time.Microsecond || len(errs) < 80 {
			t.Errorf("%s: the clocks of %d stories are %v wrong, want 500µs at most", c.Name, len(errs), median)
		}
	}
}

// A step is what somebody does to a clock at a time.
type step struct {
	after time.Duration
	by    time.Duration
}

// TestSteps sets the clock of the server's capture while it runs.
func TestSteps(t *testing.T) {
	client, server := (&pathway{packets: 30_000, lossy: true}).write(t)
	a, b := readAll(t, client), readAll(t, server)
	begin, end := b[0].Time, b[len(b)-1].Time
	whole := end.Sub(begin)
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"none", nil},
		{"ahead", []step{{whole / 2, 3 * time.Second}}},
		{"back", []step{{whole / 3, -3 * time.Second}}},
		{"there-and-back", []step{{whole / 4, time.Hour}, {whole / 2, -time.Hour}}},
		{"by-little", []step{{whole / 2, 12 * time.Millisecond}}},
		{"by-less-than-the-path", []step{{whole / 2, 7 * time.Millisecond}}},
		{"thrice", []step{{whole / 5, -40 * time.Millisecond}, {whole / 2, 200 * time.Millisecond}, {whole * 4 / 5, -time.Second}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := slices.Clone(b)
			for i := range list {
				k := &list[i]
				since := k.Time.Sub(begin)
				for _, s := range test.steps {
					if since >= s.after {
						k.Time = k.Time.Add(s.by)
					}
				}
				k.Time = k.Time.Add(-90 * time.Second)
			}
			src, err := open(t, taps.Options{}, a, list)
			if err != nil {
				t.Fatal(err)
			}
			var wrong []time.Duration
			beyond := 0
			for k, err := range src.Segments() {
				if err != nil {
					t.Fatal(err)
				}
				if k.Twin == nil || k.Twin.Fate != tcp.FatePassed || k.Src.Port() < k.Dst.Port() {
					continue
				}
				w := k.Twin.Other.Time.Sub(b[k.Twin.Other.Packet-1].Time).Abs()
				wrong = append(wrong, w)
				if w > k.Twin.Within {
					beyond++
				}
			}
			slices.Sort(wrong)
			between := src.Between()
			pieces := between.Pairs[0].Clock.Pieces
			t.Logf("%d packets: median %v, 99%% %v, max %v; %d beyond their bounds; %d pieces", len(wrong), wrong[len(wrong)/2], wrong[len(wrong)*99/100], wrong[len(wrong)-1], beyond, len(pieces))
			for _, p := range pieces {
				t.Logf("  from %v ahead %v, drift %.1f ppm, within %v, step %v", p.From, p.Offset, p.Drift*1e6, p.Within, p.Step)
			}
			if len(pieces) != len(test.steps)+1 {
				t.Errorf("%d pieces, want %d", len(pieces), len(test.steps)+1)
			}
			if wrong[len(wrong)/2] > time.Millisecond || wrong[len(wrong)*99/100] > 5*time.Millisecond {
				t.Errorf("the clock is wrong")
			}
			if beyond > len(wrong)/1000 {
				t.Errorf("%d packets are beyond their bounds", beyond)
			}
			w := between.Pairs[0].Passages
			t.Logf("%+v", w)
		})
	}
}

// TestAsymmetric has each direction at another tap, so that no packet is at both.
func TestAsymmetric(t *testing.T) {
	client, server := (&pathway{packets: 20_000, short: true, pace: time.Millisecond}).write(t)
	a, b := readAll(t, client), readAll(t, server)
	toServer := func(_ int, k *tcp.Segment) bool { return k.Src.Port() > k.Dst.Port() }
	a = without(a, func(i int, k *tcp.Segment) bool { return !toServer(i, k) })
	stamps := map[int]tcp.Time{}
	b = without(b, toServer)
	for i := range b {
		stamps[i+1] = b[i].Time
		b[i].Time = b[i].Time.Add(time.Hour)
	}
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var wrong []time.Duration
	last := tcp.Time(0)
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if k.Leg != tcp.Passing || k.Time < last || k.Twin == nil || k.Twin.Fate != tcp.FateUnknown {
			t.Fatalf("packet %d: leg %v, %+v", k.Packet, k.Leg, k.Twin)
		}
		last = k.Time
		if frame := src.Frames(k.Packet)[1]; frame != 0 {
			wrong = append(wrong, k.Time.Sub(stamps[frame]).Abs())
		}
	}
	slices.Sort(wrong)
	t.Logf("%d of %d packets; median %v", len(wrong), n, wrong[len(wrong)/2])
	if n != len(a)+len(b) || wrong[len(wrong)/2] > 3*time.Millisecond {
		t.Errorf("%d packets, want %d; %v wrong", n, len(a)+len(b), wrong[len(wrong)/2])
	}
}
