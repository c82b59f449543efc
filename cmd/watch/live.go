package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
)

// A live capture has two clocks. The timers of the connections run by the one that
// stamps the packets, as they do in a replay; when the sink is to look, and when
// the run is to end, the wall clock says.

const (
	// timersEvery is how often timers are looked at while nothing comes.
	timersEvery = 100 * time.Millisecond

	// lastCall is how long the packets are waited for that were on their way to us
	// when the run was ended.
	lastCall = 50 * time.Millisecond

	// longCall is how much longer it may take to work off those that had come, where
	// it cannot be helped that more come.
	longCall = 2 * time.Second

	// toldEvery is how often the capture itself is looked at, and lossEvery how
	// often it is told, at most, that packets were lost.
	toldEvery = time.Second
	lossEvery = 10 * time.Second
)

// A schedule is what is due by the wall clock in a live run.
type schedule struct {
	interval    time.Duration // of ticks; 0: there are none
	tick        time.Time
	look        time.Time // at the capture itself
	stop        time.Time // when the last packets are to be in; zero: not yet
	interrupted bool
	ending      bool // no more are taken from then on
	sealed      bool // and the system sees to it
}

// newSchedule returns the schedule of a run that begins now.
func newSchedule(ctx context.Context, interval time.Duration) *schedule {
	now := time.Now()
	p := &schedule{interval: interval, tick: now.Add(interval), look: now.Add(toldEvery)}
	p.stop, _ = ctx.Deadline()
	return p
}

// over reports whether the run is to end now. idle says that all packets that had
// come were taken in. Seal has no more of them come, if it can.
func (p *schedule) over(ctx context.Context, now time.Time, idle bool, seal func() bool) bool {
	if !p.interrupted && errors.Is(ctx.Err(), context.Canceled) {
		p.interrupted, p.stop = true, now
	}
	if !p.ending && !p.stop.IsZero() && !now.Before(p.stop) {
		p.ending, p.sealed, p.stop = true, seal(), now.Add(lastCall)
	}
	return p.ending && !now.Before(p.stop) && (idle || !p.sealed && now.Sub(p.stop) > longCall)
}

// looks reports whether the capture itself is to be looked at now.
func (p *schedule) looks(now time.Time) bool {
	if now.Before(p.look) {
		return false
	}
	p.look = now.Add(toldEvery)
	return true
}

// ticks reports whether a tick is due. Those that were missed are left out.
func (p *schedule) ticks(now time.Time) bool {
	if p.interval <= 0 || now.Before(p.tick) {
		return false
	}
	for !now.Before(p.tick) {
		p.tick = p.tick.Add(p.interval)
	}
	return true
}

// next returns until when packets are waited for.
func (p *schedule) next(now time.Time) time.Time {
	next := now.Add(timersEvery)
	if p.interval > 0 && p.tick.Before(next) {
		next = p.tick
	}
	if !p.stop.IsZero() && p.stop.Before(next) {
		next = p.stop
	}
	return next
}

// runLive captures until there is no more, or the run is ended.
func (w *Watch) runLive(ctx context.Context) error {
	defer context.AfterFunc(ctx, w.live.Wake)()
	p := newSchedule(ctx, w.sink.Interval)
	var deadline time.Time
	for {
		s, err := w.live.Next(deadline)
		if s != nil {
			if w.observe(s); w.failed != nil {
				return w.failed
			}
			if w.locals != nil {
				w.glance()
			}
			continue
		}
		w.heedLoss()
		w.tracker.Advance(w.live.Now())
		if w.failed == nil && w.sink.Idle != nil {
			w.failed = w.sink.Idle()
		}
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = w.failed
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if w.locals != nil {
			w.turn(now)
		}
		if p.over(ctx, now, w.live.Idle(), w.live.Seal) {
			return nil
		}
		if p.looks(now) {
			w.tellLoss(now)
			w.tellClock()
		}
		if p.ticks(now) {
			if err := w.tick(false); err != nil {
				return err
			}
		}
		if deadline = p.next(now); w.locals != nil {
			deadline = w.locals.due(deadline)
		}
	}
}

// told is what of the capture itself the sink was told.
type told struct {
	lost   int64     // packets
	lostAt time.Time // when that was told
	ahead  time.Duration
}

// heedLoss has the tracker know of packets that were lost.
func (w *Watch) heedLoss() {
	if s := w.live.Stats(); s.DroppedBy > 0 {
		w.tracker.Lost(s.DroppedBy)
	}
}

// tellLoss tells of packets that were lost since it last did; at the end, when
// now is zero, also if that was a moment ago.
func (w *Watch) tellLoss(now time.Time) {
	t := &w.told
	lost := w.live.Stats().Dropped
	if lost == t.lost || !now.IsZero() && !t.lostAt.IsZero() && now.Sub(t.lostAt) < lossEvery {
		return
	}
	w.foundLost(lost-t.lost, fmt.Sprintf("%s dropped %d packets (%d in all) because its buffer was full.", w.loser, lost-t.lost, lost))
	t.lost, t.lostAt = lost, now
	if w.sink.Lost != nil {
		w.sink.Lost(lost)
	}
}

// foundLost tells that so many packets were lost; how is said first.
func (w *Watch) foundLost(packets int64, how string) {
	w.found("capture-gap", anomaly.Anomaly{
		Cause: "dropped", Confidence: anomaly.ConfidenceProved, Count: int(packets),
		Text: how + " They may belong to any connection. Segments that seem missing or retransmitted may only not have been captured.",
	})
}

// tellClock tells that the clock was set since it last did. That the clock of
// another host was set forward the tracker finds out.
func (w *Watch) tellClock() {
	ahead := w.live.Stats().Ahead
	by := ahead - w.told.ahead
	if by == 0 {
		return
	}
	w.told.ahead = ahead
	cause, set, are := "backward", "back", "ahead of"
	if by < 0 {
		cause, set = "forward", "forward"
	}
	if ahead < 0 {
		are = "behind"
	}
	text := fmt.Sprintf("the clock that stamps the packets was set %s by %v; tcpwatch keeps its own time, which is now %v %s that clock", set, by.Abs().Round(time.Millisecond), ahead.Abs().Round(time.Millisecond), are)
	w.found("clock-step", anomaly.Anomaly{Cause: cause, Confidence: anomaly.ConfidenceAssumed, Count: 1, Text: "T" + text[1:] + ". The connections' timers are not affected."})
	w.notice(text)
}

// found tells of an anomaly of the capture itself, of a kind in the catalogue.
func (w *Watch) found(kind string, a anomaly.Anomaly) {
	k, err := kinds.Parse(kind)
	if err != nil {
		panic("watch: " + err.Error()) // a mistake of this package
	}
	a.Kind, a.Severity, a.RFC, a.Time = k.Name, k.Severity, k.RFC, w.tracker.Now()
	w.event(&tracker.Event{Kind: tracker.EventAnomaly, Time: a.Time, Anomaly: &a})
}
