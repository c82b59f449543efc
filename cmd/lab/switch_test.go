//go:build lab && linux

package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Servers are tried on a network of three hosts, 10.77.0.1 to .3, with a switch
// between them that takes 25 ms for every packet: long enough that what a busy
// machine adds to it does not change who crosses whom.

const switchDelay = 25 * time.Millisecond

// A network is three hosts and a switch.
type network struct {
	t                       *testing.T
	client, server, backend *host
	namespaces              map[*host]*os.File

	stop chan struct{}
	mu   sync.Mutex
	kept []net.Conn // by applications that never close them
}

func newNetwork(t *testing.T) *network {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the lab needs root, for network namespaces")
	}
	n := &network{t: t, namespaces: map[*host]*os.File{}, stop: make(chan struct{})}
	for i, h := range []**host{&n.client, &n.server, &n.backend} {
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}), 24)
		var err error
		if *h, err = newHost([]string{"client", "server", "backend"}[i], addr); err != nil {
			t.Skipf("SKIPPED: there are no network namespaces to be had: %v", err)
		}
	}
	for _, h := range n.hosts() {
		err := h.do(func() (err error) {
			n.namespaces[h], err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.namespaces[h].Close() })
		go n.carry(h)
	}
	return n
}

func (n *network) hosts() []*host { return []*host{n.client, n.server, n.backend} }

// carry takes what a host sends to where it is sent to, until its device is closed.
func (n *network) carry(from *host) {
	type packet struct {
		due  time.Time
		to   *host
		data []byte
	}
	way := make(chan packet, 1<<16)
	defer close(way)
	go func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			select {
			case <-n.stop:
			default:
				p.to.tun.Write(p.data) // the device of a host that is gone takes none
			}
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		size, err := from.tun.Read(buf)
		if err != nil {
			return
		}
		if size < 20 || buf[0]>>4 != 4 {
			continue
		}
		to := netip.AddrFrom4([4]byte(buf[16:20]))
		for _, h := range n.hosts() {
			if h.addr == to {
				way <- packet{time.Now().Add(switchDelay), h, bytes.Clone(buf[:size])}
			}
		}
	}
}

// keep is what an application does that forgets to close.
func (n *network) keep(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = append(n.kept, c)
}

// close ends the network, and writes what each host captured. Connections that
// are open still stay so in the captures.
func (n *network) close(dir string) {
	time.Sleep(4 * switchDelay) // for what is on its way
	close(n.stop)
	for _, h := range n.hosts() {
		h.close()
		if err := h.write(filepath.Join(dir, h.name+".pcap")); err != nil {
			n.t.Error(err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.kept {
		c.Close()
	}
}

// sawReset reports whether a RST was captured, after the taps were closed.
func (n *network) sawReset() bool {
	const rst = 1 << 2 // of the octet of flags
	for _, h := range n.hosts() {
		for _, p := range h.captured {
			if len(p.Data) == 0 {
				continue
			}
			if tcp := int(p.Data[0]&15) * 4; p.Data[0]>>4 == 4 && len(p.Data) > tcp+13 && p.Data[tcp+13]&rst != 0 {
				return true
			}
		}
	}
	return false
}

// write writes a capture of what was IPv4, after the tap was closed.
func (t *tap) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriter(f)
	w, err := pktgen.NewPcap(b, pcap.LinkRaw, 1<<16)
	if err != nil {
		return err
	}
	for _, p := range t.captured {
		if len(p.Data) == 0 || p.Data[0]>>4 != 4 {
			continue
		}
		if err := w.Write(tcp.Time(p.At.UnixNano()), p.Data); err != nil {
			return err
		}
	}
	return b.Flush()
}

// listen listens on a host, and has each connection served on its own.
func (n *network) listen(h *host, port int, serve func(i int, c *net.TCPConn)) {
	l := n.listener(h, port)
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(i, c.(*net.TCPConn))
		}
	}()
}

func (n *network) listener(h *host, port int) (l *net.TCPListener) {
	n.t.Helper()
	err := h.do(func() error {
		any, err := net.Listen("tcp4", fmt.Sprintf("%v:%d", h.addr, port))
		if err == nil {
			l = any.(*net.TCPListener)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from one host to another. It does so on a thread of its own, so
// that many can at once.
func (n *network) dial(from, to *host, port int, patience time.Duration) (c *net.TCPConn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err = unix.Setns(int(n.namespaces[from].Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		var any net.Conn
		if any, err = net.DialTimeout("tcp4", fmt.Sprintf("%v:%d", to.addr, port), patience); err == nil {
			c = any.(*net.TCPConn)
		}
	}()
	<-done
	return c, err
}

// listens waits until a socket listens at a port of a host.
func (n *network) listens(h *host, port int) {
	n.t.Helper()
	eventually(n.t, func() bool {
		sockets, err := h.sockets()
		if err != nil {
			n.t.Fatal(err)
		}
		for s, state := range sockets {
			if state == "LISTEN" && int(s.local.Port()) == port {
				return true
			}
		}
		return false
	})
}
