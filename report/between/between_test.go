package between

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A clock is told as exactly as it is known, and no more exactly.
func TestClockLines(t *testing.T) {
	const us, ms = time.Microsecond, time.Millisecond
	for _, test := range []struct {
		offset, within time.Duration
		drift          float64
		want           string
	}{
		{3201300 * us, 400 * us, 80e-6, "b.pcap is 3.2013 s ahead, within 0.4 ms; drift 80 ppm"},
		{-3201300 * us, 400 * us, -800e-6, "b.pcap is 3.2013 s behind, within 0.4 ms; drift -800 ppm"},
		{3201300 * us, 2 * time.Second, 0, "b.pcap is 3 s ahead, within 2 s; drift 0 ppm"},
		{12345 * us, 401 * us, 1.26e-6, "b.pcap is 12.3 ms ahead, within 0.41 ms; drift 1.3 ppm"},
		{12345678, 30 * us, -1e-9, "b.pcap is 12.35 ms ahead, within 30 us; drift 0 ppm"},
		{46 * us, 5300 * us, 0, "b.pcap is 0.05 ms ahead, within 5.3 ms; drift 0 ppm"},
		{0, 5300 * us, 0, "b.pcap is 0 ms ahead, within 5.3 ms; drift 0 ppm"},
		{-1500, 0, 0, "b.pcap is 2 us behind, within 0 us; drift 0 ppm"},
		{2 * time.Second, Unbounded, 0, "b.pcap is about 2.0000 s ahead; nothing bounds that, as all that both captures have went the same way"},
	} {
		c := Clock{Pieces: []Piece{{Offset: test.offset, Within: test.within, Drift: test.drift}}}
		if got := c.Lines("b.pcap", "a.pcap", text.UTC, 0); len(got) != 1 || got[0] != test.want {
			t.Errorf("%v within %v: got %q, want %q", test.offset, test.within, got, test.want)
		}
	}
	if got := new(Clock).Lines("b", "a", text.UTC, 0)[0]; got != "How far the clock of b is from that of a is not known" {
		t.Errorf("of nothing it is said: %s", got)
	}
}

// Each step of a clock is a line.
func TestClockSteps(t *testing.T) {
	c := Clock{Pieces: []Piece{
		{Within: time.Millisecond},
		{From: 1e9, Offset: time.Second, Within: time.Millisecond, Step: time.Second},
		{From: 2e9, Offset: 0, Within: time.Millisecond, Step: -time.Second},
		{From: 3e9, Offset: 0, Within: time.Millisecond, Drift: 5e-5},
	}}
	got := c.Lines("b", "a", text.Relative, 0)
	for i, want := range []string{
		"b is 0 ms ahead, ", "b was set forward by 1.000 s at +1.000000: since then b is 1.000 s ahead, ",
		"b was set back by 1.000 s at +2.000000: since then b is 0 ms ahead", "b began to run at another speed at +3.000000: since then b is 0 ms ahead, within 1 ms; drift 50 ppm",
	} {
		if len(got) != 4 || !strings.HasPrefix(got[i], want) {
			t.Errorf("line %d of %q, want %q", i, got, want)
		}
	}
}

