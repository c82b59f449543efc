//go:build lab && linux

package lab

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd/lab/trial"
)

var ordinary = flag.Int("ordinary", 600, "how many connections of ordinary programs are replayed")

// Ordinary is what programs of every day do when nothing is wrong: what they do
// must not be called worse than notable.
func TestOrdinaryPrograms(t *testing.T) {
	tcpwatch, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name  string
		share float64 // of the connections
		run   func(t *testing.T, client, server *netns, connections int)
	}{
		{"nginx", 0.5, browsing},
		{"redis", 0.3, caching},
		{"postgres", 0.18, querying},
		{"ssh", 0.02, loggingIn},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			client, server := joined(t)
			taps := map[string]*tap{}
			for name, n := range map[string]*netns{"client": client, "server": server} {
				n.must(t, func() (err error) { taps[name], err = openTap(); return err })
			}
			wanted := int(p.share * float64(*ordinary))
			p.run(t, client, server, wanted)
			time.Sleep(500 * time.Millisecond) // for what is being closed
			dir := t.TempDir()
			if keep := trial.KeepDir(); keep != "" {
				dir = filepath.Join(keep, t.Name())
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name, tap := range taps {
				tap.close()
				if tap.lost > 0 {
					t.Skipf("SKIPPED: the machine is too busy: at the %s were captured all but %d packets", name, tap.lost)
				}
				path := filepath.Join(dir, name+".pcap")
				if err := tap.write(path); err != nil {
					t.Fatal(err)
				}
				connections, found := aboveNotice(t, tcpwatch, path)
				if connections < wanted {
					t.Errorf("at the %s are %d connections, want %d at least", name, connections, wanted)
				}
				kinds := map[string]int{}
				for _, f := range found {
					if kinds[f.Kind]++; kinds[f.Kind] == 1 {
						t.Errorf("at the %s, for one: %s %s: %s", name, f.Severity, f.Kind, f.Text)
					}
				}
				t.Logf("at the %s: %d connections, %d packets, above notice are %v", name, connections, len(tap.captured), kinds)
			}
		})
	}
}

// need skips the test where a program is missing.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	return path
}

// oneProcessor has a program share the first processor with all others: two of
// them may pass what one connection sends in the wrong order, and that really
// makes, for one, an old ACK end a TIME_WAIT.
func oneProcessor(name string, args []string) []string {
	return append([]string{"--cpu-list", "0", name}, args...)
}

// serving runs a server, and waits until it listens. In the end it is asked to end,
// so that it takes its processes and its shared memory with it.
func serving(t *testing.T, n *netns, port uint16, name string, args ...string) {
	t.Helper()
	g := guestIn(t, n, "taskset", oneProcessor(name, args)...)
	t.Cleanup(func() {
		g.cmd.Process.Signal(os.Interrupt)
		select {
		case <-g.ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%v does not end: %s", g.cmd.Args, g.output.String())
		}
	})
	n.listens(t, port)
}

// finishes runs a program to its end, which must be a good one.
func finishes(t *testing.T, n *netns, name string, args ...string) {
	t.Helper()
	g := guestIn(t, n, "taskset", oneProcessor(name, args)...)
	if err := <-g.ended; err != nil {
		t.Fatalf("%v: %v: %s", g.cmd.Args, err, g.output.String())
	}
}

// browsing has curl fetch pages from nginx: on connections that nginx closes,
// that curl closes, and that are used more than once.
func browsing(t *testing.T, client, server *netns, connections int) {
	need(t, "curl")
	dir := t.TempDir()
	config := fmt.Sprintf(`
daemon off; pid %[1]s/pid; error_log %[1]s/errors; worker_processes 2; user root;
events { }
http {
	access_log off; keepalive_requests 5;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen 10.77.0.2:80; root %[1]s; }
}`, dir)
	for name, text := range map[string]string{"nginx.conf": config, "index.html": "hello\n", "picture": strings.Repeat("picture\n", 1500)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	serving(t, server, 80, need(t, "nginx"), "-c", filepath.Join(dir, "nginx.conf"))
	curl := func(args ...string) {
		finishes(t, client, "curl", append([]string{"-fsS", "-o", "/dev/null"}, args...)...)
	}
	alone := connections / 10 // a curl for each
	for range alone {
		curl("http://10.77.0.2/")
	}
	half := (connections - alone + 1) / 2
	curl("-Z", "--parallel-max", "8", "-H", "Connection: close", fmt.Sprintf("http://10.77.0.2/index.html?[1-%d]", half))
	curl("-Z", "--parallel-max", "8", fmt.Sprintf("http://10.77.0.2/picture?[1-%d]", 5*half))
}

// caching has two clients ask redis, on a connection for each question.
func caching(t *testing.T, client, server *netns, connections int) {
	need(t, "redis-cli")
	serving(t, server, 6379, need(t, "redis-server"), "--bind", "10.77.0.2", "--protected-mode", "no", "--save", "", "--dir", t.TempDir())
	alone := connections / 10
	for range alone {
		finishes(t, client, "redis-cli", "-h", "10.77.0.2", "incr", "visits")
	}
	finishes(t, client, need(t, "redis-benchmark"), "-h", "10.77.0.2", "-k", "0", "-c", "10", "-t", "set,get", "-n", fmt.Sprint((connections-alone+1)/2), "-q")
}

// querying has the driver of postgres ask it, on a connection for each
// transaction.
func querying(t *testing.T, client, server *netns, connections int) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Skip("SKIPPED: there is no postgres")
	}
	need(t, "psql")
	need(t, "setpriv")
	bin := filepath.Dir(found[0])
	dir := openDir(t)
	data := filepath.Join(dir, "data")
	nobody := []string{"--reuid=65534", "--regid=65534", "--clear-groups"} // it does not run as root
	finishes(t, server, "setpriv", append(nobody, bin+"/initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")...)
	conf, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = conf.WriteString("host all all 10.77.0.1/32 trust\n")
		conf.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	serving(t, server, 5432, "setpriv", append(nobody, bin+"/postgres", "-D", data, "-k", dir, "-h", "10.77.0.2", "-F")...)
	on := []string{"-h", "10.77.0.2", "-U", "postgres"}
	eventually(t, func() bool {
		return client.do(func() error {
			return exec.Command("taskset", oneProcessor("psql", append(on, "-c", "select 1", "postgres"))...).Run()
		}) == nil
	})
	finishes(t, client, bin+"/pgbench", append(on, "-i", "-q", "postgres")...)
	finishes(t, client, bin+"/pgbench", append(on, "-C", "-S", "-c", "4", "-t", fmt.Sprint(connections/4+1), "postgres")...)
}

// loggingIn has ssh log in to a host, where no shell of its is run.
func loggingIn(t *testing.T, client, server *netns, connections int) {
	need(t, "ssh")
	sshd := need(t, "sshd")
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // it wants it
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, key := range []string{"host", "user"} {
		finishes(t, client, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	config := fmt.Sprintf("ListenAddress 10.77.0.2\nHostKey %[1]s/host\nAuthorizedKeysFile %[1]s/user.pub\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	serving(t, server, 22, sshd, "-D", "-e", "-f", filepath.Join(dir, "config"))
	for range connections {
		finishes(t, client, "ssh", "-n", "-F", "none", "-i", filepath.Join(dir, "user"), "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-s", "root@10.77.0.2", "sftp")
	}
}
