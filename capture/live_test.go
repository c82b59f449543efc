package capture_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
)

const never = time.Hour // longer than any test

// piped opens a live capture on a pipe.
func piped(t *testing.T, o capture.LiveOptions) (*capture.Live, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o.Stream = r
	l, err := capture.OpenLive(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		l.Close()
		r.Close()
	})
	return l, w
}

// next returns the frame number of the next segment, 0 if none has come, and -1
// at the end.
func next(t *testing.T, l *capture.Live) int {
	t.Helper()
	s, err := l.Next(time.Now().Add(never))
	switch {
	case errors.Is(err, io.EOF):
		return -1
	case err != nil:
		t.Fatal(err)
	case s == nil:
		return 0
	}
	return s.Packet
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What came through a pipe is handed out before more is waited for, also where
// the pipe pauses in mid-packet, and Wake ends the waiting.
func TestLiveHandsOutWhatCame(t *testing.T) {
	file := mustRead(t, "../pcaps/refused.pcap")
	const header, first = 24, 24 + 16 + 74
	l, w := piped(t, capture.LiveOptions{})
	l.Wake()
	if got := next(t, l); got != 0 {
		t.Errorf("before anything came Next returned segment %d", got)
	}
	if now := l.Now(); now != 0 {
		t.Errorf("before anything came it was %v", now)
	}
	w.Write(file[:header+7])
	l.Wake()
	if got := next(t, l); got != 0 {
		t.Errorf("from a part of a packet Next made segment %d", got)
	}
	w.Write(file[header+7 : first+5])
	for i, want := range []int{1, 0} {
		if got := next(t, l); got != want {
			t.Errorf("call %d returned segment %d, want %d", i, got, want)
		}
	}
	if stats := l.Stats(); stats.Packets != 1 || stats.Segments != 1 || stats.Until < stats.Last {
		t.Errorf("the stats are %+v", stats)
	}
	w.Write(file[first+5:])
	w.Close()
	for {
		if got := next(t, l); got == -1 {
			break
		}
	}
	if stats := l.Stats(); stats.Packets != 2 || stats.Truncated {
		t.Errorf("at the end the stats are %+v", stats)
	}
}

// A stream need not be a file: while its Read blocks Wake ends the waiting, and
// Close does not wait.
func TestLiveOfAReader(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	l, err := capture.OpenLive(capture.LiveOptions{Stream: r})
	if err != nil {
		t.Fatal(err)
	}
	file := mustRead(t, "../pcaps/refused.pcap")
	if _, err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	for next(t, l) < 2 { // 0 where the second has not come yet
	}
	next(t, l) // all that had come was handed out
	l.Wake()
	if got := next(t, l); got != 0 {
		t.Errorf("woken Next returned segment %d", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A deadline that has passed is told once, and then what waits is handed out.
func TestLivePastItsDeadline(t *testing.T) {
	l, w := piped(t, capture.LiveOptions{Count: 2})
	w.Write(mustRead(t, "../pcaps/time-wait.pcap"))
	segments := 0
	for {
		s, err := l.Next(time.Time{})
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s != nil {
			segments++
		}
	}
	if segments != 2 {
		t.Errorf("%d segments were handed out, want 2", segments)
	}
}

// saved returns a Live that has read a capture to its end and writes it to a
// file, which is not closed yet.
func saved(t *testing.T) (l *capture.Live, path string) {
	path = filepath.Join(t.TempDir(), "x.pcapng")
	l, w := piped(t, capture.LiveOptions{})
	file, err := capture.CreateWriter(capture.WriteOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Save(file)
	w.Write(mustRead(t, "../pcaps/refused.pcap"))
	w.Close()
	for next(t, l) >= 0 {
	}
	return l, path
}

// A file that was written live says when the capture ended, and a replay goes on
// until then.
func TestLiveSavesWhenItEnded(t *testing.T) {
	l, path := saved(t)
	l.Stop()
	want := l.Stats()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for _, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := src.Stats()
	if got.Packets != want.Packets || got.Bytes != want.Bytes || got.First != want.First || got.Last != want.Last || got.Until != want.Until {
		t.Errorf("the file has %+v, live had %+v", got, want)
	}
}

// A statistics block tells when the capture ended; without --at time runs on to
// it, with it no further.
func TestCaptureEndsWhenItSays(t *testing.T) {
	l, path := saved(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	block := mustRead(t, path)
	const behind = 12 + 12 + 4 + 4 // isb_ifrecv, isb_osdrop, the end of the options, the length
	block[len(block)-behind-8]++   // isb_endtime, whose high half is first: 2^32 ns later
	if err := os.WriteFile(path, block, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		until capture.Moment
		later time.Duration
	}{
		{capture.Moment{}, 1 << 32},
		{capture.Moment{Packet: 2}, 0},
		{capture.Moment{Relative: true, After: time.Hour}, time.Hour},
	} {
		src, err := capture.Open([]string{path}, capture.Options{Until: c.until})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
		}
		stats := src.Stats()
		from := stats.Last
		if c.until.Relative {
			from = stats.First
		}
		if got := stats.Until.Sub(from); got.Round(time.Second) != c.later.Round(time.Second) {
			t.Errorf("%+v: time went on for %v, want %v", c.until, got, c.later)
		}
		src.Close()
	}
}
