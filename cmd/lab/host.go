//go:build lab && linux

package lab

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
)

// A host is a network namespace whose only way out is a TUN device, the near
// end of the wire. The namespace has no name: it goes with the process.
type host struct {
	name string
	addr netip.Addr
	work chan func() // run on the thread that is in the namespace
	tun  *os.File
	diag *netlink.Handle
	*tap

	strangers []int // sockets that fill the queues of listeners
}

// A tap captures what a namespace sends and receives.
type tap struct {
	fd       int // an AF_PACKET socket
	captured []story.Packet
	lost     int           // there was no room for these
	stopped  chan struct{} // all was read
	stop     chan struct{}
}

// newHost makes a host with one address, that of its peer being on the same link.
func newHost(name string, addr netip.Prefix) (*host, error) {
	h := &host{name: name, addr: addr.Addr(), work: make(chan func())}
	ready := make(chan error)
	go func() {
		// The thread is never unlocked, and so ends with the goroutine: no
		// other goroutine finds itself in the namespace.
		runtime.LockOSThread()
		err := h.enter(addr)
		ready <- err
		if err != nil {
			return
		}
		for f := range h.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	return h, nil
}

// do runs f in the host's namespace.
func (h *host) do(f func() error) error {
	done := make(chan error)
	h.work <- func() { done <- f() }
	return <-done
}

// enter makes the namespace and what is in it.
func (h *host) enter(addr netip.Prefix) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	// A namespace made in one that says so has a socket table of its own, which
	// is read in microseconds instead of a millisecond. Kernels before 6.1 have
	// no such setting, and read slowly.
	if setSysctl("net.ipv4.tcp_child_ehash_entries", "1024") == nil {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	for _, s := range []string{
		"net.ipv4.tcp_no_metrics_save=1",
		"net.ipv6.conf.default.router_solicitations=0",
		"net.ipv6.conf.default.accept_ra=0",
	} {
		name, value, _ := strings.Cut(s, "=")
		if err := setSysctl(name, value); err != nil {
			return err
		}
	}
	var err error
	if h.tun, err = openTUN("wire"); err != nil {
		return err
	}
	if err := h.configure(addr); err != nil {
		return err
	}
	if h.tap, err = openTap(); err != nil {
		return err
	}
	h.diag, err = netlink.NewHandle(unix.NETLINK_INET_DIAG)
	return err
}

// openTUN makes a TUN device in the namespace of the thread.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, fmt.Errorf("making a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// configure gives the TUN device its address and turns it on.
func (h *host) configure(addr netip.Prefix) error {
	route, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer route.Close()
	lo, err := route.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := route.LinkSetUp(lo); err != nil {
		return err
	}
	link, err := route.LinkByName("wire")
	if err != nil {
		return err
	}
	err = route.AddrAdd(link, &netlink.Addr{
		IPNet: &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen())},
		Flags: unix.IFA_F_NODAD,
	})
	if err != nil {
		return err
	}
	return route.LinkSetUp(link)
}

func setSysctl(name, value string) error {
	return os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
}

// openTap opens what tcpdump would: a socket that sees every packet of the
// thread's namespace, with the kernel's time of it.
func openTap() (*tap, error) {
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
	if err != nil {
		return nil, err
	}
	t := &tap{fd: fd, stop: make(chan struct{}), stopped: make(chan struct{})}
	go t.listen()
	return t, nil
}

// listen captures until the tap is closed, and then what is there still.
func (t *tap) listen() {
	defer close(t.stopped)
	packet, control := make([]byte, 1<<16), make([]byte, 256)
	poll := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
	for {
		n, nc, _, _, err := unix.Recvmsg(t.fd, packet, control, unix.MSG_DONTWAIT)
		if err == nil {
			t.captured = append(t.captured, story.Packet{At: stamp(control[:nc]), Data: bytes.Clone(packet[:n])})
			continue
		}
		select {
		case <-t.stop:
			return
		default:
			_, _ = unix.Poll(poll, 20) // interrupted or not, the loop looks again
		}
	}
}

// stamp returns the kernel's time of a packet.
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(native.Uint64(m.Data)), int64(native.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

// close ends the tap; captured and lost are whole afterwards.
func (t *tap) close() {
	close(t.stop)
	<-t.stopped
	if s, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		t.lost = int(s.Drops)
	}
	_ = unix.Close(t.fd)
}

// close ends the host, and its tap.
func (h *host) close() {
	h.tap.close()
	_ = h.tun.Close()
	h.diag.Close()
	for _, fd := range h.strangers {
		_ = unix.Close(fd)
	}
	close(h.work)
}
