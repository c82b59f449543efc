package watch

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What slow and fast workers return comes in the order of the items.
func TestOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		items := make([]int, 100)
		for i := range items {
			items[i] = i
		}
		var made atomic.Int32
		next := 0
		for got := range Ordered(t.Context(), items, 4, func() func(context.Context, int) int {
			made.Add(1)
			return func(_ context.Context, item int) int {
				time.Sleep(time.Duration(item*7%10) * time.Millisecond)
				return item
			}
		}) {
			if got != next {
				t.Fatalf("got %d, want %d", got, next)
			}
			next++
		}
		if next != len(items) || made.Load() != 4 {
			t.Errorf("%d results of %d workers, want %d of 4", next, made.Load(), len(items))
		}
	})
}

// Workers wait for who takes what they return, and end when that is cancelled.
func TestOrderedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 2
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int32
		results := Ordered(ctx, make([]int, 1000), workers, func() func(context.Context, int) int {
			return func(context.Context, int) int { return int(done.Add(1)) }
		})
		synctest.Wait()
		if n := int(done.Load()); n < ahead*workers || n > ahead*workers+workers+2 {
			t.Errorf("%d items are done though nothing was taken, want about %d", n, ahead*workers)
		}
		cancel()
		for range results {
		}
	}) // fails where a goroutine stays behind
}
