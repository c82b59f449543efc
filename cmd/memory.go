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
		return 0, fmt.Errorf("--max-connections %d: must not be negative", f.maxConns)
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
		return 0, run.WithHint(fmt.Errorf("--max-memory %q: %w", f.maxMemory, err), "--max-memory 512MiB, or 2GB")
	}
	most, err := watch.BoundMemory(size)
	if err != nil {
		return 0, fmt.Errorf("--max-memory %s: %w", f.maxMemory, err)
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
		return 0, errors.New("not a valid size")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, errors.New("not a valid size")
	}
	base := 1000.0
	if m[3] != "" {
		base = 1024
	}
	if m[2] != "" {
		n *= math.Pow(base, float64(strings.Index("kmgt", m[2])+1))
	}
	if n >= math.MaxInt64 {
		return 0, errors.New("out of range")
	}
	return int64(n), nil
}

// maxConnsUsage is what the help says of --max-connections.
func maxConnsUsage() string {
	return fmt.Sprintf("connections to track at most; 0 is %d. Beyond that, closed ones are evicted first (longest closed first), "+
		"then unanswered SYNs, then the longest idle; evicted connections are reported as far as seen, and counted", tracker.DefaultMaxConns)
}

// maxMemoryUsage is what the help says of --max-memory.
func maxMemoryUsage() string {
	return fmt.Sprintf("limit the tracker's memory to about this `size` (512MiB, 2GB): after the first %[2]d MiB, one connection for each %[1]d bytes. "+
		"It does not limit what table and json formats keep to print at the end", watch.ConnMemory, watch.OwnMemory>>20)
}
