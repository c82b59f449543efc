//go:build lab && linux

package lab

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/capture/forge"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// Live captures are tried between two hosts that are joined by a veth pair.
// tcpwatch is a process of its own on one of them.

var (
	soakFor  = flag.Duration("soak", 10*time.Second, "how long the soak test takes")
	soakRate = flag.Int("soakrate", 1000, "how many connections a second the soak test opens")
	flood    = flag.Int("flood", 500_000, "how many packets the flood has")

	withLibpcap = flag.Bool("libpcap", false, "have tcpwatch capture through libpcap")
)

// A netns is a network namespace with one interface, veth, and one address. It
// has no name: it goes with the process.
type netns struct {
	addr netip.Addr
	work chan func()
	fd   int
	diag *netlink.Handle
}

// newNetns makes a namespace.
func newNetns(t *testing.T, addr string) *netns {
	n := &netns{addr: netip.MustParseAddr(addr), work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.fd, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err == nil {
			n.diag, err = netlink.NewHandle(unix.NETLINK_INET_DIAG)
		}
		ready <- err
		for f := range n.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Skipf("SKIPPED: there are no network namespaces to be had: %v", err)
	}
	t.Cleanup(func() {
		close(n.work)
		n.diag.Close()
		unix.Close(n.fd)
	})
	return n
}

// do runs f in the namespace.
func (n *netns) do(f func() error) error {
	done := make(chan error)
	n.work <- func() { done <- f() }
	return <-done
}

// must is do, and fails the test with f.
func (n *netns) must(t *testing.T, f func() error) {
	t.Helper()
	if err := n.do(f); err != nil {
		t.Fatal(err)
	}
}

