package wire

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func writeFile(t testing.TB, name string, octets []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// anyCapture returns a capture with segments enough.
func anyCapture(t testing.TB) string {
	t.Helper()
	paths, err := filepath.Glob("../../pcaps/*.pcap")
	if err != nil || len(paths) == 0 {
		t.Fatal("no captures", err)
	}
	for _, path := range paths {
		if list, _, ok := segmentsOf(path); ok && len(list) >= 10 {
			return path
		}
	}
	t.Fatal("no capture with ten segments")
	return ""
}

// FuzzRead reads anything, as a message and, to come by more of it, as what a message
// has behind its compression. What is read comes back as itself.
func FuzzRead(f *testing.F) {
	list, _, ok := segmentsOf(anyCapture(f))
	if !ok {
		f.Fatal("no segments")
	}
	var w Writer
	for i := range list {
		w.Add(&list[i], i+1)
	}
	columns := slices.Clone(w.join())
	w.reset()
	for i := range list {
		w.Add(&list[i], i+1)
	}
	m, err := w.Message(Head{Run: 1, N: 2, Mark: 3, End: true, About: []byte("about")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m)
	f.Add(columns)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reader
		_, got, err := r.Read(b, nil)
		if err != nil && len(got) > 0 {
			t.Fatalf("%d segments and %v", len(got), err)
		}
		r.joined = b
		if more, err := r.segments(nil); err == nil {
			got = append(got, more...)
		}
		if len(got) > 2*MaxSegments {
			t.Fatalf("%d segments", len(got))
		}
		list := make([]tcp.Segment, len(got))
		for i := range got {
			list[i] = got[i].Segment
		}
		if again, _ := sent(t, list, MaxSegments); firstDifference(again, list) >= 0 {
			t.Fatal("what was read does not come back")
		}
	})
}
