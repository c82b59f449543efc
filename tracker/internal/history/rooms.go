package history

import (
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/internal/pool"
)

// Beyond is how many octets a room for so many steps takes beyond an ordinary one.
func Beyond(room int) int64 {
	const ordinary = 10
	return int64(max(room-ordinary, 0)) * int64(unsafe.Sizeof(Step{}))
}

// Rooms are where histories lie: there are such as a lone SYN needs, and as a connection
// does that is closed. Those between, and the few that are longer, lie elsewhere, so that
// many that close at once leave nothing behind.
type Rooms struct {
	lone   pool.Pool[[2]Step]
	closed pool.Pool[[10]Step]
}

// Grow moves the steps, which fill their room, to a larger one. The old one is given
// to others.
func (r *Rooms) Grow(steps []Step) (grown []Step) {
	n := len(steps)
	switch {
	case n < 2:
		x, _ := r.lone.Take()
		grown = x[:n]
	case n < 4:
		grown = make([]Step, n, 4) // of an open connection
	case n < 10:
		x, _ := r.closed.Take()
		grown = x[:n]
	default:
		grown = make([]Step, n, n+6)
	}
	copy(grown, steps)
	switch n {
	case 2:
		r.lone.GiveBack((*[2]Step)(steps))
	case 10:
		r.closed.GiveBack((*[10]Step)(steps))
	}
	return grown
}
