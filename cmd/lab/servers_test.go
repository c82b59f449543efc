//go:build lab && linux

package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/tcpwatch/tcpwatch/cmd/lab/trial"
)

// A fault is a server, or a client, that misbehaves. Its healthy twin is the same
// program well behaved.
type fault struct {
	name string
	at   string   // --at, where what matters comes later than the capture ends
	taps []string // which hosts captured it; the client and the server, if there are none
	play func(n *network, well bool)
	// It is a race, which a busy machine may miss: then it is played again.
	races bool
	// What the first screen has to say beside its rows of connections: which service
	// it is about, what is wrong, and which end is at fault. These are regular
	// expressions.
	says []string
}

var faults = []fault{
	{
		name: "server-leaks-all", at: "+300s",
		play: func(n *network, well bool) { n.serveOnce(20, func(int) bool { return well }) },
		says: []string{`10\.77\.0\.2:7000`, `close-wait-leak`, `\b(20|none) of 20\b`, `never closed|has not closed its side`},
	},
	{
		name: "server-leaks-a-third", at: "+300s",
		play: func(n *network, well bool) { n.serveOnce(30, func(i int) bool { return well || i%3 > 0 }) },
		says: []string{`10\.77\.0\.2:7000`, `close-wait-leak`, `\b10 of 30\b`, `never closed|has not closed its side`},
	},
	{
		name: "server-closes-unread",
		play: func(n *network, well bool) { n.upload(well, 40*switchDelay) }, // its window is full by then
		says: []string{`close-with-unread-data`, `10\.77\.0\.2:7000 closed with .*unread`},
	},
	{
		name: "server-refuses-uploads", // which looks like any abort
		play: func(n *network, well bool) { n.upload(well, 0) },
		says: []string{`linger-zero-abort`, `10\.77\.0\.2:7000 aborted .* unread received bytes`},
	},
	{
		name: "server-lingers-not",
		play: func(n *network, well bool) {
			n.listen(n.server, 7000, func(_ int, c *net.TCPConn) {
				io.CopyN(io.Discard, c, 100)
				io.WriteString(c, "yes\n")
				time.Sleep(3 * switchDelay) // until that is acknowledged
				if !well {
					c.SetLinger(0)
				}
				c.Close()
			})
			n.clients(20, 7000, func(_ int, c *net.TCPConn) {
				c.Write(make([]byte, 100))
				io.ReadAll(c)
				c.Close()
			})
		},
		says: []string{`linger-zero-abort`, `10\.77\.0\.2:7000 aborted`},
	},
	{
		name: "server-never-accepts",
		play: func(n *network, well bool) {
			l := n.listener(n.server, 7000)
			raw, err := l.SyscallConn()
			if err == nil {
				err = raw.Control(func(fd uintptr) { unix.Listen(int(fd), 5) }) // its backlog from now on
			}
			if err != nil {
				n.t.Fatal(err)
			}
			if well {
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						io.CopyN(io.Discard, c, 100)
						io.WriteString(c, "yes\n")
						c.Close()
					}
				}()
			}
			n.clients(20, 7000, func(_ int, c *net.TCPConn) {
				c.SetDeadline(time.Now().Add(5 * time.Second))
				c.Write(make([]byte, 100))
				io.ReadAll(c)
				c.Close()
			})
		},
		says: []string{`10\.77\.0\.2:7000`, `accept-stalled|handshake-not-completed`, `accept queue|listen queue|backlog`},
	},
	{
		name: "server-never-reads",
		play: func(n *network, well bool) {
			n.listen(n.server, 7000, func(_ int, c *net.TCPConn) {
				if !well {
					n.keep(c)
					return
				}
				io.Copy(io.Discard, c)
				c.Close()
			})
			n.clients(5, 7000, func(_ int, c *net.TCPConn) {
				c.SetDeadline(time.Now().Add(5 * time.Second))
				_, err := c.Write(make([]byte, 1_000_000))
				if err != nil {
					n.keep(c) // it would wait for longer
					return
				}
				c.Close()
			})
		},
		says: []string{`zero-window-stall`, `10\.77\.0\.2:7000 has had a zero window`, `application on 10\.77\.0\.2:7000 does not read`},
	},
	{
		name: "server-closes-idle-keepalive",
		play: func(n *network, well bool) {
			n.serveHTTP(n.server, 8000, well)
			n.clients(20, 8000, func(_ int, c *net.TCPConn) {
				n.ask(c, idle-switchDelay-early)
			})
		},
		races: true,
		says:  []string{`keepalive-race`, `10\.77\.0\.2:8000`, `idle`},
	},
	{
		name: "proxy-resets", taps: []string{"client", "server"},
		play: func(n *network, well bool) {
			n.listen(n.backend, 9000, func(_ int, c *net.TCPConn) {
				io.CopyN(io.Discard, c, 100)
				c.Write(make([]byte, 20_000))
				c.Close()
			})
			n.listen(n.server, 8080, func(_ int, c *net.TCPConn) {
				b, err := n.dial(n.server, n.backend, 9000, 5*time.Second)
				if err != nil {
					c.Close()
					return
				}
				io.CopyN(b, c, 100)
				if well {
					io.Copy(c, b)
				} else {
					io.CopyN(c, b, 5000)
					time.Sleep(3 * switchDelay)
					b.SetLinger(0)
					c.SetLinger(0)
				}
				b.Close()
				c.Close()
			})
			n.clients(20, 8080, func(_ int, c *net.TCPConn) {
				c.Write(make([]byte, 100))
				io.ReadAll(c)
				c.Close()
			})
		},
		says: []string{`linger-zero-abort`, `10\.77\.0\.2:8080 aborted`},
	},
	{
		name: "nginx-has-no-backend", taps: []string{"server", "backend"},
		play: func(n *network, well bool) {
			if well {
				n.serveHTTP(n.backend, 9000, true)
			}
			n.nginx()
			n.browse(20)
		},
		says: []string{`connection-refused`, `10\.77\.0\.3:9000|10\.77\.0\.3 has no listener on port 9000`},
	},
	{
		name: "nginx-before-a-leak", at: "+300s", taps: []string{"server", "backend"},
		play: func(n *network, well bool) {
			n.listen(n.backend, 9000, func(_ int, c *net.TCPConn) {
				c.Read(make([]byte, 4096))
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
				io.Copy(io.Discard, c)
				if !well {
					n.keep(c)
					return
				}
				c.Close()
			})
			n.nginx()
			n.browse(20)
		},
		says: []string{`10\.77\.0\.3:9000`, `close-wait-leak`, `\b(20|none) of 20\b`, `never closed|has not closed its side`},
	},
	{
		name: "nginx-before-a-closer", taps: []string{"server", "backend"},
		play: func(n *network, well bool) {
			n.serveHTTP(n.backend, 9000, well)
			n.nginx("keepalive 100;")
			n.clients(20, 80, func(_ int, c *net.TCPConn) {
				n.ask(c, idle-3*switchDelay-early)
			})
		},
		races: true,
		says:  []string{`keepalive-race`, `10\.77\.0\.3:9000`, `idle`},
	},
	{
		name: "client-never-closes", at: "+300s",
		play: func(n *network, well bool) {
			n.listen(n.server, 7000, func(_ int, c *net.TCPConn) {
				io.CopyN(io.Discard, c, 100)
				io.WriteString(c, "yes\n")
				c.Close()
			})
			n.clients(20, 7000, func(_ int, c *net.TCPConn) {
				c.Write(make([]byte, 100))
				io.ReadAll(c)
				if !well {
					n.keep(c)
					return
				}
				c.Close()
			})
		},
		says: []string{`10\.77\.0\.2:7000`, `close-wait-leak`, `\b(20|none) of 20\b`, `10\.77\.0\.1(:\d+)? (acknowledged|has not closed|never closed)`},
	},
}

