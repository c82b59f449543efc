package oracle

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Somebody who forges a segment that its receiver refuses changes nothing: the
// kernels' states are those of the conversation without it. So every story can
// be told again with one in it.

// Alone returns each conversation of the case as a case of its own, with what
// the tap captured of it and nothing else.
func (c *Case) Alone(tap string) (list []*Case) {
	for _, conn := range c.conversations() {
		one := &Case{Story: conn, TapOn: c.TapOn, segments: map[string][]tcp.Segment{}}
		one.Taps = []string{tap}
		one.segments[tap] = crossing(c.segments[tap], conn.Addr("client"), conn.Addr("server"))
		list = append(list, one)
	}
	return list
}

// Segments returns what the tap captured.
func (c *Case) Segments(tap string) []tcp.Segment { return c.segments[tap] }

// Forged returns the case with s captured at its only tap behind the first n
// segments. It is looked at at the given moments, too.
func (c *Case) Forged(n int, s tcp.Segment, moments []tcp.Time) *Case {
	tap := c.Taps[0]
	list := slices.Insert(slices.Clone(c.segments[tap]), n, s)
	for i := range list {
		list[i].Packet = i + 1
	}
	forged := &Case{Story: c.Story, TapOn: c.TapOn, segments: map[string][]tcp.Segment{tap: list}, forged: n + 1}
	forged.Checkpoints = slices.DeleteFunc(slices.Clone(c.Checkpoints), func(cp Checkpoint) bool { return moment(cp.T) < s.Time })
	for _, at := range moments {
		forged.Checkpoints = append(forged.Checkpoints, Checkpoint{T: float64(at) / 1e9})
	}
	return forged
}

// genuine returns the segments without the forged one.
func (c *Case) genuine(segments []tcp.Segment) []tcp.Segment {
	return slices.DeleteFunc(slices.Clone(segments), func(s tcp.Segment) bool { return c.forged != 0 && s.Packet == c.forged })
}
