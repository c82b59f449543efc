package watch

import (
	"runtime/debug"
	"testing"
)

// The shares are no more than the whole, and leave an eighth for the rest.
func TestMemoryIsShared(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, octets := range []int64{MinMemory, 64 << 20, 512 << 20, 1 << 40} {
		m, err := ShareMemory(octets)
		if err != nil {
			t.Fatal(err)
		}
		if sum := m.Conns + m.Rows + m.Conns/namesShare; sum > (octets-OwnMemory)*7/8 || m.Conns < sum/2 {
			t.Errorf("of %d octets %+v are shared out", octets, m)
		}
		if limit := debug.SetMemoryLimit(-1); limit >= octets || limit < octets-OwnMemory {
			t.Errorf("of %d octets the garbage collector keeps to %d", octets, limit)
		}
	}
	if m, err := ShareMemory(MinMemory - 1); err == nil {
		t.Errorf("too little memory is shared out: %+v", m)
	}
}

// Where nobody says, a run takes no more than the machine has.
func TestUsualMemory(t *testing.T) {
	if n := UsualMemory(); n != 0 && (n < MinMemory || n > 1<<44) {
		t.Errorf("a run takes %d octets", n)
	}
}
