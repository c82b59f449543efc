package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every capture in pcaps has the table that replay prints of it beside it, and
// a line in the README there. UPDATE=1 rewrites the tables.
func TestPcaps(t *testing.T) {
	captures, err := filepath.Glob("../pcaps/*.pcap")
	if err != nil || len(captures) < 15 {
		t.Fatalf("%d captures found, want at least 15: %v", len(captures), err)
	}
	readme, err := os.ReadFile("../pcaps/README.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]bool{}
	for _, path := range captures {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			golden := strings.TrimSuffix(path, ".pcap") + ".txt"
			tables[golden] = true
			got, stderr := replayed(t, "replay", path)
			if stderr != "" {
				t.Errorf("standard error has %q, want nothing", stderr)
			}
			equalsGolden(t, golden, got)
			if !bytes.Contains(readme, []byte("`"+name+"`")) {
				t.Errorf("pcaps/README.md has no line for %s", name)
			}
		})
	}
	golden, _ := filepath.Glob("../pcaps/*.txt")
	for _, path := range golden {
		if !tables[path] {
			t.Errorf("%s is the table of no capture", path)
		}
	}
}

// equalsGolden compares what was printed with a file, which UPDATE=1 rewrites.
func equalsGolden(t *testing.T, golden string, got []byte) {
	t.Helper()
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
		t.Errorf("printed was\n%s\n%s has\n%s", got, golden, want)
	}
}
