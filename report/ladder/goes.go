package ladder

import (
	"container/heap"
	"math/bits"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Goes divides the connections that are to be drawn into as many goes as it takes,
// each of which is drawn by a Printer of its own while the capture is read once more:
// however many they are, AtOnce of them are in memory at most. They are drawn in the
// order of their numbers.
type Goes struct {
	AtOnce int

	wanted []uint64 // a bit for each connection
	after  int      // the last of the go before
	next   newest   // the connections after it, as many as are drawn at once
}

// Want takes a connection that is to be drawn. The record is lent for the call.
func (g *Goes) Want(r *tracker.Record) {
	for len(g.wanted) <= r.Conn/bits.UintSize {
		g.wanted = append(g.wanted, 0)
	}
	g.wanted[r.Conn/bits.UintSize] |= 1 << (r.Conn % bits.UintSize)
	g.Again(r)
}

// Again takes a connection while a go is drawn; if it was wanted it may be part of the
// next.
func (g *Goes) Again(r *tracker.Record) {
	switch {
	case r.Conn <= g.after || r.Conn/bits.UintSize >= len(g.wanted) || g.wanted[r.Conn/bits.UintSize]>>(r.Conn%bits.UintSize)&1 == 0:
	case len(g.next) < g.AtOnce:
		heap.Push(&g.next, known(r))
	case r.Conn < g.next[0].Conn:
		g.next[0] = known(r)
		heap.Fix(&g.next, 0)
	}
}

// known returns what a ladder needs to know of a connection.
func known(r *tracker.Record) *tracker.Record {
	k := *r
	k.Ends[tcp.Client].History, k.Ends[tcp.Server].History, k.Anomalies = nil, nil, nil
	return &k
}

// Next returns the connections of the next go; none: all were drawn.
func (g *Goes) Next() []*tracker.Record {
	list := []*tracker.Record(g.next)
	slices.SortFunc(list, func(a, b *tracker.Record) int { return a.Conn - b.Conn })
	if g.next = nil; len(list) > 0 {
		g.after = list[len(list)-1].Conn
	}
	return list
}

// A newest is a heap of connections, the newest first.
type newest []*tracker.Record

func (n newest) Len() int           { return len(n) }
func (n newest) Less(i, k int) bool { return n[i].Conn > n[k].Conn }
func (n newest) Swap(i, k int)      { n[i], n[k] = n[k], n[i] }
func (n *newest) Push(r any)        { *n = append(*n, r.(*tracker.Record)) }
func (n *newest) Pop() any          { return nil } // nobody does
