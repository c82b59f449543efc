//go:build lab && linux

package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Programs that connect are copies of the test, which are told what to do by these.
const (
	whoServes = "TCPWATCH_LAB_SERVES" // at this address
	whoDials  = "TCPWATCH_LAB_DIALS"  // local address, remote address, milliseconds
)

// TestWhoProgram is what such a program does. It says when it is ready, and aborts each
// connection, so that its ports are free at once.
func TestWhoProgram(t *testing.T) {
	if address := os.Getenv(whoServes); address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready")
		go func() {
			io.ReadAll(os.Stdin)
			l.Close()
		}()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}
	if how := os.Getenv(whoDials); how != "" {
		part := strings.Split(how, ",")
		local, err := net.ResolveTCPAddr("tcp", part[0])
		if err != nil {
			t.Fatal(err)
		}
		hold, _ := strconv.Atoi(part[2])
		d := net.Dialer{LocalAddr: local, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", part[1])
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(hold) * time.Millisecond)
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// whoProgram makes a program of a name, to be started in a namespace.
func whoProgram(t *testing.T, name string) string {
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openDir(t), name)
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve starts a server in a namespace and in a cgroup, which may be nil.
func serve(t *testing.T, n *netns, path, address string, group *os.File) *exec.Cmd {
	t.Helper()
	c := exec.Command(path, "-test.run=^TestWhoProgram$")
	c.Env = append(os.Environ(), whoServes+"="+address)
	if group != nil {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	}
	stdin, _ := c.StdinPipe()
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.must(t, c.Start)
	t.Cleanup(func() {
		stdin.Close()
		c.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s says %q, %v", path, line, err)
	}
	return c
}

// dial runs a client in a namespace to its end, and returns its process ID.
func dial(t *testing.T, n *netns, path, local, remote string, hold int) int {
	t.Helper()
	c := exec.Command(path, "-test.run=^TestWhoProgram$")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s,%d", whoDials, local, remote, hold))
	n.must(t, c.Start)
	if err := c.Wait(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c.Process.Pid
}

// A whoRecord is what a record says of owners.
type whoRecord struct {
	Type           string
	Conn           int
	Client, Server struct {
		Addr    string
		Port    int
		Process struct {
			Name, Source string
			PID          int
		}
		Unit, Container, Pod string
	}
	Kernel struct{ Compared, Differed int }
}

// records reads the connections, and the summary.
func whoRecords(t *testing.T, out string) (list []whoRecord, sum whoRecord) {
	for _, line := range lines(out) {
		var r whoRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch r.Type {
		case "connection":
			list = append(list, r)
		case "summary":
			sum = r
		}
	}
	slices.SortFunc(list, func(a, b whoRecord) int { return a.Conn - b.Conn })
	return list, sum
}

// cgroup makes a cgroup, by its path.
func cgroup(t *testing.T, path string) *os.File {
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(mount + "/cgroup.procs"); err != nil {
			continue
		}
		dir := mount + path
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
		t.Cleanup(func() { // from within, as far as that was made here
			for at := dir; at != mount && os.Remove(at) == nil; at = filepath.Dir(at) {
			}
		})
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	t.Skip("SKIPPED: cgroup v2 is not mounted")
	return nil
}

// Every connection of 100 ms has its owner at both ends, in other namespaces too, and no
// connection has a wrong one, though the same ports are used again at once by another
// program.
func TestLiveWho(t *testing.T) {
	client, server := joined(t)
	const id, uid = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "8f2e4b0c-1f6a-4d0b-9a57-3c1c2c9a7d10"
	group := cgroup(t, "/kubepods/burstable/pod"+uid+"/"+id)
	alpha, beta := whoProgram(t, "alpha"), whoProgram(t, "beta")
	serving := serve(t, server, whoProgram(t, "serving"), "10.77.0.2:7000", group)
	w := watchIn(t, client, "live", "-i", "veth", "-p")
	type truth struct {
		name      string
		pid, hold int
	}
	var want []truth
	for _, hold := range []int{120, 120, 0, 5, 0, 5, 10, 120, 1, 0, 20, 50, 120, 120} {
		name, path := "alpha", alpha
		if len(want)%2 == 1 {
			name, path = "beta", beta
		}
		want = append(want, truth{name, dial(t, client, path, "10.77.0.1:40000", "10.77.0.2:7000", hold), hold})
	}
	list, sum := whoRecords(t, w.stop(t))
	if len(list) != len(want) {
		t.Fatalf("%d connections, want %d\n%s", len(list), len(want), w.stderr.String())
	}
	owned := 0
	for i, r := range list {
		c, s := r.Client.Process, r.Server.Process
		if c.Name != "" {
			owned++
		}
		if known := c.Name != "" || want[i].hold >= 100; known && (c.Name != want[i].name || c.PID != want[i].pid) {
			t.Errorf("connection %d, of %d ms: the client is %+v, want %+v", i, want[i].hold, c, want[i])
		}
		if known := s.Name != "" || want[i].hold >= 100; known && (s.Name != "serving" || s.PID != serving.Process.Pid) {
			t.Errorf("connection %d, of %d ms: the server is %+v, want serving/%d", i, want[i].hold, s, serving.Process.Pid)
		}
		if known := r.Server.Pod != "" || want[i].hold >= 100; known && (r.Server.Pod != uid || r.Server.Container != id[:12] || r.Server.Unit != "") {
			t.Errorf("connection %d: the server runs in %q, %q, %q", i, r.Server.Unit, r.Server.Container, r.Server.Pod)
		}
		if r.Client.Pod != "" || r.Client.Container != "" {
			t.Errorf("connection %d: the client runs in %+v", i, r.Client)
		}
	}
	t.Logf("%d of %d clients have an owner; %d states compared", owned, len(list), sum.Kernel.Compared)
	if owned < len(list) {
		if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
			t.Logf("SKIPPED: those that are over soon: %v", err)
		} else {
			t.Errorf("%d of %d clients have an owner, and the kernel tells of all", owned, len(list))
		}
	}
	if sum.Kernel.Differed > 0 {
		t.Errorf("%d states differ", sum.Kernel.Differed)
	}
	if w.stderr.String() != "" {
		t.Errorf("standard error has %q", w.stderr.String())
	}
}

// With CAP_NET_RAW alone the states are known, and the owner's own programs, and it is said
// what is not. The process that asks has no more rights than it needs.
func TestLiveWhoRights(t *testing.T) {
	client, server := joined(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	serve(t, server, whoProgram(t, "serving"), "10.77.0.2:7000", nil)
	dials := whoProgram(t, "dials")
	watched := func(path string, as *syscall.Credential) (*run, string) {
		w := startIn(t, client, path, as, "live", "-i", "veth", "-p")
		caps := ""
		eventually(t, func() bool {
			caps = statusOf(childOf(w.cmd.Process.Pid), "CapEff")
			return caps != "" && statusOf(childOf(w.cmd.Process.Pid), "Seccomp") == "2"
		})
		dial(t, client, dials, "10.77.0.1:0", "10.77.0.2:7000", 150)
		return w, caps
	}
	w, caps := watched(path, nil)
	list, _ := whoRecords(t, w.stop(t))
	if caps != "0000000000280004" || len(list) != 1 || list[0].Client.Process.Name != "dials" || list[0].Server.Process.Name != "serving" {
		t.Errorf("as root: capabilities %s, %+v, %s", caps, list, w.stderr.String())
	}
	able := path + "-who"
	if err := copyAble(path, able, 0o755, 0); err != nil {
		t.Skipf("SKIPPED: no file can have capabilities here: %v", err)
	}
	defer os.Remove(able)
	w, caps = watched(able, &syscall.Credential{Uid: 65534, Gid: 65534})
	list, sum := whoRecords(t, w.stop(t))
	if caps != "0000000000000000" || len(list) != 1 || list[0].Client.Process.Name != "" || list[0].Server.Process.Name != "" {
		t.Errorf("as nobody: capabilities %s, %+v", caps, list)
	}
	if said := w.stderr.String(); !strings.Contains(said, "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH") || !strings.Contains(said, "CAP_SYS_ADMIN") {
		t.Errorf("as nobody: it says %q", said)
	}
	t.Logf("as nobody: %d states compared", sum.Kernel.Compared)
}

// childOf is the process ID of a child, 0 if there is none.
func childOf(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		more, _ := os.ReadFile(task)
		text = append(text, more...)
	}
	if fields := strings.Fields(string(text)); len(fields) > 0 {
		child, _ := strconv.Atoi(fields[0])
		return child
	}
	return 0
}

// statusOf returns a line of a process's status.
func statusOf(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// What the kernels say of their ends is what the packets show, with ends that wait in every
// state, close in any order, or abort.
func TestLiveWhoWitness(t *testing.T) {
	client, server := joined(t)
	w := watchIn(t, client, "live", "-i", "veth", "-p", "--duration", "12s")
	var l net.Listener
	server.must(t, func() (err error) { l, err = net.Listen("tcp4", "10.77.0.2:7000"); return err })
	defer l.Close()
	const conns = 600
	var done sync.WaitGroup
	defer done.Wait()
	// play has an end do what chance says, with pauses in which it can be asked.
	play := func(c *net.TCPConn, chance *rand.Rand) {
		pause := func() { time.Sleep(time.Duration(chance.IntN(2500)) * time.Millisecond) }
		defer c.Close()
		pause()
		for range chance.IntN(3) {
			c.Write(make([]byte, chance.IntN(3000)))
			pause()
		}
		switch chance.IntN(4) {
		case 0:
			c.SetLinger(0)
		case 1, 2:
			c.CloseWrite()
			pause()
		}
		if chance.IntN(2) == 0 {
			c.SetReadDeadline(time.Now().Add(2 * time.Second))
			io.Copy(io.Discard, c)
		}
	}
	go func() {
		for n := uint64(0); ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go play(c.(*net.TCPConn), rand.New(rand.NewPCG(1, n)))
		}
	}()
	for n := range uint64(conns) {
		client.must(t, func() error {
			c, err := net.Dial("tcp4", "10.77.0.2:7000")
			if err == nil {
				done.Go(func() { play(c.(*net.TCPConn), rand.New(rand.NewPCG(2, n))) })
			}
			return err
		})
	}
	list, sum := whoRecords(t, w.waitFor(t, 20*time.Second))
	t.Logf("%d connections, %d states compared, %d differences", len(list), sum.Kernel.Compared, sum.Kernel.Differed)
	if sum.Kernel.Compared < conns {
		t.Errorf("%d states were compared, want %d at least", sum.Kernel.Compared, conns)
	}
	if sum.Kernel.Differed*1000 > sum.Kernel.Compared {
		t.Errorf("%d of %d states differ, want one of a thousand at most", sum.Kernel.Differed, sum.Kernel.Compared)
	}
}
