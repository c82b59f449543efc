package capture

import (
	"testing"
	"time"
)

// A moment passes packets over; the frame numbers of the others stay.
func TestUntil(t *testing.T) {
	const path = "../pcaps/misordered.pcap"
	frames := func(u Moment) (list []int, st Stats) {
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
	all, st := frames(Moment{})
	if len(all) != 19 || st.Until != st.Last {
		t.Fatalf("%d frames until %v, want 19 until %v", len(all), st.Until, st.Last)
	}
	if got, st := frames(Moment{Packet: 7}); len(got) != 7 || st.Packets != 7 {
		t.Errorf("until frame 7: frames %v, %d counted", got, st.Packets)
	}
	// Record 2 is stamped later than record 3.
	at := st.First.Add(10850 * time.Microsecond)
	for name, u := range map[string]Moment{
		"relative": {Relative: true, After: 10850 * time.Microsecond},
		"absolute": {Time: at},
	} {
		got, st := frames(u)
		if len(got) != 2 || got[0] != 1 || got[1] != 3 {
			t.Errorf("%s: frames %v, want 1 and 3", name, got)
		}
		if st.Packets != 2 || st.Until != at || st.Heard != at { // later packets show that it went on
			t.Errorf("%s: %d packets until %v, heard until %v, want 2 until %v", name, st.Packets, st.Until, st.Heard, at)
		}
	}
	if got, st := frames(Moment{Relative: true, After: time.Hour}); len(got) != 19 || st.Until != st.First.Add(time.Hour) || st.Heard != st.Last {
		t.Errorf("until an hour later: %d frames until %v, heard until %v, want all until then, heard until %v", len(got), st.Until, st.Heard, st.Last)
	}
	if got, _ := frames(Moment{Time: 1}); len(got) != 0 {
		t.Errorf("until before the capture: frames %v, want none", got)
	}
}

// What is earlier than a moment, or later, is passed over; moments are counted from
// the first packet of the capture, read or not, and an end is not past the last.
func TestSinceAndUntil(t *testing.T) {
	const path = "../pcaps/misordered.pcap"
	second := 10851 * time.Microsecond // no record is stamped between this and record 2
	for _, test := range []struct {
		name           string
		since, until   Moment
		first, last, n int
		earlier, later int
		ends           bool // with the capture itself
	}{
		{"frames", Moment{Packet: 7}, Moment{Packet: 9}, 7, 9, 3, 6, 0, false},
		{"since a frame", Moment{Packet: 19}, Moment{}, 19, 19, 1, 18, 0, true},
		{"since the first packet", Moment{Relative: true}, Moment{}, 1, 19, 19, 0, 0, true},
		{"since a moment", Moment{Relative: true, After: second}, Moment{}, 2, 19, 17, 2, 0, true},
		{"until it", Moment{}, Moment{Relative: true, After: second}, 1, 3, 2, 0, 17, false},
		{"between two", Moment{Relative: true, After: second}, Moment{Relative: true, After: 17 * time.Millisecond}, 2, 6, 4, 2, 13, false},
		{"until an hour later", Moment{}, Moment{Relative: true, After: time.Hour}, 1, 19, 19, 0, 0, true},
		{"since an hour later", Moment{Relative: true, After: time.Hour}, Moment{}, 0, 0, 0, 19, 0, false},
	} {
		src, err := Open([]string{path}, Options{Since: test.since, Until: test.until, Ends: true})
		if err != nil {
			t.Fatal(err)
		}
		first, last, n := 0, 0, 0
		for s, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				first = s.Packet
			}
			last = s.Packet
		}
		st := src.Stats()
		src.Close()
		if n != test.n || first != test.first || last != test.last || st.Packets != n || st.Earlier != test.earlier || st.Later != test.later {
			t.Errorf("%s: %d frames from %d to %d, %d before and %d after, want %+v", test.name, n, first, last, st.Earlier, st.Later, test)
		}
		if test.ends && st.Until != st.Last {
			t.Errorf("%s: until %v, want %v", test.name, st.Until, st.Last)
		}
	}
}
