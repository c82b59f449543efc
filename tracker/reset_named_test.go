package tracker_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A connection that a RST ends is over sooner than its users meant. So a finding
// names every RST that an end takes before it is in TIME-WAIT. Here that is held
// of all captures of real hosts, and of what simulated hosts send.

// cutShort are the states that a RST cuts short.
const cutShort = tcp.StateSet(1<<tcp.Established | 1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.CloseWait | 1<<tcp.Closing | 1<<tcp.LastAck)

// unnamed returns the frames of the RSTs that ended an end of the connection in
// one of these states, and that no finding has in its evidence; and how many
// others there are.
func unnamed(r *tracker.Record) (frames []int, states []tcp.State, named int) {
	for _, e := range r.Ends {
		var was tcp.State
		for _, st := range e.History {
			if st.Inputs.Has(tcp.RcvRST) && cutShort.Has(was) {
				if slices.ContainsFunc(r.Anomalies, func(a anomaly.Anomaly) bool { return slices.Contains(a.Evidence, st.Packet) }) {
					named++
				} else {
					frames = append(frames, st.Packet)
					states = append(states, was)
				}
			}
			was = st.State
		}
	}
	return frames, states, named
}

func TestEveryRSTThatEndsAConnectionIsNamed(t *testing.T) {
	named := 0
	check := func(t *testing.T, what string, r *tracker.Record) bool {
		frames, states, n := unnamed(r)
		named += n
		if len(frames) > 0 {
			t.Errorf("%s: nothing is said of the RSTs %v, which end %v-%v in %v", what, frames, r.Ends[0].Addr, r.Ends[1].Addr, states)
		}
		return len(frames) == 0
	}
	t.Run("captures", func(t *testing.T) {
		files, err := filepath.Glob("testdata/traces/*/*.pcap")
		if err != nil || len(files) < 100 {
			t.Fatalf("%d captures: %v", len(files), err)
		}
		for _, file := range files {
			source, err := capture.Open([]string{file}, capture.Options{})
			if err != nil {
				t.Fatal(err)
			}
			tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					check(t, file, e.Record)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for s, err := range source.Segments() {
				if err != nil {
					t.Fatal(err)
				}
				tk.Observe(s)
			}
			tk.Close()
			if err := source.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("simulated", func(t *testing.T) {
		shown := 0
		for seed := range uint64(simulations / 2) {
			m, kind := simulate(seed)
			ok := true
			tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					ok = check(t, kind.String(), e.Record) && ok
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range m.captured {
				tk.Observe(&m.captured[i].Segment)
			}
			tk.Close()
			if shown++; !ok && shown <= simVerbose {
				t.Logf("seed %d:\n%s", seed, drawn(m.captured))
			}
		}
	})
	t.Logf("%d RSTs are named", named)
	if named < 500 {
		t.Errorf("only %d RSTs ended a connection", named)
	}
}
