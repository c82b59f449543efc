package watch

import "context"

// ahead is how many items a worker of Ordered may be ahead of what is taken.
const ahead = 16

// Ordered has workers do something with every item, such as a file, each one item
// at a time, and hands out what they return in the order of the items. newWorker
// is called once by each worker. One that is far ahead of what is taken waits, so
// that the memory does not grow with the number of items. The channel is to be
// read to its end, or ctx cancelled.
func Ordered[Item, Result any](ctx context.Context, items []Item, workers int, newWorker func() func(context.Context, Item) Result) <-chan Result {
	type job struct {
		item   Item
		answer chan Result
	}
	jobs := make(chan job)
	pending := make(chan chan Result, ahead*workers)
	for range workers {
		go func() {
			work := newWorker()
			for j := range jobs {
				j.answer <- work(ctx, j.item)
			}
		}()
	}
	go func() {
		defer close(pending)
		defer close(jobs)
		for _, item := range items {
			answer := make(chan Result, 1)
			select {
			case pending <- answer:
			case <-ctx.Done():
				return
			}
			jobs <- job{item, answer}
		}
	}()
	results := make(chan Result)
	go func() {
		defer close(results)
		for answer := range pending {
			select {
			case results <- <-answer:
			case <-ctx.Done():
				return
			}
		}
	}()
	return results
}
