// Package replaytest plays captures to displays in tests, as if they were live.
package replaytest

import (
	"context"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Display is what a capture is played to.
type Display interface {
	Event(*tracker.Event)
	Refresh(*record.Snapshot)
}

// File plays a capture to the display: refreshed once in every interval of the
// capture's time, and after its end. take, unless nil, is given every segment
// before the tracker is, and after of every refresh is called, unless nil.
func File(path string, interval time.Duration, d Display, take func(*tcp.Segment), after func(*record.Snapshot)) error {
	w, err := watch.Files([]string{path}, capture.Options{}, tracker.Config{Segments: true})
	if err != nil {
		return err
	}
	defer w.Close()
	var over []*tracker.Record // since the refresh before
	ended, found := new(services.Counts), new(findings.Counts)
	gone := false
	_, err = w.Run(context.Background(), watch.Sink{
		Segment: take, Interval: interval,
		Event: func(e *tracker.Event) error {
			if gone {
				return nil // a display is gone by then
			}
			switch {
			case e.Kind == tracker.EventConnection:
				over = append(over, e.Record.Clone())
			case e.Kind == tracker.EventAnomaly && e.Conn == 0:
				ended.Anomaly(e.Anomaly)
				found.Anomaly(e.Anomaly, nil)
			}
			d.Event(e)
			return nil
		},
		Tick: func(last bool) error {
			sum := w.Summary()
			st := &sum.Capture
			s := &record.Snapshot{Time: w.Now(), Records: over, Over: len(over), Ended: ended.Clone(), Found: found.Clone(), Summary: record.Summary{
				Packets: uint64(st.Packets), TCPPackets: uint64(st.Segments), Bytes: uint64(st.Bytes),
				First: st.First, Last: st.Last, Dropped: uint64(st.Dropped), Undecodable: uint64(st.Undecodable), Misdated: uint64(st.Misdated), Sorted: uint64(st.Sorted), Evicted: sum.Tracker.Evicted,
			}}
			w.Each(func(r *tracker.Record) { s.Records = append(s.Records, r.Clone()) })
			for _, r := range over {
				ended.Connection(r)
				new(record.Options).Find(found, r)
			}
			over, gone = nil, last
			d.Refresh(s)
			if after != nil {
				after(s)
			}
			return nil
		},
	})
	return err
}