// setUp turns the interface on or off.
func (n *netns) setUp(up bool) error {
	return n.do(func() error {
		link, err := netlink.LinkByName("veth")
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// joined makes two namespaces joined by a veth pair.
func joined(t *testing.T) (a, b *netns) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the lab needs root, for network namespaces")
	}
	a, b = newNetns(t, "10.77.0.1"), newNetns(t, "10.77.0.2")
	a.must(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "veth"}, PeerName: "veth", PeerNamespace: netlink.NsFd(b.fd),
		})
	})
	for _, n := range []*netns{a, b} {
		n.must(t, func() error {
			lo, err := netlink.LinkByName("lo")
			if err == nil {
				err = netlink.LinkSetUp(lo)
			}
			if err != nil {
				return err
			}
			if err := setSysctl("net.ipv6.conf.veth.disable_ipv6", "1"); err != nil {
				return err
			}
			link, err := netlink.LinkByName("veth")
			if err != nil {
				return err
			}
			return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: n.addr.AsSlice(), Mask: net.CIDRMask(24, 32)}})
		})
		if err := n.setUp(true); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

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
	select {
	case err := <-r.ended:
		if err != nil {
			t.Fatalf("%v: %s", err, r.stderr.String())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it has not ended within 10 s")
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

// table reads the newest whole table of a run: the states by the two addresses,
// that of the client first.
func (r *run) table() map[[2]string][2]string {
	blocks := strings.Split(r.stdout.String(), "# ")
	if len(blocks) < 3 {
		return nil
	}
	states := map[[2]string][2]string{}
	for line := range strings.Lines(blocks[len(blocks)-2]) {
		if f := strings.Fields(line); len(f) > 4 && f[0] == "tcp" {
			states[[2]string{f[1], f[3]}] = [2]string{strings.TrimSuffix(f[2], "?"), strings.TrimSuffix(f[4], "?")}
		}
	}
	return states
}

// kernels asks both hosts for the same.
func kernels(t *testing.T, client, server *netns) map[[2]string][2]string {
	t.Helper()
	states := map[[2]string][2]string{}
	for i, n := range []*netns{client, server} {
		list, err := n.diag.SocketDiagTCP(unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if kernelStates[s.State] == "LISTEN" {
				continue
			}
			local, remote := fmt.Sprintf("%v:%d", s.ID.Source, s.ID.SourcePort), fmt.Sprintf("%v:%d", s.ID.Destination, s.ID.DestinationPort)
			key := [2]string{local, remote}
			if i == 1 {
				key = [2]string{remote, local}
			}
			both, known := states[key]
			if !known {
				both = [2]string{"CLOSED", "CLOSED"}
			}
			both[i] = kernelStates[s.State]
			states[key] = both
		}
	}
	return states
}

// At quiet moments the table equals what both kernels have.
func TestLiveEqualsTheKernels(t *testing.T) {
	client, server := joined(t)
	w := watchIn(t, client, "live", "-i", "veth", "-o", "table", "--interval", "100ms")
	if uid, caps := w.status("Uid"), w.status("CapPrm"); !strings.HasPrefix(uid, "65534") || strings.Trim(caps, "0") != "" {
		t.Errorf("it runs as %s with the capabilities %s", uid, caps)
	}
	var listener net.Listener
	server.must(t, func() (err error) { listener, err = net.Listen("tcp4", "10.77.0.2:7000"); return err })
	defer listener.Close()
	var clients, servers []*net.TCPConn
	open := func(n int) {
		for range n {
			var c net.Conn
			client.must(t, func() (err error) { c, err = net.Dial("tcp4", "10.77.0.2:7000"); return err })
			s, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			clients, servers = append(clients, c.(*net.TCPConn)), append(servers, s.(*net.TCPConn))
		}
	}
	talk := func(from, to []*net.TCPConn, octets int) {
		for i := range from {
			go from[i].Write(make([]byte, octets))
			if _, err := io.ReadFull(to[i], make([]byte, octets)); err != nil {
				t.Fatal(err)
			}
		}
	}
	quiet := func(what string) {
		t.Helper()
		var got, want map[[2]string][2]string
		equal := func() bool {
			got, want = w.table(), kernels(t, client, server)
			for key, states := range got {
				if states == [2]string{"CLOSED", "CLOSED"} {
					delete(got, key)
				}
			}
			return fmt.Sprint(got) == fmt.Sprint(want)
		}
		for end := time.Now().Add(3 * time.Second); !equal(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s:\ntcpwatch has %v\nthe kernels  %v", what, got, want)
				return
			}
		}
		t.Logf("%s: %d connections, all alike", what, len(want))
	}
	open(20)
	quiet("opened")
	talk(clients, servers, 100_000) // in segments beyond the MTU
	talk(servers, clients, 3)
	quiet("talked")
	for i := range 5 {
		clients[i].CloseWrite()
		servers[5+i].CloseWrite()
	}
	quiet("half closed")
	for i := range 3 {
		servers[i].Close()
		clients[5+i].Close()
	}
	quiet("closed")
	for i := 10; i < 13; i++ {
		clients[i].SetLinger(0)
		clients[i].Close()
		servers[i+3].SetLinger(0)
		servers[i+3].Close()
	}
	quiet("aborted")
	client.do(func() error { _, err := net.Dial("tcp4", "10.77.0.2:7001"); return err }) // refused
	open(5)
	quiet("refused, and opened")
	summary := w.stop(t)
	if !strings.Contains(summary[strings.LastIndex(summary, "\nState"):], "ESTABLISHED") {
		t.Errorf("the summary has no state: %s", summary)
	}
	if got := w.stderr.String(); got != "" {
		t.Errorf("standard error has %q", got)
	}
}

// Every packet that was sent was captured, or the kernel says that it was lost.
func TestLiveCountsEveryPacket(t *testing.T) {
	client, server := joined(t)
	for _, args := range [][]string{nil, {"-B", "1MiB"}, {"-f", "tcp and port 7000"}} {
		w := watchIn(t, client, append([]string{"live", "-i", "veth", "-o", "summary"}, args...)...)
		began := time.Now()
		sent, before := 0, lostByDevice(t, server)
		server.must(t, func() (err error) { sent, err = floodFrom("veth", *flood); return err })
		took := time.Since(began)
		sent -= lostByDevice(t, server) - before // these did not get to the other end
		time.Sleep(200 * time.Millisecond)
		totals := regexp.MustCompile(`(?m)^Totals: (\d+) packets?`).FindStringSubmatch(w.stop(t))
		lost := regexp.MustCompile(`(\d+) packets? dropped by the capture`).FindStringSubmatch(w.stdout.String())
		seen, dropped := 0, 0
		if totals != nil {
			seen, _ = strconv.Atoi(totals[1])
		}
		if lost != nil {
			dropped, _ = strconv.Atoi(lost[1])
		}
		t.Logf("%v: %d sent at %.0f a second, %d seen, %d dropped", args, sent, float64(sent)/took.Seconds(), seen, dropped)
		if seen+dropped != sent {
			t.Errorf("%v: %d packets were sent, %d seen and %d dropped", args, sent, seen, dropped)
		}
	}
}

// lostByDevice is how many packets the interface had to drop itself.
func lostByDevice(t *testing.T, n *netns) (lost int) {
	n.must(t, func() error {
		link, err := netlink.LinkByName("veth")
		if err == nil {
			lost = int(link.Attrs().Statistics.TxDropped)
		}
		return err
	})
	return lost
}

// floodFrom sends small TCP segments as fast as it goes.
func floodFrom(name string, packets int) (sent int, err error) {
	s := tracker.Segment{
		Src: netip.MustParseAddrPort("10.77.0.2:7000"), Dst: netip.MustParseAddrPort("10.77.0.1:40000"),
		Flags: tracker.ACK, Wnd: 1000, Data: 6,
	}
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, forge.Append(nil, &s)...)
	return sendFrames(name, packets, func(i int) []byte {
		binary.BigEndian.PutUint32(frame[38:], uint32(6*i))
		return frame
	})
}

