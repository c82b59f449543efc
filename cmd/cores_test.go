package cmd

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report"
)

// What is printed does not depend on how many cores there are. The files are
// read as one capture, which is large enough to be read ahead.
func TestCoresPrintTheSame(t *testing.T) {
	pcaps, _ := filepath.Glob("../pcaps/*.pcap")
	traces, _ := filepath.Glob("../tracker/testdata/traces/*/*.pcap*")
	if len(pcaps) < 15 || len(traces) < 100 {
		t.Fatalf("%d and %d captures found, want at least 15 and 100", len(pcaps), len(traces))
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	commands := [][]string{{"replay", "-o", "jsonl", "--events"}, {"replay", "--at", "+30s"}, {"explain", "--conn", "7"},
		{"check", "-o", "json", "--allow", "error"}, {"check", "--allow", "error", "--forbid", "client.state == LISTEN"}}
	if !testing.Short() {
		for _, format := range report.Formats() {
			commands = append(commands, []string{"replay", "-o", format})
		}
	}
	for _, command := range commands {
		t.Run(strings.Join(command, " "), func(t *testing.T) {
			printed := func(cores int) string {
				runtime.GOMAXPROCS(cores)
				var stdout, stderr strings.Builder
				if status := execute(t.Context(), append(append(command, pcaps...), traces...), &stdout, &stderr); status != exitDone {
					t.Fatalf("exit status %d: %s", status, stderr.String())
				}
				return stdout.String() + stderr.String()
			}
			want := printed(1)
			for _, cores := range []int{2, 4} {
				if got := printed(cores); got != want {
					t.Errorf("on %d cores %d octets are printed that differ from the %d on one", cores, len(got), len(want))
				}
			}
		})
	}
}
