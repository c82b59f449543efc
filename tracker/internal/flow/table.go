package flow

import "github.com/tcpwatch/tcpwatch/tracker/internal/pages"

// A Table is one with open addressing, the next place being tried where one
// is taken; who looks for an item compares it. The tags lie apart from the items,
// so that what is passed over costs no cache line, and hold all of a hash that is
// ever needed, so that growing looks at no item. A Go map took twice as long.
type Table[T any] struct {
	Tags  []uint32 // hashes; 0: free, and the item is the zero one
	Items []T
	N     int // items
}

// NewTable returns an empty table.
func NewTable[T any]() Table[T] {
	const few = 1 << 6
	return Table[T]{Tags: make([]uint32, few), Items: make([]T, few)}
}

// First returns the place where an item with the hash is looked for first, and
// Next the one after place i.
func (p *Table[T]) First(h uint32) uint32 { return h & uint32(len(p.Tags)-1) }
func (p *Table[T]) Next(i uint32) uint32  { return (i + 1) & uint32(len(p.Tags)-1) }

// Add puts an item, with its hash, into the free place i, or elsewhere if the
// table has to grow.
func (p *Table[T]) Add(i, h uint32, item T) {
	if p.N++; p.N*4 > len(p.Tags)*3 {
		tags, items := p.Tags, p.Items
		p.Tags, p.Items = pages.Make[uint32](2*len(tags)), pages.Make[T](2*len(tags))
		for j, tag := range tags {
			if tag != 0 {
				k := p.Free(tag)
				p.Tags[k], p.Items[k] = tag, items[j]
			}
		}
		i = p.Free(h)
	}
	p.Tags[i], p.Items[i] = h, item
}

// Free returns the first free place for the hash.
func (p *Table[T]) Free(h uint32) uint32 {
	i := p.First(h)
	for p.Tags[i] != 0 {
		i = p.Next(i)
	}
	return i
}

// Remove frees a place, and moves up those that it was in the way of.
func (p *Table[T]) Remove(free uint32) {
	last := uint32(len(p.Tags) - 1)
	for i := p.Next(free); p.Tags[i] != 0; i = p.Next(i) {
		if (i-p.Tags[i])&last >= (i-free)&last {
			p.Tags[free], p.Items[free] = p.Tags[i], p.Items[i]
			free = i
		}
	}
	var none T
	p.Tags[free], p.Items[free] = 0, none
	p.N--
}
