// Package played plays captures to displays in tests, as if they were live.
package played

import (
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Display is what a capture is played to.
type Display interface {
	Event(*tracker.Event)
	Refresh(*report.Snapshot)
}

// File plays a capture to the display: refreshed once in every interval of the
// capture's time, and after its end. take, unless nil, is given every segment
// before the tracker is, and after of every refresh is called, unless nil.
func File(path string, interval time.Duration, d Display, take func(*tracker.Segment), after func(*report.Snapshot)) error {
	var over []*tracker.Record // since the refresh before
	crowd := tracker.NewCrowd(func(e *tracker.Event) {
		if e.Kind == tracker.Over {
			over = append(over, e.Over.Clone())
		}
		d.Event(e)
	})
	tk, err := tracker.New(tracker.Config{Seen: true}, crowd.Event)
	if err != nil {
		return err
	}
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		return err
	}
	defer src.Close()
	refresh := func() {
		st := src.Stats()
		s := &report.Snapshot{Time: tk.Now(), Records: over, Summary: report.Summary{
			Packets: uint64(st.Packets), TCPPackets: uint64(st.Segments), Bytes: uint64(st.Bytes),
			First: st.First, Last: st.Last, Dropped: uint64(st.Dropped), Undecodable: uint64(st.Undecodable), Evicted: tk.Stats().Evicted,
		}}
		tk.Each(func(r *tracker.Record) { s.Records = append(s.Records, r.Clone()) })
		over = nil
		d.Refresh(s)
		if after != nil {
			after(s)
		}
	}
	var due tracker.Time
	for s, err := range src.Segments() {
		if err != nil {
			return err
		}
		if due == 0 {
			due = s.Time.Add(interval)
		}
		for ; due <= s.Time; due = due.Add(interval) {
			tk.Advance(due)
			refresh()
		}
		if take != nil {
			take(s)
		}
		tk.Observe(s)
	}
	refresh()
	return nil
}
