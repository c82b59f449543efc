package record

import (
	"slices"
	"strconv"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What a capture ends too early for: the timers that run at its end, and an end in
// CLOSE_WAIT that is not yet called a leak. --at lets time run on.

// leakName is the kind of a CLOSE_WAIT that lasts.
const leakName = "close-wait-leak"

// pending notes when what a connection waits for will have happened.
func (t *Tally) pending(r *tracker.Record, leakAfter time.Duration) {
	for i := range r.Ends {
		e := &r.Ends[i]
		if e.Since == 0 {
			continue
		}
		if e.Timer.Kind != "" {
			t.Due = max(t.Due, e.Since.Add(e.TimeInState+e.Timer.Remaining))
		}
		leak := func(a anomaly.Anomaly) bool { return a.Kind == leakName && a.End == tcp.Endpoint(i) }
		if e.State == tcp.CloseWait && e.Proved == tcp.CloseWait && !slices.ContainsFunc(r.Anomalies, leak) {
			t.Due = max(t.Due, r.End.Add(leakAfter))
		}
	}
}

// PendingNote says that the capture ends before what its connections wait for, and
// how that can be seen; "" where nothing is to come, or --at has been used.
func PendingNote(s *Summary, t *Tally, o *Options) string {
	if !o.Whole || s.Packets == 0 || t.Due <= max(s.Last, s.Now) {
		return ""
	}
	at := t.Due.Sub(s.First).Truncate(time.Second) + 2*time.Second // timers are read a little early or late
	return "Note: the capture ends after " + inSeconds(s.Last.Sub(s.First)) + "; --at +" + strconv.Itoa(int(at/time.Second)) + "s shows what would happen next"
}

// inSeconds writes a duration in seconds, as --at takes them: 43 s, 0.62 s.
func inSeconds(d time.Duration) string {
	digits := 0
	for unit := 10 * time.Second; d < unit && digits < 3; unit /= 10 {
		digits++
	}
	return strconv.FormatFloat(d.Seconds(), 'f', digits, 64) + " s"
}
