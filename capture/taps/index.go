package taps

// The two ways in which packets are found.
const (
	exact = 0 // by numbers, flags and length
	loose = 1 // by what a firewall that changes sequence numbers leaves
)

// numRecent is how many keys of packets are remembered, to tell copies.
const numRecent = 1 << 15

// An index finds packets that wait by what their records have in common: a table with
// open addressing, of the keys, and all packets with a key in a list.
type index struct {
	by     int
	slots  []slot
	n      int      // that are taken
	recent []uint32 // parts of the keys of packets that waited
}

// A slot has the oldest packet with a key; none: it is free. Its older is the newest.
type slot struct {
	key   uint64
	first *packet
}

func newIndex(by int) index {
	x := index{by: by, slots: make([]slot, 1<<10)}
	if by == exact {
		x.recent = make([]uint32, numRecent)
	}
	return x
}

// slot returns the place of the slot of a key, or that of the free one that it gets.
func (x *index) slot(key uint64) uint64 {
	last := uint64(len(x.slots) - 1)
	for i := key & last; ; i = (i + 1) & last {
		if s := &x.slots[i]; s.first == nil || s.key == key {
			return i
		}
	}
}

// at returns the oldest packet with the key; nil: there is none. The next is in its
// newer.
func (x *index) at(key uint64) *packet { return x.slots[x.slot(key)].first }

// add adds a packet.
func (x *index) add(p *packet) {
	if 2*x.n >= len(x.slots) {
		x.grow()
	}
	s := &x.slots[x.slot(p.keys[x.by])]
	p.indexed[x.by] = true
	if s.first == nil {
		x.n++
		s.key, s.first = p.keys[x.by], p
		p.older[x.by] = p
		return
	}
	newest := s.first.older[x.by]
	p.older[x.by], newest.newer[x.by], s.first.older[x.by] = newest, p, p
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, 4*len(old))
	for _, s := range old {
		if s.first != nil {
			x.slots[x.slot(s.key)] = s
		}
	}
}

// remove removes a packet, and remembers its key.
func (x *index) remove(p *packet) {
	key, by := p.keys[x.by], x.by
	if x.recent != nil {
		x.recent[key>>32%numRecent] = uint32(key)
	}
	i := x.slot(key)
	s := &x.slots[i]
	older, newer := p.older[by], p.newer[by]
	p.older[by], p.newer[by], p.indexed[by] = nil, nil, false
	switch {
	case s.first != p:
		if older.newer[by] = newer; newer == nil {
			s.first.older[by] = older
		} else {
			newer.older[by] = older
		}
	case newer == nil:
		x.free(i)
	default:
		s.first = newer
		newer.older[by] = older // the newest
	}
}

// free frees a slot, and moves up those that it was in the way of.
func (x *index) free(free uint64) {
	last := uint64(len(x.slots) - 1)
	for i := (free + 1) & last; x.slots[i].first != nil; i = (i + 1) & last {
		if (i-x.slots[i].key)&last >= (i-free)&last {
			x.slots[free] = x.slots[i]
			free = i
		}
	}
	x.slots[free] = slot{}
	x.n--
}

// was reports whether there was a packet with the key not long ago.
func (x *index) was(key uint64) bool { return x.recent[key>>32%numRecent] == uint32(key) }
