//go:build lab && linux

package lab

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Live captures are tried between two hosts that are joined by a veth pair.
// tcpwatch is a process of its own on one of them.

var withLibpcap = flag.Bool("libpcap", false, "have tcpwatch capture through libpcap")

// programDir is where program put it; TestMain takes it away.
var programDir string

// program builds tcpwatch, without cgo as it is released.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tcpwatch-live-")
	if err != nil {
		return "", err
	}
	programDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tcpwatch")
	build := exec.Command("go", "build", "-o", path, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if *withLibpcap {
		build = exec.Command("go", "build", "-tags", "libpcap", "-o", path, "../..")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

// A run is a tcpwatch that runs.
type run struct {
	cmd    *exec.Cmd
	stdout syncBuffer
	stderr syncBuffer
	ended  chan error
}

// syncBuffer is written by one goroutine and read by another.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// watchIn starts tcpwatch in a namespace, and waits until it captures.
func watchIn(t *testing.T, n *netns, args ...string) *run {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return startIn(t, n, path, nil, args...)
}

func startIn(t *testing.T, n *netns, path string, as *syscall.Credential, args ...string) *run {
	t.Helper()
	r := &run{cmd: exec.Command(path, args...), ended: make(chan error, 1)}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	n.must(t, r.cmd.Start)
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() })
	// It captures once it has given up its rights, which with cgo shows by the user alone.
	eventually(t, func() bool {
		return len(r.ended) > 0 || r.status("NoNewPrivs") == "1" || *withLibpcap && strings.HasPrefix(r.status("Uid"), "65534")
	})
	return r
}

// status returns a line of the process's status.
func (r *run) status(name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// stop interrupts tcpwatch and returns all that it printed.
func (r *run) stop(t *testing.T) string {
	t.Helper()
	r.cmd.Process.Signal(os.Interrupt)
	return r.wait(t)
}

func (r *run) wait(t *testing.T) string {
	t.Helper()
	return r.waitFor(t, 10*time.Second)
}

func (r *run) waitFor(t *testing.T, most time.Duration) string {
	t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Fatalf("%v: %s", err, r.stderr.String())
		}
	case <-time.After(most):
		t.Fatalf("it has not ended within %v", most)
	}
	return r.stdout.String()
}

// eventually waits until a condition holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it has not come to that within 10 s")
		}
	}
}

// dialed opens and closes connections.
func dialed(t *testing.T, client, server *netns, n int) {
	t.Helper()
	var listener net.Listener
	server.must(t, func() (err error) { listener, err = net.Listen("tcp4", "10.77.0.2:7000"); return err })
	defer listener.Close()
	for range n {
		client.must(t, func() error {
			c, err := net.DialTimeout("tcp4", "10.77.0.2:7000", 5*time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		})
		s, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.ReadAll(s)
		s.Close()
	}
}

// lines divides what was printed.
func lines(out string) []string { return strings.Split(strings.TrimSpace(out), "\n") }

// openDir makes a directory that any user may write into.
func openDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "tcpwatch-live-")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
