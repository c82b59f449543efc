package tracker_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// outOfStep returns the segments as a capture has them whose one direction is late.
func outOfStep(segments []capturedSegment, server bool, by time.Duration) []capturedSegment {
	list := slices.Clone(segments)
	for i := range list {
		if (list[i].Src == peerB) == server {
			list[i].Time = list[i].Time.Add(by)
		}
	}
	slices.SortStableFunc(list, func(a, b capturedSegment) int { return int(a.Time - b.Time) })
	for i := range list {
		list[i].Packet = i + 1
	}
	return list
}

// Where one direction of the capture is late, by less or more than a round trip,
// the numbers tell the order: the ends come to the same states, and who closed is
// who closed. Nobody is said to acknowledge what was not sent, nor one direction to
// be missing.
func TestDirectionsOutOfStep(t *testing.T) {
	tried, shown := 0, 0
	ignore := func(string, ...any) {}
	for seed := range uint64(simulations) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		m, kind := simulate(seed)
		if seed < 500 { // whatever is lost, repeated, or not captured: the order is right
			for _, r := range watch(m, m.captured, ignore).records {
				for _, a := range r.Anomalies {
					if a.Kind == "capture-reordering" {
						t.Errorf("seed %d (%v): the directions are in step, and said not to be: %s", seed, kind, a.Text)
					}
				}
			}
		}
		if kind != simOrdinary || m.path.loss > 0 || m.path.jitter > 0 || m.path.repeat > 0 || undecidable(m, kind) != "" {
			continue // what is sent again, or out of turn, takes the numbers' meaning
		}
		server := m.chance(0.5)
		by := pick(rnd, 300*time.Microsecond, 3*time.Millisecond, 25*time.Millisecond, 60*time.Millisecond, 200*time.Millisecond)
		list := outOfStep(m.captured, server, by)
		want, got := watch(m, m.captured, ignore).records, watch(m, list, ignore).records
		if len(want) != 1 || len(got) != 1 {
			t.Fatalf("seed %d: %d connections, %d where a direction is late", seed, len(want), len(got))
		}
		tried++
		w, g := want[0], got[0]
		ok := w.ClosedBy == g.ClosedBy
		for e := range w.Ends {
			ok = ok && w.Ends[e].State == g.Ends[e].State
		}
		for _, a := range g.Anomalies {
			switch a.Kind {
			case "capture-reordering":
				shown++
			case "ack-of-unsent-data", "asymmetric-capture", "simultaneous-close":
				ok = ok && slices.ContainsFunc(w.Anomalies, func(b anomaly.Anomaly) bool { return a.Kind == b.Kind })
			}
		}
		if !ok {
			t.Errorf("seed %d: with the server's %v late by %v: %v, %v, closed by %v, want %v, %v, %v\n%s",
				seed, server, by, g.Ends[0].State, g.Ends[1].State, g.ClosedBy, w.Ends[0].State, w.Ends[1].State, w.ClosedBy, drawn(list))
		}
	}
	t.Logf("%d exchanges, the order told to be wrong %d times", tried, shown)
	if tried < 50 || shown < tried/2 {
		t.Errorf("%d exchanges tell the order to be wrong %d times", tried, shown)
	}
}
