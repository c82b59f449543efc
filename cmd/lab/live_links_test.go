//go:build lab && linux

package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

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
	var c net.Conn
	client.must(t, func() (err error) { c, err = net.Dial("tcp4", "10.77.0.2:7000"); return err })
	s, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go c.Write(make([]byte, octets))
	if n, err := io.CopyN(io.Discard, s, octets); err != nil {
		t.Fatal(n, err)
	}
	var kernel *unix.TCPInfo // what the sender's has to say, when it knows that all arrived
	eventually(t, func() bool {
		kernel = tcpInfo(t, c)
		return kernel.Unacked == 0 && kernel.Notsent_bytes == 0
	})
	c.Close()
	s.Close()
	out := w.stop(t)
	var record struct {
		Client struct {
			Bytes   int    `json:"bytes"`
			Packets int    `json:"packets"`
			Again   uint64 `json:"retransmitted_bytes"`
		} `json:"client"`
	}
	all := lines(out)
	if err := json.Unmarshal([]byte(all[len(all)-2]), &record); err != nil {
		t.Fatal(err)
	}
	got := record.Client
	if got.Bytes != octets || got.Again != kernel.Bytes_retrans || strings.Contains(out, "capture-gap") {
		t.Errorf("want %d octets once, and %d again, as the kernel says: %s", octets, kernel.Bytes_retrans, out)
	}
	t.Logf("%d octets in %d packets, %d of them again", got.Bytes, got.Packets, got.Again)
}

// tcpInfo asks the kernel about a connection.
func tcpInfo(t *testing.T, c net.Conn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return info
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
	syn := tcp.Segment{
		Src: netip.MustParseAddrPort("10.77.0.2:40000"), Dst: netip.MustParseAddrPort("10.77.0.1:7000"), Flags: tcp.SYN, Wnd: 1000,
	}
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x60, 100, 8, 0}, pktgen.Append(nil, &syn)...)
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
