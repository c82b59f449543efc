// Package pool is where what is known of the connections lies.
package pool

import (
	"iter"
	"unsafe"
)

// chunk is the size of what is made at once: one by one each connection would take
// 288 octets.
const chunk = 32 << 10

// A Pool holds many of a kind. What is given back is used again, so that a flood
// leaves no garbage.
type Pool[T any] struct {
	chunks [][]T
	spare  []*T
}

// Take returns one, and whether it was used before, and is as it was then.
func (p *Pool[T]) Take() (x *T, used bool) {
	if last := len(p.spare) - 1; last >= 0 {
		x, p.spare = p.spare[last], p.spare[:last]
		return x, true
	}
	last := len(p.chunks) - 1
	if last < 0 || len(p.chunks[last]) == cap(p.chunks[last]) {
		p.chunks = append(p.chunks, make([]T, 0, chunk/unsafe.Sizeof(*x)))
		last++
	}
	n := len(p.chunks[last])
	p.chunks[last] = p.chunks[last][:n+1]
	return &p.chunks[last][n], false
}

// GiveBack takes one that is not needed any more.
func (p *Pool[T]) GiveBack(x *T) { p.spare = append(p.spare, x) }

// All yields every one, those that were given back too, as long as none was in the
// order in which they were taken.
func (p *Pool[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, c := range p.chunks {
			for i := range c {
				if !yield(&c[i]) {
					return
				}
			}
		}
	}
}
