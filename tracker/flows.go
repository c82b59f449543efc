package tracker

// flows finds the newest connection of every flow.
type flows struct {
	places[*Conn]
	seed seed
}

func newFlows() flows { return flows{newPlaces[*Conn](), newSeed()} }

// hash returns the flow's hash.
func (f *flows) hash(k *flowKey) uint32 { return f.seed.hash(k) }

// find returns the newest connection of the flow, whose hash is h, or nil.
func (f *flows) find(h uint32, k *flowKey) *Conn {
	return f.items[f.place(h, k)]
}

// place returns where the flow is, or the free place where it would be.
func (f *flows) place(h uint32, k *flowKey) uint32 {
	i := f.first(h)
	for tag := f.tags[i]; tag != 0 && (tag != h || !f.items[i].key.is(k)); tag = f.tags[i] {
		i = f.next(i)
	}
	return i
}

// set makes c the newest connection of its flow.
func (f *flows) set(h uint32, c *Conn) {
	if i := f.place(h, &c.key); f.tags[i] != 0 {
		f.items[i] = c
	} else {
		f.add(i, h, c)
	}
}

// drop forgets the flow.
func (f *flows) drop(h uint32, k *flowKey) { f.remove(f.place(h, k)) }
