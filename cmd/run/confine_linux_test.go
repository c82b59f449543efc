package run

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// confinedIn is set for the process in which TestConfined tries what is forbidden.
const confinedIn = "TCPWATCH_CONFINED"

// What live does not need fails once it is confined, in every thread; what it needs
// works.
func TestConfined(t *testing.T) {
	if dir := os.Getenv(confinedIn); dir != "" {
		tryConfined(dir)
		return
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestConfined$")
	c.Env = append(os.Environ(), confinedIn+"="+dir, "ADDRESS="+l.Addr().String())
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "all was tried\n") || strings.Contains(string(out), "WRONG") {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "no Landlock") {
		t.Logf("SKIPPED: files: %s", out)
	}
}

// tryConfined confines the process to a folder, and prints what is wrong then.
func tryConfined(dir string) {
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		fmt.Println("WRONG", err)
	}
	begun, done := make(chan int), make(chan int)
	var wait sync.WaitGroup
	for range 3 { // threads that there are before
		wait.Go(func() {
			begun <- 1
			<-done
			tryForbidden(dir)
		})
		<-begun
	}
	check := func(what string, err error) {
		if err != nil {
			fmt.Println("WRONG", what, err)
		}
	}
	check("dropping capabilities", clearCapabilities())
	check("confining", confine(work, false))
	close(done)
	wait.Wait()
	tryForbidden(dir)
	path := filepath.Join(work, "x")
	check("writing a file", os.WriteFile(path, []byte("x"), 0o644))
	_, err := os.ReadFile(path)
	check("reading a file", err)
	check("cutting a file", os.Truncate(path, 0))
	check("removing a file", os.Remove(path))
	_, err = os.ReadFile("/proc/self/stat")
	check("what the metrics tell", err)
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, path := range tasks {
		status, _ := os.ReadFile(path)
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				fmt.Printf("WRONG %s has no %q\n", path, want)
			}
		}
	}
	if len(tasks) > 3 {
		fmt.Println("all was tried")
	}
}

func tryForbidden(dir string) {
	denied := func(what string, err error) {
		if err == nil || !errors.Is(err, fs.ErrPermission) {
			fmt.Println("WRONG", what, err)
		}
	}
	if abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 || abi < 4 {
		fmt.Println("no Landlock here", errno)
	} else {
		_, err := os.ReadFile("/etc/passwd")
		denied("reading a file", err)
		denied("making a file", os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
		denied("removing a file", os.Remove(filepath.Join(dir, "secret")))
		_, err = os.ReadDir("/")
		denied("listing a folder", err)
		_, err = net.Listen("tcp", "127.0.0.1:0")
		denied("listening", err)
	}
	_, err := net.Dial("tcp", os.Getenv("ADDRESS"))
	denied("connecting", err)
	denied("running a program", exec.Command("/bin/true").Run())
	denied("running a program in its place", syscall.Exec("/bin/true", []string{"true"}, nil))
	denied("tracing", unix.PtraceAttach(os.Getppid()))
	denied("a namespace", unix.Unshare(unix.CLONE_NEWUSER))
	denied("mounting", unix.Mount("x", dir, "tmpfs", 0, ""))
	_, _, errno := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
	denied("bpf", errno)
}
