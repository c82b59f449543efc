package scratch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// Lines come in the order of their keys, whether there is room for them in memory or not,
// and leave no file behind.
func TestLinesAreInOrder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, memory := range []int64{0, 1, 5_000, 1 << 30} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			l := Lines{Memory: memory}
			rnd := rand.New(rand.NewPCG(1, 2))
			want := rnd.Perm(1000)
			for _, n := range want {
				key := binary.BigEndian.AppendUint64(nil, uint64(n))
				text := fmt.Appendf(nil, "%d%*s", n, rnd.IntN(100), "")
				if err := l.Add(key, text); err != nil {
					t.Fatal(err)
				}
				clear(key)
				clear(text)
			}
			if spilled := len(l.runs) > 0; spilled != (memory > 0 && memory < 1<<30) {
				t.Errorf("%d runs", len(l.runs))
			}
			slices.Sort(want)
			i := 0
			err := l.Each(func(text []byte) error {
				var n int
				if fmt.Sscan(string(text), &n); n != want[i] {
					return fmt.Errorf("line %d is %q", i, text)
				}
				i++
				return nil
			})
			if err != nil || i != len(want) {
				t.Errorf("%v, after %d of %d lines", err, i, len(want))
			}
			stop := errors.New("stop")
			if err := l.Each(func([]byte) error { return stop }); err != stop {
				t.Errorf("%v, want %v", err, stop)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
				t.Errorf("%v, %v are left", left, err)
			}
		})
	}
}

// Without room for a file the error says so.
func TestNoRoom(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/none")
	l := Lines{Memory: 1}
	if err := l.Add([]byte("a"), []byte("b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that the folder does not exist", err)
	}
}
