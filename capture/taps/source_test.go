package taps_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// small returns captures of a few hundred packets.
func small(t testing.TB) (client, server []tcp.Segment) {
	a, b := (&pathway{packets: 200, short: true, pace: 10 * time.Millisecond}).write(t)
	return readAll(t, a), readAll(t, b)
}

func TestOpenErrors(t *testing.T) {
	a, b := small(t)
	one, two := write(t, "one", a), write(t, "two", b)
	for i := range b {
		b[i].Seq = tcp.Seq(i+1) * 0x12345677
		b[i].Src, b[i].Dst = netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
		b[i].Options = tcp.Options{}
	}
	foreign := write(t, "foreign", b)
	no := filepath.Join(t.TempDir(), "no.pcap")
	text := filepath.Join(t.TempDir(), "text.pcap")
	if err := os.WriteFile(text, []byte("this is no capture, but a text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		list []taps.Tap
		want []string
	}{
		{nil, []string{"0 captures", "2 to 8"}},
		{[]taps.Tap{{Files: []string{one}}}, []string{"1 captures"}},
		{[]taps.Tap{{Name: "client"}, {Files: []string{two}}}, []string{`"client"`, "no files"}},
		{[]taps.Tap{{Files: []string{"-"}}, {Files: []string{two}}}, []string{"standard input", "write it to a file"}},
		{[]taps.Tap{{Files: []string{one}}, {Files: []string{no}}}, []string{no}},
		{[]taps.Tap{{Files: []string{one}}, {Files: []string{text}}}, []string{text}},
		{[]taps.Tap{{Files: []string{one}}, {Files: []string{t.TempDir()}}}, []string{"is a directory"}},
		{[]taps.Tap{{Files: []string{os.DevNull}}, {Files: []string{two}}}, []string{"not a regular file"}},
		{[]taps.Tap{{Name: "client", Files: []string{one}}, {Name: "server", Files: []string{foreign}}}, []string{"client", one, "server", foreign, "no TCP segment in common"}},
	} {
		src, err := taps.Open(test.list, taps.Options{})
		if err == nil {
			src.Close()
			t.Errorf("%v: no error, want one with %q", test.list, test.want)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %q in it", test.list, err, want)
			}
		}
	}
}

func TestStatsAreOfAllCaptures(t *testing.T) {
	a, b := small(t)
	for i := range b {
		b[i].Time = b[i].Time.Add(time.Hour)
	}
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var first, last tcp.Time
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; first == 0 {
			first = k.Time
		}
		last = k.Time
	}
	st := src.Stats()
	if st.Packets != len(a)+len(b) || st.Segments != len(a)+len(b) || n != st.Segments {
		t.Errorf("%d packets, %d segments, %d events; want %d", st.Packets, st.Segments, n, len(a)+len(b))
	}
	if off := st.First.Sub(first).Abs(); off > 100 {
		t.Errorf("first %v, want %v", st.First, first)
	}
	for _, got := range []tcp.Time{st.Last, st.Until, st.Heard} {
		if off := got.Sub(last).Abs(); off > 100 {
			t.Errorf("last, until, heard %v, want %v", got, last)
		}
	}
	if st.Size == 0 || st.Read != st.Size {
		t.Errorf("read %d of %d octets", st.Read, st.Size)
	}
}

func TestSinceAndUntil(t *testing.T) {
	a, b := small(t)
	at := func(i int) tcp.Time { return a[i].Time }
	begin := min(a[0].Time, b[0].Time)
	for _, test := range []struct {
		name         string
		since, until capture.Moment
	}{
		{"time", capture.Moment{Time: at(50)}, capture.Moment{Time: at(100)}},
		{"relative", capture.Moment{Relative: true, After: at(50).Sub(begin)}, capture.Moment{Relative: true, After: at(100).Sub(begin)}},
	} {
		src, err := open(t, taps.Options{Capture: capture.Options{Since: test.since, Until: test.until}}, a, b)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for k, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; k.Time < at(50)-2 || k.Time > at(100)+2 {
				t.Errorf("%s: packet %d at %v, want from %v to %v", test.name, k.Packet, k.Time, at(50), at(100))
			}
		}
		if st := src.Stats(); n < 90 || st.Until.Sub(at(100)).Abs() > 2 || st.Earlier == 0 {
			t.Errorf("%s: %d events, until %v, %d earlier", test.name, n, st.Until, st.Earlier)
		}
		if st := src.Stats(); st.Packets != n || st.Segments != n || st.Later == 0 || st.Last > at(100)+2 {
			t.Errorf("%s: %d packets, %d segments, %d later, the last at %v; want %d and at most %v", test.name, st.Packets, st.Segments, st.Later, st.Last, n, at(100))
		}
	}
	src, err := open(t, taps.Options{Capture: capture.Options{Since: capture.Moment{Packet: 20}, Until: capture.Moment{Packet: 29}}}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for k, err := range src.Segments() {
		if n++; err != nil || k.Packet < 20 || k.Packet > 29 {
			t.Errorf("packet %d: %v", k.Packet, err)
		}
	}
	if st := src.Stats(); st.Packets != n || st.Later != 0 {
		t.Errorf("%d packets and %d later, want %d and none", st.Packets, st.Later, n)
	}
}

func TestLeavingAndStopping(t *testing.T) {
	a, b := small(t)
	for _, stop := range []bool{false, true} {
		src, err := open(t, taps.Options{}, a, b)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range src.Segments() {
			if n++; n == 10 && stop {
				src.Stop()
			} else if n == 10 {
				break
			}
		}
		if stop && n > 11 {
			t.Errorf("%d segments after Stop", n-10)
		}
		src.Between()
		src.Stats()
		for range 2 {
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Close(); err != nil { // unread
		t.Error(err)
	}
}
