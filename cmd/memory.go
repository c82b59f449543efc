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

// boundMemory reads the flags that bound the memory, and has the garbage collector
// keep to them. Where nobody says, a run takes a share of what there is.
func (f *readFlags) boundMemory() (m watch.Memory, err error) {
	if f.maxConns < 0 {
		return m, fmt.Errorf("--max-connections %d: must not be negative", f.maxConns)
	}
	if f.maxConns > 0 || f.maxMemory != "" {
		watch.SaveMemory()
	}
	size := watch.UsualMemory()
	if f.maxMemory != "" {
		if size, err = parseSize(f.maxMemory); err != nil {
			return m, run.WithHint(fmt.Errorf("--max-memory %q: %w", f.maxMemory, err), "--max-memory 512MiB, or 2GB")
		}
	}
	if size == 0 && f.maxMemory == "" {
		return m, nil
	}
	if m, err = watch.ShareMemory(size); err != nil {
		return m, fmt.Errorf("--max-memory %s: %w", f.maxMemory, err)
	}
	return m, nil
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
	return fmt.Sprintf("limit the memory of the process to about this `size` (512MiB, 2GB; at least %d MiB). Beyond it, connections are evicted, and tables and html "+
		"list no more. Without it, half of the memory of the machine or control group", watch.MinMemory>>20)
}
