package catalogue

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
)

// Nearest returns the names of the three kinds that are most like the given one.
func Nearest(name string) []string {
	var names []string
	for _, k := range kinds.All() {
		names = append(names, k.Name)
	}
	return nearest(name, names)
}

// nearest returns the three names that are most like the given one: those that
// contain it, or share words with it, before those that need few changes.
func nearest(name string, names []string) []string {
	fold := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	likeness := func(other string) int {
		n := text.Distance(fold, other)
		for _, word := range strings.Split(fold, "-") {
			if len(word) > 2 && strings.Contains(other, word) {
				n -= len(word)
			}
		}
		return n
	}
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(likeness(a), likeness(b)) })
	return sorted[:min(3, len(sorted))]
}