// clients has that many clients connect to a port of the server, at nearly the
// same time, and waits for them.
func (n *network) clients(count, port int, use func(i int, c *net.TCPConn)) {
	var wg sync.WaitGroup
	for i := range count {
		time.Sleep(5 * time.Millisecond)
		wg.Go(func() {
			c, err := n.dial(n.client, n.server, port, 5*time.Second)
			if err == nil {
				use(i, c)
			}
		})
	}
	wg.Wait()
}

// serveOnce is a server that answers one request of each client, which closes
// then. It closes where closes says so.
func (n *network) serveOnce(count int, closes func(i int) bool) {
	n.listen(n.server, 7000, func(i int, c *net.TCPConn) {
		io.CopyN(io.Discard, c, 100)
		io.WriteString(c, "yes\n")
		io.ReadAll(c)
		if closes(i) {
			c.Close()
		} else {
			n.keep(c)
		}
	})
	n.clients(count, 7000, func(_ int, c *net.TCPConn) {
		c.Write(make([]byte, 100))
		io.ReadFull(c, make([]byte, 4))
		c.Close()
	})
}

// upload has clients send more than the window holds to a server that answers
// after the first of it, and closes after a pause.
func (n *network) upload(well bool, pause time.Duration) {
	const size = 300_000
	n.listen(n.server, 7000, func(_ int, c *net.TCPConn) {
		io.CopyN(io.Discard, c, 100)
		if well {
			io.CopyN(io.Discard, c, size-100)
		} else {
			time.Sleep(pause)
		}
		io.WriteString(c, "no\n")
		c.Close()
	})
	n.clients(10, 7000, func(_ int, c *net.TCPConn) {
		c.Write(make([]byte, size))
		io.ReadAll(c)
		c.Close()
	})
}

// idle is for how long a connection is kept that is asked for nothing: longer than
// keepalive-race wants it. A request meets the server's FIN if it is sent within the
// time that the FIN is on its way, or as long before: early is for what a busy machine
// adds.
const (
	idle  = 1200 * time.Millisecond
	early = switchDelay / 2
)

