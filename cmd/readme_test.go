package cmd

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/serve"
)

// The parts of the README between "<!-- name -->" and "<!-- /name -->" are what
// the program prints, or what a file has. UPDATE=1 writes them anew.
func TestReadmeBlocks(t *testing.T) {
	const path = "../README.md"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sample, _ := replayed(t, "replay", "../pcaps/rst-instead-of-ack.pcap")
	ladder, _ := replayed(t, "explain", "../pcaps/time-wait-assassination.pcap")
	story, err := os.ReadFile("lab/testdata/stories/final-ack-lost-once.txt")
	if err != nil {
		t.Fatal(err)
	}
	fenced := func(language string, text []byte) []byte {
		return fmt.Appendf(nil, "```%s\n%s```\n", language, text)
	}
	changed := readme
	for _, block := range []struct {
		name string
		text []byte
	}{
		{"sample", fenced("", sample)},
		{"explain", fenced("", ladder)},
		{"story", fenced("", story)},
		{"states", report.StatesMarkdown()},
		{"diagram", fenced("mermaid", report.StatesMermaid())},
		{"anomalies", report.KindsMarkdown()},
		{"metrics", serve.MetricsMarkdown()},
	} {
		begin, end := []byte("<!-- "+block.name+" -->\n"), []byte("<!-- /"+block.name+" -->\n")
		_, rest, ok1 := bytes.Cut(changed, begin)
		got, _, ok2 := bytes.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Errorf("README.md has no block %q", block.name)
			continue
		}
		if !bytes.Equal(got, block.text) {
			if os.Getenv("UPDATE") == "" {
				t.Errorf("the block %q of README.md differs from what the program prints:\n%s", block.name, block.text)
			}
			changed = bytes.Replace(changed, bytes.Join([][]byte{begin, got, end}, nil), bytes.Join([][]byte{begin, block.text, end}, nil), 1)
		}
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
