// Package golden compares what a package prints with files, in tests.
package golden

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An Output is compared with testdata/<Name>.golden. Escape characters are
// written ^[ in the file.
type Output struct {
	Name string
	Text func(testing.TB) []byte
}

// Test compares all outputs of a package with their files, which UPDATE=1
// rewrites. A file that none of them produces is an error.
func Test(t *testing.T, outputs []Output) {
	produced := make(map[string]bool)
	for _, o := range outputs {
		file := filepath.Join("testdata", o.Name+".golden")
		if produced[file] {
			t.Fatalf("two goldens are named %s", o.Name)
		}
		produced[file] = true
		t.Run(o.Name, func(t *testing.T) {
			got := strings.ReplaceAll(string(o.Text(t)), "\x1b", "^[")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		if !produced[file] {
			t.Errorf("nothing produces %s", file)
		}
	}
}

// Of returns what write writes.
func Of(write func(io.Writer) error) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		t.Helper()
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
}
