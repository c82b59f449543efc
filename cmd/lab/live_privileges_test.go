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
	fails(nil, "hint: sudo install -d -o nobody /var/lib/tcpwatch, then -w /var/lib/tcpwatch/x.pcapng", "live", "-i", "veth", "-w", closed+"/x.pcapng")
	fails(nil, "hint: sudo install -d -o nobody", "live", "-i", "veth", "-w", closed+"/x.pcapng", "--rotate-size", "1MB")
	fails(nil, "hint: tcpwatch interfaces", "live", "-i", "nothere")

	// With setcap, anyone may; and no thread of it keeps the right.
	able := path + "-able"
	if err := copyAble(path, able, 0o755, 0); err != nil {
		t.Skipf("SKIPPED: no file can have capabilities here: %v", err)
	}
	defer os.Remove(able)
	captures(t, client, server, able, nobody)

	// As packages install it, a group may.
	const daemon = 1
	plain, able := installed(t, path, daemon)
	captures(t, client, server, plain, &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{daemon}})
	path = plain
	fails(nobody, "hint: sudo usermod -aG daemon nobody, once, and log in again; or sudo "+plain, "live", "-i", "veth")
	if err := os.Remove(able); err != nil {
		t.Fatal(err)
	}
	fails(nobody, "hint: sudo setcap cap_net_raw=ep "+plain, "live", "-i", "veth")
}

// copyAble makes a copy of a program that gives CAP_NET_RAW to those who can run it.
func copyAble(from, to string, mode os.FileMode, group int) error {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, mode)
	}
	if err == nil { // before the capability, which a change of the owner clears
		err = os.Chown(to, 0, group)
	}
	if err == nil { // vfs_cap_data, version 2: permitted and effective CAP_NET_RAW
		err = unix.Setxattr(to, "security.capability", slices.Concat([]byte{1, 0, 0, 2, 0, 0x20, 0, 0}, make([]byte, 12)), 0)
	}
	return err
}

// installed puts the program, and the copy for the group, where packages have them.
func installed(t *testing.T, path string, group int) (plain, able string) {
	t.Helper()
	prefix := path + "-installed"
	plain, able = filepath.Join(prefix, "bin/tcpwatch"), filepath.Join(prefix, "lib/tcpwatch/tcpwatch")
	t.Cleanup(func() { os.RemoveAll(prefix) })
	for _, file := range []string{plain, able} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(plain, text, 0o755)
	}
	if err == nil {
		err = copyAble(path, able, 0o750, group)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plain, able
}

// captures has the program capture a connection as somebody without rights,
// and sees that it keeps no capability.
func captures(t *testing.T, client, server *netns, path string, as *syscall.Credential) {
	t.Helper()
	w := startIn(t, client, path, as, "live", "-i", "veth")
	keeps := func(task string) bool {
		status, _ := os.ReadFile(task)
		return strings.Contains(string(status), "Cap") && !regexp.MustCompile(`CapPrm:\t0+\nCapEff:\t0+\n`).Match(status)
	}
	eventually(t, func() bool { // after what startIn waits for
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", w.cmd.Process.Pid))
		return len(tasks) > 1 && !slices.ContainsFunc(tasks, keeps)
	})
	dialed(t, client, server, 1)
	if out := w.stop(t); !strings.Contains(out, `"TIME_WAIT"`) {
		t.Errorf("it has seen nothing: %s", out)
	}
}
