package tracker

// places is a table with open addressing, the next place being tried where one
// is taken; who looks for an item compares it. The tags lie apart from the items,
// so that what is passed over costs no cache line, and hold all of a hash that is
// ever needed, so that growing looks at no item. A Go map took twice as long.
type places[T any] struct {
	tags  []uint32 // hashes; 0: free, and the item is the zero one
	items []T
	n     int
}

func newPlaces[T any]() places[T] {
	const few = 1 << 6
	return places[T]{tags: make([]uint32, few), items: make([]T, few)}
}

// first returns the place where an item with the hash is looked for first, and
// next the one after place i.
func (p *places[T]) first(h uint32) uint32 { return h & uint32(len(p.tags)-1) }
func (p *places[T]) next(i uint32) uint32  { return (i + 1) & uint32(len(p.tags)-1) }

// add puts an item, with its hash, into the free place i, or elsewhere if the
// table has to grow.
func (p *places[T]) add(i, h uint32, item T) {
	if p.n++; p.n*4 > len(p.tags)*3 {
		tags, items := p.tags, p.items
		p.tags, p.items = make([]uint32, 2*len(tags)), make([]T, 2*len(tags))
		for j, tag := range tags {
			if tag != 0 {
				k := p.free(tag)
				p.tags[k], p.items[k] = tag, items[j]
			}
		}
		i = p.free(h)
	}
	p.tags[i], p.items[i] = h, item
}

// free returns the first free place for the hash.
func (p *places[T]) free(h uint32) uint32 {
	i := p.first(h)
	for p.tags[i] != 0 {
		i = p.next(i)
	}
	return i
}

// remove frees a place, and moves up those that it was in the way of.
func (p *places[T]) remove(free uint32) {
	last := uint32(len(p.tags) - 1)
	for i := p.next(free); p.tags[i] != 0; i = p.next(i) {
		if (i-p.tags[i])&last >= (i-free)&last {
			p.tags[free], p.items[free] = p.tags[i], p.items[i]
			free = i
		}
	}
	var none T
	p.tags[free], p.items[free] = 0, none
	p.n--
}
