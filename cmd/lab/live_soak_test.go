//go:build lab && linux

package lab

import (
	"flag"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	soakFor  = flag.Duration("soak", 10*time.Second, "how long the soak test takes")
	soakRate = flag.Int("soakrate", 1000, "how many connections a second the soak test opens")
)

// Memory, threads and goroutines do not grow with the connections that have been.
func TestLiveSoak(t *testing.T) {
	client, server := joined(t)
	client.must(t, func() error { return setSysctl("net.ipv4.ip_local_port_range", "1024 65535") })
	full := min(50_000, int(soakFor.Seconds())**soakRate/4) // connections, long before half time
	w := watchIn(t, client, "live", "-i", "veth", "-o", "table", "--interval", "5s", "--2msl", "2s", "--max-connections", strconv.Itoa(full), "--listen", "127.0.0.1:9555")
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
	type size struct{ memory, threads, goroutines int } // memory in kB
	measure := func() (z size) {
		z.memory, _ = strconv.Atoi(strings.Fields(w.status("VmRSS") + " 0")[0])
		z.threads, _ = strconv.Atoi(w.status("Threads"))
		_, metrics := client.get(t, "http://127.0.0.1:9555/metrics")
		if m := regexp.MustCompile(`(?m)^go_goroutines (\d+)$`).FindStringSubmatch(metrics); m != nil {
			z.goroutines, _ = strconv.Atoi(m[1])
		}
		if z.memory == 0 || z.threads == 0 || z.goroutines == 0 {
			t.Fatalf("it cannot be measured: %+v", z)
		}
		return z
	}
	began, opened := time.Now(), 0
	var half size
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
		if half.memory == 0 && time.Since(began) > *soakFor/2 {
			half = measure()
		}
	}
	end := measure()
	t.Logf("%d connections in %v: at half time %+v, at the end %+v", opened, *soakFor, half, end)
	if end.memory > half.memory+half.memory/4+8<<10 || end.threads > half.threads+4 || end.goroutines > half.goroutines+4 {
		t.Errorf("it has grown")
	}
	summary := w.stop(t)
	t.Logf("%s", summary[strings.LastIndex(summary, "\nTotals: "):])
	t.Logf("standard error has %q", w.stderr.String()) // how many packets were lost on a busy machine, for one
}
