package cmd

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// What explain --absolute --all prints of the sample captures is kept in
// tracker/testdata/explained, where the tracker's tests play it as ladders: it
// must come to the same states and anomalies. UPDATE=1 rewrites it.
func TestExplained(t *testing.T) {
	const dir = "../tracker/testdata/explained"
	captures, err := filepath.Glob("../pcaps/*.pcap")
	if err != nil || len(captures) < 15 {
		t.Fatalf("%d captures found, want at least 15: %v", len(captures), err)
	}
	produced := map[string]bool{}
	for _, path := range captures {
		out, stderr := replayed(t, "explain", "--absolute", "--all", path)
		if stderr != "" {
			t.Errorf("%s: standard error has %q, want nothing", path, stderr)
		}
		for i, got := range bytes.SplitAfter(out, []byte("\n\n")) {
			got = append(bytes.TrimRight(got, "\n"), '\n')
			name := strings.TrimSuffix(filepath.Base(path), ".pcap")
			if i > 0 {
				name += fmt.Sprintf("-%d", i+1)
			}
			golden := filepath.Join(dir, name+".txt")
			produced[golden] = true
			equalsGolden(t, golden, got)
		}
	}
	golden, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
	for _, path := range golden {
		if !produced[path] {
			t.Errorf("%s is the ladder of no capture", path)
		}
	}
}
