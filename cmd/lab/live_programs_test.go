//go:build lab && linux

package lab

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A guest is a program that runs on a host. Its standard input stays open until
// it is closed here.
type guest struct {
	io.Closer
	cmd    *exec.Cmd
	output syncBuffer
	ended  chan error
}

// guestIn starts a program on a host.
func guestIn(t *testing.T, on interface{ do(func() error) error }, name string, args ...string) *guest {
	t.Helper()
	g := &guest{cmd: exec.Command(name, args...), ended: make(chan error, 1)}
	g.cmd.Stdout, g.cmd.Stderr = &g.output, &g.output
	var err error
	if g.Closer, err = g.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := on.do(g.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() { g.ended <- g.cmd.Wait() }()
	t.Cleanup(func() { g.cmd.Process.Kill() })
	return g
}

// wait waits until the program has ended by itself, and well.
func (g *guest) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-g.ended:
		if err != nil {
			t.Fatalf("%v: %v: %s", g.cmd.Args, err, g.output.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%v has not ended: %s", g.cmd.Args, g.output.String())
	}
}

// listens waits until a socket listens at a port of the host.
func (n *netns) listens(t *testing.T, port uint16) {
	t.Helper()
	eventually(t, func() bool {
		list, err := n.diag.SocketDiagTCP(unix.AF_INET)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if kernelStates[s.State] == "LISTEN" && s.ID.SourcePort == port {
				return true
			}
		}
		return false
	})
}

// The pairs of states that programs leave behind, the client's first.
var (
	open         = [2]string{"ESTABLISHED", "ESTABLISHED"}
	serverIsDone = [2]string{"CLOSE_WAIT", "FIN_WAIT_2"}
	clientWaits  = [2]string{"TIME_WAIT", "CLOSED"}
	serverWaits  = [2]string{"CLOSED", "TIME_WAIT"}
)

// At quiet moments the table equals what both kernels have also of programs that
// know nothing of it: while they talk, when they are done, and when all of their
// TIME_WAITs are over.
func TestLiveEqualsTheKernelsOfPrograms(t *testing.T) {
	client, server := joined(t)
	w := watchIn(t, client, "live", "-i", "veth", "-o", "table", "--interval", "300ms")
	alike := func(t *testing.T, what string, wanted ...[2]string) {
		t.Helper()
		alike(t, w, client, server, what, wanted...)
	}
	address := httpServer(t, server)
	of := func(program string, test func(t *testing.T)) {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("SKIPPED: %v", err)
			}
			test(t)
		})
	}
	of("nc", func(t *testing.T) {
		connect := func(port uint16) (c, s *guest) {
			s = guestIn(t, server, "nc", "-N", "-l", "10.77.0.2", fmt.Sprint(port)) // -N: shuts down at the end of its standard input
			server.listens(t, port)
			return guestIn(t, client, "nc", "10.77.0.2", fmt.Sprint(port)), s
		}
		c1, s1 := connect(7001)
		c2, s2 := connect(7002)
		c3, s3 := connect(7003)
		alike(t, "three are open", open, open, open)
		s1.Close()
		alike(t, "one is half closed", open, open, serverIsDone)
		c1.Close()
		c1.wait(t)
		s1.wait(t)
		alike(t, "it is closed", open, open, serverWaits)
		c2.cmd.Process.Kill()
		s3.cmd.Process.Kill()
		s2.wait(t)
		alike(t, "both others lost an end", clientWaits, serverIsDone, serverWaits)
		c3.Close()
		c3.wait(t)
		alike(t, "they are closed", clientWaits, serverWaits, serverWaits)
	})
	of("curl", func(t *testing.T) {
		guestIn(t, client, "curl", "-fsS", "http://"+address+"/").wait(t)
		alike(t, "one page", clientWaits)
		guestIn(t, client, "curl", "-fsS", "-H", "Connection: close", "http://"+address+"/").wait(t)
		alike(t, "one that the server ends", serverWaits)
		slow := guestIn(t, client, "curl", "-fsS", "http://"+address+"/slow")
		alike(t, "one that takes its time", open)
		slow.wait(t)
		alike(t, "it is over")
		endless := guestIn(t, client, "curl", "-fsS", "--limit-rate", "1M", "-o", "/dev/null", "http://"+address+"/endless")
		alike(t, "one without an end", open)
		endless.cmd.Process.Kill()
		<-endless.ended
		alike(t, "it was cut off")
	})
	of("iperf3", func(t *testing.T) {
		s := guestIn(t, server, "iperf3", "-s", "-1", "-B", "10.77.0.2", "-p", "7004")
		server.listens(t, 7004)
		c := guestIn(t, client, "iperf3", "-c", "10.77.0.2", "-p", "7004", "-t", "2", "-P", "3", "-b", "20M")
		alike(t, "three streams and their control", open, open, open, open)
		c.wait(t)
		s.wait(t)
		alike(t, "they are done")
	})
	of("wrk", func(t *testing.T) {
		wrk := guestIn(t, client, "wrk", "-t", "1", "-c", "20", "-d", "2s", "http://"+address+"/")
		alike(t, "twenty connections kept alive", slices.Repeat([][2]string{open}, 20)...)
		wrk.wait(t)
		alike(t, "they are done")
		guestIn(t, client, "wrk", "-t", "1", "-c", "2", "-d", "1s", "-H", "Connection: close", "http://"+address+"/").wait(t)
		alike(t, "a connection for each of many pages", slices.Repeat([][2]string{serverWaits}, 100)...)
	})
	over := time.Now().Add(70 * time.Second) // a TIME_WAIT takes 60 s
	for len(kernels(t, client, server)) > 0 && time.Now().Before(over) {
		time.Sleep(100 * time.Millisecond)
	}
	alike(t, "when all is over")
	w.stop(t)
}

// httpServer serves pages on a host, and returns where.
func httpServer(t *testing.T, n *netns) (address string) {
	var listener net.Listener
	n.must(t, func() (err error) { listener, err = net.Listen("tcp4", n.addr.String()+":8000"); return err })
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * time.Second)
		io.WriteString(w, "hello\n")
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for err := error(nil); err == nil; {
			_, err = w.Write(bytes.Repeat([]byte("hello\n"), 1000))
		}
	})
	s := &http.Server{Handler: mux}
	go s.Serve(listener)
	t.Cleanup(func() { s.Close() })
	return listener.Addr().String()
}
