package oracle

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/capture/taps/skew"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// both is what a Case of both captures calls its one tap.
const both = "both"

// mostWithin bounds how wrong the times of a story may be that nothing bounds.
const mostWithin = 50 * time.Millisecond

// Injected reports whether the wire made a segment.
func (c *Case) Injected() bool {
	return slices.ContainsFunc(c.Wire, func(e WireEvent) bool { return e.Action == "inject" && e.Flags != "" })
}

// Both returns the story as it is told where its two captures are followed as one, that
// of the server with the change. It is nil where there are not two captures.
func (c *Case) Both(change *skew.Change) (*Case, error) {
	if len(c.Taps) != 2 {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "both-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	list := []taps.Tap{{Name: "client", Files: []string{filepath.Join(c.dir, c.Taps[0])}}, {Name: "server", Files: []string{filepath.Join(dir, c.Taps[1])}}}
	if err := change.Rewrite(filepath.Join(c.dir, c.Taps[1]), list[1].Files[0]); err != nil {
		return nil, err
	}
	src, err := taps.Open(list, taps.Options{AtEnds: true})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	b := &Case{Story: c.Story, TapOn: Both, segments: map[string][]tcp.Segment{}}
	for s, err := range src.Segments() {
		if err != nil {
			return nil, err
		}
		kept := *s
		kept.Twin = s.Twin.Kept()
		b.segments[both] = append(b.segments[both], kept)
	}
	for _, p := range src.Between().Pairs[0].Clock.Pieces {
		b.within = max(b.within, min(p.Within, mostWithin).Seconds())
	}
	b.Taps, b.ExpectAt = []string{both}, nil
	b.Checkpoints = joined(c.Checkpoints, c.Taps)
	b.Conversations = slices.Clone(c.Conversations)
	for i := range b.Conversations {
		b.Conversations[i].Checkpoints = joined(b.Conversations[i].Checkpoints, c.Taps)
	}
	return b, nil
}

// joined returns the checkpoints as they are for who has both captures: in doubt is what
// is in doubt at each of them, and may be said what may be said at each.
func joined(list []Checkpoint, taps []string) []Checkpoint {
	list = slices.Clone(list)
	for i := range list {
		cp := &list[i]
		doubt, accept := map[string][]string{}, map[string][]string{}
		for _, end := range ends {
			if slices.Contains(cp.InDoubt[taps[0]], end) && slices.Contains(cp.InDoubt[taps[1]], end) {
				doubt[both] = append(doubt[both], end)
			}
			for _, state := range cp.AcceptAt[taps[0]][end] {
				if slices.Contains(cp.AcceptAt[taps[1]][end], state) {
					accept[end] = append(accept[end], state)
				}
			}
		}
		cp.InDoubt, cp.AcceptAt = doubt, map[string]map[string][]string{both: accept}
	}
	return list
}
