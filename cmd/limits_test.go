package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// What is left out to stay within a limit is counted, to the last, and told with the name
// of the limit, which help limits explains.
func TestLimitsAreTold(t *testing.T) {
	const packets, conns = 40_000, 40_002 / 3
	seen := map[string]bool{}
	for _, c := range []struct {
		attack string
		args   string
		limit  string // "": none is reached
		cut    int
		text   string
	}{
		{"fragments", "", "fragments", packets - 16_384, "23616 datagrams not reassembled"},
		{"fragments-small", "", "fragments", packets / 2000, "20 datagrams not reassembled"},
		{"listeners", "", "", 0, ""},
		{"listeners", "--max-connections=1000", "--max-connections", conns - 1000, "12334 connections evicted"},
		{"listeners", "--max-connections=13333", "--max-connections", 1, "1 connection evicted"},
		{"syn", "", "hosts", packets - 16_384, "23616 hosts no longer watched"},
	} {
		path := filepath.Join(t.TempDir(), "attack.pcap")
		var b bytes.Buffer
		if _, err := (pktgen.Attack{Kind: c.attack, Packets: packets, Seed: 1}).Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"replay", path}, strings.Fields(c.args)...)
		out, _ := replayed(t, append(args, "-o", "jsonl")...)
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		type limit struct {
			Limit string
			Cut   int
			Text  string
		}
		var sum struct{ Limits []limit }
		if err := json.Unmarshal(lines[len(lines)-1], &sum); err != nil {
			t.Fatal(err)
		}
		totals, _ := replayed(t, append(args, "-o", "summary")...)
		if c.limit == "" {
			if len(sum.Limits) > 0 || bytes.Contains(totals, []byte("(limit")) {
				t.Errorf("%s: got %v and %s", c.attack, sum.Limits, totals)
			}
			continue
		}
		if want := (limit{c.limit, c.cut, c.text}); len(sum.Limits) != 1 || sum.Limits[0] != want {
			t.Errorf("%s %s: got %v, want %v", c.attack, c.args, sum.Limits, want)
		}
		if want := c.text + " (limit " + c.limit + ")\n"; !bytes.HasSuffix(bytes.TrimRight(totals, "\n"), []byte(strings.TrimSpace(want))) {
			t.Errorf("%s %s: the totals end %q, want %q", c.attack, c.args, totals[max(0, len(totals)-100):], want)
		}
		seen[c.limit] = true
	}
	page, _ := replayed(t, "help", "limits")
	for _, l := range run.Limits() {
		delete(seen, l.Name)
		if !bytes.Contains(page, []byte("\n  "+l.Name+" ")) {
			t.Errorf("tcpwatch help limits does not list %s", l.Name)
		}
	}
	if len(seen) > 0 {
		t.Errorf("%v are no limits", seen)
	}
}
