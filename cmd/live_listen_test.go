package cmd

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freePort returns a port of this host that is free now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// fetch gets a page, with a token unless that is empty.
func fetch(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	browser := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	var a *http.Response
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // it may not listen yet
		if a, err = browser.Do(r); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(text)
}

// With --listen a browser sees what the screen shows, and Prometheus finds
// metrics, until the run ends.
func TestLiveListens(t *testing.T) {
	address := "127.0.0.1:" + freePort(t)
	f := follow(t, "--listen", address, "--interval", "50ms", "-o", "summary")
	f.write(opened(40001, when)...)
	f.write(opened(40002, when)...)
	f.write(closed(40001, when.Add(time.Second))...)
	metrics := ""
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // the packets are counted after the states
		_, metrics = fetch(t, "http://"+address+"/metrics", "")
		missing := ""
		for _, want := range []string{
			`tcpwatch_connections{endpoint="client",state="TIME_WAIT"} 1`, `tcpwatch_connections{endpoint="server",state="ESTABLISHED"} 1`,
			"tcpwatch_captured_packets_total 9\n", "go_goroutines",
		} {
			if !strings.Contains(metrics, want) {
				missing = want
			}
		}
		if missing == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("there is no %s in %s", missing, metrics)
		}
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/": "<title>tcpwatch", "/conn/2": "CTL=SYN,ACK"} {
		if status, body := fetch(t, "http://"+address+path, ""); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	events, err := http.Get("http://" + address + "/events") // which go on for as long as the run
	if err != nil {
		t.Fatal(err)
	}
	if out := f.stop(); !strings.Contains(out, "Totals: 9 packets") || strings.Contains(out, "tcpwatch:") {
		t.Errorf("printed was\n%s", out)
	}
	if body, err := io.ReadAll(events.Body); !strings.Contains(string(body), "10.9.0.1:40001") {
		t.Errorf("%v: the page was sent\n%s", err, body)
	}
	events.Body.Close()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	t.Run("promtool", func(t *testing.T) {
		promtool, err := exec.LookPath("promtool")
		if err != nil {
			t.Skip("SKIPPED: promtool (Debian package prometheus) is not installed")
		}
		c := exec.Command(promtool, "check", "metrics")
		c.Stdin = strings.NewReader(metrics)
		if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	})
}

// Who listens where other hosts can ask is warned, unless they need a token.
func TestLiveListensToOthers(t *testing.T) {
	port := freePort(t)
	f := follow(t, "--listen", "0.0.0.0:"+port)
	f.prints(fmt.Sprintf(":%s is reachable from other hosts and shows every connection to anyone; set --token-file, or listen on 127.0.0.1\n", port))
	f.stop()
	f = follow(t, "--listen", "0.0.0.0:"+port, "--token", "secret")
	f.prints(fmt.Sprintf(":%s is reachable from other hosts, and the token and every connection are sent unencrypted; set --tls-cert and --tls-key\n", port))
	for token, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "secret": http.StatusOK} {
		if status, _ := fetch(t, "http://127.0.0.1:"+port+"/metrics", token); status != want {
			t.Errorf("with the token %q the status is %d, want %d", token, status, want)
		}
	}
	if out := f.stop(); strings.Contains(out, "secret") {
		t.Errorf("printed was\n%s", out)
	}
}

// The token can come from a file, and the page be encrypted. Nothing is printed then.
func TestLiveListensSafely(t *testing.T) {
	dir := t.TempDir()
	token, cert, key := filepath.Join(dir, "token"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	helper := httptest.NewTLSServer(nil)
	defer helper.Close()
	pair := helper.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{
		token: []byte("secret\n"),
		cert:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	f := follow(t, "-o", "summary", "--listen", "0.0.0.0:"+port, "--token-file", token, "--tls-cert", cert, "--tls-key", key)
	browser := helper.Client()
	for token, want := range map[string]int{"": http.StatusUnauthorized, "secret": http.StatusOK} {
		var a *http.Response
		r, _ := http.NewRequest("GET", "https://127.0.0.1:"+port+"/metrics", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			if a, err = browser.Do(r); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if a.Body.Close(); a.StatusCode != want {
			t.Errorf("with the token %q the status is %d, want %d", token, a.StatusCode, want)
		}
	}
	if out := f.stop(); strings.Contains(out, "tcpwatch:") || strings.Contains(out, "secret") {
		t.Errorf("printed was\n%s", out)
	}
}

// However many connect, the files of -w can still be opened: most descriptors are
// theirs.
func TestListenLeavesDescriptors(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the shell sets no limit here")
	}
	g := newGrowing(t)
	dir, address := t.TempDir(), "127.0.0.1:"+freePort(t)
	var out sharedBuffer
	c := exec.Command("sh", "-c", `ulimit -n 40; exec tcpwatch "$@"`, "sh", "live", "--follow", g.file.Name(), "--user", strconv.Itoa(os.Geteuid()),
		"--listen", address, "-o", "summary", "-w", filepath.Join(dir, "x.pcapng"), "--rotate-size", "4KiB")
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	fetch(t, "http://"+address+"/healthz", "")
	for range 100 {
		many, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer many.Close()
		io.WriteString(many, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	const conns = 200
	for i := range conns {
		g.write(opened(uint16(10_000+i), when.Add(time.Duration(i)*time.Second))...)
	}
	want := fmt.Sprintf("Totals: %d packets", 3*conns)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		var again strings.Builder
		if len(files) > 0 {
			execute(t.Context(), append([]string{"replay", "-q", "-o", "summary"}, files...), &again, io.Discard)
		}
		if len(files) > 5 && strings.Contains(again.String(), want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d files, with %s", len(files), again.String())
		}
	}
	c.Process.Signal(os.Interrupt)
	if err := c.Wait(); err != nil || !strings.Contains(out.String(), want) {
		t.Errorf("%v: %s", err, out.String())
	}
}

// Where it cannot listen it says so, and does not run.
func TestLiveCannotListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", l.Addr().String()}, "tcpwatch: hint: --listen 127.0.0.1:9555\n"},
		{[]string{"--listen", "here"}, "tcpwatch: hint: --listen 127.0.0.1:9555\n"},
		{[]string{"--token", "secret"}, "tcpwatch: --token needs --listen\n"},
		{[]string{"--token-file", "x"}, "tcpwatch: --token-file needs --listen\n"},
		{[]string{"--listen", "127.0.0.1:0", "--token", "secret", "--token-file", "x"}, "tcpwatch: --token and --token-file cannot be used together\n"},
		{[]string{"--listen", "127.0.0.1:0", "--token-file", os.DevNull}, "must have one line with a token of at most 4096 bytes\n"},
		{[]string{"--listen", "127.0.0.1:0", "--tls-cert", "x"}, "tcpwatch: --tls-cert and --tls-key need each other\n"},
		{[]string{"--listen", "127.0.0.1:0", "--tls-cert", "x", "--tls-key", "y"}, "no such file or directory\n"},
	} {
		f := follow(t, c.args...)
		if status := <-f.ended; status != exitUsage || !strings.HasSuffix(f.out.String(), c.want) {
			t.Errorf("%v: exit status %d: %s", c.args, status, f.out.String())
		}
	}
}
