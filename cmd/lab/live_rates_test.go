//go:build lab && linux

package lab

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var flood = flag.Int("flood", 500_000, "how many packets the flood has")

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
		seen, dropped := countedIn(w.stop(t))
		t.Logf("%v: %d sent at %.0f a second, %d seen, %d dropped", args, sent, float64(sent)/took.Seconds(), seen, dropped)
		if seen+dropped != sent {
			t.Errorf("%v: %d packets were sent, %d seen and %d dropped", args, sent, seen, dropped)
		}
	}
}

// countedIn returns how many packets the last summary says were seen, and were lost.
func countedIn(summary string) (seen, dropped int) {
	summary = summary[max(strings.LastIndex(summary, "Totals: "), 0):]
	if m := regexp.MustCompile(`(?m)^Totals: (\d+) packets?`).FindStringSubmatch(summary); m != nil {
		seen, _ = strconv.Atoi(m[1])
	}
	if m := regexp.MustCompile(`(\d+) packets? dropped by the capture`).FindStringSubmatch(summary); m != nil {
		dropped, _ = strconv.Atoi(m[1])
	}
	return seen, dropped
}

// What is still in the ring when a capture is ended is taken in, however long that
// takes.
func TestLiveTakesInWhatIsLeft(t *testing.T) {
	const syns, buffer = 80_000, "64MiB"
	client, server := joined(t)
	w := watchIn(t, client, "live", "-i", "veth", "-o", "jsonl", "-B", buffer, "-f", "tcp")
	before, sent := lostByDevice(t, server), 0
	w.cmd.Process.Signal(syscall.SIGSTOP)
	s := tcp.Segment{Src: netip.AddrPortFrom(server.addr, 1), Dst: netip.MustParseAddrPort("10.77.0.3:7000"), Flags: tcp.SYN, Wnd: 1000}
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, pktgen.Append(nil, &s)...)
	server.must(t, func() (err error) {
		sent, err = sendFrames("veth", syns, func(i int) []byte {
			binary.BigEndian.PutUint16(frame[34:], uint16(i))     // port
			binary.BigEndian.PutUint16(frame[32:], uint16(i>>16)) // destination
			return frame
		})
		return err
	})
	w.cmd.Process.Signal(syscall.SIGINT)
	w.cmd.Process.Signal(syscall.SIGCONT)
	var sum struct{ Packets, Dropped int }
	all := lines(w.waitFor(t, time.Minute)) // a busy machine takes its time
	if err := json.Unmarshal([]byte(all[len(all)-1]), &sum); err != nil {
		t.Fatal(err)
	}
	if sent -= lostByDevice(t, server) - before; sum.Packets+sum.Dropped != sent {
		t.Errorf("%d packets were sent, %d seen and %d dropped", sent, sum.Packets, sum.Dropped)
	}
	t.Logf("%d packets were sent, %d seen and %d dropped", sent, sum.Packets, sum.Dropped)
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
	s := tcp.Segment{
		Src: netip.MustParseAddrPort("10.77.0.2:7000"), Dst: netip.MustParseAddrPort("10.77.0.1:40000"),
		Flags: tcp.ACK, Wnd: 1000, Data: 6,
	}
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, pktgen.Append(nil, &s)...)
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

// What is found in a connection in whose life packets were lost is less certain,
// and says so.
func TestLiveWhenPacketsAreLost(t *testing.T) {
	client, server := joined(t)
	w := watchIn(t, client, "live", "-i", "veth", "-B", "512KiB")
	syn := func(port uint16, wanted string, times int) {
		s := tcp.Segment{
			Src: netip.AddrPortFrom(server.addr, port), Dst: netip.MustParseAddrPort("10.77.0.3:7000"), // nobody's
			Flags: tcp.SYN, Wnd: 1000,
		}
		frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, pktgen.Append(nil, &s)...)
		server.must(t, func() error {
			_, err := sendFrames("veth", 1, func(int) []byte { return frame })
			return err
		})
		eventually(t, func() bool { return strings.Count(w.stdout.String(), wanted) == times })
	}
	const begun = `"from":"CLOSED","to":"SYN_SENT"`
	syn(40001, begun, 1)
	w.cmd.Process.Signal(syscall.SIGSTOP)
	server.must(t, func() error { _, err := floodFrom("veth", 20_000); return err })
	w.cmd.Process.Signal(syscall.SIGCONT)
	eventually(t, func() bool { return strings.Contains(w.stderr.String(), "packets lost so far") })
	syn(40002, begun, 2)
	time.Sleep(time.Second) // or the second is a copy that the network made
	syn(40001, `"kind":"syn-retransmitted"`, 1)
	syn(40002, `"kind":"syn-retransmitted"`, 2)
	certainties := map[string]string{}
	for line := range strings.Lines(w.stop(t)) {
		var a struct{ Type, Kind, Certainty, Text string }
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		if a.Type == "anomaly" && a.Kind == "syn-retransmitted" {
			from, _, _ := strings.Cut(a.Text, " ")
			certainties[from] = a.Certainty
			if says := strings.Contains(a.Text, "The capture lost packets in this time"); says != (a.Certainty == "ambiguous") {
				t.Errorf("it says %s", line)
			}
		}
	}
	if want := map[string]string{"10.77.0.2:40001": "ambiguous", "10.77.0.2:40002": "assumed"}; !maps.Equal(certainties, want) {
		t.Errorf("the certainties are %v, want %v", certainties, want)
	}
}
