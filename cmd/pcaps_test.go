package cmd

import (
	"bytes"
	"io"
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

// Every directory of two captures has the report that compare prints of them beside them,
// and a line in the README there. UPDATE=1 rewrites the reports.
func TestPcapsOfTwoPlaces(t *testing.T) {
	captures, err := filepath.Glob("../pcaps/*/client.pcap")
	if err != nil || len(captures) < 2 {
		t.Fatalf("%d captures found, want at least 2: %v", len(captures), err)
	}
	readme, err := os.ReadFile("../pcaps/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range captures {
		dir := filepath.Dir(path)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got, stderr := replayed(t, "compare", path, filepath.Join(dir, "server.pcap"))
			if stderr != "" {
				t.Errorf("standard error has %q, want nothing", stderr)
			}
			equalsGolden(t, filepath.Join(dir, "compare.txt"), got)
			if !bytes.Contains(readme, []byte("`"+filepath.Base(dir)+"/client.pcap`")) {
				t.Errorf("pcaps/README.md has no line for %s", dir)
			}
		})
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

// Without a policy, check fails on a sample whose story is an error, passes on
// every other, and leaves none undecided. The reasons are those of pcaps/README.md.
func TestCheckOfSamples(t *testing.T) {
	const fails, passes = true, false
	samples := map[string]struct {
		fails bool
		why   string
	}{
		"forged-rst.pcap":         {fails, "a RST forged in the client's name closes the server's end"},
		"icmp-unreachable.pcap":   {fails, "an ICMP error ends the attempt"},
		"keepalive-timeout.pcap":  {fails, "the path dies, and the client resets"},
		"reboot.pcap":             {fails, "the client loses its memory, and so the server a connection"},
		"rst-instead-of-ack.pcap": {fails, "the server's repeated FIN meets a RST: its close ends in an error"},
		"time-wait-refuses-syn.pcap": {fails, "the ports are used again with older numbers: a hazard of TIME_WAIT " +
			"(RFC 1337), which a challenge ACK and a RST cleared"},

		"normal-close.pcap":            {passes, "the client closes in four segments"},
		"three-segment-close.pcap":     {passes, "the client closes in three segments"},
		"simultaneous-open.pcap":       {passes, "one connection results"},
		"simultaneous-close.pcap":      {passes, "both ends close, and keep TIME_WAIT"},
		"half-close.pcap":              {passes, "the client is done sending, the server goes on"},
		"refused.pcap":                 {passes, "nobody listens: a warning, as the client learns it at once"},
		"syn-timeout.pcap":             {passes, "nobody answers, but when the capture ends the client is still trying"},
		"tcp-fast-open.pcap":           {passes, "data on the SYN is accepted"},
		"final-ack-lost.pcap":          {passes, "TIME_WAIT answers the repeated FIN: what it is for"},
		"time-wait.pcap":               {passes, "the client keeps TIME_WAIT"},
		"time-wait-assassination.pcap": {passes, "TIME_WAIT is killed: a warning, as the closed peer loses nothing by it"},
		"time-wait-reuse.pcap":         {passes, "the SYN is newer: the ports may be used again"},
		"data-after-close.pcap":        {passes, "data reaches a closed socket: a warning"},
		"close-wait-leak.pcap":         {passes, "the server has not closed, but when the capture ends it had 55 ms to do so"},
		"midstream.pcap":               {passes, "the capture begins in the middle, the connection ends as it should"},
		"one-way.pcap":                 {passes, "one direction is missing, and nothing failed in the other"},
		"misordered.pcap":              {passes, "the capture is at fault, not the connection"},
		"ipv6-cooked.pcap":             {passes, "the client closes, over IPv6"},
	}
	captures, err := filepath.Glob("../pcaps/*.pcap")
	if err != nil || len(captures) != len(samples) {
		t.Errorf("%d captures found, want %d: %v", len(captures), len(samples), err)
	}
	for _, path := range captures {
		sample, listed := samples[filepath.Base(path)]
		if !listed {
			t.Errorf("%s is not listed", path)
			continue
		}
		var out bytes.Buffer
		status, want, verdict := execute(t.Context(), []string{"check", path}, &out, io.Discard), exitDone, ": 0 failed, 1 passed\n"
		if sample.fails {
			want, verdict = exitViolation, ": 1 failed, 0 passed\n"
		}
		if status != want || !strings.HasSuffix(out.String(), verdict) {
			t.Errorf("%s exits %d, want %d, as %s:\n%s", path, status, want, sample.why, out.Bytes())
		}
	}
}
