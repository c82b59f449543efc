package tracker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Every reason not to take a segment in has a ladder in which one is refused, or
// held, for it, testdata/gate/REASON.txt or REASON-*.txt, and one in which its
// nearest neighbour is not, REASON-not-*.txt.
func TestEveryRefusalHasItsLadders(t *testing.T) {
	for why := tcp.BadChecksum; why < tcp.NumSkips; why++ {
		name := why.Name()
		if name == "" {
			t.Fatalf("ladders have no name for %q", why)
		}
		files, err := filepath.Glob("testdata/gate/" + name + "*.txt")
		if err != nil {
			t.Fatal(err)
		}
		line := regexp.MustCompile(`(?m)^\s*~ ` + name + `$`)
		refused, taken := false, false
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			is := line.Match(text)
			if strings.HasPrefix(filepath.Base(file), name+"-not-") {
				taken = true
				if is {
					t.Errorf("%s: a segment is not taken in as %s, and should be", file, name)
				}
				continue
			}
			refused = refused || is
		}
		if !refused {
			t.Errorf("no ladder in testdata/gate has a segment that is not taken in as %s", name)
		}
		if !taken {
			t.Errorf("no ladder testdata/gate/%s-not-*.txt shows its nearest neighbour", name)
		}
	}
}
