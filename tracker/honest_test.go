package tracker_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Honest hosts over a path that loses, delays and repeats are accused of
// nothing that only a third party can do.
func TestHonestHostsAreNotAccused(t *testing.T) {
	accusing := map[string]bool{}
	for _, kind := range []string{
		"blind-rst-in-window", "data-after-rst", "forged-rst", "blind-syn", "null-flags", "xmas-flags", "syn-fin", "syn-rst",
		"fin-without-ack", "data-without-ack", "connection-tampering",
	} {
		if _, err := kinds.Parse(kind); err != nil {
			t.Fatal(err)
		}
		accusing[kind] = true
	}
	runs := uint64(1000)
	if testing.Short() {
		runs = 200
	}
	for seed := range runs {
		m := honest(seed)
		tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
			if e.Kind == tracker.EventAnomaly && accusing[e.Anomaly.Kind] && e.Anomaly.Severity > anomaly.Info {
				t.Errorf("seed %d: %s: %s", seed, e.Anomaly.Kind, e.Anomaly.Text)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.captured {
			tk.Observe(&m.captured[i].Segment)
		}
		tk.Advance(m.now)
		tk.Close()
		if t.Failed() {
			return
		}
	}
}

// honest plays one exchange in which both applications send a little and then
// close, abort or crash.
func honest(seed uint64) *sim {
	rnd := rand.New(rand.NewPCG(seed, 1))
	m := &sim{rnd: rnd, now: 1_000_000 * tcp.Second}
	m.path = simPath{
		delay:   [2]time.Duration{m.between(0, 50*time.Millisecond), m.between(0, 50*time.Millisecond)},
		jitter:  m.between(0, 30*time.Millisecond),
		loss:    rnd.Float64() * 0.1,
		repeat:  rnd.Float64() * 0.05,
		healsAt: m.now.Add(m.between(0, 20*time.Second)),
	}
	for side := range m.hosts {
		addr := peerA
		if side == 1 {
			addr = peerB
		}
		m.hosts[side] = &simHost{m: m, side: side, addr: addr, state: tcp.Closed, id: uint16(rnd.Uint32()), habits: simHabits{
			stamps: m.chance(0.5), idStep: uint16(rnd.Uint32N(3)), rstHasACK: m.chance(0.5),
			delayACK: m.between(0, 1) * 40 * time.Millisecond, finAlone: m.chance(0.5), listens: side == 1, mss: 1000,
		}}
	}
	m.hosts[1].become(tcp.Listen)
	m.hosts[0].open()
	for _, h := range m.hosts {
		for range rnd.IntN(6) {
			m.after(m.between(0, 3*time.Second), func() { h.send(1 + rnd.Uint32N(5000)) })
		}
		end := []func(){h.close, h.close, h.shutdown, h.abort, h.crash}[rnd.IntN(5)]
		m.after(m.between(0, 5*time.Second), end)
		h.respond = func(h *simHost) { m.after(m.between(0, time.Second), h.close) }
	}
	if m.chance(0.3) {
		m.after(m.between(5*time.Second, 8*time.Second), m.hosts[0].open) // once more
	}
	m.run(m.now.Add(10 * time.Minute))
	return m
}
