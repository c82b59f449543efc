package cmd

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A run that has given up its rights still does what it was started for: it begins new
// files, takes old ones away, serves the page, and tells of itself.
func TestConfinedLiveDoesAll(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root gives up rights, and only Linux has these")
	}
	g := newGrowing(t)
	dir := t.TempDir()
	for at := dir; at != "/"; at = filepath.Dir(at) { // nobody has to come through
		if info, err := os.Stat(at); err == nil && info.Mode()&0o1 == 0 {
			os.Chmod(at, info.Mode()|0o1)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + freePort(t)
	var out sharedBuffer
	c := exec.Command("tcpwatch", "live", "--follow", g.file.Name(), "--listen", address, "-o", "table", "--time", "local", "--interval", "50ms",
		"-w", filepath.Join(dir, "x.pcapng"), "--rotate-size", "4KiB", "--rotate-keep", "3")
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	fetch(t, "http://"+address+"/healthz", "")
	const conns = 200
	for i := range conns {
		g.write(opened(uint16(10_000+i), when.Add(time.Duration(i)*time.Second))...)
	}
	for end := time.Now().Add(4 * patience); ; time.Sleep(200 * time.Millisecond) { // to ask takes the run longer than to capture
		if _, body := fetch(t, "http://"+address+"/metrics", ""); strings.Contains(body, fmt.Sprintf("tcpwatch_captured_packets_total %d\n", 3*conns)) && strings.Contains(body, "process_start_time_seconds") {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%s\n%s", body, out.String())
		}
	}
	for _, path := range []string{"/", "/page.css", "/conn/200"} {
		if status, body := fetch(t, "http://"+address+path, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", c.Process.Pid))
	for _, path := range tasks {
		if status, err := os.ReadFile(path); err == nil && !(strings.Contains(string(status), "NoNewPrivs:\t1\n") && strings.Contains(string(status), "Seccomp:\t2\n")) {
			t.Errorf("a thread has kept rights: %s", status)
		}
	}
	c.Process.Signal(os.Interrupt)
	if err := c.Wait(); err != nil || !strings.Contains(out.String(), fmt.Sprintf("Totals: %d packets", 3*conns)) || strings.Contains(out.String(), "tcpwatch:") {
		t.Errorf("%v: %s", err, out.String())
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	var again strings.Builder
	if status := execute(t.Context(), append([]string{"replay", "--strict", "-q", "-o", "summary"}, files...), &again, io.Discard); len(files) != 3 || status != exitDone {
		t.Errorf("%d files: %s", len(files), again.String())
	}
}
