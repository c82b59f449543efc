package tracker_test

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// No segment is counted twice. Where both ends are one it is, and what was damaged, or a
// copy, or opened nothing, is not counted at all.
func TestNoSegmentIsCountedTwice(t *testing.T) {
	for _, dir := range []string{"rfc9293", "rfc1337", "states", "views", "gate", "anomaly"} {
		ladders(t, dir, func(t *testing.T, _ string, l ladder) {
			var counted uint64
			var tk *tracker.Tracker
			l.run(t, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					if e.Record.Ends[tcp.Client].Addr == e.Record.Ends[tcp.Server].Addr {
						t.Skip("from a port to itself")
					}
					counted += e.Record.Ends[tcp.Client].Packets + e.Record.Ends[tcp.Server].Packets
				}
			}, func(of *tracker.Tracker, _, _ int) { tk = of })
			tk.Close()
			if took := tk.Stats().Segments; counted > took {
				t.Errorf("%d segments are counted, of %d", counted, took)
			}
		})
	}
}
