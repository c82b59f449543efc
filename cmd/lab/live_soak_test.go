//go:build lab && linux

package lab

import (
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	soakFor  = flag.Duration("soak", 10*time.Second, "how long the soak test takes")
	soakRate = flag.Int("soakrate", 1000, "how many connections a second the soak test opens")
)

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
