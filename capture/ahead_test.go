package capture_test

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A reading is all that a loop over a capture learns.
type reading struct {
	segments []tcp.Segment
	err      string
	stats    capture.Stats
}

func readBy(t *testing.T, files []string, o capture.Options, way func(*capture.Source) iter.Seq2[*tcp.Segment, error]) (r reading) {
	t.Helper()
	src, err := capture.Open(files, o)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for s, err := range way(src) {
		if err != nil {
			r.err = err.Error()
			continue
		}
		r.segments = append(r.segments, *s)
	}
	r.stats = src.Stats()
	if n := src.OpenFiles(); n != 0 {
		t.Errorf("%d files are open behind the loop", n)
	}
	return r
}

// Read ahead, every capture gives what it gives without: segments, counts,
// warnings and errors.
func TestReadAheadIsTheSame(t *testing.T) {
	var all []string
	for _, pattern := range []string{"../pcaps/*.pcap", "../tracker/testdata/traces/*/*.pcap*"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 15 {
			t.Fatalf("%s: %d captures, want at least 15: %v", pattern, len(files), err)
		}
		all = append(all, files...)
	}
	unknown, cut := filepath.Join(t.TempDir(), "unknown.pcap"), filepath.Join(t.TempDir(), "cut.pcap")
	b, err := os.ReadFile(all[0])
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		cut:     b[:len(b)-1],
		unknown: append(append(b[:20:20], 0x90), b[21:]...), // its link type is 144
	} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sets := [][]string{all, append([]string{cut, unknown}, all...), {unknown}}
	for _, f := range append(all, cut) {
		sets = append(sets, []string{f})
	}
	options := map[string]capture.Options{"": {}, " until a packet": {Until: capture.Moment{Packet: 5}}, " all checksums": {VerifyChecksums: true}}
	for _, files := range sets {
		for name, o := range options {
			want := readBy(t, files, o, (*capture.Source).Serial)
			got := readBy(t, files, o, (*capture.Source).Ahead)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s%s: %d segments, %q, %+v; want %d, %q, %+v", files[0], name,
					len(got.segments), got.err, got.stats, len(want.segments), want.err, want.stats)
			}
		}
	}
}

// A loop that is left ends the reading, and the counts do not go on.
func TestReadAheadEndsWithTheLoop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (pktgen.Traffic{Kind: pktgen.LongFlows, Packets: 50 * capture.BatchSize, Seed: 1}).Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for _, steps := range []int{1, capture.BatchSize, 5*capture.BatchSize + 7} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			src, err := capture.Open([]string{path}, capture.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			n := 0
			for range src.Ahead() {
				if n++; n == steps {
					break
				}
			}
			if got := src.Stats().Segments; got < steps || got >= steps+capture.BatchSize {
				t.Errorf("%d segments are counted after %d steps, want less than a batch more", got, steps)
			}
			if n := src.OpenFiles(); n != 0 {
				t.Errorf("%d files are open behind the loop", n)
			}
		})
	}
	for range 1000 { // a goroutine that has done all may take a moment to be gone
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.GC() // takes a moment, and lets others run
	}
	t.Errorf("%d goroutines behind the loops, %d before", runtime.NumGoroutine(), before)
}
