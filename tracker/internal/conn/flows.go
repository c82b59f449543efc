package conn

import "github.com/tcpwatch/tcpwatch/tracker/internal/flow"

// flows finds the newest connection of every flow.
type flows struct {
	flow.Table[*Conn]
	seed flow.Seed
}

func newFlows() flows { return flows{flow.NewTable[*Conn](), flow.NewSeed()} }

// hash returns the flow's hash.
func (f *flows) hash(k *flow.Key) uint32 { return f.seed.Hash(k) }

// find returns the newest connection of the flow, whose hash is h, or nil.
func (f *flows) find(h uint32, k *flow.Key) *Conn {
	return f.Items[f.place(h, k)]
}

// place returns where the flow is, or the free place where it would be.
func (f *flows) place(h uint32, k *flow.Key) uint32 {
	i := f.First(h)
	for tag := f.Tags[i]; tag != 0 && (tag != h || !f.Items[i].Key.Is(k)); tag = f.Tags[i] {
		i = f.Next(i)
	}
	return i
}

// set makes c the newest connection of its flow.
func (f *flows) set(h uint32, c *Conn) {
	if i := f.place(h, &c.Key); f.Tags[i] != 0 {
		f.Items[i] = c
	} else {
		f.Add(i, h, c)
	}
}

// drop forgets the flow.
func (f *flows) drop(h uint32, k *flow.Key) { f.Remove(f.place(h, k)) }
