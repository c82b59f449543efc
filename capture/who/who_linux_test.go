package who

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// asker is one for a test.
func asker(t *testing.T) *Asker {
	a, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// pair is a connection over loopback, and what listens.
func pair(t *testing.T, address string) (client, server *net.TCPConn, l net.Listener) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn), l
}

func localOf(c *net.TCPConn) netip.AddrPort  { return c.LocalAddr().(*net.TCPAddr).AddrPort() }
func remoteOf(c *net.TCPConn) netip.AddrPort { return c.RemoteAddr().(*net.TCPAddr).AddrPort() }

func queryOf(c *net.TCPConn) Query { return Query{Local: localOf(c), Remote: remoteOf(c)} }

// The kernel tells the states of both ends as they close, and whose they are.
func TestAsk(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			a := asker(t)
			client, server, l := pair(t, address)
			both := []Query{queryOf(client), queryOf(server)}
			if _, err := client.Write([]byte("four")); err != nil {
				t.Fatal(err)
			}
			states := func(want ...tcp.State) []Answer {
				t.Helper()
				var got []Answer
				for range 100 { // until what was sent has come
					got = a.Ask(both)
					if got[0].Socket.State == want[0] && got[1].Socket.State == want[1] && (want[1] != tcp.Established || got[1].Socket.RecvQueue == 4) {
						return got
					}
					time.Sleep(10 * time.Millisecond)
				}
				t.Fatalf("got %v and %v, want %v", got[0].Socket, got[1].Socket, want)
				return nil
			}
			got := states(tcp.Established, tcp.Established)
			comm, _ := os.ReadFile("/proc/self/comm")
			me, _ := user.Current()
			for i := range got {
				s := got[i].Socket
				if !got[i].Ours || !got[i].Known || !s.HasInfo || s.Window == 0 || s.Cookie == 0 || time.Since(got[i].At) > time.Minute {
					t.Errorf("end %d: got %+v", i, got[i])
				}
				if o := s.Owner; o.PID != os.Getpid() || o.Program != strings.TrimSpace(string(comm)) || o.User != me.Username || o.Source != tcp.FromSocket {
					t.Errorf("end %d: got %+v", i, o)
				}
			}
			client.Close()
			states(tcp.FinWait2, tcp.CloseWait)
			server.Close() // with what it has not read
			states(tcp.Closed, tcp.Listen)
			listens := a.Ask(both)[1]
			if o := listens.Socket.Owner; o.PID != os.Getpid() || o.Source != tcp.FromListener {
				t.Errorf("what listens: got %+v", o)
			}
			l.Close()
			states(tcp.Closed, tcp.Closed)
		})
	}
}

// A client of IPv4 is found at a server of IPv6 that takes both.
func TestAskMapped(t *testing.T) {
	a := asker(t)
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", "127.0.0.1:"+strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := queryOf(c.(*net.TCPConn))
	got := a.Ask([]Query{{Local: q.Remote, Remote: q.Local}})[0]
	if got.Socket.State != tcp.Established {
		t.Errorf("got %+v", got)
	}
}

// Of many queries each has its own answer, and of strangers there is none.
func TestAskMany(t *testing.T) {
	a := asker(t)
	client, server, _ := pair(t, "127.0.0.1:0")
	stranger := Query{Local: netip.MustParseAddrPort("192.0.2.1:80"), Remote: localOf(client)}
	closed := Query{Local: netip.MustParseAddrPort("127.0.0.1:1"), Remote: localOf(client)}
	var list []Query
	for range 50 {
		list = append(list, queryOf(client), stranger, closed, queryOf(server))
	}
	for i, got := range a.Ask(list) {
		want := [...]Answer{{Ours: true, Known: true}, {}, {Ours: true, Known: true}, {Ours: true, Known: true}}[i%4]
		state := [...]tcp.State{tcp.Established, tcp.Unknown, tcp.Closed, tcp.Established}[i%4]
		if got.Query != list[i] || got.Ours != want.Ours || got.Known != want.Known || got.Socket.State != state {
			t.Fatalf("query %d: got %+v", i, got)
		}
	}
}

// A process that the socket was passed on from no longer is its owner.
func TestOwnerIsChecked(t *testing.T) {
	a := asker(t)
	client, server, _ := pair(t, "127.0.0.1:0")
	q := queryOf(client)
	if got := a.Ask([]Query{q})[0].Socket.Owner; got.PID != os.Getpid() {
		t.Fatalf("got %+v", got)
	}
	for _, held := range a.owners.held {
		if !held[0].holds(inodeOf(t, client)) {
			t.Error("a socket that is open is not held")
		}
	}
	inode, held := inodeOf(t, client), a.owners.held[inodeOf(t, client)][0]
	client.Close()
	if held.holds(inode) {
		t.Error("a socket that was closed is still held")
	}
	server.Close()
}

func inodeOf(t *testing.T, c *net.TCPConn) (inode uint32) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if err := unix.Fstat(int(fd), &st); err != nil {
			t.Fatal(err)
		}
		inode = uint32(st.Ino)
	})
	return inode
}

