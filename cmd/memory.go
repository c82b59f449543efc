package cmd

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// boundMemory reads the flags that bound the memory, has the garbage collector
// keep to them, and returns how many connections the tracker may keep; 0 leaves
// that to it.
func (f *readFlags) boundMemory() (conns int, err error) {
	if f.maxConns < 0 {
		return 0, fmt.Errorf("--max-connections %d: there cannot be less than none", f.maxConns)
	}
	conns, f.boundBy = f.maxConns, "--max-connections"
	if conns > 0 || f.maxMemory != "" {
		watch.SaveMemory()
	}
	if f.maxMemory == "" {
		return conns, nil
	}
	size, err := parseSize(f.maxMemory)
	if err != nil {
		return 0, run.WithHint(fmt.Errorf("--max-memory %q %w", f.maxMemory, err), "--max-memory 512MiB, or 2GB")
	}
	most, err := watch.BoundMemory(size)
	if err != nil {
		return 0, fmt.Errorf("--max-memory %s %w", f.maxMemory, err)
	}
	if conns == 0 || most < conns {
		conns, f.boundBy = most, "--max-memory"
	}
	return conns, nil
}

// sizeText is a number and a unit of memory.
var sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?(?:([kmgt])(i?)b?|b?)$`)

// parseSize reads a size in octets: 512MiB, 2GB, 1.5G, 1000000. K, M, G and T
// are decimal, with an i binary.
func parseSize(text string) (int64, error) {
	m := sizeText.FindStringSubmatch(strings.ToLower(text))
	if m == nil {
		return 0, errors.New("is no size")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, errors.New("is no size")
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if m[2] != "" {
		n *= math.Pow(base, float64(strings.Index("kmgt", m[2])+1))
	}
	if n >= math.MaxInt64 {
		return 0, errors.New("is more than there can be")
	}
	return int64(n), nil
}

// maxConnsUsage is what the help says of --max-connections.
func maxConnsUsage() string {
	return fmt.Sprintf("keep at most so many connections at once; 0 is %d. Beyond it are given up closed connections, the longest closed first, "+
		"then SYNs without an answer, then those idle for the longest time; what was seen of them is printed, and how many they were", tracker.DefaultMaxConns)
}

// maxMemoryUsage is what the help says of --max-memory.
func maxMemoryUsage() string {
	return fmt.Sprintf("bound the memory of the tracker to about this `size` (512MiB, 2GB): a connection is kept for every %d octets, but for %d MiB. "+
		"It does not bound what a table, or json, keeps to print at the end", watch.ConnMemory, watch.OwnMemory>>20)
}
