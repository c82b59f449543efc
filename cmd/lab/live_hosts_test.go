//go:build lab && linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// get fetches a page as a browser on the host does.
func (n *netns) get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	browser := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
			err = n.do(func() (err error) { c, err = net.Dial(network, address); return err })
			return c, err
		},
	}}
	r, err := browser.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}