// A reader and a writer on the same pipes ask and answer.
func TestRemote(t *testing.T) {
	a := asker(t)
	client, _, _ := pair(t, "127.0.0.1:0")
	toServer, asks := io.Pipe()
	answers, fromServer := io.Pipe()
	served := make(chan error)
	go func() {
		err := Serve(a, toServer, fromServer)
		fromServer.Close()
		served <- err
	}()
	r := NewRemote(answers, asks)
	if !r.Ask([]Query{queryOf(client)}) {
		t.Fatal("there was no room")
	}
	for {
		list, gone := r.Answers()
		if gone {
			t.Fatal("it is gone")
		}
		if len(list) == 1 && list[0].Query == queryOf(client) && list[0].Socket.State == tcp.Established && list[0].Socket.Owner.PID == os.Getpid() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestUnifiedMount(t *testing.T) {
	for text, want := range map[string]string{
		"30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n":                                                                        "/sys/fs/cgroup",
		"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n":                       "/sys/fs/cgroup/unified",
		"30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup cgroup rw,cpu\n29 1 0:2 / /sys/fs/cgroup2 rw - tmpfs cgroup2 rw\ncgroup2\n - cgroup2": "",
	} {
		if got := unifiedMount(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestPodName(t *testing.T) {
	defer func(before string) { podLogs = before }(podLogs)
	podLogs = t.TempDir()
	const uid = "8f2e4b0c-1f6a-4d0b-9a57-3c1c2c9a7d10"
	if got := podName(uid); got != uid {
		t.Errorf("without its directory: got %q", got)
	}
	if err := os.Mkdir(filepath.Join(podLogs, "shop_web-7d4b9c_"+uid), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := podName(uid); got != "shop/web-7d4b9c" {
		t.Errorf("got %q", got)
	}
	if got := podName(""); got != "" {
		t.Errorf("no pod: got %q", got)
	}
}

// The cgroup of a socket is found by its ID, the inode of its directory.
func TestCgroup(t *testing.T) {
	o := newOwners()
	if o.mount == "" {
		t.Skip("SKIPPED: cgroup v2 is not mounted")
	}
	dir := filepath.Join(o.mount, "tcpwatch-test.service")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	defer os.Remove(dir)
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	s := socket{Socket: tcp.Socket{State: tcp.CloseWait, HasInfo: true}, group: st.Ino}
	if got := o.of(&s); got.Unit != "tcpwatch-test.service" || got.Source != tcp.NoOwner {
		t.Errorf("got %+v", got)
	}
}

// What the kernel sends is read with care.
func TestParseSocket(t *testing.T) {
	whole := make([]byte, sizeofMessage)
	whole[1] = 8
	native.PutUint32(whole[64:], 1000)
	native.PutUint32(whole[68:], 4711)
	attribute := func(kind uint16, value []byte) []byte {
		b := native.AppendUint16(nil, uint16(4+len(value)))
		b = append(native.AppendUint16(b, kind), value...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	info := make([]byte, 104)
	native.PutUint32(info[68:], 1500)
	native.PutUint32(info[80:], 10)
	native.PutUint32(info[100:], 3)
	text := append(whole, append(attribute(15, []byte{0}), append(attribute(diagInfo, info), attribute(diagCgroupID, native.AppendUint64(nil, 77))...)...)...)
	s := parseSocket(text)
	if s.State != tcp.CloseWait || s.uid != 1000 || s.inode != 4711 || s.group != 77 || s.RTT != 1500*time.Microsecond || s.Window != 10 || s.Retransmits != 3 {
		t.Errorf("got %+v", s)
	}
	for n := range text {
		parseSocket(text[:n])
	}
	text[1] = 200
	if got := parseSocket(text); got != (socket{}) {
		t.Errorf("of a state that there is not: got %+v", got)
	}
}

// A program in the kernel tells who opens and closes connections.
func TestEvents(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			a := asker(t)
			if err := a.Listen(); err != nil {
				t.Skipf("SKIPPED: %v", err)
			}
			began := time.Now()
			client, server, _ := pair(t, address)
			both := []Query{queryOf(client), queryOf(server)}
			server.Close()
			client.Close()
			comm, _ := os.ReadFile("/proc/self/comm")
			me, _ := user.Current()
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				byEnd := [2]int{}
				for _, got := range a.Ask(both)[2:] {
					o := got.Socket.Owner
					if !got.Event || o.Source != tcp.FromEvent || o.PID != os.Getpid() || o.Program != strings.TrimSpace(string(comm)) || o.User != me.Username {
						t.Errorf("got %+v", got)
					}
					if got.At.Before(began.Add(-time.Second)) || got.At.After(time.Now().Add(time.Second)) {
						t.Errorf("at %v, between %v and now", got.At, began)
					}
					if got.Query == both[0] {
						byEnd[0]++
					} else {
						byEnd[1]++
					}
				}
				if byEnd[0] > 0 && byEnd[1] > 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("events of the ends: %v", byEnd)
				}
			}
		})
	}
}