// serveHTTP serves pages, and does not keep idle connections for long unless it
// is told so.
func (n *network) serveHTTP(h *host, port int, long bool) {
	s := &http.Server{IdleTimeout: idle, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "yes") })}
	if long {
		s.IdleTimeout = time.Minute
	}
	go s.Serve(n.listener(h, port))
	n.t.Cleanup(func() { s.Close() })
}

// ask asks for two pages, with a pause behind each.
func (n *network) ask(c *net.TCPConn, pause time.Duration) {
	defer c.Close()
	for range 2 {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// browse has clients fetch a page each from nginx.
func (n *network) browse(count int) {
	n.clients(count, 80, func(_ int, c *net.TCPConn) {
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		io.ReadAll(c)
	})
}

// nginx runs nginx on the server, as a proxy of what is on the backend.
func (n *network) nginx(upstream ...string) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		n.t.Skipf("SKIPPED: %v", err)
	}
	dir := n.t.TempDir()
	config := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/errors;
events { }
http {
	access_log off;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	upstream backend { server 10.77.0.3:9000; %[2]s }
	server {
		listen 10.77.0.2:80;
		location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }
	}
}`, dir, strings.Join(upstream, " "))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		n.t.Fatal(err)
	}
	guestIn(n.t, n.server, path, "-c", file)
	n.listens(n.server, 80)
}

// Of a server that misbehaves, the first screen of a replay names which, how,
// and whose fault it is; of its healthy twin nothing is worse than notable.
func TestServersThatMisbehave(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for tap, args := range f.captures(t, false) {
				screen := firstScreen(t, path, args...)
				lacks := slices.DeleteFunc(slices.Clone(f.says), func(words string) bool { return said(screen, words) })
				if len(lacks) > 0 {
					t.Errorf("at the %s it does not say %q:\n%s", tap, lacks, screen)
				}
			}
		})
		t.Run(f.name+"/well", func(t *testing.T) {
			t.Parallel()
			for tap, args := range f.captures(t, true) {
				connections, found := aboveNotice(t, path, args...)
				if connections == 0 {
					t.Errorf("at the %s are no connections", tap)
				}
				for _, f := range found {
					t.Errorf("at the %s: %s %s: %s", tap, f.Severity, f.Kind, f.Text)
				}
			}
		})
	}
}

// said tells whether a screen has words that match, on one line or several, beside
// its rows of connections, which name every address.
func said(screen, words string) bool {
	var rest []string
	for line := range strings.Lines(screen) {
		if !strings.HasPrefix(line, "tcp ") {
			rest = append(rest, strings.Fields(line)...)
		}
	}
	return regexp.MustCompile(words).MatchString(strings.Join(rest, " "))
}

// captures plays a fault, and returns what to replay by the names of the taps.
func (f *fault) captures(t *testing.T, well bool) map[string][]string {
	dir := t.TempDir()
	if keep := trial.KeepDir(); keep != "" {
		dir = filepath.Join(keep, t.Name())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for attempt := range 5 {
		n := newNetwork(t)
		f.play(n, well)
		n.close(dir)
		if !f.races || well || n.sawReset() {
			break
		}
		t.Logf("attempt %d: no request met the FIN", attempt+1)
	}
	taps := f.taps
	if taps == nil {
		taps = []string{"client", "server"}
	}
	all := map[string][]string{}
	for _, tap := range taps {
		all[tap] = []string{filepath.Join(dir, tap+".pcap")}
		if f.at != "" {
			all[tap] = append(all[tap], "--at", f.at)
		}
	}
	return all
}

// firstScreen replays on a terminal of 100 columns and 24 lines, and returns
// what fills it first.
func firstScreen(t *testing.T, path string, args ...string) string {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("SKIPPED: there is no pseudo-terminal: %v", err)
	}
	defer master.Close()
	const columns, rows = 100, 24
	if err := pty.Setsize(master, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"replay"}, args...)...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = tty, &stderr
	err = cmd.Start()
	tty.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(master) // until the terminal is closed
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %v: %s", cmd.Args, err, stderr.String())
	}
	var screen []string
	for _, line := range strings.Split(strings.ReplaceAll(string(out), "\r", ""), "\n") {
		for line := []rune(line); ; line = line[columns:] {
			screen = append(screen, string(line[:min(columns, len(line))]))
			if len(line) <= columns {
				break
			}
		}
	}
	return strings.Join(screen[:min(rows, len(screen))], "\n")
}

// A finding is one as json has it.
type finding struct{ Kind, Severity, Text string }

// aboveNotice replays, and returns how many connections there are, and what is
// found that is a warning or an error.
func aboveNotice(t *testing.T, path string, args ...string) (connections int, found []finding) {
	t.Helper()
	out, err := exec.Command(path, append([]string{"replay", "-o", "json"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Anomalies []finding
		Summary   struct{ Connections int }
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	for _, a := range all.Anomalies {
		if a.Severity == "warning" || a.Severity == "error" {
			found = append(found, a)
		}
	}
	return all.Summary.Connections, found
}
