package cmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What an interrupted command prints is of a part of the capture, and it says so.
func TestInterrupted(t *testing.T) {
	const header = 24 // of a pcap file
	pcap, err := os.ReadFile("../pcaps/refused.pcap")
	if err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(t.TempDir(), "long.pcap")
	if err := os.WriteFile(long, append(pcap[:header:header], bytes.Repeat(pcap[header:], 10_000)...), 0o644); err != nil {
		t.Fatal(err)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for _, c := range []struct {
		command string
		prints  bool
	}{ // all packets are of the same time
		{"replay --no-reorder", true},
		{"explain --no-reorder", false},
		{"replay --no-reorder -f udp", true}, // of which no packet is handed on
	} {
		t.Run(c.command, func(t *testing.T) {
			args := append(strings.Fields(c.command), long)
			for ctx, notice := range map[context.Context]string{
				t.Context(): "",
				interrupted: "tcpwatch: interrupted: the rest was not read\n",
			} {
				var stdout, stderr strings.Builder
				if status := execute(ctx, args, &stdout, &stderr); status != exitDone {
					t.Errorf("exit status %d, want %d", status, exitDone)
				}
				if got := stderr.String(); got != notice {
					t.Errorf("standard error has %q, want %q", got, notice)
				}
				if prints := stdout.Len() > 0; prints != (c.prints || notice == "") {
					t.Errorf("printed something: %t", prints)
				}
			}
		})
	}
}

// Interrupted before a pipe delivered anything, a command is as little to blame.
func TestInterruptedBeforeTheFirstPacket(t *testing.T) {
	nothing := filepath.Join(t.TempDir(), "nothing")
	if err := os.WriteFile(nothing, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for _, command := range []string{"replay", "explain"} {
		var stdout, stderr strings.Builder
		if status := execute(interrupted, []string{command, nothing}, &stdout, &stderr); status != exitDone {
			t.Errorf("%s: exit status %d, want %d", command, status, exitDone)
		}
		if got, want := stderr.String(), "tcpwatch: interrupted: the rest was not read\n"; got != want {
			t.Errorf("%s: standard error has %q, want %q", command, got, want)
		}
	}
}
