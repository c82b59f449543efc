//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// A tool is a way to read a capture with a program.
type tool struct {
	name    string // as the table has it
	command []string
	env     []string           // beside the environment
	stdin   string             // the file that it reads there; "": none
	bound   string             // on what it may use, told if it fails
	share   int                // packets that it reads; 0: all
	only    pktgen.TrafficKind // the only traffic it is asked to read; "": any
}

// file stands for the capture in a tool's command.
const file = "FILE"

// baseline is the name of the tool that the others are compared with.
const baseline = "tcpdump"

// tools returns the ways to read captures, and the names of the programs that
// are not installed.
func (s *settings) tools() (found []tool, missing []string) {
	share := strconv.Itoa(s.share)
	limit := memoryLimit()
	bounded := fmt.Sprintf("ulimit -v %d && exec ", limit)
	peers := []tool{
		{name: "tcpdump", command: []string{"tcpdump", "-nr", file, "-w", os.DevNull, "tcp"}},
		{name: "argus", command: []string{"argus", "-r", file, "-w", os.DevNull}},
		{name: "tcptrace", command: []string{"sh", "-c", bounded + `tcptrace -n "$1"`, "sh", file}, // takes gigabytes
			bound: fmt.Sprintf("with at most %.0f GB", float64(limit)/1e6)},
		{name: "tshark", command: []string{"tshark", "-n", "-q", "-z", "conv,tcp", "-c", share, "-r", file}, share: s.share},
	}
	summary := []string{s.program, "replay", "-o", "summary"}
	ours := []tool{
		{name: "tcpwatch", command: summary},
		{name: "tcpwatch, 1 core", command: summary, env: []string{"GOMAXPROCS=1"}},
		{name: "tcpwatch -o jsonl", command: []string{s.program, "replay", "-o", "jsonl"}},
	}
	const bound = "--max-connections"
	if help, err := exec.Command(s.program, "replay", "--help").Output(); err == nil && strings.Contains(string(help), bound) {
		ours = append(ours, tool{name: "tcpwatch " + bound + " 100000", command: append(summary[:len(summary):len(summary)], bound, "100000"), only: pktgen.SYNs})
	}
	for i := range ours {
		ours[i].command = append(ours[i].command[:len(ours[i].command):len(ours[i].command)], "--quiet", file)
	}
	for _, t := range peers {
		if _, err := exec.LookPath(t.name); err != nil {
			missing = append(missing, t.name)
			continue
		}
		if t.share > 0 {
			t.name = fmt.Sprintf("%s, at most %d packets", t.name, t.share)
		}
		found = append(found, t)
	}
	return append(found[:min(1, len(found))], append(ours, found[min(1, len(found)):]...)...), missing
}

// memoryLimit returns how much a program may take of the machine's memory, in
// KiB: most of what is free, or 4 GiB where that is not told.
func memoryLimit() int {
	if runtime.GOOS == "linux" {
		if b, err := os.ReadFile("/proc/meminfo"); err == nil {
			if _, rest, ok := strings.Cut(string(b), "MemAvailable:"); ok {
				var free int
				if _, err := fmt.Sscan(rest, &free); err == nil {
					return free / 4 * 3
				}
			}
		}
	}
	return 4 << 20
}