// sendFrames sends frames from an interface of the thread's namespace.
func sendFrames(name string, n int, frame func(i int) []byte) (sent int, err error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: device.Index}
	for sent < n {
		switch err := unix.Sendto(fd, frame(sent), 0, to); err {
		case nil:
			sent++
		case unix.ENOBUFS, unix.EAGAIN, unix.EINTR:
		default:
			return sent, err
		}
	}
	return sent, nil
}

// Segments that are left to the card to divide are seen whole, and may be longer
// than IP can say.
func TestLiveOfBigSegments(t *testing.T) {
	client, server := joined(t)
	for _, n := range []*netns{client, server} {
		n.must(t, func() error {
			link, err := netlink.LinkByName("veth")
			if err != nil {
				return err
			}
			for _, set := range []func(netlink.Link, int) error{netlink.LinkSetGSOMaxSize, netlink.LinkSetGROMaxSize, netlink.LinkSetGSOIPv4MaxSize, netlink.LinkSetGROIPv4MaxSize} {
				if err := set(link, 180_000); err != nil {
					t.Logf("no BIG TCP here: %v", err)
				}
			}
			return nil
		})
	}
	const octets = 20_000_000
	w := watchIn(t, client, "live", "-i", "veth")
	var listener net.Listener
	server.must(t, func() (err error) { listener, err = net.Listen("tcp4", "10.77.0.2:7000"); return err })
	defer listener.Close()
	client.must(t, func() error {
		c, err := net.Dial("tcp4", "10.77.0.2:7000")
		if err != nil {
			return err
		}
		go func() {
			c.Write(make([]byte, octets))
			c.Close()
		}()
		return nil
	})
	s, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, s); n != octets || err != nil {
		t.Fatal(n, err)
	}
	s.Close()
	out := w.stop(t)
	if !strings.Contains(out, fmt.Sprintf(`"bytes":%d,`, octets)) || strings.Contains(out, "capture-gap") {
		t.Errorf("it has not seen all %d octets once: %s", octets, out)
	}
	var records struct {
		Packets int   `json:"packets"`
		Bytes   int64 `json:"bytes"`
	}
	all := lines(out)
	if err := json.Unmarshal([]byte(all[len(all)-1]), &records); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d octets in %d packets", records.Bytes, records.Packets)
}

// Loopback shows every packet twice; it is captured once, on any interface too.
func TestLiveOfLoopback(t *testing.T) {
	client, _ := joined(t)
	client.must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 77, 0, 2), Mask: net.CIDRMask(32, 32)}})
	})
	for _, name := range []string{"lo", "any"} {
		w := watchIn(t, client, "live", "-i", name, "-f", "port 7000")
		dialed(t, client, client, 1)
		out := w.stop(t)
		if !strings.Contains(out, `"closed_by":"client"`) || strings.Contains(out, "duplicate") || strings.Count(out, `"to":"SYN_SENT"`) != 1 {
			t.Errorf("%s: %s", name, out)
		}
		if n := strings.Count(out, `"packets":`); n == 0 {
			t.Errorf("%s: no summary in %s", name, out)
		}
	}
}

