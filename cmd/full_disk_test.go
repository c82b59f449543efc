package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// onTmpfs returns a command in a mount namespace of its own, where a folder is a disk
// of some size.
func onTmpfs(t *testing.T, dir, size, script string, args ...string) *exec.Cmd {
	t.Helper()
	if out, err := exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no small disk can be mounted here: %v %s", err, out)
	}
	script = `mount -t tmpfs -o size=` + size + ` tmpfs "$0" && ` + script
	return exec.Command("unshare", append([]string{"-m", "sh", "-c", script, dir}, args...)...)
}

// When the disk is full the capture goes on, the summary is printed, what was written
// can be read, and the exit status is 2.
func TestLiveOnAFullDisk(t *testing.T) {
	for _, rotate := range [][]string{nil, {"--rotate-size", "8KiB"}} {
		g := newGrowing(t)
		dir := t.TempDir()
		var out sharedBuffer
		c := onTmpfs(t, dir, "32k", `tcpwatch "$@"; s=$?; cp "$0"/* "$0.copy"; exit $s`,
			append([]string{"live", "--follow", g.file.Name(), "--user", strconv.Itoa(os.Geteuid()), "-o", "summary", "--duration", "2s", "-w", filepath.Join(dir, "x.pcapng")}, rotate...)...)
		if err := os.Mkdir(dir+".copy", 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir + ".copy")
		c.Stdout, c.Stderr = &out, &out
		const conns = 500
		for i := range conns {
			g.write(opened(uint16(10_000+i), when.Add(time.Duration(i)*time.Second))...)
		}
		err := c.Run()
		if status := c.ProcessState.ExitCode(); status != exitUsage {
			t.Errorf("exit status %d, %v", status, err)
		}
		for _, want := range []string{"tcpwatch: -w: write ", "no space left on device; packets are not written until there is room\n", "Totals: 1500 packets", " packets were not written\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: no %q in %s", rotate, want, out.String())
			}
		}
		files, _ := filepath.Glob(dir + ".copy/*")
		var stdout, stderr strings.Builder
		if status := execute(t.Context(), append([]string{"replay", "--strict", "-q", "-o", "summary"}, files...), &stdout, &stderr); status != exitDone || stderr.Len() > 0 {
			t.Errorf("%v: %d files: exit status %d: %s%s", rotate, len(files), status, stderr.String(), stdout.String())
		}
	}
}

// What replay prints is printed, although the packets cannot be written.
func TestReplayOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	long, err := filepath.Abs("../pcaps/rst-instead-of-ack.pcap")
	if err != nil {
		t.Fatal(err)
	}
	var out sharedBuffer
	c := onTmpfs(t, dir, "4k", `for command in replay explain "check --deny error"; do tcpwatch $command -w "$0/x.pcapng" "$1"; echo status $?; tcpwatch replay --strict -o summary "$0/x.pcapng"; done`, long)
	c.Stdout, c.Stderr = &out, &out
	c.Run()
	if n := strings.Count(out.String(), "no space left on device"); n != 3 {
		t.Errorf("there was no space %d times, want 3", n)
	}
	for _, want := range []string{"Totals: 17 packets", "closed by client", "failed  --deny error"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(out.String(), "status 2"); n != 3 || strings.Contains(out.String(), "cut off") || t.Failed() {
		t.Error(out.String())
	}
}
