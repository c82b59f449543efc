package crossflow

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/pages"
)

// A table has a row for each of what a Detector counts. Where it is full, a row is
// taken that was not used since they were last gone through in turn, as a clock's
// hand goes: the flood that fills a table then walks through memory in order. A
// list of the rows by their last use, and a Go map, took a flood up to a fifth longer.
type table[V any] struct {
	flow.Table[uint32] // of the rows, by key
	seed               flow.Seed
	chunks             [][]row[V] // so that a row stays where it is
	spare              []uint32   // rows that are free
	rows               uint32     // rows there are
	most               uint32     // and may be, but for those awaited
	hand               uint32
	awaited            func(*V) bool // a verdict is to be given of it
	forget             func(*V)      // makes it as new
	dropped            uint64        // rows that were forgotten for others
}

type row[V any] struct {
	key   flow.Key
	taken bool
	used  bool // since the hand was last here
	value V
}

// chunkRows is how many rows are made at once, a power of two.
const chunkRows = 1 << 8

func newTable[V any](most uint32, awaited func(*V) bool, forget func(*V)) table[V] {
	return table[V]{Table: flow.NewTable[uint32](), seed: flow.NewSeed(), most: most, awaited: awaited, forget: forget}
}

func (t *table[V]) row(n uint32) *row[V] { return &t.chunks[n/chunkRows][n%chunkRows] }

// place returns where the key is, or the free place where it would be, and its
// hash.
func (t *table[V]) place(key *flow.Key) (i, h uint32) {
	h = t.seed.Hash(key)
	i = t.First(h)
	for tag := t.Tags[i]; tag != 0 && (tag != h || !t.row(t.Items[i]).key.Is(key)); tag = t.Tags[i] {
		i = t.Next(i)
	}
	return i, h
}

// find returns the value of the key, or nil.
func (t *table[V]) find(key flow.Key) *V {
	if t.N == 0 {
		return nil // as nearly always of backscatter
	}
	if i, _ := t.place(&key); t.Tags[i] != 0 {
		return &t.row(t.Items[i]).value
	}
	return nil
}

// at returns the value of the key, and makes one if there is none.
func (t *table[V]) at(key flow.Key) *V { return &t.row(t.rowAt(key)).value }

// rowAt is at, and returns the number of the row.
func (t *table[V]) rowAt(key flow.Key) uint32 {
	i, h := t.place(&key)
	if t.Tags[i] != 0 {
		n := t.Items[i]
		t.row(n).used = true
		return n
	}
	if len(t.spare) == 0 && t.rows >= t.most && t.dropUnused() {
		i, h = t.place(&key) // others moved up
	}
	n := t.rows
	if last := len(t.spare) - 1; last >= 0 {
		n, t.spare = t.spare[last], t.spare[:last]
	} else {
		if n%chunkRows == 0 {
			t.chunks = append(t.chunks, pages.Make[row[V]](chunkRows))
		}
		t.rows++
	}
	r := t.row(n)
	r.key, r.taken, r.used = key, true, true
	t.Add(i, h, n)
	return n
}

// still returns the value of the row, if it is that of the key, or nil.
func (t *table[V]) still(n uint32, key *flow.Key) *V {
	if n < t.rows {
		if r := t.row(n); r.taken && r.key.Is(key) {
			return &r.value
		}
	}
	return nil
}

// drop forgets the key, which must be there.
func (t *table[V]) drop(key flow.Key) {
	i, _ := t.place(&key)
	n := t.Items[i]
	t.Remove(i)
	r := t.row(n)
	t.forget(&r.value)
	r.taken = false
	t.spare = append(t.spare, n)
}

// dropUnused forgets a row that is not awaited, and reports whether there is
// one.
func (t *table[V]) dropUnused() bool {
	for range 2 * t.rows {
		r := t.row(t.hand)
		t.hand = (t.hand + 1) % t.rows
		switch {
		case !r.taken || t.awaited(&r.value):
		case r.used:
			r.used = false
		default:
			t.drop(r.key)
			t.dropped++
			return true
		}
	}
	return false
}
