// Package pool is where what is known of the connections lies.
package pool

import (
	"iter"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/internal/pages"
)

// A 32nd of what there is is made at once, from least octets to most. One by one each
// connection would take 16 octets more.
const least, most = 32 << 10, 16 << 20

// A Pool holds many of a kind. What is given back is used again, so that a flood
// leaves no garbage.
type Pool[T any] struct {
	chunks [][]T
	spare  []*T
	n      int // made
}

// Take returns one, and whether it was used before, and is as it was then.
func (p *Pool[T]) Take() (x *T, used bool) {
	if last := len(p.spare) - 1; last >= 0 {
		x, p.spare = p.spare[last], p.spare[:last]
		return x, true
	}
	last := len(p.chunks) - 1
	if last < 0 || len(p.chunks[last]) == cap(p.chunks[last]) {
		p.grow()
		last++
	}
	n := len(p.chunks[last])
	p.chunks[last] = p.chunks[last][:n+1]
	return &p.chunks[last][n], false
}

// grow makes room for more.
func (p *Pool[T]) grow() {
	size := least / int(unsafe.Sizeof(*new(T)))
	n := min(max(p.n/32, size), most/least*size)
	p.chunks = append(p.chunks, pages.Make[T](n)[:0])
	p.n += n
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

// Size is how many octets x takes, which may be nil.
func Size[T any](x *T) uintptr {
	if x == nil {
		return 0
	}
	return unsafe.Sizeof(*x)
}
