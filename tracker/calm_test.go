package tracker_test

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Ordinary traffic is connections that open, carry data both ways over a path
// that loses one segment in a hundred and now and then swaps two, and are
// closed by either side. Nobody may be woken for it: fewer than one warning or
// error in 100,000 connections. CALM=100000 plays so many.
func TestOrdinaryTrafficRaisesNothing(t *testing.T) {
	n := 1500
	if s := os.Getenv("CALM"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	alarms := map[string]int{}
	shown := 0
	tk, err := tracker.New(tracker.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(n) {
		var odd []*anomaly.Anomaly
		tk.SetEmit(func(e *tracker.Event) {
			if e.Kind == tracker.EventAnomaly && e.Anomaly.Severity > anomaly.Notice {
				odd = append(odd, e.Anomaly)
			}
		})
		m := calm(seed)
		for i := range m.captured {
			s := m.captured[i].Segment
			s.Time += tcp.Time(seed) * tcp.Time(2*simEnd)
			tk.Observe(&s)
		}
		for _, a := range odd {
			if alarms[a.Kind]++; shown < 5 {
				shown++
				t.Errorf("seed %d: %s is flagged (%v): %s\n%s", seed, a.Kind, a.Evidence, a.Text, drawn(m.captured))
			}
		}
	}
	t.Logf("%d connections; warnings and errors: %v", n, alarms)
}

// calm plays one ordinary connection.
func calm(seed uint64) *sim {
	rnd := rand.New(rand.NewPCG(seed, 1122))
	m := &sim{rnd: rnd, now: simStart}
	way := pick(rnd, 500*time.Microsecond, 10*time.Millisecond, 40*time.Millisecond)
	m.path.delay[0] = time.Duration(float64(way) * pick(rnd, 0.01, 0.5, 0.99))
	m.path.delay[1] = way - m.path.delay[0]
	m.path.loss = 0.01
	m.path.jitter = pick(rnd, 0, 0, time.Millisecond)
	m.path.healsAt = simStart.Add(simEnd)
	stamps := m.chance(0.9)
	closes := rnd.IntN(2)
	for side, addr := range []netip.AddrPort{peerA, peerB} {
		h := &simHost{m: m, side: side, addr: netip.AddrPortFrom(addr.Addr(), addr.Port()+uint16(seed%8000)*uint16(1-side))}
		h.habits = simHabits{stamps: stamps, idStep: 1, rstHasACK: true, delayACK: 40 * time.Millisecond,
			finAlone: m.chance(0.5), oldACKs: true, mss: 1460, listens: side == 1}
		h.id = uint16(rnd.Uint32()) | 1
		h.state = tcp.Closed
		if side == 1 {
			h.state = tcp.Listen
		}
		h.history = []simMove{{simStart, h.state}}
		h.opened = func(h *simHost) {
			var at time.Duration
			for range rnd.IntN(4) {
				at += m.between(0, 300*time.Millisecond)
				size := pick[uint32](rnd, 1, 100, 3000, 30_000)
				m.after(at, func() { h.send(size) })
			}
			if side == closes {
				m.after(at+m.between(8*time.Second, 12*time.Second), h.close) // all has arrived long since
			}
		}
		h.respond = func(h *simHost) { m.after(m.between(0, 20*time.Millisecond), h.close) }
		m.hosts[side] = h
	}
	m.after(time.Millisecond, m.hosts[0].open)
	// An ACK and a FIN that swap places do kill TIME-WAIT (RFC 1337): no false alarm.
	m.after(7*time.Second, func() { m.path.jitter = 0 })
	m.run(simStart.Add(simEnd))
	return m
}