// A bound is never rounded down.
func TestBound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 us", 1: "0.001 us", 401 * time.Microsecond: "0.41 ms", 400 * time.Microsecond: "0.4 ms", 99 * time.Microsecond: "99 us",
		5201 * time.Microsecond: "5.3 ms", 123 * time.Millisecond: "123 ms", 1100 * time.Millisecond: "1.1 s",
	} {
		if got := Bound(d); got != want {
			t.Errorf("Bound(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	for want, of := range map[string][2]int{"0 %": {0, 0}, "0.4 %": {12, 3400}, "< 0.1 %": {1, 3400}, "100 %": {7, 7}, "> 99.9 %": {99999, 100000}, "25 %": {1, 4}} {
		if got := Share(of[0], of[1]); got != want {
			t.Errorf("Share(%d, %d) = %s, want %s", of[0], of[1], got, want)
		}
	}
}

// The verdict says what was lost, in which direction, and what cannot be said.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		forth, back Way
		want        string
	}{
		{Way{Sent: 3400, Arrived: 3388, Lost: 12}, Way{Sent: 9, Arrived: 9}, "12 of 3,400 segments (0.4 %) from a to b were lost between a.pcap and b.pcap; none the other way."},
		{Way{Sent: 9, Arrived: 9}, Way{Sent: 1, Lost: 1}, "1 of 1 segment (100 %) from b to a was lost between b.pcap and a.pcap; none the other way."},
		{Way{Sent: 4, Arrived: 2, Lost: 2}, Way{}, "2 of 4 segments (50 %) from a to b were lost between a.pcap and b.pcap; no capture has the other direction."},
		{Way{Sent: 4, Lost: 1}, Way{Sent: 2, Lost: 1}, "1 of 4 segments (25 %) from a to b and 1 of 2 segments (50 %) from b to a were lost between a.pcap and b.pcap."},
		{Way{Sent: 4, Arrived: 4}, Way{Sent: 2, Arrived: 2}, "No segment was lost between a.pcap and b.pcap, of 4 from a to b and 2 from b to a."},
		{Way{}, Way{}, "Neither a.pcap nor b.pcap has a segment of a connection."},
		{Way{Sent: 4, Arrived: 5, Forged: 1}, Way{Sent: 2, Arrived: 2}, "1 segment came to b.pcap without having passed a.pcap: forged between the two, in the name of a host that did not send it. No segment was lost"},
		{Way{Sent: 4, Unknown: 4}, Way{Sent: 2, Arrived: 2}, "Nothing can be compared from a to b"},
		{Way{Sent: 4, Arrived: 3, Unknown: 1}, Way{Sent: 2, Arrived: 2}, "Whether 1 segment from a to b arrived is not known"},
	} {
		r := Report{Taps: []Tap{{Name: "a", Files: []string{"x/a.pcap"}}, {Name: "b", Files: []string{"b.pcap"}}}, Pairs: []Pair{{Far: 1, Ways: [2]Way{test.forth, test.back}}}}
		if got := r.Verdict(); len(got) != 1 || !strings.Contains(got[0], test.want) {
			t.Errorf("%+v %+v: got %q, want %q", test.forth, test.back, got, test.want)
		}
	}
}

// What delays do not say is said.
func TestDelayNote(t *testing.T) {
	for within, want := range map[time.Duration]string{time.Millisecond: "", 3 * time.Millisecond: "The sum of both ways is exact", Unbounded: "How long these took is not known"} {
		p := Pair{Ways: [2]Way{{Delays: Delays{N: 1, Median: 10 * time.Millisecond, Within: within}}}}
		if got := p.DelayNote(); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("within %v: got %q, want %q", within, got, want)
		}
	}
}

// A label is the file where all are named like their taps, else the name.
func TestLabel(t *testing.T) {
	a := Tap{Name: "a", Files: []string{"x/a.pcap.gz"}}
	for want, taps := range map[string][]Tap{
		"a.pcap.gz b.pcap":   {a, {Name: "b", Files: []string{"b.pcap"}}},
		"a b":                {a, {Name: "b", Files: []string{"c.pcap"}}},
		"a a-2":              {a, {Name: "a-2", Files: []string{"y/a.pcap"}}},
		"a two":              {a, {Name: "two", Files: []string{"two.pcap", "two.1.pcap"}}},
		`a x\x1b`:            {a, {Name: "x\x1b", Files: []string{"y"}}},
		"a.pcap.gz .pcap":    {a, {Name: ".pcap", Files: []string{"d/.pcap"}}},
		`a.pcap.gz b.\x1bpc`: {a, {Name: "b", Files: []string{"b.\x1bpc"}}},
	} {
		r := Report{Taps: taps}
		if got := r.Label(0) + " " + r.Label(1); got != want {
			t.Errorf("%+v are called %q, want %q", taps, got, want)
		}
	}
}

// However packets are told apart and joined, all are counted, the frames are the first
// and the last, and the sizes those of data alone.
func TestWhich(t *testing.T) {
	var odd, even, all Which
	for i := range 40 {
		s := tcp.Segment{Time: tcp.Time(i + 1), Data: tcp.Size(100 + i)}
		switch i % 8 {
		case 1:
			s.Flags, s.Data = tcp.SYN, 0
		case 2:
			s.Data = 0
		case 3:
			s.Flags = tcp.RST
		}
		all.Add(i+1, &s)
		if i%2 == 0 {
			even.Add(i+1, &s)
		} else {
			odd.Add(i+1, &s)
		}
	}
	odd.Join(&even)
	for name, w := range map[string]*Which{"added": &all, "joined": &odd} {
		if got := fmt.Sprint(w.N, w.SYN, w.FIN, w.RST, w.Data, w.Least, w.Most, int64(w.First), int64(w.Last), w.Frames); got != "40 5 0 5 25 100 139 1 40 [1 2 3 4 5 6 7 8 40]" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	var none Which
	none.Join(&all)
	none.Frames[0] = 7
	if all.Frames[0] != 1 || !slices.Equal(none.Frames[1:], all.Frames[1:]) {
		t.Error("what is joined shares its frames")
	}
}
