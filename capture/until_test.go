package capture

import (
	"testing"
	"time"
)

// A moment passes packets over; the frame numbers of the others stay.
func TestUntil(t *testing.T) {
	const path = "../pcaps/misordered.pcap"
	frames := func(u Until) (list []int, st Stats) {
		src, err := Open([]string{path}, Options{Until: u})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for s, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s.Packet)
		}
		return list, src.Stats()
	}
	all, st := frames(Until{})
	if len(all) != 19 || st.Until != st.Last {
		t.Fatalf("%d frames until %v, want 19 until %v", len(all), st.Until, st.Last)
	}
	if got, st := frames(Until{Packet: 7}); len(got) != 7 || st.Packets != 7 {
		t.Errorf("until frame 7: frames %v, %d counted", got, st.Packets)
	}
	// Record 2 is stamped later than record 3.
	at := st.First.Add(10850 * time.Microsecond)
	for name, u := range map[string]Until{
		"relative": {Relative: true, After: 10850 * time.Microsecond},
		"absolute": {Time: at},
	} {
		got, st := frames(u)
		if len(got) != 2 || got[0] != 1 || got[1] != 3 {
			t.Errorf("%s: frames %v, want 1 and 3", name, got)
		}
		if st.Packets != 2 || st.Until != at {
			t.Errorf("%s: %d packets until %v, want 2 until %v", name, st.Packets, st.Until, at)
		}
	}
	if got, _ := frames(Until{Time: 1}); len(got) != 0 {
		t.Errorf("until before the capture: frames %v, want none", got)
	}
}
