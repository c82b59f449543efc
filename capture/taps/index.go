package taps

// The two ways in which an index finds packets.
const (
	exact = 0 // by numbers, flags and length
	loose = 1 // by what a firewall that changes sequence numbers leaves
)

// numRecent is how many keys of packets are remembered, to tell copies.
const numRecent = 1 << 15

// An index finds packets that wait by what their records have in common.
type index struct {
	by     int
	places []*packet
	n      int
	recent []uint64 // keys of packets that waited
}

func newIndex(by int) index {
	x := index{by: by, places: make([]*packet, 1<<10)}
	if by == exact {
		x.recent = make([]uint64, numRecent)
	}
	return x
}

// at returns the first packet with the key, or with another that is in its place.
func (x *index) at(key uint64) *packet { return x.places[key&uint64(len(x.places)-1)] }

// add adds a packet.
func (x *index) add(p *packet) {
	if x.n++; x.n > len(x.places) {
		x.grow()
	}
	place := &x.places[p.keys[x.by]&uint64(len(x.places)-1)]
	p.chains[x.by], p.indexed[x.by] = *place, true
	*place = p
}

func (x *index) grow() {
	old := x.places
	x.places = make([]*packet, 4*len(old))
	for _, p := range old {
		for p != nil {
			next := p.chains[x.by]
			place := &x.places[p.keys[x.by]&uint64(len(x.places)-1)]
			p.chains[x.by] = *place
			*place = p
			p = next
		}
	}
}

// remove removes a packet, and remembers its key.
func (x *index) remove(p *packet) {
	key := p.keys[x.by]
	if x.recent != nil {
		x.recent[key>>32%numRecent] = key
	}
	for at := &x.places[key&uint64(len(x.places)-1)]; *at != nil; at = &(*at).chains[x.by] {
		if *at == p {
			*at = p.chains[x.by]
			break
		}
	}
	p.chains[x.by], p.indexed[x.by] = nil, false
	x.n--
}

// was reports whether there was a packet with the key not long ago.
func (x *index) was(key uint64) bool { return x.recent[key>>32%numRecent] == key }
