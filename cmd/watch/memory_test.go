package watch

import (
	"runtime/debug"
	"testing"
)

// As many connections may be kept as fit into the memory beside the rest.
func TestBoundMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	if n, err := BoundMemory(OwnMemory + 40_000*ConnMemory); n != 40_000 || err != nil {
		t.Errorf("%d connections and %v, want 40000", n, err)
	}
	if limit := debug.SetMemoryLimit(-1); limit != 40_000*ConnMemory {
		t.Errorf("the process keeps to %d octets, want %d", limit, 40_000*ConnMemory)
	}
	if n, err := BoundMemory(minMemory - 1); err == nil {
		t.Errorf("%d connections in too little memory", n)
	}
}
