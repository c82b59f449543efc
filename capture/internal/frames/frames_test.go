package frames

import (
	"slices"
	"testing"
)

func TestFramesBeyondMemory(t *testing.T) {
	f := New(2)
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if f.Of(1) != nil {
			t.Error("frames are known after close")
		}
	}()
	n := framesInChunk*(maxChunks+3) + 5
	for i := range n {
		if got := f.Add([]uint32{uint32(i), uint32(3 * i)}); got != i+1 {
			t.Fatalf("packet %d, want %d", got, i+1)
		}
	}
	if f.file == nil {
		t.Fatal("all frames are in memory")
	}
	for _, i := range []int{0, 1, framesInChunk - 1, framesInChunk, 3*framesInChunk + 7, n / 2, n - 1} {
		if got, want := f.Of(i+1), []int{i, 3 * i}; !slices.Equal(got, want) {
			t.Errorf("packet %d: %v, want %v", i+1, got, want)
		}
	}
	for _, i := range []int{-1, 0, n + 1} {
		if got := f.Of(i); got != nil {
			t.Errorf("packet %d: %v", i, got)
		}
	}
}
