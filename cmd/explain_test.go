package cmd

import (
	"bytes"
	"fmt"
	"os"
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
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("explain prints\n%s\n%s has\n%s", got, golden, want)
			}
		}
	}
	golden, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
	for _, path := range golden {
		if !produced[path] {
			t.Errorf("%s is the ladder of no capture", path)
		}
	}
}
