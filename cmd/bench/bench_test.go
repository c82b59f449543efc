//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The whole on files that are as small as can be: every kind of traffic is in
// the table, each with tcpwatch's rows, and who is missing is named.
func TestSmall(t *testing.T) {
	program, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(program, filepath.Join(bin, "go")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin) // where no peers are
	s := settings{scale: 1e-6, runs: 1, share: 10, patience: time.Minute, dir: t.TempDir()}
	var out bytes.Buffer
	if err := s.run(&out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, f := range sizes {
		if n := strings.Count(out.String(), "| "+string(f.kind)+" "); n < 3 {
			t.Errorf("%s has %d rows, want at least 3", f.kind, n)
		}
	}
	if want := "Not installed, and so not measured: tcpdump, argus, tcptrace, tshark."; !strings.Contains(out.String(), want) {
		t.Errorf("missing is %q", want)
	}
	t.Logf("\n%s", &out)
}

// What reads a share of a file is compared by packet, and what failed says why.
func TestTable(t *testing.T) {
	base := row{kind: "syns", tool: baseline, packets: 1000, cost: cost{cpu: time.Second, wall: 2 * time.Second, peak: 5e6}}
	base.base = &base
	slow := row{kind: "syns", tool: "slow", packets: 100, cost: cost{cpu: 2 * time.Second, wall: 2 * time.Second, peak: 10e6}, base: &base}
	failed := row{kind: "syns", tool: "large", packets: 1000, failed: "exit status 1", base: &base}
	var out bytes.Buffer
	if err := writeTable(&out, []row{base, slow, failed}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n")[2:] {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"| syns | 1000 | tcpdump | 1.00 | 1.0 | 2.00 | 1.0 | 5 | 1.0 |",
		"| syns | 100 | slow | 2.00 | 20 | 2.00 | 10 | 10 | 2.0 |",
		"| syns | 1000 | large | exit status 1 | | | | | |",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, s := range []settings{{}, {scale: 1, runs: 1}, {scale: 1, share: 1}, {scale: -1, runs: 1, share: 1}} {
		if err := s.run(io.Discard, io.Discard); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
