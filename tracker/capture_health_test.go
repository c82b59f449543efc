package tracker_test

import (
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// That a capture is cut is told, once, unless it is cut on purpose; what is cut
// of the headers is told in any case.
func TestCutOnPurpose(t *testing.T) {
	for _, test := range []struct {
		cut     tcp.Cut
		purpose bool
		told    int
	}{
		{tcp.CutPayload, false, 1},
		{tcp.CutPayload, true, 0},
		{tcp.CutOptions, true, 2},
	} {
		told := 0
		tk, err := tracker.New(tracker.Config{Cut: test.purpose}, func(e *tracker.Event) {
			if e.Kind == tracker.EventAnomaly && e.Anomaly.Kind == "snaplen-truncated" {
				told++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		client, server := netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80")
		for i := range 2 {
			tk.Observe(&tcp.Segment{Time: tcp.Time(i+1) * tcp.Second, Packet: i + 1, Src: client, Dst: server, Seq: tcp.Seq(100 * i), Flags: tcp.SYN, Data: 10, Cut: test.cut})
		}
		tk.Close()
		if told != test.told {
			t.Errorf("%+v: it was told %d times", test, told)
		}
	}
}
