package run

import (
	"time"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/between"
)

// betweenOf is what reports tell of what happened between the taps; nil where there is
// one capture.
func betweenOf(s *watch.Summary) *between.Report {
	b := s.Between
	if b == nil {
		return nil
	}
	r := new(between.Report)
	place := make([]int, len(s.Taps))
	for i, tap := range b.Order {
		place[tap] = i
		r.Taps = append(r.Taps, between.Tap{Name: s.Taps[tap].Name, Files: s.Taps[tap].Files})
	}
	for i := range b.Pairs {
		p := &b.Pairs[i]
		pair := between.Pair{Near: place[p.Near], Far: place[p.Far], Clock: clockOf(&p.Clock), Connections: p.Connections, Rewritten: p.Rewritten}
		for way := range p.Passages {
			pair.Ways[way] = wayOf(&p.Passages[way])
		}
		for j := range p.Worst {
			w := &p.Worst[j]
			pair.Worst = append(pair.Worst, between.Connection{Client: w.Client, Server: w.Server, Ways: [2]between.Way{wayOf(&w.Passages[0]), wayOf(&w.Passages[1])}})
		}
		for _, w := range p.Rewritings {
			pair.Rewritings = append(pair.Rewritings, between.Rewriting{Near: w.Near, Far: w.Far})
		}
		r.Pairs = append(r.Pairs, pair)
	}
	return r
}

// within returns a bound of package taps.
func within(d time.Duration) time.Duration {
	if d == taps.Unbounded {
		return between.Unbounded
	}
	return d
}

func clockOf(c *taps.Clock) between.Clock {
	clock := between.Clock{Pairs: c.Pairs}
	for i := range c.Pieces {
		p := &c.Pieces[i]
		clock.Pieces = append(clock.Pieces, between.Piece{From: p.From, Offset: p.Offset, Drift: p.Drift, Within: within(p.Within), Step: p.Step})
	}
	return clock
}

func wayOf(p *taps.Passage) between.Way {
	c := &p.Changes
	w := between.Way{
		Sent: p.Sent, Arrived: p.Arrived, Lost: p.Lost, Copied: p.Copied, Forged: p.Forged, Reordered: p.Reordered,
		MissedSent: p.MissedSent, Missed: p.Missed, Unknown: p.Unknown, Changed: p.Changed, Hops: c.Hops,
		Delays: between.Delays{N: p.Delays.N, Min: p.Delays.Min, Median: p.Delays.Median, P90: p.Delays.P90, P99: p.Delays.P99, Max: p.Delays.Max, Within: within(p.Delays.Within)},
	}
	for _, change := range []between.Change{
		{What: "mss", Packets: c.MSS}, {What: "window_scale", Packets: c.WindowScale}, {What: "sack_permitted", Packets: c.SACKPermitted},
		{What: "timestamps", Packets: c.Timestamps}, {What: "options", Packets: c.Options}, {What: "window", Packets: c.Window},
		{What: "numbers", Packets: c.Numbers}, {What: "ecn", Packets: c.ECN}, {What: "id", Packets: c.ID},
		{What: "dont_fragment", Packets: c.DontFragment}, {What: "payload", Packets: c.Payload},
	} {
		if change.Packets > 0 {
			w.Changes = append(w.Changes, change)
		}
	}
	return w
}
