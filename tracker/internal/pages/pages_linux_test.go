package pages

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// What is large lies where the system gives large pages, if it has any, and is zero.
func TestLargePagesAreAskedFor(t *testing.T) {
	list := Make[uint64](2 * Large)
	for _, n := range list {
		if n != 0 {
			t.Fatal("not zero")
		}
	}
	for what, at := range map[string]uintptr{
		"a large slice": uintptr(unsafe.Pointer(&list[0])),
		"the variables": uintptr(unsafe.Pointer(&own)),
	} {
		if flags := flagsOf(t, at); !strings.Contains(flags+" ", " hg ") {
			t.Errorf("the pages of %s are as all: %s", what, flags)
		}
	}
}

// flagsOf returns what the system tells of the memory at an address.
func flagsOf(t *testing.T, at uintptr) string {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	within := false
	for in := bufio.NewScanner(f); in.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(in.Text(), "%x-%x", &from, &to); n == 2 {
			within = from <= at && at < to
		}
		if flags, ok := strings.CutPrefix(in.Text(), "VmFlags:"); ok && within {
			return flags
		}
	}
	t.Skip("the system does not tell")
	return ""
}