// The kernel keeps VLAN tags apart; they are put back.
func TestLiveOfVLAN(t *testing.T) {
	client, server := joined(t)
	syn := tracker.Segment{
		Src: netip.MustParseAddrPort("10.77.0.2:40000"), Dst: netip.MustParseAddrPort("10.77.0.1:7000"), Flags: tracker.SYN, Wnd: 1000,
	}
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x60, 100, 8, 0}, forge.Append(nil, &syn)...)
	for filter, want := range map[string]int{"vlan 100 and tcp port 7000": 1, "vlan 99": 0, "tcp": 0} {
		file := filepath.Join(openDir(t), "x.pcapng")
		w := watchIn(t, client, "live", "-i", "veth", "-f", filter, "-w", file)
		server.must(t, func() error {
			_, err := sendFrames("veth", 1, func(int) []byte { return frame })
			return err
		})
		time.Sleep(100 * time.Millisecond)
		if out := w.stop(t); strings.Count(out, `"to":"SYN_SENT"`) != want {
			t.Errorf("%q: want %d connections in %s", filter, want, out)
		}
		if kept, err := os.ReadFile(file); err != nil || bytes.Contains(kept, frame) != (want > 0) {
			t.Errorf("%q: %v, the file has %q", filter, err, kept)
		}
	}
}

// Ctrl-C ends a capture that waits, and one that never had a packet.
func TestLiveIsInterruptedWhileItWaits(t *testing.T) {
	client, _ := joined(t)
	for _, args := range [][]string{{"-i", "veth"}, {"-i", "any"}, {"-i", "veth", "-i", "lo", "-o", "table"}} {
		w := watchIn(t, client, append([]string{"live"}, args...)...)
		began := time.Now()
		out := w.stop(t)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%v: it took %v to end", args, took)
		}
		if !strings.Contains(out, `"packets":0`) && !strings.Contains(out, "Totals: 0 packets") {
			t.Errorf("%v: there is no summary in %q", args, out)
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

// An interface may go down and come up again.
func TestLiveOutlivesItsInterface(t *testing.T) {
	client, server := joined(t)
	for _, devices := range [][]string{{"-i", "veth"}, {"-i", "veth", "-i", "lo"}} {
		w := watchIn(t, client, append([]string{"live"}, devices...)...)
		dialed(t, client, server, 1)
		if err := client.setUp(false); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return strings.Contains(w.stderr.String(), "veth is down") })
		if err := client.setUp(true); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return strings.Contains(w.stderr.String(), "veth is up again") })
		dialed(t, client, server, 1)
		eventually(t, func() bool { return strings.Count(w.stdout.String(), `"from":"CLOSED","to":"SYN_SENT"`) == 2 })
		w.stop(t)
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

