//go:build lab && linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Where tcpwatch may not capture or write it says how to mend that.
func TestLivePrivileges(t *testing.T) {
	client, server := joined(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	fails := func(as *syscall.Credential, want string, args ...string) {
		t.Helper()
		w := startIn(t, client, path, as, args...)
		if err := <-w.ended; err == nil {
			t.Errorf("%v: it did not fail", args)
		}
		if got := w.stderr.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 2 {
			t.Errorf("%v: standard error has %q", args, got)
		}
	}
	fails(nobody, "hint: sudo setcap cap_net_raw=ep "+path, "live", "-i", "veth")
	closed := t.TempDir()
	fails(nil, "hint: sudo install -d -o nobody /var/lib/tcpwatch, and -w /var/lib/tcpwatch/x.pcapng", "live", "-i", "veth", "-w", closed+"/x.pcapng")
	fails(nil, "hint: sudo install -d -o nobody", "live", "-i", "veth", "-w", closed+"/x.pcapng", "--rotate-size", "1MB")
	fails(nil, "hint: tcpwatch interfaces", "live", "-i", "nothere")

	// With setcap, anyone may; and no thread of it keeps the right.
	able := path + "-able"
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(able, text, 0o755)
	}
	if err == nil { // vfs_cap_data, version 2: permitted and effective CAP_NET_RAW
		err = unix.Setxattr(able, "security.capability", slices.Concat([]byte{1, 0, 0, 2, 0, 0x20, 0, 0}, make([]byte, 12)), 0)
	}
	if err != nil {
		t.Skipf("SKIPPED: no file can have capabilities here: %v", err)
	}
	defer os.Remove(able)
	w := startIn(t, client, able, nobody, "live", "-i", "veth")
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", w.cmd.Process.Pid))
	for _, task := range tasks {
		status, _ := os.ReadFile(task)
		if strings.Contains(string(status), "Cap") && !regexp.MustCompile(`CapPrm:\t0+\nCapEff:\t0+\n`).Match(status) {
			t.Errorf("a thread keeps capabilities: %s", status)
		}
	}
	if len(tasks) < 2 {
		t.Errorf("only %d threads were found", len(tasks))
	}
	dialed(t, client, server, 1)
	if out := w.stop(t); !strings.Contains(out, `"TIME_WAIT"`) {
		t.Errorf("it has seen nothing: %s", out)
	}
}
