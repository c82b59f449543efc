//go:build lab && linux

package lab

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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

// alike waits for a moment at which the table of a run equals what both kernels
// have, with as many connections in some pairs of states as are wanted at least,
// and fails the test if none comes.
func alike(t *testing.T, w *run, client, server *netns, what string, wanted ...[2]string) {
	t.Helper()
	var got, want map[[2]string][2]string
	equal := func() bool {
		got, want = w.table(), kernels(t, client, server)
		maps.DeleteFunc(got, func(_, states [2]string) bool { return states == [2]string{"CLOSED", "CLOSED"} })
		left := slices.Collect(maps.Values(want))
		for _, states := range wanted {
			i := slices.Index(left, states)
			if i < 0 {
				return false
			}
			left = slices.Delete(left, i, i+1)
		}
		return maps.Equal(got, want)
	}
	for end := time.Now().Add(5 * time.Second); !equal(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%s: want %v of %v", what, wanted, slices.Collect(maps.Values(want)))
			for key := range want {
				if got[key] == want[key] {
					delete(got, key)
					delete(want, key)
				}
			}
			t.Errorf("%s: not alike:\ntcpwatch has %v\nthe kernels  %v", what, got, want)
			return
		}
	}
	t.Logf("%s: %d connections, all alike", what, len(want))
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
	open(20)
	alike(t, w, client, server, "opened")
	talk(clients, servers, 100_000) // in segments beyond the MTU
	talk(servers, clients, 3)
	alike(t, w, client, server, "talked")
	for i := range 5 {
		clients[i].CloseWrite()
		servers[5+i].CloseWrite()
	}
	alike(t, w, client, server, "half closed")
	for i := range 3 {
		servers[i].Close()
		clients[5+i].Close()
	}
	alike(t, w, client, server, "closed")
	for i := 10; i < 13; i++ {
		clients[i].SetLinger(0)
		clients[i].Close()
		servers[i+3].SetLinger(0)
		servers[i+3].Close()
	}
	alike(t, w, client, server, "aborted")
	client.do(func() error { _, err := net.Dial("tcp4", "10.77.0.2:7001"); return err }) // refused
	open(5)
	alike(t, w, client, server, "refused, and opened")
	summary := w.stop(t)
	if !strings.Contains(summary[strings.LastIndex(summary, "\nState"):], "ESTABLISHED") {
		t.Errorf("the summary has no state: %s", summary)
	}
	if got := w.stderr.String(); got != "" {
		t.Errorf("standard error has %q", got)
	}
}