// What -w kept replays to what the live run printed.
func TestLiveIsReplayed(t *testing.T) {
	client, server := joined(t)
	dir := openDir(t)
	for i, rotate := range [][]string{nil, {"--rotate-size", "8KB"}, {"--rotate-every", "1ms"}} {
		base := filepath.Join(dir, fmt.Sprintf("x%d.pcapng", i))
		w := watchIn(t, client, append([]string{"live", "-i", "veth", "-w", base, "--2msl", "300ms"}, rotate...)...)
		dialed(t, client, server, 30)
		time.Sleep(time.Second) // TIME_WAIT ends, and nothing is there to show it
		live := lines(w.stop(t))
		files, err := filepath.Glob(strings.TrimSuffix(base, ".pcapng") + "*.pcapng")
		if err != nil || len(files) == 0 || (len(files) == 1) != (rotate == nil) {
			t.Fatalf("%v: there are the files %v, %v", rotate, files, err)
		}
		path, _ := program()
		out, err := exec.Command(path, append([]string{"replay", "-o", "jsonl", "--events", "--2msl", "300ms"}, files...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		again := lines(string(out))
		if !slices.Equal(live, again) {
			for i := range min(len(live), len(again)) {
				if live[i] != again[i] {
					t.Errorf("line %d\nlive   %s\nreplay %s", i+1, live[i], again[i])
					break
				}
			}
			t.Errorf("%v: live has %d lines, the replay %d", rotate, len(live), len(again))
		}
		if n := strings.Count(string(out), "2MSL over"); n < 30 {
			t.Errorf("%v: %d of 30 TIME_WAITs ended", rotate, n)
		}
		t.Logf("%v: %d lines alike, in %d files", rotate, len(live), len(files))
	}
}

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

// A pipe that closes ends a run quietly.
func TestLiveIntoAPipeThatCloses(t *testing.T) {
	client, server := joined(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"jsonl", "table"} {
		cmd := exec.Command(path, "live", "-i", "veth", "-o", output, "--interval", "100ms")
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		client.must(t, cmd.Start)
		time.Sleep(300 * time.Millisecond)
		dialed(t, client, server, 1)
		if _, err := bufio.NewReader(pipe).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		pipe.Close()
		dialed(t, client, server, 1)
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s: %v, standard error has %q", output, err, stderr.String())
		}
	}
}

// A growing file is followed.
func TestLiveFollowsAFile(t *testing.T) {
	client, server := joined(t)
	file := filepath.Join(openDir(t), "x.pcapng")
	w := watchIn(t, client, "live", "-i", "veth", "-w", file)
	eventually(t, func() bool { _, err := os.Stat(file); return err == nil })
	f := watchIn(t, client, "live", "--follow", file)
	dialed(t, client, server, 3)
	eventually(t, func() bool { return strings.Count(f.stdout.String(), `"to":"TIME_WAIT"`) == 3 })
	w.stop(t)
	f.stop(t)
}

// Memory and threads do not grow with the connections that have been.
func TestLiveSoak(t *testing.T) {
	client, server := joined(t)
	client.must(t, func() error { return setSysctl("net.ipv4.ip_local_port_range", "1024 65535") })
	full := min(50_000, int(soakFor.Seconds())**soakRate/4) // connections, long before half time
	w := watchIn(t, client, "live", "-i", "veth", "-o", "table", "--interval", "5s", "--2msl", "2s", "--max-connections", strconv.Itoa(full))
	const ports = 8
	for i := range ports {
		var l net.Listener
		server.must(t, func() (err error) {
			l, err = net.Listen("tcp4", fmt.Sprintf("10.77.0.2:%d", 7000+i))
			return err
		})
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					io.Copy(c, c)
					c.Close()
				}()
			}
		}()
	}
	memory := func() (kb int) {
		kb, _ = strconv.Atoi(strings.Fields(w.status("VmRSS") + " 0")[0])
		return kb
	}
	threads := func() (n int) {
		n, _ = strconv.Atoi(w.status("Threads"))
		return n
	}
	began, opened := time.Now(), 0
	var halfMemory, halfThreads int
	for time.Since(began) < *soakFor {
		if wait := time.Duration(opened)*time.Second/time.Duration(*soakRate) - time.Since(began); wait > 0 {
			time.Sleep(wait)
		}
		client.must(t, func() error {
			c, err := net.Dial("tcp4", fmt.Sprintf("10.77.0.2:%d", 7000+opened%ports))
			if err != nil {
				return err
			}
			c.(*net.TCPConn).SetLinger(-1)
			c.Write([]byte("hello"))
			return c.Close()
		})
		opened++
		if halfMemory == 0 && time.Since(began) > *soakFor/2 {
			halfMemory, halfThreads = memory(), threads()
		}
	}
	m, n := memory(), threads()
	t.Logf("%d connections in %v: %d kB and %d threads at half time, %d kB and %d threads at the end", opened, *soakFor, halfMemory, halfThreads, m, n)
	if m > halfMemory+halfMemory/4+8<<10 || n > halfThreads+4 {
		t.Errorf("it has grown")
	}
	w.stop(t)
	t.Logf("standard error has %q", w.stderr.String()) // how many packets were lost on a busy machine, for one
}
